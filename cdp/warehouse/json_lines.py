"""JSON lines ► rows of text for an engine that cannot read the file itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from cdp.errors import StatementError

_COMPACT = (",", ":")
_OFFSET = re.compile(r"[+-]\d\d:?\d\d\Z")


class _Number(str):
    """A number as it is written in the file: a decimal must not pass through a double."""


def table_rows(path: Path, columns: Mapping[str, str]) -> Iterator[list[str | None]]:
    """One row of texts per line, in the order of `columns`; a missing key is NULL, a nested value its compact text.

    Raises StatementError CDP306 at a line that is no JSON object, with its number and never with its content.
    NUL, which Postgres cannot store, becomes U+FFFD.
    """
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line, parse_float=_Number, parse_int=_Number)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise StatementError("CDP306", f"line {number} of {path.name} is no JSON object")
            yield [
                _in_utc(_text(row.get(name), name, line)) if type_ == "timestamp" else _text(row.get(name), name, line)
                for name, type_ in columns.items()
            ]


def _in_utc(text: str | None) -> str | None:
    """Without its offset, which a column of naive times would overlook."""
    if text is None or not _OFFSET.search(text):
        return text
    try:
        return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None).isoformat()
    except ValueError:
        return text  # the engine says what it thinks of it


def _text(value: object, column: str, line: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.replace("\0", "\ufffd") if "\0" in value else value
    if isinstance(value, bool):
        return "true" if value else "false"
    # nested: read again with plain numbers, since a _Number would be written as a string
    return json.dumps(json.loads(line)[column], ensure_ascii=False, separators=_COMPACT).replace("\\u0000", "\ufffd")
