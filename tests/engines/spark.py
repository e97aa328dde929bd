"""Spark Connect with Delta tables: a Sail server (github.com/lakehq/sail) of this worker.

Sail is an engine of its own that speaks Spark's protocol and dialect: it proves wiring and most of the meaning, not what
Spark itself would say. `test_real_spark.py` asks Spark.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from cdp.warehouse.spark import Spark
from tests.engines import Unavailable

SAIL = Path(__file__).resolve().parents[2] / ".venv-sail" / "bin" / "sail"

_REPLACEMENT = (
    "Rust's regular expressions read `$1t` in a replacement as a group of that name; Java's read `$1`, then t"
)
_DECIMAL = "no cast of a text with an exponent, or of one of 38 digits, to decimal"
_WORLD = "a world takes Sail long; set CDP_TEST_SPARK_WORLDS=1 for all of them"
# what Sail cannot do and Spark with Delta can (the functions were tried on a real Spark), by a part of a test's id
GAPS: dict[str, str] = {
    "every_engine[spark-cdp_text_of_decimal(a)0]": _DECIMAL,
    "every_engine[spark-cdp_text_of_float(a)]": "a text is cast to decimal by way of a double",
    "every_engine[spark-cdp_try_decimal(a)]": _DECIMAL,
    "every_engine[spark-cdp_divide(a, b)": "its division of decimals overflows in between",
    "every_engine[spark-cdp_try_date_format(a, '%d": _REPLACEMENT,
    "every_engine[spark-cdp_try_timestamp_format": _REPLACEMENT,
    "every_engine[spark-cdp_json_text(a, 'big')]": "FROM_JSON takes a number of 30 digits for a double",
    "every_engine[spark-cdp_list_length(a)]": "JSON_ARRAY_LENGTH('{}') is 0, not NULL",
    "every_engine[spark-cdp_matches(a, '^a": "its regular expressions cannot look behind",
    "test_counts_of_changed_rows_are_told[spark]": "DELETE tells 0 rows, MERGE those that it kept, too",
    "test_columns_are_found_without_regard_to_case": "the names of tables are told apart by case",
    "golden-spark-lock-date": _REPLACEMENT,
    "[spark-stays_merged]": "its planner loses the order of a window that sorts by two columns (an assertion of its own)",
    "[spark-stays_keyed]": _WORLD,
}
if not os.environ.get("CDP_TEST_SPARK_WORLDS"):
    GAPS |= {f"says[{world}-spark": _WORLD for world in ("rows", "events", "paths", "windows", "operators", "golden")}


@contextmanager
def start(base: Path) -> Iterator[str]:
    """The address of a server on a free port."""
    if not SAIL.is_file():
        raise Unavailable("Sail is not installed: bash tests/engines/ensure_sail.sh")
    port = free_port()
    home = base / "sail"
    home.mkdir(exist_ok=True)
    with (home / "log").open("w") as log:
        command = [str(SAIL), "spark", "server", "--ip", "127.0.0.1", "--port", str(port)]
        server = subprocess.Popen(command, cwd=home, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait(server, port)
        with _patched():
            yield f"sc://127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextmanager
def fresh(address: str, folder: Path) -> Iterator[dict[str, Any]]:
    """A session of its own: Sail's catalogue lives in the session, so that all connections must share one."""
    lake = folder / "lake"
    lake.mkdir(parents=True, exist_ok=True)
    remote = f"{address}/;user_id=cdp;session_id={uuid4()}"
    yield {"type": "spark", "remote": remote, "config": {"spark.sql.warehouse.dir": str(lake)}}
    shutil.rmtree(lake, ignore_errors=True)


@contextmanager
def _patched() -> Iterator[None]:
    """Sail keeps the columns of a table that is replaced unless it is told otherwise, and lets a view and a table have
    one name; Delta's CREATE OR REPLACE takes the new columns, and Spark refuses the name."""
    creation, replace = Spark._creation, Spark._replace

    def replacing(self: Spark, kind: str, name: str, select: str, *, odd: bool = False) -> None:
        schema, _, bare = name.rpartition(".")
        other = self._listed(schema).get(bare, kind)
        if other != kind:
            self.drop(name)
        replace(self, kind, name, select, odd=odd)

    def creating(self: Spark, kind: str, name: str, select: str, *, odd: bool = False) -> str:
        return creation(self, kind, name, select, odd=odd).replace(
            " USING DELTA", " USING DELTA OPTIONS ('overwriteSchema' = 'true')", 1
        )

    Spark._replace, Spark._creation = replacing, creating  # type: ignore[method-assign]
    try:
        yield
    finally:
        Spark._replace, Spark._creation = replace, creation  # type: ignore[method-assign]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if server.poll() is not None:
            raise Unavailable(f"Sail ended with {server.returncode}")
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    server.kill()
    raise Unavailable("Sail did not start within 30 s")
