"""The state schema: its tables, their version, and the one way in which the sync engine speaks to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

from sqlglot import exp

from cdp.compile.render import Renderer
from cdp.errors import ProjectError, StatementError
from cdp.warehouse.base import Warehouse

VERSION = 1

# name ► (column ► our type); the first column of `locks` is unique: two first runs may race for a lease
TABLES: Mapping[str, Mapping[str, str]] = {
    "schema_version": {"version": "int", "migrated_at": "timestamp"},
    "runs": {
        "run_id": "text", "command": "text", "target": "text", "as_of": "timestamp", "started_at": "timestamp",
        "ended_at": "timestamp", "status": "text", "exit_code": "int", "cdp_version": "text", "project_hash": "text",
    },
    "locks": {
        "resource": "key", "holder": "text", "token": "int", "run_id": "text", "host": "text", "pid": "int",
        "since_at": "timestamp", "expires_at": "timestamp",
    },
    "sync_runs": {
        "sync": "text", "run_id": "text", "started_at": "timestamp", "ended_at": "timestamp", "mode": "text",
        "queried": "int", "invalid": "int", "skipped": "int",
        "added_accepted": "int", "added_refused": "int", "changed_accepted": "int", "changed_refused": "int",
        "removed_accepted": "int", "removed_refused": "int",
        "requests": "int", "retries": "int", "bytes": "int", "status": "text", "full_sync_reason": "text",
        "forced": "text", "unknown": "int", "late": "int", "held": "int", "not_sent": "int", "version": "int",
        "ledger_rows": "int", "changes_upto": "timestamp", "account": "text", "message": "text",
    },
    "sync_log": {
        "sync": "text", "run_id": "text", "row_key": "text", "operation": "text", "fields": "text", "status": "text",
        "code": "text", "message": "text", "request_id": "text", "logged_at": "timestamp",
    },
    "sync_fields": {
        "sync": "text", "field": "text", "column_name": "text", "type": "text", "first_run": "text",
        "last_run": "text", "mapping": "int",
    },
    "stays": {
        "audience": "text", "entity": "text", "entity_id": "text", "from_at": "timestamp", "to_at": "timestamp",
        "run_id": "text",
    },
}  # fmt: skip

_NATIVE = {"key": "TEXT", "text": "TEXT", "list": "TEXT", "json": "TEXT", "int": "BIGINT", "float": "DOUBLE"}
_NATIVE |= {"bool": "BOOLEAN", "date": "DATE", "timestamp": "TIMESTAMP", "decimal": "DECIMAL(38, 9)"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_renderers: WeakKeyDictionary[Warehouse, Renderer] = WeakKeyDictionary()


class State:
    """Renders the templates of `models/sync` for one warehouse and runs them."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        # compiling a template costs more than most of these statements: once per warehouse, not once per sync
        self.render = _renderers.get(warehouse) or _renderers.setdefault(warehouse, Renderer(warehouse.facts))

    def table(self, name: str) -> str:
        """`name` in the state schema."""
        return f"{self.warehouse.state_schema}.{name}"

    def sql(self, template: str, **values: Any) -> str:
        """The statement that `models/sync/<template>` makes, in the warehouse's own dialect."""
        return self.render.sql(self.render.tree(f"sync/{template}", **values), pretty=False)

    def execute(self, template: str, **values: Any) -> int:
        """Run the statement; the number of rows that it changed."""
        return self.warehouse.execute(self.sql(template, **values))

    def rows(self, template: str, **values: Any) -> list[tuple[Any, ...]]:
        """The rows of the statement."""
        return self.warehouse.rows(self.sql(template, **values))

    def make(self, table: str, template: str, **values: Any) -> int:
        """Make or replace `table` from the statement; the number of rows."""
        return self.warehouse.make_table(table, self.sql(template, **values))

    def create(self, name: str, columns: Mapping[str, str]) -> None:
        """Make an empty table where it is missing."""
        types = [{"name": column, "type": kind(type_), "key": type_ == "key"} for column, type_ in columns.items()]
        self.execute("create_table", table=self.table(name), columns=types)


def kind(type_: str) -> str:
    """The word by which the templates know the SQL type of one of our types."""
    return _NATIVE[type_].split("(")[0].lower()


def native(type_: str) -> exp.DataType:
    """The canonical SQL type of one of our types."""
    return exp.DataType.build(_NATIVE[type_], dialect="duckdb")


def moment(us: int) -> exp.Expr:
    """A timestamp literal of microseconds since 1970, UTC."""
    text = (EPOCH + timedelta(microseconds=us)).strftime("%Y-%m-%d %H:%M:%S.%f")
    return exp.cast(exp.Literal.string(text), exp.DataType.build("TIMESTAMP"))


def microseconds(value: datetime | None) -> int | None:
    """A timestamp that the warehouse gave (naive, UTC) as microseconds since 1970."""
    if value is None:
        return None
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


def number(value: int) -> exp.Expr:
    """A whole number, negative ones too."""
    return exp.Literal.number(value) if value >= 0 else exp.Neg(this=exp.Literal.number(-value))


def open_state(warehouse: Warehouse) -> State:
    """The state schema, made or migrated where that is needed.

    Raises ProjectError CDP431 where a newer cdp has written it: this one would misread it.
    """
    state = State(warehouse)
    found = _version(state)
    if found > VERSION:
        raise ProjectError.of(
            "CDP431",
            f"the state schema {warehouse.state_schema} has version {found}, this cdp knows {VERSION}",
            hint="upgrade cdp to the version that wrote it, or point `state_schema` at another schema",
        )
    if found < VERSION:
        _migrate(state)
    return state


def _version(state: State) -> int:
    if "schema_version" not in state.warehouse.tables(state.warehouse.state_schema):
        return 0
    return int(state.rows("schema_version", table=state.table("schema_version"))[0][0] or 0)


def _migrate(state: State) -> None:
    state.warehouse.ensure_schemas()
    for name, columns in TABLES.items():
        try:
            state.create(name, columns)
        except StatementError:  # CREATE TABLE IF NOT EXISTS may lose a race on a server; then the table is there
            if name not in state.warehouse.tables(state.warehouse.state_schema):
                raise
    if _version(state) < VERSION:
        state.execute("write_version", table=state.table("schema_version"), version=VERSION)


@contextmanager
def released(warehouse: Warehouse) -> Iterator[None]:
    """Whatever happens inside, other processes are let in afterwards."""
    try:
        yield
    finally:
        warehouse.release()
