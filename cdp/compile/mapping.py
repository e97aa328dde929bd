"""A sync's mapping ► the rows that should be at its destination: keys, match ids, fields, as one SELECT."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlglot import exp

from cdp.compile.conditions import Lowerer
from cdp.compile.lowering import Lowering
from cdp.compile.plan import SyncField, SyncMatch, SyncPlan
from cdp.compile.render import call, text
from cdp.compile.rows import slug
from cdp.compile.scan import aliased
from cdp.compile.scope import Scope
from cdp.compile.typed import SQL_TYPES, Typed, as_json, as_text, both, either, literal, read_as
from cdp.errors import Mark, suggestion
from cdp.project.condition import Duration
from cdp.project.reading import key_mark, value_mark
from cdp.project.schema import Node, PathError, query_node
from cdp.project.sync_model import FieldMap, Sync

_HOLE = re.compile(r"\$\{([^}]*)\}")


@dataclass
class Mapped:
    """A sync, lowered: the columns of its mapped table over a scope, the rows that are meant, and the engine's plan."""

    sync: Sync
    scope: Scope
    columns: dict[str, exp.Expr]  # of the mapped table, in order
    where: exp.Expr
    plan: SyncPlan
    level: int = 0
    base: exp.Expr | None = None  # of a sync from a source or a query; else the entity's rows
    needs: list[str] = field(default_factory=list)  # audiences


def mapped(sync: Sync, lowering: Lowering) -> Mapped | None:
    """A sync, lowered; mistakes are noted, and give None where nothing can be made of it."""
    with lowering.leaf():
        return _Mapping(sync, lowering).mapped()


class _Mapping:
    def __init__(self, sync: Sync, lowering: Lowering) -> None:
        self.sync = sync
        self.lowering = lowering
        self.lowerer = Lowerer(lowering)
        self.held: list[exp.Expr] = []
        self.where: list[exp.Expr] = []
        self.row_at: exp.Expr | None = None

    def problem(self, code: str, message: str, mark: Mark | None, hint: str | None = None, length: int = 1) -> None:
        """Note a mistake of this sync."""
        self.lowering.reading.problem(code, message, mark, hint, length=length)

    def mapped(self) -> Mapped | None:
        """The whole sync."""
        found = self._from()
        if found is None:
            return None
        scope, key, entity = found
        fields = [(name, self._field(name, spec, scope), spec) for name, spec in self.sync.fields.items()]
        match = [(name, self._match(name, spec, scope)) for name, spec in self.sync.match.items()]
        columns: dict[str, exp.Expr] = {"row_key": key}
        matches, sync_fields = [], []
        for name, value in match:
            column = _column_name("m_", name, columns)
            columns[column] = as_text(value)
            matches.append(SyncMatch(name, column, self.sync.match[name].all_ is not None))
        for name, value, spec in fields:
            column = _column_name("f_", name, columns)
            kind = value.type if value.type is not None and not value.leaf else "text"
            columns[column] = exp.cast(read_as(value, kind, self.lowering.clock.zone.key), SQL_TYPES[kind])
            sync_fields.append(self._sync_field(name, column, kind, spec, scope))
        columns["row_at"] = exp.cast(self.row_at if self.row_at is not None else exp.null(), "TIMESTAMP")
        held = either(self.held) if self.held else None
        columns["held"] = (
            exp.cast(exp.null(), "TEXT") if held is None else exp.Case().when(held, text("excluded")).else_(exp.null())
        )
        prefer = self._prefer(scope, columns)
        self._check(matches)
        plan = self._plan(tuple(matches), tuple(sync_fields), entity, prefer)
        return Mapped(self.sync, scope, columns, both(self.where), plan, self.lowering.level)

    # ------------------------------------------------------------------------------------------ rows
    def _from(self) -> tuple[Scope, exp.Expr, str | None] | None:
        origin = self.sync.from_
        if origin.audience is not None:
            return self._from_audience(origin.audience)
        if origin.entity is not None:
            return self._from_entity(origin.entity)
        if origin.source is not None:
            return self._from_source(origin.source)
        return self._from_rows(self.lowering.schema.nodes[query_node(self.sync.name)])

    def _from_audience(self, name: str) -> tuple[Scope, exp.Expr, str | None] | None:
        origin = self.sync.from_
        found = self.lowering.members(name, origin.at("audience"))
        if found is None:
            return None
        entity, relation = found
        scope = self.lowering.scope(entity)
        alias, identity = f"e_from_{name}", exp.column(f"{entity}_id", table="e")
        scope.join(alias, relation, exp.column(f"{entity}_id", table=alias).eq(identity.copy()))
        member = exp.not_(exp.Is(this=exp.column(f"{entity}_id", table=alias), expression=exp.null()))
        self.row_at = exp.column("entered_at", table=alias)
        if self.sync.mode == "append":
            # a new stay is a new message
            self.where.append(member)
            stay = call("cdp_concat", identity, text("@"), call("cdp_text_of_timestamp", self.row_at.copy()))
            return self._filtered(scope, stay, entity)
        excluded = [exp.not_(tree) for tree in self.lowering.exclusions(name, entity)]
        self.where.append(exp.or_(member, *excluded) if excluded else member)
        self.held += excluded
        return self._filtered(scope, identity, entity)

    def _from_entity(self, name: str) -> tuple[Scope, exp.Expr, str | None] | None:
        origin = self.sync.from_
        if name not in self.lowering.project.entities:
            self._unknown("entity", name, list(self.lowering.project.entities), origin.at("entity"))
            return None
        scope = self.lowering.scope(name)
        self.lowering.uses_of(f"entity:{name}")
        if not origin.anonymous:
            self.where += self.lowering.known(name)
        self.held += [exp.not_(tree) for tree in self.lowering.exclusions(None, name)]
        if self.sync.mode == "append":
            self.problem(
                "CDP118",
                "`append` from an entity",
                self.sync.at("mode"),
                "append sends rows of a source, or stays of an audience",
            )
        return self._filtered(scope, exp.column(f"{name}_id", table="e"), name)

    def _from_source(self, name: str) -> tuple[Scope, exp.Expr, str | None] | None:
        origin = self.sync.from_
        node = self.lowering.schema.nodes.get(self.lowering.schema.taken.get(name, name))
        if name not in self.lowering.project.sources or node is None:
            self._unknown("source", name, list(self.lowering.project.sources), origin.at("source"))
            return None
        if node.source is not None and not node.source.key and not node.segment:
            self.problem(
                "CDP118",
                f"source `{name}` has no `key`, so its rows cannot be told apart",
                origin.at("source"),
                "give it a `key:`",
            )
        self.lowering.uses_of(f"source:{name}")
        return self._from_rows(node)

    def _from_rows(self, node: Node) -> tuple[Scope, exp.Expr, str | None]:
        """The rows of a source, or of a query over sources."""
        origin = self.sync.from_
        scope = Scope(self.lowering, node, "e")
        self.lowering.rows_of(node).keyed = True
        self.row_at = scope.row_at
        if origin.since is not None and self.row_at is None:
            self.problem(
                "CDP118",
                f"`since` of `{node.name}`, whose rows have no time",
                origin.at("since"),
                "give the source a `time:`",
            )
        self.held += [exp.not_(tree) for tree in self.lowering.exclusions_of(scope)]
        return self._filtered(scope, exp.column("row_key", table="e"), None)

    def _unknown(self, kind: str, name: str, there: list[str], mark: Mark | None) -> None:
        if (kind, name) not in self.lowering.project.broken:
            self.lowering.reading.unknown(
                "CDP112", f"there is no {kind} `{name}`", name, there, f"{kind}s".replace("ys", "ies"), mark
            )

    def _filtered(self, scope: Scope, key: exp.Expr, entity: str | None) -> tuple[Scope, exp.Expr, str | None]:
        if self.sync.from_.where is not None:
            self.where.append(self.lowerer.lower(self.sync.from_.where, scope))
        return scope, key, entity

    # ------------------------------------------------------------------------------------------ values
    def _match(self, name: str, spec: FieldMap, scope: Scope) -> Typed:
        if spec.all_ is not None:
            return self._all(spec.all_, scope, spec.at("all"))
        value = self._value(spec, scope, name, value_mark(_inside(self.sync, "match"), name))
        return Typed(value.tree, value.type or "text", value.leaf)

    def _all(self, kind: str, scope: Scope, mark: Mark | None) -> Typed:
        """Every identifier of a type, as a JSON list in order; NULL where the entity has none."""
        node = scope.node
        known = (
            list(node.entity.identity.by_name) if node.entity is not None and node.entity.identity is not None else []
        )
        if kind not in known:
            what = f"identifiers of {node.name}" if known else f"{node.name} is not made of identifiers"
            self.lowering.reading.unknown("CDP112", f"{node.name} has no identifier `{kind}`", kind, known, what, mark)
            return Typed(exp.null(), "text")
        key, value = f"{node.name}_id", exp.column("id_value", table="i")
        joined = call(
            "cdp_string_agg", call("cdp_json_quote", value.copy()), text(","), call("cdp_binary", value.copy())
        )
        rows = exp.select(exp.column(key, table="i"), exp.alias_(call("cdp_concat", text("["), joined, text("]")), "v"))
        ids = aliased(exp.to_table(f"{self.lowering.table_schema}.{node.name}_ids"), "i")
        rows = (
            rows.from_(ids).where(exp.column("id_type", table="i").eq(text(kind))).group_by(exp.column(key, table="i"))
        )
        alias = f"{scope.alias}_all_{kind}"
        scope.join(alias, exp.Subquery(this=rows), exp.column(key, table=alias).eq(exp.column(key, table=scope.alias)))
        return Typed(exp.column("v", table=alias), "list")

    def _field(self, name: str, spec: FieldMap, scope: Scope) -> Typed:
        return self._value(
            spec,
            scope,
            name,
            value_mark(_inside(self.sync, "fields"), name) or key_mark(_inside(self.sync, "fields"), name),
        )

    def _value(self, spec: FieldMap, scope: Scope, name: str, mark: Mark | None) -> Typed:
        if spec.column is not None:
            mark = spec.at("column") if spec.origin is not None and "column" in spec.origin else mark
            value = scope.value(spec.column, mark) or Typed(exp.null(), "text")
            if value.loose:
                value = Typed(as_text(value), "text")
            if spec.round_ is not None:
                plain = read_as(value, "decimal", self.lowering.clock.zone.key)
                value = Typed(
                    exp.cast(exp.Round(this=plain, decimals=exp.Literal.number(spec.round_)), "DECIMAL(38, 9)"),
                    "decimal",
                )
            return value
        if spec.all_ is not None:
            self.problem("CDP118", f"`all` in the field `{name}`", spec.at("all") or mark, "it stands in `match:` only")
            return Typed(exp.cast(exp.null(), "TEXT"), "text")
        if spec.template is not None:
            return self._template(spec.template, scope, spec.at("template") or mark)
        if spec.case is not None:
            return self._case(spec, scope, name, mark)
        if spec.object_ is not None:
            return self._object(spec.object_, scope, name, mark)
        return self._constant(spec.constant, mark)

    def _constant(self, value: Any, mark: Mark | None) -> Typed:
        if isinstance(value, str | int | float | bool):
            return literal(value)
        if value is not None:
            self.problem("CDP118", "a constant must be a scalar", mark, "for structures use `object:`")
        return Typed(exp.cast(exp.null(), "TEXT"), "text")

    def _template(self, template: str, scope: Scope, mark: Mark | None) -> Typed:
        """`${column}` filled in; NULL where any of them is NULL."""
        parts: list[exp.Expr] = []
        last = 0
        for hole in _HOLE.finditer(template):
            if hole.start() > last:
                parts.append(text(template[last : hole.start()]))
            value = scope.value(hole[1].strip(), mark)
            parts.append(as_text(value) if value is not None else exp.null())
            last = hole.end()
        if "${" in _HOLE.sub("", template):
            self.problem("CDP118", "a `${` that no `}` closes", mark, "write ${column}", length=len(template))
        if last < len(template):
            parts.append(text(template[last:]))
        if not parts:
            return Typed(text(""), "text")
        return Typed(parts[0] if len(parts) == 1 else call("cdp_concat", *parts), "text")

    def _case(self, spec: FieldMap, scope: Scope, name: str, mark: Mark | None) -> Typed:
        branches = [
            (self.lowerer.lower(branch.when, scope), self._constant(branch.then, branch.at("then")))
            for branch in spec.case or []
        ]
        values = [value for _, value in branches]
        if spec.else_ is not None:
            values.append(self._constant(spec.else_, spec.at("else") or mark))
        kinds = {value.type for value in values}
        kind = kinds.pop() if len(kinds) == 1 else "decimal" if kinds <= {"int", "decimal"} else None
        if kind is None:
            self.problem(
                "CDP118",
                f"the branches of `{name}` are of several types",
                mark,
                "make all of them text, or all numbers",
            )
            kind = "text"
        zone = self.lowering.clock.zone.key
        tree = exp.Case()
        for condition, value in branches:
            tree = tree.when(condition, read_as(value, kind, zone))
        if spec.else_ is not None:
            tree = tree.else_(read_as(values[-1], kind, zone))
        return Typed(tree, kind)

    def _object(self, members: Mapping[str, FieldMap], scope: Scope, name: str, mark: Mark | None) -> Typed:
        """Canonical JSON text: keys sorted, no blanks."""
        parts: list[exp.Expr] = []
        for index, key in enumerate(sorted(members)):
            value = self._value(members[key], scope, f"{name}.{key}", members[key].at() or mark)
            opening = ("{" if index == 0 else ",") + _json_key(key) + ":"
            parts += [text(opening), exp.Coalesce(this=as_json(value), expressions=[text("null")])]
        return Typed(call("cdp_concat", *parts, text("}")), "json") if parts else Typed(text("{}"), "json")

    # ------------------------------------------------------------------------------------------ the engine's plan
    def _sync_field(self, name: str, column: str, kind: str, spec: FieldMap, scope: Scope) -> SyncField:
        tolerance = self.sync.diff.tolerance.get(name)
        return SyncField(
            name, column, kind, spec.nulls or self.sync.nulls, None if tolerance is None else Decimal(str(tolerance)),
            name in self.sync.diff.ignore, self._is_personal(spec, scope),
        )  # fmt: skip

    def _is_personal(self, spec: FieldMap, scope: Scope) -> bool:
        paths = [spec.column] if spec.column else _HOLE.findall(spec.template or "")
        for path in paths:
            try:
                place = self.lowering.schema.resolve(scope.node.name, path.strip())
            except PathError:
                continue
            if place.column is not None and place.column.pii:
                return True
        return any(self._is_personal(inner, scope) for inner in (spec.object_ or {}).values())

    def _prefer(self, scope: Scope, columns: dict[str, exp.Expr]) -> tuple[tuple[str, bool], ...]:
        found = []
        for index, by in enumerate(self.sync.prefer):
            name, _, direction = by.partition(" ")
            value = scope.value(name, self.sync.at("prefer"))
            if value is not None:
                columns[f"o_{index}_{slug(name)}"[:50]] = value.tree
                found.append((f"o_{index}_{slug(name)}"[:50], direction.strip() == "desc"))
        return tuple(found)

    def _check(self, matches: list[SyncMatch]) -> None:
        sync = self.sync
        noted = any(f"`sync {sync.name}.on_leave`" in found.message for found in self.lowering.reading.problems)
        if sync.mode == "mirror" and sync.on_leave is None and sync.to.list_ is None and not noted:
            self.problem(
                "CDP118", "`mirror` without a list must say what becomes of a record that leaves", sync.at("mode"),
                "write `on_leave: clear`, `delete` or `ignore`",
            )  # fmt: skip
        if sync.on_leave == "remove" and sync.to.list_ is None:
            self.problem(
                "CDP118", "`on_leave: remove` without a list", sync.at("on_leave"), "name the list: `to: {list: …}`"
            )
        if sync.mode != "mirror" and sync.on_leave is not None:
            self.problem(
                "CDP118", f"`on_leave` in mode `{sync.mode}`", sync.at("on_leave"), "only mirror knows who leaves"
            )
        if sync.mode != "append" and not matches:
            self.problem(
                "CDP118",
                f"sync `{sync.name}` has no `match`",
                sync.mark,
                "say how the destination knows a record: match: {email: email}",
            )
        if sync.from_.since is not None and sync.mode != "append":
            self.problem(
                "CDP118", f"`since` in mode `{sync.mode}`", sync.from_.at("since"), "only append asks how old a row is"
            )
        for name in (*sync.diff.ignore, *sync.diff.tolerance):
            if name not in sync.fields:
                self.problem(
                    "CDP112",
                    f"`diff` names `{name}`, which is no field",
                    sync.at("diff"),
                    suggestion(name, list(sync.fields), "fields"),
                )
        for name in sync.after:
            if name not in self.lowering.project.syncs and ("sync", name) not in self.lowering.project.broken:
                self.problem(
                    "CDP112",
                    f"`after` names `{name}`, which is no sync",
                    sync.at("after"),
                    suggestion(name, list(self.lowering.project.syncs), "syncs"),
                )

    def _plan(
        self,
        match: tuple[SyncMatch, ...],
        fields: tuple[SyncField, ...],
        entity: str | None,
        prefer: tuple[tuple[str, bool], ...],
    ) -> SyncPlan:
        sync, schema = self.sync, self.lowering.table_schema
        resolved = entity is not None and self.lowering.schema.nodes[entity].resolved
        guard = {
            name: value for name in type(sync.guard).model_fields if (value := getattr(sync.guard, name)) is not None
        }
        if isinstance(sync.guard.max_age, Duration):
            guard["max_age"] = _plain(self._microseconds(sync.guard.max_age))
        give_up = sync.retry.give_up_after
        return SyncPlan(
            name=sync.name,
            destination=sync.to.destination,
            mode=sync.mode,  # type: ignore[arg-type]
            table=f"{schema}.mapped_{sync.name}",
            match=match,
            fields=fields,
            on_leave=sync.on_leave or ("remove" if sync.mode == "mirror" else None),
            object=sync.to.object,
            list=sync.to.list_,
            since_us=self._microseconds(sync.from_.since) if sync.from_.since else None,
            changes=f"{schema}.{entity}_changes" if resolved else None,
            after=tuple(sync.after),
            prefer=prefer,
            guard=guard,
            freshness=(f"{schema}.fresh_{sync.name}",) if sync.guard.max_age is not None else (),
            retry_give_up_us=self._microseconds(give_up) if give_up is not None else 14 * 86_400_000_000,
        )

    def _microseconds(self, length: Duration) -> int:
        """A duration back from as_of; a month has the days that it has there."""
        clock = self.lowering.clock
        return (clock.as_of - clock.back(length)) // timedelta(microseconds=1)


def _plain(microseconds: int) -> str:
    """A length in the largest unit that it is whole in."""
    seconds = microseconds // 1_000_000
    size, unit = next(item for item in ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")) if seconds % item[0] == 0)
    return f"{seconds // size}{unit}"


def _inside(sync: Sync, key: str) -> Any:
    return sync.origin.get(key) if sync.origin is not None else None


def _column_name(prefix: str, name: str, taken: Mapping[str, Any]) -> str:
    base = f"{prefix}{slug(name)}"[:40]
    column, number = base, 2
    while column in taken:
        column, number = f"{base}_{number}", number + 1
    return column


def _json_key(key: str) -> str:
    return json.dumps(key, ensure_ascii=False)
