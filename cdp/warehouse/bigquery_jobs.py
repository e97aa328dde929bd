"""Jobs of BigQuery: sent under an id of our own, asked for again by that id when an answer is lost, sent anew only where
they had no effect.

A request whose answer never came may have been carried out. Sent again with the same id it is refused as a duplicate
(409) if it was, and then the job that is there is waited for: nothing happens twice.
https://cloud.google.com/bigquery/docs/running-jobs#generate-jobid
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from sqlglot import exp

from cdp.errors import StatementError, WarehouseError
from cdp.warehouse.bigquery_errors import TRANSIENT, reason_of, refused, unreachable
from cdp.warehouse.bigquery_login import driver

_T = TypeVar("_T")
_SILENCE = timedelta(minutes=10)
_LONGEST = 30.0  # seconds between two attempts
_AWAY = "is the network there, and is `api_endpoint` (if any) right? A rerun is safe"


@dataclass
class Patience:
    """How long is waited and how often is tried again; all in seconds."""

    request: float = 60.0  # for the answer to one request
    job: float | None = None  # for a statement; None: as long as BigQuery lets it run (six hours)
    attempts: int = 6
    pause: float = 1.0  # before the second attempt; then twice as long each time

    def pauses(self) -> list[float]:
        """The pauses between the attempts."""
        return [min(self.pause * 2**turn, _LONGEST) for turn in range(self.attempts - 1)]


@dataclass
class Jobs:
    """Sends jobs through a client. `labels`, `bytes_billed` and `priority` go with each of them."""

    client: Any
    patience: Patience
    labels: Mapping[str, str] = field(default_factory=dict)
    bytes_billed: int | None = None
    priority: str = "INTERACTIVE"
    location: str | None = None
    _running: str | None = None  # the id of the job that is waited for

    def config(self, *, dry_run: bool = False, session: str | None = None, new_session: bool = False) -> Any:
        """The configuration of a query: times are UTC whatever the project's default."""
        bigquery = driver()
        properties = [bigquery.ConnectionProperty("time_zone", "UTC")]
        if session is not None:
            properties.append(bigquery.ConnectionProperty("session_id", session))
        of_session = {"cdp_process": _process()} if session is not None or new_session else {}
        config = bigquery.QueryJobConfig(
            labels={**self.labels, **of_session}, priority=self.priority, dry_run=dry_run, use_query_cache=not dry_run,
            connection_properties=properties,
        )  # fmt: skip
        if self.bytes_billed is not None:
            config.maximum_bytes_billed = self.bytes_billed
        if self.patience.job is not None and not dry_run:
            config.job_timeout_ms = int(self.patience.job * 1000)
        if new_session:
            config.create_session = True
        return config

    def query(self, sql: str, config: Any, *, again: bool, page_size: int | None = None) -> tuple[Any, Any]:
        """(the finished job, its rows). `again`: a job that failed for a passing reason may be sent anew.

        Raises StatementError (refused, timed out), WarehouseError (away, or failing for too long).
        """

        def send(job_id: str) -> Any:
            return self.client.query(
                sql, job_config=config, job_id=job_id, location=self.location, retry=None, job_retry=None,
                timeout=self.patience.request,
            )  # fmt: skip

        def wait(job: Any) -> Any:
            return self._result(job, page_size=page_size)

        return self._carried_out(send, wait, again=again)

    def dry_run(self, sql: str) -> Any:
        """The job that would be: its `schema` and `total_bytes_processed`."""
        config = self.config(dry_run=True)
        return self.asked(
            lambda: self.client.query(
                sql,
                job_config=config,
                location=self.location,
                retry=None,
                job_retry=None,
                timeout=self.patience.request,
            )
        )

    def load(self, start: Callable[[str], Any]) -> Any:
        """The finished load job that `start(job_id)` sends. A load that failed has changed nothing."""
        job, _ = self._carried_out(
            start, lambda job: job.result(retry=self._retry(), timeout=self.patience.job), again=True
        )
        return job

    def asked(self, request: Callable[[], _T]) -> _T:
        """The answer to a request that can be made any number of times."""
        api, network, logins = _errors()
        for pause in [*self.patience.pauses(), None]:
            try:
                return request()
            except api as error:
                if pause is None or not _passing(error):
                    raise refused(error) from None
            except network as error:
                if pause is None:
                    raise _lost(error) from None
            except logins as error:
                raise _login_refused(error) from None
            time.sleep(pause)
        raise AssertionError("unreachable")

    def found(self, request: Callable[[], _T]) -> _T | None:
        """The same, None where what is asked for is not there."""
        from google.api_core.exceptions import NotFound

        def or_none() -> _T | None:
            try:
                return request()
            except NotFound:
                return None

        return self.asked(or_none)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Inside, pages of a result are read, by requests that the driver repeats; its errors become ours."""
        api, network, logins = _errors()
        try:
            yield
        except api as error:
            raise refused(error) from None
        except network as error:
            raise _lost(error) from None
        except logins as error:
            raise _login_refused(error) from None

    def abort_session(self, session: str) -> None:
        """End a session and the transaction in it, as far as BigQuery can be reached; it ends by itself after a day."""
        name = exp.Literal.string(session).sql(dialect="bigquery")
        with contextlib.suppress(WarehouseError):
            self.query(f"CALL BQ.ABORT_SESSION({name})", self.config(), again=False)

    def end_orphans(self) -> None:
        """End the sessions that a run of ours left in the middle of a transaction when it was killed: BigQuery would keep
        them for a day, and let every other statement on their tables wait. A run is gone if its process on this machine is,
        or if it has not been heard of for ten minutes, as a lease has it.

        Asks for one's own jobs of the last day, the latest thousand; does nothing where that is not allowed.
        """
        now, latest, aborted = datetime.now(UTC), dict[str, Any](), set[str]()
        with contextlib.suppress(WarehouseError):
            for job in self.asked(lambda: self._own_jobs(now - timedelta(days=1))):
                text = str(getattr(job, "query", ""))
                if text.startswith("CALL BQ.ABORT_SESSION("):
                    aborted.add(text.split("'")[1])
                elif getattr(job, "session_info", None) is not None and job.labels.get("application") == "cdp":
                    latest.setdefault(str(job.session_info.session_id), job)
        for session, job in latest.items():
            open_ = job.query.split(maxsplit=1)[0] not in ("COMMIT", "ROLLBACK") and session not in aborted
            silent = job.ended is not None and now - job.ended > _SILENCE
            if open_ and (silent or _is_dead(str(job.labels.get("cdp_process")))):
                self.abort_session(session)

    def _own_jobs(self, since: datetime) -> list[Any]:
        """Newest first."""
        once = {"retry": None, "timeout": self.patience.request}
        return list(self.client.list_jobs(max_results=1000, min_creation_time=since, state_filter="done", **once))

    def _carried_out(self, send: Callable[[str], Any], wait: Callable[[Any], Any], *, again: bool) -> tuple[Any, Any]:
        """The job, finished, and what `wait` made of it."""
        try:
            return self._attempted(send, wait, again=again)
        finally:
            self._running = None

    def _attempted(self, send: Callable[[str], Any], wait: Callable[[Any], Any], *, again: bool) -> tuple[Any, Any]:
        api, network, logins = _errors()
        job_id = _new_id()
        job = None
        for pause in [*self.patience.pauses(), None]:
            self._running = job_id
            try:
                job = self._sent(send, job_id)
                return job, wait(job)
            except api as error:
                # where the job itself failed it has had its turn: only a new one can do the work
                failed = self._failed(job)
                if pause is None or not _passing(error) or (failed and not again):
                    raise refused(error) from None
                if failed:
                    job_id, job = _new_id(), None
            except concurrent.futures.TimeoutError:
                self.cancel(job_id)
                said = f"the statement ran for longer than {self.patience.job:g} seconds (timeout)"
                raise StatementError("CDP301", said, hint="raise `job_timeout` of the target") from None
            except network as error:
                if pause is None:
                    raise _lost(error) from None
            except logins as error:
                raise _login_refused(error) from None
            except KeyboardInterrupt:
                self.cancel(job_id)
                raise
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _sent(self, send: Callable[[str], Any], job_id: str) -> Any:
        from google.api_core.exceptions import Conflict

        try:
            return send(job_id)
        except Conflict as error:
            if reason_of(error) != "duplicate":
                raise
        return self.client.get_job(job_id, location=self.location, retry=None, timeout=self.patience.request)

    def _failed(self, job: Any) -> bool:
        """Whether the job is over and has failed, as far as is known."""
        return job is not None and job.state == "DONE" and bool(job.error_result)

    def _result(self, job: Any, *, page_size: int | None) -> Any:
        """The rows of a job, waited for in turns: a turn without an answer is a lost network, not a slow statement."""
        deadline = None if self.patience.job is None else time.monotonic() + self.patience.job + 30
        while True:
            try:
                return job.result(
                    page_size=page_size, retry=self._retry(), timeout=self.patience.request, job_retry=None
                )
            except concurrent.futures.TimeoutError:
                job.reload(retry=self._retry(), timeout=self.patience.request)
                if deadline is not None and time.monotonic() > deadline:
                    raise

    def _retry(self) -> Any:
        """For requests that only read: the driver's own judgement of errors, for a time of ours."""
        from google.cloud.bigquery.retry import DEFAULT_RETRY

        patience = self.patience
        return DEFAULT_RETRY.with_deadline(sum(patience.pauses()) + 0.01).with_delay(patience.pause, _LONGEST, 2.0)

    def interrupt(self) -> None:
        """Cancel what another thread waits for."""
        job_id = self._running
        if job_id is not None:
            self.cancel(job_id)

    def cancel(self, job_id: str) -> None:
        """Ask for a job's end, as far as BigQuery can be reached: what nobody waits for is not to be paid for."""
        api, network, logins = _errors()
        with contextlib.suppress(api, *network, *logins):
            self.client.cancel_job(job_id, location=self.location, retry=None, timeout=5)


def _host() -> str:
    return hashlib.md5(socket.gethostname().encode(), usedforsecurity=False).hexdigest()[:12]


def _process() -> str:
    """This process, as a label can say it."""
    return f"{_host()}-{os.getpid()}"


def _is_dead(process: str) -> bool:
    """Whether a process of this machine is no more; of others nothing is known."""
    host, _, pid = process.partition("-")
    if host != _host() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _new_id() -> str:
    return f"cdp_{uuid4().hex}"


def _passing(error: Any) -> bool:
    """Whether an API error may be gone at the next attempt."""
    reason = reason_of(error)
    if error.code == 404 and "Not found: Job" in str(error):  # it was just there
        return True
    if "Could not serialize access" in str(error):  # of two statements on one table; this one changed nothing
        return True
    return reason in TRANSIENT or (reason == "" and (error.code == 429 or (error.code or 0) >= 500))


def _lost(error: Any) -> WarehouseError:
    """A network error: its words name no more than the host."""
    kind = type(error).__name__
    said = "no answer in time" if "Timeout" in kind else "no connection"
    return unreachable(f"{said} ({kind})", hint=_AWAY)


def _login_refused(error: Any) -> WarehouseError:
    said = str(error.args[0]) if getattr(error, "args", None) else type(error).__name__
    return unreachable(
        f"the login was refused: {said.splitlines()[0][:200]}", hint="check the credentials of the target"
    )


def _errors() -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
    """The driver's errors: of the API, of the network, of the login (whose base the network's share: asked for last)."""
    import requests.exceptions
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError, TransportError

    network = (requests.exceptions.RequestException, TransportError, RetryError, ConnectionError)
    return GoogleAPICallError, network, (GoogleAuthError,)
