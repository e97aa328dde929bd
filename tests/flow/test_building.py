"""Running a plan: what depends on a failure is skipped, what does not goes on, and steps run side by side where they can."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from cdp.compile.plan import Plan, Script, Statement, Step
from cdp.errors import WarehouseError
from cdp.flow.building import Builder
from cdp.flow.results import Event, StepResult
from cdp.warehouse.base import Warehouse
from cdp.warehouse.postgres import Postgres


def table(name: str, select: str) -> Statement:
    return Statement(name, "table", f"cdp.{name}", select)


def step(
    name: str, *wanted: Statement | tuple[Statement, ...], needs: tuple[str, ...] = (), **more: tuple[str, ...]
) -> Step:
    def script() -> Script:
        for statement in wanted:  # noqa: UP028
            yield statement

    return Step(name, name, script, needs=needs, **more)  # type: ignore[arg-type]


def statuses(results: list[StepResult]) -> dict[str, str]:
    return {result.id: result.status for result in results}


def sleeping(name: str, seconds: float) -> Statement:
    return table(name, f"SELECT 1 AS x FROM pg_sleep({seconds})")


@pytest.fixture
def another(postgres_database: str) -> Callable[[], Warehouse]:
    return lambda: Postgres(dsn=postgres_database)


def test_what_needs_a_failed_step_is_skipped_and_the_rest_goes_on(warehouse: Warehouse) -> None:
    plan = Plan(
        (
            step("a", table("a", "SELECT nothing FROM nowhere")),
            step("b", table("b", "SELECT 1 AS x"), needs=("a",)),
            step("c", table("c", "SELECT 2 AS x")),
            step("d", table("d", "SELECT 3 AS x"), needs=("b", "c")),
        ),
        {},
    )
    results = Builder(warehouse).run(plan)
    assert statuses(results) == {"a": "failed", "b": "skipped", "c": "done", "d": "skipped"}
    assert [result.message for result in results if result.status == "skipped"] == [
        "needs a failed",
        "needs b was skipped",
    ]
    assert warehouse.rows("SELECT x FROM cdp.c") == [(2,)]


def test_a_finished_table_is_swapped_in_and_scratch_is_gone(warehouse: Warehouse) -> None:
    warehouse.make_table("cdp.t", "SELECT 'old' AS x")
    made = step(
        "t",
        table("s", "SELECT 'new' AS x"),
        table("t__new", "SELECT x FROM cdp.s"),
        publishes=("cdp.t",),
        scratch=("cdp.s",),
    )
    results = Builder(warehouse).run(Plan((made,), {}))
    assert [(result.status, result.rows) for result in results] == [("done", 1)]
    assert results[0].statements >= 3
    assert warehouse.tables("cdp") == ("t",)
    assert warehouse.rows("SELECT x FROM cdp.t") == [("new",)]


def test_steps_that_do_not_need_each_other_run_side_by_side(
    postgres: Postgres, another: Callable[[], Warehouse]
) -> None:
    # each of the two statements waits for the lock that the other one takes: one after the other, neither would end
    postgres.execute("CREATE TABLE cdp.flags (name text)")
    postgres.execute(
        "CREATE FUNCTION cdp.meet(mine bigint, other bigint) RETURNS int LANGUAGE plpgsql AS $$ BEGIN"
        " PERFORM pg_advisory_lock(mine);"
        " FOR i IN 1..600 LOOP"
        "  IF EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = other::oid AND granted) THEN"
        "   PERFORM pg_sleep(0.3); RETURN 1; END IF;"
        "  PERFORM pg_sleep(0.05); END LOOP; RETURN 0; END $$"
    )
    plan = Plan(
        (
            step("a", table("a", "SELECT cdp.meet(1, 2) AS met")),
            step("b", table("b", "SELECT cdp.meet(2, 1) AS met")),
            step("both", (table("c", "SELECT cdp.meet(3, 4) AS met"), table("d", "SELECT cdp.meet(4, 3) AS met"))),
        ),
        {},
    )
    results = Builder(postgres, another=another, threads=4).run(plan)
    assert set(statuses(results).values()) == {"done"}, results
    assert [postgres.rows(f"SELECT met FROM cdp.{name}") for name in "abcd"] == [[(1,)]] * 4


def test_a_step_waits_for_what_it_needs_however_many_hands_there_are(
    postgres: Postgres, another: Callable[[], Warehouse]
) -> None:
    plan = Plan(
        (
            step("slow", sleeping("slow", 0.4)),
            step("next", table("next", "SELECT x FROM cdp.slow"), needs=("slow",)),
            *(step(f"quick{n}", table(f"quick{n}", "SELECT 1 AS x")) for n in range(6)),
            step(
                "last",
                table("last", "SELECT x FROM cdp.next UNION ALL SELECT x FROM cdp.quick5"),
                needs=("next", "quick5"),
            ),
        ),
        {},
    )
    told: list[tuple[str, str]] = []
    results = Builder(
        postgres, watch=lambda event: told.append((event.kind, event.id)), another=another, threads=3
    ).run(plan)
    assert set(statuses(results).values()) == {"done"}
    assert (
        told.index(("end", "slow"))
        < told.index(("start", "next"))
        < told.index(("end", "next"))
        < told.index(("start", "last"))
    )
    assert told.index(("end", "quick0")) < told.index(("end", "slow")), "what needs nothing does not wait"
    assert postgres.rows("SELECT count(*) FROM cdp.last") == [(2,)]


def test_two_scans_of_one_step_of_which_one_fails_fail_it_once(
    postgres: Postgres, another: Callable[[], Warehouse]
) -> None:
    both = (sleeping("good", 0.2), table("bad", "SELECT nothing FROM nowhere"))
    plan = Plan(
        (step("scans", both, table("after", "SELECT 1 AS x")), step("needy", needs=("scans",)), step("free")), {}
    )
    results = Builder(postgres, another=another, threads=2).run(plan)
    assert statuses(results) == {"scans": "failed", "needy": "skipped", "free": "done"}
    assert "after" not in postgres.tables("cdp")


def test_a_connection_lost_amid_a_build_ends_it_and_old_tables_stay(
    postgres: Postgres, another: Callable[[], Warehouse], postgres_database: str
) -> None:
    postgres.make_table("cdp.t", "SELECT 'old' AS x")
    lose = "SELECT pg_terminate_backend(pg_backend_pid()) AS x"
    for threads in (1, 3):
        mine = Postgres(dsn=postgres_database)
        plan = Plan(
            (
                step("t", table("t__new", lose), publishes=("cdp.t",)),
                step("u", table("u", "SELECT 1 AS x"), needs=("t",)),
            ),
            {},
        )
        results = Builder(mine, another=another if threads > 1 else None, threads=threads).run(plan)
        assert statuses(results) == {"t": "failed", "u": "skipped"}
        assert results[0].exit_code == 4
        assert postgres.rows("SELECT x FROM cdp.t") == [("old",)]
        mine.close()


def test_a_server_that_lets_no_more_in_is_worked_with_through_one_connection(postgres: Postgres) -> None:
    def refused() -> Warehouse:
        raise WarehouseError("CDP302", "too many connections")

    plan = Plan(tuple(step(f"s{n}", sleeping(f"s{n}", 0.05)) for n in range(4)), {})
    results = Builder(postgres, another=refused, threads=3).run(plan)
    assert set(statuses(results).values()) == {"done"}


def test_a_stop_lets_what_runs_end_and_begins_nothing_more(
    postgres: Postgres, another: Callable[[], Warehouse]
) -> None:
    asked = threading.Event()

    def watch(event: Event) -> None:
        if event.kind == "end":
            asked.set()

    class Stop:
        exit_code = 130

        def __call__(self) -> bool:
            return asked.is_set()

    plan = Plan(tuple(step(f"s{n}", sleeping(f"s{n}", 0.1 + n / 10)) for n in range(5)), {})
    results = Builder(postgres, watch=watch, stop=Stop(), another=another, threads=2).run(plan)
    assert statuses(results) == {
        "s0": "done",
        "s1": "done",
        "s2": "interrupted",
        "s3": "interrupted",
        "s4": "interrupted",
    }


def test_a_signal_stops_statements_on_all_connections(postgres: Postgres, another: Callable[[], Warehouse]) -> None:
    def watch(event: Event) -> None:
        if event.id == "quick" and event.kind == "end":
            raise KeyboardInterrupt

    plan = Plan((step("slow", sleeping("slow", 60)), step("quick", sleeping("quick", 0.3))), {})
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Builder(postgres, watch=watch, another=another, threads=2).run(plan)
    assert time.monotonic() - begun < 30
    assert "slow" not in postgres.tables("cdp")
