"""The same cases, looked at in other ways: compiled for engines that no test can start, and previewed one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp.flow import check, preview
from tests.engines import OFFLINE, Engines
from tests.meaning.building import engine_for, fill, freeze, run_build, settings_of, write_project
from tests.meaning.world import worlds

EVERY = 5  # preview looks at every fifth audience


@pytest.mark.parametrize("world", [world.name for world in worlds().values()])
def test_every_case_compiles_for_engines_that_are_not_here(world: str, engines: Engines, tmp_path: Path) -> None:
    base = worlds()[world]
    with engine_for(engines, "duckdb", tmp_path) as engine:
        write_project(tmp_path, base.files(False), engine.profile)
        fill(engine, base.tables)
        freeze(tmp_path, base.as_of)
    for kind, keys in OFFLINE.items():
        write_project(tmp_path, base.files(True), {"type": kind, **keys})
        assert check(settings_of(tmp_path, base.as_of), compile=True).statements > 0, kind


@pytest.mark.parametrize("world", ["events", "paths", "rows"])
def test_a_preview_counts_the_members_that_a_build_makes(world: str, engines: Engines, tmp_path: Path) -> None:
    base = worlds()[world]
    asked = [case for case in base.asked(True) if case.members is not None and "limit" not in (case.audience or {})]
    with engine_for(engines, "duckdb", tmp_path) as engine:
        write_project(tmp_path, base.files(True), engine.profile)
        fill(engine, base.tables)
        freeze(tmp_path, base.as_of)
        run_build(tmp_path, base.as_of)
        sizes = {case.name: preview(settings_of(tmp_path, base.as_of), case.name).size for case in asked[::EVERY]}
    assert sizes == {case.name: len(case.members or ()) for case in asked[::EVERY]}
