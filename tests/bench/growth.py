"""How a whole build grows: 1 M, 3 M and 10 M events on DuckDB with a memory limit, 1 M on Postgres.

    python -m tests.bench.growth [--sizes 1000000 3000000 10000000] [--memory 1GB] [--postgres 1000000]

Each build runs in a process of its own, reading of the sources included: seconds, the process's peak memory, statements.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import yaml

from cdp.flow import Settings, build
from tests.bench import audiences

SHAPE = {"audiences": 100, "traits": 50, "leaves": 150, "sorted": False}


def peak() -> float:
    """The most memory that this process had, in MB (getrusage would tell what its parent had before it)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


def one(folder: Path) -> None:
    """Build the project of a folder; the figures go to stdout."""
    started = time.perf_counter()
    result = build(Settings(project_dir=folder, as_of=audiences.AS_OF))
    assert result.exit_code == 0, [(step.id, step.message) for step in result.steps if step.status != "done"]
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - started,
                "mb": peak(),
                "statements": sum(step.statements for step in result.steps),
            }
        )
    )


def measured(folder: Path) -> dict[str, float]:
    """The same in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.growth", "--one", str(folder)], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def project(folder: Path, events: int, warehouse: dict[str, object]) -> argparse.Namespace:
    """The project and its data in a DuckDB file; `warehouse` goes into the profile."""
    args = argparse.Namespace(events=events, customers=events // 20, **SHAPE)
    audiences.project(folder, args)
    targets = {"dev": {"warehouse": {"type": "duckdb", "path": "bench.duckdb", **warehouse}}}
    (folder / "profiles.yml").write_text(yaml.safe_dump({"bench": {"target": "dev", "targets": targets}}))
    audiences.generate(folder / "bench.duckdb", args)
    return args


def on_postgres(events: int) -> dict[str, float] | None:
    """The same on a Postgres of this machine; None where there is none."""
    import psycopg

    from tests.engines import Unavailable
    from tests.engines.postgres import fresh_database, start

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            with start(folder) as server, fresh_database(server) as dsn:
                project(folder, events, {})
                text = (folder / "project.yml").read_text().replace("main.", "public.")
                (folder / "project.yml").write_text(text)
                targets = {"dev": {"warehouse": {"type": "postgres", "dsn": dsn}}}
                (folder / "profiles.yml").write_text(yaml.safe_dump({"bench": {"target": "dev", "targets": targets}}))
                with psycopg.connect(dsn, autocommit=True) as connection:
                    for table in ("customers", "events", "orders", "lines"):
                        _copy(folder, table, connection)
                return measured(folder)
        except Unavailable as reason:
            print(f"  Postgres: {reason}")
            return None


def _copy(folder: Path, table: str, connection: object) -> None:
    file = folder / f"{table}.csv"
    with duckdb.connect(str(folder / "bench.duckdb"), read_only=True) as source:
        columns = source.execute(f"DESCRIBE {table}").fetchall()
        source.execute(f"COPY {table} TO '{file}' (HEADER false)")
    kinds = ", ".join(f"{name} {'text' if kind == 'VARCHAR' else kind.lower()}" for name, kind, *_ in columns)
    connection.execute(f"CREATE TABLE {table} ({kinds})")  # type: ignore[attr-defined]
    with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv)") as copy, file.open("rb") as rows:  # type: ignore[attr-defined]
        while block := rows.read(1 << 20):
            copy.write(block)
    connection.execute(f"ANALYZE {table}")  # type: ignore[attr-defined]
    file.unlink()


def main() -> None:
    """Print a line for each size, and the exponents between them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_000_000, 3_000_000, 10_000_000])
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--postgres", type=int, default=1_000_000)
    parser.add_argument("--one", type=Path)
    args = parser.parse_args()
    if args.one:
        one(args.one)
        return
    print(f"100 audiences + 50 traits, whole build, DuckDB {duckdb.__version__} with memory_limit {args.memory}")
    before: tuple[int, float] | None = None
    for events in args.sizes:
        with tempfile.TemporaryDirectory() as name:
            project(Path(name), events, {"memory_limit": args.memory})
            found = measured(Path(name))
        growth = ""
        if before is not None:
            growth = f"   exponent {math.log(found['seconds'] / before[1]) / math.log(events / before[0]):.2f}"
        before = (events, found["seconds"])
        print(f"  {events:>10,} events {_line(found)}{growth}")
    if args.postgres:
        on_server = on_postgres(args.postgres)
        if on_server is not None:
            print(f"  {args.postgres:>10,} events {_line(on_server)}   on Postgres")
    print(f"  Python {platform.python_version()}")


def _line(found: dict[str, float]) -> str:
    return f"{found['seconds']:7.1f} s   peak {found['mb']:6.0f} MB   {found['statements']:.0f} statements"


if __name__ == "__main__":
    main()
