"""Each test of this folder runs on DuckDB and on Postgres and expects the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.making import Place


@pytest.fixture(params=["duckdb", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty warehouse and an empty project folder, on each engine in turn."""
    root = tmp_path / "project"
    root.mkdir()
    if request.param == "duckdb":
        return Place("duckdb", str(tmp_path / "warehouse.duckdb"), root)
    return Place("postgres", request.getfixturevalue("postgres_database"), root)
