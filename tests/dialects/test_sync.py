"""The statements of the sync engine, recorded while it runs on DuckDB, hold for every engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from cdp.compile.plan import Statement
from cdp.compile.render import Renderer
from cdp.destination.outcome import Answer, Batch
from cdp.shipped import shipped
from cdp.sync import state
from cdp.warehouse.functions import FACTS
from tests.dialects.catalogue import Catalogue
from tests.dialects.recording import Appeared, Recorder, Recording
from tests.sync.making import Fake, World, fields, plan, row

JOURNAL = {"at"}  # a column of the journal and a word that some grammars keep: quoted there, where no case is folded
CHANGES = "SELECT 'r' AS run_id, TIMESTAMP '2026-01-10 11:00:00' AS changed_at, 'merged' AS kind, 'b' AS old_id, 'a' AS new_id, '' AS because"


@dataclass(frozen=True)
class Recorded:
    """What ran, in order, and the templates that were rendered."""

    warehouse: Recording
    recorder: Recorder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("sync")
    recorder = Recorder()
    warehouse = Recording(folder / "w.duckdb", recorder)
    state._renderers[warehouse] = recorder
    _mirror(warehouse, folder)
    _append(warehouse, folder)
    yield Recorded(warehouse, recorder)
    warehouse.close()


def _mirror(warehouse: Recording, folder: Path) -> None:
    """Enters, changes, leaves, refusals and their second try, merged ids, another mapping, another account, a resync."""
    several = fields(
        name="text", ltv="decimal", n="int", x="float", ok="bool", d="date", at="timestamp", tags="list", doc="json"
    )
    fake = Fake()
    sync = plan(several, on_leave="remove", list="L", changes="cdp.person_changes")
    world = World(warehouse, folder, sync, fake)
    warehouse.make_table("cdp.person_changes", CHANGES + " WHERE 1 = 0")
    full = {"ltv": Decimal("1.5"), "n": 1, "x": 0.5, "ok": True, "at": datetime(2026, 1, 1), "tags": "[]", "doc": "{}"}
    world.run(
        row("a", name="Ann", **full),
        row("b", name="Ben"),
        row("c", name="Cid"),
        row("c", name="Cid"),
        row("d", email=None),
    )
    fake.refuse = lambda change: "no" if change.row_key == "a" else None
    world.run(row("a", name="Anne", **full), row("b", name="Ben"), row("e", name="Eve"))
    fake.refuse = lambda change: None
    fake.answer = lambda batch: None
    warehouse.make_table("cdp.person_changes", CHANGES)
    world.now += timedelta(days=1)
    world.run(row("a", name="Ann"), row("e", name="Eve", held="excluded"))
    world.map(*several[:2])
    world.run(row("a", name="Ann", ltv=2))
    fake.login = "account-2"
    world.run(row("a", name="Ann", ltv=3))
    world.run(row("a", name="Ann", ltv=3), resync=True)
    world.run(row("a", name="Ann", ltv=4), dry_run=True)
    fake.answer = _dies
    world.run(row("a", name="Ann", ltv=5), row("f", name="Fay"), force=frozenset({"max_removed", "max_changed"}))
    fake.answer = lambda batch: None
    world.run(row("a", name="Ann", ltv=5), row("f", name="Fay"))
    world.run(row("z", name="Zoe"), adopt=True)


def _dies(batch: Batch) -> Answer | None:
    raise ConnectionError("gone")


def _append(warehouse: Recording, folder: Path) -> None:
    """Messages, late ones among them, then adoption of a first run."""
    several = fields(name="text")
    sync = plan(several, mode="append", match=(), since_us=86_400_000_000)
    world = World(warehouse, folder, sync, Fake())
    early = {"key": "m0", "name": "y", "row_at": world.now - timedelta(days=3)}
    world.run({"key": "m1", "name": "x", "row_at": world.now - timedelta(hours=1)}, early)
    world.now += timedelta(days=4)
    world.run({"key": "m2", "name": "x", "row_at": world.now - timedelta(hours=1)})


def test_the_recorded_runs_use_nearly_all_templates(recorded: Recorded) -> None:
    every = {
        f"sync/{path.name.removesuffix('.sql.jinja')}" for path in (shipped("models") / "sync").glob("*.sql.jinja")
    }
    assert len(recorded.recorder.templates & every) >= 0.75 * len(every), sorted(every - recorded.recorder.templates)


@pytest.mark.parametrize("engine", FACTS)
def test_every_statement_of_a_sync_holds(engine: str, recorded: Recorded) -> None:
    found, renderer = Catalogue(engine, JOURNAL if FACTS[engine].fold != "upper" else set()), Renderer(FACTS[engine])
    checked: set[str] = set()
    for item in recorded.warehouse.log:
        if isinstance(item, Appeared):
            found.add(item.target, item.columns)
            continue
        sql = renderer.sql(item.tree)
        try:
            found.check(Statement("sync", item.action, item.target, sql))
        except Exception as error:
            raise AssertionError(f"{error}\n{sql[:3000]}") from error
        checked.add(sql)
    assert len(checked) > 50
