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
    """The operator that a map without one must mean: [] where it is a map of fields, or cannot be made out.

    A column may have the name of an option (`state`), so only what cannot be fields is taken for a misspelt operator.
    """
    for key in raw:
        near = did_you_mean(key, known)
        if near is None or not _may_stand(near, raw[key], tests):
            continue
        if not any(option in known[near] for option in raw) and near not in ("all", "any", "not"):
            continue
        hint = f"did you mean `{near}`? operators: {', '.join(known)}"
        reading.problem("CDP106", f"`{key}` is no operator", key_mark(raw, key), hint, length=len(key))
        rename(raw, key, near)
        return [near]
    if isinstance(raw.get("where"), dict):
        reading.problem(
            "CDP106", "`where` without an operator", key_mark(raw, "where"), "write has or did before it", length=5
        )
    return []


def _may_stand(operator: str, value: Any, tests: Iterable[str]) -> bool:
    """Whether a value goes with an operator and is hardly a test of a field."""
    if operator in ("all", "any", "sequence"):
        return isinstance(value, list) and any(isinstance(item, dict) for item in value)
    if operator == "not":
        return isinstance(value, dict) and not any(did_you_mean(key, tests) for key in value)
    if operator in ("did", "did_not"):
        return not isinstance(value, dict) or list(value) == ["starts_with"]
    return isinstance(value, str)


def misspelt_options(name: str, raw: dict[str, Any], known: tuple[str, ...], reading: Reading) -> None:
    """Note what stands beside an operator and is none of its options."""
    for key in [key for key in raw if key != name and key not in known]:
        near = did_you_mean(key, known)
        hint = (
            f"did you mean `{near}`?"
            if near
            else f"fields and operators don't mix; write {{all: [{{{name}: …}}, {{{key}: …}}]}}"
        )
        if known:
            hint += f"; options of `{name}`: {', '.join(known)}"
        reading.problem("CDP106", f"`{key}` is no option of `{name}`", key_mark(raw, key), hint, length=len(key))
        if near is not None and near not in raw:
            rename(raw, key, near)
