"""What people install is whole: the wheel carries the templates, destinations and examples, and runs the quickstart."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a fresh virtual environment with the wheel in it.

    Only cdp is installed; its dependencies are lent by the running environment, so nothing is downloaded.
    """
    folder = tmp_path_factory.mktemp("wheel")
    called([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(ROOT)])
    (wheel,) = (folder / "dist").glob("*.whl")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    bin = folder / "venv" / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(bin / "python"), "--disable-pip-version-check"]
    called([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)])
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return bin


def called(command: Sequence[str], folder: Path | None = None) -> str:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_wheel_is_what_runs_and_not_the_checkout(installed: Path, tmp_path: Path) -> None:
    found = called([str(installed / "python"), "-c", "import cdp; print(cdp.__file__)"], tmp_path).strip()
    assert Path(found).is_relative_to(installed.parent)


@pytest.mark.slow
@pytest.mark.parametrize("example", ["starter", "shop"])
def test_the_quickstart_runs_from_the_wheel_in_another_folder(installed: Path, tmp_path: Path, example: str) -> None:
    cdp = str(installed / "cdp")
    called([cdp, "init", *([] if example == "starter" else ["--example", example])], tmp_path)
    called([cdp, "validate", "--compile"], tmp_path)
    called([cdp, "run"], tmp_path)
    assert list((tmp_path / "out").rglob("*.jsonl"))
    assert (tmp_path / "target" / "run_results.json").is_file()
