"""What a step reads is made by a step that it needs, so that any order of them gives the same; a paid source is read once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from sqlglot import exp

from cdp.compile.plan import Plan, Statement
from cdp.flow.artifacts import statements
from cdp.warehouse.functions import FACTS
from tests.dialects.projects import lowered, on_tables, plan_of


def tables(statement: Statement) -> list[str]:
    assert statement.tree is not None
    return [f"{table.db}.{table.name}" for table in statement.tree.find_all(exp.Table) if table.db]


def all_needs(plan: Plan) -> dict[str, set[str]]:
    """For each step all that must have ended before it: a plan's order never puts a step before what it needs."""
    found: dict[str, set[str]] = {}
    for step in plan.steps:
        there = [need for need in step.needs if need in found]
        found[step.id] = {*there, *(above for need in there for above in found[need])}
    return found


@pytest.mark.parametrize("engine", ["duckdb", "bigquery"])
@pytest.mark.parametrize("name", ["shop", "everything"])
def test_a_step_needs_those_whose_tables_it_reads(name: str, engine: str, tmp_path: Path) -> None:
    plan = plan_of(lowered(on_tables(name, tmp_path / name), engine), engine)
    needs = all_needs(plan)
    found = {step.id: list(statements(step)) for step in plan.steps}
    makers = {
        statement.target.removesuffix("__new"): step_id
        for step_id, some in found.items()
        for statement in some
        if statement.action in ("table", "view")
    }
    missing = {
        (step_id, table)
        for step_id, some in found.items()
        for statement in some
        for table in tables(statement)
        if (maker := makers.get(table.removesuffix("__new"))) is not None and maker not in {step_id, *needs[step_id]}
    }
    assert not missing
    assert len(makers) > 40


@pytest.mark.parametrize("engine", FACTS)
@pytest.mark.parametrize("name", ["shop", "everything"])
def test_a_source_is_read_once_where_its_scan_is_paid_for(name: str, engine: str, tmp_path: Path) -> None:
    """BigQuery bills bytes scanned (https://cloud.google.com/bigquery/pricing), Snowflake and Spark the time of it."""
    plan = plan_of(lowered(on_tables(name, tmp_path / name), engine), engine)
    scans: Counter[tuple[str, str]] = Counter()
    for step in plan.steps:
        if step.id.startswith("source:"):
            for statement in statements(step):
                scans.update((step.id, table) for table in tables(statement) if table.startswith("raw."))
    assert scans
    assert max(scans.values()) == (1 if FACTS[engine].reads_once else 2)
