"""Syncs, rows and a destination in memory for these tests, in a line each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal

from cdp.compile.plan import SyncField, SyncMatch, SyncPlan
from cdp.destination.base import Delivery, Destination
from cdp.destination.outcome import Answer, Batch, Change, Operation, Outcome, Rows
from cdp.sync.engine import sync_one
from cdp.sync.result import SyncOptions, SyncResult
from cdp.warehouse.base import Warehouse

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
HOUR = 3_600_000_000
ALL: frozenset[Operation] = frozenset({"upsert", "add", "remove", "delete", "append"})
QUICK = SyncOptions(backoff=0.002, patience=2.0, wait=0.0)
TYPES = {
    "text": "text", "int": "bigint", "decimal": "decimal(38, 9)", "float": "double precision", "bool": "boolean",
    "date": "date", "timestamp": "timestamp", "list": "text", "json": "text",
}  # fmt: skip


class Fake(Destination):
    """Records and lists in memory, addressed by match ids (by row key where there are none).

    `answer` decides a request before anything is applied (None: apply it); `refuse` says why a row is not wanted.
    """

    type: ClassVar[str] = "fake"

    def __init__(self, *, items: int = 100, operations: frozenset[Operation] = ALL) -> None:
        self.name = "fake"
        self.items = items
        self.concurrency = 4
        self.records: dict[str, dict[str, Any]] = {}
        self.members: set[str] = set()
        self.sent: list[Change] = []
        self.batches_sent: list[Batch] = []
        self.log: list[tuple[str, str]] = []
        self.answer: Callable[[Batch], Answer | None] = lambda batch: None
        self.refuse: Callable[[Change], str | None] = lambda change: None
        self.unfit: Callable[[Change], str | None] = lambda change: None
        self.login = "account-1"
        self.opened = 0
        self.delay = 0.0
        self.closed: list[bool] = []
        self._operations = operations
        self.gives_ids = False

    @property
    def operations(self) -> frozenset[Operation]:
        return self._operations

    def account(self) -> str:
        return self.login

    def invalid(self, change: Change) -> str | None:
        return self.unfit(change)

    def batches(self, operation: Operation, changes: Iterable[Change]) -> Iterator[Batch]:
        held: list[Change] = []
        number = 0
        for change in changes:
            held.append(change)
            if len(held) == self.items:
                yield Batch(operation, tuple(held), number)
                held, number = [], number + 1
        if held:
            yield Batch(operation, tuple(held), number)

    async def open(self, delivery: Delivery) -> None:
        self.opened += 1

    async def send(self, batch: Batch) -> Answer:
        self.batches_sent.append(batch)
        await asyncio.sleep(self.delay)
        answer = self.answer(batch)
        if answer is not None:
            return answer
        return self.apply(batch)

    def apply(self, batch: Batch) -> Rows:
        """What a well-behaved API does."""
        return Rows([self._one(batch.operation, change) for change in batch.changes], request_bytes=100)

    def _one(self, operation: Operation, change: Change) -> Outcome:
        reason = self.refuse(change)
        if reason is not None:
            return Outcome(change.row_key, "refused", "422", reason)
        who = address(change)
        self.sent.append(change)
        self.log.append((operation, who))
        remote = f"r-{who}" if self.gives_ids else None
        if operation in ("upsert", "append"):
            self.records.setdefault(who, {}).update(change.fields)
        elif operation == "delete":
            self.records.pop(who, None)
        elif operation == "add":
            self.members.add(who)
        else:
            self.members.discard(who)
        return Outcome(change.row_key, "accepted", remote_id=remote)

    async def close(self, *, complete: bool) -> None:
        self.closed.append(complete)

    def forget(self) -> None:
        """Forget what was sent, not what is known."""
        self.sent.clear()
        self.batches_sent.clear()
        self.log.clear()


def address(change: Change) -> str:
    """By what a record is known here."""
    return "|".join(str(value) for value in change.match.values()) or change.row_key


def fields(**types: str) -> tuple[SyncField, ...]:
    """Fields by name and type: fields(name="text", ltv="decimal")."""
    return tuple(SyncField(name, f"f_{name}", type_) for name, type_ in types.items())


def plan(
    mapped: Sequence[SyncField] | None = None,
    *,
    mode: Literal["mirror", "upsert", "append"] = "mirror",
    match: Sequence[str] = ("email",),
    **more: Any,
) -> SyncPlan:
    """A sync `s` of contacts with the fields name and ltv unless told otherwise."""
    mapped = fields(name="text", ltv="decimal") if mapped is None else tuple(mapped)
    if mode == "mirror":
        more.setdefault("on_leave", "delete")
    matches = tuple(SyncMatch(name, f"m_{name}") for name in match)
    return SyncPlan("s", "fake", mode, "cdp.mapped_s", matches, tuple(mapped), **more)


Row = Mapping[str, Any]


class World:
    """A warehouse, a sync and its destination. Rows are dicts: `key`, match ids and fields by their names, `row_at`, `held`."""

    def __init__(
        self, warehouse: Warehouse, folder: Path, sync: SyncPlan | None = None, fake: Destination | None = None
    ) -> None:
        self.warehouse = warehouse
        self.folder = folder
        self.plan = sync or plan()
        self.fake: Any = fake or Fake()
        self.number = 0
        self.options = QUICK
        self.now = NOW
        warehouse.ensure_schemas()

    def rows(self, *rows: Row) -> World:
        """What the mapped table holds from now on."""
        write_rows(self.warehouse, self.plan, rows)
        return self

    def map(self, *mapped: SyncField, **more: Any) -> World:
        """Another mapping from now on."""
        self.plan = replace(self.plan, fields=tuple(mapped) if mapped else self.plan.fields, **more)
        return self

    def run(self, *rows: Row, **options: Any) -> SyncResult:
        """Set the rows, if any are given, and run the sync."""
        if rows:
            self.rows(*rows)
        self.number += 1
        return sync_one(
            self.plan,
            self.warehouse,
            self.fake,
            run_id=f"r{self.number}",
            as_of=self.now,
            project_dir=self.folder,
            options=replace(self.options, **options),
        )

    def state(self, table: str, columns: str = "*", rest: str = "") -> list[tuple[object, ...]]:
        """Rows of a table of the state schema."""
        return self.warehouse.rows(f"SELECT {columns} FROM cdp_state.{table} {rest}")


def write_rows(warehouse: Warehouse, sync: SyncPlan, rows: Iterable[Row]) -> None:
    """Make the mapped table."""
    columns = [("row_key", "key", "text"), ("row_at", "row_at", "timestamp"), ("held", "held", "text")]
    columns += [(m.column, m.name, "text") for m in sync.match]
    columns += [(f.column, f.name, f.type) for f in sync.fields]
    columns += [(name, name, "int") for name, _ in sync.prefer]
    rows = list(rows)
    names = ", ".join(column for column, _, _ in columns)
    empty = ", ".join(f"CAST(NULL AS {TYPES[type_]}) AS {column}" for column, _, type_ in columns)
    warehouse.make_table(sync.table, f"SELECT {empty} WHERE 1 = 0")
    if rows:
        values = ", ".join(
            "(" + ", ".join(f"CAST({literal(row.get(name))} AS {TYPES[type_]})" for _, name, type_ in columns) + ")"
            for row in rows
        )
        warehouse.execute(f"INSERT INTO {sync.table} ({names}) VALUES {values}")


def literal(value: Any) -> str:
    """A value as SQL text."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return f"'{value!r}'"
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, datetime):
        return f"'{value.replace(tzinfo=None).isoformat(sep=' ')}'"
    return "'" + str(value).replace("'", "''") + "'"


def row(key: str, *, email: str | None = "", **values: Any) -> dict[str, Any]:
    """A row whose e-mail follows from its key unless it is given."""
    return {"key": key, "email": f"{key}@x.fr" if email == "" else email, **values}
