"""Amazon Redshift, clusters and Serverless, through psycopg 3: Postgres on the wire, another engine behind it.

Pages of AWS's guide (https://docs.aws.amazon.com/redshift/latest/dg/) are named where a rule of theirs is kept. Tables are
made with DISTSTYLE AUTO and SORTKEY AUTO, which is what says nothing (r_CREATE_TABLE_AS): Redshift chooses both by use.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sqlglot import exp

from cdp.errors import StatementError
from cdp.warehouse.base import About, Column
from cdp.warehouse.functions import FACTS
from cdp.warehouse.json_lines import table_rows
from cdp.warehouse.libpq import Libpq, LibpqSettings
from cdp.warehouse.names import beside, identifier, parts, quoted
from cdp.warehouse.postgres_grants import least
from cdp.warehouse.settings import Number

if TYPE_CHECKING:
    import psycopg

# what psycopg calls a type by its number; those of Redshift's own have only the number
_TYPES = {
    "text": "text",
    "varchar": "text",
    "bpchar": "text",
    "name": "text",
    "int2": "int",
    "int4": "int",
    "int8": "int",
}
_TYPES |= {"numeric": "decimal", "float4": "float", "float8": "float", "bool": "bool", "date": "date"}
_TYPES |= {"timestamp": "timestamp", "timestamptz": "timestamp", "json": "json", "super": "json"}
_OWN = {4000: "super", 6551: "varbyte", 3000: "geometry", 3001: "geography", 2935: "hllsketch"}
_NATIVE = {"text": "VARCHAR(MAX)", "int": "BIGINT", "float": "DOUBLE PRECISION", "bool": "BOOLEAN", "date": "DATE"}
_NATIVE |= {"decimal": "DECIMAL(38, 9)", "timestamp": "TIMESTAMP", "list": "VARCHAR(MAX)", "json": "VARCHAR(MAX)"}
_CHUNK = 500  # rows of an INSERT,
_CHUNK_SIZE = 4_000_000  # and its characters: a statement may have 16 MB (c_redshift-sql)
_KINDS = {"v": "VIEW"}


def _literal(text: str) -> str:
    """Backslashes are escapes there."""
    return exp.Literal.string(text).sql(dialect="redshift")


class Redshift(Libpq):
    """A Redshift database. `fetch_size`: rows in one FETCH; more than 1000 needs a cluster of several nodes (fetch)."""

    facts: ClassVar = FACTS["redshift"]
    product: ClassVar = "Redshift"
    extra: ClassVar = "redshift"
    values_in: ClassVar = ("22", "23", "P0", "XX", "")  # XX: its own errors of loading and casting quote the value
    fold_interval: ClassVar = 30.0  # each commit waits for a queue
    fold_batches: ClassVar = 500

    def __init__(
        self, schema: str = "cdp", state_schema: str = "cdp_state", *, fetch_size: int = 1000, **given: Any
    ) -> None:
        # it calls UTF-8 `UNICODE`, which psycopg does not know, unless it is asked for
        given["options"] = {"client_encoding": "UTF8", **(given.get("options") or {})}
        super().__init__(schema, state_schema, **given)
        self._fetch_size = fetch_size

    def _prepare(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        connection.execute("SET timezone TO 'UTC'")
        connection.execute("SET query_group TO 'cdp'")
        if self._timeout is not None:
            connection.execute(f"SET statement_timeout TO {int(self._timeout * 1000)}")

    def _way_out(self, error: Any) -> str | None:
        if error.sqlstate == "2BP01":
            return "make the view that reads it WITH NO SCHEMA BINDING, or drop it"
        if error.sqlstate == "40001" or "1023" in str(error.diag.message_primary):
            return "another transaction wrote the same table: run it again"
        return super()._way_out(error)

    def release(self) -> None:
        """A server lets everybody in; nothing to do."""

    def stream(self, sql: str, size: int = 10_000) -> Iterator[list[tuple[object, ...]]]:
        """By a cursor in SQL, which lives in a transaction (declare)."""
        with self.transaction():
            self.execute(f"DECLARE cdp_stream CURSOR FOR {sql}")
            batch: list[tuple[object, ...]] = []
            while True:
                wanted = min(size - len(batch), self._fetch_size)
                found = self.rows(f"FETCH FORWARD {wanted} FROM cdp_stream")
                batch += found
                if batch and (len(batch) >= size or len(found) < wanted):
                    yield batch
                    batch = []
                if len(found) < wanted:
                    break
            self.execute("CLOSE cdp_stream")

    # tables

    def make_table(self, table: str, select: str) -> int:
        with self.transaction():
            fresh = self._find(table) is None
            new = table if fresh else beside(table)
            if not fresh:
                self.drop(new)
            self.execute(f"CREATE TABLE {quoted(new)} AS {select}")
            # CREATE TABLE AS does not tell
            count = int(str(self.rows(f"SELECT COUNT(*) FROM {quoted(new)}")[0][0]))
            if not fresh:
                self.swap({new: table})
        return count

    def make_view(self, view: str, select: str) -> None:
        """Bound to names, not to tables, so that these can be replaced (r_CREATE_VIEW); dropped first: it could not be
        replaced by one with other columns."""
        with self.transaction(), self._replacing(view):
            self.execute(f"CREATE VIEW {quoted(view)} AS {select} WITH NO SCHEMA BINDING")

    def swap(self, pairs: Mapping[str, str]) -> None:
        with self.transaction():
            for new, final in pairs.items():
                with self._replacing(final):
                    self.execute(f"ALTER TABLE {quoted(new)} RENAME TO {identifier(parts(final)[-1])}")

    @contextmanager
    def _replacing(self, table: str) -> Iterator[None]:
        """Drops what has the name; inside, another table or view takes it, with the rights that were granted on it."""
        found = self._find(table)
        rights = self._rights(table) if found is not None else []
        if found is not None:
            self.execute(f"DROP {_KINDS.get(found[0], 'TABLE')} {quoted(table)}")
        yield
        for right in rights:
            self.execute(right)

    def _rights(self, table: str) -> list[str]:
        """The statements that grant again what was granted on a table (SVV_RELATION_PRIVILEGES)."""
        *scope, name = parts(table)
        rows = self._ask(
            "SELECT privilege_type, identity_type, identity_name, admin_option FROM svv_relation_privileges"
            f" WHERE LOWER(namespace_name) = {_literal(scope[-1].lower() if scope else 'public')}"
            f" AND LOWER(relation_name) = {_literal(name.lower())} AND identity_name <> CURRENT_USER"
        )
        return [
            _grant(quoted(table), str(privilege), str(kind), str(who), bool(option))
            for privilege, kind, who, option in rows
        ]

    def drop(self, *tables: str) -> None:
        with self.transaction():
            for table in tables:
                found = self._find(table)
                if found is not None:
                    self.execute(f"DROP {_KINDS.get(found[0], 'TABLE')} {quoted(table)}")

    def about(self) -> About:
        version, role, clock = self._ask("SELECT VERSION(), CURRENT_USER, GETDATE()")[0]
        return About(f"Redshift {str(version).rpartition('Redshift ')[2]}", str(role), clock)

    def grants(self, role: str, reads: Sequence[str]) -> tuple[str, ...]:
        return least(role, reads, self.schema, self.state_schema)

    def ensure_schemas(self) -> None:
        for schema in (self.schema, self.state_schema):
            # asked for first: CREATE SCHEMA wants the right to create even where it would do nothing
            if not self._ask(f"SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {_literal(schema)}"):
                self.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(schema)}")

    # the catalogue

    def _find(self, table: str) -> tuple[str, str] | None:
        """(relkind, full name) of a table or view of this database; names have no case there (r_names)."""
        *scope, name = parts(table)
        if len(scope) > 2:
            return None
        where = f"n.nspname = {_literal(scope[-1].lower())}" if scope else "n.nspname = CURRENT_SCHEMA()"
        if len(scope) > 1:
            where += f" AND LOWER(CURRENT_DATABASE()) = {_literal(scope[0].lower())}"
        found = self._ask(
            "SELECT c.relkind, n.nspname, c.relname FROM pg_catalog.pg_class AS c"
            " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
            f" WHERE c.relkind IN ('r', 'v', 'm') AND LOWER(c.relname) = {_literal(name.lower())} AND {where}"
            " ORDER BY c.relname DESC LIMIT 1"
        )
        return (str(found[0][0]), ".".join(map(identifier, found[0][1:]))) if found else None

    def _elsewhere(self, table: str) -> str | None:
        """The full name of a table of an external schema or a datashare (SVV_ALL_TABLES)."""
        *scope, name = parts(table)
        if not scope or len(scope) > 2:
            return None
        where = [("table_name", name), ("schema_name", scope[-1])]
        where += [("database_name", scope[0])] if len(scope) > 1 else []
        said = " AND ".join(f"LOWER({column}) = {_literal(value.lower())}" for column, value in where)
        found = self._ask(f"SELECT schema_name, table_name FROM svv_all_tables WHERE {said} LIMIT 1")
        return ".".join(map(identifier, (*scope[:-1], *map(str, found[0])))) if found else None

    def columns(self, table: str) -> tuple[Column, ...] | None:
        """Asked of the relation itself: the catalogue has no columns of views that are bound to names."""
        found = self._find(table)
        name = found[1] if found is not None else self._elsewhere(table)
        return None if name is None else self.describe(f"SELECT * FROM {name}")

    def tables(self, schema: str) -> tuple[str, ...]:
        rows = self._ask(
            "SELECT c.relname FROM pg_catalog.pg_class AS c"
            " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
            f" WHERE c.relkind IN ('r', 'v', 'm') AND LOWER(n.nspname) = {_literal(parts(schema)[-1].lower())}"
        )
        return tuple(sorted(str(row[0]) for row in rows))

    def describe(self, select: str) -> tuple[Column, ...]:
        with self._asking() as connection:
            found = connection.execute(f"SELECT * FROM ({select}) AS t LIMIT 0").description or ()
        columns = []
        for column in found:
            native = _OWN.get(column.type_code) or column.type_display
            # arrays are in system views only
            type_ = "list" if native.endswith("[]") else _TYPES.get(native.partition("(")[0], "other")
            columns.append(Column(column.name, type_, native))
        return tuple(columns)

    # files

    def load_json_lines(self, table: str, path: Path, columns: Mapping[str, str]) -> int:
        """By INSERTs of many rows: COPY reads from S3 only (r_COPY)."""
        fields = ", ".join(f"{identifier(name)} {_NATIVE[type_]}" for name, type_ in columns.items())
        new = beside(table)
        head = f"INSERT INTO {quoted(new)} ({', '.join(map(identifier, columns))}) VALUES "
        count = 0
        with self.transaction():
            self.drop(new)
            self.execute(f"CREATE TABLE {quoted(new)} ({fields})")
            try:
                for chunk in _chunks(table_rows(path, columns), [_NATIVE[type_] for type_ in columns.values()]):
                    self.execute(head + ", ".join(chunk))
                    count += len(chunk)
            except StatementError as error:
                message = f"{path.name} cannot be loaded: {error.message}"
                raise StatementError("CDP306", message, hint=error.hint) from None
            self.swap({new: table})
        return count

    def unload_json_lines(self, select: str, path: Path) -> int:
        names = [column.name for column in self.describe(select)]
        count = 0
        with path.open("w", encoding="utf-8", newline="\n") as out:
            for batch in self.stream(select):
                for row in batch:
                    values = dict(zip(names, map(_plain, row), strict=True))
                    out.write(json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n")
                count += len(batch)
        return count


def _chunks(rows: Iterator[list[str | None]], types: Sequence[str]) -> Iterator[list[str]]:
    """Rows as `(…)`, many at a time."""
    chunk: list[str] = []
    size = 0
    for row in rows:
        cells = ["NULL" if text is None else _cell(text, type_) for text, type_ in zip(row, types, strict=True)]
        chunk.append(f"({', '.join(cells)})")
        size += len(chunk[-1])
        if len(chunk) >= _CHUNK or size >= _CHUNK_SIZE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _cell(text: str, type_: str) -> str:
    return _literal(text) if type_ == _NATIVE["text"] else f"CAST({_literal(text)} AS {type_})"


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds") + "Z"
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bool | int | str) or value is None:
        return value
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _grant(table: str, privilege: str, kind: str, name: str, option: bool) -> str:
    """`kind` is user, group, role or public."""
    who = {"public": "PUBLIC", "user": identifier(name)}.get(kind.lower(), f"{kind.upper()} {identifier(name)}")
    return f"GRANT {privilege} ON {table} TO {who}{' WITH GRANT OPTION' if option and kind.lower() == 'user' else ''}"


class RedshiftSettings(LibpqSettings):
    """type: redshift."""

    facts: ClassVar = Redshift.facts
    type: Literal["redshift"]
    port: Number | None = 5439
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = "require"
    fetch_size: Number = 1000

    def connect(self, project_dir: Path) -> Redshift:
        given = self.given()
        if self.dsn is not None:  # which says both by itself
            told = self.model_fields_set
            given["port"] = self.port if "port" in told else None
            given["options"] = {
                key: value for key, value in given["options"].items() if key != "sslmode" or "sslmode" in told
            }
        return Redshift(self.schema_, self.state_schema, **given)


SETTINGS = RedshiftSettings
