"""Project ► Plan: Steps of SQL, made without a connection.

A step's script is a generator of statements which is told how many rows each one made; most scripts do not look.
That keeps everything data-dependent (the loop of connected components, limits that are checked only where something is
over) pure and testable, and lets `compile` print what `build` would run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from sqlglot import exp

Action = Literal["table", "view", "refill", "run", "probe"]


@dataclass(frozen=True)
class Statement:
    """One statement in the target's dialect.

    table: `sql` is a SELECT whose rows become `target`; the answer is their number.
    view:  `sql` is a SELECT that becomes the view `target`.
    refill: the rows of the SELECT `sql`, in the order of its columns, take the place of all rows of the master `target`.
    run:   `sql` changes rows (INSERT, UPDATE, DELETE) of `target`; the answer is their number.
    probe: `sql` is a SELECT of one number; the answer is that number.
    """

    name: str
    action: Action
    target: str
    sql: str
    tree: exp.Expr | None = field(default=None, compare=False, repr=False)  # canonical tree, for checks


Script = Generator[Statement | tuple[Statement, ...], int, None]  # a tuple: they may run side by side


@dataclass(frozen=True)
class Step:
    """A unit that succeeds or fails as a whole: its tables are made beside and swapped together at its end.

    `publishes` names final tables (`schema.name`); the script makes them as `schema.name__new`.
    `scratch` names tables to drop when the run ends. `after_swap` runs in the same transaction as the swap
    (ids, changes and stays are masters in the state schema: they must move with what they describe). Not every engine
    has transactions, so it must converge: begun again from any point of it, the next run ends where this one would.
    """

    id: str  # "identity:customer", "audience:lapsing"
    resource: str  # "entity:customer", "audience:lapsing": what --select names
    script: Callable[[], Script]
    publishes: tuple[str, ...] = ()
    views: tuple[Statement, ...] = ()
    scratch: tuple[str, ...] = ()
    after_swap: tuple[Statement, ...] = ()
    needs: tuple[str, ...] = ()  # ids of steps


@dataclass(frozen=True)
class Plan:
    """All steps in an order in which they can run, and what the syncs need to know."""

    steps: tuple[Step, ...]
    syncs: Mapping[str, SyncPlan]


@dataclass(frozen=True)
class SyncField:
    """A mapped field: the destination's `name`, our `column` (`f_…`) in the mapped table and in the ledger."""

    name: str
    column: str
    type: str  # text int decimal float bool date timestamp list json
    nulls: Literal["omit", "clear", "send"] = "omit"
    tolerance: Decimal | None = None
    ignored: bool = False  # diff: {ignore: […]}: travels along, never causes a change
    pii: bool = False


@dataclass(frozen=True)
class SyncMatch:
    """An identifier of the destination: its `name`, our text `column` (`m_…`). `many`: the text is a JSON list."""

    name: str
    column: str
    many: bool = False


@dataclass(frozen=True)
class SyncPlan:
    """What the sync engine needs to know of one sync; the rows stand in `table`, which `build` makes.

    `table` has one row per source row: `row_key` text (never NULL), the match columns, the field columns,
    `row_at` timestamp (append: when the row happened; else NULL) and `held` text: NULL where the row is live, else why
    it must not be at the destination although it is a member (`excluded`).
    Duplicates of `row_key` may occur: they are set aside as invalid, all of them. `changes` is the
    table of id changes of a resolved entity (columns of `<entity>_changes`), None where keys never merge.
    """

    name: str
    destination: str
    mode: Literal["mirror", "upsert", "append"]
    table: str
    match: tuple[SyncMatch, ...]
    fields: tuple[SyncField, ...]
    on_leave: Literal["remove", "clear", "delete", "ignore"] | None = None
    object: str | None = None
    list: str | None = None
    since_us: int | None = None  # append: microseconds
    changes: str | None = None
    after: tuple[str, ...] = ()
    prefer: tuple[tuple[str, bool], ...] = ()  # (column of `table`, descending)
    guard: Mapping[str, Any] = field(default_factory=dict)
    retry_give_up_us: int = 14 * 86_400_000_000
    freshness: tuple[str, ...] = ()  # source tables whose newest loaded_at guard max_age looks at
