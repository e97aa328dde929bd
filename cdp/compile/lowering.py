"""A project ► what its traits and audiences ask of which rows. One pass, recursive: whatever is referred to is lowered
first, so each thing's level (the wave in which it can be computed) is known when it is named, and a cycle is seen at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlglot import exp

from cdp.compile.conditions import Lowerer
from cdp.compile.dispatch import Dispatch
from cdp.compile.policies import excluding, unfiltered, ways_to_policies
from cdp.compile.render import call, text
from cdp.compile.rows import Rows, number_of
from cdp.compile.scan import Join, Scan
from cdp.compile.scope import EntityScope, Scope, one_row_each
from cdp.compile.traits import TraitPlan, trait_plan
from cdp.compile.typed import Typed, as_text, both
from cdp.compile.windows import Clock
from cdp.errors import Mark
from cdp.project import Project
from cdp.project.condition import InAudience, title, top
from cdp.project.model import Audience
from cdp.project.reading import Reading
from cdp.project.schema import ColumnRef, Hop, JoinKey, Node, PathError, Schema


@dataclass
class AudiencePlan:
    """An audience, lowered: whom of its entity it holds, and who comes first where it is limited."""

    audience: Audience
    entity: str
    verdict: exp.Expr
    parts: list[tuple[str, Mark | None, exp.Expr]]  # for `preview`: each condition at the top of `where`
    order: list[tuple[exp.Expr, bool]] = field(default_factory=list)  # (value, descending)
    level: int = 0


class Lowering:
    """Everything that conditions may name, found or made when it is first named.

    `fresh` are the entities that this plan builds; of any other one the published table is read.
    """

    def __init__(
        self, project: Project, schema: Schema, reading: Reading, clock: Clock, table_schema: str, fresh: set[str]
    ) -> None:
        self.project = project
        self.schema = schema
        self.reading = reading
        self.clock = clock
        self.tongue = project.tongue
        self.table_schema = table_schema
        self.fresh = fresh
        self.dispatch = Dispatch(table_schema)
        self.rows: dict[str, Rows] = {}
        self.traits: dict[tuple[str, str], TraitPlan] = {}
        self.audiences: dict[str, AudiencePlan] = {}
        self._scopes: dict[str, EntityScope] = {}
        self._open: list[str] = []
        self.named_traits: set[tuple[str, str]] = set()  # traits that something else than their entity's table reads
        self.numbered: set[str] = set()  # entities whose rows are joined by a number of this build
        self.building: set[str] | None = None  # audiences that this plan builds; None: all of them
        self.read: set[str] = set()  # audiences that are read as they were built before
        self.subject = ""  # the resource that is being lowered, where it is no trait and no audience
        self.uses: dict[str, set[str]] = {}  # resource -> resources that it names
        self._levels: list[int] = [0]
        self._unfiltered = unfiltered(project)

    # ------------------------------------------------------------------------------------------ levels
    @contextmanager
    def leaf(self) -> Iterator[None]:
        """What is lowered inside has a level of its own, which counts for what holds it too."""
        self._levels.append(0)
        before, self.dispatch.level = self.dispatch.level, 0
        try:
            yield
        finally:
            level = self._levels.pop()
            self._levels[-1] = max(self._levels[-1], level)
            self.dispatch.level = max(before, 0)

    def _after(self, level: int) -> None:
        """What is being lowered reads something that is made at `level`."""
        self._levels[-1] = max(self._levels[-1], level + 1)
        self.dispatch.level = self._levels[-1]

    def uses_of(self, used: str) -> None:
        """What is being lowered names a resource."""
        subject = self._open[-1] if self._open else self.subject
        if subject and subject != used:
            self.uses.setdefault(subject, set()).add(used)

    @contextmanager
    def _inside(self, what: str, mark: Mark | None) -> Iterator[bool]:
        """Enter a trait or audience; False (and noted) where it is being lowered already: a cycle."""
        if what in self._open:
            cycle = " ► ".join([*self._open[self._open.index(what) :], what]).replace("trait:", "").replace(":", " ")
            self.reading.problem("CDP114", f"a cycle: {cycle}", mark, "one of them must not need the others")
            yield False
            return
        self._open.append(what)
        levels, self._levels = self._levels, [0]
        level, self.dispatch.level = self.dispatch.level, 0
        try:
            yield True
        finally:
            self._open.pop()
            self._levels, self.dispatch.level = levels, level

    @property
    def level(self) -> int:
        """The level of what is being lowered, as far as it is known."""
        return self._levels[-1]

    # ------------------------------------------------------------------------------------------ tables
    def relation(self, node: Node) -> exp.Expr:
        """The table in which the rows of a node stand in this plan."""
        if node.entity is not None:
            self.uses_of(f"entity:{node.name}")
            self.numbered.add(node.name)
        if node.source is not None:
            self.rows_of(node)
            self.uses_of(f"source:{node.source.name}")
            return exp.to_table(f"{self.table_schema}.tmp_rows_{node.name}")
        return exp.to_table(f"{self.table_schema}.tmp_ent_{node.name}")

    def rows_of(self, node: Node) -> Rows:
        """What is read of a node's source."""
        if node.name not in self.rows:
            self.rows[node.name] = Rows(node, self.schema, self.reading, self.clock)
        return self.rows[node.name]

    def scope(self, entity: str) -> EntityScope:
        """The rows of an entity."""
        if entity not in self._scopes:
            self._scopes[entity] = EntityScope(self, self.schema.nodes[entity], "e")
            self.relation(self.schema.nodes[entity])  # its rows are read, whatever is named of them
        return self._scopes[entity]

    def scan(self, scope: Scope, hops: tuple[Hop, ...]) -> tuple[Scan, Scope]:
        """The chain of related rows that `hops` lead to, and the scope of its last row."""
        lead = 0
        while not hops[lead].many:
            lead += 1
        outer, first = scope.follow(hops[:lead]), hops[lead]
        joins: dict[str, Join] = {}
        here = Scope(self, self.schema.nodes[first.to], "r0", joins)
        base = self.relation(here.node)
        pairs = [here.equal(theirs, outer, own) for own, theirs in first.keys]
        keys, anchor = tuple(key for key, _ in pairs), tuple(key for _, key in pairs)
        names = [first.name]
        for index, hop in enumerate(hops[lead + 1 :], 1):
            at = here.row_at
            then = Scope(self, self.schema.nodes[hop.to], f"r{index}", joins, (at,) if at is not None else ())
            sides = [then.equal(theirs, here, own) for own, theirs in hop.keys]
            on = exp.and_(*(exp.EQ(this=left, expression=right) for left, right in sides))
            joins[then.alias] = Join(then.alias, one_row_each(then, hop), on, "inner")
            here = then
            names.append(hop.name)
        anchored = f"{outer.node.name}:{','.join(str(own) for own, _ in first.keys)}"
        event = None
        if here.node.stream:
            event = Lowerer(self).event(here).sql()
        return Scan(f"{anchored}>{'.'.join(names)}", anchored, anchor, keys, base, joins, event), here

    def keyed(self, scope: Scope) -> exp.Expr:
        """The row's key as text: what breaks ties of time."""
        if scope.node.source is None:
            return exp.column(f"{scope.node.name}_id", table=scope.alias)
        self.rows_of(scope.node).keyed = True
        return exp.column("row_key", table=scope.alias)

    def streams(self, node: Node) -> list[str]:
        """The event streams whose rows know of an entity."""
        if node.entity is None:
            return []
        return [
            name
            for name, hops in node.hops.items()
            if len(hops) == 1 and hops[0].many and self.schema.nodes[hops[0].to].stream
        ]

    def join_key(self, scope: Scope, key: JoinKey) -> exp.Expr:
        """A join key of the row of a scope. Entities are joined by number: a text of 32 characters is hashed too slowly."""
        node = scope.node
        if key.kind == "text":
            return exp.column(f"{key.name}_id", table=scope.alias)
        if key.kind == "id":
            self.numbered.add(key.name)
            if node.source is not None and not (node.entity is not None and node.entity.name == key.name):
                self.rows_of(node).owners.add(key.name)
            return exp.column(number_of(key.name), table=scope.alias)
        if key.kind == "role":
            self.numbered.add(node.roles[key.name][0])
            self.rows_of(node).roles.add(key.name)
            return exp.column(number_of(f"rel_{key.name}"), table=scope.alias)
        return as_text(self._key_column(scope, key))

    def equal(self, left: Scope, own: JoinKey, right: Scope, theirs: JoinKey) -> tuple[exp.Expr, exp.Expr]:
        """Two join keys in a form in which they can be compared: as they are where their types are one, else as text."""
        if own.kind == "column" and theirs.kind == "column":
            first, second = self._key_column(left, own), self._key_column(right, theirs)
            if first.type == second.type and not first.loose:
                return first.tree, second.tree
            return as_text(first), as_text(second)
        return self.join_key(left, own), self.join_key(right, theirs)

    def _key_column(self, scope: Scope, key: JoinKey) -> Typed:
        node = scope.node
        kind = "attribute" if node.source is None else "column"
        known = node.attributes if node.source is None else node.columns
        return self.column(scope, ColumnRef(kind, key.name, known.get(key.name)), None)  # type: ignore[arg-type]

    # ------------------------------------------------------------------------------------------ columns
    def column(self, scope: Scope, ref: ColumnRef, mark: Mark | None) -> Typed:
        """A value of the row of a scope."""
        if ref.kind == "id":
            return Typed(exp.column(f"{ref.name}_id", table=scope.alias), "text")
        if ref.kind == "trait":
            return self._inner(self._trait_column(scope, ref.name), ref)
        if ref.kind == "attribute":
            return self._inner(
                Typed(exp.column(ref.name, table=scope.alias), self.attribute_type(scope.node, ref.name)), ref
            )
        name, value = self.rows_of(scope.node).column(ref, mark)
        return Typed(exp.column(name, table=scope.alias), value.type, value.leaf, value.zone)

    def _inner(self, value: Typed, ref: ColumnRef) -> Typed:
        if not ref.keys:
            return value
        return Typed(call("cdp_json_text", as_text(value), *map(text, ref.keys)), "json", leaf=True)

    def _trait_column(self, scope: Scope, name: str) -> Typed:
        entity = scope.node.name
        self.named_traits.add((entity, name))
        plan = self.trait(entity, name)
        if plan is None or plan.failed:
            return Typed(exp.null(), None)  # of any type, so that nobody complains of it
        if entity in self.fresh:
            self._after(plan.level)
            alias, table, key = f"{scope.alias}_t{plan.level}", f"tmp_traits_{entity}_{plan.level}", number_of(entity)
        elif scope.node.source is None:
            return Typed(exp.column(name, table=scope.alias), plan.type)
        else:
            alias, table, key = f"{scope.alias}_t", entity, f"{entity}_id"
        on = exp.column(key, table=alias).eq(exp.column(key, table=scope.alias))
        scope.join(alias, exp.to_table(f"{self.table_schema}.{table}"), on)
        return Typed(exp.column(name, table=alias), plan.type)

    def attribute_type(self, node: Node, name: str) -> str:
        """The type of an attribute of the golden record."""
        told = node.attributes.get(name)
        if told is not None or node.entity is None:
            return told or "text"
        rule = node.entity.attributes.get(name)
        for path in (rule.from_ if rule is not None else None) or []:
            source, _, column = path.partition(".")
            other = self.schema.nodes.get(self.schema.taken.get(source, source))
            if other is None or other.source is None or not column:
                continue
            try:
                found = self.schema.column(other, column.split("."))
            except PathError:  # noted where the attribute itself is lowered
                continue
            kind = self.rows_of(other).column(found, rule.at("from") if rule is not None else None)[1]
            node.attributes[name] = "text" if kind.loose else kind.type
            return node.attributes[name] or "text"
        return "text"

    # ------------------------------------------------------------------------------------------ traits and audiences
    def trait(self, entity: str, name: str) -> TraitPlan | None:
        """A trait, lowered; None (and noted) in a cycle."""
        key = (entity, name)
        self.uses_of(f"trait:{entity}.{name}")
        if key not in self.traits:
            trait = self.schema.nodes[entity].traits[name]
            with self._inside(f"trait:{entity}.{name}", trait.mark) as fine:
                if not fine:
                    return None
                plan = trait_plan(trait, entity, self.scope(entity), self)
                plan.level = self.level
                self.traits[key] = plan
                self.numbered.add(entity)  # its traits are joined to it, even where nothing else is
        return self.traits[key]

    def members(self, name: str, mark: Mark | None) -> tuple[str, exp.Expr] | None:
        """(entity, table) of an audience; None (and noted) where there is none, or in a cycle."""
        audience = self.project.audiences.get(name)
        if audience is None:
            if ("audience", name) not in self.project.broken:
                self.reading.unknown(
                    "CDP112", f"there is no audience `{name}`", name, self.project.audiences, "audiences", mark
                )
            return None
        if self.building is not None and name not in self.building:  # as it was built before
            self.uses_of(f"audience:{name}")
            self.read.add(name)
            return audience.of.entity, exp.to_table(f"{self.table_schema}.audience_{name}")
        plan = self.audience(name, mark)
        if plan is None:
            return None
        self._after(plan.level)
        return plan.entity, exp.to_table(f"{self.table_schema}.audience_{name}")

    def audience(self, name: str, mark: Mark | None = None) -> AudiencePlan | None:
        """An audience, lowered."""
        self.uses_of(f"audience:{name}")
        if name not in self.audiences:
            audience = self.project.audiences[name]
            with self._inside(f"audience:{name}", mark or audience.mark) as fine:
                if not fine:
                    return None
                plan = self._audience(audience)
                if plan is None:
                    return None
                plan.level = self.level
                self.audiences[name] = plan
        return self.audiences[name]

    def _audience(self, audience: Audience) -> AudiencePlan | None:
        entity = audience.of.entity
        if entity not in self.project.entities:
            if ("entity", entity) not in self.project.broken:
                self.reading.unknown(
                    "CDP112",
                    f"there is no entity `{entity}`",
                    entity,
                    self.project.entities,
                    "entities",
                    audience.at("of"),
                )
            return None
        scope, lowerer = self.scope(entity), Lowerer(self)
        self.uses_of(f"entity:{entity}")
        parts = [(title(part), getattr(part, "mark", None), lowerer.lower(part, scope)) for part in top(audience.where)]
        verdict = [tree for _, _, tree in parts]
        if not audience.of.anonymous:
            verdict = [*self.known(entity), *verdict]
        verdict += self.exclusions(audience.name, entity)
        order = [
            item for by in (audience.limit.by if audience.limit else []) if (item := self._by(by, scope, audience))
        ]
        return AudiencePlan(audience, entity, both(verdict), parts, order)

    def _by(self, by: str, scope: EntityScope, audience: Audience) -> tuple[exp.Expr, bool] | None:
        name, _, direction = by.partition(" ")
        mark = audience.limit.at("by") if audience.limit else None
        if direction.strip() not in ("", "asc", "desc"):
            self.reading.problem(
                "CDP106", f"`{by}` is no order", mark, "write `trait`, or `trait desc`", length=len(by)
            )
            return None
        value = scope.value(name, mark)
        return None if value is None else (value.tree, direction.strip() == "desc")

    def known(self, entity: str) -> list[exp.Expr]:
        """Whom of an entity is meant by default."""
        known = self.project.entities[entity].known
        return [] if known is None else [Lowerer(self).lower(known, self.scope(entity))]

    def exclusions(self, audience: str | None, entity: str) -> list[exp.Expr]:
        """NOT in any excluding audience, of the entity itself and of those that its to-one paths lead to.

        An excluding audience, and what it is built from, is not filtered: else it would empty itself.
        """
        if audience is not None and audience in self._unfiltered:
            return []
        return self.exclusions_of(self.scope(entity))

    def exclusions_of(self, scope: Scope) -> list[exp.Expr]:
        """NOT in any excluding audience, for the rows of a scope."""
        lowerer = Lowerer(self)
        paths = [(), *ways_to_policies(self.project, self.schema, scope.node)]
        return [
            lowerer.lower(InAudience(name, True), scope.follow(hops))
            for hops in paths
            for name in excluding(self.project, self.reading, hops[-1].to if hops else scope.node.name)
        ]
