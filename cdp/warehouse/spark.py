"""Spark 4 and its kin through Spark Connect, with Delta tables. The driver (pyspark-client) is imported when a
connection is made.

Delta replaces one table in one go, and a statement takes effect as a whole; there is no transaction over several.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import quote, urlsplit
from uuid import uuid4

from pydantic import model_validator

from cdp.errors import StatementError, WarehouseError
from cdp.warehouse.base import About, Column, Warehouse
from cdp.warehouse.functions import FACTS
from cdp.warehouse.names import beside, parts
from cdp.warehouse.settings import Number, Settings, Truth
from cdp.warehouse.spark_changes import fitted
from cdp.warehouse.spark_errors import (
    Absent,
    is_absent,
    is_conflict,
    is_login,
    is_lost,
    is_session_gone,
    raised_by_driver,
    raised_when_cut,
    way_out,
    words,
)
from cdp.warehouse.spark_session import Address, Deadline, close, connect, deadline, driver
from cdp.warehouse.spark_values import ROWS, Ahead, cells, chunks, columns_of, json_line, plain, quoted_name

T = TypeVar("T")
_ATTEMPTS, _PAUSE = 5, 0.3  # of a statement that Delta undid; seconds before the second, doubled for each
_COUNTED = ("INSERT", "DELETE", "UPDATE", "MERGE")
_ODD = re.compile(r"[ ,;{}()\n\t=.]")  # what a column's name holds only where Delta maps names
_ABOUT = "SELECT version(), current_user(), CAST(current_timestamp() AS TIMESTAMP_NTZ)"


class Spark(Warehouse):
    """One session, made at the first statement and again after it was lost.

    `statement_timeout` is in seconds, None: the server's. Raises WarehouseError CDP302 (unreachable, refused login,
    lost), CDP304 (no driver).
    """

    facts: ClassVar = FACTS["spark"]
    fold_interval: ClassVar[float] = 60.0
    fold_batches: ClassVar[int] = 500
    transactions: ClassVar[bool] = False
    transactional_ddl: ClassVar[bool] = False
    called: ClassVar[str] = "Spark"

    def __init__(
        self,
        schema: str,
        state_schema: str,
        address: Address,
        *,
        statement_timeout: float | None = None,
        format_: str = "delta",
    ) -> None:
        self.schema = schema
        self.state_schema = state_schema
        self._address = address
        self._timeout = statement_timeout
        self._format = format_
        self._session: Any = None

    # the connection

    def _open(self) -> Any:
        if self._session is None:
            self._session = connect(self._address)
        return self._session

    def release(self) -> None:
        """A server lets everybody in; nothing to do."""

    def close(self) -> None:
        if self._session is not None:
            close(self._session)
            self._session = None

    def _leave(self) -> None:
        """Forget a session that does not answer, or that the server does not know."""
        if self._session is not None:
            self._session.release_session_on_close = False
            self.close()

    # statements

    def _run(self, work: Callable[[Any], T]) -> T:
        """What `work` makes of the session, as one statement.

        It is tried again where the server did not begin it, since it forgot the session, and where Delta undid it,
        since another writer was faster. After a broken connection the driver asks for the same operation again.
        """
        driver()
        self.statements += 1
        attempt = 1
        while True:
            session = self._open()
            limit = Deadline()
            try:
                with deadline(session, self._timeout, limit):
                    return work(session)
            except raised_when_cut() as error:
                if limit.passed:
                    raise self._too_late(limit) from None
                if attempt == _ATTEMPTS or not self._worth_another(error):
                    raise self._refused(error) from None
            time.sleep(_PAUSE * 2 ** (attempt - 1))
            attempt += 1

    def _worth_another(self, error: Exception) -> bool:
        if is_session_gone(error):
            self._leave()
            return True
        return is_conflict(error)

    def _refused(self, error: Exception) -> Exception:
        """What the driver raised, as an error of ours."""
        if not isinstance(error, raised_by_driver()):  # a ValueError of another kind: nothing that we expect
            return error
        if is_lost(error) or is_session_gone(error):
            self._leave()
            hint = "check `token`, and what the token may do" if is_login(error) else "run it again"
            return WarehouseError("CDP302", f"the connection to {self.called} was lost: {words(error)}", hint=hint)
        kind = Absent if is_absent(error) else StatementError
        return kind("CDP301", words(error), hint=way_out(error))

    def _too_late(self, limit: Deadline) -> StatementError:
        if limit.cut:
            self._leave()
        message = f"the statement took longer than {self._timeout:g} s and was given up"
        return StatementError("CDP301", message, hint="raise `statement_timeout` of the target, or give it more cores")

    def execute(self, sql: str) -> int:
        return self._sent(fitted(sql, self.columns, self._format))

    def _sent(self, sql: str) -> int:
        counted = sql.lstrip()[:6].upper().startswith(_COUNTED)
        command = counted or sql.lstrip()[:6].upper().startswith(("CREATE", "DROP", "ALTER", "USE", "GRANT", "SET"))

        def work(session: Any) -> list[Any]:
            frame = session.sql(sql)  # a command runs here, a query where its rows are asked for
            return list(frame.collect()) if counted or not command else []

        answer = self._run(work)
        told = answer[0][0] if counted and answer else 0
        return max(told, 0) if isinstance(told, int) else 0

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        return self._run(lambda session: [tuple(row) for row in plain(session.sql(sql)).collect()])

    def stream(self, sql: str, size: int = 10_000) -> Iterator[list[tuple[object, ...]]]:
        frame = self._run(lambda session: plain(session.sql(sql)))
        found = iter(frame.toLocalIterator())  # its batches come as they are asked for
        while batch := self._next(found, size):
            yield batch

    def _next(self, found: Iterator[Any], size: int) -> list[tuple[object, ...]]:
        try:
            return [tuple(row) for row in islice(found, size)]
        except raised_by_driver() as error:
            raise self._refused(error) from None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Groups statements, no more: each takes effect by itself."""
        yield

    # tables

    def make_table(self, table: str, select: str) -> int:
        odd = any(_ODD.search(name) for name in re.findall(r"`([^`]*)`", select))
        self._replace("TABLE", table, select, odd=odd)
        return self._count(table)

    def make_view(self, view: str, select: str) -> None:
        self._replace("VIEW", view, select)

    def _creation(self, kind: str, name: str, select: str, *, odd: bool = False) -> str:
        using = f" USING {self._format.upper()}" if kind == "TABLE" else ""
        mapping = " TBLPROPERTIES ('delta.columnMapping.mode' = 'name')" if odd and using else ""
        return f"CREATE OR REPLACE {kind} {_quoted(name)}{using}{mapping} AS {select}"

    def _replace(self, kind: str, name: str, select: str, *, odd: bool = False) -> None:
        """CREATE OR REPLACE; what has the name and is of the other kind goes first."""
        create = self._creation(kind, name, select, odd=odd)
        try:
            self._sent(create)
        except StatementError:
            other = self._listed(_schema(name)).get(parts(name)[-1].lower())
            if other is None or other == kind:
                raise
            self._sent(f"DROP {other} IF EXISTS {_quoted(name)}")
            self._sent(create)

    def _count(self, table: str) -> int:
        """From Delta's log, no scan: CREATE TABLE does not tell."""
        return int(str(self.rows(f"SELECT COUNT(*) FROM {_quoted(table)}")[0][0]))

    def refill(self, table: str, select: str) -> int:
        self._sent(f"INSERT OVERWRITE TABLE {_quoted(table)} {select}")
        return self._count(table)

    def swap(self, pairs: Mapping[str, str]) -> None:
        """Each final table is replaced in one go and keeps its history and grants; the finished ones are dropped when all
        of them stand in their places, so that it can be run again from any point."""
        for schema in dict.fromkeys(_schema(new) for new in pairs):
            there = self._listed(schema)
            missing = [new for new in pairs if _schema(new) == schema and parts(new)[-1].lower() not in there]
            if missing:
                raise StatementError("CDP301", f"there is no table {missing[0]}") from None
        for new, final in pairs.items():
            odd = any(_ODD.search(column.name) for column in self.columns(new) or ())
            self._replace("TABLE", final, f"SELECT * FROM {_quoted(new)}", odd=odd)
        self.drop(*pairs)

    def drop(self, *tables: str) -> None:
        listed = {schema: self._listed(schema) for schema in dict.fromkeys(map(_schema, tables))}
        for table in dict.fromkeys(tables):
            kind = listed[_schema(table)].get(parts(table)[-1].lower())
            if kind is not None:
                self._sent(f"DROP {kind} IF EXISTS {_quoted(table)}")

    def about(self) -> About:
        [(version, role, clock)] = self.rows(_ABOUT)
        return About(f"{self.called} {str(version).split(' ')[0]}", str(role), clock)  # type: ignore[arg-type]

    def grants(self, role: str, reads: Sequence[str]) -> tuple[str, ...]:
        """Spark by itself knows no rights: those of files and of its catalogue are given there."""
        return ()

    def ensure_schemas(self) -> None:
        for schema in (self.schema, self.state_schema):
            # asked for first: CREATE SCHEMA wants the right to create even where it would do nothing
            if not self.rows(f"SHOW SCHEMAS LIKE '{schema}'"):
                self._sent(f"CREATE SCHEMA IF NOT EXISTS {_quoted(schema)}")

    # the catalogue

    def _listed(self, schema: str) -> dict[str, str]:
        """TABLE or VIEW by name in lower case; empty where there is no such schema."""

        def names(session: Any, kind: str) -> list[str]:
            rows = (row.asDict() for row in session.sql(f"SHOW {kind}S IN {_quoted(schema)}").collect())
            key = f"{kind.lower()}Name"
            return [str(row.get(key) or row["tableName"]).lower() for row in rows if not row["isTemporary"]]

        try:
            found = dict.fromkeys(self._run(lambda session: names(session, "TABLE")), "TABLE")
            views = self._run(lambda session: names(session, "VIEW")) if found else []
        except Absent:
            return {}
        return found | dict.fromkeys(views, "VIEW")

    def tables(self, schema: str) -> tuple[str, ...]:
        return tuple(sorted(self._listed(schema)))

    def columns(self, table: str) -> tuple[Column, ...] | None:
        if len(parts(table)) > 3:
            return None
        try:
            return self._run(lambda session: columns_of(session.table(_quoted(table)).schema))
        except Absent:
            return None

    def describe(self, select: str) -> tuple[Column, ...]:
        return self._run(lambda session: columns_of(session.sql(select).schema))

    # files

    def load_json_lines(self, table: str, path: Path, columns: Mapping[str, str]) -> int:
        """In chunks of bounded size; where there is more than one, they are gathered beside the table."""
        odd = any(_ODD.search(name) for name in columns)
        select = f"SELECT {cells(columns)} FROM {ROWS}"
        new, count = beside(table), 0
        try:
            ahead = Ahead(chunks(path, columns))
            for number, (rows, document) in enumerate(ahead):
                into = table if number == 0 and ahead.ended else new
                self._load(select, document, into, first=number == 0, odd=odd)
                count += rows
            if ahead.number > 1:
                self.swap({new: table})
        except StatementError as error:
            if count > 0:
                self.drop(new)
            at_line = error.code == "CDP306"
            message = error.message if at_line else f"{path.name} cannot be loaded: {error.message}"
            raise StatementError("CDP306", message, hint=error.hint) from None
        if (found := self._count(table)) != count:
            raise StatementError("CDP306", f"of {count} rows of {path.name}, {found} came into {table}")
        return count

    def _load(self, select: str, document: str, into: str, *, first: bool, odd: bool) -> None:
        """By way of a view: a command takes no parameters everywhere."""
        view = f"cdp_rows_{uuid4().hex[:12]}"
        every = f"SELECT * FROM {view}"
        statement = self._creation("TABLE", into, every, odd=odd) if first else f"INSERT INTO {_quoted(into)} {every}"

        def work(session: Any) -> None:
            session.sql(select, args={"document": document}).createOrReplaceTempView(view)
            session.sql(statement)
            session.catalog.dropTempView(view)

        self._run(work)

    def unload_json_lines(self, select: str, path: Path) -> int:
        names = [column.name for column in self.describe(select)]
        count = 0
        with path.open("wb") as out:
            for batch in self.stream(select):
                out.writelines(json_line(names, row) for row in batch)
                count += len(batch)
        return count


def _quoted(table: str) -> str:
    return ".".join(map(quoted_name, parts(table)))


def _schema(table: str) -> str:
    """The table's schema, with its catalogue where that is named."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts(table)[:-1])


class SparkSettings(Settings):
    """type: spark. Either `remote` (sc://host:port/;key=value) or `host` with what goes with it."""

    facts: ClassVar = Spark.facts
    type: Literal["spark"]
    remote: str | None = None
    host: str | None = None
    port: Number = 15002
    token: str | None = None
    use_ssl: Truth = False
    user_id: str | None = None
    catalog: str | None = None
    format: Literal["delta"] = "delta"
    config: dict[str, str] = {}  # settings of the session besides ours
    statement_timeout: Number | None = None  # seconds
    connect_timeout: Number = 15  # seconds

    @model_validator(mode="after")
    def _somewhere(self) -> SparkSettings:
        if (self.remote is None) == (self.host is None):
            raise ValueError("needs `remote` (sc://host:port), or `host` with port, token, use_ssl and user_id")
        if self.remote is not None:
            url = urlsplit(f"http{self.remote[2:]}" if self.remote.startswith("sc://") else "")
            if not url.hostname or any("=" not in pair for pair in _pairs(self.remote)):
                raise ValueError("`remote` reads sc://host:port, then perhaps /;key=value;key=value")
            if any(pair.startswith("token=") for pair in _pairs(self.remote)):
                raise ValueError("`remote` holds a token: say it as `token`, where it is kept out of every message")
        return self

    def connect(self, project_dir: Path) -> Spark:
        given = {"use_ssl": str(self.use_ssl).lower() if self.use_ssl else None, "user_id": self.user_id}
        given |= {"token": self.token}
        url = self.remote or f"sc://{self.host}:{self.port}/"
        pairs = [*_pairs(url), *(f"{key}={quote(value, safe='')}" for key, value in given.items() if value)]
        base = url.partition("/;")[0].rstrip("/")
        where = urlsplit(f"http{base[2:]}")
        address = Address(
            f"{base}/{''.join(f';{pair}' for pair in pairs)}",
            str(where.hostname),
            where.port or self.port,
            catalog=self.catalog,
            config=self.config,
            timeout=self.connect_timeout,
            keeps_session=any(pair.startswith("session_id=") for pair in pairs),
        )
        timeout = self.statement_timeout
        return Spark(self.schema_, self.state_schema, address, statement_timeout=timeout, format_=self.format)


def _pairs(remote: str) -> list[str]:
    return [pair for pair in remote.partition("/;")[2].split(";") if pair]


SETTINGS = SparkSettings
