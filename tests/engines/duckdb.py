"""DuckDB: a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def start(base: Path) -> Iterator[str]:
    """Nothing listens."""
    yield ""


@contextmanager
def fresh(address: str, folder: Path) -> Iterator[dict[str, Any]]:
    """A file that is not there yet."""
    yield {"type": "duckdb", "path": str(folder / "warehouse.duckdb")}
