"""`cdp build --estimate`: what would be scanned is told, and nothing is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp.flow import Settings, estimate
from tests.cli.conftest import Call, cdp  # noqa: F401
from tests.engines import Engines, connected
from tests.meaning.building import engine_for, fill, write_project

PROJECT = {
    "cdp_project.yml": {"version": 1, "name": "meaning"},
    "all.yml": {
        "sources": {
            "people": {"table": "raw.people", "key": "id", "columns": {"city": "text"}},
            "orders": {"table": "raw.orders", "key": "id", "time": "at"},
        },
        "entities": {"person": {"from": "people", "key": "id"}},
        "audiences": {"lyon": {"of": "person", "where": {"city": "Lyon"}}},
    },
}
TABLES = {
    "people": {
        "columns": {"id": "text", "city": "text", "padding": "text"},
        "rows": [[str(n), "Lyon", "x" * 100] for n in range(50)],
    },
    "orders": {"columns": {"id": "text", "at": "timestamp"}, "rows": [["1", "2026-01-01 00:00:00"]]},
}


@pytest.mark.parametrize("kind", ["duckdb", "postgres", pytest.param("bigquery", marks=pytest.mark.engines)])
def test_the_scans_of_sources_are_counted_and_nothing_is_made(kind: str, engines: Engines, tmp_path: Path) -> None:
    with engine_for(engines, kind, tmp_path) as engine:
        write_project(tmp_path, PROJECT, engine.profile)
        fill(engine, TABLES)
        found = estimate(Settings(project_dir=tmp_path, profiles_dir=tmp_path))
        reads = {step.id: step.reads for step in found.steps if step.reads}
        once = engine.warehouse.facts.reads_once
        assert {key: set(value) for key, value in reads.items()} == {"source:person": {"raw.people"}}
        assert len(reads["source:person"]) == (1 if once else 2), "what nothing uses is not read"
        assert sum(step.statements for step in found.steps) > 5
        assert engine.warehouse.tables("cdp") == ()
        if kind == "bigquery":
            assert found.bytes is not None and 50 <= found.bytes < 50 * 100, "the padding is not read"
        else:
            assert found.bytes is None
        engine.warehouse.release()


def test_the_command_prints_a_line_for_each_source(cdp: Call, engines: Engines, tmp_path: Path) -> None:  # noqa: F811
    with engine_for(engines, "duckdb", tmp_path) as engine:
        write_project(tmp_path, PROJECT, engine.profile)
        fill(engine, TABLES)
    shown = cdp("build", "--estimate", "--project-dir", str(tmp_path), "--profiles-dir", str(tmp_path))
    assert shown.code == 0, shown.err
    assert "source:person" in shown.out and "raw.people × 2" in shown.out
    as_json = cdp(
        "build", "--estimate", "--project-dir", str(tmp_path), "--profiles-dir", str(tmp_path), "--output", "json"
    )
    assert as_json.document["estimate"]["bytes"] is None
    warehouse = connected({"type": "duckdb", "path": str(tmp_path / "warehouse.duckdb")}, tmp_path)
    assert warehouse.tables("cdp") == ()
    warehouse.close()
