"""The rows of `sync_runs`: what earlier runs noted, and what this one notes."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from cdp.compile.render import text
from cdp.sync.result import Counts, SyncOptions
from cdp.sync.state import State, microseconds, moment, number


@dataclass(frozen=True)
class History:
    """What earlier runs of a sync noted; None where none did. `version` is the newest, 0 where there was no run;
    `queried` are the source's rows in the last successful run."""

    runs: int
    version: int
    changes_upto: int | None
    ledger_rows: int | None
    account: str | None
    queried: int | None


class Runs:
    """The runs of one sync."""

    def __init__(self, state: State, sync: str, run_id: str) -> None:
        self._state = state
        self._runs = {"sync_runs": state.table("sync_runs"), "sync": text(sync)}
        self._this = {**self._runs, "run_id": text(run_id)}

    def history(self) -> History:
        """What earlier runs noted."""
        runs, version, upto, ledger_rows, account, queried = self._state.rows("history", **self._runs)[0]
        return History(
            int(runs),
            int(version or 0),
            microseconds(upto),
            None if ledger_rows is None else int(ledger_rows),
            account,
            None if queried is None else int(queried),
        )

    def dead(self) -> list[str]:
        """Runs that never came to their end; known only until `start`."""
        return [str(row[0]) for row in self._state.rows("dead_runs", **self._runs)]

    def start(self, *, mode: str, version: int, forced: str | None, reason: str | None) -> None:
        """This run has begun; earlier ones that never ended are marked."""
        self._state.execute("died_runs", **self._this)
        self._state.execute(
            "start_run",
            **self._this,
            mode=text(mode),
            version=number(version),
            forced=None if forced is None else text(forced),
            reason=None if reason is None else text(reason),
        )

    def note(self, ledger: str, *, changes_upto: int | None, account: str) -> None:
        """Inside the transaction that moves keys: how far merges are applied, and how long the ledger is."""
        values = [{"column": "account", "value": text(account)}]
        if changes_upto is not None:
            values.append({"column": "changes_upto", "value": moment(changes_upto)})
        self._state.execute("note_sync", **self._this, ledger=ledger, values=values)

    def end(
        self, status: str, counts: Counts, *, forced: str | None, message: str | None, ledger_rows: int | None
    ) -> None:
        """This run is over."""
        c = counts
        numbers = {
            "queried": c.queried, "invalid": c.invalid, "skipped": c.skipped,
            "added_accepted": c.added_accepted, "added_refused": c.added_refused,
            "changed_accepted": c.changed_accepted, "changed_refused": c.changed_refused,
            "removed_accepted": c.removed_accepted, "removed_refused": c.removed_refused,
            "requests": c.requests, "retries": c.retries, "bytes": c.bytes, "unknown": c.unknown, "late": c.late,
            "held": c.held, "not_sent": c.left,
        }  # fmt: skip
        if ledger_rows is not None:
            numbers["ledger_rows"] = ledger_rows
        values: list[dict[str, str | exp.Expr]] = [{"column": k, "value": number(v)} for k, v in numbers.items()]
        values.append({"column": "status", "value": text(status)})
        for column, said in (("message", message), ("forced", forced)):
            if said is not None:
                values.append({"column": column, "value": text(said)})
        self._state.execute("end_run", **self._this, values=values)

    def prune(self, options: SyncOptions, now: int, log: str) -> None:
        """Forget what is older than it has to be kept."""
        before = moment(now - options.retain_log_us)
        self._state.execute("prune_log", log=log, sync=self._runs["sync"], before=before)
        self._state.execute("prune_runs", **self._runs, before=moment(now - options.retain_runs_us))
