"""What related rows add up to, and what the first or last one says: aggregates and the tests of them."""

from __future__ import annotations

from typing import Protocol

from sqlglot import exp

from cdp.compile.comparisons import Comparer, Unfit
from cdp.compile.render import call
from cdp.compile.scan import Aggregate, Kind
from cdp.compile.scope import Scope, Tables
from cdp.compile.typed import NUMBERS, Typed, as_text, both, cast, either, read_as, true_or_false
from cdp.errors import Mark
from cdp.project.condition import Comparison, Duration, Measure, Ref, Test


class Keyed(Tables, Protocol):
    """Tables that can break ties of time by the key of a row."""

    def keyed(self, scope: Scope) -> exp.Expr: ...


class Measures:
    """Lowers sums, averages, extremes, distinct counts, first and last."""

    def __init__(self, tables: Keyed) -> None:
        self.tables = tables
        self.reading = tables.reading

    def measure(
        self, measure: Measure, where: list[exp.Expr], rows: Scope, comparer: Comparer
    ) -> tuple[list[Aggregate], exp.Expr]:
        value = rows.value(measure.path, measure.mark) or Typed(exp.null(), "decimal")
        conditions = tuple(where)
        if measure.kind == "distinct":
            aggregate = Aggregate("distinct", conditions, as_text(value) if value.loose else value.tree)
            return [aggregate], comparer.test(
                Typed(or_zero(aggregate.column()), "int"), measure.test, measure.path, measure.mark
            )
        if measure.kind in ("sum", "avg"):
            if not value.loose and value.type not in NUMBERS:
                self.reading.problem(
                    "CDP115", f"`{measure.kind}` of `{measure.path}`, which is {value.type}", measure.mark
                )
            total = Aggregate("sum", conditions, read_as(value, "decimal", comparer.zone))
            if measure.kind == "sum":
                return [total], comparer.test(
                    Typed(or_zero(total.column()), "decimal"), measure.test, measure.path, measure.mark
                )
            present = Aggregate("present", conditions, read_as(value, "decimal", comparer.zone))
            return [total, present], self._average(total, present, measure, comparer)
        kind = value.type if not value.loose else self._kind_asked(measure.test)
        which: Kind = "min" if measure.kind == "min" else "max"
        plain = read_as(value, kind or "text", comparer.zone)
        aggregate = Aggregate(which, conditions, call("cdp_binary", plain) if kind in ("text", None) else plain)
        return [aggregate], comparer.test(
            Typed(aggregate.column(), kind or "text"), measure.test, measure.path, measure.mark
        )

    def _kind_asked(self, test: Test) -> str:
        """The type that the operands of a test suggest for a value nobody told the type of."""
        for comparison in test:
            values = comparison.value if isinstance(comparison.value, tuple) else (comparison.value,)
            if any(isinstance(value, Duration) for value in values) or comparison.operator in ("before", "after"):
                return "timestamp"
            if any(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
                return "decimal"
            if comparison.operator in ("gt", "gte", "lt", "lte") and all(isinstance(value, str) for value in values):
                return "timestamp"  # texts have no order
        return "text"

    def _average(self, total: Aggregate, present: Aggregate, measure: Measure, comparer: Comparer) -> exp.Expr:
        """An average is compared as sum against value × count, so that equality at the edge is the same everywhere."""
        parts: list[exp.Expr] = []
        for comparison in measure.test:
            negative = comparison.operator in ("ne", "not_in")
            operator = {"ne": "eq", "not_in": "in"}.get(comparison.operator, comparison.operator)
            if operator in ("exists", "empty"):
                known = exp.not_(exp.Is(this=total.column(), expression=exp.null()))
                parts.append(known if (operator == "exists") == bool(comparison.value) else exp.not_(known))
                continue
            operands = comparison.value if isinstance(comparison.value, tuple) else (comparison.value,)
            scaled = [self._scaled(operand, present, comparer, comparison, measure) for operand in operands]
            tree = _compare(total.column(), operator, scaled)
            if tree is None:
                self.reading.problem(
                    "CDP115", f"`{comparison.operator}` on an average", comparison.mark or measure.mark
                )
                tree = exp.false()
            tree = true_or_false(tree)
            parts.append(exp.not_(tree) if negative else tree)
        return both(parts)

    def _scaled(
        self, operand: object, present: Aggregate, comparer: Comparer, comparison: Comparison, measure: Measure
    ) -> exp.Expr:
        try:
            assert isinstance(operand, str | int | float | bool | Ref)
            value = comparer._operand(
                operand, comparer._kind(Typed(exp.null(), "decimal"), [operand], comparison.operator)
            )
        except (Unfit, AssertionError):
            self.reading.problem("CDP115", f"`avg` of `{measure.path}` is a number", comparison.mark or measure.mark)
            value = exp.null()
        return exp.Mul(this=exp.cast(value, "DECIMAL(18, 9)"), expression=present.column())

    def edge(
        self, which: str, holds: exp.Expr, where: list[exp.Expr], rows: Scope, mark: Mark | None
    ) -> Aggregate | None:
        """What the first or last row says; NULLs in it included, so the answer of the row is what is aggregated."""
        at = rows.row_at
        if at is None:
            self.reading.problem(
                "CDP117", f"`{which}` of {rows.node.name}, whose rows have no time", mark, "give the source a `time:`"
            )
            return None
        one = exp.Case().when(holds, exp.Literal.number(1)).else_(exp.Literal.number(0))
        kind: Kind = "first" if which == "first" else "last"
        return Aggregate(kind, tuple(where), cast(one, "int"), at, self.tables.keyed(rows))


def or_zero(tree: exp.Expr) -> exp.Expr:
    """What a count or a sum of no rows is."""
    return exp.Coalesce(this=tree, expressions=[exp.Literal.number(0)])


def _compare(value: exp.Expr, operator: str, operands: list[exp.Expr]) -> exp.Expr | None:
    simple = {"eq": exp.EQ, "gt": exp.GT, "gte": exp.GTE, "lt": exp.LT, "lte": exp.LTE}
    if operator in simple:
        return simple[operator](this=value, expression=operands[0])
    if operator == "between":
        return exp.and_(exp.GTE(this=value, expression=operands[0]), exp.LTE(this=value.copy(), expression=operands[1]))
    if operator == "in":
        return either([value.copy().eq(operand) for operand in operands])
    return None
