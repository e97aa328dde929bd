"""A row in SQL and everything that can be said of it: its columns, to-one paths (left joins), and what its related rows
add up to.

Aliases are made of paths, so the same path has the same alias wherever it is used: that is how equal leaves are found equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlglot import exp

from cdp.compile.dispatch import Dispatch
from cdp.compile.render import call
from cdp.compile.rows import digest
from cdp.compile.scan import Aggregate, Join, Scan, aliased
from cdp.compile.typed import Typed
from cdp.errors import Mark, did_you_mean
from cdp.project.reading import Reading
from cdp.project.schema import ColumnRef, Hop, JoinKey, Node, PathError, Place, Schema


class Tables(Protocol):
    """Where the rows and values of nodes stand in this plan (see `lowering`)."""

    schema: Schema
    reading: Reading
    dispatch: Dispatch

    def relation(self, node: Node) -> exp.Expr: ...
    def keyed(self, scope: Scope) -> exp.Expr: ...
    def column(self, scope: Scope, ref: ColumnRef, mark: Mark | None) -> Typed: ...
    def join_key(self, scope: Scope, key: JoinKey) -> exp.Expr: ...
    def equal(self, left: Scope, own: JoinKey, right: Scope, theirs: JoinKey) -> tuple[exp.Expr, exp.Expr]: ...


@dataclass
class Scope:
    """The rows of one node under an alias, with the joins made so far (shared by all scopes of one statement)."""

    lowering: Tables
    node: Node
    alias: str
    joins: dict[str, Join] = field(default_factory=dict)
    times: tuple[exp.Expr, ...] = ()  # times of earlier hops of the chain, nearest first

    # ------------------------------------------------------------------------------------------ columns
    def place(self, path: str, mark: Mark | None, instead: Sequence[str] = ()) -> Place | None:
        """Where a path leads; a mistake is noted. `instead`: what may have been meant by a path that leads nowhere."""
        try:
            return self.lowering.schema.resolve(self.node.name, path)
        except PathError as error:
            hint, near = error.hint, did_you_mean(path, instead)
            if near is not None and not (hint or "").startswith("did you mean"):
                hint = f"did you mean `{near}`? {hint or ''}".rstrip()
            if not error.noted:
                self.lowering.reading.problem(error.code, error.message, mark, hint, length=len(path))
            return None

    def value(self, path: str, mark: Mark | None, instead: Sequence[str] = ()) -> Typed | None:
        """The value at the end of a to-one path; a mistake is noted and gives None."""
        place = self.place(path, mark, instead)
        if place is None:
            return None
        many = next((hop for hop in place.hops if hop.many), None)
        if many is not None:
            self.lowering.reading.problem(
                "CDP117", f"`{path}` leads over `{many.name}` to many rows", mark,
                "say what is asked of them: {has: …, where: …}, or a trait", length=len(path),
            )  # fmt: skip
            return None
        if place.column is None:
            self.lowering.reading.problem(
                "CDP117",
                f"`{path}` is a {place.node} row, no value",
                mark,
                "name a column of it, or use `has:`",
                length=len(path),
            )
            return None
        return self.lowering.column(self.follow(place.hops), place.column, mark)

    def follow(self, hops: Iterable[Hop]) -> Scope:
        """The scope of the row that to-one hops lead to."""
        here = self
        for hop in hops:
            here = here._step(hop)
        return here

    def _step(self, hop: Hop) -> Scope:
        node = self.lowering.schema.nodes[hop.to]
        alias = f"{self.alias}_{hop.name}"
        if len(alias) > 48:
            alias = f"{alias[:30]}_{digest(alias)}"
        scope = Scope(self.lowering, node, alias, self.joins, self.times)
        if alias not in self.joins:
            sides = [scope.equal(theirs, self, own) for own, theirs in hop.keys]
            on = exp.and_(*(exp.EQ(this=left, expression=right) for left, right in sides))
            self.joins[alias] = Join(alias, one_row_each(scope, hop), on)
        return scope

    def key(self, key: JoinKey) -> exp.Expr:
        """A join key of this row."""
        return self.lowering.join_key(self, key)

    def equal(self, own: JoinKey, other: Scope, theirs: JoinKey) -> tuple[exp.Expr, exp.Expr]:
        """A join key of this row and one of another row, comparable."""
        return self.lowering.equal(self, own, other, theirs)

    def join(self, alias: str, relation: exp.Expr, on: exp.Expr) -> None:
        """Add a relation with at most one row for each row here."""
        self.joins.setdefault(alias, Join(alias, relation, on))

    @property
    def row_at(self) -> exp.Expr | None:
        """When this row became true: its own time, else that of the nearest earlier hop."""
        if self.node.time is not None:
            return exp.column("row_at", table=self.alias)
        return self.times[0] if self.times else None

    # ------------------------------------------------------------------------------------------ related rows
    def measure(self, scan: Scan, aggregates: list[Aggregate]) -> dict[str, exp.Expr]:
        """A column for each aggregate over the related rows, NULL where there are none: joined as one grouped query."""
        relation = scan.select(aggregates)
        alias = f"s_{digest(self.alias, relation.sql())}"
        keys = [exp.column(f"k{index}", table=alias).eq(key.copy()) for index, key in enumerate(scan.anchor)]
        self.join(alias, exp.Subquery(this=relation), exp.and_(*keys))
        return {aggregate.name: exp.column(aggregate.name, table=alias) for aggregate in aggregates}

    def verdict(self, scan: Scan, aggregates: list[Aggregate], tree: exp.Expr, default: bool | None) -> exp.Expr:
        """A two-valued expression over aggregates (named by plain columns); `default` is what it says without rows."""
        columns = self.measure(scan, aggregates)
        return substitute(tree, columns)


def one_row_each(scope: Scope, hop: Hop) -> exp.Expr:
    """The rows that a hop leads to. A to-one hop by other columns than the key takes of several the smallest key: it
    must never multiply the rows that it leads from.
    """
    rows = scope.lowering.relation(scope.node)
    if hop.many or scope.node.one_row([theirs for _, theirs in hop.keys]):
        return rows
    inner = Scope(scope.lowering, scope.node, "t")
    number = exp.Window(
        this=exp.RowNumber(),
        partition_by=[inner.key(theirs) for _, theirs in hop.keys],
        order=exp.Order(
            expressions=[exp.Ordered(this=call("cdp_binary", scope.lowering.keyed(inner)), nulls_first=False)]
        ),
    )
    numbered = exp.select("t.*", exp.alias_(number, "copy_number")).from_(aliased(rows, "t"))
    return (
        exp.select("*")
        .from_(aliased(numbered, "n"))
        .where(exp.column("copy_number", table="n").eq(exp.Literal.number(1)))
    )


class EntityScope(Scope):
    """The rows of an entity: what is asked of related rows is not joined here but handed to the dispatch plan."""

    def measure(self, scan: Scan, aggregates: list[Aggregate]) -> dict[str, exp.Expr]:
        return self.lowering.dispatch.values(scan, aggregates)

    def verdict(self, scan: Scan, aggregates: list[Aggregate], tree: exp.Expr, default: bool | None) -> exp.Expr:
        if default is None:
            return substitute(tree, self.measure(scan, aggregates))
        return self.lowering.dispatch.bit(scan, aggregates, tree, default)


def substitute(tree: exp.Expr, columns: dict[str, exp.Expr]) -> exp.Expr:
    """`tree` with its plain columns replaced by the trees of the same name."""
    root = exp.Paren(this=tree.copy())
    for column in list(root.find_all(exp.Column)):
        if not column.table and column.name in columns:
            column.replace(columns[column.name].copy())
    result = root.this
    assert isinstance(result, exp.Expr)
    return result.pop()
