"""What the language means: each case of `cases/` on each engine, with and without `sources.lock.yml`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from cdp.errors import CdpError, ProjectError
from cdp.flow import check
from tests.engines import ENGINES, Engines, marks_of
from tests.meaning.building import (
    Built,
    answers,
    engine_for,
    fill,
    freeze,
    plain,
    run_build,
    settings_of,
    write_project,
)
from tests.meaning.world import Case, World, merged, worlds

BUILT = [
    pytest.param(
        world.name,
        engine,
        lock,
        case,
        id=f"{world.name}-{engine}-{'lock' if lock else 'nolock'}-{case.name}",
        marks=[
            pytest.mark.xdist_group(f"{world.name}-{engine}-{lock}"),  # one build for all cases of a world
            *marks_of(engine),
        ],
    )
    for world in worlds().values()
    for engine in ENGINES
    for lock in world.locks
    if lock or engine == "duckdb"  # without a lock, columns are cast; that does not depend on the engine's catalogue
    for case in world.asked(lock)
]
REFUSED = [
    pytest.param(world.name, case, id=f"{world.name}-{case.name}")
    for world in worlds().values()
    for case in world.cases
    if case.refused is not None
]
Builder = Callable[[World, str, bool], Built]


@pytest.fixture(scope="session")
def built(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Builds a world on an engine, once; a build that failed fails all its cases."""
    done: dict[tuple[str, str, bool], Built | CdpError | AssertionError] = {}

    def builder(world: World, kind: str, lock: bool) -> Built:
        key = (world.name, kind, lock)
        if key not in done:
            try:
                done[key] = _build(engines, world, kind, lock, tmp_path_factory.mktemp(f"{world.name}_{kind}"))
            except (CdpError, AssertionError) as error:
                done[key] = error
        found = done[key]
        if isinstance(found, Built):
            return found
        raise found

    return builder


def _build(engines: Engines, world: World, kind: str, lock: bool, folder: Path) -> Built:
    with engine_for(engines, kind, folder) as engine:
        write_project(folder, world.files(lock), engine.profile)
        fill(engine, world.tables)
        if lock:
            freeze(folder, world.as_of)
        run_build(folder, world.as_of)
        audiences = {case.name: case.entity for case in world.asked(lock) if case.members is not None}
        return answers(engine, audiences, world.called, list(world.project["entities"]))


@pytest.mark.parametrize(("world", "engine", "lock", "case"), BUILT)
def test_the_language_means_what_the_case_says(world: str, engine: str, lock: bool, case: Case, built: Builder) -> None:
    found = built(worlds()[world], engine, lock)
    if case.members is not None:
        assert found.members[case.name] == case.members, case.why
        return
    assert case.values is not None
    shown = {name: plain(row[case.name]) for name, row in found.values[case.entity].items()}
    asked = {name: plain(value) for name, value in case.values.items()}
    assert {name: shown.get(name, "no such row") for name in asked} == asked, case.why


@pytest.fixture(scope="session")
def lock_of(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Callable[[World], str]:
    """The text of a world's `sources.lock.yml`, made once."""

    @cache
    def made(name: str) -> str:
        world, folder = worlds()[name], tmp_path_factory.mktemp(f"{name}_lock")
        with engine_for(engines, "duckdb", folder) as engine:
            write_project(folder, world.files(False), engine.profile)
            fill(engine, world.tables)
            freeze(folder, world.as_of)
        return (folder / "sources.lock.yml").read_text(encoding="utf-8")

    return lambda world: made(world.name)


@pytest.mark.parametrize(("world", "case"), REFUSED)
def test_what_makes_no_sense_is_refused_with_the_reason(
    world: str, case: Case, tmp_path: Path, lock_of: Callable[[World], str]
) -> None:
    base = worlds()[world]
    assert case.refused is not None
    files = {**base.files(True), "cases.yml": merged(case.resources(), case.extra)}
    write_project(tmp_path, files, {"type": "duckdb", "path": "world.duckdb"})
    (tmp_path / "sources.lock.yml").write_text(lock_of(base), encoding="utf-8")
    with pytest.raises(ProjectError) as caught:
        check(settings_of(tmp_path, base.as_of))
    said = [f"{problem.code}: {problem.message}" for problem in caught.value.problems if problem.severity == "error"]
    assert any(case.refused["code"] in line and case.refused["says"] in line for line in said), (said, case.why)
