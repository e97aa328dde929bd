"""What the functions of `flow` are told and what they tell: plain and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from cdp.errors import Problem

StepStatus = Literal["done", "failed", "skipped", "held", "interrupted"]
SEVERITY = (2, 130, 143, 5, 4, 3, 1, 0)  # exit codes, the one that counts first


@dataclass(frozen=True)
class Settings:
    """Where the project and its profile are, which target is meant, and what the command line says besides.

    `as_of` is aware (None: now); `wait` is in seconds; `select` and `exclude` use dbt's syntax.
    """

    project_dir: Path = Path()
    profiles_dir: Path | None = None
    target: str | None = None
    vars: Mapping[str, Any] = field(default_factory=dict)
    as_of: datetime | None = None
    wait: float = 0.0
    strict: bool = False
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_empty: bool = False


@dataclass(frozen=True)
class Event:
    """What happens in a run, as it happens. `done` of `total` counts rows of a sync, or steps of a build."""

    kind: Literal["start", "end", "progress", "warn"]
    id: str
    done: int = 0
    total: int | None = None
    rows: int | None = None
    seconds: float = 0.0
    message: str = ""
    status: str = ""


class Watch(Protocol):
    """Called with every event; must return soon."""

    def __call__(self, event: Event) -> None: ...


class Stop(Protocol):
    """Asked now and then: True means finish what is in flight and end."""

    def __call__(self) -> bool: ...
    @property
    def exit_code(self) -> int | None: ...


@dataclass(frozen=True)
class CheckResult:
    """What `validate` found, warnings included."""

    problems: tuple[Problem, ...]
    resources: int
    statements: int = 0


@dataclass(frozen=True)
class CompileResult:
    """The files that `compile` wrote."""

    files: tuple[Path, ...]
    manifest: Path


@dataclass(frozen=True)
class StepResult:
    """One step, or one sync. `rows` are those of its last table; `counts` those of a sync."""

    id: str
    resource: str
    status: StepStatus
    seconds: float = 0.0
    rows: int | None = None
    message: str = ""
    code: str | None = None
    exit_code: int = 0
    statement_hash: str | None = None
    statements: int = 0  # that were sent
    bytes: int | None = None  # that they scanned, where the engine tells
    counts: Mapping[str, int] | None = None
    problems: tuple[Problem, ...] = ()
    sample: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class RunResult:
    """A run: its steps in the order in which they ended."""

    run_id: str
    as_of: datetime
    target: str
    steps: tuple[StepResult, ...]
    exit_code: int
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class StepEstimate:
    """What one step would take: its statements, the tables of sources that these scan (once for each scan), and the
    bytes of the scans where the engine can tell."""

    id: str
    resource: str
    statements: int
    reads: tuple[str, ...]
    bytes: int | None


@dataclass(frozen=True)
class Estimate:
    """What a build would take. `bytes` sums what the engine tells, None where it tells nothing."""

    target: str
    as_of: datetime
    steps: tuple[StepEstimate, ...]
    bytes: int | None


@dataclass(frozen=True)
class ConditionCount:
    """How many of the population one condition keeps: alone, after those before it, and how many only it excludes."""

    text: str
    place: str
    alone: int
    cumulative: int
    only_this_excludes: int


@dataclass(frozen=True)
class PreviewResult:
    """An audience as it would be now."""

    audience: str
    entity: str
    size: int
    population: int
    conditions: tuple[ConditionCount, ...]
    columns: tuple[str, ...]
    sample: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class SourceLine:
    """A source as `sources list` shows it."""

    source: str
    kind: str
    where: str
    key: str
    time: str
    ids: str
    columns: int | None


@dataclass(frozen=True)
class FreezeResult:
    """What `sources freeze` wrote."""

    path: Path
    sources: int
    columns: int
    changed: bool


@dataclass(frozen=True)
class Freshness:
    """How old a source's newest row is, in seconds of wall clock. `upstream`: the dbt source behind it whose age that is,
    where that is older."""

    source: str
    newest: datetime | None
    age_seconds: float | None
    status: Literal["pass", "warn", "error", "none"]
    upstream: str | None = None


@dataclass(frozen=True)
class ExposuresResult:
    """Exposures of dbt as maps in the order of their keys, and as YAML; where they were written, where they were."""

    exposures: tuple[Mapping[str, Any], ...]
    text: str
    path: Path | None = None
    changed: bool = False


@dataclass(frozen=True)
class DebugLine:
    """One thing that `debug` tried. A `warning` is no obstacle."""

    name: str
    ok: bool
    detail: str
    hint: str | None = None
    warning: bool = False


@dataclass(frozen=True)
class GrantsResult:
    """The statements that give `role` the least that a run needs; `reads` are the tables that it may read."""

    role: str
    reads: tuple[str, ...]
    statements: tuple[str, ...]


def worst(codes: list[int]) -> int:
    """The exit code that counts of several."""
    return next((code for code in SEVERITY if code in codes), max(codes, default=0))
