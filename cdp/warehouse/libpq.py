"""What every server does that is reached through psycopg 3: the connection, its errors, statements, transactions.

psycopg is imported when a connection is made.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

from cdp.errors import StatementError, WarehouseError
from cdp.warehouse.base import Warehouse
from cdp.warehouse.postgres_errors import way_out, words
from cdp.warehouse.settings import Number, Settings

if TYPE_CHECKING:
    import psycopg


class Libpq(Warehouse):
    """One connection, made at the first call and again after it was lost (never in the middle of a transaction).

    Either `dsn` (text or URL of libpq) or `host port user password database` and what else libpq knows in `options`.
    `statement_timeout` is in seconds, None: the server's. Raises WarehouseError CDP302 (unreachable, refused login),
    CDP304 (no driver).
    """

    product: ClassVar[str]
    extra: ClassVar[str]  # of ours, that brings the driver
    values_in: ClassVar[tuple[str, ...]] = ("22", "23", "P0", "")  # classes of SQLSTATE whose messages quote values

    def __init__(
        self,
        schema: str = "cdp",
        state_schema: str = "cdp_state",
        *,
        dsn: str | None = None,
        host: str | None = None,
        port: int | None = None,
        user: str | None = None,
        password: str | None = None,
        database: str | None = None,
        statement_timeout: float | None = None,
        connect_timeout: int = 15,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.schema = schema
        self.state_schema = state_schema
        self._dsn = dsn or ""
        given = {"host": host, "port": port, "user": user, "password": password, "dbname": database}
        self._parameters: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        # a peer that went away without a word is noticed within two minutes, not within two hours
        self._parameters |= {} if "keepalives" in self._dsn else _KEEPALIVE
        self._parameters |= {"connect_timeout": connect_timeout, "application_name": "cdp", **(options or {})}
        self._timeout = statement_timeout
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._depth = 0

    # the connection

    def _open(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None or (self._connection.closed and self._depth == 0):
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        driver = self._driver()
        try:
            # no prepared statements: they break behind a pooler that shares connections by transaction
            connection: psycopg.Connection[tuple[Any, ...]] = driver.connect(
                self._dsn, autocommit=True, prepare_threshold=None, **self._parameters
            )
        except driver.OperationalError as error:
            raise self._unreachable(str(error)) from None
        except driver.Error:  # its message would repeat the dsn, password and all
            raise WarehouseError(
                "CDP302", f"the {self.product} connection settings cannot be read", hint=_DSN
            ) from None
        _plain_values(connection)
        try:
            self._prepare(connection)
        except driver.Error as error:
            raise WarehouseError("CDP302", f"{self.product} refused the session: {words(error)}") from None
        return connection

    @abstractmethod
    def _prepare(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        """Set up a new session: UTC, time-outs."""

    def _unreachable(self, message: str) -> WarehouseError:
        password = self._parameters.get("password")
        text = next((line for line in message.splitlines() if line.strip()), "no answer").strip()
        if password:
            text = text.replace(str(password), "***")
        refused = "authentication" in text or "role" in text
        hint = "check user and password" if refused else "is the server running, and are host and port right?"
        return WarehouseError("CDP302", f"{self.product} cannot be reached: {text}", hint=hint)

    def interrupt(self) -> None:
        """Ask the server to cancel the statement that runs; whoever waits for it gets a StatementError."""
        connection = self._connection
        if connection is not None and not connection.closed:
            with suppress(self._driver().Error):  # then it ends by itself
                connection.cancel_safe(timeout=10)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # statements

    @contextmanager
    def _asking(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """The connection; what the driver raises inside becomes an error of ours."""
        connection = self._open()
        self.statements += 1
        psycopg = self._driver()
        try:
            yield connection
        except psycopg.Error as error:
            if connection.closed:
                raise WarehouseError(
                    "CDP302", f"the connection to {self.product} was lost: {words(error)}", hint="run it again"
                ) from None
            raise StatementError("CDP301", words(error, self.values_in), hint=self._way_out(error)) from None

    def _way_out(self, error: Any) -> str | None:
        """What to do about a statement that was refused, where that is known."""
        return way_out(error)

    def execute(self, sql: str) -> int:
        with self._asking() as connection:
            cursor = connection.execute(sql)  # psycopg wants literals; ours are parsed trees
            return max(cursor.rowcount, 0) if cursor.description is None else 0

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with self._asking() as connection:
            return list(connection.execute(sql).fetchall())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or none; inside another transaction it joins that one."""
        if self._depth == 0:
            self.execute("BEGIN")
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
        connection = self._connection
        if done:
            self.execute("COMMIT")
        elif connection is not None and not connection.closed:
            try:
                connection.execute("ROLLBACK")
            except self._driver().Error:
                self.close()  # a transaction that cannot be rolled back ends with its connection

    def _ask(self, sql: str, values: Sequence[object] | Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        """The rows of a statement of our own, its values bound."""
        with self._asking() as connection:
            return connection.execute(sql, values).fetchall()

    def _driver(self) -> Any:
        try:
            import psycopg
        except ImportError:
            hint = f"pip install 'composable-cdp[{self.extra}]'"
            raise WarehouseError("CDP304", f"the driver for {self.product} is not installed", hint=hint) from None
        return psycopg


_DSN = "`dsn` reads host=… port=… user=… password=… dbname=…, or postgresql://user:password@host:port/database"
_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 60, "keepalives_interval": 15, "keepalives_count": 4}
_KEEPALIVE |= {"tcp_user_timeout": 120_000}


def _plain_values(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Values as the other engines give them: JSON as text, TIMESTAMPTZ as naive UTC."""
    from psycopg.types.datetime import TimestamptzLoader
    from psycopg.types.string import TextLoader

    class NaiveUtc(TimestamptzLoader):
        def load(self, data: Any) -> Any:
            return super().load(data).replace(tzinfo=None)  # the session's time zone is UTC

    connection.adapters.register_loader("json", TextLoader)
    connection.adapters.register_loader("jsonb", TextLoader)
    connection.adapters.register_loader("timestamptz", NaiveUtc)


class LibpqSettings(Settings):
    """Either `dsn` or the parts of it."""

    dsn: str | None = None
    host: str | None = None
    port: Number | None = None
    user: str | None = None
    password: str | None = None
    database: str | None = None
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = None
    sslrootcert: str | None = None
    statement_timeout: Number | None = None  # seconds
    connect_timeout: Number = 15  # seconds

    @model_validator(mode="after")
    def _somewhere(self) -> LibpqSettings:
        if self.dsn is None and self.host is None:
            raise ValueError("needs `dsn`, or `host` with user, password and database")
        return self

    def given(self) -> dict[str, Any]:
        """What the warehouse's constructor takes by name."""
        apart = {"type", "schema_", "state_schema", "threads", "sslmode", "sslrootcert"}
        return {
            **self.model_dump(exclude=apart),
            "options": self.model_dump(include={"sslmode", "sslrootcert"}, exclude_none=True),
        }
