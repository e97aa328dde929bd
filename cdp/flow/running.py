"""`build`, `sync` and `run`: the main job, from the plan to the last fold."""

from __future__ import annotations

import secrets as randomness
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from cdp import __version__
from cdp.compile.compiler import Compiler
from cdp.compile.lower import Lowered, Wanted
from cdp.compile.plan import SyncPlan
from cdp.compile.render import text
from cdp.compile.steps import Names
from cdp.compile.windows import timestamp
from cdp.errors import CdpError, ProjectError, WarehouseError
from cdp.flow.after_dbt import Held, hold_back
from cdp.flow.artifacts import write_run_results
from cdp.flow.building import Builder
from cdp.flow.catalogue import check_published, missing_source
from cdp.flow.loading import Loaded, load_all
from cdp.flow.results import Event, RunResult, Settings, StepResult, Stop, Watch, worst
from cdp.sync.lease import Holder, lease
from cdp.sync.state import State, number, open_state
from cdp.sync.views import deliveries
from cdp.warehouse.base import Warehouse
from cdp.warehouse.profiles import connect, facts_of

SKIPS_SYNCS = ("failed", "held", "skipped", "interrupted")


def new_run_id(as_of: datetime) -> str:
    """An id that sorts by time: of the instant it is about, and something of its own."""
    return f"{as_of:%Y%m%dT%H%M%SZ}-{randomness.token_hex(3)}"


def build(
    settings: Settings,
    *,
    full_refresh: bool = False,
    force: Iterable[str] = (),
    scratch: str | None = None,
    on_event: Watch | None = None,
    stop: Stop | None = None,
) -> RunResult:
    """Make every selected table. `full_refresh` makes them anew, as this version always does; ids, stays and ledgers stay.

    `scratch`: a schema to build into instead (its state schema is `<scratch>_state`); then any `as_of` will do.
    Raises ProjectError, WarehouseError, LeaseError; a step that fails is in the result.
    """
    loaded = load_all(settings)
    warehouse = connect(loaded.target, loaded.root, settings.wait)
    if scratch is not None:
        loaded, warehouse = _into(loaded, scratch)
    run_id = new_run_id(loaded.as_of)
    try:
        steps = _build(loaded, warehouse, run_id, frozenset(force), on_event, stop, scratch is None)
        return _ended(loaded, run_id, steps, "build", warehouse)
    finally:
        warehouse.close()


def sync(
    settings: Settings,
    *,
    dry_run: bool = False,
    only: tuple[str, ...] = (),
    limit: int | None = None,
    resync: bool = False,
    adopt: bool = False,
    force: Iterable[str] = (),
    treat_as_new: bool = False,
    on_event: Watch | None = None,
    stop: Stop | None = None,
) -> RunResult:
    """Send what changed since the last time. Raises ProjectError, WarehouseError; what becomes of a sync is in the result."""
    _refuse_later(treat_as_new)
    named = "+" not in " ".join((*settings.select, *settings.exclude))  # without neighbours the syncs alone will do
    names = Wanted(frozenset(), frozenset(), None) if named else None
    loaded = load_all(settings, wanted=names)
    warehouse = connect(loaded.target, loaded.root, settings.wait)
    asked = {
        "dry_run": dry_run,
        "only": only,
        "limit": limit,
        "resync": resync,
        "adopt": adopt,
        "force": frozenset(force),
    }
    try:
        loaded = replace(loaded, as_of=_last_build(warehouse) or loaded.as_of)
        run_id = new_run_id(datetime.now(UTC))
        plans = {name: found.plan for name, found in loaded.lowered.syncs.items() if name in _selected(loaded)}
        steps = _syncs(loaded, warehouse, plans, run_id, {}, asked, on_event, stop)
        return _ended(loaded, run_id, steps, "sync", warehouse, quiet=_nothing(steps))
    finally:
        warehouse.close()


def run(
    settings: Settings,
    *,
    full_refresh: bool = False,
    dry_run: bool = False,
    only: tuple[str, ...] = (),
    limit: int | None = None,
    resync: bool = False,
    adopt: bool = False,
    force: Iterable[str] = (),
    treat_as_new: bool = False,
    after_dbt: Path | None = None,
    on_event: Watch | None = None,
    stop: Stop | None = None,
) -> RunResult:
    """Build, then sync what was built; syncs of tables that could not be made are skipped.

    `after_dbt`: dbt's run_results.json; what is made of a model that failed or was skipped is neither built nor sent.
    """
    _refuse_later(treat_as_new)
    loaded = load_all(settings)
    held = hold_back(loaded, after_dbt) if after_dbt is not None else Held(loaded)
    loaded = replace(loaded, warnings=held.loaded.warnings)
    warehouse = connect(loaded.target, loaded.root, settings.wait)
    run_id = new_run_id(loaded.as_of)
    forced = frozenset(force)
    asked = {"dry_run": dry_run, "only": only, "limit": limit, "resync": resync, "adopt": adopt, "force": forced}
    try:
        steps = _build(held.loaded, warehouse, run_id, forced, on_event, stop, True, held.steps)
        bad = {step.resource: step for step in steps if step.id.startswith("mapped:") and step.status in SKIPS_SYNCS}
        plans = {name: found.plan for name, found in loaded.lowered.syncs.items() if name in _selected(loaded)}
        if _unsafe(steps):
            bad = {f"sync:{name}": next(step for step in steps if step.status in SKIPS_SYNCS) for name in plans}
        steps += _syncs(loaded, warehouse, plans, run_id, {**bad, **held.syncs}, asked, on_event, stop)
        return _ended(loaded, run_id, steps, "run", warehouse)
    finally:
        warehouse.close()


def _refuse_later(treat_as_new: bool) -> None:
    if treat_as_new:
        raise ProjectError.of(
            "CDP190",
            "--treat-as-new is not in this version",
            hint="who enters by a changed definition is sent like anybody who enters",
        )


def _unsafe(steps: list[StepResult]) -> bool:
    """Failed identity or a lost warehouse: nothing is sent."""
    return any(
        step.status in ("failed", "held") and (step.id.startswith("identity:") or step.exit_code == 4) for step in steps
    )


def _selected(loaded: Loaded) -> frozenset[str]:
    return frozenset(loaded.project.syncs) if loaded.selection.everything else loaded.selection.syncs()


def _nothing(steps: list[StepResult]) -> bool:
    return all(step.status == "done" and not (step.counts or {}).get("requests") for step in steps)


# ------------------------------------------------------------------------------------------------ build
def _into(loaded: Loaded, scratch: str) -> tuple[Loaded, Warehouse]:
    """The same target with other schemas."""
    names = {"schema_": scratch, "state_schema": f"{scratch}_state"}
    target = loaded.target.model_copy(update={"warehouse": loaded.target.warehouse.model_copy(update=names)})
    target._name = loaded.target.name
    settings = replace(loaded.settings, as_of=loaded.as_of)
    lowered = _lowered_for(loaded, scratch)
    return replace(loaded, target=target, lowered=lowered, settings=settings), connect(target, loaded.root)


def _lowered_for(loaded: Loaded, schema: str) -> Lowered:
    from cdp.compile.lower import lower_project

    return lower_project(loaded.project, loaded.project.reading, loaded.as_of, schema, loaded.selection.wanted)


def names_of(warehouse: Warehouse) -> Names:
    """Where a warehouse keeps our tables."""
    return Names(warehouse.schema, warehouse.state_schema)


def _build(
    loaded: Loaded,
    warehouse: Warehouse,
    run_id: str,
    forced: frozenset[str],
    watch: Watch | None,
    stop: Stop | None,
    in_order: bool,
    before: tuple[StepResult, ...] = (),
) -> list[StepResult]:
    state = open_state(warehouse)
    warehouse.ensure_schemas()
    with lease(warehouse, f"build:{warehouse.schema}", Holder.here(run_id), loaded.settings.wait):
        last = _last_build(warehouse)
        if in_order and last is not None and loaded.as_of < last:
            raise ProjectError.of(
                "CDP187", f"--as-of {loaded.as_of:%Y-%m-%dT%H:%M:%SZ} is older than the last build ({last:%Y-%m-%dT%H:%M:%SZ})",
                hint="ids and stays only go forward; look back with `build --scratch SCHEMA`",
            )  # fmt: skip
        check_published(loaded, warehouse)
        plan = Compiler(loaded.lowered, facts_of(loaded.target), names_of(warehouse), run_id, forced).plan()
        started = datetime.now(UTC)
        if watch is not None:
            for step in before:
                watch(Event("end", step.id, message=step.message, status=step.status))
        steps = [*before]
        builder = Builder(
            warehouse, watch, stop, lambda step: missing_source(loaded, warehouse, step.resource),
            another=lambda: connect(loaded.target, loaded.root),
            threads=loaded.target.warehouse.threads if warehouse.side_by_side else 1,
        )  # fmt: skip
        steps += builder.run(plan)
        code = worst([step.exit_code for step in steps])
        if not any(step.exit_code == 4 for step in steps):
            _note(state, loaded, run_id, "build", started, code, steps)
        return steps


def _last_build(warehouse: Warehouse) -> datetime | None:
    """The instant of the last build that is noted."""
    if "runs" not in warehouse.tables(warehouse.state_schema):
        return None
    state = State(warehouse)
    found = state.rows("last_build", runs=state.table("runs"))
    value: Any = found[0][0] if found else None
    if value is None:
        return None
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _note(
    state: State, loaded: Loaded, run_id: str, command: str, started: datetime, code: int, steps: list[StepResult]
) -> None:
    """A row in `runs`."""
    done = any(step.status == "done" for step in steps)
    state.execute(
        "note_run", runs=state.table("runs"), run_id=text(run_id), command=text(command), target=text(loaded.target.name),
        as_of=timestamp(loaded.as_of.astimezone(UTC).replace(tzinfo=None)), started_at=timestamp(started.replace(tzinfo=None)),
        ended_at=timestamp(datetime.now(UTC).replace(tzinfo=None)),
        status=text("done" if code == 0 else "part" if done else "failed"), exit_code=number(code), version=text(__version__),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ sync
def _syncs(
    loaded: Loaded, warehouse: Warehouse, plans: Mapping[str, SyncPlan], run_id: str, bad: Mapping[str, StepResult],
    asked: dict[str, Any], watch: Watch | None, stop: Stop | None,
) -> list[StepResult]:  # fmt: skip
    """The selected syncs, one after the other, those that others wait for first."""
    results: list[StepResult] = []
    broken: dict[str, str] = {}
    for name in _order(plans):
        plan = plans[name]
        why = next(
            (f"it comes after `{other}`, which {broken[other]}" for other in plan.after if other in broken), None
        )
        if f"sync:{name}" in bad:
            step = bad[f"sync:{name}"]
            why = f"its table is stale: {step.id} {_became(step.status)}: {step.message}".rstrip(": ")
        if stop is not None and stop():
            result = StepResult(
                f"sync:{name}", f"sync:{name}", "interrupted", message="stopped before it began", exit_code=130
            )
        elif why is not None:
            result = StepResult(f"sync:{name}", f"sync:{name}", "skipped", message=why)
        else:
            result = _sync_one(loaded, warehouse, plan, run_id, asked, watch, stop)
        results.append(result)
        if result.status != "done":
            broken[name] = _became(result.status)
        if watch is not None:
            watch(Event("end", result.id, seconds=result.seconds, message=result.message, status=result.status))
    if plans and not asked["dry_run"] and not any(result.exit_code in (4, 5) for result in results):
        deliveries(State(warehouse), loaded.project.syncs)
    return results


def _became(status: str) -> str:
    """What became of a step or sync, in words."""
    return {"skipped": "was skipped", "held": "is held by a guard", "interrupted": "was interrupted"}.get(
        status, status
    )


def _order(plans: Mapping[str, SyncPlan]) -> list[str]:
    graph = {name: sorted(other for other in plans[name].after if other in plans) for name in sorted(plans)}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ProjectError.of(
            "CDP114", f"syncs wait for each other: {' ► '.join(error.args[1])}", hint="`after` must not go round"
        ) from error


def _sync_one(
    loaded: Loaded,
    warehouse: Warehouse,
    plan: SyncPlan,
    run_id: str,
    asked: dict[str, Any],
    watch: Watch | None,
    stop: Stop | None,
) -> StepResult:
    from cdp.destination.connect import destination
    from cdp.sync.engine import sync_one
    from cdp.sync.result import SyncOptions

    started, step_id = time.monotonic(), f"sync:{plan.name}"
    if loaded.target.production:  # the first run against a real system is looked at before anything is sent
        plan = replace(plan, guard={"first_run": "stop", **plan.guard})
    kept: dict[str, Any] = _retention(loaded)
    options = SyncOptions(**asked, strict=loaded.settings.strict, wait=loaded.settings.wait or None, stop=stop, **kept)
    try:
        if warehouse.columns(plan.table) is None:
            raise ProjectError.of(
                "CDP188",
                f"sync `{plan.name}` has no rows yet: {plan.table} was not built",
                hint="cdp build first, or cdp run",
            )
        there = destination(plan.destination, loaded.target.destinations[plan.destination], loaded.root)
        found = sync_one(
            plan, warehouse, there, run_id=run_id, as_of=loaded.as_of, project_dir=loaded.root, options=options,
            progress=_Progress(watch) if watch is not None else None,
        )  # fmt: skip
    except WarehouseError as error:
        return StepResult(
            step_id,
            step_id,
            "failed",
            time.monotonic() - started,
            message=error.message,
            code=error.code,
            exit_code=error.exit_code,
        )
    except CdpError as error:
        problems = error.problems if isinstance(error, ProjectError) else ()
        return StepResult(
            step_id, step_id, "failed", time.monotonic() - started, message=error.message, code=error.code,
            exit_code=error.exit_code, problems=problems,
        )  # fmt: skip
    first = found.problems[0] if found.problems else None
    counts: dict[str, int] = asdict(found.counts)
    if found.dry_run:
        counts |= {f"would_{kind}": number_ for kind, number_ in found.planned.items()}
    return StepResult(
        step_id, step_id, found.status, found.seconds, message=first.message if first is not None else "",
        code=first.code if first is not None else None, exit_code=found.exit_code, counts=counts, problems=found.problems,
        sample=found.sample,
    )  # fmt: skip


def _retention(loaded: Loaded) -> dict[str, int]:
    """How long logs and runs are kept, in microseconds."""
    retain = loaded.project.file.retain
    found = {
        f"retain_{name}_us": kept.microseconds or kept.months * 30 * 86_400_000_000 for name, kept in retain.items()
    }
    return {str(name): value for name, value in found.items() if value}


class _Progress:
    """The sync engine's progress as events."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.done = 0
        self.total = 0

    def started(self, sync: str, rows: int) -> None:
        self.done, self.total = 0, rows
        self.watch(Event("start", f"sync:{sync}", total=rows))

    def advanced(self, sync: str, rows: int) -> None:
        self.done += rows
        self.watch(Event("progress", f"sync:{sync}", done=self.done, total=self.total))

    def ended(self, sync: str) -> None:
        """The result tells more."""


# ------------------------------------------------------------------------------------------------ ends
def _ended(
    loaded: Loaded, run_id: str, steps: list[StepResult], command: str, warehouse: Warehouse, *, quiet: bool = False
) -> RunResult:
    code = worst([step.exit_code for step in steps])
    problems = (*loaded.warnings, *(problem for step in steps for problem in step.problems))
    result = RunResult(run_id, loaded.as_of, loaded.target.name, tuple(steps), code, problems)
    write_run_results(loaded.root, result, command, loaded.secrets)
    return result
