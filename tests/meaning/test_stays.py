"""Stays over several builds: who is in an audience since when, across leaving, coming back, merging and splitting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cdp.project.reader import read
from tests.engines import PARAMS, Engines
from tests.meaning.building import Built, Engine, answers, engine_for, fill, plain, records, run_build, write_project
from tests.meaning.world import CASES, instant

FILES = sorted(CASES.glob("stays_*.yml"))


@pytest.fixture(params=PARAMS)
def engine(request: pytest.FixtureRequest, engines: Engines, tmp_path: Path) -> Iterator[Engine]:
    with engine_for(engines, request.param, tmp_path) as found:
        yield found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_stay_begins_when_it_was_found_and_follows_its_person(path: Path, engine: Engine, tmp_path: Path) -> None:
    document = read(path, root=path.parent)
    assert not document.problems
    data = document.data
    called = {entity: tuple(names) for entity, names in data["called"].items()}
    entities = list(data["project"]["entities"])
    write_project(
        tmp_path, {"cdp_project.yml": {"version": 1, "name": "meaning"}, "base.yml": data["project"]}, engine.profile
    )
    for number, step in enumerate(data["builds"]):
        fill(engine, step["tables"])
        run_build(tmp_path, instant(step["as_of"]), tuple(step.get("select", ())))
        audiences = {name: data["project"]["audiences"][name]["of"] for name in data["project"]["audiences"]}
        found = answers(engine, audiences, called, entities)
        entered = {
            name: {member: plain(at)[:19] for member, at in found.entered[name].items()} for name in step["members"]
        }
        assert entered == step["members"], f"build {number}: {step['why']}"
        _look_at_stays(engine, step, found, number)


def _look_at_stays(engine: Engine, step: Mapping[str, Any], found: Built, number: int) -> None:
    rows = [{name: plain(value) for name, value in row.items()} for row in records(engine, "cdp.audience_members")]
    for audience, expected in step.get("stays", {}).items():
        shown = sorted(
            (
                [row["entity_id"], row["from_at"][:19], row["to_at"] and row["to_at"][:19]]
                for row in rows
                if row["audience"] == audience
            ),
            key=str,
        )
        assert shown == sorted(expected, key=str), f"build {number}: stays of {audience}"
    for audience, count in step.get("open", {}).items():
        assert sum(1 for row in rows if row["audience"] == audience and row["to_at"] is None) == count, (
            f"build {number}: open stays of {audience}"
        )
    for audience, ends in step.get("closed", {}).items():
        shown = sorted(row["to_at"][:19] for row in rows if row["audience"] == audience and row["to_at"] is not None)
        assert shown == ends, f"build {number}: closed stays of {audience}"
    open_now = {
        name: {row["entity_id"] for row in rows if row["audience"] == name and row["to_at"] is None}
        for name in found.ids
    }
    assert {name: open_now[name] for name in found.ids} == found.ids, (
        f"build {number}: an open stay for each member, and no other"
    )
