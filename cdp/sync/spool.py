"""The stage as a local file: rows to send, one JSON object a line, read back as Changes.

Sending from a file lets the warehouse go: a DuckDB file is open to others meanwhile, a cloud warehouse sleeps.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, cast

import orjson

from cdp.compile.plan import SyncField
from cdp.compile.render import column
from cdp.destination.base import Destination
from cdp.destination.outcome import Change, Kind, Operation
from cdp.sync.expression import text_of
from cdp.sync.names import Names
from cdp.sync.state import State

_WHOLE = 2**63


@dataclass(frozen=True)
class Staged(Change):
    """A change and its place in the stage: number `n`, `part` (record or list), earlier refusals (`tries`), and whether
    it is the operation by which its row is counted."""

    n: int = 0
    part: str = "record"
    tries: int = 0
    counts: bool = True


class NotSendable(ValueError):
    """A value that JSON cannot say."""


def unload(
    state: State, names: Names, stage: str, fields: Sequence[SyncField], path: Path, sample: int | None = None
) -> int:
    """Write the stage to `path` in the order of sending; the number of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    trees = [{"column": f.column, "tree": _as_text(f)} for f in fields]
    return state.warehouse.unload_json_lines(state.sql("spool", stage=stage, fields=trees, sample=sample), path)


def _as_text(field: SyncField) -> Any:
    value = column(field.column, "t")
    return text_of(value, field.type) if field.type in ("decimal", "float", "date", "timestamp") else value


class Reader:
    """Turns lines of the spool into Changes."""

    def __init__(self, path: Path, sync: str, fields: Sequence[SyncField]) -> None:
        self.path = path
        self._seed = hashlib.blake2b(sync.encode(), digest_size=16)
        self._names = [field.name for field in fields]
        self._fields = [(f.name, f.column, _DECODE.get(f.type), f.nulls == "omit") for f in fields]
        self._changed: dict[str, frozenset[str]] = {}

    def changes(self, start: int = 0, count: int | None = None) -> Iterator[Staged]:
        """The changes of `count` lines from line `start` on, lazily."""
        with self.path.open("rb") as lines:
            stop = None if count is None else start + count
            for line in itertools.islice(lines, start, stop):
                yield self.change(orjson.loads(line))

    def change(self, row: Mapping[str, Any]) -> Staged:
        """One line as a Change; raises NotSendable for a value that JSON cannot say."""
        part, kind, operation, key = row["part"], row["kind"], row["operation"], row["row_key"]
        fields: dict[str, Any] = {}
        changed: frozenset[str] = frozenset()
        if part == "record" and kind == "remove":
            if operation == "upsert":  # on_leave: clear
                fields = dict.fromkeys(self._names)
                changed = frozenset(self._names)
        elif part == "record":
            fields, changed = self._values(row)
        match = row["match_ids"]
        return Staged(
            row_key=key,
            kind=cast("Kind", kind),
            operation=cast("Operation", operation),
            match=orjson.loads(match) if match else {},
            fields=fields,
            changed=changed,
            remote_id=row["remote_id"],
            idempotency_key=self._key(key, operation, kind, row["version"]),
            n=row["n"],
            part=part,
            tries=row["tries"],
            counts=row["counts"],
        )

    def _values(self, row: Mapping[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
        fields: dict[str, Any] = {}
        omitted = False
        for name, column_, decode, omit in self._fields:
            value = row[column_]
            if value is None:
                if omit:
                    omitted = True
                else:
                    fields[name] = None
            else:
                fields[name] = decode(value) if decode else value
        bits = row["changed"]
        changed = self._changed.get(bits)
        if changed is None:
            changed = frozenset(itertools.compress(self._names, (bit == "1" for bit in bits)))
            self._changed[bits] = changed
        return fields, changed & fields.keys() if omitted else changed

    def _key(self, row_key: str, operation: str, kind: str, version: int) -> str:
        """The same for the same value of the same row, whichever run sends it."""
        key = self._seed.copy()
        key.update(f"\0{row_key}\0{operation}\0{kind}\0{version}".encode())
        return key.hexdigest()


def decimal_value(text: str) -> int | float | str:
    """An exact JSON number where there is one, else the text: 12.5 is a number, 0.1234567890123456789 is not."""
    if "." not in text:
        whole = int(text)
        return whole if -_WHOLE <= whole < _WHOLE else text
    number = float(text)
    return number if repr(number) == text else text


def _float(text: str | float) -> float:
    number = float(text)
    if not isfinite(number):
        raise NotSendable(f"{text} is no JSON number")
    return number


def _timestamp(text: str) -> str:
    return text.replace(".000000Z", "Z")


def _structure(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


_DECODE: dict[str, Callable[[Any], Any]] = {
    "decimal": decimal_value,
    "float": _float,
    "timestamp": _timestamp,
    "list": _structure,
    "json": _structure,
}


@dataclass(frozen=True)
class Unsendable:
    """A staged row that the destination could not take: number, key and why."""

    n: int
    row_key: str
    message: str


class Checked:
    """The spool after a first reading: what cannot be sent is known, and what fits in memory is not decoded twice."""

    def __init__(
        self, reader: Reader, destination: Destination, groups: Sequence[tuple[str, str, int]], keep: int = 100_000
    ):
        self.reader = reader
        self.invalid: list[Unsendable] = []
        self._skip: set[int] = set()
        total = sum(count for _, _, count in groups)
        self._kept: list[list[Staged]] | None = [] if total <= keep else None
        self._read(destination, groups)

    def _read(self, destination: Destination, groups: Sequence[tuple[str, str, int]]) -> None:
        bad_records: set[str] = set()
        with self.reader.path.open("rb") as lines:
            for _, _, count in groups:
                good: list[Staged] = []
                for line in itertools.islice(lines, count):
                    change = self._checked(orjson.loads(line), destination, bad_records)
                    if change is not None and self._kept is not None:
                        good.append(change)
                if self._kept is not None:
                    self._kept.append(good)

    def _checked(self, row: Mapping[str, Any], destination: Destination, bad: set[str]) -> Staged | None:
        change: Staged | None = None
        try:
            change = self.reader.change(row)
            reason = destination.invalid(change)
        except NotSendable as error:
            reason = str(error)
        key = row["row_key"]
        if row["part"] == "list" and row["kind"] != "remove" and key in bad:
            reason = "its record cannot be sent"
        if reason is None:
            return change
        if row["part"] == "record":
            bad.add(key)
        self.invalid.append(Unsendable(row["n"], key, reason))
        self._skip.add(row["n"])
        return None

    @property
    def invalid_rows(self) -> int:
        """Rows, not operations."""
        return len({one.row_key for one in self.invalid})

    def group(self, index: int, start: int, count: int) -> Iterator[Staged]:
        """The sendable changes of one group, in order; `start` is the line at which it begins."""
        if self._kept is not None:
            return iter(self._kept[index])
        return self._sendable(start, count)

    def _sendable(self, start: int, count: int) -> Iterator[Staged]:
        with self.reader.path.open("rb") as lines:
            for line in itertools.islice(lines, start, start + count):
                row = orjson.loads(line)
                if row["n"] not in self._skip:
                    yield self.reader.change(row)
