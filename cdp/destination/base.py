"""A destination: somewhere rows can be sent, with one verdict per row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from cdp.destination.outcome import Answer, Batch, Change, Operation, Outcome


@dataclass(frozen=True)
class Delivery:
    """What a sync asks of its destination: the facts of one run that every request may need."""

    sync: str
    run_id: str
    as_of: str  # ISO, UTC, with Z
    object: str | None = None
    list: str | None = None
    match_names: tuple[str, ...] = ()  # the mapping's identifiers and fields, all of them and in its order:
    field_names: tuple[str, ...] = ()  # the columns of a CSV stay the same from run to run


class Destination(ABC):
    """One configured connection. Opened once per run, used by many workers, closed at the end."""

    type: ClassVar[str]
    semantics: Literal["set", "append"] = "set"  # set: the same row twice is harmless
    honours_idempotency_keys: bool = False
    sends: Literal["changed", "all"] = "all"  # which fields of a changed row travel
    concurrency: int = 16  # requests in flight at the most
    adds_first: bool = False  # suppression lists: put on before anything is taken off

    name: str  # as the profile names it

    @property
    @abstractmethod
    def operations(self) -> frozenset[Operation]:
        """What it can do."""

    @abstractmethod
    def account(self) -> str:
        """A fingerprint of the account behind the login, without secrets: another one trips the guard `account`."""

    @abstractmethod
    def invalid(self, change: Change) -> str | None:
        """Why this row cannot be sent at all (a value the API does not take), or None."""

    @abstractmethod
    def batches(self, operation: Operation, changes: Iterable[Change]) -> Iterator[Batch]:
        """Cut a stream of changes of one operation into batches by items, bytes and uniqueness; lazy, in order."""

    @abstractmethod
    async def open(self, delivery: Delivery) -> None:
        """Get ready to send for this sync (connections, login, temporary files)."""

    @abstractmethod
    async def send(self, batch: Batch) -> Answer:
        """One request. Never raises for what a destination answers or for a broken connection: that is an Answer."""

    @abstractmethod
    async def close(self, *, complete: bool) -> None:
        """Release everything; `complete` is False when the sync was broken off."""


def accepted(change: Change, *, remote_id: str | None = None, request_id: str | None = None) -> Outcome:
    """The outcome of a row that is in."""
    return Outcome(change.row_key, "accepted", remote_id=remote_id, request_id=request_id)
