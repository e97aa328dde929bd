"""One event loop per sync: the sender, the folding beside it, and whoever asks to stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from cdp.destination.base import Delivery, Destination
from cdp.errors import DeliveryError, LeaseError, WarehouseError
from cdp.sync.journal import Journal
from cdp.sync.result import SyncOptions
from cdp.sync.sender import Halt, Sender
from cdp.sync.spool import Checked

_TICK = 0.1  # seconds between two looks at the stop hook and at what waits to be folded
_PAUSES = 4  # times as long as the last fold took
_LOCKED_OUT = 20  # fold intervals without a fold: somebody else holds the warehouse, nothing more is sent


class Sending:
    """Sends what is spooled while the warehouse is let go; folds now and then."""

    def __init__(
        self,
        sender: Sender,
        destination: Destination,
        journal: Journal,
        options: SyncOptions,
        fold: Callable[[], None],
        *,
        interval: float,
        batches: int,
    ) -> None:
        self.sender = sender
        self.destination = destination
        self.journal = journal
        self.options = options
        self._fold = fold
        self._interval = interval
        self._batches = batches
        self._finished = asyncio.Event()
        self._last_fold = time.monotonic()
        self._cost = 0.0  # seconds of the last fold
        self._folding: asyncio.Task[None] | None = None
        self.fenced: LeaseError | None = None

    async def run(self, delivery: Delivery, checked: Checked, groups: tuple[tuple[str, str, int], ...]) -> None:
        """Returns when everything has a verdict or sending has ended; `sender.halt` says which."""
        try:
            await self.destination.open(delivery)
        except DeliveryError as error:
            self.sender.stop(Halt(error.code, error.message, error.exit_code))
        self._asked_to_stop()
        beside = [asyncio.create_task(self._tend()), asyncio.create_task(self._sync())]
        try:
            start = 0
            for index, (part, operation, count) in enumerate(groups):
                if self.sender.halt is None:
                    await self.sender.send(operation, part, checked.group(index, start, count))
                start += count
        finally:
            self._finished.set()
            self.sender.confirmed.set()
            await asyncio.gather(*beside)
            if self._folding:
                await self._folding
            await self.destination.close(complete=self.sender.halt is None)

    async def _tend(self) -> None:
        deadline: float | None = None
        while not self._finished.is_set():
            now = time.monotonic()
            if deadline is None and self._asked_to_stop():
                deadline = now + self.options.grace
            if deadline is not None and now > deadline:
                self.sender.cancel()
            self._fold_when_due(now)
            try:
                await asyncio.wait_for(self._finished.wait(), _TICK)
            except TimeoutError:
                continue

    def _asked_to_stop(self) -> bool:
        stop = self.options.stop
        if stop is None or not stop():
            return False
        said = "stopped on request; what is left stays staged"
        self.sender.stop(Halt("CDP443", said, stop.exit_code or 130, interrupted=True))
        return True

    def _fold_when_due(self, now: float) -> None:
        waiting = self.journal.unfolded
        if not waiting:
            self._last_fold = now if self._folding is None else self._last_fold
        elif (self._folding is None or self._folding.done()) and self._due(waiting, now - self._last_fold):
            self._folding = asyncio.create_task(self._fold_beside())

    def _due(self, waiting: int, since: float) -> bool:
        """A fast destination must not keep the warehouse folding without a pause."""
        return since >= self._interval or (waiting >= self._batches and since >= _PAUSES * self._cost)

    async def _fold_beside(self) -> None:
        try:
            began = time.monotonic()
            await asyncio.to_thread(self._fold)
            self._last_fold = time.monotonic()
            self._cost = self._last_fold - began
        except LeaseError as error:
            self.fenced = error
            self.sender.stop(Halt(error.code, error.message, error.exit_code))
        except WarehouseError as error:
            # somebody else has the file: tried again at the next tick, sending goes on for a while
            if error.exit_code != 4 or time.monotonic() - self._last_fold > _LOCKED_OUT * self._interval:
                self.sender.stop(Halt(error.code, error.message, 5 if error.exit_code == 4 else error.exit_code))

    async def _sync(self) -> None:
        """Bring the journal to the disk whenever it grew: many batches share one wait for the disk."""
        while not self._finished.is_set():
            await self.sender.confirmed.wait()
            self.sender.confirmed.clear()
            try:
                await asyncio.to_thread(self.journal.sync)
            except DeliveryError as error:
                self.sender.stop(Halt(error.code, error.message, error.exit_code))
