"""100 audiences and 50 traits over 10 M events: the dispatch plan against semi-joins one by one and against a bare scan.

All three run in one process on the same DuckDB file, taking turns; members are compared, so a fast wrong answer shows.
Counted from resolved rows (`tmp_rows_…` for ours, the same tables for the others): reading and dedupe are printed apart.

    python -m tests.bench.audiences [--events 10000000] [--customers 500000] [--audiences 100] [--traits 50] [--rounds 3]
"""

from __future__ import annotations

import argparse
import platform
import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import sqlglot
import yaml

from cdp.flow import Event, Settings, build

AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
EVENTS = [f"Event {number:02d}" for number in range(40)]
CHANNELS = ["web", "app", "mail", "store"]
STATUSES = ["paid", "refunded", "open"]
CATEGORIES = [f"cat{number}" for number in range(20)]
COUNTRIES = ["FR", "BE", "DE", "CH", "IT", "ES"]
DAYS = [7, 30, 60, 90, 180]


@dataclass(frozen=True)
class Leaf:
    """One condition as YAML, and the same as a semi-join; `negative` keeps who is not in it."""

    yml: dict[str, object]
    sql: str
    negative: bool = False


def leaves(number: int, seed: int) -> list[Leaf]:
    """Distinct conditions, most of them about events, as in real projects."""
    random_ = random.Random(seed)
    found: dict[str, Leaf] = {}
    while len(found) < number:
        kind = random_.random()
        days = random_.choice(DAYS)
        since = f"TIMESTAMP '2026-01-01' - INTERVAL {days} DAY"
        if kind < 0.55:
            event, count = random_.choice(EVENTS), random_.choice([1, 1, 2, 3, 5])
            channel = random_.choice([None, None, *CHANNELS])
            where = f" AND channel = '{channel}'" if channel else ""
            sql = (
                f"SELECT customer_id FROM events WHERE event = '{event}' AND done_at >= {since} AND done_at < TIMESTAMP '2026-01-01'{where}"
                f" GROUP BY customer_id HAVING COUNT(*) >= {count}"
            )
            body: dict[str, object] = {"did": event, "during": f"last {days} days", "count": {"gte": count}}
            if channel:
                body["where"] = {"channel": channel}
            negative = random_.random() < 0.25 and count == 1
            if negative:
                body = {"did_not": event, **{key: value for key, value in body.items() if key in ("during", "where")}}
            leaf = Leaf(body, sql, negative)
        elif kind < 0.8:
            status, least = random_.choice(STATUSES), random_.choice([50, 100, 200, 500])
            sql = (
                f"SELECT customer_id FROM orders WHERE status = '{status}' AND ordered_at >= {since} AND ordered_at < TIMESTAMP '2026-01-01'"
                f" GROUP BY customer_id HAVING SUM(amount) >= {least}"
            )
            leaf = Leaf(
                {
                    "has": "orders",
                    "where": {"status": status},
                    "during": f"last {days} days",
                    "sum": {"amount": {"gte": least}},
                },
                sql,
            )
        elif kind < 0.9:
            category, count = random_.choice(CATEGORIES), random_.choice([1, 2, 3])
            sql = (
                "SELECT o.customer_id FROM lines l JOIN orders o ON o.order_id = l.order_id"
                f" WHERE l.category = '{category}' GROUP BY o.customer_id HAVING COUNT(*) >= {count}"
            )
            leaf = Leaf({"has": "orders.lines", "where": {"category": category}, "count": {"gte": count}}, sql)
        else:
            some = sorted(random_.sample(COUNTRIES, 2))
            leaf = Leaf(
                {"country": some},
                f"SELECT customer_id FROM customers WHERE country IN ({', '.join(repr(c) for c in some)})",
            )
        found.setdefault(leaf.sql + str(leaf.negative), leaf)
    return list(found.values())


def trait(random_: random.Random) -> tuple[dict[str, object], str]:
    """A trait as YAML, and the query that somebody would write for it alone."""
    days, event, status = random_.choice(DAYS), random_.choice(EVENTS), random_.choice(STATUSES)
    since = f">= TIMESTAMP '2026-01-01' - INTERVAL {days} DAY"
    during = {"during": f"last {days} days"}
    grouped = "GROUP BY customer_id"
    some = random_.choice(["count", "sum", "max", "distinct", "last"])
    if some == "count":
        return {
            "count": "events",
            "where": {"event": event},
            **during,
        }, f"COUNT(*) AS v FROM events WHERE event = '{event}' AND done_at {since} {grouped}"
    if some == "sum":
        return {
            "sum": "orders.amount",
            "where": {"status": status},
            **during,
        }, f"SUM(amount) AS v FROM orders WHERE status = '{status}' AND ordered_at {since} {grouped}"
    if some == "max":
        return {"max": "orders.amount", **during}, f"MAX(amount) AS v FROM orders WHERE ordered_at {since} {grouped}"
    if some == "distinct":
        return {
            "distinct": "events.channel",
            "where": {"event": event},
        }, f"COUNT(DISTINCT channel) AS v FROM events WHERE event = '{event}' {grouped}"
    return {
        "last": "events.channel",
        "where": {"event": event},
    }, f"ARG_MAX(channel, done_at) AS v FROM events WHERE event = '{event}' {grouped}"


def project(folder: Path, args: argparse.Namespace) -> tuple[list[tuple[str, list[Leaf]]], list[str]]:
    """Write the project; the audiences with their leaves, and the queries of its traits."""
    pool, random_ = leaves(args.leaves, 5), random.Random(6)
    audiences = [
        (f"a{number}", random_.sample(pool, random_.choice([2, 3, 3, 4, 5]))) for number in range(args.audiences)
    ]
    drawn = [trait(random_) for _ in range(args.traits)]
    traits = {f"t{number}": body for number, (body, _) in enumerate(drawn)}
    files = {
        "cdp_project.yml": {"version": 1, "name": "bench", "profile": "bench"},
        "profiles.yml": {"bench": {"target": "dev", "targets": {"dev": {"warehouse": {"type": "duckdb", "path": "bench.duckdb"}}}}},
        "project.yml": {
            "sources": {
                "customers": {"table": "main.customers", "key": "customer_id", "unique": True},
                "events": {"table": "main.events", "time": "done_at", "event": "event", "ids": {"customer": "customer_id"}},
                "orders": {"table": "main.orders", "key": "order_id", "unique": True, "time": "ordered_at", "ids": {"customer": "customer_id"}},
                "lines": {
                    "table": "main.lines", "key": ["order_id", "line_no"], "unique": True,
                    "relations": {"of_order": {"to": "orders", "by": {"order_id": "order_id"}, "inverse": "lines"}},
                },
            },
            "entities": {"customer": {"from": "customers", "key": "customer_id"}},
            "traits": {"customer": traits},
            "audiences": {name: {"of": "customer", "where": {"all": [leaf.yml for leaf in parts]}} for name, parts in audiences},
        },
        "sources.lock.yml": {
            "version": 1,
            "sources": {
                "customers": {"customer_id": "int", "country": "text"},
                "events": {"customer_id": "int", "event": "text", "channel": "text", "done_at": "timestamp"},
                "orders": {"order_id": "int", "customer_id": "int", "status": "text", "amount": "decimal", "ordered_at": "timestamp"},
                "lines": {"order_id": "int", "line_no": "int", "category": "text"},
            },
        },
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False))
    return audiences, [sql for _, sql in drawn]


def generate(path: Path, args: argparse.Namespace) -> None:
    """Events over a year, skewed by customer and event; orders and lines."""
    connection = duckdb.connect(str(path))
    connection.execute("SET threads = 2")
    events, customers = args.events, args.customers
    order = " ORDER BY {}" if args.sorted else ""
    day = "TIMESTAMP '2025-01-01' + to_microseconds(CAST(floor(31536000000000 * {r}) AS BIGINT))"

    def draw(salt: int) -> str:
        return f"(CAST(hash(i * 31 + {salt}) % 1000000 AS DOUBLE) / 1e6)"

    connection.execute(
        f"CREATE TABLE customers AS SELECT i AS customer_id, ['FR','BE','DE','CH','IT','ES'][CAST(1 + hash(i) % 6 AS BIGINT)] AS country FROM range({customers}) t(i)"
    )
    connection.execute(
        f"CREATE TABLE events AS SELECT CAST(floor({customers} * pow({draw(1)}, 2)) AS BIGINT) AS customer_id,"
        f" 'Event ' || lpad(CAST(CAST(floor(40 * pow({draw(2)}, 1.7)) AS INT) AS VARCHAR), 2, '0') AS event,"
        f" ['web','app','mail','store'][CAST(1 + hash(i + 7) % 4 AS BIGINT)] AS channel, {day.format(r=draw(3))} AS done_at FROM range({events}) t(i){order.format('done_at')}"
    )
    connection.execute(
        f"CREATE TABLE orders AS SELECT i AS order_id, CAST(floor({customers} * pow({draw(4)}, 2)) AS BIGINT) AS customer_id,"
        f" ['paid','paid','paid','refunded','open'][CAST(1 + hash(i + 9) % 5 AS BIGINT)] AS status, CAST(5 + 200 * {draw(5)} AS DECIMAL(38, 9)) AS amount,"
        f" {day.format(r=draw(6))} AS ordered_at FROM range({events // 5}) t(i){order.format('ordered_at')}"
    )
    connection.execute(
        f"CREATE TABLE lines AS SELECT i // 2 AS order_id, i % 2 AS line_no, 'cat' || CAST(hash(i) % 20 AS VARCHAR) AS category"
        f" FROM range({events // 5 * 2}) t(i)"
    )
    connection.close()


def ours(folder: Path, last: bool) -> tuple[float, float]:
    """Seconds from resolved rows, and seconds to get there."""
    seconds: dict[str, float] = {}

    def watch(event: Event) -> None:
        if event.kind == "end":
            seconds[event.id] = event.seconds

    result = build(Settings(project_dir=folder, as_of=AS_OF), on_event=watch)
    assert result.exit_code == 0, [step for step in result.steps if step.status != "done"]
    before = sum(taken for name, taken in seconds.items() if name.startswith(("source:", "rows:")))
    return sum(seconds.values()) - before, before


def semi_joins(path: Path, audiences: list[tuple[str, list[Leaf]]], traits: list[str]) -> tuple[float, dict[str, int]]:
    """Seconds of one query per audience and trait, and how many members each audience has."""
    connection = duckdb.connect(str(path))
    connection.execute("SET threads = 2")
    sizes, started = {}, time.perf_counter()
    for name, parts in audiences:
        where = " AND ".join(
            f"customer_id {'NOT IN' if leaf.negative else 'IN'} (SELECT customer_id FROM ({leaf.sql}) q)"
            for leaf in parts
        )
        connection.execute(f"CREATE OR REPLACE TABLE naive_{name} AS SELECT customer_id FROM customers WHERE {where}")
        sizes[name] = connection.execute(f"SELECT count(*) FROM naive_{name}").fetchone()[0]  # type: ignore[index]
    for number, sql in enumerate(traits):
        joined = f"SELECT c.customer_id, q.v FROM customers c LEFT JOIN (SELECT customer_id, {sql}) q ON q.customer_id = c.customer_id"
        connection.execute(f"CREATE OR REPLACE TABLE naive_trait_{number} AS {joined}")
    taken = time.perf_counter() - started
    connection.close()
    return taken, sizes


def bare(path: Path) -> float:
    """Seconds of reading the same columns with a trivial GROUP BY."""
    connection = duckdb.connect(str(path))
    connection.execute("SET threads = 2")
    started = time.perf_counter()
    connection.execute(
        "SELECT customer_id, COUNT(*), MAX(event), MAX(channel), MAX(done_at) FROM events GROUP BY customer_id"
    ).fetchall()
    connection.execute(
        "SELECT customer_id, COUNT(*), MAX(status), SUM(amount), MAX(ordered_at) FROM orders GROUP BY customer_id"
    ).fetchall()
    taken = time.perf_counter() - started
    connection.close()
    return taken


def main() -> None:
    """Take turns, compare members, print ratios."""
    parser = argparse.ArgumentParser()
    for name, default in (
        ("events", 10_000_000),
        ("customers", 500_000),
        ("audiences", 100),
        ("traits", 50),
        ("leaves", 150),
        ("rounds", 3),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--sorted", action="store_true", help="tables in the order of time, as an append-only load leaves them"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        audiences, traits = project(folder, args)
        generate(folder / "bench.duckdb", args)
        mine, before, naive, scans = [], [], [], []
        for round_ in range(args.rounds):
            scans.append(bare(folder / "bench.duckdb"))
            taken, sizes = semi_joins(folder / "bench.duckdb", audiences, traits)
            naive.append(taken)
            counted, apart = ours(folder, round_ == args.rounds - 1)
            mine.append(counted)
            before.append(apart)
        connection = duckdb.connect(str(folder / "bench.duckdb"), read_only=True)
        wrong = [
            audience for audience, size in sizes.items()
            if connection.execute(f"SELECT count(*) FROM cdp.audience_{audience}").fetchone()[0] != size  # type: ignore[index]
        ]  # fmt: skip
        assert not wrong, f"members differ: {wrong}"
    middle = statistics.median(a / b for a, b in zip(mine, naive, strict=True))
    scan = statistics.median(a / b for a, b in zip(mine, scans, strict=True))
    order = "in the order of time" if args.sorted else "in no order"
    print(
        f"{args.audiences} audiences + {args.traits} traits over {args.events:,} events {order}, {args.customers:,} customers; medians of {args.rounds}"
    )
    print(
        f"  build from resolved rows   {statistics.median(mine):7.2f} s   {middle:.2f} x semi-joins one by one   {scan:.1f} x bare scan"
    )
    print(f"  semi-joins and traits, one by one {statistics.median(naive):7.2f} s")
    print(f"  bare scan                  {statistics.median(scans):7.2f} s")
    print(f"  reading the sources, apart {statistics.median(before):7.2f} s")
    print(
        f"  DuckDB {duckdb.__version__}, sqlglot {sqlglot.__version__}, Python {platform.python_version()}, same members in all audiences"
    )


if __name__ == "__main__":
    main()
