"""What stands in the warehouse against what the project says: sources, frozen columns, built tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from sqlglot import exp

from cdp.compile.render import Renderer
from cdp.compile.scan import aliased
from cdp.compile.sources import relation_of
from cdp.compile.windows import Clock
from cdp.errors import Problem, ProjectError, StatementError, suggestion
from cdp.flow.dbt_freshness import with_upstream
from cdp.flow.loading import Loaded, load_all, load_written
from cdp.flow.results import FreezeResult, Freshness, Settings, SourceLine
from cdp.project import LOCK_FILE
from cdp.project.model import Source
from cdp.project.schema import Node
from cdp.warehouse.base import Column, Warehouse
from cdp.warehouse.profiles import connect, facts_of


def columns_of(loaded: Loaded, warehouse: Warehouse, source: Source) -> tuple[Column, ...] | None:
    """The columns of a source as the catalogue has them; None where it is not there."""
    if source.table is not None:
        return warehouse.columns(source.table)
    relation = relation_of(source, loaded.lowered.schema)
    select = exp.select("*").from_(aliased(relation, "s"))
    try:
        return warehouse.describe(Renderer(facts_of(loaded.target)).sql(select))
    except StatementError:
        return None


def missing_source(loaded: Loaded, warehouse: Warehouse, resource: str) -> Problem | None:
    """Why the rows of a source could not be read, where its table or a used column is not there."""
    kind, _, name = resource.partition(":")
    source = loaded.project.sources.get(name)
    if kind != "source" or source is None:
        return None
    there = columns_of(loaded, warehouse, source)
    if there is None:
        where = source.table or source.file or source.query
        hint = "is it loaded? is `table:` spelled as the catalogue has it?" if source.table else "is the file there?"
        if source.dbt is not None:
            hint = f"has dbt made it in this warehouse? dbt build --select {source.dbt}"
        return Problem("CDP320", f"source `{name}`: there is no {where}", source.mark, hint)
    known = [column.name for column in there]
    lower = {column.lower() for column in known}
    for used in sorted(_raw_columns(loaded, name)):
        if used.lower() not in lower:
            return Problem(
                "CDP321", f"source `{name}` has no column `{used}`", source.mark, suggestion(used, known, "it has")
            )
    return None


def _raw_columns(loaded: Loaded, name: str) -> set[str]:
    """The source's own columns that the plan reads."""
    node = loaded.lowered.schema.taken.get(name, name)
    parts = loaded.lowered.parts.get(node)
    if parts is None:
        return set()
    trees = [*parts.columns.values(), parts.where]
    return {column.name for tree in trees for column in tree.find_all(exp.Column) if column.this.args.get("quoted")}


def check_published(loaded: Loaded, warehouse: Warehouse) -> None:
    """What this plan reads without making it must be there; raises ProjectError CDP188."""
    lowering = loaded.lowered.lowering
    entities = {plan.entity for plan in lowering.audiences.values()}
    entities |= {found.scope.node.name for found in loaded.lowered.syncs.values()}
    wanted = [name for name in sorted(entities) if name not in lowering.fresh and lowering.schema.nodes[name].resolved]
    tables = {f"entity:{name}": name for name in wanted} | {
        f"audience:{name}": f"audience_{name}" for name in sorted(lowering.read)
    }
    missing = [
        Problem("CDP188", f"`{resource}` has not been built", hint=f"build it first: cdp build -s +{resource}")
        for resource, table in tables.items()
        if warehouse.columns(f"{warehouse.schema}.{table}") is None
    ]
    if missing:
        raise ProjectError(missing)


def drift(loaded: Loaded, warehouse: Warehouse) -> Iterator[Problem]:
    """Where the catalogue differs from the lock and from what is read."""
    for name, source in loaded.project.sources.items():
        found = missing_source(loaded, warehouse, f"source:{name}")
        if found is not None:
            yield found
            continue
        lock = loaded.project.lock.get(name)
        there = {column.name: frozen_type(column) for column in columns_of(loaded, warehouse, source) or ()}
        for column in sorted({*(lock or {}), *there}) if lock is not None else []:
            old, new = (lock or {}).get(column), there.get(column)
            if old != new:
                teller = "dbt's catalog.json" if loaded.project.tells(name) != LOCK_FILE else "the lock"
                said = f"source `{name}`: column `{column}` is {new or 'gone'}, {teller} says {old or 'nothing'}"
                yield Problem(
                    "CDP322",
                    said,
                    source.mark,
                    "run cdp sources freeze, and look at the difference",
                    severity="warning",
                )


# ------------------------------------------------------------------------------------------------ sources
def sources_list(settings: Settings) -> tuple[SourceLine, ...]:
    """The sources of the project; no connection is made."""
    loaded = load_all(settings, check=True)
    lines = []
    for name, source in loaded.project.sources.items():
        node = loaded.lowered.schema.nodes[loaded.lowered.schema.taken.get(name, name)]
        kind = "stream" if node.stream else "entity" if node.entity is not None else "rows"
        where = source.table or source.file or (source.query if isinstance(source.query, str) else "query")
        lock = loaded.project.lock.get(name)
        lines.append(
            SourceLine(
                name,
                kind,
                where,
                ", ".join(source.key or []),
                node.time or "",
                ", ".join(node.ids),
                len(lock) if lock is not None else None,
            )
        )
    return tuple(lines)


def frozen_type(column: Column) -> str:
    """The type of a column as the lock says it: with what a naive time and an instant differ in."""
    native = column.native.upper()
    if column.type == "timestamp" and (
        "WITH TIME ZONE" in native or "TIMESTAMPTZ" in native or "_TZ" in native or "_LTZ" in native
    ):
        return "timestamptz"
    if column.type == "other" and native.startswith(("STRUCT", "MAP", "OBJECT", "VARIANT", "RECORD")):
        return "json"
    return column.type


def sources_freeze(settings: Settings) -> FreezeResult:
    """Write `sources.lock.yml`: names and types of all columns of all sources, as the catalogue has them."""
    loaded = load_written(settings)
    warehouse = connect(loaded.target, loaded.root)
    problems, frozen, count = [], {}, 0
    try:
        for name, source in sorted(loaded.project.sources.items()):
            there = columns_of(loaded, warehouse, source)
            if there is None:
                where = source.table or source.file or source.query
                problems.append(
                    Problem("CDP320", f"source `{name}`: there is no {where}", source.mark, "is it loaded?")
                )
                continue
            frozen[name] = {column.name: frozen_type(column) for column in there}
            count += len(there)
    finally:
        warehouse.close()
    if problems:
        raise ProjectError(problems)
    path = loaded.root / LOCK_FILE
    head = "# Made by `cdp sources freeze`: the columns of all sources as the catalogue has them. Commit it; do not edit it.\n"
    written = head + yaml.safe_dump({"version": 1, "sources": frozen}, sort_keys=False, allow_unicode=True, width=120)
    changed = not path.exists() or path.read_text(encoding="utf-8") != written
    if changed:
        _write(path, written)
    return FreezeResult(path, len(frozen), count, changed)


def _write(path: Path, content: str) -> None:
    beside = path.with_suffix(".part")
    beside.write_text(content, encoding="utf-8")
    beside.replace(path)


def sources_freshness(settings: Settings) -> tuple[Freshness, ...]:
    """How old the newest row of each source is, by the wall clock."""
    loaded = load_all(settings, check=True)
    warehouse = connect(loaded.target, loaded.root)
    now = datetime.now(UTC)
    clock = Clock.at(now, loaded.project.zone)
    try:
        found = []
        for name, source in loaded.project.sources.items():
            node = loaded.lowered.schema.nodes[loaded.lowered.schema.taken.get(name, name)]
            newest = _newest(loaded, warehouse, source, node)
            age = None if newest is None else (now - newest).total_seconds()
            found.append(Freshness(name, newest, age, _status(source, age, clock)))
        return with_upstream(tuple(found), loaded.project.dbt, now)
    finally:
        warehouse.close()


def _newest(loaded: Loaded, warehouse: Warehouse, source: Source, node: Node) -> datetime | None:
    parts = loaded.lowered.parts[node.name]
    if source.loaded_at is None and node.time is None:
        return None
    select = (
        exp.select(exp.alias_(exp.Max(this=parts.loaded_at.copy()), "newest"))
        .from_(aliased(parts.relation, "s"))
        .where(parts.where.copy())
    )
    value: Any = warehouse.rows(Renderer(facts_of(loaded.target)).sql(select))[0][0]
    if value is None:
        return None
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _status(source: Source, age: float | None, clock: Clock) -> Any:
    if source.freshness is None:
        return "none"
    if age is None:
        return "error" if source.freshness.error is not None else "warn"
    for status in ("error", "warn"):
        limit = getattr(source.freshness, status)
        if limit is not None and age > (clock.as_of - clock.back(limit)).total_seconds():
            return status
    return "pass"
