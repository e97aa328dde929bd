"""How fast the sync engine is: the diff against the engine's own join, sending against theory, a run without changes.

    python -m tests.bench.sync [--rows 1000000] [--fields 10] [--send 100000] [--batch 100] [--latency 0.02]

Prints ratios, measured in turns in one process, with machine and versions; asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb as engine
import sqlglot

from cdp import __version__
from cdp.compile.plan import SyncField, SyncPlan
from cdp.destination import destination
from cdp.destination.base import Destination
from cdp.destination.outcome import Answer, Batch
from cdp.sync.diff import Diff, Horizon
from cdp.sync.engine import sync_one
from cdp.sync.ledger import read_ledger
from cdp.sync.names import Names
from cdp.sync.result import SyncOptions, SyncResult
from cdp.sync.route import route_of
from cdp.sync.state import open_state
from cdp.warehouse.duckdb import DuckDB
from tests.sync.making import Fake, plan

WORDS = ("text", "int", "decimal", "text", "date", "timestamp", "bool", "float", "text", "int")
VALUES = {
    "text": "'value ' || (i * {k} % 1000003)", "int": "i * {k} % 1000003", "bool": "i % {k} = 0", "float": "i / {k}.0",
    "decimal": "CAST(i * {k} % 100000 AS DECIMAL(38, 9)) / 100", "date": "DATE '2020-01-01' + CAST(i % 2000 AS INT)",
    "timestamp": "TIMESTAMP '2024-01-01' + to_seconds(i * {k} % 10000000)",
}  # fmt: skip


def contacts(fields: int) -> SyncPlan:
    """A sync of so many fields of mixed types."""
    mapped = tuple(SyncField(f"field{i}", f"f_field{i}", WORDS[i % len(WORDS)]) for i in range(fields))
    return plan(mapped, guard={"max_removed": "100%", "max_changed": "100%"})


def fill(warehouse: DuckDB, sync: SyncPlan, rows: int) -> None:
    """The mapped table."""
    warehouse.ensure_schemas()
    values = [
        f"CAST({VALUES[f.type].format(k=7 + i)} AS {_sql(f.type)}) AS {f.column}" for i, f in enumerate(sync.fields)
    ]
    warehouse.make_table(
        sync.table,
        f"SELECT 'k' || i AS row_key, 'k' || i || '@example.com' AS m_email, CAST(NULL AS TIMESTAMP) AS row_at,"
        f" CAST(NULL AS VARCHAR) AS held, {', '.join(values)} FROM range({rows}) AS t(i)",
    )


def _sql(type_: str) -> str:
    names = {"text": "VARCHAR", "int": "BIGINT", "decimal": "DECIMAL(38, 9)", "float": "DOUBLE", "bool": "BOOLEAN"}
    return names.get(type_, type_.upper())


def seconds(work: Callable[[], object]) -> float:
    """How long it took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def bench_diff(rows: int, fields: int, rounds: int) -> None:
    """The diff of `rows` rows of which one in a hundred changed, against the engine's own full join and EXCEPT."""
    folder = Path(tempfile.mkdtemp())
    warehouse = DuckDB(folder / "bench.duckdb")
    sync = contacts(fields)
    fill(warehouse, sync, rows)
    fake = Fake()
    run(warehouse, sync, fake, folder, "r1", adopt=True)
    warehouse.execute(
        f"UPDATE {sync.table} SET f_field0 = f_field0 || '!' WHERE CAST(substr(row_key, 2) AS BIGINT) % 100 = 0"
    )
    state = open_state(warehouse)
    names = Names.of("cdp_state", sync.name)
    columns = [f.column for f in sync.fields]
    differs = " OR ".join(f"c.{name} IS DISTINCT FROM s.{name}" for name in columns)
    some = ", ".join(f"c.{name}" for name in columns)
    join = (
        f"CREATE OR REPLACE TABLE cdp_state.own AS SELECT coalesce(c.row_key, s.row_key) AS row_key, {some}"
        f" FROM {sync.table} AS c FULL JOIN {names.ledger} AS s ON s.row_key = c.row_key"
        f" WHERE c.row_key IS NULL OR s.row_key IS NULL OR {differs}"
    )
    listed = ", ".join(["row_key", *columns])
    both = "CREATE OR REPLACE TABLE cdp_state.own AS (SELECT {0} FROM {1} EXCEPT SELECT {0} FROM {2})"

    def ours() -> None:
        found = Diff(
            state, sync, route_of(sync, fake), read_ledger(state, sync, names.ledger), names, run_id="x", version=9,
            horizon=Horizon(0, 0), options=SyncOptions(), changes_upto=None, members_exist=False, refused=False,
            stage_columns=None,
        ).run()  # fmt: skip
        assert found.planned["change"] == rows // 100

    def excepted() -> None:
        warehouse.execute(both.format(listed, sync.table, names.ledger))
        warehouse.execute(both.format(listed, names.ledger, sync.table))

    times: dict[str, list[float]] = {"ours": [], "join": [], "except": []}
    for _ in range(rounds):
        times["join"].append(seconds(lambda: warehouse.execute(join)))
        times["ours"].append(seconds(ours))
        times["except"].append(seconds(excepted))
    middle = {name: statistics.median(took) for name, took in times.items()}
    print(
        f"diff of {rows:,} rows × {fields} fields, 1 % changed: {middle['ours']:.2f} s, the engine's full join"
        f" {middle['join']:.2f} s (ratio {middle['ours'] / middle['join']:.2f}), EXCEPT both ways {middle['except']:.2f} s"
        f" (ratio {middle['ours'] / middle['except']:.2f})"
    )
    warehouse.close()


def run(warehouse: DuckDB, sync: SyncPlan, to: Destination, folder: Path, run_id: str, **options: Any) -> SyncResult:
    """One sync."""
    return sync_one(
        sync, warehouse, to, run_id=run_id, as_of=datetime.now(UTC), project_dir=folder,
        options=replace(SyncOptions(), **options),
    )  # fmt: skip


class Watched(Destination):
    """A destination, and when its first request began and its last one ended."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.name = inner.name
        self.concurrency = inner.concurrency
        self.began = 0.0
        self.ended = 0.0

    async def send(self, batch: Batch) -> Answer:
        self.began = self.began or time.perf_counter()
        answer: Answer = await self.inner.send(batch)
        self.ended = time.perf_counter()
        return answer

    @property
    def operations(self) -> Any:
        return self.inner.operations

    def account(self) -> str:
        return str(self.inner.account())

    def invalid(self, change: Any) -> str | None:
        found: str | None = self.inner.invalid(change)
        return found

    def batches(self, operation: Any, changes: Any) -> Any:
        return self.inner.batches(operation, changes)

    async def open(self, delivery: Any) -> None:
        await self.inner.open(delivery)

    async def close(self, *, complete: bool) -> None:
        await self.inner.close(complete=complete)


def bench_send(rows: int, batch: int, latency: float) -> None:
    """A first sync to a receiver in a process of its own, and a second one with nothing to do."""
    folder = Path(tempfile.mkdtemp())
    warehouse = DuckDB(folder / "bench.duckdb")
    sync = contacts(10)
    fill(warehouse, sync, rows)
    command = [sys.executable, "-m", "tests.receiver", str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout and receiver.stdin
        url = f"http://127.0.0.1:{receiver.stdout.readline().strip()}"
        endpoint = {"path": "/upsert", "batch": {"items": batch}, "body": {"rows": "{{ rows }}"}}
        entry = {
            "type": "webhook",
            "url": url,
            "operations": {"upsert": endpoint, "delete": {**endpoint, "path": "/delete"}},
            "concurrency": 16,
        }
        to = Watched(destination("hook", entry, folder))
        result: list[SyncResult] = []
        whole = seconds(lambda: result.append(run(warehouse, sync, to, folder, "r1")))
        sending = to.ended - to.began
        requests = result[0].counts.requests
        theory = requests * latency / to.concurrency
        assert result[0].counts.accepted == rows
        print(
            f"first sync of {rows:,} rows, batch {batch}, {latency * 1000:.0f} ms: {sending:.2f} s between first and last request"
            f" ({rows / sending:,.0f} rows/s), {whole:.2f} s in all; theory at 16 in flight {theory:.2f} s: {theory / sending:.0%}"
        )
        quiet = seconds(lambda: result.append(run(warehouse, sync, to, folder, "r2")))
        print(f"nothing changed, {rows:,} rows: {quiet:.2f} s, {result[1].counts.requests} requests")
        warehouse.close()
        receiver.stdin.close()


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--fields", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--send", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.02)
    asked = parser.parse_args()
    print(
        f"cdp {__version__}, duckdb {engine.__version__}, sqlglot {sqlglot.__version__}, Python {platform.python_version()},"
        f" {os.cpu_count()} cores, {platform.machine()}"
    )
    bench_diff(asked.rows, asked.fields, asked.rounds)
    bench_send(asked.send, asked.batch, asked.latency)


if __name__ == "__main__":
    main()
