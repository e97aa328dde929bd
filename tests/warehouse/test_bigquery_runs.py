"""Builds, identity and syncs on BigQuery, and what becomes of them when it goes away in the middle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlglot import exp

from cdp.errors import WarehouseError
from cdp.flow import build
from cdp.warehouse.base import Warehouse
from cdp.warehouse.bigquery import BigQuery
from cdp.warehouse.bigquery_jobs import Patience
from cdp.warehouse.bigquery_login import Login
from tests.compile.identity.people import build as resolve
from tests.compile.identity.people import changes, customer, ids, limited, people, records
from tests.compile.identity.people import fill as fill_records
from tests.engines import Engines, connected, live
from tests.engines.bigquery import SERVERS
from tests.engines.bigquery_server import Server
from tests.meaning.building import (
    answers,
    engine_for,
    fill,
    freeze,
    run_build,
    settings_of,
    write_project,
)
from tests.meaning.building import (
    records as all_of,
)
from tests.meaning.world import worlds
from tests.sync.making import TYPES, Fake, Row, World, fields, plan, row

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(live.told("bigquery") is not None, reason="faults can be had on the server of the tests only"),
]
QUICK = Patience(request=5, pause=0.01)
AWAY = 99  # so many requests are cut that nobody waits for the end


@pytest.fixture
def server(engines: Engines) -> Iterator[Server]:
    found = SERVERS[engines.address("bigquery")]
    found.faults.clear()
    yield found
    found.faults.clear()


@pytest.fixture
def bigquery(engines: Engines, server: Server, tmp_path: Path) -> Iterator[BigQuery]:
    with engines.fresh("bigquery", tmp_path) as profile:
        warehouse = BigQuery(profile["project"], login=Login(endpoint=server.address), patience=QUICK)
        warehouse.ensure_schemas()
        yield warehouse
        warehouse.close()


# builds


def test_a_build_that_loses_bigquery_leaves_the_old_tables_and_a_rerun_is_right(
    engines: Engines, server: Server, tmp_path: Path
) -> None:
    world = worlds()["golden"]
    asked = [case for case in world.asked(True) if case.members is not None]
    with engine_for(engines, "bigquery", tmp_path) as engine:
        impatient = {**engine.profile, "retries": 0}
        write_project(tmp_path, world.files(True), impatient)
        fill(engine, world.tables)
        freeze(tmp_path, world.as_of)
        run_build(tmp_path, world.as_of)
        expected = answers(engine, {case.name: case.entity for case in asked}, world.called, ["person"])
        before = {table: sorted(map(str, all_of(engine, f"cdp.{table}"))) for table in ("person", "audience_everybody")}

        engine.raw.execute("DELETE FROM raw.crm WHERE user_no = 'u4'")
        for fault in ("TABLE `cdp`.`audience_everybody", "COMMIT"):
            server.fault("jobs.insert", "before", sql=fault, times=1)
            result = build(settings_of(tmp_path, world.as_of))
            assert result.exit_code == 4, fault
            lost = [step for step in result.steps if step.code == "CDP302"]
            assert lost, fault
            assert "no connection" in str(lost[0].message)
            server.faults.clear()
            assert all_of(engine, "cdp.audience_everybody"), "the table is there, old or new"
        assert sorted(map(str, all_of(engine, "cdp.audience_everybody"))) == before["audience_everybody"]

        run_build(tmp_path, world.as_of)
        found = answers(engine, {case.name: case.entity for case in asked}, world.called, ["person"])
        assert found.members["everybody"] == expected.members["everybody"] - {"u4"}
        assert [t for t in engine.warehouse.tables("cdp") if "tmp_" in t or t.endswith("__new")] == []


def test_what_passes_does_not_stop_a_build(engines: Engines, server: Server, tmp_path: Path) -> None:
    world = worlds()["golden"]
    with engine_for(engines, "bigquery", tmp_path) as engine:
        write_project(tmp_path, world.files(True), engine.profile)
        fill(engine, world.tables)
        freeze(tmp_path, world.as_of)
        server.fault("jobs.insert", "error", code=403, reason="rateLimitExceeded", sql="CREATE OR REPLACE TABLE")
        server.fault("jobs.insert", "after", sql="COMMIT")
        run_build(tmp_path, world.as_of)
        audiences = {case.name: case.entity for case in world.asked(True) if case.members is not None}
        found = answers(engine, audiences, world.called, ["person"])
        assert found.members == {case.name: case.members for case in world.asked(True) if case.members is not None}


# identity


def test_a_long_chain_becomes_one_profile_and_a_merge_is_told(bigquery: BigQuery) -> None:
    identifiers = limited({"a": None, "b": None})
    spec = customer(identifiers, records("cdp.chain", ["a", "b"]))
    chain = [(number, f"a{number // 2}", f"b{(number + 1) // 2}") for number in range(200) if number != 99]
    fill_records(bigquery, "cdp.chain", 2, chain)
    resolve(bigquery, spec)
    assert len(people(bigquery)) == 2
    first = ids(bigquery)
    fill_records(bigquery, "cdp.chain", 2, [*chain, (99, "a49", "b50")])
    resolve(bigquery, spec, "run2")
    [everybody] = people(bigquery)
    assert len(everybody) == 201
    assert set(ids(bigquery).values()) < set(first.values())
    assert [kind for kind, _, _ in changes(bigquery, "run2")] == ["merged"]
    resolve(bigquery, spec, "run3")
    assert changes(bigquery, "run3") == set()


# syncs


class Spoken(World):
    """A world whose rows are written in the words of the engine."""

    def rows(self, *rows: Row) -> World:
        columns = {"row_key": ("key", "text"), "row_at": ("row_at", "timestamp"), "held": ("held", "text")}
        columns |= {match.column: (match.name, "text") for match in self.plan.match}
        columns |= {field.column: (field.name, field.type) for field in self.plan.fields}
        selects = [self._select(one, columns) for one in rows] or [self._select({}, columns).where("1 = 0")]
        dialect = self.warehouse.facts.dialect
        self.warehouse.make_table(self.plan.table, " UNION ALL ".join(one.sql(dialect=dialect) for one in selects))
        return self

    def _select(self, values: Row, columns: Mapping[str, tuple[str, str]]) -> exp.Select:
        cells = []
        for column, (name, type_) in columns.items():
            value = values.get(name)
            text: exp.Expr = exp.null() if value is None else exp.convert(str(value))
            cells.append(exp.alias_(exp.cast(text, exp.DataType.build(TYPES[type_], dialect="postgres")), column))
        return exp.select(*cells).from_("UNNEST([1]) AS one", dialect="bigquery")


@pytest.fixture
def world(bigquery: Warehouse, tmp_path: Path) -> Spoken:
    return Spoken(bigquery, tmp_path, plan(fields(name="text", ltv="decimal", tags="list", ok="bool", at="timestamp")))


def someone(key: str, **values: Any) -> dict[str, Any]:
    every = {"name": "x", "ltv": "1.5", "tags": '["a"]', "ok": True, "at": "2026-01-01 00:00:00"}
    return row(key, **{**every, **values})


def test_a_sync_sends_what_is_new_changed_and_gone_and_then_nothing(world: Spoken) -> None:
    everybody = [someone(f"k{number}") for number in range(20)]
    result = world.run(*everybody)
    assert (result.status, result.counts.accepted) == ("done", 20)
    world.fake.forget()
    assert world.run().counts.requests == 0
    result = world.run(*everybody[:18], someone("k18", name="y"), someone("new"))
    assert sorted(world.fake.log) == [("delete", "k19@x.fr"), ("upsert", "k18@x.fr"), ("upsert", "new@x.fr")]
    assert result.status == "done"
    assert world.fake.records["k18@x.fr"]["name"] == "y"
    world.fake.forget()
    assert world.run().counts.requests == 0
    assert world.state("sent_s", "COUNT(*)") == [(20,)]


def test_a_refused_row_waits_and_its_reason_is_kept(world: Spoken) -> None:
    world.fake.refuse = lambda change: "no such mail" if change.row_key == "k1" else None
    result = world.run(someone("k0"), someone("k1"))
    assert (result.counts.accepted, result.counts.refused) == (1, 1)
    assert world.state("refused_s", "row_key, message") == [("k1", "no such mail")]
    world.fake.refuse = lambda change: None
    world.run(someone("k0"), someone("k1", name="better"))
    assert set(world.fake.records) == {"k0@x.fr", "k1@x.fr"}
    assert world.state("refused_s", "COUNT(*)") == [(0,)]


@pytest.mark.parametrize("where", ["BEGIN", "INSERT INTO cdp_state.sent_s", "COMMIT"])
def test_a_fold_that_loses_bigquery_is_made_up_for_by_the_next_run(world: Spoken, server: Server, where: str) -> None:
    everybody = [someone(f"k{number}") for number in range(12)]
    world.rows(*everybody)
    folding = []

    def answer(batch: Any) -> None:
        if not folding:  # from the first delivery on: all that follows is a fold
            folding.append(batch)
            server.fault("jobs.insert", "before", sql=where, times=AWAY)

    world.fake.answer = answer
    try:
        result = world.run()
    except WarehouseError as error:
        assert error.exit_code == 4
    else:
        assert result.exit_code == 4
    assert len(world.fake.records) == 12
    server.faults.clear()
    world.fake.answer = lambda batch: None
    world.fake.forget()
    again = world.run()
    assert again.status == "done"
    assert len(world.fake.records) == 12
    world.fake.forget()
    assert world.run().counts.requests == 0
    assert world.state("sent_s", "COUNT(*)") == [(12,)]


def test_a_fold_whose_commit_was_heard_but_not_answered_is_folded_once(world: Spoken, server: Server) -> None:
    server.fault("jobs.insert", "after", sql="COMMIT", times=2)
    result = world.run(*[someone(f"k{number}") for number in range(12)])
    assert (result.status, result.counts.accepted) == ("done", 12)
    assert world.state("sent_s", "COUNT(*)") == [(12,)]
    world.fake.forget()
    assert world.run().counts.requests == 0


def test_a_lease_that_two_first_runs_took_at_once_is_held_by_one(bigquery: BigQuery, tmp_path: Path) -> None:
    """Keys are not enforced on BigQuery: both may have written the free row."""
    world = Spoken(bigquery, tmp_path, fake=Fake())
    world.run(row("k0", name="x"))
    bigquery.execute(
        "INSERT INTO cdp_state.locks (resource, token) SELECT resource, token FROM cdp_state.locks WHERE TRUE"
    )
    assert world.run(row("k0", name="y")).status == "done"
    assert world.fake.records["k0@x.fr"]["name"] == "y"


def test_the_engine_is_found_by_its_profile(engines: Engines, tmp_path: Path) -> None:
    with engines.fresh("bigquery", tmp_path) as profile:
        warehouse = connected(profile, tmp_path)
        assert isinstance(warehouse, BigQuery)
        assert warehouse.rows("SELECT 1 AS a") == [(1,)]
        warehouse.close()
