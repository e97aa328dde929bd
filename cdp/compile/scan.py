"""One grouped read of related rows, and the aggregates over it.

A scan is a chain of row tables from the first to-many hop on; aggregates carry their own conditions. Conditions that all
aggregates of a query share go into WHERE, the rest into FILTER: few rows before each aggregate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sqlglot import exp

from cdp.compile.render import call
from cdp.compile.rows import digest
from cdp.compile.typed import cast

Kind = Literal["count", "present", "sum", "min", "max", "distinct", "median", "first", "last"]


@dataclass(frozen=True)
class Join:
    """A joined relation: at most one row of it belongs to each row joined to (left), or the chain goes on (inner)."""

    alias: str
    relation: exp.Expr
    on: exp.Expr
    kind: str = "left"

    def needs(self) -> set[str]:
        """The aliases that it names."""
        named = {column.table for column in self.on.find_all(exp.Column)}
        return named - {self.alias}


@dataclass(frozen=True)
class Aggregate:
    """What is computed over the rows of a scan that satisfy all of `where`.

    `present` counts rows whose value is not NULL; first and last skip NULL values and order by (at, key). The value of
    these is a cast: an engine that has no such aggregate carries it as text and must know what to make of it again.
    """

    kind: Kind
    where: tuple[exp.Expr, ...]
    value: exp.Expr | None = None
    at: exp.Expr | None = None
    key: exp.Expr | None = None
    name: str = ""

    def __post_init__(self) -> None:
        parts = [self.kind, *(tree.sql() if tree is not None else "" for tree in (self.value, self.at, self.key))]
        object.__setattr__(self, "name", f"a_{digest(*parts, *sorted(self.conditions))}")

    @property
    def conditions(self) -> dict[str, exp.Expr]:
        """Its conditions by their canonical text."""
        return {tree.sql(): tree for tree in self.where}

    def column(self) -> exp.Expr:
        """The plain column that stands for it in an expression over aggregates."""
        return exp.column(self.name)

    def tree(self, common: Iterable[str]) -> exp.Expr:
        """The SQL aggregate where the conditions in `common` hold already."""
        common = set(common)
        rest = [unwrapped(tree) for text, tree in sorted(self.conditions.items()) if text not in common]
        value = self.value.copy() if self.value is not None else None
        if self.kind in ("first", "last"):
            assert value is not None and self.at is not None and self.key is not None
            known = exp.not_(exp.Is(this=value.copy(), expression=exp.null()))
            return call(f"cdp_{self.kind}", value, self.at.copy(), self.key.copy(), exp.and_(known, *rest))
        if self.kind == "median":
            assert value is not None
            return call("cdp_median", exp.Case().when(exp.and_(*rest), value) if rest else value)
        whole = self._plain(value)
        return exp.Filter(this=whole, expression=exp.Where(this=exp.and_(*rest))) if rest else whole

    def _plain(self, value: exp.Expr | None) -> exp.Expr:
        if self.kind == "count":
            return exp.Count(this=exp.Star())
        assert value is not None
        if self.kind == "present":
            return exp.Count(this=value)
        if self.kind == "sum":
            return exp.Sum(this=cast(value, "decimal"))
        if self.kind == "distinct":
            return exp.Count(this=exp.Distinct(expressions=[value]))
        return exp.Min(this=value) if self.kind == "min" else exp.Max(this=value)


@dataclass
class Scan:
    """A chain of row tables grouped by `keys`, which equal the `anchor` columns of the row that asks.

    `path` names the chain, `anchored` what is grouped by: equal texts mean the same rows in the same groups.
    """

    path: str
    anchored: str
    anchor: tuple[exp.Expr, ...]
    keys: tuple[exp.Expr, ...]
    base: exp.Expr
    joins: dict[str, Join] = field(default_factory=dict)
    event: str | None = None  # canonical text of the event column, the best one to dispatch by

    def parts(self, aggregates: Sequence[Aggregate], joins: dict[str, Join] | None = None) -> GroupParts:
        """What one grouped query of these aggregates consists of."""
        every = [aggregate.conditions for aggregate in aggregates]
        common = set(every[0]).intersection(*every[1:]) if every else set()
        known = [exp.not_(exp.Is(this=key.copy(), expression=exp.null())) for key in self.keys]
        where = [unwrapped(every[0][text]) for text in sorted(common)]
        columns = {aggregate.name: aggregate.tree(common) for aggregate in aggregates}
        trees = [*self.keys, *where, *columns.values()]
        return GroupParts(self.keys, columns, self.base, needed(trees, joins or self.joins), exp.and_(*known, *where))

    def select(self, aggregates: Sequence[Aggregate]) -> exp.Select:
        """The grouped query as a tree, for a place inside another statement."""
        parts = self.parts(aggregates)
        query = exp.select(
            *(exp.alias_(key.copy(), f"k{index}") for index, key in enumerate(self.keys)),
            *(exp.alias_(tree, name) for name, tree in parts.columns.items()),
        ).from_(aliased(self.base, "r0"))
        for join in parts.joins:
            query = query.join(aliased(join.relation, join.alias), on=join.on.copy(), join_type=join.kind, copy=False)
        return query.where(parts.where).group_by(*(key.copy() for key in self.keys))


@dataclass(frozen=True)
class GroupParts:
    """A grouped query in parts, for a template."""

    keys: tuple[exp.Expr, ...]
    columns: dict[str, exp.Expr]
    base: exp.Expr
    joins: list[Join]
    where: exp.Expr


def unwrapped(condition: exp.Expr) -> exp.Expr:
    """A condition as WHERE and FILTER want it: there unknown is false already, and a bare comparison can use what an
    engine knows of its blocks."""
    while (
        isinstance(condition, exp.Coalesce)
        and len(condition.expressions) == 1
        and condition.expressions[0] == exp.false()
    ):
        condition = condition.this
    return condition.copy()


def needed(trees: Iterable[exp.Expr], joins: dict[str, Join]) -> list[Join]:
    """The joins that the trees name, with those that these need, in the order in which they were made."""
    wanted: set[str] = set()
    pending = [column.table for tree in trees for column in tree.find_all(exp.Column)]
    pending += [alias for alias, join in joins.items() if join.kind == "inner"]
    while pending:
        alias = pending.pop()
        if alias in joins and alias not in wanted:
            wanted.add(alias)
            pending.extend(joins[alias].needs())
    return [join for alias, join in joins.items() if alias in wanted]


def aliased(relation: exp.Expr, alias: str) -> exp.Expr:
    """A relation under an alias."""
    tree = relation.copy()
    if isinstance(tree, exp.Query) and not isinstance(tree, exp.Subquery):
        tree = exp.Subquery(this=tree)
    tree.set("alias", exp.TableAlias(this=exp.to_identifier(alias)))
    return tree
