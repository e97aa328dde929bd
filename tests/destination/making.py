"""Changes, batches and destinations for these tests, in a line each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import orjson

from cdp.destination import Answer, Batch, Change, Delivery, Destination, Rows, destination
from cdp.destination.connect import settle
from cdp.destination.http import HttpDestination, Settings
from cdp.destination.outcome import Kind, Operation
from cdp.destination.rate import Bucket

T = TypeVar("T")
NOW = "2026-01-10T12:00:00Z"
BATCHED = {"upsert": {"path": "/batch", "batch": {"items": 100}, "body": {"rows": "{{ rows }}"}}}


def run(awaitable: Awaitable[T]) -> T:
    """Run to the end in a loop of its own."""

    async def main() -> T:
        return await awaitable

    return asyncio.run(main())


def change(
    key: str = "k1",
    fields: Mapping[str, Any] | None = None,
    *,
    match: Mapping[str, Any] | None = None,
    operation: Operation = "upsert",
    kind: Kind = "add",
    changed: Sequence[str] | None = None,
    idempotency_key: str = "",
) -> Change:
    """A change of the row `key`, matched by its e-mail unless told otherwise."""
    fields = {"name": f"Name {key}"} if fields is None else fields
    return Change(
        key,
        kind,
        operation,
        {"email": f"{key}@example.com"} if match is None else match,
        fields,
        frozenset(fields if changed is None else changed),
        idempotency_key=idempotency_key,
    )


def batch(count: int = 3, operation: Operation = "upsert", **more: Any) -> Batch:
    """Rows k0, k1, … in one batch."""
    return Batch(operation, tuple(change(f"k{index}", operation=operation, **more) for index in range(count)))


def statuses(answer: Answer) -> list[str]:
    """The rows' verdicts in order; fails where the answer is about the whole."""
    assert isinstance(answer, Rows), answer
    return [outcome.status for outcome in answer.outcomes]


def webhook(url: str, **config: Any) -> dict[str, Any]:
    """A profile's entry for a webhook that takes upserts in batches of 100."""
    return {"type": "webhook", "url": url, "operations": BATCHED, **config}


def mocked(
    handler: Callable[[httpx.Request], httpx.Response], config: Mapping[str, Any], **more: Any
) -> HttpDestination:
    """The destination of an entry, with a function in the place of the network and a bucket of its own."""
    entry = settle("crm", config)
    settings = Settings(entry.values, entry.secrets, entry.share, entry.ca_file)
    more.setdefault("bucket", Bucket(sleep=_no_sleep))
    return HttpDestination("crm", entry.description, settings, transport=httpx.MockTransport(handler), **more)


async def _no_sleep(seconds: float) -> None:
    await asyncio.sleep(0)


async def sent(to: Destination, *batches: Batch, delivery: Delivery | None = None) -> list[Answer]:
    """Open, send one after the other, close."""
    await to.open(delivery or Delivery("crm_sync", "run1", NOW))
    try:
        return [await to.send(one) for one in batches]
    finally:
        await to.close(complete=True)


def send(to: Destination, *batches: Batch, delivery: Delivery | None = None) -> list[Answer]:
    """The same, and wait for it."""
    return run(sent(to, *batches, delivery=delivery))


def connected(config: Mapping[str, Any], project: Path = Path()) -> Destination:
    """The destination of an entry."""
    return destination("crm", config, project)


def answering(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Callable[..., httpx.Response]:
    """A handler that answers every request the same; a text goes out as it is."""
    content = body.encode() if isinstance(body, str) else b"" if body is None else orjson.dumps(body)
    return lambda request: httpx.Response(status, content=content, headers=headers)
