"""Postgres 14 and later, through psycopg 3."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from cdp.errors import StatementError
from cdp.warehouse.base import About, Column
from cdp.warehouse.functions import FACTS
from cdp.warehouse.libpq import Libpq, LibpqSettings
from cdp.warehouse.names import beside, identifier, parts, quoted
from cdp.warehouse.postgres_grants import least
from cdp.warehouse.postgres_swap import carried
from cdp.warehouse.settings import Number

if TYPE_CHECKING:
    import psycopg

_ANALYZE_FROM = 10_000  # rows; below, the planner's guess is good enough and ANALYZE costs more than it brings
_TYPES = {"text": "text", "character varying": "text", "character": "text", "name": "text", "citext": "text"}
_TYPES |= {"smallint": "int", "integer": "int", "bigint": "int", "numeric": "decimal", "real": "float"}
_TYPES |= {"double precision": "float", "boolean": "bool", "date": "date", "json": "json", "jsonb": "json"}
_TYPES |= {"timestamp without time zone": "timestamp", "timestamp with time zone": "timestamp"}
_FIND = """
SELECT c.oid, c.relkind, c.relname
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND lower(c.relname) = lower(%(name)s)
  AND CASE WHEN %(schema)s::text IS NULL THEN n.nspname = ANY (current_schemas(false))
           ELSE lower(n.nspname) = lower(%(schema)s) END
  AND (%(database)s::text IS NULL OR lower(%(database)s) = lower(current_database()))
ORDER BY c.relname = %(name)s DESC, n.nspname = %(schema)s DESC NULLS LAST,
  array_position(current_schemas(false), n.nspname), c.relname LIMIT 1
"""
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), t.typtype, format_type(t.typbasetype, -1)
FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_TYPE = """
SELECT format_type(t.oid, NULL), t.typtype, format_type(t.typbasetype, -1)
FROM pg_catalog.pg_type AS t WHERE t.oid = %s
"""
_TABLES = """
SELECT c.relname FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND lower(n.nspname) = lower(%s)
"""
_HAS_FUNCTION = """
SELECT 1 FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
WHERE p.proname = 'cdp_json_valid' AND n.nspname = %s
"""
# no cast of Postgres fails softly before version 16, and JSON is nothing that a pattern can check
_JSON_VALID = """
CREATE OR REPLACE FUNCTION {}.cdp_json_valid(value text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
  PERFORM value::json;
  RETURN true;
EXCEPTION WHEN data_exception THEN
  RETURN false;
END $$
"""
_ABOUT = "SELECT current_setting('server_version'), current_user, clock_timestamp() AT TIME ZONE 'UTC'"
_KINDS = {"v": "VIEW", "m": "MATERIALIZED VIEW", "f": "FOREIGN TABLE"}


class Postgres(Libpq):
    """A Postgres server. `lock_timeout` is how many seconds a statement waits for somebody else's lock."""

    facts: ClassVar = FACTS["postgres"]
    product: ClassVar = "Postgres"
    extra: ClassVar = "postgres"

    def __init__(
        self, schema: str = "cdp", state_schema: str = "cdp_state", *, lock_timeout: float = 300, **given: Any
    ) -> None:
        super().__init__(schema, state_schema, **given)
        self._lock_timeout = lock_timeout

    def _prepare(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        timeout = "" if self._timeout is None else f"; SET statement_timeout = {int(self._timeout * 1000)}"
        connection.execute(
            "SET TIME ZONE 'UTC'; SET client_encoding = 'UTF8'; SET standard_conforming_strings = on;"
            " SET client_min_messages = warning; SET extra_float_digits = 1;"
            f" SET lock_timeout = {int(self._lock_timeout * 1000)}{timeout}"
        )
        # last in the path: our own function there is found, nothing of the user's is shadowed
        connection.execute(
            "SELECT set_config('search_path', current_setting('search_path') || ', ' || quote_ident(%s), false)",
            [self.state_schema],
        )

    def release(self) -> None:
        """A server lets everybody in; nothing to do."""

    def stream(self, sql: str, size: int = 10_000) -> Iterator[list[tuple[object, ...]]]:
        with self.transaction(), self._asking() as connection, connection.cursor(name="cdp_stream") as cursor:
            cursor.itersize = size
            cursor.execute(sql)
            while batch := cursor.fetchmany(size):
                yield list(batch)

    # tables

    def make_table(self, table: str, select: str) -> int:
        with self.transaction():
            fresh = self._find(table) is None
            new = table if fresh else beside(table)
            if not fresh:
                self.drop(new)
            count = self.execute(f"CREATE TABLE {quoted(new)} AS {select}")
            if count >= _ANALYZE_FROM:
                self.execute(f"ANALYZE {quoted(new)}")
            if not fresh:
                self.swap({new: table})
        return count

    def make_view(self, view: str, select: str) -> None:
        with self.transaction():
            found = self._find(view)
            if found is None:
                self.execute(f"CREATE VIEW {quoted(view)} AS {select}")
            else:
                with self._replacing(view, *found):
                    self.execute(f"CREATE VIEW {quoted(view)} AS {select}")

    def swap(self, pairs: Mapping[str, str]) -> None:
        with self.transaction():
            for new, final in pairs.items():
                rename = f"ALTER TABLE {quoted(new)} RENAME TO {identifier(parts(final)[-1])}"
                found = self._find(final)
                if found is None:
                    self.execute(rename)
                else:
                    with self._replacing(final, *found):
                        self.execute(rename)

    @contextmanager
    def _replacing(self, name: str, oid: int, kind: str) -> Iterator[None]:
        """Drops the object; inside, another one takes its name, its rights and its readers."""
        with carried(oid, quoted(name), (self.schema, self.state_schema), self._ask, self.execute):
            self.execute(f"DROP {_KINDS.get(kind, 'TABLE')} {quoted(name)}")
            yield

    def drop(self, *tables: str) -> None:
        with self.transaction():
            for table in tables:
                found = self._find(table)
                if found is not None:
                    self.execute(f"DROP {_KINDS.get(found[1], 'TABLE')} {quoted(table)}")

    def about(self) -> About:
        version, role, clock = self._ask(_ABOUT, [])[0]
        return About(f"Postgres {version}", str(role), clock)

    def grants(self, role: str, reads: Sequence[str]) -> tuple[str, ...]:
        return least(role, reads, self.schema, self.state_schema)

    def ensure_schemas(self) -> None:
        for schema in (self.schema, self.state_schema):
            # asked for first: CREATE SCHEMA IF NOT EXISTS wants the right to create even where it would do nothing
            if not self._ask("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", [schema]):
                self.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(schema)}")
        if not self._ask(_HAS_FUNCTION, [self.state_schema]):
            self.execute(_JSON_VALID.format(identifier(self.state_schema)))

    # the catalogue

    def _find(self, table: str, *, any_case: bool = False) -> tuple[int, str] | None:
        """(oid, relkind) of a table or view."""
        *scope, name = parts(table)
        if len(scope) > 2:
            return None
        schema, database = (*reversed(scope), None, None)[:2]
        found = self._ask(_FIND, {"name": name, "schema": schema, "database": database})
        if not found or not (any_case or found[0][2] == name):
            return None
        return int(str(found[0][0])), str(found[0][1])

    def columns(self, table: str) -> tuple[Column, ...] | None:
        found = self._find(table, any_case=True)
        if found is None:
            return None
        rows = self._ask(_COLUMNS, [found[0]])
        return tuple(Column(name, _type(native, kind, base), native) for name, native, kind, base in rows)

    def tables(self, schema: str) -> tuple[str, ...]:
        return tuple(sorted(str(row[0]) for row in self._ask(_TABLES, [parts(schema)[-1]])))

    def describe(self, select: str) -> tuple[Column, ...]:
        with self._asking() as connection:
            cursor = connection.execute(f"SELECT * FROM ({select}) AS t LIMIT 0")
            names = [(column.name, column.type_code) for column in cursor.description or ()]
        found: dict[int, tuple[str, str, str]] = {}
        for _, oid in names:
            if oid not in found:
                native, kind, base = self._ask(_TYPE, [oid])[0]
                found[oid] = (native, kind, base)
        return tuple(Column(name, _type(*found[oid]), found[oid][0]) for name, oid in names)

    # files

    def load_json_lines(self, table: str, path: Path, columns: Mapping[str, str]) -> int:
        from cdp.warehouse.json_lines import table_rows

        fields = ", ".join(f"{identifier(name)} {_NATIVE[type_]}" for name, type_ in columns.items())
        names = ", ".join(identifier(name) for name in columns)
        new = beside(table)
        count = 0
        with self.transaction():
            self.drop(new)
            self.execute(f"CREATE TABLE {quoted(new)} ({fields})")
            try:
                copying = f"COPY {quoted(new)} ({names}) FROM STDIN"
                with self._asking() as connection, connection.cursor() as cursor, cursor.copy(copying) as copy:
                    for row in table_rows(path, columns):
                        copy.write_row(row)
                        count += 1
            except StatementError as error:
                message = f"{path.name} cannot be loaded: {error.message}"
                raise StatementError("CDP306", message, hint=error.hint) from None
            if count >= _ANALYZE_FROM:
                self.execute(f"ANALYZE {quoted(new)}")
            self.swap({new: table})
        return count

    def unload_json_lines(self, select: str, path: Path) -> int:
        casts = ", ".join(_as_json(column) for column in self.describe(select))
        # CSV whose quote and delimiter are control characters: JSON text holds none raw, so each line is the object
        sql = (
            f"COPY (SELECT row_to_json(r) FROM (SELECT {casts} FROM ({select}) AS t) AS r)"
            " TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')"
        )
        with self._asking() as connection, connection.cursor() as cursor, path.open("wb") as out:
            with cursor.copy(sql) as copy:
                for block in copy:
                    out.write(block)
            return max(cursor.rowcount, 0)


_NATIVE = {"text": "text", "int": "bigint", "float": "double precision", "bool": "boolean"}
_NATIVE |= {"decimal": "numeric(38,9)", "date": "date", "timestamp": "timestamp", "list": "text", "json": "text"}


def _type(native: str, kind: str, base: str | None) -> str:
    if kind == "d" and base and base != "-":
        native = base
    if native.endswith("[]"):
        return "list"
    return _TYPES.get(re.sub(r"\(.*?\)", "", native).strip(), "other")


def _as_json(column: Column) -> str:
    name = identifier(column.name)
    if column.type == "timestamp":
        value = f"{name} AT TIME ZONE 'UTC'" if "with time zone" in column.native else name
        return f"""to_char({value}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS {name}"""
    if column.type == "float":
        return f"CASE WHEN {name} NOT IN ('NaN', 'Infinity', '-Infinity') THEN {name} END AS {name}"
    if column.type in ("int", "bool"):
        return name
    if column.type == "list":
        return f"CAST(to_json({name}) AS text) AS {name}"
    return f"CAST({name} AS text) AS {name}"


class PostgresSettings(LibpqSettings):
    """type: postgres."""

    facts: ClassVar = Postgres.facts
    type: Literal["postgres"]
    lock_timeout: Number = 300  # seconds

    def connect(self, project_dir: Path) -> Postgres:
        return Postgres(self.schema_, self.state_schema, **self.given())


SETTINGS = PostgresSettings
