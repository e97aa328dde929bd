"""An audience looked at without building it: one projection with a column per condition, over the same leaves."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from cdp.compile.compiler import Compiler
from cdp.compile.lowering import AudiencePlan
from cdp.compile.plan import Plan, Script, Statement, Step
from cdp.compile.typed import both
from cdp.errors import Mark


@dataclass(frozen=True)
class Preview:
    """The steps that make the table of verdicts, and the statements that read it."""

    plan: Plan
    table: str
    conditions: tuple[tuple[str, Mark | None], ...]
    counts: Statement  # one row: population, members, then three numbers per condition
    sample: Statement  # (from, limit): members with what is not personal
    top: int | None


def preview(compiler: Compiler, audience: AudiencePlan, limit: int) -> Preview:
    """What `preview` runs for one audience; `limit` is the number of rows in the sample."""
    lowering, entity = compiler.lowering, audience.entity
    steps = [
        step
        for step in compiler.plan().steps
        if not step.id.startswith(("audience:", "verdicts:", "entity:", "mapped:", "views"))
    ]
    table = compiler.table(f"tmp_preview_{audience.audience.name}")
    known = [] if audience.audience.of.anonymous else lowering.known(entity)
    meant = both([*known, *lowering.exclusions(audience.audience.name, entity)])
    columns = {f"{entity}_id": exp.column(f"{entity}_id", table="e"), "meant": meant}
    columns.update({f"c{index}": tree for index, (_, _, tree) in enumerate(audience.parts)})
    columns.update({f"o{index}": value for index, (value, _) in enumerate(audience.order)})
    scope = lowering.scope(entity)

    def script() -> Script:
        yield compiler._projection(table, scope, columns)

    needs = tuple(step.id for step in steps)
    steps.append(Step(f"preview:{audience.audience.name}", f"audience:{audience.audience.name}", script, needs=needs))
    names = [f"c{index}" for index in range(len(audience.parts))]
    counts = compiler.renderer.statement(
        "compile/preview_counts", "counts", "probe", "", table=table, conditions=_questions(names), all=_all(names)
    )
    order = [{"column": f"o{index}", "descending": down} for index, (_, down) in enumerate(audience.order)]
    top = audience.audience.limit.top if audience.audience.limit else None
    sample = compiler.renderer.statement(
        "compile/preview_sample", "sample", "probe", "", table=table, key=f"{entity}_id", all=_all(names), order=order,
        masked=compiler.table(f"{entity}_masked"), limit=min(limit, top) if top is not None else limit,
    )  # fmt: skip
    conditions = tuple((title, mark) for title, mark, _ in audience.parts)
    return Preview(Plan(tuple(steps), {}), table, conditions, counts, sample, top)


def _all(names: list[str]) -> exp.Expr:
    return both([exp.column(name) for name in names])


def _questions(names: list[str]) -> list[dict[str, object]]:
    return [
        {
            "alone": exp.column(name),
            "cumulative": _all(names[: index + 1]),
            "only": exp.and_(exp.not_(exp.column(name)), *(exp.column(other) for other in names if other != name)),
        }
        for index, name in enumerate(names)
    ]
