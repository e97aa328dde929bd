"""Conditions ► two-valued SQL over a scope. The meaning of each operator is written once, here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Protocol

from sqlglot import exp

from cdp.compile.comparisons import Comparer, answer
from cdp.compile.measures import Measures, or_zero
from cdp.compile.render import call, text
from cdp.compile.rows import digest, lower_snippet
from cdp.compile.scan import Aggregate, Scan
from cdp.compile.scope import Scope, Tables
from cdp.compile.typed import Typed, as_text, both, either, read_as, true_or_false
from cdp.compile.windows import Clock, timestamp
from cdp.errors import Mark
from cdp.project.condition import (
    All,
    Any_,
    Comparison,
    Condition,
    Did,
    FieldTest,
    Has,
    InAudience,
    Not,
    Ref,
    Sql,
    Test,
    Window,
)
from cdp.project.grammar import OPTIONS, duration
from cdp.project.schema import Hop, Node
from cdp.project.snippet import ColumnUse
from cdp.project.tongue import Tongue

ZERO = Decimal(0)


class Members(Tables, Protocol):
    """Tables, and the audiences and scans that conditions need besides."""

    clock: Clock
    tongue: Tongue

    def members(self, audience: str, mark: Mark | None) -> tuple[str, exp.Expr] | None: ...
    def scan(self, scope: Scope, hops: tuple[Hop, ...]) -> tuple[Scan, Scope]: ...
    def keyed(self, scope: Scope) -> exp.Expr: ...
    def streams(self, node: Node) -> list[str]: ...
    def leaf(self) -> AbstractContextManager[None]: ...


def lower(condition: Condition, scope: Scope, tables: Members) -> exp.Expr:
    """The two-valued SQL of a condition about the row of `scope`."""
    return Lowerer(tables).lower(condition, scope)


class Lowerer:
    """Walks a condition tree; knows nothing of where rows stand."""

    def __init__(self, tables: Members) -> None:
        self.tables = tables
        self.reading = tables.reading
        self._measures = Measures(tables)

    def comparer(self, scope: Scope) -> Comparer:
        """Tests whose refs are paths from the row of `scope`."""

        def ref(reference: Ref) -> Typed | None:
            return scope.value(reference.path, reference.mark)

        return Comparer(self.tables.clock, self.reading, ref)

    def lower(self, condition: Condition, scope: Scope) -> exp.Expr:
        """The two-valued SQL of a condition."""
        if isinstance(condition, All):
            return both([self.lower(part, scope) for part in condition.parts])
        if isinstance(condition, Any_):
            return either([self.lower(part, scope) for part in condition.parts])
        if isinstance(condition, Not):
            return exp.not_(self.lower(condition.part, scope))
        if isinstance(condition, FieldTest):
            return self._field(condition, scope)
        if isinstance(condition, Has):
            return self._has(condition, scope)
        if isinstance(condition, Did):
            return self._did(condition, scope)
        if isinstance(condition, InAudience):
            return self._in(condition, scope)
        return self._sql(condition, scope)

    def _field(self, condition: FieldTest, scope: Scope) -> exp.Expr:
        value = scope.value(condition.path, condition.mark, instead=tuple(OPTIONS))
        if value is None:
            return exp.false()
        return self.comparer(scope).test(value, condition.test, condition.path, condition.mark)

    def _sql(self, condition: Sql, scope: Scope) -> exp.Expr:
        kinds: dict[str, str | None] = {}

        def column(use: ColumnUse) -> exp.Expr | None:
            if str(use) == "as_of":
                kinds["as_of"] = "timestamp"
                return self.tables.clock.literal()
            value = scope.value(str(use), condition.mark)
            if value is None or value.unknown:
                return exp.null()
            kinds[str(use)] = value.type or "text"
            return as_text(value) if value.loose else value.tree

        found = lower_snippet(
            condition.text, self.tables.tongue, condition.mark, self.reading, column, kinds, boolean=True
        )
        return true_or_false(found.tree)

    # ------------------------------------------------------------------------------------------ audiences
    def _in(self, condition: InAudience, scope: Scope) -> exp.Expr:
        found = self.tables.members(condition.audience, condition.mark)
        if found is None:
            return exp.false()
        entity, relation = found
        if scope.node.name != entity:
            self.reading.problem(
                "CDP117", f"`{condition.audience}` is an audience of {entity}, and this asks about {scope.node.name} rows",
                condition.mark, f"write {{has: {entity}, where: {{in: {condition.audience}}}}}", length=len(condition.audience),
            )  # fmt: skip
            return exp.false()
        alias = f"{scope.alias}_in_{condition.audience}"
        if len(alias) > 63:  # Postgres would cut it, and two could become one
            alias = f"{alias[:50]}_{digest(alias)}"
        scope.join(
            alias, relation, exp.column(f"{entity}_id", table=alias).eq(exp.column(f"{entity}_id", table=scope.alias))
        )
        inside: exp.Expr = exp.not_(exp.Is(this=exp.column(f"{entity}_id", table=alias), expression=exp.null()))
        if condition.since is not None:
            entered = exp.column("entered_at", table=alias)
            inside = exp.and_(
                inside, *(self._since(entered, comparison, condition.mark) for comparison in condition.since)
            )
        return exp.not_(inside) if condition.negative else inside

    def _since(self, entered: exp.Expr, comparison: Comparison, mark: Mark | None) -> exp.Expr:
        """For how long: at least 7 days means entered at or before as_of - 7 days."""
        orders = {"gte": exp.LTE, "gt": exp.LT, "lte": exp.GTE, "lt": exp.GT}
        length = duration(comparison.value)
        if comparison.operator not in orders or length is None:
            self.reading.problem(
                "CDP115", "`for` needs a duration to compare with", comparison.mark or mark, "such as {gte: 7d}"
            )
            return exp.false()
        build = orders[comparison.operator]
        return true_or_false(build(this=entered.copy(), expression=timestamp(self.tables.clock.back(length))))

    # ------------------------------------------------------------------------------------------ related rows
    def _has(self, condition: Has, scope: Scope) -> exp.Expr:
        place = scope.place(condition.path, condition.mark)
        if place is None:
            return exp.false()
        if place.column is not None or not place.hops:
            self.reading.problem(
                "CDP117", f"`{condition.path}` is a value, not related rows", condition.mark,
                f"ask it directly: {{{condition.path}: test}}", length=len(condition.path),
            )  # fmt: skip
            return exp.false()
        if not any(hop.many for hop in place.hops):
            return self._has_one(condition, scope, place.hops)
        with self.tables.leaf():
            scan, rows = self.tables.scan(scope, place.hops)
            base = self._during(condition.during, rows, condition.mark)
            where = base + self.conjuncts(condition.where, rows)
            return both([ask(scan, scope) for ask in self._asks(condition, base, where, rows)])

    def _has_one(self, condition: Has, scope: Scope, hops: tuple[Hop, ...]) -> exp.Expr:
        """`has` on a to-one path asks about the one related row."""
        row = scope.follow(hops)
        there: exp.Expr = exp.not_(exp.Is(this=row.key(hops[-1].keys[0][1]), expression=exp.null()))
        if condition.measures or condition.first or condition.last or condition.during:
            self.reading.problem(
                "CDP117",
                f"`{condition.path}` leads to one row: there is nothing to add up",
                condition.mark,
                "ask it in `where:`",
            )
        found: exp.Expr = there
        if condition.where is not None:
            holds = self.lower(condition.where, row)
            if condition.match == "all" and condition.vacuous:
                return exp.or_(exp.not_(there), holds)
            found = exp.and_(there, holds)
        if condition.count is not None:
            one = exp.Case().when(found, exp.Literal.number(1)).else_(exp.Literal.number(0))
            return self.comparer(scope).test(Typed(one, "int"), condition.count, "count", condition.mark)
        return exp.not_(found) if condition.match == "none" else found

    def _did(self, condition: Did, scope: Scope) -> exp.Expr:
        streams = list(condition.streams) or self.tables.streams(scope.node)
        if not streams and any(kind == "source" for kind, _ in scope.lowering.schema.project.broken):
            return exp.false()  # it may be the stream that could not be read
        if not streams:
            self.reading.problem(
                "CDP117", f"no event stream knows of {scope.node.name}", condition.mark,
                "a stream is a source with `event:` or `spec:`, and ids of the entity",
            )  # fmt: skip
            return exp.false()
        detailed = condition.days or condition.measures or condition.first or condition.last
        if len(streams) > 1 and detailed:
            self.reading.later(
                "`days`, sums, first and last over several streams at once (name one in `from:`)", condition.mark
            )
            return exp.false()
        with self.tables.leaf():
            return self._did_in(streams, condition, scope)

    def _did_in(self, streams: list[str], condition: Did, scope: Scope) -> exp.Expr:
        found: list[tuple[Scan, Aggregate]] = []
        parts: list[exp.Expr] = []
        for stream in streams:
            read = self._stream(stream, condition, scope)
            if read is None:
                return exp.false()
            scan, rows = read
            base = self._events(condition, rows) + self._during(condition.during, rows, condition.mark)
            where = base + self.conjuncts(condition.where, rows)
            if len(streams) == 1 or condition.count is None:
                asks = self._asks(condition, base, where, rows)
                parts.append(both([ask(scan, scope) for ask in asks]))
            found.append((scan, Aggregate("count", tuple(where))))
        if len(streams) > 1 and condition.count is not None:
            return self._count_over(found, condition.count, scope, condition.mark)
        return exp.and_(*parts) if condition.negative else either(parts)

    def _count_over(
        self, found: Iterable[tuple[Scan, Aggregate]], test: Test, scope: Scope, mark: Mark | None
    ) -> exp.Expr:
        counts = [
            exp.Coalesce(this=scope.measure(scan, [count])[count.name], expressions=[exp.Literal.number(0)])
            for scan, count in found
        ]
        total: exp.Expr = counts[0]
        for count in counts[1:]:
            total = exp.Add(this=total, expression=count)
        return self.comparer(scope).test(Typed(exp.Paren(this=total), "int"), test, "count", mark)

    def _stream(self, name: str, condition: Did, scope: Scope) -> tuple[Scan, Scope] | None:
        known = self.tables.streams(scope.node)
        if name not in known and ("source", name) in scope.lowering.schema.project.broken:
            return None
        if name not in known:
            self.reading.unknown(
                "CDP112",
                f"`{name}` is no event stream of {scope.node.name}",
                name,
                known,
                "streams",
                condition.from_mark or condition.mark,
            )
            return None
        place = scope.place(name, condition.mark)
        return None if place is None else self.tables.scan(scope, place.hops)

    def _events(self, condition: Did, rows: Scope) -> list[exp.Expr]:
        """Which events of a stream are meant."""
        value = self.event(rows)
        if condition.prefix is not None:
            return [true_or_false(call("cdp_starts_with", value, text(condition.prefix)))]
        if len(condition.events) == 1:
            return [true_or_false(value.eq(text(condition.events[0])))]
        return [true_or_false(exp.In(this=value, expressions=[text(event) for event in sorted(set(condition.events))]))]

    def event(self, rows: Scope) -> exp.Expr:
        """The name of a row's event."""
        path = f"row.{rows.node.event}" if rows.node.segment else rows.node.event or ""
        value = rows.value(path, None)
        assert value is not None
        if not rows.node.segment:
            return read_as(value, "text", self.tables.clock.zone.key)
        kind = rows.value("row.type", None)
        if kind is None:
            return value.tree
        # page, screen, identify and group calls have no event name: their type is their name
        return exp.Coalesce(this=value.tree, expressions=[kind.tree])

    def conjuncts(self, condition: Condition | None, rows: Scope) -> list[exp.Expr]:
        """A filter as a list of conditions that all hold: what several leaves share can then be found."""
        if condition is None:
            return []
        if isinstance(condition, All):
            return [tree for part in condition.parts for tree in self.conjuncts(part, rows)]
        return [self.lower(condition, rows)]

    def _during(self, window: Window | None, rows: Scope, mark: Mark | None) -> list[exp.Expr]:
        """A window as up to two conditions on the row's time; a row without time is outside."""
        if window is None:
            return []
        at = rows.row_at
        if at is None:
            self.reading.problem(
                "CDP117", f"`during` on {rows.node.name}, whose rows have no time", window.mark or mark,
                "give the source a `time:`",
            )  # fmt: skip
            return []
        bounds = self.tables.clock.bounds(window)
        if bounds is None:
            self.reading.problem(
                "CDP107", "a time in this window is no time", window.mark or mark, "such as 2026-01-31 or 90 days ago"
            )
            return []
        start, end = bounds
        parts: list[exp.Expr] = []
        if start is not None:
            parts.append(true_or_false(exp.GTE(this=at.copy(), expression=timestamp(start))))
        if end is not None and end != self.tables.clock.as_of:  # rows at or after as_of are not in the tables at all
            parts.append(true_or_false(exp.LT(this=at.copy(), expression=timestamp(end))))
        return parts or [exp.not_(exp.Is(this=at.copy(), expression=exp.null()))]

    # ------------------------------------------------------------------------------------------ what is asked of them
    def _asks(
        self, condition: Has | Did, base: list[exp.Expr], where: list[exp.Expr], rows: Scope
    ) -> list[Callable[[Scan, Scope], exp.Expr]]:
        """One question per option; each becomes a leaf of its own, so that equal questions are shared."""
        comparer = self.comparer(rows)
        count = Aggregate("count", tuple(where))
        asks: list[Callable[[Scan, Scope], exp.Expr]] = []

        def ask(aggregates: list[Aggregate], tree: exp.Expr, default: bool | None) -> None:
            asks.append(lambda scan, scope: scope.verdict(scan, aggregates, tree, default))

        counted = or_zero(count.column())
        match = condition.match if isinstance(condition, Has) else "none" if condition.negative else "any"
        if match == "all":
            assert isinstance(condition, Has)
            total = Aggregate("count", tuple(base))
            same = exp.EQ(this=counted, expression=or_zero(total.column()))
            some = exp.GTE(this=or_zero(total.column()), expression=exp.Literal.number(1))
            ask([count, total], same if condition.vacuous else exp.and_(some, same), condition.vacuous)
        elif match == "none":
            ask([count], counted.eq(exp.Literal.number(0)), True)
        if condition.count is not None:
            tree = comparer.test(Typed(counted, "int"), condition.count, "count", condition.mark)
            ask([count], tree, answer(ZERO, condition.count))
        elif match == "any" and not (
            condition.measures or condition.first or condition.last or getattr(condition, "days", None)
        ):
            ask([count], exp.GTE(this=counted, expression=exp.Literal.number(1)), False)
        if isinstance(condition, Did) and condition.days is not None:
            at = rows.row_at
            day = call("cdp_local_date", at.copy() if at is not None else exp.null(), text(comparer.zone))
            days = Aggregate("distinct", tuple(where), day)
            tree = comparer.test(Typed(or_zero(days.column()), "int"), condition.days, "days", condition.mark)
            ask([days], tree, answer(ZERO, condition.days))
        for measure in condition.measures:
            aggregates, tree = self._measures.measure(measure, where, rows, comparer)
            ask(aggregates, tree, answer(ZERO if measure.kind in ("sum", "distinct") else None, measure.test))
        for which, tests in (("first", condition.first), ("last", condition.last)):
            if tests:
                holds = both([self._field(one, rows) for one in tests])
                aggregate = self._measures.edge(which, holds, where, rows, condition.mark)
                if aggregate is not None:
                    ask([aggregate], true_or_false(aggregate.column().eq(exp.Literal.number(1))), False)
        return asks
