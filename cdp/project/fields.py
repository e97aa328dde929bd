"""Field types of the models that are more than a scalar: conditions, windows, durations, names."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainValidator, ValidationInfo, WithJsonSchema

from cdp.errors import Mark
from cdp.project import grammar
from cdp.project.condition import All, Condition, Duration, Window
from cdp.project.reader import Map, Seq
from cdp.project.reading import Reading

ColumnType = Literal["text", "int", "decimal", "float", "bool", "date", "timestamp", "list", "json"]


def _parsed(
    parse: Callable[[Any, Mark | None, Reading], Any], instead: Any = None
) -> Callable[[Any, ValidationInfo], Any]:
    """A validator that lets the grammar note its own mistakes, all of them, each at its place; `instead` of what has any."""

    def validate(value: Any, info: ValidationInfo) -> Any:
        reading = info.context if isinstance(info.context, Reading) else Reading()
        before = len(reading.problems)
        mark = value.at if isinstance(value, Map | Seq) else None
        if mark is None and not isinstance(value, Map | Seq):
            reading = Reading(reading.lines)  # a scalar has no place of its own: pydantic knows it
            result = parse(value, mark, reading)
            if reading.errors:
                first = reading.errors[0]
                raise ValueError(f"is wrong: {first.message}" + (f"; {first.hint}" if first.hint else ""))
            return result
        result = parse(value, mark, reading)
        if result is None and len(reading.problems) == before:
            raise ValueError("says nothing")
        return instead if result is None else result

    return validate


def _duration(value: Any, mark: Mark | None, reading: Reading) -> Duration | None:
    found = grammar.duration(value)
    if found is None:
        reading.problem("CDP107", "this is no duration", mark, "such as 30m, 12h, 7d, 3mo")
    return found


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str | int) and not isinstance(value, bool) else value


ConditionField = Annotated[
    Condition, PlainValidator(_parsed(grammar.condition, All(()))), WithJsonSchema({"x-cdp": "condition"})
]
WindowField = Annotated[Window, PlainValidator(_parsed(grammar.window)), WithJsonSchema({"x-cdp": "window"})]
DurationField = Annotated[
    Duration, PlainValidator(_parsed(_duration)), WithJsonSchema({"type": "string", "examples": ["30m", "24h", "7d"]})
]
_SHARE = re.compile(r"\d+(\.\d+)?\s*%\Z")


def _share(value: Any) -> str | int:
    """`20%`, or a number of rows."""
    if isinstance(value, str) and _SHARE.match(value.strip()) and float(value.strip().rstrip("% ")) <= 100:
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError("must be a share from 0% to 100%, or a number of rows")


ShareField = Annotated[
    str | int, PlainValidator(_share), WithJsonSchema({"type": ["string", "integer"], "examples": ["20%", 1000]})
]
Names = Annotated[list[str], BeforeValidator(_one_or_many, json_schema_input_type=str | list[str])]
Key = Names  # a column, or several
