"""Lowered project ► Plan: the steps of a build in an order in which they can run.

sources ► identities ► rows with owners ► golden records ► waves of (leaves, traits, audiences) ► entity tables ► mapped syncs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from sqlglot import exp

from cdp.compile.audiences import audience_step, moved_stays
from cdp.compile.facts import Facts
from cdp.compile.identity import Attribute, IdentitySpec, Records, golden, golden_scratch, normalised, owner
from cdp.compile.identity import step as identity_step
from cdp.compile.lower import Lowered
from cdp.compile.lowering import AudiencePlan
from cdp.compile.plan import Plan, Script, Statement, Step
from cdp.compile.render import Renderer, call, text
from cdp.compile.scan import aliased, needed
from cdp.compile.scope import Scope
from cdp.compile.sources import SourceParts, refuse_files, source_script
from cdp.compile.traits import Ranked, TraitPlan
from cdp.errors import CompileError
from cdp.project.schema import ColumnRef, PathError

VERDICTS_PER_QUERY = 100
EVENTS_TO_CLUSTER = 12  # sorting 10 M rows costs about as much as a dozen scans save


@dataclass(frozen=True)
class Names:
    """Where things stand in the warehouse."""

    schema: str
    state_schema: str


@dataclass
class Compiler:
    """Makes the plan of one run for one target."""

    lowered: Lowered
    facts: Facts
    names: Names
    run_id: str
    forced: frozenset[str] = frozenset()
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.renderer = Renderer(self.facts)
        self.lowering = self.lowered.lowering
        self.schema = self.lowered.schema
        self.specs = {name: self._spec(name) for name in self.lowered.identifiers}
        self._after: dict[str, list[str]] = {}  # node -> steps that its rows need
        self._final: dict[str, str] = {}  # resource -> its step

    # ------------------------------------------------------------------------------------------ the plan
    def plan(self) -> Plan:
        """Everything, in order; raises CompileError where this target cannot carry it out."""
        for source in self.lowered.project.sources.values():
            node = self.schema.taken.get(source.name, source.name)
            if node in self.lowered.parts:
                refuse_files(source, self.facts.reads_files, self.facts.name)
        for name in self.lowered.parts:
            self._source(name)
        order = self._order()
        for entity in sorted(self.lowering.numbered - set(order)):
            self._numbers(entity)
        pending = set(self.lowered.parts)
        for entity in order:
            for name in sorted(self._ready(pending, entity)):
                pending.discard(name)
                self._rows(name)
            self._identity(entity)
        for name in sorted(pending):
            self._rows(name)
        for entity in order:
            self._ent(entity)
        for entity in sorted(self.lowering.numbered - set(order)):
            if self.schema.nodes[entity].resolved:
                self._published(entity)
        self._waves()
        for entity in sorted(self.lowering.fresh):
            self._entity(entity)
        for name in self.lowered.syncs:
            self._mapped(name)
        if self.lowering.audiences:
            self._stays()
        return Plan(tuple(self.steps), {name: found.plan for name, found in self.lowered.syncs.items()})

    def table(self, name: str) -> str:
        """A table of the schema that may be dropped."""
        return f"{self.names.schema}.{name}"

    def add(self, step: Step) -> None:
        """Put a step behind all others."""
        self.steps.append(step)

    def _statement(self, template: str, target: str, **values: Any) -> Statement:
        return self.renderer.statement(f"compile/{template}", target, "table", target, **values)

    # ------------------------------------------------------------------------------------------ sources and owners
    def _source(self, name: str) -> None:
        parts, table = self.lowered.parts[name], self.table(f"tmp_src_{name}")
        source = self.schema.nodes[name].source
        assert source is not None
        self.add(
            Step(
                f"source:{name}", f"source:{source.name}", lambda: source_script(parts, table, self.renderer), scratch=(table,)
            )
        )

    def _owners(self, name: str) -> list[tuple[str, str]]:
        """(id column, entity) of the resolved entities whose ids a node's rows get."""
        node, rows, parts = self.schema.nodes[name], self.lowering.rows[name], self.lowered.parts[name]
        found = [(f"{entity}_id", entity) for entity in parts.identifiers if entity in self.schema.nodes and entity in node.ids]
        found += [
            (f"rel_{role}_id", entity) for role, (entity, _) in node.roles.items() if f"rel_{role}" in parts.identifiers and role in rows.roles
        ]
        return found

    def _ready(self, pending: set[str], entity: str) -> Iterable[str]:
        """Rows that can get their owners before this entity is resolved: those that need earlier ones only."""
        done = {step.id.removeprefix("identity:") for step in self.steps if step.id.startswith("identity:")}
        for name in pending:
            owners = {owner for _, owner in self._owners(name)}
            if owners <= done and owners:
                yield name

    def _rows(self, name: str) -> None:
        """`tmp_rows_<node>`: the source's rows with the numbers of the entities that they belong to."""
        parts, table, node = self.lowered.parts[name], self.table(f"tmp_rows_{name}"), self.schema.nodes[name]
        owners = self._owners(name)
        texts = [(column, entity) for column, entity in owners]
        texts += [(f"{entity}_id", entity) for entity in node.ids if f"{entity}_id" in parts.columns]
        texts += [(f"rel_{role}_id", entity) for role, (entity, _) in node.roles.items() if f"rel_{role}_id" in parts.columns]
        if node.entity is not None:
            texts.append((f"{name}_id", name))
        numbered = [(column, entity) for column, entity in dict.fromkeys(texts) if entity in self.lowering.numbered]
        kept = [item for item in parts.columns if node.entity is not None or item not in dict(texts)]
        kept += [column for column, _ in owners] if node.entity is not None else []
        tree = self._with_numbers(self._owned(name, list(parts.columns), owners), kept, numbered)
        event = self._clustered(name, table)
        if event is not None:
            tree = tree.order_by(exp.Ordered(this=exp.column(event, table="t"), nulls_first=False), copy=False)
        needs = [f"source:{name}", *(f"identity:{entity}" for _, entity in owners if entity in self.lowering.fresh)]
        needs += [f"numbers:{entity}" for _, entity in numbered]
        self._after[name] = [f"rows:{name}"]
        self._one(f"rows:{name}", f"source:{name}", table, lambda: self.renderer.of_tree(tree, table, "table", table), needs)

    def _clustered(self, name: str, table: str) -> str | None:
        """The column that a stream's rows are put in the order of, where enough scans ask for one event each."""
        node, rows = self.schema.nodes[name], self.lowering.rows[name]
        if not self.facts.skips_blocks or node.event is None or self.lowering.dispatch.scans_of(exp.to_table(table).sql()) < EVENTS_TO_CLUSTER:
            return None
        spelled = self.schema.envelope(node, node.event) if node.segment else node.event
        return rows.column(ColumnRef("column", spelled or node.event, node.columns.get(spelled or node.event)), None)[0]

    def _with_numbers(self, rows: exp.Expr, kept: list[str], numbered: list[tuple[str, str]]) -> exp.Select:
        """Rows with a number for each id: what an entity's rows are joined and grouped by within this build."""
        columns = [exp.column(item, table="t") for item in dict.fromkeys(kept) if not item.startswith("i_")]
        numbers = [
            exp.alias_(exp.column("no", table=f"n{index}"), f"{column.removesuffix('_id')}_no") for index, (column, _) in enumerate(numbered)
        ]
        tree = exp.select(*columns, *numbers).from_(aliased(rows, "t"))
        for index, (column, entity) in enumerate(numbered):
            on = exp.column("id", table=f"n{index}").eq(exp.column(column, table="t"))
            tree = tree.join(aliased(exp.to_table(self.table(f"tmp_no_{entity}")), f"n{index}"), on=on, join_type="left", copy=False)
        return tree

    def _numbers(self, entity: str) -> None:
        """`tmp_no_<entity>`: a number for each id, for this build only."""
        table, node = self.table(f"tmp_no_{entity}"), self.schema.nodes[entity]
        fresh = entity in self.lowering.fresh
        if node.source is not None:
            origin, needs = self.table(f"tmp_src_{entity}"), [f"source:{entity}"]
        else:
            origin, needs = self.table(f"{entity}_ids" if fresh else entity), [f"identity:{entity}"] if fresh else []
        statement = self._statement("numbers", table, origin=origin, key=f"{entity}_id")
        self._one(f"numbers:{entity}", f"entity:{entity}", table, lambda: statement, needs)

    def _published(self, entity: str) -> None:
        """`tmp_ent_<entity>` of an entity that is not built here: its published table with numbers."""
        table = self.table(f"tmp_ent_{entity}")
        numbered = [(f"{entity}_id", entity)]
        numbered += [(f"{other}_id", other) for origin, other in self.lowered.entity_ids if origin == entity and other in self.lowering.numbered]
        tree = self._with_numbers(exp.to_table(self.table(entity)), [], numbered).select("t.*", copy=False)
        needs = [f"numbers:{other}" for _, other in numbered]
        self._after[entity] = [f"ent:{entity}"]
        self._one(f"ent:{entity}", f"entity:{entity}", table, lambda: self.renderer.of_tree(tree, table, "table", table), needs)

    def _one(
        self, step_id: str, resource: str, table: str, statement: Callable[[], Statement], needs: Iterable[str], *, scratch: bool = True
    ) -> None:
        """A step of one statement."""

        def script() -> Script:
            yield statement()

        self.add(Step(step_id, resource, script, scratch=(table,) if scratch else (), needs=tuple(dict.fromkeys(needs))))

    def _owned(self, name: str, columns: list[str], owners: list[tuple[str, str]]) -> exp.Expr:
        """The rows of a node with the ids of their owners."""
        parts = self.lowered.parts[name]
        wanted = [column for column in columns if not column.startswith("i_")]
        tree: exp.Expr = exp.to_table(self.table(f"tmp_src_{name}"))
        every = list(parts.columns)
        for column, entity in owners:
            slots = parts.identifiers[column.removesuffix("_id")]
            raw = [exp.alias_(exp.column(source, table="s"), f"i{index}") for index, (_, source) in enumerate(slots)]
            rows = exp.select(*(exp.column(item, table="s") for item in every), *raw).from_(aliased(tree, "s"))
            keep = [exp.column(item, table="r") for item in every]
            found = owner(self.specs[entity], self.renderer, rows, [kind for kind, _ in slots], keep)
            tree = exp.select(
                *(exp.column(item, table="o") for item in every), exp.alias_(exp.column("entity_id", table="o"), column)
            ).from_(aliased(found, "o"))
            every.append(column)
        final = [*wanted, *(column for column, _ in owners)]
        return exp.select(*(exp.column(item, table="t") for item in final)).from_(aliased(tree, "t"))

    # ------------------------------------------------------------------------------------------ entities
    def _order(self) -> list[str]:
        """Resolved entities that are built, those that others are made of first."""
        graph: dict[str, set[str]] = {name: set() for name in self.lowered.identifiers if name in self.lowering.fresh}
        for origin, other in self.lowered.entity_ids:
            if other in graph and origin in graph:
                graph[other].add(origin)
        try:
            return list(TopologicalSorter({name: sorted(graph[name]) for name in sorted(graph)}).static_order())
        except CycleError as error:
            raise CompileError("CDP114", f"entities are made of each other: {' ► '.join(error.args[1])}") from error

    def _spec(self, entity: str) -> IdentitySpec:
        identity = self.lowered.project.entities[entity].identity
        assert identity is not None
        records = []
        for order, (name, parts) in enumerate(self.lowered.parts.items()):
            if entity in parts.identifiers and entity in self.schema.nodes[name].ids:
                records.append(self._records(entity, name, order, parts))
        for origin, other in self.lowered.entity_ids:
            if other == entity and origin in self.lowering.fresh:
                records.append(self._entity_records(origin, other, len(records)))
        return IdentitySpec(
            self.lowered.project.name, entity, self.lowered.identifiers[entity], tuple(records), self.lowered.always[entity],
            self.names.schema, self.names.state_schema, _share(identity.max_changed), forced="max_changed" in self.forced,
        )  # fmt: skip

    def _records(self, entity: str, name: str, order: int, parts: SourceParts) -> Records:
        slots = parts.identifiers[entity]
        columns = [exp.alias_(exp.column(column), f"i{index}") for index, (_, column) in enumerate(slots)]
        tree = exp.select(exp.column("row_key"), exp.column("row_at"), *columns).from_(self.table(f"tmp_src_{name}"))
        source = self.schema.nodes[name].source
        return Records(source.name if source is not None else name, order, tree, tuple(kind for kind, _ in slots))

    def _entity_records(self, origin: str, other: str, order: int) -> Records:
        slots = self.lowered.entity_ids[(origin, other)]
        tree = exp.select(
            exp.alias_(exp.column(f"{origin}_id", table="g"), "row_key"),
            exp.alias_(exp.cast(exp.null(), "TIMESTAMP"), "row_at"),
            *(exp.alias_(value.copy(), f"i{index}") for index, (_, value) in enumerate(slots)),
        ).from_(aliased(exp.to_table(self.table(f"tmp_gold_{origin}")), "g"))
        return Records(origin, order, tree, tuple(kind for kind, _ in slots))

    def _identity(self, entity: str) -> None:
        spec = self.specs[entity]
        found = identity_step(spec, self.renderer, self.run_id, self.lowered.clock.as_of)
        needs = [f"source:{name}" for name, parts in self.lowered.parts.items() if entity in parts.identifiers]
        needs += [f"golden:{origin}" for origin, other in self.lowered.entity_ids if other == entity and origin in self.lowering.fresh]
        stays = moved_stays(self.renderer, entity, self.names, self.run_id, self.lowered.clock)
        self.add(
            Step(
                found.id, found.resource, found.script, found.publishes, found.views, (*found.scratch, *stays.scratch),
                (*found.after_swap, *stays.statements), tuple(needs),
            )
        )  # fmt: skip
        self._numbers(entity)
        self._golden(entity)

    def _golden(self, entity: str) -> None:
        """`tmp_gold_<entity>`: one row per profile, its identifiers and attributes."""
        froms = self.lowered.attributes[entity]
        identifiers = {item.name: item for item in self.lowered.identifiers[entity]}
        used = list(dict.fromkeys(item.source for items in froms.values() for item in items))
        scratch, needs = [], [f"identity:{entity}"]
        for source in used:
            table = self.table(f"tmp_own_{entity}_{source}")
            scratch.append(table)
            columns = ["row_key", "row_at", *dict.fromkeys(item.column for items in froms.values() for item in items if item.source == source)]
            tree = self._owned(source, columns, [(f"{entity}_id", entity)])
            self._one(
                f"own:{entity}:{source}", f"entity:{entity}", table,
                lambda tree=tree, table=table: self.renderer.of_tree(tree, table, "table", table),  # type: ignore[misc]
                [f"identity:{entity}", f"source:{source}"],
            )  # fmt: skip
            needs.append(f"own:{entity}:{source}")
        rules = self.lowered.project.entities[entity].attributes
        attributes = []
        for name, items in froms.items():
            selects = [self._value_of(entity, item.source, item.value.tree, identifiers.get(name)) for item in items]
            if not items:
                selects = [self._value_of_identifier(entity, name)]
            kind = items[0].value.type or "text" if items else "text"
            attributes.append(Attribute(name, rules[name].pick, kind, tuple(selects)))
        target = self.table(f"tmp_gold_{entity}")
        ids = self.table(f"{entity}_ids")
        self.add(
            Step(
                f"golden:{entity}", f"entity:{entity}",
                lambda: golden(entity, ids, list(identifiers), attributes, self.renderer, target),
                scratch=(target, *golden_scratch(target, attributes)), needs=tuple(needs),
            )
        )  # fmt: skip

    def _value_of(self, entity: str, source: str, value: exp.Expr, identifier: Any) -> exp.Expr:
        tree = normalised(identifier, value.copy()) if identifier is not None else value.copy()
        return exp.select(
            exp.alias_(exp.column(f"{entity}_id"), "entity_id"), exp.column("row_at"), exp.column("row_key"), exp.alias_(tree, "value")
        ).from_(self.table(f"tmp_own_{entity}_{source}"))

    def _value_of_identifier(self, entity: str, name: str) -> exp.Expr:
        return (
            exp.select(
                exp.alias_(exp.column(f"{entity}_id"), "entity_id"), exp.alias_(exp.column("last_seen_at"), "row_at"),
                exp.alias_(exp.column("id_value"), "row_key"), exp.alias_(exp.column("id_value"), "value"),
            )
            .from_(self.table(f"{entity}_ids"))
            .where(exp.column("id_type").eq(exp.Literal.string(name)))
        )  # fmt: skip

    def _ent(self, entity: str) -> None:
        """`tmp_ent_<entity>`: the golden record with the ids of other entities that it leads to."""
        others = [other for origin, other in self.lowered.entity_ids if origin == entity]
        target = self.table(f"tmp_ent_{entity}")
        identifiers = [item.name for item in self.lowered.identifiers[entity]]
        columns = [f"{entity}_id", *dict.fromkeys([*identifiers, *self.lowered.attributes[entity]])]
        tree: exp.Expr = exp.to_table(self.table(f"tmp_gold_{entity}"))
        needs = [f"golden:{entity}"]
        for other in others:
            slots = self.lowered.entity_ids[(entity, other)]
            needs.append(f"identity:{other}" if other in self.lowering.fresh else f"golden:{entity}")
            if not self.schema.nodes[other].resolved:
                keys = [exp.alias_(value.copy(), f"{other}_id") for _, value in slots[:1]]
                tree = exp.select(*(exp.column(item, table="g") for item in columns), *keys).from_(aliased(tree, "g"))
            else:
                raw = [exp.alias_(value.copy(), f"i{index}") for index, (_, value) in enumerate(slots)]
                rows = exp.select(*(exp.column(item, table="g") for item in columns), *raw).from_(aliased(tree, "g"))
                keep = [exp.column(item, table="r") for item in columns]
                found = owner(self.specs[other], self.renderer, rows, [kind for kind, _ in slots], keep)
                tree = exp.select(
                    *(exp.column(item, table="o") for item in columns), exp.alias_(exp.column("entity_id", table="o"), f"{other}_id")
                ).from_(aliased(found, "o"))
            columns.append(f"{other}_id")
        numbered = [(f"{entity}_id", entity), *((f"{other}_id", other) for other in others if other in self.lowering.numbered)]
        final = self._with_numbers(tree, columns, numbered)
        needs += [f"numbers:{other}" for _, other in numbered]
        self._after[entity] = [f"ent:{entity}"]
        self._one(f"ent:{entity}", f"entity:{entity}", target, lambda: self.renderer.of_tree(final, target, "table", target), needs)

    # ------------------------------------------------------------------------------------------ waves
    def _waves(self) -> None:
        """Leaves, traits and audiences level by level."""
        dispatch, traits = self.lowering.dispatch, self.lowering.traits.values()
        audiences = self.lowering.audiences.values()
        built = [plan for plan in traits if plan.entity in self.lowering.fresh]
        levels = {*dispatch.levels(), *(plan.level for plan in built), *(plan.level for plan in audiences)}
        levels |= {found.level for found in self.lowered.syncs.values()}
        base = [step.id for step in self.steps if step.id.startswith(("rows:", "ent:"))]
        done: list[str] = []
        for level in sorted(levels):
            before = [*base, *done]
            leaves = self._leaves(level, [plan for plan in built if plan.level == level], before)
            named = [plan for plan in built if plan.level == level and (plan.entity, plan.trait.name) in self.lowering.named_traits]
            for entity in sorted({plan.entity for plan in named}):
                self._traits(entity, level, [plan for plan in named if plan.entity == entity], [*before, *leaves])
                done.append(f"traits:{entity}:{level}")
            for entity in sorted({plan.entity for plan in audiences if plan.level == level}):
                some = [plan for plan in audiences if plan.level == level and plan.entity == entity]
                for number, start in enumerate(range(0, len(some), VERDICTS_PER_QUERY)):
                    self._audiences(entity, level, number, some[start : start + VERDICTS_PER_QUERY], [*before, *leaves])

    def _leaves(self, level: int, traits: list[TraitPlan], needs: list[str]) -> list[str]:
        """The scans of one level, and the ranked tables of its traits."""
        statements = list(self.lowering.dispatch.statements(level, self.renderer))
        for plan in traits:
            if plan.ranked is not None:
                statements.append(self._ranked(plan))
        if not statements:
            return []
        tables = tuple(dict.fromkeys(statement.target for statement in statements))
        self.add(Step(f"leaves:{level}", "leaves", lambda: _each(statements), scratch=tables, needs=tuple(needs)))
        return [f"leaves:{level}"]

    def _ranked(self, plan: TraitPlan) -> Statement:
        ranked = plan.ranked
        assert ranked is not None
        scan = ranked.scan
        known = exp.not_(exp.Is(this=ranked.value.copy(), expression=exp.null()))
        keys = [exp.not_(exp.Is(this=key.copy(), expression=exp.null())) for key in scan.keys]
        where = exp.and_(*keys, known, *(tree.copy() for tree in ranked.where))
        trees = [*scan.keys, ranked.value, where, *([ranked.at] if ranked.at is not None else [])]
        template = "list" if ranked.kind == "list" else "frequent"
        return self._statement(
            template, ranked.table, scan=scan, joins=needed(trees, scan.joins), where=where, value=ranked.value, element=ranked.element,
            at=ranked.at, limit=ranked.limit or 0, opening=text("["), comma=text(","), closing=text("]"), rarest=ranked.kind == "least_frequent",
            ordered=_in_order(ranked),
        )  # fmt: skip

    def _projection(self, target: str, scope: Scope, columns: dict[str, exp.Expr], where: exp.Expr | None = None) -> Statement:
        """One row per entity of a scope: expressions over its own columns and its leaves."""
        joins = dict(scope.joins)
        trees = self.lowering.dispatch.filled([*columns.values(), *([where] if where is not None else [])], joins)
        filled = dict(zip((_output(name) for name in columns), trees, strict=False))
        wanted = needed(trees, joins)
        return self._statement(
            "projection", target, base=self.lowering.relation(scope.node), joins=wanted, columns=filled,
            where=trees[-1] if where is not None else exp.true(),
        )  # fmt: skip

    def _traits(self, entity: str, level: int, plans: list[TraitPlan], needs: list[str]) -> None:
        table = self.table(f"tmp_traits_{entity}_{level}")
        columns = {f"{entity}_no": exp.column(f"{entity}_no", table="e"), **{plan.trait.name: plan.tree for plan in plans}}
        scope = self.lowering.scope(entity)
        self._one(f"traits:{entity}:{level}", f"entity:{entity}", table, lambda: self._projection(table, scope, columns), needs)

    def _audiences(self, entity: str, level: int, number: int, plans: list[AudiencePlan], needs: list[str]) -> None:
        """One projection of verdicts for many audiences, then each audience's own table."""
        table, step_id = self.table(f"tmp_v_{entity}_{level}_{number}"), f"verdicts:{entity}:{level}:{number}"
        identity = exp.column(f"{entity}_id", table="e")
        columns: dict[str, exp.Expr] = {f"{entity}_id": identity}
        for plan in plans:
            columns[f"v_{plan.audience.name}"] = plan.verdict
            columns.update({f"o{index}_{plan.audience.name}": value for index, (value, _) in enumerate(plan.order)})
        scope = self.lowering.scope(entity)
        others = [name for name in self.lowering.audiences if self.lowering.audiences[name].level < level]
        needs = [*needs, *(f"audience:{name}" for name in others)]
        self._one(step_id, "leaves", table, lambda: self._projection(table, scope, columns), needs)
        for plan in plans:
            self.add(audience_step(self.renderer, plan, table, step_id, self.names, self.run_id, self.lowered.clock))

    # ------------------------------------------------------------------------------------------ results
    def _entity(self, entity: str) -> None:
        """`<entity>` and `<entity>_masked`: attributes, ids of other entities, traits."""
        node = self.schema.nodes[entity]
        columns: dict[str, exp.Expr] = {f"{entity}_id": exp.column(f"{entity}_id", table="e")}
        personal: set[str] = set()
        if node.resolved:
            for name in dict.fromkeys([*(item.name for item in self.lowered.identifiers[entity]), *self.lowered.attributes[entity]]):
                columns[name] = exp.column(name, table="e")
                if self.lowered.is_personal(entity, name):
                    personal.add(name)
            columns |= {f"{other}_id": exp.column(f"{other}_id", table="e") for origin, other in self.lowered.entity_ids if origin == entity}
        elif node.source is not None:
            self._keyed_columns(entity, columns, personal)
        scope = self.lowering.scope(entity)
        needs = list(self._after.get(entity, []))
        for name, trait in node.traits.items():
            plan = self.lowering.traits.get((entity, name))
            if plan is None:
                continue
            if (entity, name) in self.lowering.named_traits:
                columns[name] = self.lowering.column(scope, ColumnRef("trait", name, None), None).tree
                needs.append(f"traits:{entity}:{plan.level}")
            else:
                columns[name] = plan.tree
                needs += [step.id for step in self.steps if step.id == f"leaves:{plan.level}"]
            if trait.pii or self._reads_personal(entity, trait.path):
                personal.add(name)
        target, masked = self.table(entity), self.table(f"{entity}_masked")
        shown = exp.select(*(exp.column(_output(name)) for name in columns if name not in personal)).from_(target)
        view = self.renderer.of_tree(shown, masked, "view", masked)

        def script() -> Script:
            yield self._projection(f"{target}__new", scope, columns)

        self.add(Step(f"entity:{entity}", f"entity:{entity}", script, publishes=(target,), views=(view,), needs=tuple(dict.fromkeys(needs))))

    def _reads_personal(self, entity: str, path: str) -> bool:
        """A trait that hands on a personal column is personal itself."""
        try:
            column = self.schema.resolve(entity, path).column
        except PathError:
            return False  # a formula
        return column is not None and column.pii

    def _keyed_columns(self, entity: str, columns: dict[str, exp.Expr], personal: set[str]) -> None:
        node, rows = self.schema.nodes[entity], self.lowering.rows_of(self.schema.nodes[entity])
        for name in node.columns:
            ref = self.schema.column(node, [name])
            is_key = node.entity is not None and node.entity.key == [name]  # it is `<entity>_id`, and no column besides
            if ref.kind == "column" and name not in columns and not is_key:
                columns[name] = exp.column(rows.column(ref, None)[0], table="e")
            info = node.source.columns.get(name) if node.source is not None else None
            if info is not None and info.pii:
                personal.add(name)
        for column, _ in self._owners(entity):
            columns.setdefault(column, exp.column(column, table="e"))

    def _mapped(self, name: str) -> None:
        """`mapped_<sync>`: the rows that should be at the destination."""
        found = self.lowered.syncs[name]
        target = self.table(f"mapped_{name}")
        needs = [step.id for step in self.steps if step.id.startswith(("rows:", "ent:", "traits:", "leaves:"))]
        audience = found.sync.from_.audience
        excluded = [item for policy in self.lowered.project.policies.values() for item in policy.exclude]
        for other in dict.fromkeys([*([audience] if audience else []), *excluded, *self._joined_audiences(found.scope)]):
            if other in self.lowering.audiences:
                needs.append(f"audience:{other}")

        fresh = found.plan.freshness
        read = [self.table(f"tmp_src_{node}") for node in self._read_by(f"sync:{name}")]

        def script() -> Script:
            yield self._projection(f"{target}__new", found.scope, found.columns, found.where)
            for table in fresh:
                yield self._statement("newest_rows", f"{table}__new", sources=read)

        self.add(Step(f"mapped:{name}", f"sync:{name}", script, publishes=(target, *fresh), needs=tuple(dict.fromkeys(needs))))

    def _read_by(self, resource: str) -> list[str]:
        """The nodes whose sources a resource is made of, at any depth."""
        found, pending = set(), [resource]
        while pending:
            for used in self.lowering.uses.get(pending.pop(), ()):
                if used not in found:
                    found.add(used)
                    pending.append(used)
        nodes = {self.schema.taken.get(name, name) for name in (item.removeprefix("source:") for item in found if item.startswith("source:"))}
        return sorted(nodes & set(self.lowered.parts))

    def _stays(self) -> None:
        """`audience_members`: every stay in every audience, as a view over the master."""
        view = self.table("audience_members")
        shown = self.renderer.statement("compile/audience_members", view, "view", view, stays=f"{self.names.state_schema}.stays")
        self.add(Step("views", "views", lambda: _each([]), views=(shown,)))

    def _joined_audiences(self, scope: Scope) -> list[str]:
        tables = [join.relation.name for join in scope.joins.values() if isinstance(join.relation, exp.Table)]
        return [table.removeprefix("audience_") for table in tables if table.startswith("audience_")]


def _in_order(ranked: Ranked) -> exp.Expr:
    """The value as it is ordered: texts by their bytes, the same on every engine."""
    return call("cdp_binary", exp.column("v")) if ranked.textual else exp.column("v")


def _each(statements: list[Statement]) -> Script:
    for statement in statements:
        yield statement




def _output(name: str) -> str | exp.Identifier:
    """A column of ours is never quoted; a user's own spelling is, where it needs it."""
    plain = name.isascii() and name == name.lower() and name.replace("_", "a").isalnum() and not name[0].isdigit()
    return name if plain else exp.to_identifier(name, quoted=True)


def _share(value: str | int) -> float:
    return float(str(value).rstrip("% ")) / 100
