"""The state schema, leases and the journal."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from pathlib import Path

import orjson
import pytest

from cdp.errors import DeliveryError, LeaseError, ProjectError
from cdp.sync.journal import Journal, read_journal
from cdp.sync.lease import Holder, lease, side_holder, unlock
from cdp.sync.state import TABLES, VERSION, open_state
from cdp.warehouse.base import Warehouse
from cdp.warehouse.duckdb import DuckDB
from tests.sync.making import World, row


def holder(run_id: str = "r1", *, pid: int | None = None, host: str | None = None) -> Holder:
    here = Holder.here(run_id)
    return Holder(run_id, here.nonce, host or here.host, pid or here.pid)


def dead_pid() -> int:
    """A process id that nobody has."""
    child = multiprocessing.get_context("fork").Process(target=int)
    child.start()
    child.join()
    assert child.pid
    return child.pid


def test_the_state_schema_is_made_once_and_has_its_tables(warehouse: Warehouse) -> None:
    open_state(warehouse)
    open_state(warehouse)
    assert set(TABLES) <= set(warehouse.tables("cdp_state"))
    assert warehouse.rows("SELECT version FROM cdp_state.schema_version") == [(VERSION,)]


def test_state_of_a_newer_version_is_refused(warehouse: Warehouse) -> None:
    open_state(warehouse)
    warehouse.execute(f"UPDATE cdp_state.schema_version SET version = {VERSION + 1}")
    with pytest.raises(
        ProjectError, match=f"CDP431: the state schema cdp_state has version {VERSION + 1}, this cdp knows {VERSION}"
    ):
        open_state(warehouse)


def test_a_lease_is_held_by_one_and_given_back(warehouse: Warehouse) -> None:
    open_state(warehouse)
    with lease(warehouse, "sync:a", holder("r1")) as held:
        held.renew()
        with pytest.raises(LeaseError, match=rf"CDP433: sync:a is held by run r1 \(pid {os.getpid()} on .*\) since 20"):
            with lease(warehouse, "sync:a", holder("r2")):
                pass
        with lease(warehouse, "sync:b", holder("r2")):
            pass
    with lease(warehouse, "sync:a", holder("r2")) as again:
        assert again.token > held.token


def test_the_lease_of_a_dead_process_is_taken_over_at_once(warehouse: Warehouse) -> None:
    open_state(warehouse)
    with lease(warehouse, "sync:a", holder("r1", pid=dead_pid())) as lost:
        with lease(warehouse, "sync:a", holder("r2")) as held:
            held.renew()
            with pytest.raises(LeaseError, match="CDP434: the lease of sync:a was taken over by another run"):
                lost.renew()


def test_the_lease_of_another_machine_is_taken_over_when_it_expires(warehouse: Warehouse) -> None:
    open_state(warehouse)
    with lease(warehouse, "sync:a", holder("r1", host="elsewhere")):
        with pytest.raises(LeaseError, match="on elsewhere"), lease(warehouse, "sync:a", holder("r2")):
            pass
        warehouse.execute("UPDATE cdp_state.locks SET expires_at = TIMESTAMP '2020-01-01 00:00:00'")
        with lease(warehouse, "sync:a", holder("r2")):
            pass


def test_a_lease_can_be_taken_away(warehouse: Warehouse) -> None:
    open_state(warehouse)
    with lease(warehouse, "sync:a", holder("r1", host="elsewhere")) as held:
        assert unlock(warehouse, "sync:a")
        with pytest.raises(LeaseError, match="CDP434"):
            held.renew()
        assert not unlock(warehouse, "sync:a")
        with lease(warehouse, "sync:a", holder("r2")):
            pass


def test_a_side_file_names_who_has_a_duckdb_file(tmp_path: Path) -> None:
    warehouse = DuckDB(tmp_path / "w.duckdb")
    open_state(warehouse)
    with lease(warehouse, "sync:a", holder("r1")):
        found = side_holder(warehouse)
        assert found is not None
        assert found.message.startswith(f"sync:a is held by run r1 (pid {os.getpid()} on {socket.gethostname()})")
    assert side_holder(warehouse) is None
    told = {
        "resource": "sync:a",
        "run_id": "r1",
        "host": socket.gethostname(),
        "pid": dead_pid(),
        "since": "now",
        "nonce": "n",
    }
    (tmp_path / "w.duckdb.lock").write_text(json.dumps(told))
    assert side_holder(warehouse) is None
    warehouse.close()


def test_a_run_that_lost_its_lease_writes_nothing(duckdb: Warehouse, tmp_path: Path) -> None:
    world = World(duckdb, tmp_path)
    world.run(row("a", name="Ann"))

    def steal(batch: object) -> None:
        unlock(world.warehouse, "sync:s")

    world.fake.answer = steal
    with pytest.raises(LeaseError, match="CDP434"):
        world.run(row("a", name="Anna"))
    assert world.state("sent_s", "f_name") == [("Ann",)]
    world.fake.answer = lambda batch: None
    world.run()
    assert world.state("sent_s", "f_name") == [("Anna",)]


def journal(folder: Path) -> Journal:
    return Journal(folder / "r1" / "s.journal", sync="s", run_id="r1", version=7)


def verdicts(path: Path) -> list[tuple[int, str]]:
    return [(one["n"], one["status"]) for one in map(orjson.loads, path.read_bytes().splitlines())]


def test_the_journal_is_read_in_portions_and_again_after_a_crash(tmp_path: Path) -> None:
    one = journal(tmp_path)
    one.append(1, "upsert", "2026-01-10T12:00:00Z", [[1, "a"], [2, "b"]])
    portion = one.expand(tmp_path / "fold")
    assert (portion.verdicts, portion.plain, verdicts(tmp_path / "fold")) == (
        2,
        True,
        [(1, "accepted"), (2, "accepted")],
    )
    one.folded(portion)
    one.append(2, "upsert", "2026-01-10T12:00:01Z", [[3, "c", "refused", "422", "no", None, "q1"]])
    portion = one.expand(tmp_path / "fold")
    assert (portion.verdicts, portion.plain, verdicts(tmp_path / "fold")) == (1, False, [(3, "refused")])
    one.sync()
    one.close(delete=False)
    assert read_journal(one.path, "r1", tmp_path / "fold") == 3


def test_a_torn_line_and_a_damaged_one_are_left_out(tmp_path: Path) -> None:
    one = journal(tmp_path)
    for batch in range(3):
        one.append(batch, "upsert", "2026-01-10T12:00:00Z", [[batch, "k"]])
    one.close(delete=False)
    lines = one.path.read_bytes().splitlines(keepends=True)
    one.path.write_bytes(lines[0] + b"\0\0\0\n" + lines[2] + lines[1][:20])
    assert read_journal(one.path, "r1", tmp_path / "fold") == 2


def test_the_journal_of_another_run_is_moved_aside(tmp_path: Path) -> None:
    one = journal(tmp_path)
    one.append(1, "upsert", "2026-01-10T12:00:00Z", [[1, "a"]])
    one.close(delete=False)
    assert read_journal(one.path, "r2", tmp_path / "fold") == 0
    assert [file.name for file in one.path.parent.iterdir()] == ["s.journal.other"]


def test_a_full_disk_stops_sending_and_what_was_sent_goes_again(duckdb: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="CDP439: the journal /dev/full cannot be written: No space left on device"):
        Journal(Path("/dev/full"), sync="s", run_id="r1", version=1).append(1, "upsert", "now", [[1, "a"]])
