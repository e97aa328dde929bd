"""Ctrl-C and SIGTERM: the first asks a command to finish what is in flight, the second ends it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType


class Stopped(KeyboardInterrupt):
    """A signal ended the command."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.exit_code = 128 + number


class Stop:
    """Whether the user asked to stop, and by which signal. Call it: `stop()` is true from then on."""

    def __init__(self) -> None:
        self.event = Event()
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.event.is_set()

    @property
    def exit_code(self) -> int | None:
        """128 + the signal; None where nobody asked to stop."""
        return None if self.signal is None else 128 + self.signal


def end_on_signals() -> None:
    """SIGTERM and Ctrl-C end the command at once, with their own exit codes."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    _handle(end)


@contextmanager
def stop_on_signals(say: Callable[[str], None]) -> Iterator[Stop]:
    """Inside, the first signal only sets the Stop; a second one ends the command."""
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop():
            raise Stopped(number)
        stop.signal = number
        stop.event.set()
        say("stopping: what is in flight is finished first; once more to end at once")

    _handle(ask)
    try:
        yield stop
    finally:
        end_on_signals()


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            signal.signal(number, handler)
        except ValueError:  # not the main thread: who called us there keeps the signals
            return
