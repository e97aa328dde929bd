"""What is noted while a project is read: every mistake, with its place and the line it stands in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from cdp.errors import Mark, Problem, Severity, did_you_mean, suggestion
from cdp.project.reader import Map, Seq

NOT_YET = "CDP150"
NOTED = "noted"  # the type of a validation error about which nothing more is to be said


@dataclass
class Reading:
    """Collects the problems of one project. `lines` are the lines of every file read, for excerpts."""

    lines: dict[str, list[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(
        self,
        code: str,
        message: str,
        mark: Mark | None,
        hint: str | None = None,
        *,
        length: int = 1,
        severity: Severity = "error",
    ) -> None:
        """Note a mistake."""
        line = None
        if mark is not None:
            lines = self.lines.get(mark.file, [])
            line = lines[mark.line - 1] if 0 < mark.line <= len(lines) else None
        found = Problem(code, message, mark, hint, line, length, severity)
        if found not in self.problems:
            self.problems.append(found)

    def unknown(self, code: str, message: str, word: str, choices: Iterable[str], what: str, mark: Mark | None) -> None:
        """Note a name that is not there, with the nearest one that is."""
        self.problem(code, message, mark, suggestion(word, list(choices), what), length=len(word))

    def later(self, what: str, mark: Mark | None, *, length: int = 1) -> None:
        """Note something that the language has and this version does not carry out."""
        self.problem(
            NOT_YET, f"{what} is not in this version", mark, "it is parsed so that nothing is accepted in silence",
            length=length,
        )  # fmt: skip

    @property
    def errors(self) -> list[Problem]:
        """The problems that are no mere warnings."""
        return [problem for problem in self.problems if problem.severity == "error"]

    def of_pydantic(self, error: ValidationError, root: Any, name: str, place: Mark | None = None) -> None:
        """Note what pydantic found in `root`, each at the place its `loc` leads to; `place` is that of a root without any."""
        told: set[tuple[int | str, ...]] = set()
        for detail in error.errors(include_url=False, include_input=True):
            if detail["type"] == NOTED:
                continue
            loc = _untagged(detail["loc"], root)
            if loc is None or loc in told:
                continue
            if loc != detail["loc"]:
                told.add(loc)
            mark, path = locate(root, loc)
            mark = mark or place
            where = f"{name}.{path}" if path else name
            message, hint = _say(dict(detail))
            length = len(str(detail["input"])) if isinstance(detail.get("input"), str | int | float) else 1
            self.problem("CDP105", f"`{where}` {message}", mark, hint, length=min(length, 60))


def without(root: Any, error: ValidationError) -> Any:
    """A copy of `root` without what is wrong in it, so that the rest can be looked at."""
    result = _copied(root)
    for detail in sorted(
        error.errors(include_url=False, include_input=False), key=lambda item: str(item["loc"]), reverse=True
    ):
        here, loc = result, _untagged(detail["loc"], result) or ()
        for part in loc[:-1]:
            here = here[part] if _holds(here, part) else None
        if loc and _holds(here, loc[-1]):
            del here[loc[-1]]
            if isinstance(here, Seq):
                del here.values_at[int(loc[-1])]
    return result


def _holds(container: Any, part: int | str) -> bool:
    return (isinstance(container, Map) and part in container) or (
        isinstance(container, Seq) and isinstance(part, int) and part < len(container)
    )


def _copied(value: Any) -> Any:
    if isinstance(value, Map):
        copy = Map((key, _copied(item)) for key, item in value.items())
        copy.at, copy.keys_at, copy.values_at = value.at, dict(value.keys_at), dict(value.values_at)
        return copy
    if isinstance(value, Seq):
        items = Seq(_copied(item) for item in value)
        items.at, items.values_at = value.at, list(value.values_at)
        return items
    return value


_TAGS = ("str", "int", "bool")


def _untagged(loc: tuple[int | str, ...], root: Any) -> tuple[int | str, ...] | None:
    """A place without the names that pydantic gives to the branches of a union; None where the branch was not meant."""
    kept: list[int | str] = []
    for part in loc:
        known = isinstance(root, Map) and part in root
        if not known and isinstance(part, str) and (part in _TAGS or "[" in part):
            wanted = Seq if part.startswith("list[") else Map if part.startswith(("dict[", "function-")) else None
            if isinstance(root, Map | Seq) and (wanted is None or not isinstance(root, wanted)):
                return None
            continue
        kept.append(part)
        root = root[part] if known or (isinstance(root, Seq) and isinstance(part, int) and part < len(root)) else None
    return tuple(kept)


def locate(root: Any, loc: tuple[int | str, ...]) -> tuple[Mark | None, str]:
    """The place of the deepest part of `loc` that exists, and the path in words."""
    mark: Mark | None = root.at if isinstance(root, Map | Seq) else None
    words: list[str] = []
    for part in loc:
        if isinstance(root, Map) and part in root:
            mark = root.values_at[str(part)]
            root = root[str(part)]
        elif isinstance(root, Seq) and isinstance(part, int) and part < len(root):
            mark = root.values_at[part]
            root = root[part]
        else:
            words.append(str(part))
            break
        words.append(str(part))
    return mark, ".".join(words)


def key_mark(data: Mapping[str, Any], key: str) -> Mark | None:
    """Where a key stands, None for data that came from no file."""
    return data.keys_at.get(key) if isinstance(data, Map) else None


def value_mark(data: Any, key: Any) -> Mark | None:
    """Where the value under a key or at an index stands."""
    if isinstance(data, Map):
        return data.values_at.get(key)
    if isinstance(data, Seq) and isinstance(key, int):
        return data.values_at[key]
    return None


def _say(detail: dict[str, Any]) -> tuple[str, str | None]:
    kind, got, context = detail["type"], detail.get("input"), detail.get("ctx") or {}
    shown = _shown(got)
    plain = {
        "missing": "is missing",
        "string_type": f"must be text, not {shown}",
        "bool_type": f"must be true or false, not {shown}",
        "int_type": f"must be a whole number, not {shown}",
        "int_parsing": f"must be a whole number, not {shown}",
        "float_type": f"must be a number, not {shown}",
        "dict_type": f"must be a map, not {shown}",
        "model_type": f"must be a map, not {shown}",
        "list_type": f"must be a list, not {shown}",
    }
    if kind in plain:
        return plain[kind], 'put it in quotes: "…"' if kind == "string_type" and shown in ("true", "false") else None
    if kind == "literal_error":
        choices = [
            part.strip().strip("'\"") for part in str(context.get("expected", "")).replace(" or ", ",").split(",")
        ]
        near = did_you_mean(str(got), choices)
        listed = ", ".join(choices)
        return f"is {shown}; it must be one of {listed}", f"did you mean `{near}`?" if near else None
    if kind == "value_error":
        return str(context.get("error", detail["msg"])), None
    return f"is wrong: {detail['msg'][0].lower()}{detail['msg'][1:]} (got {shown})", None


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    text = str(value)
    return f"`{text[:40]}…`" if len(text) > 40 else f"`{text}`"
