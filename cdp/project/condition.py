"""The condition tree: one grammar for audiences, trait filters, policies and syncs. Plain frozen data.

Marks are left out of comparisons, so that equal conditions are equal wherever they stand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cdp.errors import Mark

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Duration:
    """An exact time (microseconds) or a number of calendar months."""

    microseconds: int = 0
    months: int = 0
    text: str = field(default="", compare=False)


@dataclass(frozen=True)
class Window:
    """Half-open [from, to). `kind`: last (duration back from as_of), this/previous (calendar unit), between."""

    kind: Literal["last", "this", "previous", "between"]
    duration: Duration | None = None
    unit: str | None = None  # hour day week month quarter year
    start: str | Duration | None = None  # between: a time as text, or a Duration back from as_of
    end: str | Duration | None = None
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Ref:
    """A value taken from a to-one path of the row."""

    path: str
    mark: Mark | None = field(default=None, compare=False)


Value = Scalar | Ref


@dataclass(frozen=True)
class Comparison:
    """One operator of a test with its operand: a value, a list, a Duration, or a pair for `between`."""

    operator: str
    value: Value | Duration | tuple[Value, ...] | bool
    mark: Mark | None = field(default=None, compare=False)


Test = tuple[Comparison, ...]  # several = and


@dataclass(frozen=True)
class All:
    parts: tuple[Condition, ...]
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Any_:
    parts: tuple[Condition, ...]
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Not:
    part: Condition
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True)
class FieldTest:
    """An attribute, trait or to-one path and what is asked of it."""

    path: str
    test: Test
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Measure:
    """sum, avg, min, max or distinct of a field over the matching rows, and what is asked of it."""

    kind: Literal["sum", "avg", "min", "max", "distinct"]
    path: str
    test: Test
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Has:
    """Related rows along a path: how many there are, what they add up to, what the first or last one says."""

    path: str
    where: Condition | None = None
    match: Literal["any", "all", "none"] = "any"
    vacuous: bool = False
    count: Test | None = None
    measures: tuple[Measure, ...] = ()
    first: tuple[FieldTest, ...] = ()
    last: tuple[FieldTest, ...] = ()
    during: Window | None = None
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Did:
    """Events: names, or a prefix of names, in the streams given (default: every stream of the entity)."""

    events: tuple[str, ...]
    prefix: str | None = None
    streams: tuple[str, ...] = ()
    negative: bool = False
    where: Condition | None = None
    count: Test | None = None
    days: Test | None = None
    measures: tuple[Measure, ...] = ()
    first: tuple[FieldTest, ...] = ()
    last: tuple[FieldTest, ...] = ()
    during: Window | None = None
    mark: Mark | None = field(default=None, compare=False)
    from_mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True)
class InAudience:
    """Member of another audience; `since`: for how long (durations)."""

    audience: str
    negative: bool = False
    since: Test | None = None
    mark: Mark | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Sql:
    """A boolean expression in the project's dialect."""

    text: str
    mark: Mark | None = field(default=None, compare=False)


Condition = All | Any_ | Not | FieldTest | Has | Did | InAudience | Sql


def top(condition: Condition | None) -> list[Condition]:
    """The conditions that `preview` counts one by one."""
    if condition is None:
        return []
    if isinstance(condition, All):
        return [inner for part in condition.parts for inner in top(part)]
    return [condition]


def title(condition: Condition) -> str:
    """A condition in a few words, without its values (they may be personal)."""
    if isinstance(condition, Has):
        return f"has {condition.path}" + (f" ({condition.match})" if condition.match != "any" else "")
    if isinstance(condition, Did):
        names = ", ".join(condition.events) or f"{condition.prefix}…"
        return f"{'did not' if condition.negative else 'did'} {names}"
    if isinstance(condition, InAudience):
        return f"{'not in' if condition.negative else 'in'} {condition.audience}"
    if isinstance(condition, Not):
        return f"not ({title(condition.part)})"
    if isinstance(condition, Any_):
        return "any of: " + ", ".join(title(part) for part in condition.parts)
    if isinstance(condition, All):
        return "all of: " + ", ".join(title(part) for part in condition.parts)
    path = getattr(condition, "path", None)
    if path is not None:
        return f"{path} {' '.join(item.operator for item in condition.test)}"  # type: ignore[union-attr]
    return "sql"


def audiences_in(condition: Condition | None) -> list[str]:
    """The audiences that a condition names, at any depth."""
    if isinstance(condition, InAudience):
        return [condition.audience]
    if isinstance(condition, All | Any_):
        return [name for part in condition.parts for name in audiences_in(part)]
    if isinstance(condition, Not):
        return audiences_in(condition.part)
    if isinstance(condition, Has | Did):
        return audiences_in(condition.where)
    return []
