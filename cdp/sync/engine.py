"""One run of one sync: lease ► fold a dead run's journal ► diff ► guards ► stage ► send ► fold ► report.

Whatever ends it on the way, the next run finds out from three things: the stage in the warehouse (what may have been sent),
the journal on the disk (what was confirmed), and the ledger (what is folded).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from cdp.compile.plan import SyncPlan
from cdp.destination.base import Delivery, Destination
from cdp.errors import Problem, WarehouseError
from cdp.sync.commit import commit, recover, settle_adopted, spooled, sweep
from cdp.sync.diff import Diff, Diffed, Horizon
from cdp.sync.fault import point
from cdp.sync.fold import Folder
from cdp.sync.guards import Facts, Trip, first_run_adopts, rejected, trips
from cdp.sync.journal import Journal
from cdp.sync.lease import Holder, Lease, lease
from cdp.sync.ledger import Ledger, read_ledger
from cdp.sync.names import Names
from cdp.sync.record import History, Runs
from cdp.sync.result import Counts, Progress, Status, SyncOptions, SyncResult, severity
from cdp.sync.route import route_of
from cdp.sync.sender import Halt, Sender
from cdp.sync.sending import Sending
from cdp.sync.source import newest_us
from cdp.sync.spool import Checked, Reader, unload
from cdp.sync.state import EPOCH, State, moment, open_state, released
from cdp.sync.tally import Tally
from cdp.warehouse.base import Warehouse

_RETRY = 0.5  # seconds between two tries to fold at the end
_FOLD_WAIT = 60.0


def sync_one(
    plan: SyncPlan,
    warehouse: Warehouse,
    destination: Destination,
    *,
    run_id: str,
    as_of: datetime,
    project_dir: Path,
    options: SyncOptions | None = None,
    progress: Progress | None = None,
) -> SyncResult:
    """Make the destination hold what `plan.table` says.

    `as_of` is the build's clock (UTC). Rows travel through `<project_dir>/target/spool/<run_id>/`. Raises LeaseError
    (another run is at it), ProjectError (the destination cannot do this; newer state), WarehouseError; what a destination
    does is never an exception but in the result. When it returns, nothing runs any more and nothing is held.
    """
    options = options or SyncOptions()
    began = time.monotonic()
    with released(warehouse):
        state = open_state(warehouse)
        with lease(warehouse, f"sync:{plan.name}", Holder.here(run_id), options.wait or 0.0) as held:
            run = _Run(state, plan, destination, held, run_id, as_of, project_dir, options, progress)
            result = run.result()
    return replace(result, seconds=time.monotonic() - began)


class _Run:
    """The state of one run between its steps."""

    def __init__(
        self,
        state: State,
        plan: SyncPlan,
        destination: Destination,
        held: Lease,
        run_id: str,
        as_of: datetime,
        project_dir: Path,
        options: SyncOptions,
        progress: Progress | None,
    ) -> None:
        self.state = state
        self.warehouse = state.warehouse
        self.plan = plan
        self.destination = destination
        self.lease = held
        self.run_id = run_id
        self.options = options
        self.progress = progress
        self.names = Names.of(self.warehouse.state_schema, plan.name)
        self.route = route_of(plan, destination)
        self.runs = Runs(state, plan.name, run_id)
        self.spools = project_dir / "target" / "spool"
        self.spool = self.spools / run_id / f"{plan.name}.jsonl"
        as_of = as_of if as_of.tzinfo else as_of.replace(tzinfo=UTC)
        now = options.now_us if options.now_us is not None else time.time_ns() // 1000
        self.horizon = Horizon(int((as_of - EPOCH).total_seconds() * 1_000_000), now)
        self.account = destination.account()
        self.main = self.names.ledger if self.route.record else self.names.members
        self.forced: tuple[str, ...] = ()
        self.problems: list[Problem] = []

    def result(self) -> SyncResult:
        """Everything, from the diff to the report."""
        point("begin")
        try:
            return self._judged()
        finally:
            self._tidy()

    def _judged(self) -> SyncResult:
        stage_exists = self.warehouse.columns(self.names.stage) is not None
        if stage_exists and not self.options.dry_run:
            recover(self.state, self.plan, self.route, self.names, self.lease, self.spools, self.account)
        history = self.runs.history()
        version = max(history.version + 1, time.time_ns() // 1_000_000)
        if not self.options.dry_run:
            for dead in self.runs.dead():
                sweep(self.spools, dead, self.plan.name)
            reason = "resync" if self.options.resync else None if history.runs else "first_run"
            forced = ",".join(sorted(self.options.force)) or None
            self.runs.start(mode=self.plan.mode, version=version, forced=forced, reason=reason)
        diff, ledger = self._diff(history, version)
        diffed = diff.run()
        facts = self._facts(history, ledger, diffed, diff)
        adopt = self.options.adopt or (
            facts.first_run and first_run_adopts(self.plan.guard) and "first_run" not in self.options.force
        )
        held = self._trips(facts, adopt=adopt)
        if held:
            return self._held(diffed, held)
        if self.options.dry_run:
            return SyncResult(
                self.plan.name, self.run_id, "done", 0, self._counts(diffed), diffed.planned, tuple(self.problems),
                self.forced, self._sample(diffed), dry_run=True,
            )  # fmt: skip
        if self._quiet(diffed, ledger, diff, stage_exists=stage_exists):
            return self._ended("done", 0, self._counts(diffed), diffed, ledger_rows=ledger.rows)
        return self._carried_out(diff, diffed, ledger, facts, adopt=adopt, history=history)

    def _diff(self, history: History, version: int) -> tuple[Diff, Ledger]:
        ledger = read_ledger(self.state, self.plan, self.names.ledger)
        members = self.warehouse.columns(self.names.members) is not None if self.route.members else False
        refused = self.warehouse.columns(self.names.refused) is not None
        if refused:
            refused = int(self.state.rows("count", table=self.names.refused)[0][0]) > 0
        stage = self.warehouse.columns(self.names.stage)
        diff = Diff(
            self.state,
            self.plan,
            self.route,
            ledger,
            self.names,
            run_id=self.run_id,
            version=version,
            horizon=self.horizon,
            options=self.options,
            changes_upto=history.changes_upto,
            members_exist=members,
            refused=refused,
            stage_columns=[c.name.lower() for c in stage] if stage is not None else None,
        )
        return diff, ledger

    def _carried_out(
        self, diff: Diff, diffed: Diffed, ledger: Ledger, facts: Facts, *, adopt: bool, history: History
    ) -> SyncResult:
        checked = spooled(self.state, self.names, self.plan, self.destination, diffed, self.spool)
        if checked.invalid:
            facts = replace(facts, invalid=diffed.duplicates + checked.invalid_rows)
            held = [trip for trip in self._trips(facts, adopt=adopt) if trip.guard == "max_invalid"]
            if held:
                return self._held(diffed, held, invalid=facts.invalid)
        upto = newest_us(self.state, self.plan.changes) if self.plan.changes else None
        commit(
            self.state, self.plan, self.route, self.names, self.lease, self.runs, diff, diffed, ledger, checked,
            run_id=self.run_id, changes_upto=upto, account=self.account, now=self.horizon.now, adopt=adopt,
            selective=self.options.selective,
        )  # fmt: skip
        folder = self._folder(ledger, diff, diffed, bulk=facts.first_run or self.options.resync)
        if adopt:
            counts = settle_adopted(
                self.state, folder, self.lease, self._counts(diffed, facts.invalid), self.horizon.now
            )
            return self._closed(diffed, counts, None, facts)
        return self._sent(diffed, checked, folder, facts)

    def _folder(self, ledger: Ledger, diff: Diff, diffed: Diffed, *, bulk: bool) -> Folder:
        others = diffed.planned["change"] + diffed.planned["remove"] + diffed.held
        others += sum(found.rematched for found in diff.changes.values())
        return Folder.of(
            self.state,
            self.plan,
            self.route,
            self.names,
            run_id=self.run_id,
            account=self.account,
            fields=ledger.fields,
            bulk=bulk and not self.options.log_all,
            adds_only=others == 0 and diff.doubt is None,
            refused=diff.refused is not None,
        )

    def _sent(self, diffed: Diffed, checked: Checked, folder: Folder, facts: Facts) -> SyncResult:
        version = self.runs.history().version
        journal = Journal(self.spool.with_suffix(".journal"), sync=self.plan.name, run_id=self.run_id, version=version)
        self.warehouse.release()
        tally = Tally()
        halt: Halt | None = None
        sendable = sum(count for _, _, count in diffed.groups) - len(checked.invalid)
        try:
            if sendable:
                halt = asyncio.run(self._loop(diffed, checked, folder, journal, tally))
        finally:
            journal.close(delete=False)
        left_open = self._last_fold(folder, journal, whole=not tally.unwritten)
        planned = sum(diffed.planned.values()) + diffed.held - checked.invalid_rows
        counts = tally.told(
            planned=planned,
            queried=diffed.queried,
            invalid=facts.invalid,
            skipped=diffed.skipped,
            late=diffed.late,
            held=diffed.held,
        )
        if left_open is not None:
            self.lease.abandoned = True
            self._blame(left_open)
            return self._told("failed", left_open.exit_code, counts, diffed)
        journal.close(delete=True)
        return self._closed(diffed, counts, halt, facts)

    async def _loop(
        self, diffed: Diffed, checked: Checked, folder: Folder, journal: Journal, tally: Tally
    ) -> Halt | None:
        sender = Sender(
            self.plan.name,
            self.destination,
            journal,
            self.options,
            tally,
            self.progress,
            chained=self.route.record and self.route.members,
        )
        sending = Sending(
            sender,
            self.destination,
            journal,
            self.options,
            lambda: self._fold(folder, journal),
            interval=self.warehouse.fold_interval,
            batches=self.warehouse.fold_batches,
        )
        as_of = datetime.fromtimestamp(self.horizon.as_of / 1_000_000, UTC).isoformat().replace("+00:00", "Z")
        delivery = Delivery(self.plan.name, self.run_id, as_of, self.plan.object, self.plan.list)
        if self.progress:
            self.progress.started(self.plan.name, diffed.staged)
        await sending.run(delivery, checked, diffed.groups)
        if self.progress:
            self.progress.ended(self.plan.name)
        return sender.halt

    def _fold(self, folder: Folder, journal: Journal, *, last: bool = False) -> None:
        target = self.spool.with_suffix(".fold")
        portion = journal.expand(target)
        with released(self.warehouse):
            if portion.verdicts or last:
                folder.load(target)
                folder.fold(self.lease, plain=portion.plain, last=last)
        journal.folded(portion)

    def _last_fold(self, folder: Folder, journal: Journal, *, whole: bool) -> Halt | None:
        """Fold what is left; None when done, else why not: then the journal is kept, and the next run folds it.

        `whole`: the journal holds every verdict there was, so that what it does not name was never sent.
        """
        until = time.monotonic() + (self.options.wait if self.options.wait is not None else _FOLD_WAIT)
        while True:
            try:
                self._fold(folder, journal, last=whole)
            except WarehouseError as error:
                if error.exit_code != 4:
                    raise
                if time.monotonic() < until:
                    time.sleep(_RETRY)
                    continue
                said = f"the warehouse cannot be written: {error.message}; what was sent is in the journal and is folded by the next run"
                return Halt("CDP436", said, 5 if error.code == "CDP303" else 4)
            return None

    def _closed(self, diffed: Diffed, counts: Counts, halt: Halt | None, facts: Facts) -> SyncResult:
        left = int(self.state.rows("count", table=self.names.stage)[0][0])
        if not left:
            self.warehouse.drop(self.names.stage)
        exit_code = 0
        if halt is not None:
            self._blame(halt)
            exit_code = halt.exit_code
        exit_code = max(exit_code, self._verdict(counts, facts), key=severity)
        status: Status = "done" if exit_code == 0 else "failed"
        if halt is not None and halt.interrupted:
            status, exit_code = "interrupted", halt.exit_code
        return self._ended(status, exit_code, counts, diffed)

    def _verdict(self, counts: Counts, facts: Facts) -> int:
        name = self.plan.name
        too_many = rejected(self.plan.guard, counts.newly_refused, facts.live, sync=name)
        if too_many is not None and "max_rejected" not in self.options.force:
            self.problems.append(too_many)
            return 1
        if counts.unknown:
            said = f"sync `{name}`: {counts.unknown} rows were sent and the answer was lost; they go again with the next run"
            self.problems.append(Problem("CDP446", said))
            return 1
        if counts.refused:
            said = f"sync `{name}`: {counts.refused} rows were refused; they go again with the next runs"
            hint = f"`cdp logs {name} --failed` says why"
            self.problems.append(
                Problem("CDP447", said, hint=hint, severity="error" if self.options.strict else "warning")
            )
            return int(self.options.strict)
        if counts.left and not self.problems:
            self.problems.append(
                Problem("CDP448", f"sync `{name}`: {counts.left} rows were not taken; they go again with the next run")
            )
            return 1
        return 0

    def _blame(self, halt: Halt) -> None:
        self.problems.append(Problem(halt.code, f"sync `{self.plan.name}`: {halt.message}"))

    def _ended(
        self, status: Status, exit_code: int, counts: Counts, diffed: Diffed, *, ledger_rows: int | None = None
    ) -> SyncResult:
        message = self.problems[0].message if self.problems else None
        self.runs.end(status, counts, forced=",".join(self.forced) or None, message=message, ledger_rows=ledger_rows)
        if self.plan.mode == "append" and self.plan.since_us is not None and status == "done":
            before = moment(self.horizon.now - 2 * self.plan.since_us)
            self.state.execute("prune_sent", ledger=self.names.ledger, before=before)
        self.runs.prune(self.options, self.horizon.now, self.state.table("sync_log"))
        return self._told(status, exit_code, counts, diffed)

    def _told(self, status: Status, exit_code: int, counts: Counts, diffed: Diffed) -> SyncResult:
        return SyncResult(
            self.plan.name, self.run_id, status, exit_code, counts, diffed.planned, tuple(self.problems), self.forced
        )

    def _tidy(self) -> None:
        """Scratch tables and files of this run; what a file that somebody else holds keeps is dropped by the next run."""
        for suffix in (".jsonl", ".fold", ".invalid"):
            self.spool.with_suffix(suffix).unlink(missing_ok=True)
        if self.spool.parent.is_dir() and not any(self.spool.parent.iterdir()):
            self.spool.parent.rmdir()
        if self.lease.abandoned:
            return
        try:
            self.warehouse.drop(*self.names.scratch)
        except WarehouseError:
            return

    def _facts(self, history: History, ledger: Ledger, diffed: Diffed, diff: Diff) -> Facts:
        rows = ledger.rows
        if not self.route.record:
            rows = int(self.state.rows("count", table=self.names.members)[0][0]) if diff.members_exist else 0
        in_doubt = int(self.state.rows("count", table=self.names.doubt)[0][0]) if diff.doubt else 0
        age = newest_us(self.state, *self.plan.freshness, column="loaded_at") if self.plan.freshness else None
        return Facts(
            diffed=diffed,
            invalid=diffed.duplicates,
            first_run=rows == 0 and in_doubt == 0 and history.queried is None and not history.ledger_rows,
            ledger_rows=rows,
            ledger_noted=history.ledger_rows,
            previous_rows=history.queried,
            account=self.account,
            account_noted=history.account,
            removes=any((self.route.leave, self.route.list_leave)),
            in_doubt=in_doubt,
            age_us=None if age is None else self.horizon.now - age,
        )

    def _trips(self, facts: Facts, *, adopt: bool) -> list[Trip]:
        """Guards that hold; those that were forced, or answered by --adopt or --resync, are noted."""
        answered = set(self.options.force)
        if adopt:
            answered |= {"ledger", "first_run"}
        if self.options.resync:
            answered.add("ledger")
        found = trips(self.plan.guard, facts, sync=self.plan.name)
        self.forced = tuple(dict.fromkeys((*self.forced, *(t.guard for t in found if t.guard in answered))))
        return [trip for trip in found if trip.guard not in answered]

    def _held(self, diffed: Diffed, held: list[Trip], *, invalid: int | None = None) -> SyncResult:
        self.problems += [trip.problem for trip in held]
        counts = self._counts(diffed, invalid)
        if self.options.dry_run:
            told = self._told("held", 3, counts, diffed)
            return replace(told, dry_run=True, sample=self._sample(diffed))
        return self._ended("held", 3, counts, diffed)

    def _counts(self, diffed: Diffed, invalid: int | None = None) -> Counts:
        return Counts(
            queried=diffed.queried,
            invalid=diffed.duplicates if invalid is None else invalid,
            skipped=diffed.skipped,
            held=diffed.held,
            late=diffed.late,
        )

    def _quiet(self, diffed: Diffed, ledger: Ledger, diff: Diff, *, stage_exists: bool) -> bool:
        """Nothing to send, nothing to move, nothing to forget: the run leaves no trace but its row in sync_runs."""
        settled = all(k.same_type for k in ledger.fields) and len(ledger.mapped) == len(self.plan.fields)
        return (
            diffed.staged == 0
            and diffed.gone == 0
            and not (stage_exists or diffed.moves or diff.refused)
            and (ledger.exists or not self.route.record)
            and settled
        )

    def _sample(self, diffed: Diffed) -> tuple[Mapping[str, Any], ...]:
        """A few rows of each kind as they would travel; personal data is masked."""
        if not diffed.staged:
            return ()
        unload(self.state, self.names, self.names.new, self.plan.fields, self.spool, sample=self.options.sample)
        hidden = {field.name for field in self.plan.fields if field.pii}
        reader = Reader(self.spool, self.plan.name, self.plan.fields)
        with self.spool.open("rb") as lines:
            changes = [reader.change(orjson.loads(line)) for line in lines]
        return tuple(
            {
                "operation": change.operation,
                "kind": change.kind,
                "row_key": change.row_key,
                "match": dict.fromkeys(change.match, "***"),
                "fields": {k: "***" if k in hidden and v is not None else v for k, v in change.fields.items()},
                "changed": sorted(change.changed),
            }
            for change in changes
        )
