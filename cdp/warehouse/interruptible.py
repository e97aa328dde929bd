"""Ctrl-C for a driver that computes for minutes without looking at signals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Interruptible:
    """Runs calls one by one in a thread of its own; a signal's exception in the waiting thread first has the call stopped.

    Only the main thread gets signals: a call from any other is made at once.
    """

    def __init__(self) -> None:
        self._worker: ThreadPoolExecutor | None = None

    def run(self, work: Callable[[], T], stop: Callable[[], object]) -> T:
        """The result of `work`, or what it raises; where the wait is broken off, `stop` must make `work` end."""
        if threading.current_thread() is not threading.main_thread():
            return work()
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "cdp-statement")
        doing: Future[T] = self._worker.submit(work)
        try:
            return doing.result()
        finally:
            if not doing.done():  # the wait was broken off
                stop()
                doing.exception()  # wait for its end, whatever that is

    def close(self) -> None:
        """Let the thread go."""
        if self._worker is not None:
            self._worker.shutdown()
            self._worker = None
