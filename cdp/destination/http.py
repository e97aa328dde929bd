"""A destination that is an HTTP API: facts of its description, and httpx."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit
from weakref import WeakValueDictionary

import httpx

from cdp.destination.answers import CONNECTION, LOST, THROTTLED, Judge, Response, cleaner
from cdp.destination.base import Delivery, Destination
from cdp.destination.description import ApiKeyAuth, BasicAuth, BearerAuth, Description
from cdp.destination.outcome import Again, Answer, Batch, Change, Operation, Rows, Split, Stop
from cdp.destination.rate import Bucket, exhausted, wait_told
from cdp.destination.request import Call, Request, row_value
from cdp.destination.shape import Shape
from cdp.destination.template import Scope, Unfit, constant, header_part

# One small client per connection in flight: a pool asks each of its idle connections, by a system call, whether it
# is still alive, several times a request. Measured, 1,000 requests at 16 in flight: 2.2 s of CPU with one client,
# 1.1 s with sixteen.
CONNECTIONS_PER_CLIENT = 1
CONNECT_SECONDS = 10.0
_UNSENDABLE, _CERTIFICATE = "CDP415", "CDP429"
_LOGIN_HEADER = re.compile(r"authorization|key|token|secret", re.IGNORECASE)
_RESETS = ("x-ratelimit-reset", "ratelimit-reset")

# httpx logs whole addresses, and an address may hold a key.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_buckets: WeakValueDictionary[tuple[str, str, float], Bucket] = WeakValueDictionary()
_buckets_guard = threading.Lock()


@dataclass(frozen=True)
class Settings:
    """What a profile's entry says, checked: `values` for the holes of templates, and how to connect."""

    values: Mapping[str, Any]
    secrets: tuple[str, ...] = ()
    share: float = 1.0
    ca_file: str | None = None

    def __repr__(self) -> str:
        return "Settings(***)"


class HttpDestination(Destination):
    """One configured HTTP API. `transport` replaces the network (tests), `bucket` the account's shared one."""

    type: ClassVar[str] = "http"

    def __init__(
        self,
        name: str,
        description: Description,
        settings: Settings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        bucket: Bucket | None = None,
    ) -> None:
        self.name = name
        self.description = description
        self.semantics = description.semantics
        self.sends = "changed" if description.changed_only else "all"
        self.concurrency = description.concurrency
        self.adds_first = description.adds_first
        self.honours_idempotency_keys = _honours_keys(description)
        self._settings = settings
        self._transport = transport
        self._clients: list[httpx.AsyncClient] = []
        self._in_flight: list[int] = []
        self._shape = Shape(description)
        fixed = Scope({"config": settings.values}, self._shape.fields)
        self._base_url = constant(description.base_url, fixed).rstrip("/")
        self._auth_headers, self._auth_query, auth_secrets = _login(description, fixed)
        self._secrets = (*settings.secrets, *auth_secrets)
        self._clean = cleaner(self._secrets)
        self._bucket = bucket or _bucket_of(self.account(), description, settings.share)
        self._prepare(Delivery("", "", ""))

    def __repr__(self) -> str:
        return f"<{self.description.name} destination {self.name}>"

    @property
    def operations(self) -> frozenset[Operation]:
        return frozenset(self.description.operations)

    def account(self) -> str:
        """Host and account; where the description does not say which setting names the account, a digest of
        the login, so that a sandbox's token is told from production's."""
        host = urlsplit(self._base_url)
        if self.description.account is not None:
            scope = Scope({"config": self._settings.values}, self._shape.fields)
            who = constant(self.description.account, scope)
        else:
            named = {name: text for name, text in self.description.headers.items() if _LOGIN_HEADER.search(name)}
            login = sorted({**self._auth_headers, **named}.items())
            if isinstance(self.description.auth, BasicAuth):
                login = [("", self.description.auth.username)]  # a new password is no new account
            who = hashlib.sha256(f"{host.path}\0{login}\0{self._auth_query}".encode()).hexdigest()[:16]
        return f"{self.description.name}:{host.hostname}:{host.port or ''}:{who}"

    def invalid(self, change: Change) -> str | None:
        unfit = self._shape.unfit(change)
        if unfit is not None:
            return unfit
        call = self._calls.get(change.operation)
        return call.unfit(change) if call is not None else f"`{change.operation}` is not among its operations"

    def batches(self, operation: Operation, changes: Iterable[Change]) -> Iterator[Batch]:
        return self._calls[operation].batches(operation, changes)

    async def open(self, delivery: Delivery) -> None:
        self._prepare(delivery)
        if not self._clients:
            count = -(-self.concurrency // CONNECTIONS_PER_CLIENT)
            context = _tls(self._base_url, self._settings.ca_file)
            self._clients = [self._new_client(context) for _ in range(count)]
            self._in_flight = [0] * count

    def _prepare(self, delivery: Delivery) -> None:
        """Compile the templates with the constants of a run."""
        run = {
            "config": self._settings.values,
            "list": delivery.list,
            "object": delivery.object,
            "sync": delivery.sync,
            "run_id": delivery.run_id,
            "as_of": delivery.as_of,
        }
        scope = Scope(run, self._shape.fields)
        headers = self.description.headers.items()
        self._headers = {name: constant(value, scope, header_part) for name, value in headers}
        self._calls = {operation: Call(point, scope) for operation, point in self.description.operations.items()}
        self._judge = Judge(
            self.description.answers,
            request_id=self.description.request_id,
            clean=self._clean,
            row_value=row_value(scope),
        )

    def _new_client(self, context: ssl.SSLContext) -> httpx.AsyncClient:
        seconds = self.description.timeout
        connections = min(self.concurrency, CONNECTIONS_PER_CLIENT)
        return httpx.AsyncClient(
            verify=context,
            follow_redirects=False,
            timeout=httpx.Timeout(connect=min(CONNECT_SECONDS, seconds), read=seconds, write=seconds, pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            headers={"User-Agent": "composable-cdp", "Accept": "application/json"},
            trust_env=not _is_loopback(urlsplit(self._base_url).hostname or ""),
            transport=self._transport,
        )

    async def send(self, batch: Batch) -> Answer:
        call = self._calls[batch.operation]
        try:
            request = call.request(batch)
        except Unfit as error:
            return Split(_UNSENDABLE, str(error))
        paused = await self._bucket.acquire()
        if paused:  # nothing was sent; the engine waits, and can end while it does
            return Again(THROTTLED, "the account is asked to wait", paused, throttled=True)
        size = len(request.content or b"")
        answered = await self._exchange(request)
        if not isinstance(answered, Response):
            return replace(answered, request_bytes=size)
        answer = self._judge.verdict(batch, answered, addressed=call.addressed, request_bytes=size)
        return self._paced(answer, answered)

    def _paced(self, answer: Answer, response: Response) -> Answer:
        """Pause the whole account where the answer asks for it."""
        if isinstance(answer, Again) and (answer.throttled or answer.after is not None):
            return replace(answer, after=self._bucket.pause(answer.after))
        if isinstance(answer, Rows):
            self._bucket.served()
            if exhausted(response.headers):
                told = wait_told(response.headers, _RESETS)
                if told is not None:
                    self._bucket.pause(told)
        return answer

    async def _exchange(self, request: Request) -> Response | Again | Stop | Split:
        """Send and read; what can go wrong on the way, told apart by whether the rows may have arrived."""
        index = min(range(len(self._clients)), key=self._in_flight.__getitem__)
        self._in_flight[index] += 1
        try:
            # A server that drips bytes never trips the read timeout; the whole exchange has its own.
            async with asyncio.timeout(2 * self.description.timeout + CONNECT_SECONDS):
                return await self._exchanged(self._clients[index], request)
        except TimeoutError:
            return self._lost("no whole answer in time")
        finally:
            self._in_flight[index] -= 1

    async def _exchanged(self, client: httpx.AsyncClient, request: Request) -> Response | Again | Stop | Split:
        headers = {**self._headers, **request.headers, **self._auth_headers}
        target = request.target
        if self._auth_query:
            target += ("&" if "?" in target else "?") + self._auth_query
        try:
            sent = client.build_request(
                request.method, self._base_url + target, headers=headers, content=request.content
            )
            response = await client.send(sent, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            return self._unreached(error)
        except (httpx.InvalidURL, httpx.LocalProtocolError) as error:
            return Split(_UNSENDABLE, f"the request cannot be made: {self._clean(_cause(error))}")
        except httpx.TransportError as error:
            return self._lost(_cause(error))
        try:
            content = await response.aread()
        except (httpx.TransportError, httpx.DecodingError) as error:
            if response.status_code < 400 and isinstance(error, httpx.TransportError):
                return self._lost(f"the answer broke off: {_cause(error)}")
            content = b""  # the status alone tells enough; a body that cannot be unpacked is no body
        finally:
            await response.aclose()
        told = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status_code, told, content)

    def _unreached(self, error: httpx.TransportError) -> Again | Stop:
        where = urlsplit(self._base_url).netloc
        if _bad_certificate(error):
            hint = "its certificate is not trusted; name your own authority with `ca_file:`"
            return Stop(_CERTIFICATE, f"{where}: {hint} ({self._clean(_cause(error))})")
        return Again(CONNECTION, f"no connection to {where}: {self._clean(_cause(error))}")

    def _lost(self, why: str) -> Again:
        where = urlsplit(self._base_url).netloc
        return Again(LOST, f"sent to {where}, but the answer was lost: {self._clean(why)}", unknown=True)

    async def close(self, *, complete: bool) -> None:
        clients, self._clients = self._clients, []
        for client in clients:
            await client.aclose()


def _honours_keys(description: Description) -> bool:
    """Whether a row carries its own idempotency key wherever it goes: then a second try is harmless."""
    points = description.operations.values()
    return bool(points) and all(
        point.idempotency_key is not None and (point.idempotency_key.in_row or point.batch.items == 1)
        for point in points
    )


def _login(description: Description, scope: Scope) -> tuple[dict[str, str], str, list[str]]:
    """Headers, query and secrets of the login."""
    auth = description.auth

    if isinstance(auth, BasicAuth):
        username, password = constant(auth.username, scope), constant(auth.password, scope)
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
        return {"Authorization": f"Basic {token}"}, "", [password, token]
    if isinstance(auth, BearerAuth):
        token = constant(auth.token, scope)
        return {"Authorization": f"Bearer {token}"}, "", [token]
    if isinstance(auth, ApiKeyAuth):
        value = constant(auth.value, scope)
        if auth.place == "query":
            query = f"{quote(auth.name, safe='')}={quote(auth.prefix + value, safe='')}"
            return {}, query, [value, quote(value, safe="")]
        return {auth.name: auth.prefix + value}, "", [value]
    return {}, "", []


def _bucket_of(account: str, description: Description, share: float) -> Bucket:
    """The bucket of an account: the same for every sync of this process that goes there at the same rate."""
    windows = ",".join(f"{window.requests}/{window.per}" for window in description.rate)
    with _buckets_guard:
        bucket = _buckets.get((account, windows, share))
        if bucket is None:
            bucket = _buckets[(account, windows, share)] = Bucket(description.rate, share=share)
        return bucket


def _tls(base_url: str, ca_file: str | None) -> ssl.SSLContext:
    """One context for all clients: verified, 1.2 at the least. Reading the authorities takes 20 ms: not for http."""
    if base_url.startswith("http:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = httpx.create_ssl_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _cause(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _bad_certificate(error: BaseException) -> bool:
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(at):
            return True
        at = at.__cause__ or at.__context__
    return False
