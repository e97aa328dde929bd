"""User SQL by engine: the target's own text counts, then that in the project's dialect."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp.errors import ProjectError
from cdp.flow import Settings, check
from cdp.flow.artifacts import compiled_plan, statements
from cdp.flow.loading import load_all
from tests.engines import OFFLINE
from tests.meaning.building import write_project


def project(where: object, formula: object, dialect: str = "duckdb") -> dict[str, object]:
    return {
        "cdp_project.yml": {"version": 1, "name": "meaning", "dialect": dialect},
        "all.yml": {
            "sources": {
                "people": {
                    "table": "raw.people",
                    "key": "id",
                    "columns": {"city": "text", "name": "text"},
                    "where": where,
                }
            },
            "entities": {"person": {"from": "people", "key": "id"}},
            "traits": {"person": {"short": {"formula": formula}}},
            "audiences": {"lyon": {"of": "person", "where": {"short": "a"}}},
        },
    }


def compiled(folder: Path) -> str:
    loaded = load_all(Settings(project_dir=folder, profiles_dir=folder))
    return "\n".join(statement.sql for step in compiled_plan(loaded).steps for statement in statements(step))


BY_ENGINE = {"duckdb": "city <> 'duck'", "snowflake": "city <> 'flake'"}


@pytest.mark.parametrize(("kind", "word"), [("duckdb", "duck"), ("snowflake", "flake"), ("bigquery", "duck")])
def test_the_targets_own_text_wins_over_that_of_the_projects_dialect(kind: str, word: str, tmp_path: Path) -> None:
    profile = {"type": "duckdb", "path": ":memory:"} if kind == "duckdb" else {"type": kind, **OFFLINE[kind]}
    write_project(tmp_path, project(BY_ENGINE, "lower(name)"), profile)
    text = compiled(tmp_path)
    assert f"'{word}'" in text
    assert sum(f"'{other}'" in text for other in ("duck", "flake")) == 1


def test_an_engines_text_is_read_in_its_own_dialect(tmp_path: Path) -> None:
    formula = {"duckdb": "name", "snowflake": "iff(name = 'x', 'a', name)"}  # IFF is no word of DuckDB's
    write_project(tmp_path, project("city <> 'x'", formula), {"type": "snowflake", **OFFLINE["snowflake"]})
    assert check(Settings(project_dir=tmp_path, profiles_dir=tmp_path), compile=True).statements > 0


def test_a_map_without_an_entry_that_counts_is_refused_at_its_place(tmp_path: Path) -> None:
    write_project(tmp_path, project({"spark": "city <> 'x'"}, "lower(name)"), {"type": "duckdb", "path": ":memory:"})
    with pytest.raises(ProjectError) as caught:
        load_all(Settings(project_dir=tmp_path, profiles_dir=tmp_path))
    [problem] = [problem for problem in caught.value.problems if problem.severity == "error"]
    assert (problem.code, problem.mark and problem.mark.file) == ("CDP113", "all.yml")
    assert problem.message == "`where` has no entry for `duckdb`"
