"""DuckDB: a file, or memory. One process at a time can hold a file, so it is opened late and let go of early."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal, cast

import duckdb
from pydantic import Field

from cdp.errors import StatementError, WarehouseError
from cdp.warehouse.base import About, Column, Warehouse
from cdp.warehouse.functions import FACTS
from cdp.warehouse.interruptible import Interruptible
from cdp.warehouse.names import identifier, literal, parts, quoted
from cdp.warehouse.settings import Settings

_TYPES = {"VARCHAR": "text", "FLOAT": "float", "DOUBLE": "float", "BOOLEAN": "bool", "DATE": "date", "JSON": "json"}
_INTEGER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?\Z")
_NATIVE = {"text": "VARCHAR", "int": "BIGINT", "decimal": "DECIMAL(38,9)", "float": "DOUBLE", "bool": "BOOLEAN"}
_NATIVE |= {"date": "DATE", "timestamp": "TIMESTAMP", "list": "VARCHAR", "json": "VARCHAR"}
_WITH_DATA = (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException, duckdb.OutOfRangeException)
_SETTINGS = (
    "SET GLOBAL TimeZone='UTC'",
    # file sources need external access; what is shut is the way to code from elsewhere
    "SET autoinstall_known_extensions=false",
    "SET autoload_known_extensions=false",
    "SET allow_community_extensions=false",
)
_TEXT_TIMESTAMP = "strftime({0}, '%Y-%m-%dT%H:%M:%S.%fZ')"


class DuckDB(Warehouse):
    """A DuckDB file (opened at the first call, let go of by `release`) or `:memory:` (release is a no-op).

    `path` and the files of `attach` (name ► file, opened read-only) are relative to `project_dir`. A file that another
    process holds is waited for: `patience` seconds, ten times as long once this object has had it (a run lets go of it
    between folds and must not lose it to a passer-by). Raises WarehouseError CDP302 (missing folder, no database),
    CDP303 (locked).
    """

    facts: ClassVar = FACTS["duckdb"]
    side_by_side: ClassVar = False  # each statement has all cores already

    def __init__(
        self,
        path: str | Path,
        schema: str = "cdp",
        state_schema: str = "cdp_state",
        *,
        attach: Mapping[str, str] | None = None,
        limits: Mapping[str, str] | None = None,
        project_dir: Path | None = None,
        patience: float = 2.0,
    ) -> None:
        self.schema = schema
        self.state_schema = state_schema
        folder = project_dir or Path()
        self._folder = project_dir
        self.path = ":memory:" if str(path) == ":memory:" else str(folder / path)
        self._attach = {name: str(folder / file) for name, file in (attach or {}).items()}
        self._limits = dict(limits or {})
        self.patience = patience
        self._opened_before = False
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._calls = Interruptible()
        self._depth = 0
        self._kinds: dict[str, str] | None = None

    # the connection

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            until = time.monotonic() + self.patience * (10 if self._opened_before else 1)
            while self._connection is None:
                try:
                    self._connection = self._connect()
                except duckdb.Error as error:
                    locked = "lock on file" in str(error)
                    if not locked or time.monotonic() >= until:
                        raise _unreachable(error, self.path) from None
                    time.sleep(0.05)
            self._opened_before = True
        return self._connection

    def _connect(self) -> duckdb.DuckDBPyConnection:
        for file in self._attach.values():
            if not Path(file).is_file():  # ATTACH … READ_ONLY says less
                raise WarehouseError("CDP302", f"the attached file {file} is not there")
        connection = duckdb.connect(self.path)
        try:
            if self.path != ":memory:" and self._name_clashes(connection):
                connection.close()
                connection = duckdb.connect()
                connection.execute(f"ATTACH {literal(self.path)} AS cdp_warehouse_file")
                connection.execute("USE cdp_warehouse_file")
            for setting in _SETTINGS:
                connection.execute(setting)
            for name, value in self._limits.items():
                connection.execute(f"SET GLOBAL {name} = {literal(value)}")
            if self._folder is not None:  # `file:` sources are paths from the project's folder
                connection.execute(f"SET file_search_path = {literal(str(self._folder.resolve()))}")
            for name, file in self._attach.items():
                connection.execute(f"ATTACH IF NOT EXISTS {literal(file)} AS {identifier(name)} (READ_ONLY)")
        except duckdb.Error:
            connection.close()
            raise
        return connection

    def _name_clashes(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """`cdp.customer` is ambiguous in a file `cdp.duckdb` that has (or will get) a schema `cdp`."""
        found = connection.execute(
            "SELECT lower(current_database()), list(lower(schema_name)) FROM duckdb_schemas()"
            " WHERE database_name = current_database()"
        ).fetchone()
        database, schemas = found if found else ("", [])
        return database in {*schemas, self.schema.lower(), self.state_schema.lower()}

    def release(self) -> None:
        """Close the file until the next call; does nothing in memory and inside a transaction."""
        if self.path != ":memory:" and self._depth == 0:
            self.close()

    def close(self) -> None:
        self._calls.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._kinds = None

    # statements

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What the driver raises inside becomes an error of ours."""
        try:
            yield
        except duckdb.Error as error:
            if isinstance(error, duckdb.FatalException):
                self.close()  # the instance refuses everything from now on; the next call opens a new one
            raise _refused(error) from None

    def _run(self, sql: str, values: Mapping[str, object] | None = None) -> duckdb.DuckDBPyConnection:
        connection = self._open()
        self.statements += 1
        with self._translated():
            return self._calls.run(
                lambda: connection.execute(sql, dict(values)) if values else connection.execute(sql),
                connection.interrupt,
            )

    def _fetch(self, sql: str) -> duckdb.DuckDBPyConnection:
        """The open result of a SELECT, without TIMESTAMPTZ: fetching those needs a time zone package."""
        result = self._run(sql)
        columns = [(f"c{i}", str(column[1])) for i, column in enumerate(result.description or ())]
        if not any("TIME ZONE" in native for _, native in columns):
            return result
        names = ", ".join(name for name, _ in columns)
        casts = ", ".join(_without_zone(name, native) for name, native in columns)
        return self._run(f"SELECT {casts} FROM ({sql}) AS t({names})")

    def execute(self, sql: str) -> int:
        if sql.lstrip()[:6].upper().startswith(("CREATE", "DROP", "ALTER", "ATTACH", "DETACH")):
            self._kinds = None
        return self._changed(sql)

    def _changed(self, sql: str) -> int:
        result = self._run(sql)
        if not result.description or result.description[0][0] != "Count":
            return 0
        count = result.fetchone()
        return int(count[0]) if count else 0

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        result = self._fetch(sql)
        with self._translated():
            return list(result.fetchall())

    def stream(self, sql: str, size: int = 10_000) -> Iterator[list[tuple[object, ...]]]:
        result = self._fetch(sql)
        while True:
            with self._translated():
                batch = result.fetchmany(size)
            if not batch:
                return
            yield list(batch)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or none; inside another transaction it joins that one."""
        if self._depth == 0:
            self._run("BEGIN")
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
        if done:
            try:
                self._run("COMMIT")
            except StatementError:
                self._roll_back()
                raise
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        try:
            self._kinds = None
            self._open().execute("ROLLBACK")
        except duckdb.Error:
            self.close()  # a transaction that cannot be rolled back ends with its connection

    # tables

    def make_table(self, table: str, select: str) -> int:
        with self._replacing(table, "VIEW"):
            count = self._changed(f"CREATE OR REPLACE TABLE {quoted(table)} AS {select}")
        self._note(table, "TABLE")
        return count

    def make_view(self, view: str, select: str) -> None:
        with self._replacing(view, "TABLE"):
            self._changed(f"CREATE OR REPLACE VIEW {quoted(view)} AS {select}")
        self._note(view, "VIEW")

    @contextmanager
    def _replacing(self, name: str, kind: str) -> Iterator[None]:
        """CREATE OR REPLACE refuses to replace a thing of another kind: that one is dropped in the same transaction."""
        if self._kind(name) == kind:
            with self.transaction():
                self.execute(f"DROP {kind} {quoted(name)}")
                yield
        else:
            yield

    def swap(self, pairs: Mapping[str, str]) -> None:
        with self.transaction():
            for new, final in pairs.items():
                self.drop(final)
                self._changed(f"ALTER TABLE {quoted(new)} RENAME TO {identifier(parts(final)[-1])}")
                self._note(new, None)
                self._note(final, "TABLE")

    def drop(self, *tables: str) -> None:
        for table in tables:
            kind = self._kind(table)
            if kind:
                self._changed(f"DROP {kind} {quoted(table)}")
                self._note(table, None)

    def about(self) -> About:
        version, clock = self.rows("SELECT version(), CAST(now() AS TIMESTAMP)")[0]
        return About(f"DuckDB {version}", self.path, cast(datetime, clock))

    def grants(self, role: str, reads: Sequence[str]) -> tuple[str, ...]:
        """A file knows no roles: who may read and write it may do everything."""
        return ()

    def ensure_schemas(self) -> None:
        for schema in (self.schema, self.state_schema):
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(schema)}")

    # the catalogue

    def _find(self, table: str) -> tuple[str, str, str, str] | None:
        """(database, schema, name, TABLE or VIEW) of a table, looked for without regard to case."""
        *scope, name = parts(table)
        tell = {
            0: "database_name = current_database() AND schema_name = current_schema()",
            1: "((database_name = current_database() AND lower(schema_name) = lower($s))"
            " OR (lower(database_name) = lower($s) AND schema_name = 'main'))",
            2: "lower(database_name) = lower($d) AND lower(schema_name) = lower($s)",
        }.get(len(scope))
        if tell is None:
            return None
        values: dict[str, object] = {"n": name}
        values |= dict(zip(("s", "d"), reversed(scope), strict=False))
        sql = (
            "SELECT database_name, schema_name, name, kind FROM ("
            "SELECT database_name, schema_name, table_name AS name, 'TABLE' AS kind FROM duckdb_tables() UNION ALL"
            " SELECT database_name, schema_name, view_name, 'VIEW' FROM duckdb_views()) AS t"
            f" WHERE lower(name) = lower($n) AND {tell} ORDER BY database_name = current_database() DESC LIMIT 1"
        )
        found = self._run(sql, values).fetchone()
        return (str(found[0]), str(found[1]), str(found[2]), str(found[3])) if found else None

    def _kind(self, table: str) -> str | None:
        """TABLE, VIEW or None. Nobody else writes while the file is open, so the names are read once."""
        scope = parts(table)
        if len(scope) != 2:
            found = self._find(table)
            return found[3] if found else None
        if self._kinds is None:
            rows = self._run(
                "SELECT schema_name || '.' || table_name, 'TABLE' FROM duckdb_tables() WHERE database_name = current_database()"
                " UNION ALL SELECT schema_name || '.' || view_name, 'VIEW' FROM duckdb_views() WHERE database_name = current_database()"
            ).fetchall()
            self._kinds = {str(name).lower(): str(kind) for name, kind in rows}
        return self._kinds.get(".".join(scope).lower())

    def _note(self, table: str, kind: str | None) -> None:
        name = ".".join(parts(table)).lower()
        if self._kinds is not None:
            self._kinds.pop(name, None)
            if kind is not None:
                self._kinds[name] = kind

    def columns(self, table: str) -> tuple[Column, ...] | None:
        found = self._find(table)
        if found is None:
            return None
        return self.describe("SELECT * FROM " + ".".join(identifier(part) for part in found[:3]))

    def tables(self, schema: str) -> tuple[str, ...]:
        *database, name = parts(schema)
        where = "lower(schema_name) = lower($s) AND database_name = " + ("$d" if database else "current_database()")
        sql = (
            f"SELECT table_name FROM duckdb_tables() WHERE {where}"
            f" UNION ALL SELECT view_name FROM duckdb_views() WHERE {where} AND NOT internal"
        )
        values = {"s": name, **({"d": database[0]} if database else {})}
        return tuple(sorted(str(row[0]) for row in self._run(sql, values).fetchall()))

    def describe(self, select: str) -> tuple[Column, ...]:
        rows = self._run(f"DESCRIBE {select}").fetchall()
        return tuple(Column(str(row[0]), _type(str(row[1])), str(row[1])) for row in rows)

    # files

    def load_json_lines(self, table: str, path: Path, columns: Mapping[str, str]) -> int:
        # read as text and cast by ourselves: a number read as a number passes through a double on its way to a decimal
        read = ", ".join(f"{identifier(name)}: 'VARCHAR'" for name in columns)
        casts = ", ".join(_of_text(name, type_) for name, type_ in columns.items())
        options = f"format='newline_delimited', columns={{{read}}}, maximum_object_size=268435456"
        source = f"read_json({literal(str(path))}, {options})"
        try:
            return self.make_table(table, f"SELECT {casts} FROM {source}")
        except StatementError as error:
            raise StatementError("CDP306", f"{path.name} cannot be loaded: {error.message}", hint=error.hint) from None

    def unload_json_lines(self, select: str, path: Path) -> int:
        casts = ", ".join(_as_json(column) for column in self.describe(select))
        return self.execute(f"COPY (SELECT {casts} FROM ({select}) AS t) TO {literal(str(path))} (FORMAT json)")


def _type(native: str) -> str:
    if native.endswith("]"):
        return "list"
    if native.startswith("TIMESTAMP"):
        return "timestamp"
    if native.startswith("DECIMAL"):
        return "decimal"
    return "int" if _INTEGER.match(native) else _TYPES.get(native, "other")


def _without_zone(name: str, native: str) -> str:
    if native == "TIMESTAMP WITH TIME ZONE":
        return f"{name} AT TIME ZONE 'UTC'"
    return f"CAST({name} AS VARCHAR)" if "TIME ZONE" in native else name


def _of_text(name: str, type_: str) -> str:
    column = identifier(name)
    if type_ == "timestamp":
        return f"CAST({column} AS TIMESTAMPTZ) AT TIME ZONE 'UTC' AS {column}"
    return f"CAST({column} AS {_NATIVE[type_]}) AS {column}"


def _as_json(column: Column) -> str:
    name = identifier(column.name)
    if column.type == "timestamp":
        value = _without_zone(name, column.native)
        return f"{_TEXT_TIMESTAMP.format(f'CAST({value} AS TIMESTAMP)')} AS {name}"
    if column.type == "float":
        return f"CASE WHEN isfinite({name}) THEN {name} END AS {name}"  # JSON has no NaN
    if column.type in ("int", "bool"):
        return name
    if column.native.endswith(("]", ")")) and column.type in ("list", "other"):
        return f"CAST(to_json({name}) AS VARCHAR) AS {name}"
    return f"CAST({name} AS VARCHAR) AS {name}"


def _unreachable(error: duckdb.Error, path: str) -> WarehouseError:
    message = str(error).split("\n", 1)[0].removeprefix("IO Error: ")
    if "lock on file" in message:
        holder = re.search(r"\(PID (\d+)\)", message)
        who = f"another process (pid {holder[1]})" if holder else "another process"
        hint = "one process at a time can open a DuckDB file: close the other (a notebook, the shell, another run)"
        return WarehouseError("CDP303", f"{path} is held by {who}", hint=hint)
    if not Path(path).resolve().parent.is_dir():
        return WarehouseError(
            "CDP302", f"the folder of {path} is not there", hint="make it, or mend `path` in profiles.yml"
        )
    return WarehouseError("CDP302", f"DuckDB cannot open {path}: {message}", hint="check `path` in profiles.yml")


def _refused(error: duckdb.Error) -> WarehouseError:
    """The engine's words without the text of the statement and without values out of people's rows."""
    message = str(error)
    cut = re.search(r"\n+LINE \d+:(?!.*\nLINE \d+:)", message, re.DOTALL)
    if cut:
        message = message[: cut.start()]
    if isinstance(error, _WITH_DATA) or type(error) is duckdb.Error:
        for quote in "'\"":
            message = re.sub(f"{quote}.*{quote}|{quote}.*\\Z", "(value)", message, flags=re.DOTALL)
        message = re.sub(r"with value \S+", "with value (value)", message).split("\n", 1)[0]
    hint = "give DuckDB more memory, or free some" if isinstance(error, duckdb.OutOfMemoryException) else None
    if isinstance(error, duckdb.InternalException | duckdb.FatalException):
        message = message.split("\n", 1)[0]  # a stack trace follows
    lines = [line for line in message.splitlines() if line.strip()][:3]
    return StatementError("CDP301", "; ".join(lines)[:600], hint=hint)


class DuckDBSettings(Settings):
    """type: duckdb. Paths are relative to the project folder. `threads`: those of DuckDB itself, all cores by default."""

    facts: ClassVar = DuckDB.facts
    type: Literal["duckdb"]
    path: str
    attach: dict[str, str] = {}
    memory_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)? ?([KMGT]i?)?B$")] | None = (
        None  # 4GB; 80 % of the machine
    )
    temp_directory: str | None = None  # where what does not fit in memory goes; <path>.tmp

    def connect(self, project_dir: Path) -> DuckDB:
        limits = self.model_dump(include={"memory_limit"}, exclude_none=True)
        if self.temp_directory is not None:
            limits["temp_directory"] = str(project_dir / self.temp_directory)
        if "threads" in self.model_fields_set:
            limits["threads"] = str(self.threads)
        schemas = (self.schema_, self.state_schema)
        return DuckDB(self.path, *schemas, attach=self.attach, limits=limits, project_dir=project_dir)


SETTINGS = DuckDBSettings
