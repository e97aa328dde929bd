"""How fast an account may be asked: windows of requests, and pauses that all workers share."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime

from cdp.destination.description import Window

MAX_WAIT = 300.0  # seconds; who asks for more is asked again after that
A_MOMENT = 1.0  # seconds
WAIT_HEADERS = ("retry-after", "x-ratelimit-retry-after", "x-ratelimit-reset", "ratelimit-reset")
_REMAINING = ("x-ratelimit-remaining", "ratelimit-remaining")
_LONGEST_SILENT_PAUSE = 30.0


class Bucket:
    """The requests of one account: never more than `requests` in any `per` seconds, for each of its windows.

    A sliding log of send times rather than a refilled bucket: a refill would let twice the limit through within the
    first window. Slots are handed out at once and slept for, so waiters keep their order. Safe across threads and
    event loops; `clock` is monotonic seconds, `sleep` an awaitable of seconds (tests give fakes).
    """

    def __init__(
        self,
        windows: Sequence[Window] = (),
        *,
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._windows = [_shared(window, share) for window in windows]
        self._clock = clock
        self._sleep = sleep
        self._paused_until = 0.0
        self._silent_pauses = 0
        self._guard = threading.Lock()

    async def acquire(self) -> float:
        """Wait for a slot and take it: 0. Where the account is paused for more than a moment, nothing is taken, and
        the seconds that it still will be come back at once: a sender that must end should not sleep here."""
        while True:
            paused = self._paused_until - self._clock()
            if paused > A_MOMENT:
                return paused
            slot = self._reserve()
            while (left := slot - self._clock()) > 0:
                await self._sleep(left)
            if self._clock() >= self._paused_until:  # nobody paused the account while we slept
                return 0.0

    def _reserve(self) -> float:
        with self._guard:
            slot = max(self._clock(), self._paused_until)
            for sent, per in self._windows:
                if len(sent) == sent.maxlen:
                    slot = max(slot, sent[0] + per)
            for sent, _ in self._windows:
                sent.append(slot)
            return slot

    def pause(self, seconds: float | None) -> float:
        """Nobody sends for so long; None (not told) doubles from 0.25 s to 30 s. Returns the seconds."""
        with self._guard:
            if seconds is None:
                seconds = min(0.25 * 2**self._silent_pauses, _LONGEST_SILENT_PAUSE)
                self._silent_pauses += 1
            self._paused_until = max(self._paused_until, self._clock() + seconds)
            return seconds

    def served(self) -> None:
        """The account answered as usual: the next silent pause is short again."""
        self._silent_pauses = 0


def _shared(window: Window, share: float) -> tuple[deque[float], float]:
    """Send times of a window, and its length; a share below one request makes the window longer."""
    allowed = window.requests * share
    if allowed >= 1:
        return deque(maxlen=int(allowed)), window.per
    return deque(maxlen=1), window.per / allowed


def wait_told(
    headers: Mapping[str, str], names: Sequence[str] = WAIT_HEADERS, now: float | None = None
) -> float | None:
    """Seconds to wait as an answer's headers say (the first of `names` that makes sense), at most MAX_WAIT, or None.

    Seconds, an HTTP date, or an epoch in seconds or milliseconds (above 1e9, and not in Retry-After, which has no
    epochs). `now` is epoch seconds; without it the answer's own Date, so that a wrong clock here does no harm.
    """
    if now is None:
        now = _date(headers.get("date", "")) or time.time()
    for name in names:
        value = headers.get(name.lower(), "").strip()
        if value:
            told = _seconds(value, now, epochs="retry-after" not in name.lower())
            if told is not None:
                return min(told, MAX_WAIT)
    return None


def exhausted(headers: Mapping[str, str]) -> bool:
    """Whether an answer that went well says that it was the last one of its window."""
    return any(headers.get(name, "").strip() == "0" for name in _REMAINING)


def _seconds(value: str, now: float, *, epochs: bool) -> float | None:
    try:
        number = float(value)
    except ValueError:
        at = _date(value)
        return max(at - now, 0.0) if at is not None else None
    if not 0 <= number < float("inf"):
        return None  # negative, NaN or infinite: as good as not told
    if epochs and number > 1e9:
        at = number / 1000 if number > 1e11 else number
        return at - now if at > now else None
    return number


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
