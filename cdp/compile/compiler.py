"""Lowered project ► Plan: the steps of a build in an order in which they can run.

sources ► identities ► rows with owners ► golden records ► waves of (leaves, traits, audiences) ► entity tables ► mapped syncs.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from cdp.compile.audiences import audience_step
from cdp.compile.lowering import AudiencePlan
from cdp.compile.people import People
from cdp.compile.plan import Plan, Script, Statement, Step
from cdp.compile.render import call, text
from cdp.compile.rows import number_of
from cdp.compile.scan import needed
from cdp.compile.scope import Scope
from cdp.compile.sources import refuse_files
from cdp.compile.traits import Ranked, TraitPlan
from cdp.project.schema import ColumnRef, PathError

VERDICTS_PER_QUERY = 100


@dataclass
class Compiler(People):
    """Makes the plan of one run for one target."""

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
            named = [
                plan
                for plan in built
                if plan.level == level and (plan.entity, plan.trait.name) in self.lowering.named_traits
            ]
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
        read = set().union(*map(_read, statements))
        others = [name for name in self.lowering.audiences if f"{self.names.schema}.audience_{name}" in read]
        after = (*needs, *(f"audience:{name}" for name in others if self.lowering.audiences[name].level < level))
        self.add(Step(f"leaves:{level}", "leaves", lambda: _in_turn(statements), scratch=tables, needs=after))
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

    def _projection(
        self, target: str, scope: Scope, columns: dict[str, exp.Expr], where: exp.Expr | None = None
    ) -> Statement:
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
        columns = {
            number_of(entity): exp.column(number_of(entity), table="e"),
            **{plan.trait.name: plan.tree for plan in plans},
        }
        scope = self.lowering.scope(entity)
        self._one(
            f"traits:{entity}:{level}",
            f"entity:{entity}",
            table,
            lambda: self._projection(table, scope, columns),
            needs,
        )

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
            for name in dict.fromkeys(
                [*(item.name for item in self.lowered.identifiers[entity]), *self.lowered.attributes[entity]]
            ):
                columns[name] = exp.column(name, table="e")
                if self.lowered.is_personal(entity, name):
                    personal.add(name)
            columns |= {
                f"{other}_id": exp.column(f"{other}_id", table="e")
                for origin, other in self.lowered.entity_ids
                if origin == entity
            }
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

        self.add(
            Step(
                f"entity:{entity}",
                f"entity:{entity}",
                script,
                publishes=(target,),
                views=(view,),
                needs=tuple(dict.fromkeys(needs)),
            )
        )

    def _reads_personal(self, entity: str, path: str) -> bool:
        """A trait that hands on a personal column is personal itself."""
        try:
            column = self.schema.resolve(entity, path).column
        except PathError:
            return False  # a formula
        return column is not None and column.pii

    def _keyed_columns(self, entity: str, columns: dict[str, exp.Expr], personal: set[str]) -> None:
        node, rows = self.schema.nodes[entity], self.lowering.rows_of(self.schema.nodes[entity])
        keys = [node.spelling(key) or key for key in (node.entity.key or [] if node.entity is not None else [])]
        for name in node.columns:
            ref = self.schema.column(node, [name])
            is_key = keys == [name]  # it is `<entity>_id`, and no column besides
            if ref.kind == "column" and name not in columns and not is_key:
                columns[name] = exp.column(rows.column(ref, None)[0], table="e")
            info = node.source.told(name)[1] if node.source is not None else None
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
        for other in dict.fromkeys(
            [*([audience] if audience else []), *excluded, *self._joined_audiences(found.scope)]
        ):
            if other in self.lowering.audiences:
                needs.append(f"audience:{other}")

        fresh = found.plan.freshness
        read = [self.table(f"tmp_src_{node}") for node in self._read_by(f"sync:{name}")]

        def script() -> Script:
            yield self._projection(f"{target}__new", found.scope, found.columns, found.where)
            for table in fresh:
                yield self._statement("newest_rows", f"{table}__new", sources=read)

        self.add(
            Step(
                f"mapped:{name}", f"sync:{name}", script, publishes=(target, *fresh), needs=tuple(dict.fromkeys(needs))
            )
        )

    def _read_by(self, resource: str) -> list[str]:
        """The nodes whose sources a resource is made of, at any depth."""
        found, pending = set(), [resource]
        while pending:
            for used in self.lowering.uses.get(pending.pop(), ()):
                if used not in found:
                    found.add(used)
                    pending.append(used)
        nodes = {
            self.schema.taken.get(name, name)
            for name in (item.removeprefix("source:") for item in found if item.startswith("source:"))
        }
        return sorted(nodes & set(self.lowered.parts))

    def _stays(self) -> None:
        """`audience_members`: every stay in every audience, as a view over the master."""
        view = self.table("audience_members")
        shown = self.renderer.statement(
            "compile/audience_members", view, "view", view, stays=f"{self.names.state_schema}.stays"
        )
        self.add(Step("views", "views", lambda: _in_turn([]), views=(shown,)))

    def _joined_audiences(self, scope: Scope) -> list[str]:
        tables = [join.relation.name for join in scope.joins.values() if isinstance(join.relation, exp.Table)]
        return [table.removeprefix("audience_") for table in tables if table.startswith("audience_")]


def _in_order(ranked: Ranked) -> exp.Expr:
    """The value as it is ordered: texts by their bytes, the same on every engine."""
    return call("cdp_binary", exp.column("v")) if ranked.textual else exp.column("v")


def _in_turn(statements: list[Statement]) -> Script:
    """The scans, all of which may run side by side, then the words, which are read from them."""
    made = {statement.target for statement in statements}
    scans = [statement for statement in statements if not made & _read(statement)]
    words = [statement for statement in statements if made & _read(statement)]
    for some in (scans, words):
        if some:
            yield tuple(some)


def _read(statement: Statement) -> set[str]:
    tables = statement.tree.find_all(exp.Table) if statement.tree is not None else ()
    return {f"{table.db}.{table.name}" for table in tables}


def _output(name: str) -> str | exp.Identifier:
    """A column of ours is never quoted; a user's own spelling is, where it needs it."""
    plain = name.isascii() and name == name.lower() and name.replace("_", "a").isalnum() and not name[0].isdigit()
    return name if plain else exp.to_identifier(name, quoted=True)
