"""What compiles for DuckDB also runs there: the project that uses everything, on tables with nothing and with a row in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp.flow import Settings, run
from cdp.project import load
from cdp.project.reading import Reading
from cdp.warehouse.duckdb import DuckDB
from tests.dialects.projects import AS_OF, on_tables

TYPES = {
    "text": "TEXT", "int": "BIGINT", "decimal": "DECIMAL(38, 9)", "float": "DOUBLE", "bool": "BOOLEAN", "date": "DATE",
    "timestamp": "TIMESTAMP", "timestamptz": "TIMESTAMPTZ", "list": "TEXT[]", "json": "JSON", "other": "BLOB",
}  # fmt: skip
VALUES = {
    "text": "'a@x.fr'", "int": "7", "decimal": "1.5", "float": "0.75", "bool": "TRUE", "date": "DATE '2025-12-31'",
    "timestamp": "TIMESTAMP '2025-12-31 10:00:00'", "timestamptz": "TIMESTAMPTZ '2025-12-31 10:00:00+02'", "list": "['a', 'c']",
    "json": "'{\"level\": 3}'", "other": "'x'::BLOB",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("filled", [False, True], ids=["empty tables", "one row each"])
def test_everything_builds_and_syncs_on_duckdb(filled: bool, tmp_path: Path) -> None:
    folder = on_tables("everything", tmp_path / "p")
    project = load(folder)
    assert isinstance(project.reading, Reading)
    warehouse = DuckDB(folder / "everything.duckdb")
    warehouse.execute("CREATE SCHEMA raw")
    for name, columns in project.lock.items():
        table = project.sources[name].table
        if table is None:
            continue
        told = ", ".join(f'"{column}" {TYPES[kind]}' for column, kind in columns.items())
        warehouse.execute(f"CREATE TABLE {table} ({told})")
        if filled:
            warehouse.execute(f"INSERT INTO {table} VALUES ({', '.join(VALUES[kind] for kind in columns.values())})")
    warehouse.close()
    result = run(Settings(project_dir=folder, as_of=AS_OF))
    wrong = [(step.id, step.code, step.message) for step in result.steps if step.status in ("failed", "skipped")]
    assert not wrong
    assert not filled or any(step.rows for step in result.steps if step.id == "entity:person")
