"""A world in a warehouse: its folder written, its tables filled, its project built, its answers read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlglot import exp

from cdp.flow import RunResult, Settings, build, sources_freeze
from cdp.warehouse.base import Warehouse
from tests.engines import Engines, connected

JSON_TYPES = {"duckdb": "JSON", "postgres": "JSONB"}


@dataclass(frozen=True)
class Engine:
    """A warehouse of its own for one world: what a profile says of it, and how the tests reach it."""

    profile: Mapping[str, Any]
    warehouse: Warehouse
    raw: Warehouse  # the same, with `raw` as its schema


@dataclass
class Built:
    """What a build of a world said."""

    members: dict[str, frozenset[str]] = field(default_factory=dict)
    entered: dict[str, dict[str, datetime]] = field(default_factory=dict)  # audience -> member -> entered_at
    ids: dict[str, set[str]] = field(default_factory=dict)  # audience -> ids as they stand in its table
    values: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)  # entity -> its name -> column -> value


@contextmanager
def engine_for(engines: Engines, kind: str, folder: Path) -> Iterator[Engine]:
    """An empty database of that engine."""
    with engines.fresh(kind, folder) as profile:
        warehouse = connected(profile, folder)
        raw = connected(profile, folder, schema="raw", state_schema="raw_state")
        try:
            yield Engine(profile, warehouse, raw)
        finally:
            warehouse.close()
            raw.close()


def write_project(folder: Path, files: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
    """The project's files; JSON is YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = {"test": {"warehouse": profile}}
    every = {**files, "profiles.yml": {"meaning": {"target": "test", "targets": targets}}}
    for name, content in every.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def fill(engine: Engine, tables: Mapping[str, Any]) -> None:
    """Make the tables of the schema `raw` anew; every value goes in as text and is cast by the engine."""
    raw = engine.raw
    raw.ensure_schemas()
    for name, table in tables.items():
        selects = []
        for row in table["rows"] or [[None] * len(table["columns"])]:
            assert len(row) == len(table["columns"]), f"a row of {name} is too short or too long"
            cells = zip(table["columns"].items(), row, strict=True)
            selects.append(exp.select(*(_cell(engine, column, kind, value) for (column, kind), value in cells)))
        if not table["rows"]:
            selects = [selects[0].limit(0)]
        dialect = raw.facts.dialect
        raw.make_table(f"raw.{name}", " UNION ALL ".join(select.sql(dialect=dialect) for select in selects))
    raw.release()


def _cell(engine: Engine, column: str, kind: str, value: Any) -> exp.Expr:
    given = value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = exp.cast(exp.convert(given), "TEXT")
    name = engine.raw.facts.name
    if kind != "jsonb" and not (kind == "json" and name in ("redshift", "spark")):  # where a cast to JSON says nothing
        cell: exp.Expr = exp.cast(text, exp.DataType.build(kind, dialect="postgres"))
    elif name in JSON_TYPES:
        cell = exp.cast(text, JSON_TYPES[name])
    else:
        cell = exp.func("PARSE_JSON", text)
    return exp.alias_(cell, column, quoted=True)


def settings_of(folder: Path, as_of: datetime, select: tuple[str, ...] = ()) -> Settings:
    """How the commands find the world."""
    return Settings(project_dir=folder, profiles_dir=folder, as_of=as_of, select=select)


def freeze(folder: Path, as_of: datetime) -> None:
    """Write `sources.lock.yml`."""
    sources_freeze(settings_of(folder, as_of))


def run_build(folder: Path, as_of: datetime, select: tuple[str, ...] = ()) -> RunResult:
    """Build everything (or what is selected); every step must have been done."""
    result = build(settings_of(folder, as_of, select))
    failed = [(step.id, step.message) for step in result.steps if step.status != "done"]
    assert not failed, failed
    assert result.exit_code == 0
    return result


def answers(
    engine: Engine, audiences: Mapping[str, str], called: Mapping[str, tuple[str, ...]], entities: list[str]
) -> Built:
    """Members of audiences (name -> entity) and the rows of entities, under the names by which cases know them."""
    built = Built()
    names: dict[str, dict[str, str]] = {}
    for entity in entities:
        rows = records(engine, f"cdp.{entity}")
        by = called.get(entity, (f"{entity}_id",))
        names[entity] = {
            row[f"{entity}_id"]: next((str(row[item]) for item in by if row[item] is not None), "?") for row in rows
        }
        assert len(set(names[entity].values())) == len(rows), f"two {entity} rows have one name: {names[entity]}"
        built.values[entity] = {names[entity][row[f"{entity}_id"]]: row for row in rows}
    for audience, entity in audiences.items():
        rows = records(engine, f"cdp.audience_{audience}")
        built.ids[audience] = {row[f"{entity}_id"] for row in rows}
        assert len(built.ids[audience]) == len(rows), f"a member stands twice in {audience}"
        built.entered[audience] = {names[entity].get(row[f"{entity}_id"], "?"): row["entered_at"] for row in rows}
        built.members[audience] = frozenset(built.entered[audience])
    return built


def records(engine: Engine, table: str) -> list[dict[str, Any]]:
    """All rows of a table, by column."""
    columns = engine.warehouse.columns(table)
    assert columns, f"there is no {table}"
    rows = engine.warehouse.rows(f"SELECT * FROM {table}")
    engine.warehouse.release()
    return [dict(zip((column.name.lower() for column in columns), row, strict=True)) for row in rows]


def plain(value: Any) -> Any:
    """A value of a table as a case writes it: times in ISO, lists as lists, whole and broken numbers as Decimal."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float | Decimal):
        return Decimal(str(value)).normalize()
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str) and value.startswith("["):
        return [plain(item) for item in json.loads(value)]
    return value
