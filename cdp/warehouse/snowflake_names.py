"""How Snowflake stores names: a plain word in upper case, what stands in double quotes as it is."""

from __future__ import annotations

import re

from cdp.warehouse.names import identifier

_PART = re.compile(r'"((?:[^"]|"")*)"|([^."]+)')
_OURS = re.compile(r"[a-z_][a-z0-9_]*\Z")
_FOLDED = re.compile(r"[A-Z_][A-Z0-9_$]*\Z")


def stored(table: str) -> tuple[str, ...]:
    """The parts of a table's name as the catalogue spells them: `raw."Odd"` ► ("RAW", "Odd")."""
    return tuple(
        match[1].replace('""', '"') if match[1] is not None else match[2].upper() for match in _PART.finditer(table)
    )


def full(table: str) -> str:
    """The whole name, each part quoted in its stored spelling."""
    return ".".join(identifier(part) for part in stored(table))


def column(name: str) -> str:
    """A column to be made, quoted: our plain lower-case words as an unquoted name is stored, others as they are."""
    return identifier(name.upper() if _OURS.match(name) else name)


def shown(name: str) -> str:
    """A stored name as we write it: lower case where it needs no quotes."""
    return name.lower() if _FOLDED.match(name) else name
