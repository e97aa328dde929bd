"""A warehouse: a connection and its quirks. What the compiler may know are facts; what differs is asked by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from cdp.warehouse.facts import Facts


@dataclass(frozen=True)
class Column:
    """A column as the catalogue has it: exact spelling; type in the language's words (`text int decimal float bool
    date timestamp list json`, or `other`), `native` as the engine calls it."""

    name: str
    type: str
    native: str


@dataclass(frozen=True)
class About:
    """Who answers: the engine and its version, the user or role that it knows us by, its clock (naive, UTC)."""

    version: str
    role: str
    clock: datetime


class Warehouse(ABC):
    """One open connection.

    Table names given here are `schema.table` of our own plain lower-case names, or a user's spelling, dot-separated.
    Raises WarehouseError where the engine cannot be reached, StatementError (CDP301) where it refuses a statement.
    """

    facts: ClassVar[Facts]
    fold_interval: ClassVar[float] = 5.0  # seconds between two folds of a sync's journal
    fold_batches: ClassVar[int] = 50
    side_by_side: ClassVar[bool] = True  # several connections of one process can work at once
    transactions: ClassVar[bool] = True  # several statements that change rows can take effect together
    transactional_ddl: ClassVar[bool] = True  # and so can those that make, rename and drop tables

    schema: str
    state_schema: str
    patience: float = 2.0  # seconds to wait for what another process holds (a DuckDB file)
    statements: int = 0  # sent so far
    bytes: int | None = None  # scanned by them, where the engine tells

    @abstractmethod
    def execute(self, sql: str) -> int:
        """Run one statement; the number of rows that it made or changed (0 where the engine does not tell)."""

    @abstractmethod
    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """All rows of a small result."""

    @abstractmethod
    def stream(self, sql: str, size: int = 10_000) -> Iterator[list[tuple[object, ...]]]:
        """The rows of a result of any size, in batches; a statement of its own must not run meanwhile."""

    @abstractmethod
    def make_table(self, table: str, select: str) -> int:
        """Make or replace `table` with the rows of `select`; the number of rows."""

    @abstractmethod
    def make_view(self, view: str, select: str) -> None:
        """Make or replace a view, whatever its columns were before."""

    @abstractmethod
    def swap(self, pairs: Mapping[str, str]) -> None:
        """Give finished tables (keys, `schema.table`) their final names (values), all or none of them; one by one, each
        in one go, where DDL is not transactional: to be run again after it died half-way."""

    def refill(self, table: str, select: str) -> int:
        """The rows of `select`, whose columns are those of `table` in their order, take the place of all its rows: in one
        go, or not at all. The number of rows."""
        with self.transaction():
            self.execute(f"DELETE FROM {table} WHERE TRUE")
            return self.execute(f"INSERT INTO {table} {select}")

    @abstractmethod
    def drop(self, *tables: str) -> None:
        """Drop tables that may not be there."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """All statements inside take effect together, or none: those that change rows where the engine has
        `transactions`, those that make and drop tables where it has `transactional_ddl`; others at once."""

    @abstractmethod
    def columns(self, table: str) -> tuple[Column, ...] | None:
        """The columns of a table or view in their order; None where there is none (looks without regard to case)."""

    @abstractmethod
    def tables(self, schema: str) -> tuple[str, ...]:
        """Names of tables and views in a schema, sorted; empty where there is no such schema."""

    @abstractmethod
    def describe(self, select: str) -> tuple[Column, ...]:
        """The columns that a SELECT would return, without running it."""

    @abstractmethod
    def about(self) -> About:
        """Who answers; a statement of its own."""

    @abstractmethod
    def grants(self, role: str, reads: Sequence[str]) -> tuple[str, ...]:
        """The statements that give `role` no more than a run needs: read the tables `reads`, write both schemas. Needs
        no connection; empty where the engine knows no roles."""

    def estimate(self, sql: str) -> int | None:
        """The bytes that a statement would scan; None where the engine cannot tell without running it."""
        return None

    @abstractmethod
    def ensure_schemas(self) -> None:
        """Make `schema` and `state_schema` where they are missing."""

    @abstractmethod
    def load_json_lines(self, table: str, path: Path, columns: Mapping[str, str]) -> int:
        """Make or replace `table` from a file of JSON objects, one a line; `columns` maps names to our types.
        A last line that is cut off is an error here: the caller trims it."""

    @abstractmethod
    def unload_json_lines(self, select: str, path: Path) -> int:
        """Write the rows of `select` as JSON objects, one a line: decimals as text, timestamps ISO with Z. How many."""

    def interrupt(self) -> None:
        """Asked by another thread than the one whose statement runs: stop it. Where the driver cannot, it ends by
        itself."""
        return

    @abstractmethod
    def release(self) -> None:
        """Let other processes in until the next call here (DuckDB closes its file); a no-op on servers."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection for good."""
