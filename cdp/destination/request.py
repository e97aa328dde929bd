"""One operation of a description, compiled: from a batch to the request that carries it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from cdp.destination.description import Endpoint
from cdp.destination.outcome import Batch, Change, Operation
from cdp.destination.template import (
    ROW_NAMES,
    Fill,
    Scope,
    Unfit,
    header_part,
    holes,
    names,
    path_part,
    query_part,
    structure,
    text_of,
)

DEFAULT_ROW = {
    "op": "{{ kind }}",
    "key": "{{ row_key }}",
    "match": "{{ match }}",
    "fields": "{{ fields }}",
}
_CONTENT_TYPES = {"json": "application/json", "ndjson": "application/x-ndjson"}
LONGEST_TARGET = 8_000  # bytes of path and query: what common servers take
_BODILESS = ("GET", "DELETE")


@dataclass(frozen=True)
class Request:
    """What goes over the wire; `target` is path and query, percent-encoded."""

    method: str
    target: str
    headers: Mapping[str, str]
    content: bytes | None


class Call:
    """An endpoint ready to make requests."""

    def __init__(self, endpoint: Endpoint, scope: Scope) -> None:
        self.endpoint = endpoint
        self.addressed = any(name in ROW_NAMES for name in names([endpoint.path, endpoint.query]))
        self._path = text_of(endpoint.path, scope, path_part)
        self._query = [(name, text_of(str_of(value), scope, query_part)) for name, value in endpoint.query.items()]
        self._headers = [(name, text_of(value, scope, header_part)) for name, value in endpoint.headers.items()]
        self._row = structure(DEFAULT_ROW if endpoint.row is None else endpoint.row, scope)
        self._body = self._body_of(endpoint, scope)
        self._per_row = self.addressed or any(name in ROW_NAMES for name in names(endpoint.headers))
        self._picks_ids = any(hole.startswith(("match.", "match[")) for hole in holes([endpoint.row, endpoint.body]))
        self._limited = endpoint.batch.bytes is not None or endpoint.batch.item_bytes is not None

    @staticmethod
    def _body_of(endpoint: Endpoint, scope: Scope) -> Fill | None:
        if endpoint.body is not None:
            return structure(endpoint.body, scope)
        if endpoint.method in _BODILESS:
            return None
        single = endpoint.batch.items == 1 and endpoint.encoding == "json"
        return structure("{{ row }}" if single else "{{ rows }}", scope)

    def request(self, batch: Batch) -> Request:
        """The request of a batch. Raises Unfit where a row cannot be put in (asked before by `unfit`)."""
        first = batch.changes[0]
        headers = {name: value(first, ()) for name, value in self._headers}
        key = self.endpoint.idempotency_key
        if key is not None and key.header is not None:
            headers[key.header] = idempotency_key(batch)
        content = None
        if self._body is not None:
            headers.setdefault("Content-Type", _CONTENT_TYPES[self.endpoint.encoding])
            content = self._content([self._row(change, ()) for change in batch.changes], first)
        return Request(self.endpoint.method, self._target(first), headers, content)

    def _target(self, first: Change) -> str:
        query = "&".join(f"{query_part(name)}={value(first, ())}" for name, value in self._query)
        return f"{self._path(first, ())}{f'?{query}' if query else ''}"

    def _content(self, rows: list[Any], first: Change) -> bytes:
        assert self._body is not None
        try:
            if self.endpoint.encoding == "ndjson":
                return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
            return orjson.dumps(self._body(first, rows))
        except TypeError as error:  # orjson's JSONEncodeError: an odd type, a lone surrogate, 65 bits
            raise Unfit(f"JSON cannot carry a value of the row: {error}") from None

    def unfit(self, change: Change) -> str | None:
        """Why this row cannot be put in a request, or None."""
        limits = self.endpoint.batch
        try:
            if self._per_row:
                if len(self._target(change)) > LONGEST_TARGET:
                    return f"the row's address is longer than {LONGEST_TARGET:,} bytes"
                for _, header in self._headers:
                    header(change, ())
            if not self._limited:
                if self._picks_ids:
                    self._row(change, ())  # a match id that it needs may be missing
                return None
            size = self._size(change)
            if limits.item_bytes is not None and size > limits.item_bytes:
                return f"the row takes {size:,} bytes; at most {limits.item_bytes:,} are taken"
            if limits.bytes is not None and size + self._envelope(change) > limits.bytes:
                return f"the row alone takes {size:,} bytes; a request may have {limits.bytes:,}"
        except Unfit as error:
            return str(error)
        return None

    def _size(self, change: Change) -> int:
        try:
            return len(orjson.dumps(self._row(change, ())))
        except TypeError as error:
            raise Unfit(f"JSON cannot carry a value of the row: {error}") from None

    def _envelope(self, change: Change) -> int:
        """Bytes of a request around its rows."""
        if self._body is None or self.endpoint.encoding == "ndjson":
            return 0
        if self.endpoint.batch.items == 1:
            return 0  # the body is made from the row itself, and measured as the row
        return len(self._content([], change))

    def batches(self, operation: Operation, changes: Iterable[Change]) -> Iterator[Batch]:
        """Cut by items, bytes and `unique_by`, lazily and in order."""
        limits = self.endpoint.batch
        budget = limits.bytes
        held: list[Change] = []
        seen: set[Any] = set()
        used = number = 0  # bytes so far, with what stands around the rows
        for change in changes:
            size = self._measured(change) + 1 if budget is not None else 0
            unique = change.match.get(limits.unique_by) if limits.unique_by is not None else None
            full = len(held) >= limits.items or (budget is not None and used + size > budget)
            if held and (full or (unique is not None and unique in seen)):
                yield Batch(operation, tuple(held), number)
                held, seen, used, number = [], set(), 0, number + 1
            if not held and budget is not None:
                used = self._envelope(change)
            held.append(change)
            used += size
            if unique is not None:
                seen.add(unique)
        if held:
            yield Batch(operation, tuple(held), number)

    def _measured(self, change: Change) -> int:
        try:
            return self._size(change)
        except Unfit:
            return 0  # it is refused by itself when its batch is made


def str_of(value: str | int | bool) -> str:
    """A constant of the query as text: `true` and not `True`."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def idempotency_key(batch: Batch) -> str:
    """One row's own key, or a digest of all: a batch that is sent again as it was carries the same key."""
    if len(batch.changes) == 1:
        key = batch.changes[0].idempotency_key
        if key.isascii() and key.isprintable() and 0 < len(key) <= 255:
            return key
    digest = hashlib.sha256()
    for change in batch.changes:
        digest.update(f"{change.idempotency_key}\0{change.row_key}\0{change.operation}\n".encode("utf-8", "replace"))
    return digest.hexdigest()


def row_value(scope: Scope) -> Callable[[str, Change], Any]:
    """Reads a rule's `row:` template (by which an answer calls a row) from a change."""
    compiled: dict[str, Fill] = {}

    def value(template: str, change: Change) -> Any:
        if template not in compiled:
            compiled[template] = structure(template, scope)
        try:
            return compiled[template](change, ())
        except Unfit:
            return None

    return value
