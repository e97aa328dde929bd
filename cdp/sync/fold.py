"""Verdicts into the ledger, the refused rows and the log: one transaction per fold, harmless when done twice.

A verdict is joined to its staged row and takes that row out of the stage in the same transaction: the second time there is
nothing to join.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlglot import exp

from cdp.compile.plan import SyncPlan
from cdp.compile.render import text
from cdp.sync.diff import Route
from cdp.sync.expression import Known, digest, log_entry
from cdp.sync.fault import point
from cdp.sync.journal import FOLD
from cdp.sync.lease import Lease
from cdp.sync.ledger import REFUSED
from cdp.sync.names import Names
from cdp.sync.state import State


@dataclass(frozen=True)
class Folder:
    """The statements of a fold, made once per run: `plain` where every verdict is an acceptance, `mixed` for the rest."""

    state: State
    names: Names
    plain: tuple[str, ...]
    mixed: tuple[str, ...]
    untried: str

    @classmethod
    def of(
        cls,
        state: State,
        plan: SyncPlan,
        route: Route,
        names: Names,
        *,
        run_id: str,
        account: str,
        fields: Sequence[Known],
        bulk: bool = False,
        adds_only: bool = False,
        refused: bool = True,
    ) -> Folder:
        """`fields` are those that stage and ledger both have as columns; `account` is noted beside every accepted row.

        `bulk`: accepted adds stand in the log once per batch, not once per row. `adds_only`: nothing but adds is staged;
        `refused`: earlier runs left refused rows. The two save statements that would find nothing.
        """
        base: dict[str, Any] = {"fold": names.fold, "stage": names.stage}
        log = {"log": state.table("sync_log"), "sync": text(plan.name)}
        main = names.ledger if route.record else names.members
        entry = state.sql("fold_log", **base, **log, ledger=main, entry=_entry(fields, route), bulk=bulk)
        batches = [state.sql("fold_log_bulk", **base, **log)] if bulk else []
        ledgers = []
        for part, ledger, kept in (("record", names.ledger, route.record), ("list", names.members, route.members)):
            if kept:
                columns = fields if part == "record" else ()
                ledgers += _ledger(state, base, part, ledger, account, columns, removes=not adds_only)
        bad = {**base, "refused": names.refused}
        refusal = state.sql("fold_refused", **bad, digest=digest([k.field for k in fields], "t"))
        settled = state.sql("fold_settled", **bad)
        note = {"sync_runs": state.table("sync_runs"), "sync": text(plan.name), "run_id": text(run_id)}
        end = [state.sql("fold_stage", **base), state.sql("note_sync", **note, ledger=main, values=[])]
        plain = [*([] if bulk and adds_only else [entry]), *batches, *ledgers, *([settled] if refused else []), *end]
        mixed = [entry, *batches, *ledgers, refusal, settled, state.sql("fold_unknown", **base), *end]
        return cls(state, names, tuple(plain), tuple(mixed), state.sql("fold_untried", stage=names.stage))

    def load(self, path: Path) -> None:
        """Bring expanded verdicts into the warehouse."""
        self.state.warehouse.load_json_lines(self.names.fold, path, FOLD)

    def fold(self, lease: Lease, *, plain: bool = False, last: bool = False) -> None:
        """Fold what was loaded. `plain`: acceptances only; `last`, at the orderly end of a run: what was never tried is
        not in doubt.

        Raises LeaseError CDP434 where another run has taken over.
        """
        warehouse = self.state.warehouse
        point("fold")
        with warehouse.transaction():
            lease.renew()
            for statement in self.plain if plain else self.mixed:
                warehouse.execute(statement)
            if last:
                warehouse.execute(self.untried)
            point("folding")
        point("folded")


def _entry(fields: Sequence[Known], route: Route) -> exp.Expr:
    return log_entry(fields) if fields and route.record else exp.cast(exp.null(), exp.DataType.build("TEXT"))


def _ledger(
    state: State,
    base: dict[str, Any],
    part: str,
    ledger: str,
    account: str,
    fields: Sequence[Known],
    *,
    removes: bool,
) -> list[str]:
    where = {**base, "ledger": ledger, "part": part}
    columns = [{"column": known.column, "omit": known.field.nulls == "omit"} for known in fields]
    return [
        state.sql("fold_ledger", **where, account=text(account), fields=columns),
        state.sql("fold_replaced", **where),
        *([state.sql("fold_removed", **where)] if removes else []),
    ]


def ensure_refused(state: State, names: Names) -> None:
    """Make the table of refused rows where it is missing."""
    state.create(names.refused.rsplit(".", 1)[1], REFUSED)
