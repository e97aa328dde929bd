"""All of a project, lowered: what `validate` checks and what plans are made of. No connection, no target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlglot import exp

from cdp.compile.identity import Identifier, Link
from cdp.compile.identity.phone import REGIONS
from cdp.compile.lowering import Lowering
from cdp.compile.mapping import Mapped, mapped
from cdp.compile.rows import Rows, lower_snippet
from cdp.compile.scan import aliased
from cdp.compile.sources import SourceParts, relation_of, source_parts, table_named
from cdp.compile.typed import Typed, as_text, read_as
from cdp.compile.windows import Clock
from cdp.errors import Mark
from cdp.project import Project
from cdp.project.grammar import check_pattern
from cdp.project.model import Attribute, Entity
from cdp.project.reading import Reading, value_mark
from cdp.project.schema import Node, PathError, Schema
from cdp.project.snippet import ColumnUse


@dataclass(frozen=True)
class Wanted:
    """What a plan is to make: names by kind. None: everything."""

    entities: frozenset[str] | None = None
    audiences: frozenset[str] | None = None
    syncs: frozenset[str] | None = None


@dataclass(frozen=True)
class AttributeFrom:
    """Where a field of the golden record may come from: a source and its column there."""

    source: str
    column: str
    value: Typed


@dataclass
class Lowered:
    """A whole project, or the wanted part of it."""

    project: Project
    schema: Schema
    lowering: Lowering
    clock: Clock
    identifiers: dict[str, tuple[Identifier, ...]] = field(default_factory=dict)
    always: dict[str, tuple[Link, ...]] = field(default_factory=dict)
    attributes: dict[str, dict[str, tuple[AttributeFrom, ...]]] = field(default_factory=dict)
    entity_ids: dict[tuple[str, str], tuple[tuple[str, exp.Expr], ...]] = field(default_factory=dict)
    parts: dict[str, SourceParts] = field(default_factory=dict)
    syncs: dict[str, Mapped] = field(default_factory=dict)

    def is_personal(self, entity: str, attribute: str) -> bool:
        """Tagged so, made of a column that is, or an e-mail or phone identifier."""
        rule = self.project.entities[entity].attributes.get(attribute)
        if rule is not None and rule.pii is not None:
            return bool(rule.pii)
        if any(
            item.name == attribute and item.normalize in ("email", "phone") for item in self.identifiers.get(entity, ())
        ):
            return True
        for path in (rule.from_ or []) if rule is not None else []:
            source, _, column = path.partition(".")
            told = self.project.sources.get(source)
            info = told.told(column)[1] if told is not None else None
            if info is not None and info.pii:
                return True
        return False


def lower_project(
    project: Project,
    reading: Reading,
    as_of: datetime,
    table_schema: str,
    wanted: Wanted | None = None,
    *,
    check: bool = False,
) -> Lowered:
    """The project, lowered at an aware instant; every mistake is noted in `reading`.

    With `check`, sources that nothing uses are looked at too.
    """
    wanted = wanted or Wanted()
    clock = Clock.at(as_of, project.zone)
    schema = Schema(project, reading)
    fresh = set(project.entities if wanted.entities is None else wanted.entities) & set(schema.nodes)
    lowering = Lowering(project, schema, reading, clock, table_schema, fresh)
    lowering.building = None if wanted.audiences is None else set(wanted.audiences)
    lowered = Lowered(project, schema, lowering, clock)
    for name, entity in project.entities.items():
        if name in schema.nodes:
            lowering.subject = f"entity:{name}"
            _entity(lowered, name, entity)
    lowering.subject = ""
    for name in sorted(fresh):
        for trait in schema.nodes[name].traits:
            lowering.trait(name, trait)
    for name in project.audiences:
        if wanted.audiences is None or name in wanted.audiences:
            lowering.audience(name)
    for name, sync in project.syncs.items():
        if wanted.syncs is None or name in wanted.syncs:
            lowering.subject = f"sync:{name}"
            found = mapped(sync, lowering)
            if found is not None:
                lowered.syncs[name] = found
    lowering.subject = ""
    for name in project.policies:
        if name not in project.entities and ("entity", name) not in project.broken:
            mark = project.places.get(("policies", name))
            reading.unknown(
                "CDP112", f"a policy of `{name}`, which is no entity", name, project.entities, "entities", mark
            )
        elif name in schema.nodes:
            lowering.exclusions(None, name)
    if check:
        for node in schema.nodes.values():
            if node.source is not None:
                lowering.rows_of(node)
    _sources(lowered, check)
    _uses(lowered)
    return lowered


def _uses(lowered: Lowered) -> None:
    """An entity uses the sources that carry its ids, and the entities that do."""
    for node in lowered.schema.nodes.values():
        for entity in node.ids:
            lowered.lowering.subject = f"entity:{entity}"
            if node.source is not None and node.entity is None:
                lowered.lowering.uses_of(f"source:{node.source.name}")
            elif node.entity is not None:
                lowered.lowering.uses_of(f"entity:{node.name}")
        if node.entity is not None and node.source is not None:
            lowered.lowering.subject = f"entity:{node.name}"
            lowered.lowering.uses_of(f"source:{node.source.name}")


def _sources(lowered: Lowered, check: bool) -> None:
    """The sources that something reads, and those that an entity that is built is made of."""
    resolved = {name for name in lowered.lowering.fresh if lowered.schema.nodes[name].resolved}
    for node in lowered.schema.nodes.values():
        built = node.entity is not None and node.name in lowered.lowering.fresh
        if node.source is not None and (built or resolved & set(node.ids)):
            lowered.lowering.rows_of(node)
    for name in list(lowered.lowering.rows):
        rows = lowered.lowering.rows[name]
        if rows.node.entity is not None:
            _keyed_columns(rows)
        wanted = resolved | {owner for owner in rows.owners if lowered.schema.nodes[owner].resolved}
        if check:
            wanted |= {entity for entity in rows.node.ids if lowered.schema.nodes[entity].resolved}
        lowered.parts[name] = source_parts(rows, wanted, lowered.schema)


def _keyed_columns(rows: Rows) -> None:
    """A keyed entity's table holds the columns that are named under `columns`, in the lock, or used."""
    for name in rows.node.columns:
        ref = rows.schema.column(rows.node, [name])
        if ref.kind == "column":
            rows.column(ref, None)


# ------------------------------------------------------------------------------------------------ entities
def _entity(lowered: Lowered, name: str, entity: Entity) -> None:
    node = lowered.schema.nodes[name]
    if entity.identity is None:
        if entity.attributes:
            mark = value_mark(entity.origin, "attributes")
            lowered.lowering.reading.problem(
                "CDP113",
                f"`{name}` is keyed: its attributes are the columns of its source",
                mark,
                "leave `attributes` out",
            )
        if entity.known is not None:
            lowered.lowering.known(name)
        return
    if entity.identity.anonymous == "by_time":
        lowered.lowering.reading.later("`anonymous: by_time`", entity.identity.at("anonymous"), length=len("by_time"))
    lowered.identifiers[name] = tuple(_identifiers(lowered, entity))
    lowered.always[name] = _links(lowered, entity)
    lowered.attributes[name] = {
        attribute: tuple(_froms(lowered, node, attribute, rule)) for attribute, rule in entity.attributes.items()
    }
    for other in entity.ids:
        if other in node.ids:
            lowered.entity_ids[(name, other)] = tuple(_entity_slots(lowered, node, other))
    if entity.known is not None:
        lowered.lowering.known(name)


def _identifiers(lowered: Lowered, entity: Entity) -> Iterable[Identifier]:
    reading = lowered.lowering.reading
    assert entity.identity is not None
    seen: set[str] = set()
    for item in entity.identity.identifiers:
        for name, options in item.items():
            if name in seen:
                reading.problem("CDP109", f"identifier `{name}` is listed twice", options.at(), length=len(name))
            seen.add(name)
            normal: Any = options.normalize
            if normal not in ("none", "email", "phone", "lower", "digits"):
                normal = _normal(lowered, options.normalize, options.at("normalize"))
            if options.region is not None and options.region not in REGIONS:
                reading.unknown(
                    "CDP105",
                    f"there is no phone region `{options.region}`",
                    options.region,
                    REGIONS,
                    "regions",
                    options.at("region"),
                )
            for pattern in options.block:
                if len(pattern) > 2 and pattern.startswith("/") and pattern.endswith("/"):
                    check_pattern(pattern[1:-1], options.at("block"), reading)
            if normal == "phone" and options.region is None:
                reading.problem(
                    "CDP116", f"phones of `{name}` without a `region`", options.at(), "only numbers with +country are read",
                    severity="warning",
                )  # fmt: skip
            yield Identifier(
                name,
                options.limit,
                options.joins,
                normal,
                options.region,
                options.gmail,
                options.gmail,
                tuple(options.block),
            )


def _normal(lowered: Lowered, sql: str, mark: Mark | None) -> exp.Expr:
    """A user's own normal form, over the column `value`."""

    reading = lowered.lowering.reading
    kinds: dict[str, str | None] = {"value": "text"}

    def column(use: ColumnUse) -> exp.Expr | None:
        if str(use) != "value":
            reading.unknown(
                "CDP112",
                f"`{use}`: a normal form sees `value` only",
                str(use),
                ["value", "email", "phone", "lower", "digits"],
                "forms",
                mark,
            )
        return exp.column("value")

    found = lower_snippet(sql, lowered.lowering.tongue, mark, reading, column, kinds, boolean=False)
    return as_text(Typed(found.tree, found.type or "text"))


def _links(lowered: Lowered, entity: Entity) -> tuple[Link, ...]:
    assert entity.identity is not None
    always = entity.identity.always_link
    reading, project = lowered.lowering.reading, lowered.project
    if always is None:
        return ()
    names = ("left_type", "left_value", "right_type", "right_value")
    if isinstance(always, list):
        reading.problem(
            "CDP116",
            "personal data in git",
            entity.identity.at("always_link"),
            "keep the pairs in a table",
            severity="warning",
        )
        return tuple(_pair(lowered, entity, pair) for pair in always if _is_pair(lowered, entity, pair))
    source = project.sources.get(always.table)
    if source is not None:
        relation = relation_of(source, lowered.schema)
    else:
        relation = table_named(always.table, project.file.dialect, always.at("table"), reading)
    lock = project.lock.get(always.table, {})  # a user's columns keep the spelling of their catalogue
    spelled = {name: next((column for column in lock if column.lower() == name), None) for name in names}
    columns = [
        exp.alias_(
            exp.cast(exp.column(exp.to_identifier(spelled[name] or name, quoted=bool(spelled[name]))), "TEXT"), name
        )
        for name in names
    ]
    return (Link(exp.select(*columns).from_(aliased(relation, "l"))),)


def _is_pair(lowered: Lowered, entity: Entity, pair: list[str]) -> bool:
    assert entity.identity is not None
    known = entity.identity.by_name
    good = len(pair) == 2 and all(side.partition(":")[0] in known and ":" in side for side in pair)
    if not good:
        lowered.lowering.reading.problem(
            "CDP113",
            "a link needs two sides `type:value`",
            entity.identity.at("always_link"),
            f"types: {', '.join(known)}",
        )
    return good


def _pair(lowered: Lowered, entity: Entity, pair: list[str]) -> Link:
    sides = [part for side in pair for part in side.split(":", 1)]
    names = ("left_type", "left_value", "right_type", "right_value")
    columns = [exp.alias_(exp.Literal.string(value), name) for name, value in zip(names, sides, strict=True)]
    return Link(exp.select(*columns))


def _froms(lowered: Lowered, node: Node, name: str, rule: Attribute) -> Iterable[AttributeFrom]:
    """Where an attribute may come from; an identifier without `from` comes from the graph itself."""
    reading, schema = lowered.lowering.reading, lowered.schema
    assert node.entity is not None and node.entity.identity is not None
    if not rule.from_:
        if name not in node.entity.identity.by_name:
            reading.problem("CDP113", f"attribute `{name}` has no `from`", rule.at(), "from: source.column")
        return
    for path in rule.from_:
        source, _, column = path.partition(".")
        other = schema.nodes.get(schema.taken.get(source, source))
        mark = rule.at("from")
        if other is None or other.source is None:
            if ("source", source) not in lowered.project.broken:
                reading.unknown(
                    "CDP112", f"there is no source `{source}`", source, lowered.project.sources, "sources", mark
                )
            continue
        if node.name not in other.ids:
            reading.problem(
                "CDP117", f"source `{source}` carries no ids of {node.name}", mark, "give it `ids:`", length=len(path)
            )
            continue
        if not column:
            reading.problem("CDP113", f"`{path}` names no column", mark, "from: source.column", length=len(path))
            continue
        try:
            ref = schema.column(other, column.split("."))
        except PathError as error:
            if not error.noted:
                reading.problem(error.code, error.message, mark, error.hint, length=len(path))
            continue
        rows = lowered.lowering.rows_of(other)
        rows.keyed = True
        column_name, value = rows.column(ref, mark)
        wanted = lowered.lowering.attribute_type(node, name) if rule.pick != "all" else (rule.type or "text")
        here = Typed(exp.column(column_name), value.type, value.leaf, value.zone)
        kind = wanted if wanted != "list" or rule.pick != "all" else "text"
        yield AttributeFrom(other.name, column_name, Typed(read_as(here, kind, lowered.clock.zone.key), kind))


def _entity_slots(lowered: Lowered, node: Node, other: str) -> Iterable[tuple[str, exp.Expr]]:
    """(identifier type, text) for another entity, over this entity's attributes."""

    reading = lowered.lowering.reading
    assert node.entity is not None
    given = node.entity.origin.get("ids") if node.entity.origin is not None else None
    ids = node.ids[other]
    if not isinstance(ids, dict):
        ids = {"": ids}
    for kind, expressions in ids.items():
        mark = value_mark(given.get(other), kind) if isinstance(given, dict) and kind else value_mark(given, other)
        for sql in expressions:
            kinds: dict[str, str | None] = {}

            def column(
                use: ColumnUse, mark: Mark | None = mark, kinds: dict[str, str | None] = kinds
            ) -> exp.Expr | None:
                name = str(use)
                if name not in node.attributes:
                    reading.unknown(
                        "CDP112", f"{node.name} has no attribute `{name}`", name, node.attributes, "attributes", mark
                    )
                    return exp.null()
                kinds[str(use)] = lowered.lowering.attribute_type(node, name)
                return exp.column(name, table="g")

            found = lower_snippet(sql, lowered.lowering.tongue, mark, reading, column, kinds, boolean=False)
            yield kind, as_text(Typed(found.tree, found.type or "text"))
