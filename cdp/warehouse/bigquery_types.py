"""BigQuery's types and ours: names of types, values of rows, JSON lines."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from cdp.warehouse.base import Column
from cdp.warehouse.json_lines import table_rows

_STANDARD = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}
_OURS = {"STRING": "text", "INT64": "int", "NUMERIC": "decimal", "BIGNUMERIC": "decimal", "FLOAT64": "float"}
_OURS |= {"BOOL": "bool", "DATE": "date", "DATETIME": "timestamp", "TIMESTAMP": "timestamp", "JSON": "json"}
# our naive timestamps are DATETIME; NUMERIC is decimal(38,9); lists and JSON of a file are kept as their text
NATIVE = {"text": "STRING", "int": "INT64", "decimal": "NUMERIC", "float": "FLOAT64", "bool": "BOOL", "date": "DATE"}
NATIVE |= {"timestamp": "DATETIME", "list": "STRING", "json": "STRING"}


def column(field: Any) -> Column:
    """Our view of a field of a schema."""
    native = _native(field)
    if field.mode == "REPEATED":
        return Column(field.name, "list", f"ARRAY<{native}>")
    return Column(field.name, _OURS.get(native.split("(")[0], "other"), native)


def _native(field: Any) -> str:
    name = _STANDARD.get(field.field_type, field.field_type)
    if name == "STRUCT":
        inner = ", ".join(f"{part.name} {column(part).native}" for part in field.fields)
        return f"STRUCT<{inner}>"
    if field.precision is not None:
        return f"{name}({field.precision}{f',{field.scale}' if field.scale is not None else ''})"
    return str(name)


def tuples(rows: Iterable[Any], schema: Sequence[Any]) -> Iterable[tuple[object, ...]]:
    """Rows of the client as ours: times naive and in UTC; lists, JSON and structs as text."""
    changes = [(place, change) for place, field in enumerate(schema) if (change := _change(field)) is not None]
    if not changes:
        return (row.values() for row in rows)
    return (_changed(row.values(), changes) for row in rows)


Change = Callable[[Any], object]


def _changed(values: tuple[Any, ...], changes: Sequence[tuple[int, Change]]) -> tuple[object, ...]:
    row: list[object] = list(values)
    for place, change in changes:
        if row[place] is not None:
            row[place] = change(row[place])
    return tuple(row)


def _change(field: Any) -> Change | None:
    if field.mode == "REPEATED" or field.field_type in ("JSON", "RECORD", "STRUCT"):
        return _text
    return naive if field.field_type == "TIMESTAMP" else None


def naive(value: datetime) -> datetime:
    """The moment in UTC, without its zone."""
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return _stamp(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return value.isoformat() if isinstance(value, date) else str(value)


def as_json(value: object) -> object:
    """A value of a row as a file of JSON lines holds it: decimals as text, times in ISO with Z, no NaN."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return format(value, "f") if isinstance(value, Decimal) else _plain(value)


def _stamp(value: datetime) -> str:
    return naive(value).isoformat(timespec="microseconds") + "Z"


def copied(path: Path, columns: Mapping[str, str], out: Any) -> int:
    """Write the file's lines as a load job takes them: every value as text, which it reads by the schema. How many."""
    count = 0
    for row in table_rows(path, columns):
        count += 1
        cells = zip(columns.items(), row, strict=True)
        line = {name: _of_text(value, type_) for (name, type_), value in cells if value is not None}
        out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    return count


def _of_text(value: str, type_: str) -> str:
    """A DATETIME has no zone."""
    return value[:-1] if type_ == "timestamp" and value[-1:] in ("Z", "z") else value
