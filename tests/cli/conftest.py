"""Calling the command line as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cdp.cli.main import run


@dataclass(frozen=True)
class Called:
    """What a call came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """stdout as the one JSON document that it must be."""
        loaded: dict[str, Any] = json.loads(self.out)
        return loaded


Call = Callable[..., Called]


@pytest.fixture
def cdp(capsys: pytest.CaptureFixture[str]) -> Call:
    """`cdp("validate", "--strict")`, in this process."""

    def call(*argv: str) -> Called:
        capsys.readouterr()
        code = run(argv)
        printed = capsys.readouterr()
        return Called(code, printed.out, printed.err)

    return call


def spawn(*argv: str, folder: Path, environ: Mapping[str, str] | None = None) -> Called:
    """The same in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "cdp.cli", *argv],
        cwd=folder,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Called(done.returncode, done.stdout, done.stderr)
