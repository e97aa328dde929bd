"""From sources to people: rows read, identities resolved, golden records, and a number for each id of the build."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from sqlglot import exp

from cdp.compile.audiences import moved_stays
from cdp.compile.identity import Attribute, IdentitySpec, Records, golden, golden_scratch, normalised, owner
from cdp.compile.identity import step as identity_step
from cdp.compile.plan import Script, Step
from cdp.compile.rows import number_of
from cdp.compile.scan import aliased
from cdp.compile.sources import SourceParts, composite, source_script
from cdp.compile.steps import Steps
from cdp.errors import CompileError
from cdp.project.schema import ColumnRef

EVENTS_TO_CLUSTER = 12  # sorting 10 M rows costs about as much as a dozen scans save


@dataclass
class People(Steps):
    """The steps from the sources to the tables of entities."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.specs = {name: self._spec(name) for name in self.lowered.identifiers}

    # ------------------------------------------------------------------------------------------ sources and owners
    def _source(self, name: str) -> None:
        parts, table = self.lowered.parts[name], self.table(f"tmp_src_{name}")
        source = self.schema.nodes[name].source
        assert source is not None
        self.add(
            Step(
                f"source:{name}",
                f"source:{source.name}",
                lambda: source_script(parts, table, self.renderer),
                scratch=(table,),
            )
        )

    def _owners(self, name: str) -> list[tuple[str, str]]:
        """(id column, entity) of the resolved entities whose ids a node's rows get."""
        node, rows, parts = self.schema.nodes[name], self.lowering.rows[name], self.lowered.parts[name]
        found = [
            (f"{entity}_id", entity)
            for entity in parts.identifiers
            if entity in self.schema.nodes and entity in node.ids
        ]
        found += [
            (f"rel_{role}_id", entity)
            for role, (entity, _) in node.roles.items()
            if f"rel_{role}" in parts.identifiers and role in rows.roles
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
        texts += [
            (f"rel_{role}_id", entity) for role, (entity, _) in node.roles.items() if f"rel_{role}_id" in parts.columns
        ]
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
        self._one(
            f"rows:{name}", f"source:{name}", table, lambda: self.renderer.of_tree(tree, table, "table", table), needs
        )

    def _clustered(self, name: str, table: str) -> str | None:
        """The column that a stream's rows are put in the order of, where enough scans ask for one event each."""
        node, rows = self.schema.nodes[name], self.lowering.rows[name]
        if (
            not self.facts.skips_blocks
            or node.event is None
            or self.lowering.dispatch.scans_of(exp.to_table(table).sql()) < EVENTS_TO_CLUSTER
        ):
            return None
        spelled = self.schema.envelope(node, node.event) if node.segment else node.event
        return rows.column(ColumnRef("column", spelled or node.event, node.columns.get(spelled or node.event)), None)[0]

    def _with_numbers(self, rows: exp.Expr, kept: list[str], numbered: list[tuple[str, str]]) -> exp.Select:
        """Rows with a number for each id: what an entity's rows are joined and grouped by within this build."""
        columns = [exp.column(item, table="t") for item in dict.fromkeys(kept) if not item.startswith("i_")]
        numbers = [
            exp.alias_(exp.column("num", table=f"n{index}"), number_of(column.removesuffix("_id")))
            for index, (column, _) in enumerate(numbered)
        ]
        tree = exp.select(*columns, *numbers).from_(aliased(rows, "t"))
        for index, (column, entity) in enumerate(numbered):
            on = exp.column("id", table=f"n{index}").eq(exp.column(column, table="t"))
            tree = tree.join(
                aliased(exp.to_table(self.table(f"tmp_no_{entity}")), f"n{index}"), on=on, join_type="left", copy=False
            )
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
        numbered += [
            (f"{other}_id", other)
            for origin, other in self.lowered.entity_ids
            if origin == entity and other in self.lowering.numbered
        ]
        tree = self._with_numbers(exp.to_table(self.table(entity)), [], numbered).select("t.*", copy=False)
        needs = [f"numbers:{other}" for _, other in numbered]
        self._after[entity] = [f"ent:{entity}"]
        self._one(
            f"ent:{entity}",
            f"entity:{entity}",
            table,
            lambda: self.renderer.of_tree(tree, table, "table", table),
            needs,
        )

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
        needs += [
            f"golden:{origin}"
            for origin, other in self.lowered.entity_ids
            if other == entity and origin in self.lowering.fresh
        ]
        changes = spec.scratch("changes_new")
        stays = moved_stays(self.renderer, entity, changes, self.names, self.run_id, self.lowered.clock)
        *kept, ids = found.after_swap

        def script() -> Script:
            yield from found.script()
            yield stays.found

        after_swap = (*kept, *stays.statements, ids)
        scratch = (*found.scratch, *stays.scratch)
        self.add(replace(found, script=script, scratch=scratch, after_swap=after_swap, needs=tuple(needs)))
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
            columns = [
                "row_key",
                "row_at",
                *dict.fromkeys(item.column for items in froms.values() for item in items if item.source == source),
            ]
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
            exp.alias_(exp.column(f"{entity}_id"), "entity_id"),
            exp.column("row_at"),
            exp.column("row_key"),
            exp.alias_(tree, "value"),
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
                key = exp.alias_(composite([value.copy() for _, value in slots]), f"{other}_id")
                tree = exp.select(*(exp.column(item, table="g") for item in columns), key).from_(aliased(tree, "g"))
            else:
                raw = [exp.alias_(value.copy(), f"i{index}") for index, (_, value) in enumerate(slots)]
                rows = exp.select(*(exp.column(item, table="g") for item in columns), *raw).from_(aliased(tree, "g"))
                keep = [exp.column(item, table="r") for item in columns]
                found = owner(self.specs[other], self.renderer, rows, [kind for kind, _ in slots], keep)
                tree = exp.select(
                    *(exp.column(item, table="o") for item in columns),
                    exp.alias_(exp.column("entity_id", table="o"), f"{other}_id"),
                ).from_(aliased(found, "o"))
            columns.append(f"{other}_id")
        numbered = [
            (f"{entity}_id", entity),
            *((f"{other}_id", other) for other in others if other in self.lowering.numbered),
        ]
        final = self._with_numbers(tree, columns, numbered)
        needs += [f"numbers:{other}" for _, other in numbered]
        self._after[entity] = [f"ent:{entity}"]
        self._one(
            f"ent:{entity}",
            f"entity:{entity}",
            target,
            lambda: self.renderer.of_tree(final, target, "table", target),
            needs,
        )


def _share(value: str | int) -> float:
    return float(str(value).rstrip("% ")) / 100
