"""What a destination was sent last, per row: the shape of that table, and how it follows the mapping.

The ledger keeps the mapped values themselves, as columns: a change names its fields, a grown mapping re-sends only the new
field, a widened type re-sends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from cdp.compile.plan import SyncPlan
from cdp.compile.render import column, text
from cdp.sync.expression import STORED, Known, of_text, text_of
from cdp.sync.names import Names
from cdp.sync.state import State, kind, number

_NUMBERS = frozenset({"int", "decimal", "float"})


@dataclass(frozen=True)
class Mapped:
    """A row of `sync_fields`."""

    column: str
    type: str
    first_run: str
    mapping: int


@dataclass(frozen=True)
class Ledger:
    """What is known of a sync's ledger before the diff.

    `columns` are those of the table (name ► stored type), None where there is no table. `mapping` is the number of the
    mapping of this run; a field that was not in the run before starts a new one.
    """

    columns: Mapping[str, str] | None
    rows: int
    mapping: int
    fields: tuple[Known, ...]
    mapped: Mapping[str, Mapped]

    @property
    def exists(self) -> bool:
        """Whether there is a table."""
        return self.columns is not None


def read_ledger(state: State, plan: SyncPlan, ledger: str) -> Ledger:
    """The ledger as the catalogue has it; changes nothing."""
    found = state.warehouse.columns(ledger)
    columns = None if found is None else {c.name.lower(): STORED.get(c.type, c.type) for c in found}
    count, oldest, newest = (0, None, None)
    if columns is not None:
        count, oldest, newest = state.rows("ledger_state", ledger=ledger)[0]
    rows = state.rows("read_fields", fields=state.table("sync_fields"), sync=text(plan.name))
    mapped = {r[0]: Mapped(r[1], r[2], r[3], int(r[5])) for r in rows}
    top = max([int(newest or 0), *(m.mapping for m in mapped.values())])
    fields = []
    for field in plan.fields:
        before = mapped.get(field.name)
        there = columns is not None and field.column in columns
        continues = before is not None and before.mapping > 0 and before.column == field.column and there
        since = before.mapping if continues and before else top + 1
        sent_type = columns[field.column] if continues and columns else None
        fields.append(Known(field, sent_type, since, fresh=oldest is not None and int(oldest) < since))
    mapping = max([top, 1, *(known.mapping for known in fields)])
    return Ledger(columns, int(count), mapping, tuple(fields), mapped)


def reshape(state: State, names: Names, ledger: Ledger, *, part: str) -> None:
    """Give the ledger a column of the right type for every mapped field; makes it where it is missing.

    A value that the new type cannot hold as it was is forgotten, and its row counts as never sent.
    """
    table = names.ledger if part == "record" else names.members
    fields = ledger.fields if part == "record" else ()
    if part == "list" and state.warehouse.columns(table) is not None:
        return
    wrong = [known for known in fields if not known.same_type]
    exists = ledger.exists if part == "record" else False
    if exists and not wrong:
        return
    shaped: list[dict[str, Any]] = []
    lost: list[exp.Expr] = []
    for known in wrong:
        converted = None
        if known.sent_type is not None:
            old = column(known.column, "l")
            converted = of_text(text_of(old, known.sent_type), known.type)
            lost.append(_lost(known, old, converted))
        shaped.append({"column": known.column, "type": kind(known.type), "convert": converted})
    gone = {known.column for known in wrong}
    kept = [name for name in ledger.columns or () if name.startswith("f_") and name not in gone]
    state.make(
        f"{table}__new",
        "reshape",
        ledger=table if exists else None,
        kept=kept,
        fields=shaped,
        lost=exp.or_(*lost) if lost else None,
    )
    state.warehouse.swap({f"{table}__new": table})


def _lost(known: Known, old: exp.Expr, converted: exp.Expr) -> exp.Expr:
    assert known.sent_type is not None
    missing = exp.and_(
        exp.Is(this=converted.copy(), expression=exp.null()),
        exp.Not(this=exp.Is(this=old.copy(), expression=exp.null())),
    )
    if {known.type, known.sent_type} <= _NUMBERS:
        return missing
    other = exp.NEQ(this=text_of(converted.copy(), known.type), expression=text_of(old.copy(), known.sent_type))
    return exp.or_(missing, exp.Coalesce(this=exp.Paren(this=other), expressions=[exp.false()]))


def write_fields(state: State, plan: SyncPlan, ledger: Ledger, run_id: str) -> None:
    """Remember which field stands in which column, and since which mapping; call inside a transaction."""
    where = {"fields": state.table("sync_fields"), "sync": text(plan.name)}
    names = [text(field.name) for field in plan.fields]
    state.execute("retire_fields", **where, names=names)
    if not names:
        return
    state.execute("forget_fields", **where, names=names)
    rows = []
    for known in ledger.fields:
        before = ledger.mapped.get(known.field.name)
        rows.append(
            {
                "field": text(known.field.name),
                "column": text(known.column),
                "type": text(known.field.type),
                "first_run": text(before.first_run if before else run_id),
                "last_run": text(run_id),
                "mapping": number(known.mapping),
            }
        )
    state.execute("write_fields", **where, rows=rows)


REFUSED: Mapping[str, str] = {
    "row_key": "text", "part": "text", "kind": "text", "operation": "text", "match_ids": "text", "remote_id": "text",
    "version": "int", "digest": "text", "code": "text", "message": "text", "tries": "int", "first_at": "timestamp",
    "next_at": "timestamp",
}  # fmt: skip
"""Columns of `refused_<sync>`; `part` is record or list, `kind` add, change or remove."""
