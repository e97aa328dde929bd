"""Counting verdicts by row while they come in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from cdp.destination.outcome import Outcome
from cdp.sync.result import Counts
from cdp.sync.spool import Staged


class Tally:
    """Verdicts per kind of change. A row with a record and a list membership counts by the later of its operations; one
    whose record was not accepted counts by that."""

    def __init__(self) -> None:
        self._rows: Counter[tuple[str, str]] = Counter()
        self.unwritten = False  # a verdict could not be written into the journal: its rows are in doubt
        self.newly_refused = 0
        self.settled = 0
        self.requests = 0
        self.retries = 0
        self.bytes = 0

    def add(self, change: Staged, status: str) -> None:
        """One verdict."""
        self.settled += 1
        if change.counts:
            self._rows[change.kind, status] += 1
        if status == "refused" and change.tries == 0:
            self.newly_refused += 1

    def all(self, changes: Iterable[Staged], outcomes: Iterable[Outcome]) -> None:
        """The verdicts of one batch."""
        for change, outcome in zip(changes, outcomes, strict=True):
            self.add(change, outcome.status)

    def told(self, *, planned: int, **known: int) -> Counts:
        """As the report has it; `planned` rows were to be sent, what has no verdict is left."""
        rows = self._rows
        unknown = sum(count for (_, status), count in rows.items() if status == "unknown")
        words: Mapping[str, str] = {"added": "add", "changed": "change", "removed": "remove"}
        by_kind = {
            f"{word}_{status}": rows[kind, status] for word, kind in words.items() for status in ("accepted", "refused")
        }
        left = max(0, planned - sum(by_kind.values()) - unknown)
        return Counts(
            **by_kind,
            **known,
            unknown=unknown,
            left=left,
            newly_refused=self.newly_refused,
            requests=self.requests,
            retries=self.retries,
            bytes=self.bytes,
        )
