"""Table names as they are handed to an adapter: dot-separated parts, in double quotes where a part holds a dot."""

from __future__ import annotations

import hashlib
import re

_PART = re.compile(r'"((?:[^"]|"")*)"|([^."]+)')


def parts(table: str) -> tuple[str, ...]:
    """`raw."Odd.Name"` ► ("raw", "Odd.Name")."""
    return tuple(match[1].replace('""', '"') if match[1] is not None else match[2] for match in _PART.finditer(table))


def identifier(name: str) -> str:
    """The name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quoted(table: str) -> str:
    """The whole name, each part quoted."""
    return ".".join(identifier(part) for part in parts(table))


def beside(table: str) -> str:
    """The name of a table that is made beside `table`, at most 63 bytes long."""
    *schema, name = parts(table)
    mark = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()[:8]
    return ".".join([*schema, f"{name[:45]}__{mark}"])


def literal(value: str) -> str:
    """The text as an SQL literal of an engine whose literals know no backslash escapes (DuckDB, Postgres)."""
    return "'" + value.replace("'", "''") + "'"
