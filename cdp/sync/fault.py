"""Points at which a test may kill the process: `CDP_FAULT=point:n:SIGKILL` ends it when `point` is reached the n-th time.

Costs one comparison where the variable is not set. `CDP_FAULT=trace:FILE` writes down every point as it is reached: a
test counts them, then kills at each.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

_armed: Callable[[str], None] | None = None


def point(name: str) -> None:
    """A place between two effects."""
    if _armed is not None:
        _armed(name)


def arm(wanted: str | None) -> None:
    """What CDP_FAULT says from now on."""
    global _armed
    _armed = _fault(wanted) if wanted else None


def _fault(wanted: str) -> Callable[[str], None]:
    first, rest = wanted.split(":", 1)
    if first == "trace":
        file = Path(rest)

        def trace(name: str) -> None:
            with file.open("a", encoding="utf-8") as lines:
                lines.write(name + "\n")

        return trace
    number, sign = rest.split(":")
    left = [int(number)]

    def kill(name: str) -> None:
        if name == first:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.Signals[sign])

    return kill


arm(os.environ.get("CDP_FAULT"))
