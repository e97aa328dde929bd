"""Leaves over related rows ► as few, as narrow grouped scans as pay; tests as bits in words.

Leaves are deduplicated by their canonical text, then grouped by (chain, equality value, window): each group is one scan
with WHERE first. A test is stored as a bit that is set where its answer differs from the one that an entity without any
row gets, so entities without rows need no row. The layout was measured (docs/design-notes.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from cdp.compile.facts import Facts
from cdp.compile.plan import Statement
from cdp.compile.render import Renderer, call
from cdp.compile.rows import digest
from cdp.compile.scan import Aggregate, Join, Scan

BITS = 60  # to a BIGINT word


@dataclass(frozen=True)
class Leaf:
    """Aggregates that are read together; with `tree` a two-valued test of them, `default` its answer without rows."""

    id: str
    scan: Scan
    aggregates: tuple[Aggregate, ...]
    level: int
    tree: exp.Expr | None = None
    default: bool = False


@dataclass
class _Group:
    """Leaves that one scan answers."""

    table: str
    leaves: list[Leaf] = field(default_factory=list)
    aggregates: dict[str, Aggregate] = field(default_factory=dict)


@dataclass(frozen=True)
class _Spot:
    """Where a leaf's answer stands: a table keyed like the scan, and the expression over its columns."""

    table: str
    columns: dict[str, str] = field(default_factory=dict)  # aggregate -> column
    bit: int = 0


class Dispatch:
    """Collects leaves while conditions are lowered, then lays them out."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.level = 0  # of what is being lowered now: set by the lowering
        self.leaves: dict[str, Leaf] = {}
        self._anchors: dict[str, tuple[exp.Expr, ...]] = {}
        self._spots: dict[str, _Spot] = {}

    # ------------------------------------------------------------------------------------------ collecting
    def values(self, scan: Scan, aggregates: list[Aggregate]) -> dict[str, exp.Expr]:
        """Placeholders for the values of aggregates."""
        leaf = self._leaf(scan, aggregates, None, False)
        table = self._placeholder(leaf, scan)
        return {aggregate.name: exp.column(aggregate.name, table=table) for aggregate in aggregates}

    def bit(self, scan: Scan, aggregates: list[Aggregate], tree: exp.Expr, default: bool) -> exp.Expr:
        """A placeholder for a two-valued test of aggregates."""
        leaf = self._leaf(scan, aggregates, tree, default)
        return exp.column("bit", table=self._placeholder(leaf, scan))

    def _leaf(self, scan: Scan, aggregates: list[Aggregate], tree: exp.Expr | None, default: bool) -> Leaf:
        names = sorted(aggregate.name for aggregate in aggregates)
        said = tree.sql() if tree is not None else ""
        name = digest(scan.path, scan.anchored, *names, said, str(self.level))
        if name not in self.leaves:
            self.leaves[name] = Leaf(name, scan, tuple(aggregates), self.level, tree, default)
        else:
            for alias, join in scan.joins.items():
                self.leaves[name].scan.joins.setdefault(alias, join)
        return self.leaves[name]

    def _placeholder(self, leaf: Leaf, scan: Scan) -> str:
        """The name that stands for a leaf in a projection, until it is known where the leaf's answer stands."""
        table = f"leaf_{leaf.id}_{digest(*(key.sql() for key in scan.anchor))[:6]}"
        self._anchors[table] = scan.anchor
        return table

    # ------------------------------------------------------------------------------------------ laying out
    def levels(self) -> list[int]:
        """The levels at which there is something to scan."""
        return sorted({leaf.level for leaf in self.leaves.values()})

    def scans_of(self, base: str) -> int:
        """How many of the events of a row table are asked for: what an order by event would save scans."""
        events = {
            text
            for leaf in self.leaves.values()
            if leaf.scan.base.sql() == base and leaf.scan.event is not None
            for aggregate in leaf.aggregates
            for text in aggregate.conditions
            if leaf.scan.event in text
        }
        return len(events)

    def statements(self, level: int, renderer: Renderer) -> Iterator[Statement]:
        """The scans and words of one level; remembers where each leaf's answer stands."""
        by_anchor: dict[str, list[Leaf]] = {}
        for leaf in sorted(self.leaves.values(), key=lambda leaf: leaf.id):
            if leaf.level == level:
                by_anchor.setdefault(leaf.scan.anchored, []).append(leaf)
        for number, (_, leaves) in enumerate(sorted(by_anchor.items())):
            groups = self._groups(leaves, f"{level}_{number}", renderer.facts)
            for group in groups:
                yield self._scan(group, renderer)
            yield from self._words(groups, f"{level}_{number}", renderer)

    def _groups(self, leaves: list[Leaf], name: str, facts: Facts) -> list[_Group]:
        sorted_leaves: dict[tuple[str, ...], list[Leaf]] = {}
        for leaf in leaves:
            apart = _order_of(leaf) if facts.one_order_per_scan else ""
            sorted_leaves.setdefault((*_class_of(leaf, facts.groups_by_window), apart), []).append(leaf)
        groups: list[_Group] = []
        for _, members in sorted(sorted_leaves.items()):
            group: _Group | None = None
            for leaf in members:
                fresh = [
                    aggregate
                    for aggregate in leaf.aggregates
                    if group is None or aggregate.name not in group.aggregates
                ]
                if group is None or len(group.aggregates) + len(fresh) > facts.aggregates_per_scan:
                    group = _Group(f"{self.schema}.tmp_g_{name}_{len(groups)}")
                    groups.append(group)
                group.leaves.append(leaf)
                group.aggregates.update({aggregate.name: aggregate for aggregate in leaf.aggregates})
        return groups

    def _scan(self, group: _Group, renderer: Renderer) -> Statement:
        scan = group.leaves[0].scan
        joins: dict[str, Join] = {}
        for leaf in group.leaves:
            joins.update({alias: join for alias, join in leaf.scan.joins.items() if alias not in joins})
        parts = scan.parts(list(group.aggregates.values()), joins)
        for leaf in group.leaves:
            if leaf.tree is None:
                columns = {aggregate.name: aggregate.name for aggregate in leaf.aggregates}
                self._spots[leaf.id] = _Spot(group.table, columns)
        return renderer.statement("compile/group", group.table, "table", group.table, parts=parts)

    def _words(self, groups: list[_Group], name: str, renderer: Renderer) -> Iterator[Statement]:
        tests = [(group, leaf) for group in groups for leaf in group.leaves if leaf.tree is not None]
        for start in range(0, len(tests), BITS):
            table = f"{self.schema}.tmp_w_{name}_{start // BITS}"
            parts: dict[str, list[tuple[exp.Expr, int]]] = {}
            for index, (group, leaf) in enumerate(tests[start : start + BITS]):
                assert leaf.tree is not None
                differs = exp.not_(leaf.tree.copy()) if leaf.default else leaf.tree.copy()
                parts.setdefault(group.table, []).append((differs, 1 << index))
                self._spots[leaf.id] = _Spot(table, bit=1 << index)
            keys = [f"k{index}" for index in range(len(tests[start][1].scan.keys))]
            rows = [
                {"table": source, "tests": [{"tree": tree, "bit": exp.Literal.number(bit)} for tree, bit in found]}
                for source, found in parts.items()
            ]
            yield renderer.statement("compile/words", table, "table", table, parts=rows, keys=keys)

    def tables(self) -> tuple[str, ...]:
        """The scratch tables of what was laid out so far, and those that the scans left."""
        return tuple(sorted({spot.table for spot in self._spots.values()}))

    # ------------------------------------------------------------------------------------------ reading answers
    def filled(self, trees: Sequence[exp.Expr], joins: dict[str, Join]) -> list[exp.Expr]:
        """Copies of the trees in which answers stand for the placeholders; adds the joins that these need."""
        result = []
        for tree in trees:
            root = exp.Paren(this=tree.copy())
            for column in list(root.find_all(exp.Column)):
                if column.table in self._anchors:
                    column.replace(self._answer(column.table, column.name, joins))
            filled = root.this
            assert isinstance(filled, exp.Expr)
            result.append(filled.pop())
        return result

    def _answer(self, placeholder: str, name: str, joins: dict[str, Join]) -> exp.Expr:
        leaf = self.leaves[placeholder.split("_")[1]]
        spot = self._spots[leaf.id]
        anchor = self._anchors[placeholder]
        alias = f"{spot.table.rsplit('.', 1)[-1].removeprefix('tmp_')}_{digest(*(key.sql() for key in anchor))[:6]}"
        if alias not in joins:
            keys = [exp.column(f"k{index}", table=alias).eq(key.copy()) for index, key in enumerate(anchor)]
            joins[alias] = Join(alias, exp.to_table(spot.table), exp.and_(*keys))
        if leaf.tree is None:
            return exp.column(spot.columns[name], table=alias)
        word = exp.Coalesce(this=exp.column("w", table=alias), expressions=[exp.Literal.number(0)])
        masked = call("cdp_bitand", word, exp.Literal.number(spot.bit))
        compare = exp.EQ if leaf.default else exp.NEQ
        return exp.Paren(this=compare(this=masked, expression=exp.Literal.number(0)))


def _class_of(leaf: Leaf, by_window: bool) -> tuple[str, str, str]:
    """(chain, equality, window): leaves of one class share a scan."""
    every = [aggregate.conditions for aggregate in leaf.aggregates]
    common = set(every[0]).intersection(*every[1:])
    equality, window = "", ""
    for text in sorted(common):
        tree = every[0][text]
        inner = tree.this if isinstance(tree, exp.Coalesce) else tree
        if isinstance(inner, exp.EQ) and isinstance(inner.expression, exp.Literal):
            if inner.this.sql() == leaf.scan.event:
                equality = text
            elif not equality or (leaf.scan.event or "") not in equality:
                equality = equality or text
        elif (
            by_window
            and isinstance(inner, exp.GTE | exp.LT)
            and ".row_at" in f".{inner.this.sql()}"
            and isinstance(inner, exp.GTE)
        ):
            window = text
    return leaf.scan.path, equality, window


def _order_of(leaf: Leaf) -> str:
    """What the aggregates of a leaf sort by: leaves that differ in it must not share a scan on every engine."""
    return " ".join(sorted(aggregate.name for aggregate in leaf.aggregates if aggregate.kind == "median"))
