"""How many batches travel at once, how long to wait after a failure, and when to give up."""

from __future__ import annotations

import random
from collections import deque

_FIRST = 4  # batches in flight at the start
_BENT = 1.5  # latency above this many times the best seen: more in flight only queues up
_LONGEST = 30.0  # seconds between two tries that the destination did not ask for


class Pace:
    """The number of batches in flight: doubled per window until latency bends, then one more per window; halved on trouble.

    A window is as many answers as are in flight. After congestion control in TCP (slow start, additive increase,
    multiplicative decrease: Jacobson, "Congestion Avoidance and Control", 1988).
    """

    def __init__(self, most: int) -> None:
        self.most = max(1, most)
        self.limit = min(_FIRST, self.most)
        self._doubling = True
        self._best: float | None = None
        self._seen: list[float] = []
        self._troubled = False

    def answered(self, seconds: float) -> None:
        """One batch got its answer."""
        self._seen.append(seconds)
        if len(self._seen) < self.limit:
            return
        typical = sorted(self._seen)[len(self._seen) // 2]
        self._seen.clear()
        self._best = typical if self._best is None else min(self._best, typical)
        if self._troubled:
            self._troubled = False
        elif typical > self._best * _BENT + 0.01:
            self._doubling = False
        elif self._doubling:
            self.limit = min(self.most, self.limit * 2)
        else:
            self.limit = min(self.most, self.limit + 1)

    def trouble(self) -> None:
        """429, 503, a timeout: halve, once per window."""
        if not self._troubled:
            self.limit = max(1, self.limit // 2)
            self._troubled = True
            self._doubling = False
            self._seen.clear()


def jitter(base: float, attempt: int) -> float:
    """Seconds before try `attempt` + 1: anything up to base × 2^attempt ("full jitter": Brooker, AWS, 2015)."""
    return random.uniform(0, min(_LONGEST, base * 2**attempt))


class Breaker:
    """Five failed batches in a row, or more than half of the last twenty: the destination is not worth more requests."""

    def __init__(self) -> None:
        self._last: deque[bool] = deque(maxlen=20)
        self._row = 0

    def record(self, failed: bool) -> bool:
        """Note one batch; whether to stop."""
        self._last.append(failed)
        self._row = self._row + 1 if failed else 0
        return self._row >= 5 or (len(self._last) == 20 and sum(self._last) > 10)
