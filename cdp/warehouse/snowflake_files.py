"""JSON lines on their way to Snowflake: arrays of rows, each in one bound value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from cdp.warehouse.json_lines import table_rows

_SIZE = 1_000_000  # characters of JSON in one bound value; a VARIANT holds at least 16 MB


def chunks(path: Path, columns: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """(number of rows, a JSON array of them), each row an array of texts in the order of `columns`.

    Raises StatementError CDP306 at a line that is no JSON object.
    """
    stamps = [place for place, type_ in enumerate(columns.values()) if type_ == "timestamp"]
    texts: list[str] = []
    size = 0
    for row in table_rows(path, columns):
        for place in stamps:
            text = row[place]
            if text is not None and text[-1:] in ("Z", "z"):  # a column of naive times is in UTC
                row[place] = text[:-1]
        # half of a surrogate pair is no text
        texts.append(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace").decode())
        size += len(texts[-1])
        if size >= _SIZE:
            yield len(texts), f"[{','.join(texts)}]"
            texts, size = [], 0
    if texts:
        yield len(texts), f"[{','.join(texts)}]"
