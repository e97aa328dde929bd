"""The twelve accidents: a broken load, a lost ledger or a wrong login never becomes "remove everybody"."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp.warehouse.base import Warehouse
from tests.sync.making import NOW, World, plan, row


@pytest.fixture
def world(warehouse: Warehouse, tmp_path: Path) -> World:
    return World(warehouse, tmp_path)


def people(count: int, **values: Any) -> list[dict[str, Any]]:
    return [row(f"k{i:03}", name="x", **values) for i in range(count)]


def held(world: World, *rows: Any, **options: Any) -> list[str]:
    """The codes of the guards that hold a run; nothing may have been sent."""
    world.fake.forget()
    result = world.run(*rows, **options)
    assert world.fake.batches_sent == []
    assert (result.status, result.exit_code) == ("held", 3)
    assert world.state("sync_runs", "status", "ORDER BY version DESC LIMIT 1") == [("held",)]
    assert [t for t in world.warehouse.tables("cdp_state") if t.startswith("stage")] == []
    return [problem.code for problem in result.problems]


def test_an_empty_source_removes_nobody(world: World) -> None:
    world.run(*people(3))
    world.rows()
    assert held(world) == ["CDP501", "CDP502"]
    assert len(world.fake.records) == 3


def test_an_empty_source_is_meant_where_the_guard_is_forced(world: World) -> None:
    world.run(*people(3))
    world.rows()
    result = world.run(force=frozenset({"empty", "max_removed"}))
    assert (result.status, world.fake.records) == ("done", {})
    assert set(result.forced) == {"empty", "max_removed"}
    assert world.state("sync_runs", "forced", "ORDER BY version DESC LIMIT 1") == [("empty,max_removed",)]


def test_half_of_the_rows_gone_is_held(world: World) -> None:
    world.run(*people(100))
    assert held(world, *people(49)) == ["CDP502", "CDP507"]
    assert held(world, *people(79)) == ["CDP502"]
    assert world.run(*people(80)).status == "done"


def test_few_rows_may_go_below_the_floor_but_not_most_of_them(world: World) -> None:
    world.run(*people(12))
    assert world.run(*people(6)).status == "done"
    assert held(world, *people(2)) == ["CDP502"]


def test_what_is_excluded_does_not_count_as_removed(world: World) -> None:
    world.run(*people(100))
    result = world.run(*people(50), *(row(f"k{i:03}", held="excluded") for i in range(50, 100)))
    assert (result.status, result.counts.held, len(world.fake.records)) == ("done", 50, 50)
    assert [problem.code for problem in result.problems] == []


def test_many_changes_are_held_where_a_limit_is_set(warehouse: Warehouse, tmp_path: Path) -> None:
    world = World(warehouse, tmp_path, plan(guard={"max_changed": "30%"}))
    world.run(*people(100))
    assert held(world, *people(69), *(row(f"k{i:03}", name="y") for i in range(69, 100))) == ["CDP503"]
    assert world.run(*people(70), *(row(f"k{i:03}", name="y") for i in range(70, 100))).status == "done"


def test_a_source_full_of_duplicates_is_held_even_on_the_first_run(world: World) -> None:
    assert held(world, *people(20), *people(20)) == ["CDP504"]


def test_rows_that_the_destination_cannot_take_count_as_invalid(world: World) -> None:
    world.fake.unfit = lambda change: "too long" if change.row_key < "k012" else None
    assert held(world, *people(20)) == ["CDP504"]
    result = world.run(force=frozenset({"max_invalid"}))
    assert (result.status, result.counts.invalid, len(world.fake.records)) == ("done", 12, 8)


def test_a_lost_ledger_is_no_first_run(world: World) -> None:
    world.run(*people(20))
    world.warehouse.drop("cdp_state.sent_s")
    assert held(world) == ["CDP508"]
    result = world.run(adopt=True)
    assert (result.status, result.counts.adopted, result.forced) == ("done", 20, ("ledger",))
    world.fake.forget()
    assert world.run().counts.requests == 0


def test_a_ledger_from_an_old_backup_is_repaired_by_a_resync(world: World) -> None:
    world.run(*people(20))
    world.warehouse.execute("DELETE FROM cdp_state.sent_s WHERE row_key > 'k010'")
    assert held(world) == ["CDP508"]
    assert world.run(resync=True).counts.accepted == 20


def test_a_state_schema_that_is_gone_is_a_first_run(world: World) -> None:
    world.run(*people(20))
    world.warehouse.drop(*(f"cdp_state.{table}" for table in world.warehouse.tables("cdp_state")))
    world.fake.forget()
    assert (world.run().status, len(world.fake.sent)) == ("done", 20)


def test_another_account_is_held(world: World) -> None:
    world.run(*people(3))
    world.fake.login = "account-2"
    assert held(world, *people(4)) == ["CDP509"]


def test_a_stale_source_is_held(warehouse: Warehouse, tmp_path: Path) -> None:
    world = World(warehouse, tmp_path, plan(guard={"max_age": "24h"}, freshness=("cdp.loads",)))
    old = (NOW - timedelta(hours=25)).replace(tzinfo=None)
    warehouse.make_table("cdp.loads", f"SELECT CAST('{old}' AS TIMESTAMP) AS loaded_at")
    now = int(NOW.timestamp() * 1_000_000)
    assert held(world, *people(3), now_us=now) == ["CDP510"]
    assert world.run(now_us=now - 2 * 3_600_000_000).status == "done"


def test_a_first_run_can_ask_before_it_sends(warehouse: Warehouse, tmp_path: Path) -> None:
    world = World(warehouse, tmp_path, plan(guard={"first_run": "stop"}))
    assert held(world, *people(3)) == ["CDP511"]
    assert held(world) == ["CDP511"]
    assert world.run(force=frozenset({"first_run"})).status == "done"
    assert world.run(*people(4)).status == "done"


def test_a_first_run_can_be_adopted(warehouse: Warehouse, tmp_path: Path) -> None:
    world = World(warehouse, tmp_path, plan(guard={"first_run": "adopt"}))
    assert (world.run(*people(3)).counts.adopted, world.fake.sent) == (3, [])
    world.run(*people(4))
    assert [change.row_key for change in world.fake.sent] == ["k003"]


def test_too_many_refusals_end_the_run_with_one(world: World) -> None:
    world.fake.refuse = lambda change: "no" if change.row_key < "k020" else None
    result = world.run(*people(100))
    assert (result.status, result.exit_code, [p.code for p in result.problems]) == ("failed", 1, ["CDP505"])
    assert len(world.fake.records) == 80


def test_a_row_counts_once_when_it_is_first_refused(world: World) -> None:
    world.fake.refuse = lambda change: "no" if change.row_key < "k020" else None
    world.run(*people(100))
    result = world.run()
    assert (result.status, result.exit_code, result.counts.refused) == ("done", 0, 20)


def test_a_held_run_does_not_move_the_base(world: World) -> None:
    world.run(*people(100))
    held(world, *people(40))
    assert held(world, *people(40)) == ["CDP502", "CDP507"]


def test_a_dry_run_tells_which_guard_would_trip(world: World) -> None:
    world.run(*people(100))
    result = world.run(*people(40), dry_run=True)
    assert (result.status, result.dry_run, result.planned["remove"]) == ("held", True, 60)
    assert world.run(*people(100)).status == "done"
