"""A warehouse that somebody else filled, and a project over it: what every test of this folder begins with."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from cdp import flow
from cdp.flow import RunResult, Settings

Row = tuple[Any, ...]
AS_OF = datetime(2026, 1, 10, 12, tzinfo=UTC)


def shared(*names: str) -> Path:
    """A folder or file of the public data; skips, with the reason, where it is missing."""
    home = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("CDP_TEST_DATA") or home.parent / "shared" / "data").joinpath(*names)
    if not folder.exists():
        pytest.skip(f"no public test data: {folder} is missing (CDP_TEST_DATA names the folder that holds it)")
    return folder


def csv_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, all values as text."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class Place:
    """A warehouse (DuckDB in a file, or a database of its own on Postgres) and the folder of a project over it."""

    engine: str
    where: str  # path of the DuckDB file, or dsn
    root: Path

    # plain SQL, not through cdp

    def execute(self, *statements: str) -> None:
        """Run statements, as whoever loads the warehouse does."""
        with closing(self._connect()) as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, sql: str) -> list[Row]:
        """What a query returns."""
        with closing(self._connect()) as connection:
            return [tuple(row) for row in connection.execute(sql).fetchall()]

    def value(self, sql: str) -> Any:
        """The one value that a query returns."""
        ((value,),) = self.rows(sql)
        return value

    def load(self, table: str, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
        """Append rows to `raw.<table>`, made of {column: SQL type} where it is missing; '' and None become NULL."""
        path, into = self.root / f"{table}.csv.part", f'raw."{table}"'
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        defined = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        self.execute("CREATE SCHEMA IF NOT EXISTS raw", f"CREATE TABLE IF NOT EXISTS {into} ({defined})")
        if self.engine == "duckdb":
            self.execute(f"COPY {into} FROM '{path}' (FORMAT csv, HEADER false, AUTO_DETECT false)")
        else:
            copying = f"COPY {into} FROM STDIN (FORMAT csv)"
            with closing(self._connect()) as connection, connection.cursor().copy(copying) as copy:
                copy.write(path.read_bytes())
        path.unlink()

    def load_csv(self, path: Path, table: str | None = None, **types: str) -> None:
        """Append a CSV file to `raw.<its name>`; columns without a type are text."""
        rows = csv_rows(path)
        columns = {name: types.get(name, "text") for name in rows[0]}
        self.load(table or path.stem, columns, [list(row.values()) for row in rows])

    def _connect(self) -> Any:
        if self.engine == "duckdb":
            import duckdb

            return duckdb.connect(self.where)
        import psycopg

        return psycopg.connect(self.where, autocommit=True)

    # the project

    def project(self, **files: str) -> None:
        """Write a project: `cdp_project.yml` and `profiles.yml`, and `files` (name ► YAML; `x__sql` ► x.sql)."""
        warehouse = (
            f"{{type: duckdb, path: {self.where}}}"
            if self.engine == "duckdb"
            else f'{{type: postgres, dsn: "{self.where}"}}'
        )
        head = "version: 1\nname: trial\nprofile: trial\ndialect: duckdb\n"
        profile = f"trial:\n  target: dev\n  targets:\n    dev:\n      warehouse: {warehouse}\n"
        written = {"cdp_project.yml": head, "profiles.yml": profile}
        for name, content in files.items():
            written[f"{name[:-5]}.sql" if name.endswith("__sql") else f"{name}.yml"] = dedent(content)
        for name, content in written.items():
            (self.root / name).write_text(content, encoding="utf-8")

    def settings(self, as_of: datetime = AS_OF) -> Settings:
        """Settings of a command in this project."""
        return Settings(project_dir=self.root, as_of=as_of)

    def freeze(self) -> None:
        """`cdp sources freeze`."""
        flow.sources_freeze(self.settings())

    def build(self, as_of: datetime = AS_OF) -> RunResult:
        """`cdp build --strict`: every step must be done, and there is nothing to warn of."""
        result = flow.build(Settings(project_dir=self.root, as_of=as_of, strict=True))
        assert [(step.id, step.message) for step in result.steps if step.status != "done"] == []
        assert result.exit_code == 0
        return result

    # what became of it

    def members(self, audience: str) -> set[str]:
        """The ids of an audience's members."""
        found = [row[0] for row in self.rows(f"SELECT * FROM cdp.audience_{audience}")]  # <entity>_id comes first
        assert len(found) == len(set(found)), "nobody is a member twice"
        return {str(identity) for identity in found}

    def people(self, entity: str) -> set[frozenset[str]]:
        """The identifiers (`type:value`) of each profile of a resolved entity."""
        found: dict[str, set[str]] = {}
        for identity, kind, value in self.rows(f"SELECT {entity}_id, id_type, id_value FROM cdp.{entity}_ids"):
            found.setdefault(identity, set()).add(f"{kind}:{value}")
        return {frozenset(members) for members in found.values()}

    def ids(self, entity: str) -> dict[str, str]:
        """`type:value` ► the id of its profile."""
        rows = self.rows(f"SELECT id_type, id_value, {entity}_id FROM cdp.{entity}_ids")
        return {f"{kind}:{value}": identity for kind, value, identity in rows}
