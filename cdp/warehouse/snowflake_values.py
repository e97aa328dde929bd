"""Snowflake's types in our words, and its values as the other engines give them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from cdp.warehouse.base import Column
from cdp.warehouse.snowflake_names import column, shown

# the numbers of types in the driver's descriptions of a result
_CODES: tuple[str, ...] = (
    "FIXED", "FLOAT", "VARCHAR", "DATE", "TIMESTAMP", "VARIANT", "TIMESTAMP_LTZ", "TIMESTAMP_TZ", "TIMESTAMP_NTZ",
    "OBJECT", "ARRAY", "BINARY", "TIME", "BOOLEAN",
)  # fmt: skip
_TYPES = {"VARCHAR": "text", "CHAR": "text", "STRING": "text", "TEXT": "text", "FLOAT": "float", "DOUBLE": "float"}
_TYPES |= {"REAL": "float", "BOOLEAN": "bool", "DATE": "date", "DATETIME": "timestamp", "VARIANT": "json"}
_TYPES |= {"OBJECT": "json", "MAP": "json", "ARRAY": "list", "DECFLOAT": "decimal"}
_NUMBER = re.compile(r"(?:NUMBER|DECIMAL|NUMERIC)\((\d+), ?(\d+)\)")
NATIVE = {"text": "VARCHAR", "int": "NUMBER(38, 0)", "decimal": "NUMBER(38, 9)", "float": "DOUBLE", "bool": "BOOLEAN"}
NATIVE |= {"date": "DATE", "timestamp": "TIMESTAMP_NTZ", "list": "VARCHAR", "json": "VARCHAR"}

Row = tuple[object, ...]


def type_of(native: str) -> str:
    """Our word for a type as DESCRIBE writes it: `NUMBER(38,0)` ► int."""
    number = _NUMBER.match(native)
    if number:
        return "decimal" if int(number[2]) else "int"
    if native.startswith("TIMESTAMP"):
        return "timestamp"
    return _TYPES.get(re.split(r"[(\s]", native, maxsplit=1)[0], "other")


def columns_of(description: Sequence[Any] | None) -> tuple[Column, ...]:
    """The columns of a result from the driver's description of it."""
    return tuple(Column(str(item[0]), *_typed(item)) for item in description or ())


def _typed(item: Any) -> tuple[str, str]:
    code, precision, scale = item[1], item[4], item[5]
    name = _CODES[code] if isinstance(code, int) and code < len(_CODES) else "OTHER"
    native = f"NUMBER({precision or 38},{scale or 0})" if name == "FIXED" else name
    return type_of(native), native


def plain(description: Sequence[Any] | None) -> Callable[[Row], Row]:
    """How a row of a result is made plain: instants naive in UTC, documents as text, binary as bytes."""
    odd = [place for place, item in enumerate(description or ()) if item[1] in (4, 5, 6, 7, 9, 10, 11)]
    if not odd:
        return tuple

    def made(row: Row) -> Row:
        values = list(row)
        for place in odd:
            values[place] = _plain(values[place])
        return tuple(values)

    return made


def _plain(value: object) -> object:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return bytes(value) if isinstance(value, bytearray) else value


def json_line(names: Sequence[str], row: Row) -> str:
    """A row as a JSON object: decimals as text, timestamps ISO with Z, what JSON cannot say NULL."""
    return json.dumps(dict(zip(names, map(_said, row), strict=True)), ensure_ascii=False, separators=(",", ":"))


def _said(value: object) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds") + "Z"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.hex() if isinstance(value, bytes | bytearray) else str(value)


def keys(description: Sequence[Any] | None) -> list[str]:
    """The names of a result's columns as keys of a JSON object."""
    return [shown(str(item[0])) for item in description or ()]


def fields(columns: Mapping[str, str]) -> str:
    """The columns of a table to be made, by our types."""
    return ", ".join(f"{column(name)} {NATIVE[type_]}" for name, type_ in columns.items())


def casts(columns: Mapping[str, str]) -> str:
    """The columns out of `f.value`, an array of texts, in their types; a text is cast, never a number of JSON, which
    may have passed through a double."""
    return ", ".join(
        f"CAST(CAST(GET(f.value, {place}) AS VARCHAR) AS {NATIVE[type_]})"
        for place, type_ in enumerate(columns.values())
    )
