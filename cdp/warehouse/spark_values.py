"""Spark's types and values, and ours: naive UTC, exact decimals, lists and JSON as text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from importlib import import_module
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson
from sqlglot import exp

from cdp.warehouse.base import Column
from cdp.warehouse.json_lines import table_rows

_TYPES = {"string": "text", "char": "text", "varchar": "text", "boolean": "bool", "date": "date"}
_TYPES |= {"tinyint": "int", "smallint": "int", "int": "int", "bigint": "int", "decimal": "decimal"}
_TYPES |= {"float": "float", "double": "float", "timestamp": "timestamp", "timestamp_ntz": "timestamp"}
_TYPES |= {"array": "list", "variant": "json"}
NATIVE = {"text": "STRING", "int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "decimal": "DECIMAL(38, 9)"}
NATIVE |= {"date": "DATE", "timestamp": "TIMESTAMP_NTZ", "list": "STRING", "json": "STRING"}
_CHUNK_ROWS, _CHUNK_CHARACTERS = 20_000, 8_000_000
_NESTED = ("array", "map", "struct", "variant")


def columns_of(schema: Any) -> tuple[Column, ...]:
    """The columns of a StructType."""
    natives = [(field.name, str(field.dataType.simpleString())) for field in schema.fields]
    return tuple(Column(name, _TYPES.get(kind(native), "other"), native) for name, native in natives)


def kind(native: str) -> str:
    """`decimal(10,2)`, `array<int>` ► `decimal`, `array`."""
    return native.partition("(")[0].partition("<")[0]


def plain(frame: Any) -> Any:
    """The frame with values as we give them. An instant would come back in the zone of this machine, so it becomes a
    wall-clock time on the server, whose session is in UTC."""
    kinds = [kind(column.native) for column in columns_of(frame.schema)]
    if not any(one == "timestamp" or one in _NESTED for one in kinds):
        return frame
    functions = import_module("pyspark.sql.connect.functions")
    names = [f"c{number}" for number in range(len(kinds))]
    cells = []
    for name, one in zip(names, kinds, strict=True):
        cell = functions.col(name)
        if one == "timestamp":
            cell = cell.cast("timestamp_ntz")
        elif one in _NESTED:
            cell = functions.to_json(cell, {"ignoreNullFields": "false"})
        cells.append(cell.alias(name))
    return frame.toDF(*names).select(*cells)


def chunks(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """The file's rows, so many at a time, as a JSON array of arrays of texts; one empty array for no rows.

    Raises StatementError CDP306 at a line that is no JSON object.
    """
    rows = table_rows(path, columns)
    first = next(rows, None)
    if first is None:
        yield 0, "[]"
        return
    rows = chain([first], rows)
    while chunk := list(islice(_bounded(rows), _CHUNK_ROWS)):
        yield len(chunk), json.dumps(chunk)


def cells(columns: Mapping[str, str]) -> str:
    """The fields of `chunks`, of type and name. An offset of a time counts; without one it is in UTC."""
    return ", ".join(
        f"{'CAST(CAST({} AS TIMESTAMP) AS {})' if type_ == 'timestamp' else 'CAST({} AS {})'}".format(
            f"r[{number}]", NATIVE[type_]
        )
        + f" AS {quoted_name(name)}"
        for number, (name, type_) in enumerate(columns.items())
    )


ROWS = "(SELECT EXPLODE(FROM_JSON(:document, 'ARRAY<ARRAY<STRING>>')) AS r) AS rows"
"""The rows of a chunk, which is bound to `document`; createDataFrame would ask for settings that older servers lack."""


def quoted_name(name: str) -> str:
    """The name in backticks."""
    return str(exp.to_identifier(name, quoted=True).sql(dialect="spark"))


class Ahead(Iterator[Any]):
    """An iterator that knows whether what it gave was the last; `number`: how many it gave."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items
        self._next = next(items, None)
        self.number = 0

    @property
    def ended(self) -> bool:
        return self._next is None

    def __next__(self) -> Any:
        if self._next is None:
            raise StopIteration
        found, self._next = self._next, next(self._items, None)
        self.number += 1
        return found


def _bounded(rows: Iterator[list[str | None]]) -> Iterator[list[str | None]]:
    size = 0
    for row in rows:
        yield row
        size += sum(len(value) for value in row if value is not None)
        if size >= _CHUNK_CHARACTERS:
            return


def json_line(names: Sequence[str], row: Sequence[object]) -> bytes:
    """One row as a JSON object and a newline: decimals as text, times ISO with Z, what JSON has no number for as null."""
    return orjson.dumps(dict(zip(names, map(_written, row), strict=True))) + b"\n"


def _written(value: object) -> object:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return f"{value.isoformat(timespec='microseconds')}Z"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
