"""`cdp init`: a project that runs at once, and nothing of the user's is touched."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cdp.cli.init import examples
from tests.cli.conftest import Call


def test_a_new_project_has_its_files_its_data_and_a_gitignore(cdp: Call, tmp_path: Path) -> None:
    said = cdp("init", str(tmp_path / "new"))
    assert said.code == 0
    assert "cdp run" in said.out
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert {"cdp_project.yml", "profiles.yml", "sources.yml", "data", ".gitignore"} <= names
    assert "profiles.yml" in (tmp_path / "new" / ".gitignore").read_text().splitlines()


def test_the_data_ends_before_today_so_that_a_run_now_sees_all_of_it(cdp: Call, tmp_path: Path) -> None:
    cdp("init", str(tmp_path / "new"))
    with (tmp_path / "new" / "data" / "orders.csv").open(encoding="utf-8") as file:
        newest = max(row["ordered_at"] for row in csv.DictReader(file))
    assert newest[:10] < datetime.now(UTC).date().isoformat()


def test_nothing_is_overwritten_and_what_is_in_the_way_is_listed(cdp: Call, tmp_path: Path) -> None:
    (tmp_path / "sources.yml").write_text("mine")
    (tmp_path / "data").mkdir()
    said = cdp("init", str(tmp_path))
    assert said.code == 2
    assert said.err.startswith(f"CDP183: 2 files in the way in {tmp_path}: sources.yml, data\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "sources.yml"]
    assert (tmp_path / "sources.yml").read_text() == "mine"


def test_a_gitignore_that_is_there_stays_and_is_not_in_the_way(cdp: Call, tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("mine\n")
    assert cdp("init", str(tmp_path)).code == 0
    assert (tmp_path / ".gitignore").read_text() == "mine\n"


def test_an_unknown_example_is_told_its_neighbour(cdp: Call, tmp_path: Path) -> None:
    said = cdp("init", str(tmp_path), "--example", "shopp")
    assert said.code == 2
    assert said.err.startswith("CDP186: there is no example `shopp`\n  hint: did you mean `shop`?")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../shop", "/etc", "."])
def test_an_example_is_a_name_and_no_path(cdp: Call, tmp_path: Path, name: str) -> None:
    assert cdp("init", str(tmp_path), "--example", name).code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["starter", *examples()])
def test_what_running_an_example_made_is_not_copied(cdp: Call, tmp_path: Path, name: str) -> None:
    said = cdp("init", str(tmp_path), *([] if name == "starter" else ["--example", name]))
    assert said.code == 0
    made = {path.name for path in tmp_path.rglob("*")}
    assert not {"target", "out", "__pycache__"} & made
    assert not [name for name in made if ".duckdb" in name]


def test_a_fresh_shop_has_the_columns_that_its_lock_says(cdp: Call, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    assert cdp("init", str(shop), "--example", "shop").code == 0
    shown = cdp("debug", "--project-dir", str(shop))
    assert (shown.code, "drift" in shown.out) == (0, False), shown.out
