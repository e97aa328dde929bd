"""The real dbt, in a folder of its own: `$CDP_TEST_DBT` (its executable), or `dbt` on the PATH."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent / "project"


def executable() -> str | None:
    """Where dbt is; None where it is not installed."""
    return os.environ.get("CDP_TEST_DBT") or shutil.which("dbt")


class Dbt:
    """A copy of the project in `folder`, and dbt to work on it."""

    def __init__(self, folder: Path, program: str) -> None:
        self.folder, self.program = folder, program
        shutil.copytree(PROJECT, folder)

    def __call__(self, *args: str, fine: bool = True) -> str:
        """Run one command; what it printed. `fine`: whether it must end well."""
        environ = {**os.environ, "DBT_PROFILES_DIR": str(self.folder), "DO_NOT_TRACK": "1"}
        done = subprocess.run(
            [self.program, "--quiet", "--no-use-colors", *args],
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert (done.returncode == 0) is fine, done.stdout + done.stderr
        return done.stdout

    def artifact(self, name: str) -> Any:
        """An artifact of the last command that wrote it."""
        return json.loads((self.folder / "target" / name).read_text())
