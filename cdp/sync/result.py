"""What a sync is told and what it tells: options in, one frozen result out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from cdp.errors import Problem

Status = Literal["done", "held", "failed", "interrupted", "skipped"]
GUARDS = (
    "empty",
    "max_removed",
    "max_changed",
    "max_invalid",
    "max_rejected",
    "shrunk",
    "ledger",
    "account",
    "max_age",
    "first_run",
)


class Progress(Protocol):
    """Whoever wants to watch: called from the sending loop, must return at once."""

    def started(self, sync: str, rows: int) -> None:
        """`rows` operations are about to be sent."""

    def advanced(self, sync: str, rows: int) -> None:
        """So many more have their verdict."""

    def ended(self, sync: str) -> None:
        """No more calls for this sync."""


class Stop(Protocol):
    """Asked ten times a second: true means finish what is in flight and end, with `exit_code` (None: 130)."""

    def __call__(self) -> bool: ...
    @property
    def exit_code(self) -> int | None: ...


@dataclass(frozen=True)
class SyncOptions:
    """What the command line may ask of one sync.

    Times are in seconds. `only` holds row keys. `wait` is how long to wait for a lease (None: not at all) and, at the end,
    for a warehouse file that somebody else holds (None: a minute). `attempts`, `backoff` and `patience` bound one batch: failed tries, the first pause
    between them, and how long a destination may go on throttling before the sync stops. `grace` is how long batches in
    flight may take after a stop was asked for. `now_us` replaces the wall clock (tests, replays): microseconds since
    1970, UTC.
    """

    dry_run: bool = False
    only: tuple[str, ...] = ()
    limit: int | None = None
    resync: bool = False
    adopt: bool = False
    force: frozenset[str] = frozenset()
    strict: bool = False
    wait: float | None = None
    stop: Stop | None = None
    attempts: int = 5
    backoff: float = 0.5
    patience: float = 900.0
    grace: float = 30.0
    log_all: bool = False
    retain_log_us: int = 90 * 86_400_000_000
    retain_runs_us: int = 400 * 86_400_000_000
    sample: int = 5
    now_us: int | None = None

    @property
    def selective(self) -> bool:
        """Whether some rows are left out on purpose."""
        return bool(self.only) or self.limit is not None


@dataclass(frozen=True)
class Counts:
    """One sync's run in numbers; all but the last four count rows, as the table `sync_runs` does.

    `invalid` and `skipped` were set aside before sending; `held` are removals of rows that are still members (excluded);
    `late` (append) were too old at first sight; `unknown` were sent without an answer; `left` were not sent.
    """

    queried: int = 0
    invalid: int = 0
    skipped: int = 0
    held: int = 0
    late: int = 0
    added_accepted: int = 0
    added_refused: int = 0
    changed_accepted: int = 0
    changed_refused: int = 0
    removed_accepted: int = 0
    removed_refused: int = 0
    unknown: int = 0
    left: int = 0
    adopted: int = 0
    newly_refused: int = 0
    requests: int = 0
    retries: int = 0
    bytes: int = 0

    @property
    def accepted(self) -> int:
        """Rows that are in."""
        return self.added_accepted + self.changed_accepted + self.removed_accepted

    @property
    def refused(self) -> int:
        """Rows that the destination does not want."""
        return self.added_refused + self.changed_refused + self.removed_refused


@dataclass(frozen=True)
class SyncResult:
    """What became of one sync. `planned` counts what the diff found, by `add`, `change` and `remove`;
    `sample` shows a few of those rows as they would travel (fields with personal data masked)."""

    sync: str
    run_id: str
    status: Status
    exit_code: int
    counts: Counts = Counts()
    planned: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    forced: tuple[str, ...] = ()
    sample: tuple[Mapping[str, Any], ...] = ()
    dry_run: bool = False
    seconds: float = 0.0


def severity(exit_code: int) -> int:
    """The order in which exit codes win: 2, 5, 4, 3, 1, 0."""
    return (0, 1, 3, 4, 5, 2).index(exit_code) if exit_code in (0, 1, 2, 3, 4, 5) else 6
