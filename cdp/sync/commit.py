"""The steps that change the state schema before anything is sent, and those that make good for a dead run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from cdp.compile.plan import SyncPlan
from cdp.compile.render import text
from cdp.destination.base import Destination
from cdp.sync.diff import Diff, Diffed, Route
from cdp.sync.expression import STORED, Known, match_ids
from cdp.sync.fault import point
from cdp.sync.fold import Folder, ensure_refused
from cdp.sync.journal import read_journal
from cdp.sync.lease import Lease
from cdp.sync.ledger import Ledger, reshape, write_fields
from cdp.sync.names import Names
from cdp.sync.record import Runs
from cdp.sync.result import Counts
from cdp.sync.spool import Checked, Reader, unload
from cdp.sync.state import State, moment

_LOGGED = 1000  # set-aside keys that one run writes into the log


def recover(state: State, plan: SyncPlan, route: Route, names: Names, held: Lease, spools: Path, account: str) -> None:
    """Fold what a dead run's journal confirms; the rest of its stage stays in doubt.

    The journal lies where that run kept its spool; without it (another machine) everything staged is in doubt.
    """
    point("recover")
    run = state.rows("stage_run", stage=names.stage)[0][0]
    if run is None:
        return
    folder = spools / str(run)
    target = folder / f"{plan.name}.fold"
    journal = folder / f"{plan.name}.journal"
    if journal.exists() and read_journal(journal, str(run), target):
        ensure_refused(state, names)
        fields = _common(state, plan, names)
        past = Folder.of(state, plan, route, names, run_id=str(run), account=account, fields=fields)
        past.load(target)
        past.fold(held)
    sweep(spools, str(run), plan.name)
    point("recovered")


def sweep(spools: Path, run_id: str, sync: str) -> None:
    """Delete what a run kept on this disk for a sync, once nobody needs it any more."""
    folder = spools / run_id
    for suffix in (".journal", ".fold", ".jsonl", ".invalid"):
        (folder / f"{sync}{suffix}").unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _common(state: State, plan: SyncPlan, names: Names) -> list[Known]:
    """The fields that a dead run's stage and the ledger both have, with the types that they have there."""
    ledger = {c.name.lower(): STORED.get(c.type, c.type) for c in state.warehouse.columns(names.ledger) or ()}
    stage = {c.name.lower() for c in state.warehouse.columns(names.stage) or ()}
    return [
        Known(replace(field, type=ledger[field.column]), ledger[field.column], 0, fresh=False)
        for field in plan.fields
        if field.column in ledger and field.column in stage
    ]


def spooled(
    state: State, names: Names, plan: SyncPlan, destination: Destination, diffed: Diffed, spool: Path
) -> Checked:
    """The new stage as a local file, read once: rows that the destination could not take are known before the first byte."""
    unload(state, names, names.new, plan.fields, spool)
    return Checked(Reader(spool, plan.name, plan.fields), destination, diffed.groups)


def commit(
    state: State,
    plan: SyncPlan,
    route: Route,
    names: Names,
    held: Lease,
    runs: Runs,
    diff: Diff,
    diffed: Diffed,
    ledger: Ledger,
    checked: Checked,
    *,
    run_id: str,
    changes_upto: int | None,
    account: str,
    now: int,
    adopt: bool,
    selective: bool,
) -> None:
    """From here on the staged rows count as possibly sent.

    The order matters where a crash may come between: a stage without moved keys is judged again by the next run, moved keys
    without the stage would lose what is in doubt.
    """
    warehouse = state.warehouse
    ensure_refused(state, names)
    if route.record:
        reshape(state, names, ledger, part="record")
    if route.members:
        reshape(state, names, ledger, part="list")
    _set_aside(state, names, plan, checked, diff, run_id, now)
    if adopt:
        state.execute("never_tried", stage=names.new)
    point("stage")
    warehouse.swap({names.new: names.stage})
    point("staged")
    main = names.ledger if route.record else names.members
    with warehouse.transaction():
        held.renew()
        ledgers = [
            (part, table) for part, table in (("record", names.ledger), ("list", names.members)) if part in diff.parts
        ]
        if diff.moves:
            for table in (*(table for _, table in ledgers), names.refused):
                state.execute("move_keys", target=table, moves=diff.moves)
        if plan.mode != "append" and not selective:
            _forget(state, plan, names, diff, ledgers)
        if route.record:
            write_fields(state, plan, ledger, run_id)
        runs.note(main, changes_upto=changes_upto, account=account)
    point("committed")


def _forget(state: State, plan: SyncPlan, names: Names, diff: Diff, ledgers: Sequence[tuple[str, str]]) -> None:
    for part, table in ledgers:
        diff_table = names.record_diff if part == "record" else names.list_diff
        refused = names.refused if diff.refused else None
        state.execute("forget", ledger=table, diff=diff_table, stage=names.stage, refused=refused, part=part)
        if refused:
            state.execute("settle_refused", refused=refused, diff=diff_table, part=part)
    if diff.refused:
        state.execute(
            "settle_removals",
            refused=names.refused,
            rows=plan.table,
            matched=bool(plan.match),
            match_ids=match_ids(plan.match),
        )


def _set_aside(state: State, names: Names, plan: SyncPlan, checked: Checked, diff: Diff, run_id: str, now: int) -> None:
    log = {"log": state.table("sync_log"), "sync": text(plan.name), "run_id": text(run_id), "at": moment(now)}
    if diff.aside:
        state.execute("log_aside", **log, aside=diff.aside, most=_LOGGED)
    if not checked.invalid:
        return
    path = checked.reader.path.with_suffix(".invalid")
    path.write_bytes(
        b"".join(orjson.dumps({"n": i.n, "row_key": i.row_key, "message": i.message}) + b"\n" for i in checked.invalid)
    )
    state.warehouse.load_json_lines(names.invalid, path, {"n": "int", "row_key": "text", "message": "text"})
    state.execute("log_invalid", **log, invalid=names.invalid)
    state.execute("drop_invalid", stage=names.new, invalid=names.invalid)
    state.execute("carry_invalid", stage=names.new, invalid=names.invalid)


def settle_adopted(state: State, folder: Folder, held: Lease, counts: Counts, now: int) -> Counts:
    """Take every staged row as sent."""
    names = folder.names
    adopted = state.make(names.fold, "adopt", stage=names.stage, at=moment(now))
    folder.fold(held, plain=True, last=True)
    return replace(counts, adopted=adopted)
