"""Killed at every point: no row is lost, at most the batches in flight go twice, the next run converges."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cdp.warehouse.base import Warehouse
from cdp.warehouse.duckdb import DuckDB
from cdp.warehouse.postgres import Postgres
from tests.receiver import Receiver, Reply
from tests.sync.driver import IN_FLIGHT, ITEMS, SYNC
from tests.sync.making import row, write_rows

Rows = dict[str, str]
ROOT = Path(__file__).resolve().parents[2]


class Driver:
    """The process that runs syncs in children."""

    busy = False

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.sync.driver"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def start(self, **order: Any) -> None:
        """Begin one sync."""
        assert self._process.stdin
        self.busy = True
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def ended(self) -> dict[str, int]:
        """Wait for its end: by which signal, or with which exit code."""
        assert self._process.stdout
        told: dict[str, int] = json.loads(self._process.stdout.readline())
        self.busy = False
        return told

    def run(self, **order: Any) -> dict[str, int]:
        """One sync from start to end."""
        self.start(**order)
        return self.ended()

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    one = Driver()
    yield one
    one.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(latency=0.002, keep_requests=False) as one:
        yield one


@dataclass
class Bench:
    """A warehouse, a receiver, and what the receiver must hold in the end."""

    driver: Driver
    receiver: Receiver
    folder: Path
    where: dict[str, str]
    number: int = 0
    wanted: Rows = field(default_factory=dict)

    def open(self) -> Warehouse:
        return Postgres(dsn=self.where["dsn"]) if "dsn" in self.where else DuckDB(self.where["path"])

    def source(self, rows: Rows) -> None:
        """What the mapped table holds from now on."""
        self.wanted = rows
        warehouse = self.open()
        warehouse.ensure_schemas()
        write_rows(warehouse, SYNC, [row(key, name=name) for key, name in rows.items()])
        warehouse.close()

    def order(self, **more: Any) -> dict[str, Any]:
        self.number += 1
        return {**self.where, "folder": str(self.folder), "url": self.receiver.url, "run": f"r{self.number}", **more}

    def run(self, **more: Any) -> dict[str, int]:
        """One sync in a process of its own."""
        return self.driver.run(**self.order(**more))

    def equal(self) -> bool:
        """Whether the receiver holds what the source says."""
        return {key: r["fields"]["name"] for key, r in self.receiver.rows.items()} == {
            f"{key}@x.fr": name for key, name in self.wanted.items()
        }

    def settled(self) -> None:
        """One more run sends nothing, and nothing is left behind."""
        before = self.receiver.request_count
        assert self.run() == {"signal": 0, "exit": 0}
        assert self.receiver.request_count == before
        warehouse = self.open()
        assert [t for t in warehouse.tables("cdp_state") if "stage" in t or "__" in t] == []
        assert warehouse.rows("SELECT count(*) FROM cdp_state.sent_s") == [(len(self.wanted),)]
        warehouse.close()
        spool = self.folder / "target" / "spool"
        assert not list(spool.rglob("*.journal"))


@pytest.fixture
def bench(driver: Driver, receiver: Receiver, tmp_path: Path) -> Iterator[Bench]:
    yield Bench(driver, receiver, tmp_path, {"path": str(tmp_path / "w.duckdb")})
    receiver.held = False
    if driver.busy:  # a test that failed meanwhile fails no other
        driver.ended()


@pytest.fixture
def server_bench(driver: Driver, receiver: Receiver, tmp_path: Path, postgres_database: str) -> Bench:
    return Bench(driver, receiver, tmp_path, {"dsn": postgres_database})


BEFORE = {f"k{i:03}": "a" for i in range(60)}
AFTER = {
    **{f"k{i:03}": "b" for i in range(25)},
    **{f"k{i:03}": "a" for i in range(25, 45)},
    **{f"n{i:03}": "new" for i in range(25)},
}


def points(bench: Bench) -> list[tuple[str, int]]:
    """Every point that one run passes: of those that it passes often the first two, one amid, and the last
    (all of them with $CDP_TEST_EVERY_POINT)."""
    trace = bench.folder / "trace"
    bench.run(fault=f"trace:{trace}")
    counts = Counter(trace.read_text().split())
    if os.environ.get("CDP_TEST_EVERY_POINT"):
        return [(name, n) for name, count in counts.items() for n in range(1, count + 1)]
    return [(name, n) for name, count in counts.items() for n in sorted({1, min(2, count), (count + 2) // 2, count})]


def killed_at_every_point(bench: Bench, *, back: bool) -> int:
    """Kill a run that goes from one state to the other; `back`: the source returns to the first one meanwhile.

    Then run again: nothing is lost, little goes twice. Returns the kills.
    """
    here, there = BEFORE, AFTER
    bench.source(here)
    bench.run()
    bench.source(there)
    todo = points(bench)
    here, there = there, here
    kills = 0
    for name, n in todo:
        bench.source(there)
        start = bench.receiver.row_count
        ended = bench.run(fault=f"{name}:{n}:SIGKILL")
        kills += ended["signal"] == signal.SIGKILL
        if back:
            bench.source(here)
        assert bench.run() == {"signal": 0, "exit": 0}, (name, n)
        assert bench.equal(), (name, n)
        if not back:
            assert bench.receiver.row_count - start <= operations(here, there) + IN_FLIGHT * ITEMS, (name, n)
            here, there = there, here
        bench.settled()
    return kills


def operations(before: Rows, after: Rows) -> int:
    """How many rows differ."""
    return sum(before.get(key) != after.get(key) for key in before.keys() | after.keys())


@pytest.mark.slow
def test_killed_at_every_point_nothing_is_lost_and_only_batches_in_flight_go_twice(bench: Bench) -> None:
    assert killed_at_every_point(bench, back=False) >= 24


@pytest.mark.slow
def test_killed_at_every_point_and_back_to_the_old_value_in_between(bench: Bench) -> None:
    assert killed_at_every_point(bench, back=True) >= 24


@pytest.mark.slow
def test_killed_at_every_point_on_a_server(server_bench: Bench) -> None:
    assert killed_at_every_point(server_bench, back=False) >= 24


@pytest.mark.slow
def test_killed_at_random_times_again_and_again(bench: Bench) -> None:
    seed = 20260110
    chance = random.Random(seed)
    bench.receiver.latency = 0.01
    people = dict(BEFORE)
    for kill in range(25):
        for _ in range(20):
            people[f"k{chance.randrange(120):03}"] = str(chance.random())
        for key in chance.sample(sorted(people), 5):
            del people[key]
        bench.source(dict(people))
        bench.run(after=chance.uniform(0.05, 0.6), kill="SIGKILL")
        if kill % 5 == 4:
            assert bench.run()["exit"] == 0, (seed, kill)
            assert bench.equal(), (seed, kill)
    bench.settled()


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_asked_to_stop_it_finishes_what_is_in_flight(bench: Bench, number: str, code: int) -> None:
    bench.receiver.latency = 0.05
    bench.source({f"k{i:03}": "a" for i in range(500)})
    ended = bench.run(fault=f"sent:5:{number}")
    assert ended == {"signal": 0, "exit": code}
    sent = bench.receiver.row_count
    assert 0 < sent < 500
    warehouse = bench.open()
    assert warehouse.rows("SELECT count(*) FROM cdp_state.sent_s") == [(sent,)]
    warehouse.close()
    bench.receiver.latency = 0.0
    assert bench.run()["exit"] == 0
    assert (bench.equal(), bench.receiver.row_count) == (True, 500)


def test_a_journal_with_a_torn_last_line_is_folded_up_to_it(bench: Bench) -> None:
    bench.source(BEFORE)
    assert bench.run(fault="journaled:4:SIGKILL", batches=1000)["signal"] == signal.SIGKILL
    journal = bench.folder / "target" / "spool" / "r1" / "s.journal"
    lines = journal.read_bytes()
    assert lines.count(b"\n") == 4
    journal.write_bytes(lines[:-7])
    before = bench.receiver.row_count
    assert bench.run()["exit"] == 0
    assert bench.equal()
    assert bench.receiver.row_count - before == 60 - 30
    bench.settled()


def test_without_the_journal_everything_staged_goes_again(bench: Bench) -> None:
    bench.source(BEFORE)
    bench.run(fault="journaled:4:SIGKILL", batches=1000)
    (bench.folder / "target" / "spool" / "r1" / "s.journal").unlink()
    before = bench.receiver.row_count
    assert bench.run()["exit"] == 0
    assert (bench.equal(), bench.receiver.row_count - before) == (True, 60)
    bench.settled()


def test_the_journal_of_another_run_is_moved_aside(bench: Bench) -> None:
    bench.source(BEFORE)
    bench.run(fault="journaled:4:SIGKILL", batches=1000)
    journal = bench.folder / "target" / "spool" / "r1" / "s.journal"
    journal.write_bytes(journal.read_bytes().replace(b'"run":"r1"', b'"run":"r0"'))
    before = bench.receiver.row_count
    assert bench.run()["exit"] == 0
    assert (bench.equal(), bench.receiver.row_count - before) == (True, 60)
    assert journal.with_name("s.journal.other").exists()


def in_flight(receiver: Receiver) -> None:
    """Wait for the first request."""
    while not receiver.in_flight:
        time.sleep(0.005)


def test_two_runs_at_once_send_once_and_the_second_is_told_who_holds_it(bench: Bench, server_bench: Bench) -> None:
    for one in (server_bench, bench):
        one.receiver.row_count = 0
        one.source({f"k{i:03}": "a" for i in range(300)})
        other = Driver()
        one.receiver.held = True
        one.driver.start(**one.order())
        in_flight(one.receiver)
        second = other.run(**one.order())
        assert second["exit"] == 5
        one.receiver.held = False
        assert one.driver.ended()["exit"] == 0
        assert one.receiver.row_count == 300
        other.stop()


def test_a_second_run_that_waits_gets_its_turn(bench: Bench) -> None:
    bench.source({f"k{i:03}": "a" for i in range(200)})
    other = Driver()
    bench.receiver.held = True
    bench.driver.start(**bench.order())
    in_flight(bench.receiver)
    other.start(**bench.order(wait=60.0))
    time.sleep(1.0)
    bench.receiver.held = False
    assert other.ended()["exit"] == 0
    assert bench.driver.ended()["exit"] == 0
    assert (bench.equal(), bench.receiver.row_count) == (True, 200)
    other.stop()


@pytest.mark.parametrize(
    "replies",
    [
        [Reply(500)] * 3,
        [Reply(503, headers={"Retry-After": "0"})] * 3,
        [Reply(429, headers={"Retry-After": "0"})] * 12,
        [Reply(500, apply=True)] * 2,
        [Reply(drop="before")] * 2,
        [Reply(drop="after")] * 2,
        [Reply(200, body="x" * 200, truncate=50)] * 2,
        [None, Reply(502), None, Reply(504), None, Reply(drop="after")],
    ],
)
def test_every_row_arrives_whatever_the_network_does(bench: Bench, replies: list[Reply | None]) -> None:
    bench.source(BEFORE)
    bench.receiver.script(*replies)
    bench.run()
    bench.receiver._script.clear()
    assert bench.run()["exit"] == 0
    assert bench.equal()
    bench.settled()


def test_sending_goes_on_while_somebody_else_has_the_file(bench: Bench) -> None:
    bench.receiver.latency = 0.02
    bench.source({f"k{i:03}": "a" for i in range(300)})
    bench.driver.start(**bench.order(batches=10_000, wait=20.0))
    while bench.receiver.row_count < 50:
        pass
    guest = DuckDB(bench.where["path"])
    assert guest.rows("SELECT count(*) FROM cdp.mapped_s") == [(300,)]
    while bench.receiver.row_count < 300:
        pass
    guest.close()
    assert bench.driver.ended()["exit"] == 0
    bench.settled()


def test_a_file_that_stays_locked_keeps_the_journal_for_the_next_run(bench: Bench) -> None:
    bench.source(BEFORE)
    bench.receiver.held = True
    bench.driver.start(**bench.order(batches=10_000))
    in_flight(bench.receiver)
    guest = DuckDB(bench.where["path"], patience=20.0)
    guest.rows("SELECT 1")
    bench.receiver.held = False
    ended = bench.driver.ended()
    guest.close()
    assert ended["exit"] == 5
    sent = bench.receiver.row_count
    assert bench.run()["exit"] == 0
    assert (bench.equal(), bench.receiver.row_count) == (True, sent)
    bench.settled()
