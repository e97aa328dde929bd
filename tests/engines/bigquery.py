"""BigQuery: its real driver against a server of our own over DuckDB (bigquery_server.py), one for each worker.

That server understands BigQuery's SQL through sqlglot, as cdp writes it: it shows that jobs, pages, sessions, errors and
retries go the right way, and refuses what the documentation forbids, but it does not show what the dialect means.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.engines.bigquery_server import Server, serving

# worlds of tests/meaning that are built here too; all others pass as well, which CDP_TEST_EVERY_WORLD=1 shows in a minute
WORLDS = frozenset({"golden", "relations", "spring"})
GAPS: dict[str, str] = {}  # part of a test's id ► why
if not os.environ.get("CDP_TEST_EVERY_WORLD"):
    for _world in Path(__file__).resolve().parents[1].glob("meaning/cases/*.yml"):
        if _world.stem not in WORLDS:
            GAPS[f"[{_world.stem}-bigquery-"] = "this world is left out for the time that it takes"
SERVERS: dict[str, Server] = {}  # by address, of this process


@contextmanager
def start(base: Path) -> Iterator[str]:
    """The server's address."""
    with serving() as server:
        SERVERS[server.address] = server
        yield server.address
        del SERVERS[server.address]


@contextmanager
def fresh(address: str, folder: Path) -> Iterator[dict[str, Any]]:
    """A project of its own."""
    project = f"p-{uuid4().hex[:12]}"
    yield {"type": "bigquery", "project": project, "api_endpoint": address}
    SERVERS[address].forget(project)
