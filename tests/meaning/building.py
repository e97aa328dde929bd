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

from cdp.flow import RunResult, Settings, build, sources_freeze
from tests.postgres import fresh_database

DUCKDB_TYPES = {"json": "JSON", "jsonb": "JSON", "timestamptz": "TIMESTAMPTZ"}


@dataclass(frozen=True)
class Engine:
    """A warehouse of its own for one world: what a profile says of it, and how a script reaches it."""

    kind: str
    profile: Mapping[str, Any]
    where: str  # file or dsn


@dataclass
class Built:
    """What a build of a world said."""

    members: dict[str, frozenset[str]] = field(default_factory=dict)
    entered: dict[str, dict[str, datetime]] = field(default_factory=dict)  # audience -> member -> entered_at
    ids: dict[str, set[str]] = field(default_factory=dict)  # audience -> ids as they stand in its table
    values: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)  # entity -> its name -> column -> value


@contextmanager
def engine_for(kind: str, folder: Path, postgres_dsn: str | None) -> Iterator[Engine]:
    """A fresh DuckDB file, or a fresh database of the tests' Postgres."""
    if kind == "duckdb":
        yield Engine(kind, {"type": "duckdb", "path": "world.duckdb"}, str(folder / "world.duckdb"))
        return
    assert postgres_dsn is not None
    with fresh_database(postgres_dsn) as dsn:
        yield Engine(kind, {"type": "postgres", "dsn": dsn}, dsn)


def write_project(folder: Path, files: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
    """The project's files; JSON is YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = {"test": {"warehouse": profile}}
    every = {**files, "profiles.yml": {"meaning": {"target": "test", "targets": targets}}}
    for name, content in every.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def query(engine: Engine, sql: str, *many: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Run a statement (once per parameters, where there are any); the rows of a SELECT."""
    if engine.kind == "duckdb":
        import duckdb

        with duckdb.connect(engine.where) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            if many:
                connection.executemany(sql.replace("%s", "?"), list(many))
                return []
            return connection.execute(sql).fetchall()
    import psycopg

    with psycopg.connect(engine.where, autocommit=True, options="-c TimeZone=UTC") as connection:
        if many:
            connection.cursor().executemany(sql, list(many))
            return []
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else []


def fill(engine: Engine, tables: Mapping[str, Any]) -> None:
    """Make the tables of the schema `raw` anew; every value goes in as text and is cast by the engine."""
    query(engine, "CREATE SCHEMA IF NOT EXISTS raw")
    for name, table in tables.items():
        columns = [(f'"{column}"', _engine_type(engine, kind)) for column, kind in table["columns"].items()]
        query(engine, f"DROP TABLE IF EXISTS raw.{name}")
        query(engine, f"CREATE TABLE raw.{name} ({', '.join(f'{column} {kind}' for column, kind in columns)})")
        marks = ", ".join(f"CAST(CAST(%s AS TEXT) AS {kind})" for _, kind in columns)
        rows = [tuple(_as_text(value) for value in row) for row in table["rows"]]
        assert all(len(row) == len(columns) for row in rows), f"a row of {name} is too short or too long"
        if rows:
            query(engine, f"INSERT INTO raw.{name} VALUES ({marks})", *rows)


def _engine_type(engine: Engine, kind: str) -> str:
    return DUCKDB_TYPES.get(kind, kind) if engine.kind == "duckdb" else kind


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


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
    schema, name = table.split(".")
    columns = query(
        engine,
        f"SELECT column_name FROM information_schema.columns WHERE table_schema = '{schema}' AND table_name = '{name}' ORDER BY ordinal_position",
    )
    assert columns, f"there is no {table}"
    listed = [column for (column,) in columns]
    quoted = ", ".join(f'"{column}"' for column in listed)
    return [dict(zip(listed, row, strict=True)) for row in query(engine, f"SELECT {quoted} FROM {table}")]


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
