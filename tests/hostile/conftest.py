"""A shop to spoil."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.shop import Spoiled


@pytest.fixture
def shop(tmp_path: Path) -> Spoiled:
    """A fresh copy of the example."""
    return Spoiled(tmp_path / "shop")
