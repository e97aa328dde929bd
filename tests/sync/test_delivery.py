"""What a destination may do, and what the engine makes of it: every row gets its verdict, none is lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from cdp.destination.outcome import Again, Answer, Batch, Outcome, Rows, Split, Stop
from cdp.errors import StopSync
from cdp.sync.spool import Checked, Reader
from cdp.warehouse.base import Warehouse
from cdp.warehouse.postgres import Postgres
from tests.sync.making import HOUR, NOW, Fake, World, fields, plan, row

NOW_US = int(NOW.timestamp() * 1_000_000)


@pytest.fixture
def world(duckdb: Warehouse, tmp_path: Path) -> World:
    return World(duckdb, tmp_path)


def people(count: int, name: str = "x") -> list[dict[str, Any]]:
    return [row(f"k{i:04}", name=name) for i in range(count)]


def first(*answers: Answer | None) -> Callable[[Batch], Answer | None]:
    """These answers to the first requests, then the usual one."""
    left = list(answers)
    return lambda batch: left.pop(0) if left else None


def converges(world: World, count: int) -> None:
    """The next run brings the rest, the one after sends nothing."""
    world.fake.answer = lambda batch: None
    world.run()
    assert len(world.fake.records) == count
    world.fake.forget()
    assert world.run().counts.requests == 0
    assert world.state("sent_s", "count(*)") == [(count,)]
    assert [t for t in world.warehouse.tables("cdp_state") if t.startswith("stage")] == []


def test_a_failed_request_is_tried_again(world: World) -> None:
    world.fake.answer = first(Again("503", "busy"), Again("connection", "refused"))
    result = world.run(*people(3))
    assert (result.status, result.counts.accepted, result.counts.requests, result.counts.retries) == ("done", 3, 3, 2)


def test_waiting_for_a_throttled_destination_is_no_failed_attempt(world: World) -> None:
    world.fake.answer = first(*[Again("429", "slow down", after=0.002, throttled=True)] * 30)
    result = world.run(*people(3))
    assert (result.status, result.counts.accepted, result.counts.requests) == ("done", 3, 31)


def test_a_throttle_pauses_all_workers(world: World) -> None:
    world.fake.items = 1
    seen: list[float] = []

    def answer(batch: Batch) -> Answer | None:
        seen.append(time.monotonic())
        return Again("429", "slow down", after=0.3, throttled=True) if len(seen) == 1 else None

    world.fake.answer = answer
    world.run(*people(40))
    assert not [t for t in seen[4:] if t - seen[0] < 0.28]


@pytest.mark.parametrize("after", [10.0**9, None, -5.0])
def test_a_storm_of_429_ends_with_4_and_loses_nothing(world: World, after: float | None) -> None:
    world.options = replace(world.options, patience=0.2)
    world.fake.answer = lambda batch: Again("429", "never", after=after, throttled=True)
    result = world.run(*people(300))
    assert (result.status, result.exit_code, result.counts.left) == ("failed", 4, 300)
    assert result.problems[0].code == "CDP442"
    converges(world, 300)


def test_a_dead_endpoint_costs_few_requests_and_no_rows(world: World) -> None:
    world.fake.items = 10
    world.fake.concurrency = 16
    world.fake.answer = lambda batch: Again("connection", "refused")
    result = world.run(*people(2000))
    assert (result.status, result.exit_code) == ("failed", 4)
    assert result.counts.requests <= 100
    assert result.counts.left == 2000
    assert "connection refused" in result.problems[0].message
    converges(world, 2000)


def test_a_login_that_is_refused_stops_at_once(world: World) -> None:
    world.fake.items = 1
    world.fake.answer = lambda batch: Stop("401", "bad token") if len(world.fake.batches_sent) > 20 else None
    result = world.run(*people(100))
    assert (result.status, result.exit_code, result.problems[0].code) == ("failed", 4, "401")
    assert result.counts.requests <= 20 + 4
    assert result.counts.accepted + result.counts.left == 100
    converges(world, 100)


def test_more_than_half_of_twenty_batches_failed_is_enough(world: World) -> None:
    world.fake.items = 1
    world.fake.concurrency = 1
    world.options = replace(world.options, attempts=1)
    world.fake.answer = lambda batch: Again("500", "oops") if len(world.fake.batches_sent) % 5 not in (1, 2) else None
    result = world.run(*people(100))
    assert (result.exit_code, result.problems[0].code) == (4, "CDP441")
    assert 15 <= result.counts.requests <= 25
    converges(world, 100)


def test_one_poison_row_costs_itself_and_not_its_neighbours(world: World) -> None:
    def answer(batch: Batch) -> Answer | None:
        return Split("400", "invalid email") if any(c.row_key == "k0042" for c in batch.changes) else None

    world.fake.answer = answer
    result = world.run(*people(100))
    assert (result.status, result.exit_code) == ("done", 0)
    assert (result.counts.accepted, result.counts.refused) == (99, 1)
    assert result.counts.requests <= 15
    assert world.state("refused_s", "row_key, code, message, tries") == [("k0042", "400", "invalid email", 1)]


def test_two_of_a_hundred_rows_are_poison_in_every_batch(world: World) -> None:
    def answer(batch: Batch) -> Answer | None:
        return Split("400", "bad") if any(int(c.row_key[1:]) % 50 == 7 for c in batch.changes) else None

    world.fake.answer = answer
    result = world.run(*people(2000))
    assert (result.counts.accepted, result.counts.refused, result.counts.left) == (1960, 40, 0)


def test_a_batch_that_is_wholly_wrong_is_given_up_within_a_budget(world: World) -> None:
    world.fake.answer = lambda batch: Split("400", "unknown field `ltv`")
    result = world.run(*people(2000))
    assert (result.status, result.exit_code, result.problems[0].code) == ("failed", 1, "CDP441")
    assert result.counts.requests <= 8 * 100
    assert "unknown field" in result.problems[0].message
    world.options = replace(world.options, now_us=time.time_ns() // 1000 + 3 * HOUR)
    converges(world, 2000)


def test_a_batch_that_is_too_large_is_halved_and_remembered(world: World) -> None:
    world.fake.concurrency = 1
    world.fake.answer = lambda batch: Split("413", "too large", too_large=True) if len(batch.changes) > 30 else None
    result = world.run(*people(1000))
    assert (result.counts.accepted, result.counts.refused) == (1000, 0)
    assert result.counts.requests <= 40 + 3


def test_a_row_that_is_too_large_alone_is_refused(world: World) -> None:
    def answer(batch: Batch) -> Answer | None:
        return Split("413", "too large", too_large=True) if any(c.row_key == "k0001" for c in batch.changes) else None

    world.fake.answer = answer
    result = world.run(*people(10))
    assert (result.counts.accepted, result.counts.refused) == (9, 1)


def test_a_refused_row_does_not_spoil_its_batch_and_goes_again(world: World) -> None:
    world.fake.refuse = lambda change: "bad" if change.row_key == "k0001" else None
    result = world.run(*people(3), now_us=NOW_US)
    assert (result.status, result.exit_code, result.problems[0].severity) == ("done", 0, "warning")
    world.fake.forget()
    world.fake.refuse = lambda change: None
    world.run(now_us=NOW_US + 1)
    assert [change.row_key for change in world.fake.sent] == ["k0001"]
    assert world.state("refused_s") == []


def test_refused_rows_fail_a_strict_run(world: World) -> None:
    world.fake.refuse = lambda change: "bad" if change.row_key == "k0001" else None
    assert world.run(*people(3), strict=True).exit_code == 1


def test_a_poison_row_is_asked_ever_more_rarely_and_given_up(world: World) -> None:
    world.fake.refuse = lambda change: "bad" if change.row_key == "k0001" else None
    start = time.time_ns() // 1000
    asked = []
    for hour in (0, 1, 2, *range(3, 24 * 16, 11)):
        if world.run(*(people(3) if hour == 0 else ()), now_us=start + hour * HOUR).counts.requests:
            asked.append(hour)
    assert asked[:3] == [0, 1, 2]
    assert len(asked) <= 20
    assert max(asked) <= 24 * 14 + 24
    world.fake.refuse = lambda change: None
    world.run(
        row("k0000", name="x"), row("k0001", name="mended"), row("k0002", name="x"), now_us=start + 24 * 16 * HOUR
    )
    assert world.fake.records["k0001@x.fr"] == {"name": "mended"}


def test_a_mended_value_does_not_wait(world: World) -> None:
    world.fake.refuse = lambda change: "bad" if change.fields.get("name") == "bad" else None
    for hour in range(3):
        world.run(row("a", name="bad"), now_us=NOW_US + hour)
    assert world.run(now_us=NOW_US + 5).counts.requests == 0
    world.run(row("a", name="good"), now_us=NOW_US + 6)
    assert world.fake.records == {"a@x.fr": {"name": "good"}}


def test_a_refused_removal_goes_again_and_is_cancelled_if_the_row_came_back(world: World) -> None:
    world.run(*people(4))
    world.fake.refuse = lambda change: "no" if change.operation == "delete" else None
    result = world.run(*people(3))
    assert result.counts.removed_refused == 1
    assert world.run().counts.removed_refused == 1
    world.fake.forget()
    world.fake.refuse = lambda change: None
    world.run(*people(4))
    assert (world.fake.log, world.state("refused_s")) == ([], [])
    world.run(*people(3))
    assert len(world.fake.records) == 3


def test_a_row_that_the_destination_wants_later_goes_again_in_the_same_run(world: World) -> None:
    seen: Counter[str] = Counter()

    def answer(batch: Batch) -> Answer | None:
        seen.update(c.row_key for c in batch.changes)
        return Rows(
            [
                Outcome(c.row_key, "retry", "429")
                if seen[c.row_key] < 3 and c.row_key == "k0001"
                else world.fake._one("upsert", c)
                for c in batch.changes
            ]
        )

    world.fake.answer = answer
    result = world.run(*people(3))
    assert (result.counts.accepted, seen["k0001"], seen["k0000"]) == (3, 3, 1)


def test_a_lost_answer_is_asked_again_where_that_is_harmless(world: World) -> None:
    world.fake.answer = first(Again("timeout", "no answer", unknown=True))
    result = world.run(*people(3))
    assert (result.status, result.counts.accepted, result.counts.requests) == ("done", 3, 2)


def test_a_lost_answer_of_a_message_stays_in_doubt_and_goes_with_the_next_run(
    duckdb: Warehouse, tmp_path: Path
) -> None:
    fake = Fake()
    fake.semantics = "append"
    world = World(duckdb, tmp_path, plan(mode="append"), fake)
    fake.answer = first(Again("timeout", "no answer", unknown=True))
    result = world.run(*people(3))
    assert (result.status, result.exit_code, result.counts.unknown, result.counts.requests) == ("failed", 1, 3, 1)
    assert result.problems[0].code == "CDP446"
    converges(world, 3)


def test_an_answer_that_stays_lost_leaves_its_rows_in_doubt(world: World) -> None:
    world.fake.items = 2

    def answer(batch: Batch) -> Answer | None:
        if batch.changes[0].row_key == "k0002":
            world.fake.apply(batch)
            return Again("timeout", "no answer", unknown=True)
        return None

    world.fake.answer = answer
    result = world.run(*people(6))
    assert (result.exit_code, result.counts.unknown, result.counts.accepted) == (1, 2, 4)
    assert world.state("stage_s", "row_key", "WHERE tried ORDER BY 1") == [("k0002",), ("k0003",)]
    converges(world, 6)


def test_a_value_that_came_and_went_while_in_doubt_is_sent_again(world: World) -> None:
    world.run(row("a", name="A"), row("b", name="B"))

    def lost(batch: Batch) -> Answer:
        world.fake.apply(batch)
        return Again("timeout", "no answer", unknown=True)

    world.fake.answer = lost
    world.run(row("a", name="changed"), row("b", name="B"))
    assert world.fake.records["a@x.fr"]["name"] == "changed"
    world.fake.answer = lambda batch: None
    world.fake.forget()
    world.run(row("a", name="A"), row("b", name="B"))
    assert world.fake.records["a@x.fr"]["name"] == "A"
    assert [change.row_key for change in world.fake.sent] == ["a"]
    converges(world, 2)


def test_a_row_that_left_while_its_add_was_in_doubt_is_removed(world: World) -> None:
    world.run(*people(5))

    def lost(batch: Batch) -> Answer:
        world.fake.apply(batch)
        return Again("timeout", "no answer", unknown=True)

    world.fake.answer = lost
    world.run(*people(6))
    assert len(world.fake.records) == 6
    world.fake.answer = lambda batch: None
    world.run(*people(5))
    converges(world, 5)


def test_a_value_in_doubt_keeps_its_key_and_a_new_value_gets_a_new_one(world: World) -> None:
    keys: list[str] = []

    def lost(batch: Batch) -> Answer:
        keys.append(batch.changes[0].idempotency_key)
        return Again("timeout", "no answer", unknown=True)

    world.fake.answer = lost
    world.run(row("a", name="A"))
    world.run(row("a", name="A"))
    assert len(set(keys)) == 1
    world.run(row("a", name="B"))
    assert len(set(keys)) == 2
    world.run(row("a", name="A"))
    assert len(set(keys)) == 3


def test_a_row_in_doubt_that_cannot_be_judged_stays_in_doubt(world: World) -> None:
    world.options = replace(world.options, force=frozenset({"max_invalid"}))

    def lost(batch: Batch) -> Answer:
        world.fake.apply(batch)
        return Again("timeout", "no answer", unknown=True)

    world.run(row("a", name="A"))
    world.fake.answer = lost
    world.run(row("a", name="B"))
    world.fake.answer = lambda batch: None
    world.run(row("a", name="A"), row("a", name="C"))
    assert world.fake.records["a@x.fr"]["name"] == "B"
    world.run(row("a", name="A"))
    assert world.fake.records["a@x.fr"]["name"] == "A"
    converges(world, 1)


def test_append_sends_each_key_once_and_what_is_too_old_never(duckdb: Warehouse, tmp_path: Path) -> None:
    world = World(duckdb, tmp_path, plan(mode="append", since_us=24 * HOUR))
    at = NOW.replace(tzinfo=None)
    rows = [row("new", name="n", row_at=at), row("old", name="o", row_at=at.replace(day=9, hour=11))]
    result = world.run(*rows)
    assert ([c.row_key for c in world.fake.sent], result.counts.late) == (["new"], 1)
    world.fake.forget()
    world.run(row("new", name="other", row_at=at), row("newer", name="m", row_at=at))
    assert [(c.row_key, c.operation) for c in world.fake.sent] == [("newer", "append")]
    world.run(now_us=int(time.time() * 1e6) + 49 * HOUR)
    assert world.state("sent_s") == []


def test_stop_finishes_what_is_in_flight_and_the_next_run_goes_on(world: World) -> None:
    world.fake.items = 1

    class Stopper:
        exit_code = 143

        def __call__(self) -> bool:
            return len(world.fake.batches_sent) > 10

    world.fake.delay = 0.01
    result = world.run(*people(300), stop=Stopper())
    assert (result.status, result.exit_code) == ("interrupted", 143)
    assert 0 < result.counts.accepted < 300
    assert result.counts.accepted + result.counts.left == 300
    assert world.state("sent_s", "count(*)") == [(result.counts.accepted,)]
    world.fake.forget()
    converges(world, 300)


def test_the_log_tells_what_changed_and_what_was_answered(world: World) -> None:
    world.run(row("a", name="Ann", ltv=1), row("b", name="Ben"))
    assert world.state("sync_log", "operation, fields, status") == [("upsert", '{"rows":2}', "accepted")]
    world.fake.refuse = lambda change: "too rude" if change.row_key == "b" else None
    world.run(row("a", name="Anna", ltv=2), row("b", name="Rude"))
    lines = world.state(
        "sync_log", "row_key, operation, fields, status, message", "WHERE run_id = 'r2' ORDER BY row_key"
    )
    assert lines == [
        ("a", "upsert", '{"name":{"old":"Ann","new":"Anna"},"ltv":{"old":"1","new":"2"}}', "accepted", None),
        ("b", "upsert", '{"name":{"old":"Ben","new":"Rude"}}', "refused", "too rude"),
    ]


def test_a_thousand_runs_with_nothing_to_do_send_nothing_and_leave_no_tables(world: World) -> None:
    world.run(*people(3))
    tables = world.warehouse.tables("cdp_state")
    for _ in range(20):
        assert world.run().counts.requests == 0
    assert world.warehouse.tables("cdp_state") == tables
    assert world.state("sync_log", "count(*)") == [(1,)]
    assert not list((tmp := world.folder / "target" / "spool").iterdir()), tmp


def test_a_row_in_doubt_stays_so_whatever_is_folded_after_it(world: World) -> None:
    world.fake.items = 1
    world.fake.concurrency = 1
    world.fake.delay = 0.01
    world.fake.semantics = "append"
    world.warehouse.fold_interval = 0.01  # type: ignore[misc]

    def answer(batch: Batch) -> Answer | None:
        return Again("timeout", "no answer", unknown=True) if batch.changes[0].row_key == "k0000" else None

    world.fake.answer = answer
    result = world.run(*people(60))
    assert (result.counts.unknown, result.counts.accepted) == (1, 59)
    assert world.state("stage_s", "row_key, tried") == [("k0000", True)]


def test_a_full_disk_stops_sending_and_what_was_sent_is_in_doubt(world: World) -> None:
    world.fake.items = 10
    spool = world.folder / "target" / "spool" / "r1"
    spool.mkdir(parents=True)
    (spool / "s.journal").symlink_to("/dev/full")
    result = world.run(*people(100))
    assert (result.status, result.exit_code, result.problems[0].code) == ("failed", 1, "CDP439")
    assert 0 < result.counts.unknown <= 40
    assert world.state("stage_s", "count(*)", "WHERE tried") == [(100,)]
    converges(world, 100)


def test_a_destination_that_cannot_be_opened_costs_nothing(world: World) -> None:
    async def shut(delivery: object) -> None:
        raise StopSync("CDP416", "the folder is read-only")

    world.fake.open = shut
    result = world.run(*people(3))
    assert (result.status, result.exit_code, result.counts.left, result.counts.requests) == ("failed", 4, 3, 0)
    del world.fake.open
    converges(world, 3)


def test_what_was_asked_to_stop_before_sending_sends_nothing(world: World) -> None:
    class Stopped:
        exit_code = None

        def __call__(self) -> bool:
            return True

    result = world.run(*people(3), stop=Stopped())
    assert (result.status, result.exit_code, result.counts.left, world.fake.batches_sent) == ("interrupted", 130, 3, [])
    converges(world, 3)


def test_a_batch_that_hangs_is_given_up_after_the_grace(world: World) -> None:
    world.fake.delay = 30.0
    began = time.monotonic()

    class Later:
        exit_code = 143

        def __call__(self) -> bool:
            return bool(world.fake.batches_sent)

    result = world.run(*people(3), stop=Later(), grace=0.2)
    assert (result.exit_code, result.counts.unknown) == (143, 3)
    assert time.monotonic() - began < 20
    world.fake.delay = 0.0
    converges(world, 3)


def test_messages_follow_merged_profiles(duckdb: Warehouse, tmp_path: Path) -> None:
    world = World(duckdb, tmp_path, plan(mode="append", changes="cdp.customer_changes"))
    merges = (
        "SELECT '{}' AS kind, 'p1' AS old_id, 'p2' AS new_id, CAST('2026-01-0{} 00:00:00' AS TIMESTAMP) AS changed_at"
    )
    duckdb.make_table("cdp.customer_changes", merges.format("new", 1))
    stay = "@2026-01-01T00:00:00.000000Z"
    world.run(row(f"p1{stay}", name="hello"), row(f"p3{stay}", name="hello"))
    world.fake.forget()
    duckdb.make_table("cdp.customer_changes", merges.format("merged", 2))
    world.run(row(f"p2{stay}", name="hello"), row(f"p3{stay}", name="hello"))
    assert world.fake.sent == []
    assert world.state("sent_s", "row_key", "ORDER BY 1") == [(f"p2{stay}",), (f"p3{stay}",)]


def test_a_nul_and_a_long_text_arrive_or_are_set_aside(world: World) -> None:
    world.fake.unfit = lambda change: "it holds a NUL" if "\0" in change.fields["name"] else None
    world.rows(row("a", name="x" * 1_000_000), row("b"))
    world.warehouse.execute("UPDATE cdp.mapped_s SET f_name = 'n' || chr(0) WHERE row_key = 'b'")
    result = world.run(force=frozenset({"max_invalid"}))
    assert (len(world.fake.records["a@x.fr"]["name"]), result.counts.invalid) == (1_000_000, 1)
    assert world.state("sync_log", "row_key, message", "WHERE status = 'invalid'") == [("b", "it holds a NUL")]


def test_a_spool_too_large_for_memory_is_read_twice(tmp_path: Path) -> None:
    base = {"part": "record", "operation": "upsert", "match_ids": '{"email":"a"}', "remote_id": None, "version": 1}
    base |= {"changed": "1", "tries": 0, "counts": True, "kind": "add"}
    lines = [{**base, "n": n, "row_key": f"k{n}", "f_x": "NaN" if n % 2 else "1.5"} for n in range(1, 7)]
    path = tmp_path / "s.jsonl"
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    groups = (("record", "upsert", 4), ("record", "upsert", 2))
    for keep in (0, 100):
        checked = Checked(Reader(path, "s", fields(x="float")), Fake(), groups, keep=keep)
        assert [one.n for one in checked.invalid] == [1, 3, 5]
        assert [change.n for change in checked.group(0, 0, 4)] == [2, 4]
        assert [(change.n, change.fields) for change in checked.group(1, 4, 2)] == [(6, {"x": 1.5})]


def test_a_lost_connection_while_sending_is_opened_again(
    postgres: Warehouse, postgres_database: str, tmp_path: Path
) -> None:
    world = World(postgres, tmp_path)
    killed: list[int] = []

    def answer(batch: Batch) -> Answer | None:
        if not killed:
            backend = world.warehouse.rows("SELECT pg_backend_pid()")[0][0]
            other = Postgres(dsn=postgres_database)
            other.rows(f"SELECT pg_terminate_backend({backend})")
            other.close()
            killed.append(1)
        return None

    world.fake.answer = answer
    assert world.run(*people(3), wait=10.0).exit_code == 0
    converges(world, 3)
