"""`make demo` makes its point: day 2 sends less than day 1, and nothing new sends nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_demo_sends_only_what_changed(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / "demo.py"), "--people", "300", "--keep", str(tmp_path / "shop")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    # │ day 1 │ seconds │ requests │ written │ put on list │ taken off │ list now │
    rows = [line.split("│")[1:-1] for line in done.stdout.splitlines() if line.startswith("│ day")]
    first, second, third = ([int(cell.replace(",", "")) for cell in row[2:]] for row in rows)
    assert first[1] > second[1] > 0
    assert third[:4] == [0, 0, 0, 0]
    assert third[4] == second[4]
