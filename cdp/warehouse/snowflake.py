"""Snowflake, through its own connector (4 or 5), which is imported when a connection is made.

DDL takes effect at once there and ends an open transaction; each table is replaced in one go, its rights kept. The
connector does not tell what a statement scanned: `bytes` stays None.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, cast

from sqlglot import exp

from cdp.errors import StatementError, WarehouseError
from cdp.warehouse.base import About, Column, Warehouse
from cdp.warehouse.functions import FACTS
from cdp.warehouse.interruptible import Interruptible
from cdp.warehouse.names import beside, identifier
from cdp.warehouse.snowflake_errors import (
    NOWHERE,
    OTHER_KIND,
    Refused,
    has_expired,
    is_lost,
    lost,
    refused,
    unreachable,
)
from cdp.warehouse.snowflake_files import chunks
from cdp.warehouse.snowflake_grants import carried, least
from cdp.warehouse.snowflake_login import SnowflakeLogin
from cdp.warehouse.snowflake_names import column, full, shown, stored
from cdp.warehouse.snowflake_values import Row, casts, columns_of, fields, json_line, keys, plain, type_of

_VERB = re.compile(r"(?:\s+|--[^\n]*\n|/\*.*?\*/)*([a-z]+)", re.IGNORECASE | re.DOTALL)
_CHANGES_ROWS = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE"})
_READS = frozenset({"SELECT", "WITH", "SHOW", "DESC", "DESCRIBE", "EXPLAIN", "CALL"})
_INSUFFICIENT = frozenset({3001, 3041})  # no right to grant: the schema has managed access


class Snowflake(Warehouse):
    """One session, made at the first call and again after it was lost or ran out (never in the middle of a
    transaction).

    Inside `transaction` what changes rows takes effect together; a statement that makes or drops a table takes effect
    at once, and with it what changed rows before: Snowflake commits there by itself. Raises WarehouseError CDP302
    (unreachable, refused login, lost), CDP304 (no driver).
    """

    facts: ClassVar = FACTS["snowflake"]
    transactional_ddl: ClassVar = False
    fold_interval: ClassVar = 120.0  # each one wakes a warehouse, which is paid for a minute at least
    fold_batches: ClassVar = 500

    def __init__(self, login: SnowflakeLogin, project_dir: Path) -> None:
        self.schema = login.schema_
        self.state_schema = login.state_schema
        self._login = login
        self._project_dir = project_dir
        self._connection: Any = None
        self._calls = Interruptible()
        self._depth = 0
        self._begun = False  # a transaction of the engine's is open
        self._broken = False  # the session was lost inside a transaction, which has not ended yet

    # the connection

    def _open(self) -> Any:
        if self._broken:
            message = "the connection to Snowflake was lost in a transaction"
            raise WarehouseError("CDP302", message, hint="run it again") from None
        if self._connection is None:
            driver = _driver()
            arguments = self._login.arguments(self._project_dir, int(driver.__version__.split(".")[0]))
            try:
                self._connection = self._calls.run(lambda: driver.connect(**arguments), _wait)
            except (driver.Error, OSError) as error:
                raise unreachable(error, self._login.account) from None
        return self._connection

    def _forget(self) -> None:
        """Let go of a session that is gone, without a word to it."""
        self._connection = None
        self._broken = self._depth > 0
        self._begun = False

    def release(self) -> None:
        """A server lets everybody in; nothing to do."""

    def close(self) -> None:
        connection, self._connection, self._begun = self._connection, None, False
        if connection is not None:
            with contextlib.suppress(_driver().Error, OSError):  # it may be gone already
                connection.close()
        self._calls.close()

    def _cancel(self) -> None:
        """Have the engine stop what the session runs: the driver, written in Rust, looks at no signal meanwhile."""
        connection = self._connection
        with contextlib.suppress(_driver().Error, OSError):
            connection.cursor().execute(f"SELECT SYSTEM$CANCEL_ALL_QUERIES({int(connection.session_id)})")

    # statements

    def _asked(self, ask: Callable[[Any], Any]) -> Any:
        """What `ask` makes of the session's cursor; what the driver raises becomes an error of ours. The driver itself
        sends a statement again under the same id when the network hiccups; a session that has run out did not run it."""
        connection = self._open()
        driver = _driver()
        self.statements += 1
        try:
            return self._calls.run(lambda: ask(connection.cursor()), self._cancel)
        except (driver.Error, OSError) as error:
            if not (has_expired(error) and self._depth == 0):
                raise self._told(error) from None
        self._forget()
        connection = self._open()
        try:
            return self._calls.run(lambda: ask(connection.cursor()), self._cancel)
        except (driver.Error, OSError) as error:
            raise self._told(error) from None

    def _told(self, error: Exception) -> WarehouseError:
        if is_lost(error):
            self._forget()
            return lost(error)
        return refused(error)

    def _run(self, sql: str, values: Sequence[object] | None = None) -> Any:
        """The cursor after a statement; `?` stands for bound values."""

        def ask(cursor: Any) -> Any:
            cursor.execute(sql, values) if values else cursor.execute(sql)
            return cursor

        return self._asked(ask)

    def _fetched(self, cursor: Any, size: int | None = None) -> list[Row]:
        driver = _driver()
        try:
            return list(self._calls.run(lambda: cursor.fetchall() if size is None else cursor.fetchmany(size), _wait))
        except (driver.Error, OSError) as error:
            raise self._told(error) from None

    def execute(self, sql: str) -> int:
        match = _VERB.match(sql)
        verb = match[1].upper() if match else ""
        if verb in _CHANGES_ROWS:
            if self._depth and not self._begun:
                self._run("BEGIN TRANSACTION")
                self._begun = True
            return max(int(self._run(sql).rowcount or 0), 0)
        if verb not in _READS:
            self._settle()
        self._run(sql)
        return 0

    def _settle(self) -> None:
        """Before DDL, which would commit by itself: from here on a new transaction begins."""
        if self._begun:
            self._begun = False
            self._run("COMMIT")

    def _ddl(self, sql: str) -> None:
        self._settle()
        self._run(sql)

    def rows(self, sql: str) -> list[Row]:
        cursor = self._run(sql)
        return list(map(plain(cursor.description), self._fetched(cursor)))

    def stream(self, sql: str, size: int = 10_000) -> Iterator[list[Row]]:
        cursor = self._run(sql)
        made = plain(cursor.description)
        try:
            while batch := self._fetched(cursor, size):
                yield list(map(made, batch))
        finally:
            cursor.close()

    def _records(self, sql: str) -> list[dict[str, object]]:
        """The rows of SHOW and DESCRIBE by the names of their columns, which grow with Snowflake's versions."""
        cursor = self._run(sql)
        names = [str(item[0]).lower() for item in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in self._fetched(cursor)]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All rows changed or none (but see the class about DDL); inside another transaction it joins that one."""
        self._depth += 1
        done = False
        try:
            yield
            done = True
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._end(done)

    def _end(self, done: bool) -> None:
        self._broken = False
        if not self._begun:
            return
        self._begun = False
        if done:
            self._run("COMMIT")
            return
        try:
            self._run("ROLLBACK")
        except WarehouseError:
            self.close()  # a transaction that cannot be rolled back ends with its session

    # tables

    def make_table(self, table: str, select: str) -> int:
        # COPY GRANTS keeps the rights on the table that is replaced
        self._replaced(table, f"CREATE OR REPLACE TABLE {full(table)} COPY GRANTS AS {select}")
        return int(str(self.rows(f"SELECT COUNT(*) FROM {full(table)}")[0][0]))  # answered out of the catalogue

    def make_view(self, view: str, select: str) -> None:
        self._replaced(view, f"CREATE OR REPLACE VIEW {full(view)} COPY GRANTS AS {select}")

    def _replaced(self, name: str, sql: str) -> None:
        """Run a CREATE OR REPLACE, which refuses to replace a thing of another kind: that one is dropped then."""
        try:
            self._ddl(sql)
        except Refused as error:
            if error.number not in OTHER_KIND:
                raise
            self.drop(name)
            self._ddl(sql)

    def swap(self, pairs: Mapping[str, str]) -> None:
        """One by one, each in one go: a clone that copies no row takes the place of the old table, then the new one's
        first name goes. Dead in between, it can be run again; a pair whose new table is gone is done."""
        kinds = self._kinds(*pairs, *pairs.values())
        for new, final in pairs.items():
            if stored(new) not in kinds and stored(final) not in kinds:
                raise Refused(2003, f"there is no table {new}") from None
        for new, final in pairs.items():
            if stored(new) not in kinds:
                continue
            if kinds.get(stored(final)) == "TABLE":
                self._settle()
                self._grant_again(full(final), full(new))
                self._ddl(f"CREATE OR REPLACE TABLE {full(final)} CLONE {full(new)} COPY GRANTS")
                self._ddl(f"DROP TABLE IF EXISTS {full(new)}")
            else:
                if stored(final) in kinds:
                    self._ddl(f"DROP VIEW IF EXISTS {full(final)}")
                self._ddl(f"ALTER TABLE {full(new)} RENAME TO {full(final)}")

    def _grant_again(self, old: str, new: str) -> None:
        """The rights on the old table, on the new one too: COPY GRANTS of a clone takes them from there."""
        try:
            for grant in carried(self._records, old, new):
                self._run(grant)
        except Refused as error:
            if error.number not in _INSUFFICIENT:  # there the owner of the schema grants, and on future tables
                raise

    def drop(self, *tables: str) -> None:
        kinds = self._kinds(*tables) if tables else {}
        for table in dict.fromkeys(tables):
            kind = kinds.get(stored(table))
            if kind:
                self._ddl(f"DROP {kind} IF EXISTS {full(table)}")

    def refill(self, table: str, select: str) -> int:
        return self.execute(f"INSERT OVERWRITE INTO {full(table)} {select}")

    def about(self) -> About:
        [(version, user, role, clock)] = self.rows(
            "SELECT CURRENT_VERSION(), CURRENT_USER(), CURRENT_ROLE(), SYSDATE()"
        )
        return About(f"Snowflake {version}", f"{user} as {role}", cast(datetime, clock))

    def grants(self, role: str, reads: Sequence[str]) -> tuple[str, ...]:
        login = self._login
        return least(role, reads, login.warehouse, login.database, self.schema, self.state_schema)

    def ensure_schemas(self) -> None:
        for schema, kind in ((self.schema, "TRANSIENT SCHEMA"), (self.state_schema, "SCHEMA")):
            # asked for first: CREATE … IF NOT EXISTS wants the right to create even where it would do nothing
            [name] = stored(schema)
            there = self._records(f"SHOW SCHEMAS LIKE {_text(name)} IN DATABASE {full(self._login.database)}")
            if not any(row["name"] == name for row in there):
                # what can be built again needs no week of backups that are paid for
                self._ddl(f"CREATE {kind} IF NOT EXISTS {full(self._login.database)}.{identifier(name)}")

    # the catalogue

    def _kinds(self, *tables: str) -> dict[tuple[str, ...], str]:
        """TABLE or VIEW for each of those names that is there, by its stored parts: one statement per schema."""
        scopes: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for table in tables:
            parts = stored(table)
            scopes.setdefault(parts[:-1], []).append(parts)
        found = {}
        for scope, names in scopes.items():
            like = names[0][-1] if len(set(names)) == 1 else None
            there = {str(row["name"]): str(row["kind"]) for row in self._objects(scope, like)}
            for name in names:
                if name[-1] in there:
                    found[name] = "VIEW" if "VIEW" in there[name[-1]].upper() else "TABLE"
        return found

    def _objects(self, scope: tuple[str, ...], like: str | None = None) -> list[dict[str, object]]:
        """Tables and views of a schema, from the catalogue: no warehouse wakes for it. Nothing where it is not there."""
        where = f" IN SCHEMA {'.'.join(map(identifier, scope))}" if scope else ""
        try:
            return self._records(f"SHOW OBJECTS{f' LIKE {_text(like)}' if like else ''}{where}")
        except Refused as error:
            if error.number in NOWHERE:
                return []
            raise

    def columns(self, table: str) -> tuple[Column, ...] | None:
        parts = stored(table)
        if not 1 <= len(parts) <= 3:
            return None
        found = self._described(parts)
        if found is None and (spelled := self._spelled(parts)) is not None:
            found = self._described(spelled)
        return found

    def _described(self, parts: tuple[str, ...]) -> tuple[Column, ...] | None:
        try:
            rows = self._records(f"DESCRIBE TABLE {'.'.join(map(identifier, parts))}")
        except Refused as error:
            if error.number in NOWHERE:
                return None
            raise
        return tuple(Column(str(row["name"]), type_of(str(row["type"])), str(row["type"])) for row in rows) or None

    def _spelled(self, parts: tuple[str, ...]) -> tuple[str, ...] | None:
        """The name as the catalogue has it, looked for without regard to case."""
        *scope, name = (part.lower() for part in parts)
        database = identifier(parts[0]) if len(parts) == 3 else full(self._login.database)
        try:
            rows = self._records(f"SHOW OBJECTS LIKE {_text(parts[-1])} IN DATABASE {database}")
        except Refused as error:
            if error.number in NOWHERE:
                return None
            raise
        found = sorted((str(row["database_name"]), str(row["schema_name"]), str(row["name"])) for row in rows)
        fits = [item for item in found if item[2].lower() == name and (not scope or item[1].lower() == scope[-1])]
        return fits[0] if fits else None

    def tables(self, schema: str) -> tuple[str, ...]:
        return tuple(sorted(shown(str(row["name"])) for row in self._objects(stored(schema))))

    def describe(self, select: str) -> tuple[Column, ...]:
        described: tuple[Column, ...] = self._asked(lambda cursor: columns_of(cursor.describe(select)))
        return described

    # files

    def load_json_lines(self, table: str, path: Path, columns: Mapping[str, str]) -> int:
        new = beside(table)
        self._ddl(f"CREATE OR REPLACE TABLE {full(new)} ({fields(columns)})")
        # an array of rows in one bound value: as fast as a staged file for what a run brings, and needs no stage
        insert = (
            f"INSERT INTO {full(new)} ({', '.join(map(column, columns))}) SELECT {casts(columns)}"
            " FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?))) AS f"
        )
        count = 0
        try:
            for rows, text in chunks(path, columns):
                self._run(insert, (text,))
                count += rows
        except StatementError as error:
            self.drop(new)
            message = f"{path.name} cannot be loaded: {error.message}"
            raise StatementError("CDP306", message, hint=error.hint) from None
        self.swap({new: table})
        return count

    def unload_json_lines(self, select: str, path: Path) -> int:
        cursor = self._run(select)
        names, made, count = keys(cursor.description), plain(cursor.description), 0
        with path.open("w", encoding="utf-8", newline="\n") as out:
            while batch := self._fetched(cursor, 10_000):
                out.writelines(f"{json_line(names, made(row))}\n" for row in batch)
                count += len(batch)
        cursor.close()
        return count


def _wait() -> None:
    """What is asked of the network ends by itself, at the latest by its time-out."""


def _text(value: str) -> str:
    """A literal; in a pattern of LIKE a backslash would escape: any character stands for it."""
    return exp.Literal.string(value.replace("\\", "_")).sql(dialect="snowflake")


_QUIET = logging.NullHandler()


def _driver() -> Any:
    try:
        import snowflake.connector
    except ImportError:
        hint = "pip install 'composable-cdp[snowflake]'"
        raise WarehouseError("CDP304", "the driver for Snowflake is not installed", hint=hint) from None
    logging.getLogger("snowflake").addHandler(_QUIET)  # else its warnings (of proxies, of clouds) go to the terminal
    return snowflake.connector


class SnowflakeSettings(SnowflakeLogin):
    """type: snowflake."""

    def connect(self, project_dir: Path) -> Snowflake:
        return Snowflake(self, project_dir)


SETTINGS = SnowflakeSettings
