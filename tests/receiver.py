"""A small HTTP receiver on the loopback that keeps what it is sent, and misbehaves on order.

    with Receiver() as receiver:
        receiver.script(Reply(429, headers={"Retry-After": "1"}), Reply(drop="after"))  # the next two requests
        receiver.verdict = lambda row: None if row["fields"]["ltv"] < 9 else "too rich"  # 207 with errors by index
        … send to receiver.url …
        receiver.rows["k1"], receiver.lists["l1"], receiver.requests[0].body

One thread with its own event loop. Where speed is measured, run it as a process of its own
(`python -m tests.receiver [latency in seconds]`), or client and receiver fight for the interpreter.
A request that is not scripted is applied and answered 200 (207 where `verdict` refuses rows).
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson


@dataclass
class Received:
    """One request as it arrived; `path` decoded, `target` as it stood on the wire, header names in lower case."""

    method: str
    target: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """The body read as JSON; JSON lines as a list."""
        if "ndjson" in self.headers.get("content-type", ""):
            return [orjson.loads(line) for line in self.content.splitlines()]
        return orjson.loads(self.content) if self.content else None


@dataclass
class Reply:
    """How one request is answered. `apply` says whether its rows go into the state."""

    status: int = 200
    body: Any = None  # a text goes out as it is, anything else as JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: Literal["before", "after"] | None = None  # cut the connection before or after the rows were applied
    truncate: int | None = None  # so many bytes of the body, then cut the connection
    apply: bool | None = None  # None: only with a 2xx


Answerer = Callable[[Received], Reply | None]


class Receiver:
    """State: `rows` (key to row as sent last) and `lists` (list to keys); `requests` in the order of arrival."""

    def __init__(self, *, latency: float = 0.0, keep_requests: bool = True) -> None:
        self.latency = latency
        self.keep_requests = keep_requests
        self.held = False  # requests arrive and wait
        self.requests: list[Received] = []
        self.request_count = 0
        self.row_count = 0
        self.rows: dict[str, Any] = {}
        self.applied: list[tuple[str, str]] = []  # (operation, key) in order
        self.lists: dict[str, set[str]] = {}
        self.in_flight = 0
        self.most_in_flight = 0
        self.seen_idempotency_keys: set[str] = set()
        self.honours_idempotency_keys = False
        self.verdict: Callable[[Any], str | None] | None = None  # why a row is refused, or None
        self.answer: Answerer | None = None  # decides each request that is not scripted; None: the usual answer
        self._script: deque[Reply | None] = deque()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)
        self._started = threading.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def script(self, *replies: Reply | None) -> None:
        """Answers for the next requests, one each; None stands for the usual answer."""
        self._script.extend(replies)

    def start(self) -> Receiver:
        """Listen on a free port."""
        # Two event loops in one process hand the GIL to and fro: with the usual 5 ms that takes 5 ms a request.
        self._switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0002)
        self._thread.start()
        if not self._started.wait(5):
            raise RuntimeError("the receiver did not start")
        return self

    def stop(self) -> None:
        """Close all connections and the port."""
        if self._thread.is_alive():
            sys.setswitchinterval(self._switch_interval)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)

    def __enter__(self) -> Receiver:
        return self.start()

    def __exit__(self, *unused: object) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self.port = self._server.sockets[0].getsockname()[1]
        self._started.set()
        try:
            self._loop.run_forever()
        finally:
            self._server.close()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            for writer in self._writers:
                writer.transport.abort()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while (request := await _read(reader)) is not None:
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    if not await self._reply(request, writer):
                        break
                finally:
                    self.in_flight -= 1
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the streams' own callback reports a cancelled task as an error
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _reply(self, request: Received, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False where the connection is cut."""
        self.request_count += 1
        if self.keep_requests:
            self.requests.append(request)
        reply = self._script.popleft() if self._script else None
        if reply is None and self.answer is not None:
            reply = self.answer(request)
        while self.held:
            await asyncio.sleep(0.002)
        if self.latency:
            await asyncio.sleep(self.latency)
        if reply is None:
            reply = self._usual(request)
        else:
            if reply.delay:
                await asyncio.sleep(reply.delay)
            if reply.drop == "before":
                writer.transport.abort()
                return False
            if reply.apply if reply.apply is not None else 200 <= reply.status < 300:
                self._usual(request)
            if reply.drop == "after":
                writer.transport.abort()
                return False
        writer.write(_encoded(reply))
        await writer.drain()
        return reply.truncate is None

    def _usual(self, request: Received) -> Reply:
        """Apply the rows of a request; 207 with errors by index where rows are refused."""
        key = request.headers.get("idempotency-key")
        if key is not None:
            if self.honours_idempotency_keys and key in self.seen_idempotency_keys:
                return Reply(200, {})
            self.seen_idempotency_keys.add(key)
        errors = []
        for index, row in enumerate(_rows(request)):
            reason = self.verdict(row) if self.verdict is not None else None
            if reason is None:
                self._apply(request, row)
            else:
                errors.append({"index": index, "batch_index": index, "reason": "invalid", "message": reason})
        return Reply(207, {"errors": errors}) if errors else Reply(200, {})

    def _apply(self, request: Received, row: Any) -> None:
        """Put a row into the state. What is asked: `op` of the row, or the last part of the path."""
        self.row_count += 1
        name = request.path.rstrip("/").rpartition("/")[2]
        operation = str(row.get("operation") or row.get("action") or name) if isinstance(row, dict) else name
        key = _key(row)
        self.applied.append((operation, key))
        if operation.startswith(("add", "remove")) and ("list" in request.query or "/segments/" in request.path):
            listed = request.query.get("list") or request.path.split("/segments/")[-1].split("/")[0]
            members = self.lists.setdefault(listed, set())
            members.add(key) if operation.startswith("add") else members.discard(key)
        elif operation in ("remove", "delete") or (isinstance(row, dict) and row.get("op") == "remove"):
            self.rows.pop(key, None)
        elif operation == "identify" or not isinstance(row, dict):
            known = self.rows.setdefault(key, {})
            if isinstance(row, dict):
                known.update(row.get("attributes", {}))
        else:
            self.rows[key] = row


def _rows(request: Received) -> list[Any]:
    """The rows of a request: a list, a list under a usual name, or the body itself."""
    try:
        body = request.body
    except orjson.JSONDecodeError:
        return []
    if isinstance(body, list):
        return body
    if isinstance(body, dict):
        for name in ("rows", "batch", "inputs", "ids"):
            if isinstance(body.get(name), list):
                return list(body[name])
        return [body]
    return []


def _key(row: Any) -> str:
    if not isinstance(row, dict):
        return str(row)
    if "key" in row:
        return str(row["key"])
    identifiers = row.get("identifiers") or row.get("match") or row
    return str(next(iter(identifiers.values()), "")) if isinstance(identifiers, dict) else str(identifiers)


async def _read(reader: asyncio.StreamReader) -> Received | None:
    """One request, or None where the other side hung up between two."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        content = b""
        while size := int(await reader.readline(), 16):
            content += (await reader.readexactly(size + 2))[:size]
        await reader.readline()
    else:
        content = await reader.readexactly(int(headers.get("content-length", 0)))
    parts = urlsplit(target)
    return Received(method, target, unquote(parts.path), dict(parse_qsl(parts.query)), headers, content)


def _encoded(reply: Reply) -> bytes:
    text = reply.body if isinstance(reply.body, str) else "" if reply.body is None else json.dumps(reply.body)
    content = text.encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **reply.headers}
    if reply.status in (204, 304):
        headers.pop("Content-Length"), headers.pop("Content-Type")
        content = b""
    head = f"HTTP/1.1 {reply.status} Reply\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return head.encode("latin-1") + b"\r\n" + content[: reply.truncate]


if __name__ == "__main__":  # `python -m tests.receiver 0.02` prints its port and serves until stdin closes
    with Receiver(latency=float(sys.argv[1]) if len(sys.argv) > 1 else 0.0, keep_requests=False) as served:
        print(served.port, flush=True)
        sys.stdin.read()
