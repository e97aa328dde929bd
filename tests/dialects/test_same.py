"""Compiling is pure: twice gives the same bytes, in one process and in another with other hashes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cdp.flow.artifacts import statements
from cdp.warehouse.functions import FACTS
from tests.dialects.projects import lowered, on_tables, plan_of


def texts(folder: Path, engine: str) -> list[tuple[str, str, str]]:
    """Everything that a plan says, as text."""
    plan = plan_of(lowered(folder, engine), engine)
    return [(step.id, statement.target, statement.sql) for step in plan.steps for statement in statements(step)]


@pytest.mark.parametrize("engine", FACTS)
def test_a_project_compiled_twice_gives_the_same_text(engine: str, tmp_path: Path) -> None:
    folder = on_tables("everything", tmp_path / "p")
    assert texts(folder, engine) == texts(folder, engine)


def test_the_order_of_files_and_keys_carries_no_meaning(tmp_path: Path) -> None:
    """Split otherwise and read in another order, the same audiences are made of the same statements."""
    one, other = on_tables("shop", tmp_path / "a"), on_tables("shop", tmp_path / "b")
    (other / "traits.yml").rename(other / "a_first.yml")
    (other / "audiences.yml").rename(other / "zz_last.yml")
    assert sorted(texts(one, "postgres")) == sorted(texts(other, "postgres"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shop", "everything"])
def test_two_processes_write_the_same_files(name: str, tmp_path: Path) -> None:
    folder = on_tables(name, tmp_path / name)
    written = []
    for seed in ("1", "4242"):
        done = subprocess.run(
            [sys.executable, "-m", "cdp.cli", "compile", "--as-of", "2026-01-10T12:00:00Z", "--quiet"],
            cwd=folder, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        target = folder / "target"
        written.append(
            {path.relative_to(target): path.read_bytes() for path in sorted(target.rglob("*")) if path.is_file()}
        )
    assert len(written[0]) > 20
    assert written[0] == written[1]
