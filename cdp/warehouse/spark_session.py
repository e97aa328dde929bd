"""A session of Spark Connect: its channel, its time-outs, and the settings that results depend on."""

from __future__ import annotations

import atexit
import logging
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from uuid import uuid4

from cdp.errors import WarehouseError
from cdp.warehouse.spark_errors import condition, is_login, raised_by_driver, words

_TIME_ZONE = "spark.sql.session.timeZone"
PINNED = {
    _TIME_ZONE: "UTC",
    "spark.sql.ansi.enabled": "true",  # a cast that fails raises, as on the other engines
    "spark.sql.timestampType": "TIMESTAMP_LTZ",  # what TIMESTAMP means in our functions
    "spark.sql.caseSensitive": "false",
    "spark.sql.storeAssignmentPolicy": "ANSI",
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
    "spark.sql.ansi.doubleQuotedIdentifiers": "false",
    "spark.sql.decimalOperations.allowPrecisionLoss": "true",
    "spark.sql.mapKeyDedupPolicy": "LAST_WIN",  # a JSON object that repeats a key must not stop the statement
}
"""A server that refuses one of these (serverless compute fixes most) goes by its own; only UTC is indispensable."""

# the JVM's gRPC takes more frequent pings for an attack
_KEEPALIVE = [
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
]
_RETRY = {"max_retries": 6, "initial_backoff": 200, "max_backoff": 4_000, "backoff_multiplier": 2.0}  # ms: 10 s in all
_OPEN: list[Any] = []
_GRACE = 10.0  # seconds that a server has to give up a statement before the connection is cut


@dataclass(frozen=True)
class Address:
    """Where to connect: Spark's own `sc://host:port/;key=value` without the token, which `bearer` gives when asked."""

    url: str
    host: str
    port: int
    bearer: Callable[[], str] | None = field(default=None, repr=False)
    catalog: str | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 15.0  # seconds to connect
    keeps_session: bool = False  # the session was named by somebody: it is not ours to end


def driver() -> None:
    """Raises WarehouseError CDP304 where the driver is not installed."""
    try:
        with _main_file():
            import_module("pyspark.sql.connect.session")
    except ImportError as error:
        missing = (error.name or "pyspark").partition(".")[0]
        why = "" if missing == "pyspark" else f" completely: {missing} is missing"
        hint = "pip install 'composable-cdp[spark]'"
        raise WarehouseError("CDP304", f"the driver for Spark is not installed{why}", hint=hint) from None
    # the driver writes whole errors, with values out of rows, to stderr
    import_module("pyspark.logger").PySparkLogger.getLogger("SQLQueryContextLogger").disabled = True
    logging.getLogger("grpc").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message=r"\[RETRIES_EXCEEDED\]")  # it raises as well


@contextmanager
def _main_file() -> Iterator[None]:
    """Inside, `__main__` has a file: without one (python -c, some workers) the driver thinks that its own doctests run,
    looks for a whole Spark and exits."""
    main = sys.modules["__main__"]
    bare = not hasattr(main, "__file__")
    if bare:
        main.__file__ = ""
    try:
        yield
    finally:
        if bare:
            del main.__file__


def connect(address: Address) -> Any:
    """A SparkSession that answers. Raises WarehouseError CDP302 (unreachable, refused login), CDP304 (no driver)."""
    driver()
    session = None
    try:
        session = import_module("pyspark.sql.connect.session").SparkSession(_channel_builder(address))
        session.release_session_on_close = not address.keeps_session
        session.client.set_retry_policies([import_module("pyspark.sql.connect.client").retries.DefaultPolicy(**_RETRY)])
        _pin(session, {**PINNED, **address.config})
        if address.catalog is not None:
            session.catalog.setCurrentCatalog(address.catalog)
        _OPEN.append(session)
        return session
    except raised_by_driver() as error:
        if session is not None:
            session.release_session_on_close = False
            close(session)
        hint = "check `token`, and what the token may do" if is_login(error) else "is the server one of Spark Connect?"
        raise WarehouseError("CDP302", f"Spark cannot be reached: {words(error)}", hint=hint) from None


def close(session: Any) -> None:
    """End the session and its channel; what is in its way is no longer of interest."""
    if session in _OPEN:
        _OPEN.remove(session)
    with suppress(*raised_by_driver(), ValueError):
        session.stop()


@atexit.register
def _close_all() -> None:
    """gRPC waits for threads of its own, which are no longer there when Python takes its last objects apart."""
    for session in tuple(_OPEN):
        close(session)


def _channel_builder(address: Address) -> Any:
    client = import_module("pyspark.sql.connect.client")

    class Builder(client.DefaultChannelBuilder):  # type: ignore[name-defined,misc]
        """Waits until the server answers; a token is asked for with each call, since it may be renewed."""

        def toChannel(self) -> Any:
            channel = super().toChannel()
            _wait(channel, address)
            return channel

        def metadata(self) -> Any:
            own = [("authorization", f"Bearer {address.bearer()}")] if address.bearer else []
            return [*super().metadata(), *own]

    return Builder(address.url, _KEEPALIVE)


def _wait(channel: Any, address: Address) -> None:
    """Until the channel is ready; the first refusal counts."""
    grpc = import_module("grpc")
    settled, ready = threading.Event(), list[bool]()

    def changed(state: Any) -> None:
        if state in (grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE):
            ready.append(state is grpc.ChannelConnectivity.READY)
            settled.set()

    channel.subscribe(changed, try_to_connect=True)
    settled.wait(address.timeout)
    channel.unsubscribe(changed)
    if not (ready and ready[0]):
        channel.close()
        reason = _why_not(address)
        hint = "is the server running, and are host, port and TLS right?"
        raise WarehouseError("CDP302", f"Spark cannot be reached: {reason}", hint=hint) from None


def _why_not(address: Address) -> str:
    """gRPC does not say it; a plain connection does."""
    where = f"{address.host}:{address.port}"
    try:
        with socket.create_connection((address.host, address.port), timeout=address.timeout):
            return f"{where} takes connections, but does not answer as a Spark Connect server does"
    except TimeoutError:
        return f"{where} did not answer within {address.timeout:g} s"
    except OSError as error:
        return f"{where}: {error.strerror or 'no such host'}".lower()


def _pin(session: Any, settings: Mapping[str, str]) -> None:
    """One call where the server takes all of them; else one by one."""
    try:
        session.conf._set_all(dict(settings), silent=False)
    except raised_by_driver() as error:
        if not condition(error) and is_login(error):
            raise
        for key, value in settings.items():
            try:
                session.conf.set(key, value)
            except raised_by_driver() as refused:
                if key == _TIME_ZONE and str(session.conf.get(key)).upper() not in ("UTC", "ETC/UTC"):
                    message = f"the server does not let the session's time zone be UTC: {words(refused)}"
                    raise WarehouseError("CDP302", message, hint=f"set {key}=UTC on the cluster") from None


class Deadline:
    """Whether the time of a statement ran out, and whether the connection had to be cut for it."""

    passed = False
    cut = False


@contextmanager
def deadline(session: Any, seconds: float | None, found: Deadline) -> Iterator[None]:
    """Statements inside are given up after that time: the server is asked to, then the connection is cut."""
    if seconds is None:
        yield
        return
    tag, done = f"cdp-{uuid4().hex}", threading.Event()
    session.addTag(tag)

    def watch() -> None:
        if done.wait(seconds):
            return
        found.passed = True
        with suppress(*raised_by_driver(), ValueError):
            session.interruptTag(tag)
        if not done.wait(_GRACE):
            found.cut = True
            session.client.close()

    thread = threading.Thread(target=watch, name="cdp-deadline", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        session.removeTag(tag)
