"""Raw YAML ► conditions, tests, windows, durations. Every mistake is noted in the Reading with its place.

A part that makes no sense is noted and left out, so that the rest is still looked at.
"""

from __future__ import annotations

import re
from typing import Any

from cdp.errors import Mark, did_you_mean
from cdp.project.condition import (
    All,
    Any_,
    Comparison,
    Condition,
    Did,
    Duration,
    FieldTest,
    Has,
    InAudience,
    Measure,
    Not,
    Ref,
    Sql,
    Test,
    Value,
    Window,
)
from cdp.project.misspelt import misspelt_operator, misspelt_options
from cdp.project.reader import near_key
from cdp.project.reading import Reading, key_mark, value_mark

MEASURES = ("sum", "avg", "min", "max", "distinct")
_ROWS = ("where", "count", *MEASURES, "first", "last", "during")
OPTIONS: dict[str, tuple[str, ...]] = {
    "all": (),
    "any": (),
    "not": (),
    "has": (*_ROWS, "match", "vacuous"),
    "did": (*_ROWS, "from", "days"),
    "did_not": ("from", "where", "during"),
    "sequence": ("during", "anchor", "open"),
    "in": ("for",),
    "not_in": ("for",),
    "journey": ("step", "state"),
    "arm": (),
    "consent": (),
    "received": ("during",),
    "sql": (),
    "field": ("is",),
}
LATER = ("sequence", "journey", "arm", "consent", "received")
VALUE_TESTS = (
    "eq",
    "ne",
    "gt",
    "gte",
    "lt",
    "lte",
    "contains",
    "not_contains",
    "starts_with",
    "ends_with",
    "before",
    "after",
)
TIME_TESTS = ("eq", "ne", "gt", "gte", "lt", "lte", "before", "after")  # where `30 days ago` is a time
LIST_TESTS = ("in", "not_in", "contains_any", "contains_all")
DURATION_TESTS = ("within_last", "within_next", "older_than", "anniversary_within_next")
TESTS = (*VALUE_TESTS, *LIST_TESTS, *DURATION_TESTS, "between", "matches", "exists", "empty")

_UNITS_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000}
_UNITS_MONTHS = {"mo": 1, "y": 12}
_LONGEST_MONTHS = 12_000  # a thousand years: what lies beyond is no date on some engine
_LONGEST_US = 1_000 * 366 * _UNITS_US["d"]
LARGEST = 10**28  # a decimal(38, 9) holds no more, with room for a factor
_WORDS = {
    "second": "s", "minute": "m", "hour": "h", "day": "d", "week": "w", "month": "mo", "year": "y",
    "sec": "s", "min": "m", "mins": "m", "hr": "h",
}  # fmt: skip
_DURATION = re.compile(r"(\d{1,9}) ?(mo|[smhdwy]|[a-z]+)\Z")
CALENDAR_UNITS = ("hour", "day", "week", "month", "quarter", "year")


def duration(value: Any) -> Duration | None:
    """`30s 30m 12h 7d 4w 3mo 1y`, or in words (`30 days`); None for anything else."""
    match = _DURATION.match(value.strip()) if isinstance(value, str) else None
    if not match:
        return None
    number, unit = int(match[1]), match[2]
    if unit not in _UNITS_US and unit not in _UNITS_MONTHS:
        unit = _WORDS.get(unit) or _WORDS.get(unit.removesuffix("s"), "")
    if number * _UNITS_US.get(unit, 0) > _LONGEST_US or number * _UNITS_MONTHS.get(unit, 0) > _LONGEST_MONTHS:
        return None
    if unit in _UNITS_US:
        return Duration(microseconds=number * _UNITS_US[unit], text=value)
    if unit in _UNITS_MONTHS:
        return Duration(months=number * _UNITS_MONTHS[unit], text=value)
    return None


def ago(value: Any) -> Duration | None:
    """`30 days ago` as a duration back from as_of; None for anything else."""
    return duration(value.removesuffix("ago").strip()) if isinstance(value, str) and value.endswith(" ago") else None


def window(value: Any, mark: Mark | None, reading: Reading) -> Window | None:
    """`last 30 days`, `this month`, `previous month`, or `{from: …, to: …}`."""
    if isinstance(value, str):
        words = value.strip().split(None, 1)
        if len(words) == 2 and words[0] == "last":
            length = duration(words[1]) or duration(f"1 {words[1]}")
            if length:
                return Window("last", duration=length, mark=mark)
        if len(words) == 2 and words[0] in ("this", "previous") and words[1] in CALENDAR_UNITS:
            return Window("this" if words[0] == "this" else "previous", unit=words[1], mark=mark)
    elif isinstance(value, dict):
        for key in value:
            if key not in ("from", "to"):
                reading.problem("CDP104", f"unknown key `{key}`", key_mark(value, key), near_key(key, ["from", "to"]))
        ends: list[str | Duration | None] = []
        for key in ("from", "to"):
            end = value.get(key)
            if end is not None and not isinstance(end, str):
                reading.problem(
                    "CDP107", f"`{key}` must be a time", value_mark(value, key), "such as 2026-01-31 or 90 days ago"
                )
                return None
            ends.append(ago(end) or end)
        if ends != [None, None]:
            return Window("between", start=ends[0], end=ends[1], mark=mark)
    reading.problem(
        "CDP107",
        "this is no window",
        mark,
        'write "last 30 days", "this month", "previous month" or {from: 90 days ago, to: 30 days ago}',
        length=len(value) if isinstance(value, str) else 1,
    )
    return None


def _value(raw: Any, mark: Mark | None, reading: Reading) -> Value | None:
    if isinstance(raw, dict):
        if list(raw) == ["ref"] and isinstance(raw["ref"], str):
            return Ref(raw["ref"], value_mark(raw, "ref"))
        key = next(iter(raw), "")
        near = "did you mean `ref`? " if did_you_mean(key, ["ref"]) else ""
        reading.problem(
            "CDP108",
            "a map is no value",
            key_mark(raw, key) or mark,
            f"{near}a scalar, or {{ref: path}}",
            length=len(key) or 1,
        )
        return None
    if raw is None:
        reading.problem("CDP108", "a bare null is no value", mark, "write {exists: false} or {empty: true}")
        return None
    if isinstance(raw, list):
        reading.problem("CDP108", "a list is no single value", mark, "use in, contains_any or contains_all")
        return None
    assert isinstance(raw, str | int | float | bool)
    if not isinstance(raw, str) and abs(raw) >= LARGEST:
        reading.problem(
            "CDP108", f"`{str(raw)[:40]}` is too large a number", mark, "28 digits are the limit", length=len(str(raw))
        )
        return None
    return raw


def test(raw: Any, mark: Mark | None, reading: Reading) -> Test:
    """A scalar (eq), a list (in), or a map of operators, which hold together."""
    if isinstance(raw, list):
        values = _values(raw, mark, reading)
        return (Comparison("in", values, mark),)
    if not isinstance(raw, dict):
        value = _value(raw, mark, reading)
        return () if value is None else (Comparison("eq", value, mark),)
    if "ref" in raw:
        reading.problem(
            "CDP108", "a ref never stands alone", mark, "say how it is compared: {eq: {ref: …}}, {gt: {ref: …}}"
        )
        return ()
    if not raw:
        reading.problem("CDP108", "an empty test", mark, f"one of {', '.join(TESTS)}")
    comparisons = (_comparison(key, raw[key], raw, reading) for key in raw)
    return tuple(comparison for comparison in comparisons if comparison is not None)


def _values(raw: list[Any], mark: Mark | None, reading: Reading) -> tuple[Value, ...]:
    found = []
    for index, item in enumerate(raw):
        if item is None:
            continue  # `not_in` drops NULL from its list, so that one NULL empties nothing
        value = _value(item, value_mark(raw, index), reading)
        if value is not None:
            found.append(value)
    if not raw:
        reading.problem("CDP108", "an empty list of values", mark)
    return tuple(found)


def _comparison(key: str, raw: Any, holder: dict[str, Any], reading: Reading) -> Comparison | None:
    at, value_at = key_mark(holder, key), value_mark(holder, key)
    if key not in TESTS:
        near = did_you_mean(key, TESTS)
        hint = (f"did you mean `{near}`? " if near else "") + f"tests: {', '.join(TESTS)}"
        reading.problem("CDP106", f"`{key}` is no test", at, hint, length=len(key))
        return None
    if key in ("exists", "empty"):
        if isinstance(raw, bool):
            return Comparison(key, raw, at)
        reading.problem("CDP108", f"`{key}` must be true or false", value_at)
        return None
    if key in DURATION_TESTS:
        length = duration(raw)
        if length:
            return Comparison(key, length, at)
        reading.problem("CDP107", f"`{key}` needs a duration", value_at, "such as 30d, 12h, 3mo or 30 days")
        return None
    if key in LIST_TESTS:
        if isinstance(raw, list):
            return Comparison(key, _values(raw, value_at, reading), at)
        reading.problem("CDP108", f"`{key}` needs a list", value_at, "write [a, b]")
        return None
    if key == "between":
        if isinstance(raw, list) and len(raw) == 2:
            ends = _values(raw, value_at, reading)
            if len(ends) == 2:
                return Comparison(key, ends, at)
        reading.problem("CDP108", "`between` needs a list of two values", value_at, "write [low, high]")
        return None
    if key == "matches" and not isinstance(raw, str):
        reading.problem("CDP108", "`matches` needs a pattern", value_at)
        return None
    if key == "matches":
        check_pattern(raw, value_at, reading)
    value = _value(raw, value_at, reading)
    if value is None:
        return None
    relative = ago(value) if key in TIME_TESTS else None
    return Comparison(key, relative if relative is not None else value, at)


def check_pattern(pattern: str, mark: Mark | None, reading: Reading) -> None:
    """Only what RE2 has: no look-around, no back-references, no possessive or atomic groups."""
    if re.search(r"\(\?(=|!|<=|<!|>|P=|\()|\\[1-9]|[*+?}]\+", pattern):
        reading.problem(
            "CDP108",
            "the pattern uses what not every engine has",
            mark,
            "no look-around, back-references or possessive quantifiers",
        )
        return
    try:
        re.compile(pattern)
    except re.error as error:
        reading.problem("CDP108", f"this is no pattern: {error}", mark)


def condition(raw: Any, mark: Mark | None, reading: Reading) -> Condition | None:
    """The tree of a condition; None where there is nothing that makes sense."""
    if isinstance(raw, list):
        reading.problem("CDP106", "a list is no condition", mark, "write `all:` or `any:` before it")
        return None
    if not isinstance(raw, dict):
        reading.problem("CDP106", "a condition must be a map", mark, "such as {country: FR} or {has: orders}")
        return None
    if not raw:
        reading.problem("CDP106", "an empty condition", mark, "leave `where` out to mean everybody")
        return None
    operators = [key for key in raw if key in OPTIONS]
    if not operators:
        operators = misspelt_operator(raw, OPTIONS, TESTS, reading)
    if not operators:
        return _fields(raw, mark, reading)
    if len(operators) > 1:
        reading.problem(
            "CDP106",
            f"`{operators[0]}` and `{operators[1]}` in one map",
            key_mark(raw, operators[1]),
            f"an operator stands alone: {{all: [{{{operators[0]}: …}}, {{{operators[1]}: …}}]}}",
            length=len(operators[1]),
        )
        return None
    return _operator(operators[0], raw, mark, reading)


def _operator(name: str, raw: dict[str, Any], mark: Mark | None, reading: Reading) -> Condition | None:
    at = key_mark(raw, name) or mark
    misspelt_options(name, raw, OPTIONS[name], reading)
    if name in LATER:
        reading.later(f"the condition `{name}`", at)
        return None
    value, value_at = raw[name], value_mark(raw, name)
    if name in ("all", "any"):
        return _several(name, value, value_at, at, reading)
    if name == "not":
        inner = condition(value, value_at, reading)
        return None if inner is None else Not(inner, at)
    if name == "field":
        if not isinstance(value, str) or "is" not in raw:
            reading.problem("CDP106", "`field` needs a name and `is`", at, '{field: "in", is: test}')
            return None
        asked = test(raw["is"], value_mark(raw, "is"), reading)
        return FieldTest(value, asked, value_at) if asked else None
    if name == "has":
        return _has(raw, at, reading)
    if name in ("did", "did_not"):
        return _did(name, raw, at, reading)
    if not isinstance(value, str):
        reading.problem("CDP106", f"`{name}` needs a text", value_at)
        return None
    if name == "sql":
        return Sql(value, value_at)
    since = _optional_test(raw, "for", reading)
    return InAudience(value, name == "not_in", since, value_at)


def _several(name: str, raw: Any, mark: Mark | None, at: Mark | None, reading: Reading) -> Condition | None:
    if not isinstance(raw, list) or not raw:
        reading.problem("CDP106", f"`{name}` needs a list of conditions", mark)
        return None
    parts = [condition(item, value_mark(raw, index), reading) for index, item in enumerate(raw)]
    kept = tuple(part for part in parts if part is not None)
    if not kept:
        return None
    return All(kept, at) if name == "all" else Any_(kept, at)


def _fields(raw: dict[str, Any], mark: Mark | None, reading: Reading) -> Condition | None:
    tests = _field_tests(raw, reading)
    if not tests:
        return None
    return tests[0] if len(tests) == 1 else All(tests, mark)


def _field_tests(raw: Any, reading: Reading, mark: Mark | None = None) -> tuple[FieldTest, ...]:
    if not isinstance(raw, dict) or not raw:
        reading.problem("CDP106", "a map of fields is needed", mark, "such as {status: paid}")
        return ()
    found = []
    for key in raw:
        asked = test(raw[key], value_mark(raw, key), reading)
        if asked:
            found.append(FieldTest(key, asked, key_mark(raw, key)))
    return tuple(found)


def _optional_test(raw: dict[str, Any], key: str, reading: Reading) -> Test | None:
    return test(raw[key], value_mark(raw, key), reading) or None if key in raw else None


def _rows(raw: dict[str, Any], reading: Reading) -> dict[str, Any]:
    """The options that `has` and `did` share."""
    measures = []
    for kind in MEASURES:
        if kind not in raw:
            continue
        asked = raw[kind]
        if not isinstance(asked, dict) or not asked:
            reading.problem("CDP106", f"`{kind}` needs {{field: test}}", value_mark(raw, kind))
            continue
        measures += [
            Measure(kind, name, found, key_mark(asked, name))  # type: ignore[arg-type]
            for name in asked
            if (found := test(asked[name], value_mark(asked, name), reading))
        ]
    return {
        "where": condition(raw["where"], value_mark(raw, "where"), reading) if "where" in raw else None,
        "count": _optional_test(raw, "count", reading),
        "measures": tuple(measures),
        "first": _field_tests(raw["first"], reading, value_mark(raw, "first")) if "first" in raw else (),
        "last": _field_tests(raw["last"], reading, value_mark(raw, "last")) if "last" in raw else (),
        "during": window(raw["during"], value_mark(raw, "during"), reading) if "during" in raw else None,
    }


def _has(raw: dict[str, Any], at: Mark | None, reading: Reading) -> Condition | None:
    path, match, vacuous = raw["has"], raw.get("match", "any"), raw.get("vacuous", False)
    if not isinstance(path, str):
        reading.problem("CDP106", "`has` needs a path", value_mark(raw, "has"), "such as orders or orders.lines")
        return None
    if match not in ("any", "all", "none"):
        reading.unknown(
            "CDP106", f"`match: {match}`", str(match), ("any", "all", "none"), "one of", value_mark(raw, "match")
        )
        match = "any"
    if match == "none" and "count" in raw:
        reading.problem("CDP106", "`count` with `match: none`", key_mark(raw, "count"), "none already means count 0")
    if match == "all" and "where" not in raw:
        reading.problem(
            "CDP106", "`match: all` without `where`", value_mark(raw, "match"), "say what all of them must satisfy"
        )
    if not isinstance(vacuous, bool):
        reading.problem("CDP106", "`vacuous` must be true or false", value_mark(raw, "vacuous"))
        vacuous = False
    return Has(path, match=match, vacuous=vacuous, mark=value_mark(raw, "has") or at, **_rows(raw, reading))


def _did(name: str, raw: dict[str, Any], at: Mark | None, reading: Reading) -> Condition | None:
    asked, asked_at = raw[name], value_mark(raw, name)
    events: tuple[str, ...] = ()
    prefix = None
    if isinstance(asked, str) and asked:
        events = (asked,)
    elif isinstance(asked, list) and asked and all(isinstance(item, str) and item for item in asked):
        events = tuple(asked)
    elif (
        isinstance(asked, dict)
        and list(asked) == ["starts_with"]
        and isinstance(asked["starts_with"], str)
        and asked["starts_with"]
    ):
        prefix = asked["starts_with"]
    else:
        key = next(iter(asked), "") if isinstance(asked, dict) else ""
        near = "did you mean `starts_with`? " if did_you_mean(key, ["starts_with"]) not in (None, key) else ""
        place = key_mark(asked, key) or asked_at if near else asked_at
        reading.problem(
            "CDP106", f"`{name}` needs an event", place, f"{near}a name, a list of names, or {{starts_with: x}}"
        )
        return None
    streams = raw.get("from", [])
    streams = [streams] if isinstance(streams, str) else streams
    if not isinstance(streams, list) or not all(isinstance(item, str) for item in streams):
        reading.problem("CDP106", "`from` needs the name of a stream, or a list of them", value_mark(raw, "from"))
        streams = []
    return Did(
        events, prefix, tuple(streams), name == "did_not", days=_optional_test(raw, "days", reading),
        mark=asked_at or at, from_mark=value_mark(raw, "from"), **_rows(raw, reading),
    )  # fmt: skip
