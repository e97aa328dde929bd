"""Values as plain JSON: what a program reads on stdout means the same everywhere."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Set
from typing import Any


def jsonable(value: Any) -> Any:
    """Dicts, lists, text, numbers, booleans and None only: times in ISO 8601 (UTC with Z), decimals as text,
    NaN and infinities as null, a dataclass as its fields."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: jsonable(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, Set):
        return sorted((jsonable(item) for item in value), key=str)
    return _scalar(value)


def _scalar(value: Any) -> str:
    from datetime import UTC, datetime  # not needed by `cdp --version`

    if isinstance(value, datetime):
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return moment.isoformat().replace("+00:00", "Z")
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return str(value)
