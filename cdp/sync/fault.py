"""Points at which a test may kill the process: `CDP_FAULT=point:n:SIGKILL` ends it when `point` is reached the n-th time.

Costs one comparison where the variable is not set. `CDP_FAULT=trace:FILE` writes every point as it is reached, so that a
test can count them and then kill at each.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path


def _nothing(name: str) -> None:
    """No fault is asked for."""


def _armed(wanted: str) -> Callable[[str], None]:
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


_wanted = os.environ.get("CDP_FAULT")
point: Callable[[str], None] = _armed(_wanted) if _wanted else _nothing
