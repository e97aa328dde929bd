"""Streaming a big result out of each engine that runs here: seconds, and the memory that a million rows add.

    python -m tests.bench.streaming [--rows 1000000] [--engines duckdb postgres snowflake spark]

Constant memory is what counts: the peak of ten times the rows is set beside that of a tenth. What stands in for a cloud
says nothing of the cloud's speed.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cdp.compile.render import Renderer, parse_one
from cdp.warehouse.base import Warehouse
from tests.bench.growth import peak
from tests.engines import Unavailable, connected, module_of


def filled(warehouse: Warehouse, rows: int) -> None:
    """cdp.big: so many rows of five columns, doubled up from ten."""
    renderer = Renderer(warehouse.facts)
    warehouse.ensure_schemas()
    ten = " UNION ALL ".join(f"SELECT {n} AS n" for n in range(10))
    warehouse.make_table("cdp.ten", renderer.sql(parse_one(ten, "streaming")))
    digits = len(str(rows)) - 1
    joins = " ".join(f"CROSS JOIN cdp.ten AS t{k}" for k in range(1, digits))
    number = " + ".join(f"t{k}.n * {10**k}" for k in range(digits))
    select = (
        f"SELECT i, 'person ' || CAST(i AS TEXT) AS name, i * 3 AS a, CAST(i AS DECIMAL(38, 9)) AS b, i % 7 = 0 AS c"
        f" FROM (SELECT {number} AS i FROM cdp.ten AS t0 {joins}) AS r"
    )
    warehouse.make_table("cdp.big", renderer.sql(parse_one(select, "streaming")))


def one(profile: dict[str, object], rows: int, folder: Path) -> None:
    """Stream the table; the figures go to stdout."""
    warehouse = connected(profile, folder)
    warehouse.rows("SELECT 1 AS one")
    started, count = time.perf_counter(), 0
    for batch in warehouse.stream(f"SELECT i, name, a, b, c FROM cdp.big WHERE i < {rows}", size=10_000):
        count += len(batch)
    taken = time.perf_counter() - started
    warehouse.close()
    assert count == rows, count
    print(json.dumps({"seconds": taken, "mb": peak()}))


def main() -> None:
    """Print a line for each engine."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--engines", nargs="*", default=["duckdb", "postgres", "snowflake", "spark"])
    parser.add_argument("--one", nargs=2)
    args = parser.parse_args()
    if args.one:
        one(json.loads(args.one[0]), args.rows, Path(args.one[1]))
        return
    print(f"{args.rows:,} rows of 5 columns, streamed in batches of 10,000; Python {platform.python_version()}")
    for name in args.engines:
        with tempfile.TemporaryDirectory() as place:
            folder, module = Path(place), module_of(name)
            try:
                with module.start(folder) as address, module.fresh(address, folder) as profile:
                    warehouse = connected(profile, folder)
                    filled(warehouse, args.rows)
                    warehouse.close()
                    tenth, whole = (measured(profile, rows, folder) for rows in (args.rows // 10, args.rows))
            except Unavailable as reason:
                print(f"  {name:<10} {reason}")
                continue
        print(
            f"  {name:<10} {whole['seconds']:6.2f} s   peak {whole['mb']:5.0f} MB   a tenth of the rows {tenth['mb']:5.0f} MB"
        )


def measured(profile: dict[str, object], rows: int, folder: Path) -> dict[str, float]:
    """Stream in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "tests.bench.streaming",
        "--rows",
        str(rows),
        "--one",
        json.dumps(profile),
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
