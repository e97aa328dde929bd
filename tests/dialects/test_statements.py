"""Every statement of a build, for every engine: it reads back, names only what is there, and only what the engine has."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp.warehouse.functions import FACTS
from tests.dialects.catalogue import catalogue, check_plan
from tests.dialects.projects import lowered, on_tables, plan_of


@pytest.mark.parametrize("engine", FACTS)
@pytest.mark.parametrize("name", ["shop", "everything"])
def test_every_statement_of_a_build_holds(name: str, engine: str, tmp_path: Path) -> None:
    found = lowered(on_tables(name, tmp_path / name), engine)
    seen = list(check_plan(plan_of(found, engine), catalogue(found.project, engine)))
    assert len(seen) > 100
