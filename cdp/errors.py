"""Every error that cdp raises on purpose, the place it points to, and "did you mean".

CdpError                     exit code 1 unless the class says otherwise
├── ProjectError             2: the project, the profile or the command line is wrong; carries all problems
├── CompileError             2: a plan cannot be made for this target
├── WarehouseError           4: the warehouse cannot be reached or refuses the login
│   └── StatementError       1: the warehouse refused one statement
├── DeliveryError            1
│   ├── RetryLater           4: this destination may work in a while
│   └── StopSync             4: this sync must stop now (login refused, endpoint gone)
├── GuardError               3: a guard holds at least one resource
└── LeaseError               5: another run holds the lease
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, order=True)
class Mark:
    """A place in a project file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One mistake, said so that its author can mend it.

    `line` is the text of the line at `mark`, `length` how many characters the caret underlines.
    """

    code: str
    message: str
    mark: Mark | None = None
    hint: str | None = None
    line: str | None = None
    length: int = 1
    severity: Severity = "error"

    def __str__(self) -> str:
        place = f"{self.mark}: " if self.mark else ""
        word = "warning: " if self.severity == "warning" else ""
        text = f"{place}{word}{self.code}: {self.message}"
        if self.mark and self.line is not None:
            text += "\n" + excerpt(self.line, self.mark.line, self.mark.column, self.length)
        if self.hint:
            text += f"\n  hint: {self.hint}"
        return text


def excerpt(line: str, number: int, column: int, length: int = 1, width: int = 140) -> str:
    """The offending line with a caret below; a long line is cut around the place."""
    line = line.replace("\t", " ").rstrip("\n")
    start = max(0, column - 1 - width // 2) if len(line) > width else 0
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line[start : start + width])
    margin = f"{number:>6} | "
    carets = "^" * max(1, min(length, len(shown) - (column - 1 - start)))
    return f"{margin}{shown}\n{' ' * (len(margin) - 2)}| {' ' * (column - 1 - start)}{carets}"


def did_you_mean(word: str, choices: Iterable[str]) -> str | None:
    """The choice nearest to `word`, or None; a swap of two letters or a wrong case is near."""
    by_lower = {choice.lower(): choice for choice in choices}
    lower = word.lower()
    if lower in by_lower:
        return by_lower[lower]
    close = [choice for choice in by_lower if _one_edit(lower, choice)]
    if close:  # of several: one of the same length, then the most alike
        best = max(
            close, key=lambda choice: (len(choice) == len(lower), difflib.SequenceMatcher(None, lower, choice).ratio())
        )
        return by_lower[best]
    near = difflib.get_close_matches(lower, by_lower, n=1, cutoff=0.6)
    return by_lower[near[0]] if near else None


def _one_edit(word: str, other: str) -> bool:
    """Whether one letter more, less, wrong, or swapped with its neighbour is all the difference, behind the first letter."""
    if not word or word[:1] != other[:1] or abs(len(word) - len(other)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other)))
    rest, others = word[start:], other[start:]
    swapped = len(rest) == len(others) and rest[:2] == others[1::-1] and rest[2:] == others[2:]
    return rest[1:] == others[1:] or rest[1:] == others or rest == others[1:] or swapped


def suggestion(word: str, choices: Sequence[str], what: str) -> str:
    """The hint for an unknown name: the nearest one, then all there are (the first 12)."""
    near = did_you_mean(word, choices)
    listed = ", ".join(choices[:12]) + (f", … ({len(choices)} in all)" if len(choices) > 12 else "")
    known = f"{what}: {listed}" if choices else f"{what}: none"
    return f"did you mean `{near}`? {known}" if near else known


class CdpError(Exception):
    """An error with a stable code, a cause and a way out."""

    exit_code = 1

    def __init__(self, code: str, message: str, *, hint: str | None = None, mark: Mark | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.mark = mark

    def __str__(self) -> str:
        return str(Problem(self.code, self.message, self.mark, self.hint))


class ProjectError(CdpError):
    """The project, the profile or the command line is wrong; nothing was run."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__(first.code, first.message, hint=first.hint, mark=first.mark)
        self.problems = tuple(problems)

    @classmethod
    def of(cls, code: str, message: str, *, hint: str | None = None, mark: Mark | None = None) -> ProjectError:
        """A ProjectError with one problem."""
        return cls([Problem(code, message, mark, hint)])

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class CompileError(CdpError):
    """The plan cannot be made for this target."""

    exit_code = 2


class WarehouseError(CdpError):
    """The warehouse cannot be reached, is locked, or refuses the login."""

    exit_code = 4


class StatementError(WarehouseError):
    """The warehouse refused one statement; the connection is alive."""

    exit_code = 1


class DeliveryError(CdpError):
    """A destination did not take what it was sent."""


class RetryLater(DeliveryError):
    """The destination may take it in a while: `after` is in seconds, None where it did not say."""

    exit_code = 4

    def __init__(self, code: str, message: str, *, after: float | None = None, hint: str | None = None) -> None:
        super().__init__(code, message, hint=hint)
        self.after = after


class StopSync(DeliveryError):
    """Nothing more can be sent to this destination in this run."""

    exit_code = 4


class GuardError(CdpError):
    """A guard holds a resource: nothing of it was sent."""

    exit_code = 3


class LeaseError(CdpError):
    """Another run holds the lease."""

    exit_code = 5
