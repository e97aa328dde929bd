"""Batches to the destination, verdicts back: concurrency, retries, bisection, the breaker.

No row is lost track of: each gets one verdict, which goes to the journal before it counts, or is left staged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import cast

from cdp.destination.base import Destination
from cdp.destination.outcome import Again, Answer, Batch, Operation, Outcome, Rows, Split, Stop
from cdp.errors import CdpError
from cdp.sync.fault import point
from cdp.sync.journal import Journal
from cdp.sync.pace import Breaker, Pace, jitter
from cdp.sync.result import Progress, SyncOptions
from cdp.sync.spool import Staged
from cdp.sync.state import EPOCH
from cdp.sync.tally import Tally


@dataclass(frozen=True)
class Halt:
    """Why sending ended early: what the report says, and with which exit code."""

    code: str
    message: str
    exit_code: int
    interrupted: bool = False


class Sender:
    """Sends the changes of one sync. Lives inside one event loop."""

    def __init__(
        self,
        sync: str,
        destination: Destination,
        journal: Journal,
        options: SyncOptions,
        tally: Tally,
        progress: Progress | None = None,
        *,
        chained: bool = False,
    ) -> None:
        self.sync = sync
        self.destination = destination
        self.journal = journal
        self.options = options
        self.tally = tally
        self.progress = progress
        self.halt: Halt | None = None
        self.wake = asyncio.Event()  # set when nobody should sleep any longer
        self.confirmed = asyncio.Event()  # set when the journal grew
        self._resendable = destination.semantics == "set" or destination.honours_idempotency_keys
        self._pace = Pace(destination.concurrency)
        self._breaker = Breaker()
        self._tasks: set[asyncio.Task[None]] = set()
        self._working = 0
        self._throttled_since: float | None = None
        self._paused_until = 0.0
        self._largest: int | None = None  # items, learned from a 413
        self._number = 0
        self._chained = chained  # list memberships wait for their records
        self._failed: dict[str, str] = {}  # row key ► why its record is not there
        self._remote: dict[str, str] = {}

    # groups

    async def send(self, operation: str, part: str, changes: Iterator[Staged]) -> None:
        """Send one group; returns when each of its rows has a verdict or sending has ended."""
        wanted = cast("Operation", operation)
        if part == "list" and operation != "remove":
            changes = self._members(changes)
        batches = self.destination.batches(wanted, changes)
        self._spawn(batches)
        while self._tasks:
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            self._tasks -= done
            for task in done:
                if not task.cancelled():
                    task.result()

    def _members(self, changes: Iterator[Staged]) -> Iterator[Staged]:
        """A membership is sent where the record is, by the id that the record got."""
        for change in changes:
            failed = self._failed.get(change.row_key)
            if failed is not None:
                self.tally.add(change, failed)
                continue
            remote = self._remote.get(change.row_key)
            yield replace(change, remote_id=remote) if remote else change

    def _spawn(self, batches: Iterator[Batch]) -> None:
        while self._working < self._pace.limit and not self._ending:
            batch = next(batches, None)
            if batch is None:
                return
            self._working += 1
            self._tasks.add(asyncio.get_running_loop().create_task(self._work(batch, batches)))

    async def _work(self, batch: Batch | None, batches: Iterator[Batch]) -> None:
        try:
            while batch is not None:
                await self._deliver(batch)
                self._spawn(batches)
                if self._working > self._pace.limit or self._ending:
                    return
                batch = next(batches, None)
        finally:
            self._working -= 1

    @property
    def _ending(self) -> bool:
        return self.halt is not None

    def stop(self, halt: Halt) -> None:
        """Begin nothing more; what is in flight comes to its end."""
        if self.halt is None:
            self.halt = halt
            self.wake.set()

    def cancel(self) -> None:
        """Give up what is in flight: it is in doubt."""
        for task in self._tasks:
            task.cancel()

    # one batch

    async def _deliver(self, batch: Batch) -> None:
        whole = cast("tuple[Staged, ...]", batch.changes)
        work: list[tuple[tuple[Staged, ...], int]] = [(part, 0) for part in reversed(self._cut(whole))]
        budget = max(16, 2 * len(whole) // 3)
        accepted, failed, sent = 0, False, False
        reason: Again | Split | None = None
        while work:
            changes, tries = work.pop()
            if self._ending and sent:
                break
            sent = True
            answer = await self._attempt(Batch(batch.operation, changes, batch.number))
            if isinstance(answer, Rows):
                final = tries + 1 >= self.options.attempts
                again = self._verdicts(batch.operation, changes, answer, final=final)
                accepted += sum(outcome.status == "accepted" for outcome in answer.outcomes)
                if again and not self._ending:
                    await self._sleep(jitter(self.options.backoff, tries))
                    self.tally.retries += 1
                    work.append((again, tries + 1))
            elif isinstance(answer, Split):
                reason = answer
                spent = budget <= 0 and not answer.too_large
                budget -= 0 if answer.too_large else 2
                work += self._split(batch.operation, changes, answer, spent)
                failed = failed or spent
            elif isinstance(answer, Stop):
                self.stop(Halt(answer.code, answer.message, 4))
                self._settle(batch.operation, changes, "retry", answer.code, answer.message)
                return
            else:
                status = "unknown" if answer.unknown else "retry"
                self._settle(batch.operation, changes, status, answer.code, answer.message)
                reason, failed = answer, True
        self._judge(failed or (reason is not None and accepted == 0 and len(whole) > 1), reason)

    def _judge(self, failed: bool, reason: Again | Split | None) -> None:
        if not self._breaker.record(failed) or reason is None:
            return
        said = f"too many batches failed, nothing more is sent; the last answer: {reason.code} {reason.message}"
        self.stop(Halt("CDP441", said.strip(), 4 if isinstance(reason, Again) else 1))

    def _cut(self, changes: tuple[Staged, ...]) -> list[tuple[Staged, ...]]:
        if self._largest is None or len(changes) <= self._largest:
            return [changes]
        return [changes[i : i + self._largest] for i in range(0, len(changes), self._largest)]

    def _split(
        self, operation: str, changes: tuple[Staged, ...], answer: Split, spent: bool
    ) -> list[tuple[tuple[Staged, ...], int]]:
        if len(changes) == 1:
            self._settle(operation, changes, "refused", answer.code, answer.message)
            return []
        if spent:
            self._settle(operation, changes, "retry", answer.code, answer.message)
            return []
        middle = (len(changes) + 1) // 2
        if answer.too_large:
            self._largest = min(self._largest or middle, middle)
        return [(changes[middle:], 0), (changes[:middle], 0)]

    async def _attempt(self, batch: Batch) -> Answer:
        """Send until there is a verdict, tries or patience are used up, or sending has ended."""
        tries, unknown = 0, False
        while True:
            await self._unpaused()
            if self._ending and tries:
                return Again("stopped", "sending has ended", unknown=unknown)
            answer = await self._request(batch, unknown)
            if not isinstance(answer, Again):
                self._throttled_since = None
                return answer
            unknown = unknown or answer.unknown
            tries += 0 if answer.throttled else 1
            if self._ending or self._gives_up(answer, tries):
                return replace(answer, unknown=unknown)
            self.tally.retries += 1
            if not answer.throttled:
                asked = answer.after if answer.after is not None and answer.after > 0 else 0.0
                await self._sleep(max(min(asked, self.options.patience), jitter(self.options.backoff, tries)))

    async def _request(self, batch: Batch, unknown: bool) -> Answer:
        self.tally.requests += 1
        point("send")
        began = time.monotonic()
        try:
            answer = await self.destination.send(batch)
        except asyncio.CancelledError:
            changes = cast("tuple[Staged, ...]", batch.changes)
            self._settle(batch.operation, changes, "unknown", "cancelled", "the answer was not waited for")
            raise
        point("sent")
        self.tally.bytes += answer.request_bytes
        if isinstance(answer, Again):
            self._pace.trouble()
        else:
            self._pace.answered(time.monotonic() - began)
        return answer

    def _gives_up(self, answer: Again, tries: int) -> bool:
        if not answer.throttled:
            self._throttled_since = None
            return tries >= self.options.attempts or (answer.unknown and not self._resendable)
        now = time.monotonic()
        since = self._throttled_since = self._throttled_since or now
        wait = answer.after if answer.after is not None and answer.after > 0 else self._next_pause(now - since)
        if now - since + wait > self.options.patience:
            said = f"still throttled after {now - since:.0f} s, and asked to wait {wait:.0f} s more"
            self.stop(Halt("CDP442", said, 4))
            return True
        self._paused_until = max(self._paused_until, now + wait)
        return False

    def _next_pause(self, throttled_for: float) -> float:
        """Where the destination does not say how long: about as long as it has lasted, from one backoff to a minute."""
        return min(60.0, max(self.options.backoff, throttled_for)) * (0.5 + jitter(0.5, 0))

    async def _unpaused(self) -> None:
        while (left := self._paused_until - time.monotonic()) > 0 and not self._ending:
            await self._sleep(left)

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0 and not self.wake.is_set():
            try:
                await asyncio.wait_for(self.wake.wait(), seconds)
            except TimeoutError:
                return

    # verdicts

    def _verdicts(
        self, operation: str, changes: tuple[Staged, ...], answer: Rows, *, final: bool
    ) -> tuple[Staged, ...]:
        """Settle the rows that have a verdict; those that may go again, unless this was the last time."""
        if all(outcome.status != "retry" for outcome in answer.outcomes):
            self._record(operation, changes, answer.outcomes)
            return ()
        pairs = list(zip(changes, answer.outcomes, strict=True))
        settled = [(c, o) for c, o in pairs if final or o.status != "retry"]
        self._record(operation, [c for c, _ in settled], [o for _, o in settled])
        return tuple(c for c, o in pairs if not final and o.status == "retry")

    def _settle(self, operation: str, changes: Sequence[Staged], status: str, code: str, message: str) -> None:
        outcomes = [Outcome(c.row_key, status, code, message) for c in changes]  # type: ignore[arg-type]
        self._record(operation, changes, outcomes)

    def _record(self, operation: str, changes: Sequence[Staged], outcomes: Sequence[Outcome]) -> None:
        """Into the journal, then into the counts."""
        if not changes:
            return
        self._number += 1
        try:
            self.journal.append(
                self._number, operation, self._now(), [_line(c, o) for c, o in zip(changes, outcomes, strict=True)]
            )
        except CdpError as error:
            self.stop(Halt(error.code, error.message, error.exit_code))
            self.tally.unwritten = True
            for change in changes:
                self.tally.add(change, "unknown")
            return
        self.confirmed.set()
        self.tally.all(changes, outcomes)
        if self._chained:
            self._remember(changes, outcomes)
        if self.progress:
            self.progress.advanced(self.sync, len(changes))

    def _now(self) -> str:
        given = self.options.now_us
        now = datetime.now(UTC) if given is None else EPOCH + timedelta(microseconds=given)
        return now.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def _remember(self, changes: Sequence[Staged], outcomes: Sequence[Outcome]) -> None:
        for change, outcome in zip(changes, outcomes, strict=True):
            if change.part == "record" and change.kind != "remove":
                if outcome.status != "accepted":
                    self._failed[change.row_key] = outcome.status
                elif outcome.remote_id:
                    self._remote[change.row_key] = outcome.remote_id


def _line(change: Staged, outcome: Outcome) -> list[object]:
    if outcome.status == "accepted" and not outcome.remote_id and not outcome.request_id and not outcome.code:
        return [change.n, change.row_key]
    return [
        change.n, change.row_key, outcome.status, outcome.code, outcome.message, outcome.remote_id, outcome.request_id,
    ]  # fmt: skip
