"""What goes to a destination and what comes back: plain, frozen, one verdict per row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["add", "change", "remove"]
Operation = Literal["upsert", "add", "remove", "delete", "append"]
Status = Literal["accepted", "refused", "retry", "unknown"]


@dataclass(frozen=True)
class Change:
    """One row to be carried out at a destination.

    `match` holds the destination's identifiers, `fields` all mapped fields (destination's names, JSON values),
    `changed` the names of those that differ from what was sent last (all of them for an add).
    `kind` is what the diff found, `operation` what the destination is asked to do about it
    (`add`/`remove` are about a list, `upsert`/`delete` about a record).
    """

    row_key: str
    kind: Kind
    operation: Operation
    match: Mapping[str, Any]
    fields: Mapping[str, Any] = field(default_factory=dict)
    changed: frozenset[str] = frozenset()
    remote_id: str | None = None
    idempotency_key: str = ""


@dataclass(frozen=True)
class Batch:
    """Changes of one operation that travel in one request."""

    operation: Operation
    changes: tuple[Change, ...]
    number: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of one row. `refused` is final for this value, `retry` leaves the ledger as it is,
    `unknown` means it was sent and the answer was lost."""

    row_key: str
    status: Status
    code: str = ""
    message: str = ""
    remote_id: str | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class Rows:
    """The destination's verdict: exactly one outcome per change of the batch, in the batch's order."""

    outcomes: Sequence[Outcome]
    request_bytes: int = 0


@dataclass(frozen=True)
class Split:
    """The whole batch was refused without saying which row is to blame, or was too large: send it in halves.

    `reason` becomes the refusal of a batch of one.
    """

    code: str
    message: str
    too_large: bool = False
    request_bytes: int = 0


@dataclass(frozen=True)
class Again:
    """Nothing was applied, or it cannot be told (`unknown`): the same batch may go again after `after` seconds.

    `throttled` waits do not count as failed attempts.
    """

    code: str
    message: str
    after: float | None = None
    throttled: bool = False
    unknown: bool = False
    request_bytes: int = 0


@dataclass(frozen=True)
class Stop:
    """Nothing more of this sync can succeed now: login refused, account closed, endpoint gone."""

    code: str
    message: str
    request_bytes: int = 0


Answer = Rows | Split | Again | Stop
