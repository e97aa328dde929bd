"""pydantic's complaints as Problems: a place, the valid keys, and "did you mean". Values are never shown: they may be
secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from cdp.errors import Mark, Problem, suggestion

_WORDS = {
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a map",
    "model_type": "must be a map",
    "union_tag_not_found": "needs a `kind`",
}
_BRANCHES = ("basic", "bearer", "api_key", "none", "str", "int", "bool")


def problems(
    error: ValidationError,
    data: Mapping[str, Any],
    model: type[BaseModel],
    *,
    where: str,
    unknown: str,
    wrong: str,
) -> list[Problem]:
    """One Problem per mistake; `unknown` and `wrong` are the codes for unknown keys and for all else.

    `where` names the file or the profile's entry in the message.
    """
    found: dict[tuple[str, ...], Problem] = {}
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        path = _path(detail["loc"], data)
        if path is None or path in found:
            continue
        shown = ".".join(path) or "the whole"
        if detail["type"] == "extra_forbidden":
            known = _keys_at(model, path[:-1], data)
            message, hint, code = f"unknown key `{shown}`", suggestion(path[-1], known, "known here"), unknown
        else:
            said = _WORDS.get(detail["type"]) or detail["msg"].removeprefix("Value error, ")
            said = said.replace("Input should be", "must be")
            message, hint, code = f"`{shown}`: {said}", None, wrong
        at = mark(data, path, key=detail["type"] == "extra_forbidden" or detail["loc"][-1] == "[key]")
        found[path] = Problem(code, f"{where}: {message}", at, hint, length=len(path[-1]) if path else 1)
    return list(found.values())


def mark(data: Any, path: Sequence[str], *, key: bool = False) -> Mark | None:
    """Where a value (or its key) stands, for data from the reader; the nearest place around it where it is missing."""
    best: Mark | None = getattr(data, "at", None)
    for number, step in enumerate(path):
        last = number == len(path) - 1
        if isinstance(data, Mapping) and step in data:
            places = getattr(data, "keys_at" if key and last else "values_at", {})
            best = places.get(step, best)
            data = data[step]
        elif isinstance(data, list) and step.isdecimal() and int(step) < len(data):
            marks = getattr(data, "values_at", [])
            best = marks[int(step)] if int(step) < len(marks) else best
            data = data[int(step)]
        else:
            break
    return best


def _path(loc: Sequence[str | int], data: Any) -> tuple[str, ...] | None:
    """The keys of the data that lead to a mistake, without pydantic's names of union branches; None where the
    mistake belongs to a branch that this data is not about (a list judged as a map)."""
    path: list[str] = []
    for number, step in enumerate(loc):
        last = number == len(loc) - 1
        if isinstance(data, Mapping) and step in data:
            path.append(str(step))
            data = data[step]
        elif isinstance(data, list) and isinstance(step, int):
            path.append(str(step))
            data = data[step] if step < len(data) else None
        elif isinstance(step, str) and step.startswith("list["):
            if not isinstance(data, list):
                return None
        elif isinstance(data, list):
            return None
        elif last and not _is_branch(step):
            path.append(str(step))
    return tuple(path)


def _is_branch(step: str | int) -> bool:
    return isinstance(step, str) and (step[:1].isupper() or step in _BRANCHES or "[" in step)


def _keys_at(model: type[BaseModel], path: Sequence[str], data: Any) -> list[str]:
    """The keys that may stand at a path of the data."""
    options: list[Any] = [model]
    for step in path:
        data = data.get(step) if isinstance(data, Mapping) else None
        inner: list[Any] = []
        for option in options:
            if isinstance(option, type) and issubclass(option, BaseModel):
                inner += [i.annotation for name, i in option.model_fields.items() if (i.alias or name) == step]
            else:
                inner += [arg for arg in get_args(option) if arg is not str]  # a dict's values, a list's items
        options = [flat for option in inner for flat in _flat(option)]
    models = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
    kind = data.get("kind") if isinstance(data, Mapping) else None
    fitting = [one for one in models if kind is not None and kind in get_args(_kind_of(one))] or models
    return list(dict.fromkeys(i.alias or name for one in fitting for name, i in one.model_fields.items()))


def _kind_of(model: type[BaseModel]) -> Any:
    info = model.model_fields.get("kind")
    return info.annotation if info is not None else None


def _flat(annotation: Any) -> list[Any]:
    """The branches of a union, and what stands inside Annotated."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _flat(args[0])
    if origin in (Union, UnionType):
        return [flat for arg in args if arg is not type(None) for flat in _flat(arg)]
    return [annotation]
