"""Traits ► a value per entity: an aggregate over related rows, a formula, or a ranked pick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from cdp.compile.conditions import Lowerer, Members
from cdp.compile.render import call
from cdp.compile.rows import digest, lower_snippet
from cdp.compile.scan import Aggregate, Kind, Scan
from cdp.compile.scope import EntityScope, Scope
from cdp.compile.typed import NUMBERS, Typed, as_json, as_text, cast, literal, read_as
from cdp.project.model import Trait
from cdp.project.snippet import ColumnUse
from cdp.project.tongue import picked


@dataclass(frozen=True)
class Ranked:
    """most_frequent, least_frequent and list: values counted per entity, then ranked, in a table of their own."""

    kind: str
    table: str
    scan: Scan
    where: tuple[exp.Expr, ...]
    value: exp.Expr
    element: exp.Expr  # the value as JSON text; refers to the column v
    textual: bool
    at: exp.Expr | None = None  # order: recent
    limit: int | None = None


@dataclass
class TraitPlan:
    """A trait, lowered: its value over the entity's scope, and the ranked table it may need."""

    trait: Trait
    entity: str
    tree: exp.Expr
    type: str
    ranked: Ranked | None = None
    level: int = 0
    failed: bool = False  # a mistake was noted, and the tree is NULL


def trait_plan(trait: Trait, entity: str, scope: EntityScope, tables: Members) -> TraitPlan:
    """A trait, lowered; mistakes are noted and give NULL."""
    lowered = _formula(trait, scope, tables) if trait.kind == "formula" else _related(trait, entity, scope, tables)
    if isinstance(lowered, TraitPlan):
        value, ranked = Typed(lowered.tree, lowered.type), lowered.ranked
    elif lowered is None:
        return TraitPlan(trait, entity, exp.null(), trait.type or "text", failed=True)
    else:
        value, ranked = lowered, None
    zone = tables.clock.zone.key
    if trait.type is not None:
        value = Typed(read_as(value, trait.type, zone), trait.type)
    if value.type is None or value.leaf:
        value = Typed(as_text(value), "text")
    if trait.default is not None:
        value = _with_default(trait, value, tables)
    return TraitPlan(trait, entity, value.tree, value.type or "text", ranked)


def _with_default(trait: Trait, value: Typed, tables: Members) -> Typed:
    default = trait.default
    if not isinstance(default, str | int | float | bool):
        tables.reading.problem("CDP115", "`default` must be a scalar", trait.at("default"))
        return value
    told = literal(default)
    fits = told.type == value.type or (told.type in NUMBERS and value.type in NUMBERS)
    if not fits and not (told.type == "text" and value.type in ("date", "timestamp")):
        tables.reading.problem("CDP115", f"`default` is {told.type}, the trait is {value.type}", trait.at("default"))
        return value
    return Typed(
        exp.Coalesce(this=value.tree, expressions=[read_as(told, value.type or "text", tables.clock.zone.key)]),
        value.type,
    )


def _formula(trait: Trait, scope: EntityScope, tables: Members) -> Typed | None:
    before, failed = len(tables.reading.errors), list[ColumnUse]()
    chosen = picked(trait.formula, "formula", trait, tables.tongue, tables.reading)
    if chosen is None:
        return None
    formula, tongue, mark = chosen
    kinds: dict[str, str | None] = {}

    def column(use: ColumnUse) -> exp.Expr | None:
        if str(use) == "as_of":
            kinds["as_of"] = "timestamp"
            return tables.clock.literal()
        value = scope.value(str(use), mark)
        if value is None or value.unknown:
            failed.append(use)
            return exp.null()
        kinds[str(use)] = value.type or "text"
        return as_text(value) if value.loose else value.tree

    found = lower_snippet(formula, tongue, mark, tables.reading, column, kinds, boolean=False)
    if failed or len(tables.reading.errors) > before or "{{" in formula:
        return None
    if found.type is None:
        if trait.type is None:
            tables.reading.problem(
                "CDP116", "the type of this formula cannot be told", mark, "say it: `type: decimal`", severity="warning"
            )
            return Typed(exp.cast(found.tree, "TEXT"), "text")
        return Typed(cast(found.tree, trait.type), trait.type)
    return found


def _related(trait: Trait, entity: str, scope: EntityScope, tables: Members) -> Typed | TraitPlan | None:
    kind, mark = trait.kind, trait.at(trait.kind)
    place = scope.place(trait.path, mark)
    if place is None:
        return None
    of_rows = kind in ("count", "exists")
    if of_rows != (place.column is None):
        said = "needs a path to rows, and this is a value" if of_rows else "needs a path to a value, and this is rows"
        tables.reading.problem(
            "CDP117",
            f"`{kind}` {said}",
            mark,
            "such as orders" if of_rows else "such as orders.amount",
            length=len(trait.path),
        )
        return None
    if not any(hop.many for hop in place.hops):
        tables.reading.problem(
            "CDP117",
            f"`{trait.path}` leads to one row: there is nothing to add up",
            mark,
            "use a formula",
            length=len(trait.path),
        )
        return None
    lowerer = Lowerer(tables)
    with tables.leaf():
        scan, rows = tables.scan(scope, place.hops)
        where = lowerer._during(trait.during, rows, mark) + lowerer.conjuncts(trait.where, rows)
        value = Typed(exp.null(), None)
        if place.column is not None:
            value = tables.column(rows, place.column, mark)
        if kind in ("most_frequent", "least_frequent", "list"):
            return _ranked(trait, entity, scope, scan, rows, tuple(where), value, tables)
        return _aggregate(trait, scope, scan, rows, tuple(where), value, tables)


def _aggregate(
    trait: Trait,
    scope: EntityScope,
    scan: Scan,
    rows: Scope,
    where: tuple[exp.Expr, ...],
    value: Typed,
    tables: Members,
) -> Typed:
    kind, zone = trait.kind, tables.clock.zone.key

    def measured(*aggregates: Aggregate) -> list[exp.Expr]:
        columns = scope.measure(scan, list(aggregates))
        return [columns[aggregate.name] for aggregate in aggregates]

    def or_zero(tree: exp.Expr) -> exp.Expr:
        return exp.Coalesce(this=tree, expressions=[exp.Literal.number(0)])

    def counted(tree: exp.Expr) -> exp.Expr:
        return or_zero(tree) if trait.default is None else exp.Nullif(this=tree, expression=exp.Literal.number(0))

    if kind == "count":
        return Typed(counted(measured(Aggregate("count", where))[0]), "int")
    if kind == "exists":
        count = Aggregate("count", where)
        some = exp.GTE(this=or_zero(count.column()), expression=exp.Literal.number(1))
        return Typed(scope.verdict(scan, [count], some, False), "bool")
    if kind == "distinct":
        return Typed(
            counted(measured(Aggregate("distinct", where, as_text(value) if value.loose else value.tree))[0]), "int"
        )
    if kind in ("sum", "avg", "median"):
        if not value.loose and value.type not in NUMBERS:
            tables.reading.problem("CDP115", f"`{kind}` of `{trait.path}`, which is {value.type}", trait.at(kind))
        plain = read_as(value, "decimal", zone)
        if kind == "sum":
            total = measured(Aggregate("sum", where, plain))[0]
            return Typed(cast(or_zero(total) if trait.default is None else total, "decimal"), "decimal")
        if kind == "median":
            return Typed(cast(measured(Aggregate("median", where, plain))[0], "decimal"), "decimal")
        total, present = measured(Aggregate("sum", where, plain), Aggregate("present", where, plain))
        return Typed(cast(call("cdp_divide", total, present), "decimal"), "decimal")
    wanted = (trait.type if value.loose else value.type) or "text"
    if kind in ("min", "max") and wanted == "bool":
        tables.reading.problem("CDP115", f"`{kind}` of `{trait.path}`, which is bool", trait.at(kind))
    tree = read_as(value, wanted, zone)
    if kind in ("min", "max"):
        ordered = call("cdp_binary", tree) if wanted == "text" else tree
        which: Kind = "min" if kind == "min" else "max"
        return Typed(measured(Aggregate(which, where, ordered))[0], wanted)
    at = rows.row_at
    if at is None:
        tables.reading.problem(
            "CDP117",
            f"`{kind}` of {rows.node.name}, whose rows have no time",
            trait.at(kind),
            "give the source a `time:`",
        )
        return Typed(exp.null(), wanted)
    edge: Kind = "first" if kind == "first" else "last"
    return Typed(measured(Aggregate(edge, where, cast(tree, wanted), at, tables.keyed(rows)))[0], wanted)


def _ranked(
    trait: Trait,
    entity: str,
    scope: EntityScope,
    scan: Scan,
    rows: Scope,
    where: tuple[exp.Expr, ...],
    value: Typed,
    tables: Members,
) -> TraitPlan:
    kind, told = trait.kind, trait.type if trait.kind != "list" else None
    wanted = (told if value.loose else value.type) or "text"
    tree = read_as(value, wanted, tables.clock.zone.key)
    at: Any = None
    if trait.order == "recent":
        at = rows.row_at
        if at is None:
            tables.reading.problem(
                "CDP117", f"`order: recent` of {rows.node.name}, whose rows have no time", trait.at("order")
            )
    name = f"tmp_t_{digest(entity, trait.name)}"
    schema = scope.lowering.dispatch.schema
    ranked = Ranked(
        kind,
        f"{schema}.{name}",
        scan,
        where,
        tree,
        as_json(Typed(exp.column("v"), wanted)),
        wanted in ("text", "list", "json"),
        at,
        trait.limit,
    )
    alias = f"t_{digest(entity, trait.name)}"
    keys = [exp.column(f"k{index}", table=alias).eq(key.copy()) for index, key in enumerate(scan.anchor)]
    scope.join(alias, exp.to_table(ranked.table), exp.and_(*keys))
    result: exp.Expr = exp.column("v", table=alias)
    return TraitPlan(trait, entity, result, "list" if kind == "list" else wanted, ranked)
