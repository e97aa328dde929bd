"""Operators and options of conditions that are spelled wrong: noted, then read as what they can only mean, so that the
rest of the condition is looked at, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cdp.errors import did_you_mean
from cdp.project.reader import rename
from cdp.project.reading import Reading, key_mark

Options = Mapping[str, tuple[str, ...]]  # operator -> its options


def misspelt_operator(raw: dict[str, Any], known: Options, tests: Iterable[str], reading: Reading) -> list[str]:
    """The operator that a map without one must mean: [] where it is a map of fields, or cannot be made out."""
    options = {option for some in known.values() for option in some}
    given = [key for key in raw if key in options]
    for key in raw:
        near = did_you_mean(key, known)
        if key in options or near is None or not (given or _is_operand(near, raw[key], tests)):
            continue
        hint = f"did you mean `{near}`? operators: {', '.join(known)}"
        reading.problem("CDP106", f"`{key}` is no operator", key_mark(raw, key), hint, length=len(key))
        rename(raw, key, near)
        return [near]
    given = [key for key in given if isinstance(raw[key], dict)]  # {state: paid} can only be a column of that name
    if given:
        hint = f"write {', '.join(name for name in known if given[0] in known[name])} before it"
        reading.problem("CDP106", f"`{given[0]}` without an operator", key_mark(raw, given[0]), hint, length=len(given[0]))
    return []


def _is_operand(operator: str, value: Any, tests: Iterable[str]) -> bool:
    """Whether a value goes with an operator and cannot be a test of a field."""
    if operator in ("all", "any"):
        return isinstance(value, list) and any(isinstance(item, dict) for item in value)
    if operator == "not":
        return isinstance(value, dict) and not any(did_you_mean(key, tests) for key in value)
    return False


def misspelt_options(name: str, raw: dict[str, Any], known: tuple[str, ...], reading: Reading) -> None:
    """Note what stands beside an operator and is none of its options."""
    for key in [key for key in raw if key != name and key not in known]:
        near = did_you_mean(key, known)
        hint = f"did you mean `{near}`?" if near else f"fields and operators don't mix; write {{all: [{{{name}: …}}, {{{key}: …}}]}}"
        if known:
            hint += f"; options of `{name}`: {', '.join(known)}"
        reading.problem("CDP106", f"`{key}` is no option of `{name}`", key_mark(raw, key), hint, length=len(key))
        if near is not None and near not in raw:
            rename(raw, key, near)
