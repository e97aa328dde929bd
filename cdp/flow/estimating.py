"""What a build would scan, told before it runs: `cdp build --estimate`."""

from __future__ import annotations

from sqlglot import exp

from cdp.compile.plan import Statement
from cdp.errors import StatementError
from cdp.flow.artifacts import compiled_plan, statements
from cdp.flow.loading import load_all
from cdp.flow.results import Estimate, Settings, StepEstimate
from cdp.warehouse.base import Warehouse
from cdp.warehouse.profiles import connect


def estimate(settings: Settings) -> Estimate:
    """The statements of each step, the tables of the sources that they scan, and the bytes of these scans where the
    engine can tell without running them. Nothing is run and nothing is written.

    Tables that the build itself makes are not there yet: nobody can tell what reading them would take. Statements of a
    loop are counted as in `compile`: each branch once.
    """
    loaded = load_all(settings)
    plan = compiled_plan(loaded)
    warehouse = connect(loaded.target, loaded.root)
    own = (warehouse.schema, warehouse.state_schema)
    try:
        steps = []
        for step in plan.steps:
            found = list(statements(step))
            outside = [statement for statement in found if _outside(statement, own)]
            files = step.resource.removeprefix("source:")
            reads = tuple(table or files for statement in outside for table in _outside(statement, own))
            told = [_bytes(warehouse, statement) for statement in outside if not _inside(statement, own)]
            known = [count for count in told if count is not None]
            steps.append(StepEstimate(step.id, step.resource, len(found), reads, sum(known) if known else None))
    finally:
        warehouse.close()
    scanned = [step.bytes for step in steps if step.bytes is not None]
    return Estimate(loaded.target.name, loaded.as_of, tuple(steps), sum(scanned) if scanned else None)


def _tables(statement: Statement) -> list[exp.Table]:
    return [] if statement.tree is None else list(statement.tree.find_all(exp.Table))


def _outside(statement: Statement, own: tuple[str, ...]) -> list[str]:
    """The tables of sources that a statement reads, as often as it names them; files have no name."""
    ctes = {cte.alias for cte in statement.tree.find_all(exp.CTE)} if statement.tree is not None else set()
    foreign = [table for table in _tables(statement) if table.db not in own and (table.db or table.name not in ctes)]
    return [".".join(part.name for part in table.parts) if table.name else "" for table in foreign]


def _inside(statement: Statement, own: tuple[str, ...]) -> bool:
    return any(table.db in own for table in _tables(statement))


def _bytes(warehouse: Warehouse, statement: Statement) -> int | None:
    try:
        return warehouse.estimate(statement.sql)
    except StatementError:  # a source that is not there: `validate --online` says so, and where
        return None
