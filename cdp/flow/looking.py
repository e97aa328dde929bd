"""Commands that look and change nothing: validate, preview, logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cdp.compile.compiler import Compiler
from cdp.compile.lower import Wanted, lower_project
from cdp.compile.preview import preview as preview_of
from cdp.compile.render import text
from cdp.errors import Problem, ProjectError, StatementError, suggestion
from cdp.flow.artifacts import compiled_plan, statements
from cdp.flow.building import Builder
from cdp.flow.catalogue import check_published, drift
from cdp.flow.loading import Loaded, load_all
from cdp.flow.results import CheckResult, ConditionCount, PreviewResult, Settings
from cdp.flow.running import names_of, new_run_id
from cdp.flow.selection import resources
from cdp.project import load
from cdp.sync.lease import Holder, lease
from cdp.sync.state import State, open_state
from cdp.warehouse.base import Warehouse
from cdp.warehouse.profiles import connect, facts_of


def check(settings: Settings, *, compile: bool = False, all_targets: bool = False, online: bool = False) -> CheckResult:
    """All mistakes of the project; raises ProjectError with them. What is left are warnings."""
    try:
        loaded = load_all(settings, check=True)
    except ProjectError as error:
        if {problem.code for problem in error.problems} != {"CDP307"} or compile or online:
            raise
        return _without_profile(settings, error)
    problems, made = list(loaded.warnings), 0
    targets = loaded.profile.targets if all_targets else (loaded.target.name,)
    for target in targets if compile else ():
        other = loaded if target == loaded.target.name else load_all(replace(settings, target=target), check=True)
        made += sum(1 for step in compiled_plan(other).steps for _ in statements(step))
    if online:
        warehouse = connect(loaded.target, loaded.root)
        try:
            problems += drift(loaded, warehouse)
        finally:
            warehouse.close()
        if any(problem.severity == "error" for problem in problems):
            raise ProjectError(problems)
    return CheckResult(tuple(problems), len(resources(loaded.project)), made)


def _without_profile(settings: Settings, error: ProjectError) -> CheckResult:
    """CI often has no profiles.yml: everything but the destinations can be checked."""
    project = load(settings.project_dir, variables=settings.vars)
    as_of = settings.as_of or datetime.now(UTC)
    lower_project(project, project.reading, as_of, "cdp", check=True)
    if project.reading.errors:
        raise ProjectError(project.reading.problems)
    first = error.problems[0]
    note = Problem(first.code, f"{first.message}: destinations were not checked", hint=first.hint, severity="warning")
    return CheckResult((*project.reading.problems, note), len(resources(project)))


# ------------------------------------------------------------------------------------------------ preview
def preview(settings: Settings, audience: str, *, limit: int = 20) -> PreviewResult:
    """An audience as it would be now, over the entities as they were built last. Changes nothing but scratch tables."""
    whole = load_all(settings)
    if audience not in whole.project.audiences:
        hint = suggestion(audience, list(whole.project.audiences), "audiences")
        raise ProjectError.of("CDP112", f"there is no audience `{audience}`", hint=hint)
    wanted = Wanted(frozenset(), frozenset({audience}), frozenset())
    lowered = lower_project(whole.project, whole.project.reading, whole.as_of, whole.target.warehouse.schema_, wanted)
    loaded = replace(whole, lowered=lowered)
    warehouse = connect(loaded.target, loaded.root, settings.wait)
    try:
        open_state(warehouse)
        run_id = new_run_id(loaded.as_of)
        with lease(warehouse, f"build:{warehouse.schema}", Holder.here(run_id), settings.wait):
            check_published(loaded, warehouse)
            return _preview(loaded, warehouse, audience, limit, run_id)
    finally:
        warehouse.close()


def _preview(loaded: Loaded, warehouse: Warehouse, audience: str, limit: int, run_id: str) -> PreviewResult:
    compiler = Compiler(loaded.lowered, facts_of(loaded.target), names_of(warehouse), run_id)
    plan = loaded.lowered.lowering.audiences[audience]
    found = preview_of(compiler, plan, limit)
    try:
        for step in Builder(warehouse).run(found.plan):
            if step.status == "failed":
                raise StatementError(step.code or "CDP301", step.message)
        population, size, *rest = [int(str(value or 0)) for value in warehouse.rows(found.counts.sql)[0]]
        rows = warehouse.rows(found.sample.sql)
        columns = warehouse.describe(found.sample.sql)
    finally:
        warehouse.drop(found.table)
    conditions = tuple(
        ConditionCount(title, str(mark or ""), *rest[3 * index : 3 * index + 3])
        for index, (title, mark) in enumerate(found.conditions)
    )
    size = min(size, found.top) if found.top is not None else size
    return PreviewResult(
        audience,
        plan.entity,
        size,
        population,
        conditions,
        tuple(column.name.lower() for column in columns),
        tuple(rows),
    )


# ------------------------------------------------------------------------------------------------ logs
def logs(
    settings: Settings, *, sync: str | None = None, failed: bool = False, limit: int = 50
) -> tuple[Mapping[str, Any], ...]:
    """What destinations answered, newest first."""
    loaded = load_all(settings, wanted=Wanted(frozenset(), frozenset(), frozenset()))
    if sync is not None and sync not in loaded.project.syncs:
        raise ProjectError.of(
            "CDP112", f"there is no sync `{sync}`", hint=suggestion(sync, list(loaded.project.syncs), "syncs")
        )
    warehouse = connect(loaded.target, loaded.root)
    names = ("logged_at", "sync", "run_id", "row_key", "operation", "status", "code", "message", "fields")
    try:
        if "sync_log" not in warehouse.tables(warehouse.state_schema):
            return ()
        state = State(warehouse)
        rows = state.rows(
            "read_log", log=state.table("sync_log"), columns=list(names), sync=text(sync) if sync is not None else None,
            failed=failed, limit=limit,
        )  # fmt: skip
        return tuple(dict(zip(names, row, strict=True)) for row in rows)
    finally:
        warehouse.close()
