"""A column's type as an engine's catalogue writes it ► in the words of `sources.lock.yml`."""

from __future__ import annotations

from typing import Any

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError

_T = exp.DataType.Type
_FLOATS = (_T.FLOAT, _T.DOUBLE, _T.UDOUBLE)
_WITH_ZONE = (_T.TIMESTAMPTZ, _T.TIMESTAMPLTZ)
_PLAIN = {_T.BOOLEAN: "bool", _T.DATE: "date", _T.DATE32: "date", _T.ARRAY: "list", _T.LIST: "list"}
_JSON = (_T.JSON, _T.JSONB, _T.VARIANT, _T.OBJECT, _T.STRUCT, _T.MAP, _T.SUPER, _T.NESTED)
_NO_TIMESTAMP = (_T.TIME, _T.TIMETZ)


def lock_type(native: Any, dialect: str) -> str | None:
    """`DECIMAL(12,2)` ► decimal, `timestamp with time zone` ► timestamptz, what is none of the language ► other.

    None where nothing is told. `dialect`: an adapter of dbt; one that nobody knows is read as plain SQL.
    """
    if not isinstance(native, str) or not native.strip():
        return None
    known = dialect if Dialect.get(dialect) is not None else None
    try:
        kind = exp.DataType.build(native.strip(), dialect=known, udt=True).this
    except (SqlglotError, ValueError):
        return "other"
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind in exp.DataType.TEXT_TYPES:
        return "text"
    if kind in exp.DataType.INTEGER_TYPES and kind is not _T.BIT:
        return "int"
    if kind in exp.DataType.REAL_TYPES:
        return "float" if kind in _FLOATS else "decimal"
    if kind in exp.DataType.TEMPORAL_TYPES and kind not in _NO_TIMESTAMP:
        return "timestamptz" if kind in _WITH_ZONE else "timestamp"
    return "json" if kind in _JSON else "other"
