"""Connected components: our SQL on DuckDB against scipy in memory, interleaved, the median of several runs.

    python tests/bench/components.py [--edges 1000000] [--runs 5] [--threads 2] [--shape realistic|star|chains]

Realistic: people with a few devices and mails each, most of them small, a few shared. scipy is timed with the way of
the edges out of the database and of the labels back into it, and without. Prints ratios; asserts only that both
find the same partition.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import scipy  # type: ignore[import-untyped]
from scipy.sparse import coo_matrix  # type: ignore[import-untyped]
from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]
from sqlglot import exp

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cdp.compile.identity.components import components
from cdp.compile.plan import Statement
from cdp.compile.render import Renderer
from cdp.warehouse.functions import FACTS

# realistic: a person has one to six identifiers besides the first, some often used; one row in fifty names another's
SHAPES = {
    "realistic": """
        SELECT DISTINCT p AS a, CAST({n} * 0.45 AS BIGINT) + q * 6 + CAST(FLOOR(POWER(random(), 2) * 6) AS BIGINT) AS b
        FROM (SELECT p, CASE WHEN random() < 0.02 THEN CAST(FLOOR(random() * {n} * 0.45) AS BIGINT) ELSE p END AS q
              FROM (SELECT CAST(FLOOR(random() * {n} * 0.45) AS BIGINT) AS p FROM range({n} * 8 // 5)))""",
    "star": "SELECT 0 AS a, i + 1 AS b FROM range({n}) t(i)",
    "chains": """
        SELECT LEAST(x, y) AS a, GREATEST(x, y) AS b FROM (
          SELECT hash(i) % 1000000000000 AS x, hash(i + 1) % 1000000000000 AS y
          FROM range({n}) t(i) WHERE i % 10000 <> 9999)""",
}


def main() -> None:
    """Run and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--edges", type=int, default=1_000_000)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--shape", choices=sorted(SHAPES), default="realistic")
    chosen = options.parse_args()
    connection = duckdb.connect()
    connection.execute(f"SET threads = {chosen.threads}")
    connection.execute("CREATE SCHEMA g")
    connection.execute("SELECT setseed(0.5)")
    connection.execute(f"CREATE TABLE g.raw AS {SHAPES[chosen.shape].format(n=chosen.edges)}")
    # numbers without gaps, as identity resolution gives them
    both = "SELECT a AS v FROM g.raw UNION SELECT b FROM g.raw"
    connection.execute(f"CREATE TABLE g.node AS SELECT v, ROW_NUMBER() OVER (ORDER BY v) - 1 AS node FROM ({both})")
    ends = "FROM g.raw r JOIN g.node x ON x.v = r.a JOIN g.node y ON y.v = r.b"
    connection.execute(f"CREATE TABLE g.edge AS SELECT x.node AS a, y.node AS b {ends}")
    times: dict[str, list[float]] = {"sql": [], "scipy": [], "scipy out and back": []}
    statements = 0
    for _ in range(chosen.runs):
        took, statements = _clock(lambda: _sql(connection))
        times["sql"].append(took)
        (inner, took) = _scipy(connection)
        times["scipy"].append(inner)
        times["scipy out and back"].append(took)
    _same_partition(connection)
    _print(connection, chosen.shape, times, statements)


def _clock(run: Callable[[], int]) -> tuple[float, int]:
    start = time.perf_counter()
    answer = run()
    return time.perf_counter() - start, answer


def _sql(connection: duckdb.DuckDBPyConnection) -> int:
    """Labels of all nodes into g.ours; the number of statements."""
    renderer = Renderer(FACTS["duckdb"])
    nodes = exp.select("n.node", "0 AS t", "n.node AS label").from_("g.node AS n").subquery()
    count = 1
    edges = _make(connection, "g.e0", "SELECT a, b FROM g.edge")
    script = components(renderer, "g.", edges)
    answer: int | None = None
    while True:
        try:
            statement = script.send(answer) if answer is not None else next(script)
        except StopIteration as end:
            chain = end.value
            break
        answer = _run(connection, statement)
        count += 1
    _run(
        connection,
        renderer.statement("identity/labels", "labels", "table", "g.ours", nodes=nodes, chain=chain, bridging=False),
    )
    return count + 1


def _run(connection: duckdb.DuckDBPyConnection, statement: Statement) -> int:
    if statement.action == "table":
        return _make(connection, statement.target, statement.sql)
    found = connection.execute(statement.sql).fetchone()
    return int(found[0]) if found else 0


def _make(connection: duckdb.DuckDBPyConnection, table: str, select: str) -> int:
    found = connection.execute(f"CREATE OR REPLACE TABLE {table} AS {select}").fetchone()
    return int(found[0]) if found else 0


def _scipy(connection: duckdb.DuckDBPyConnection) -> tuple[float, float]:
    """Labels of all nodes into g.theirs; seconds of scipy alone, and with the way out and back."""
    start = time.perf_counter()
    size = connection.execute("SELECT COUNT(*) FROM g.node").fetchone()[0]  # type: ignore[index]
    edges = connection.execute("SELECT a, b FROM g.edge").fetchnumpy()
    inner = time.perf_counter()
    graph = coo_matrix((np.ones(len(edges["a"]), dtype=np.int8), (edges["a"], edges["b"])), shape=(size, size))
    labels = connected_components(graph, directed=False)[1]
    middle = time.perf_counter()
    nodes = {"node": np.arange(size), "label": labels}
    connection.execute("CREATE OR REPLACE TABLE g.theirs AS SELECT * FROM nodes")
    del nodes
    return middle - inner, time.perf_counter() - start


def _same_partition(connection: duckdb.DuckDBPyConnection) -> None:
    counts = connection.execute(
        "SELECT COUNT(DISTINCT o.label), COUNT(DISTINCT t.label), COUNT(DISTINCT (o.label, t.label))"
        " FROM g.ours o JOIN g.theirs t ON o.node = t.node"
    ).fetchone()
    assert counts is not None and len(set(counts)) == 1, f"the partitions differ: {counts}"


def _print(connection: duckdb.DuckDBPyConnection, shape: str, times: dict[str, list[float]], statements: int) -> None:
    edges, nodes = (connection.execute(f"SELECT COUNT(*) FROM g.{table}").fetchone()[0] for table in ("edge", "node"))  # type: ignore[index]
    groups = connection.execute("SELECT COUNT(DISTINCT label) FROM g.ours").fetchone()[0]  # type: ignore[index]
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"components, {shape}: {edges:,} edges, {nodes:,} nodes, {groups:,} components, {statements} statements")
    print("seconds (median): " + ", ".join(f"{name} {value:.2f}" for name, value in median.items()))
    print(f"ratio to scipy, out and back: {median['sql'] / median['scipy out and back']:.2f} (target: at most 3)")
    print(f"ratio to scipy alone: {median['sql'] / median['scipy']:.2f}")
    versions = {"duckdb": duckdb.__version__, "scipy": scipy.__version__, "numpy": np.__version__}
    print(", ".join(f"{name} {value}" for name, value in versions.items()) + f", python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
