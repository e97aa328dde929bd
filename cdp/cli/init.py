"""`cdp init`: a project that runs at once, with data made on the spot."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cdp.cli.options import Options, command
from cdp.cli.output import Output, counted
from cdp.errors import ProjectError, suggestion
from cdp.shipped import shipped

STARTER = "starter"
NOT_COPIED = {"__pycache__", "data", "out", "target"}
IGNORED = "# secrets, and what cdp makes\nprofiles.yml\ntarget/\nout/\ndata/\n*.duckdb\n*.duckdb.*\n"


@command(name="init")
def app(
    out: Output,
    options: Options,
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Where to [default: --project-dir].")
    ] = None,
    example: Annotated[
        str | None, typer.Option(metavar="NAME", help="Copy this example: shop is the whole tour.")
    ] = None,
) -> int:
    """Make a project that runs at once on DuckDB, with generated data. Never overwrites a file."""
    target = directory if directory is not None else options.project_dir
    source = _example(example or STARTER)
    files = list(_files(source))
    in_the_way = [file for file in files if (target / file).exists() and file.name != ".gitignore"]
    if (target / "data").exists():
        in_the_way.append(Path("data"))
    if in_the_way:
        listed = ", ".join(str(file) for file in in_the_way[:12]) + (" …" if len(in_the_way) > 12 else "")
        raise ProjectError.of(
            "CDP183",
            f"{counted(len(in_the_way), 'file')} in the way in {target}: {listed}",
            hint="cdp init never overwrites; choose an empty folder: cdp init my-cdp",
        )
    _copy(source, files, target)
    _write_data(target)
    steps = [f"cd {target}"] if target.resolve() != Path.cwd() else []
    steps.append("cdp validate      # finds all mistakes at once")
    steps.append("cdp run           # builds, then writes the changes to out/")
    made = f"{counted(len(files), 'file')} and generated data in {target}. Next:"
    return out.result(
        0, [made, "", *(f"  {step}" for step in steps)], directory=target.resolve(), files=files, example=example
    )


def examples() -> list[str]:
    """The names that --example takes."""
    folders = (path for path in shipped("examples").iterdir() if (path / "cdp_project.yml").is_file())
    return sorted(folder.name for folder in folders if folder.name != STARTER)


def _example(name: str) -> Path:
    folder = shipped("examples") / name
    if name != STARTER and name not in examples():
        raise ProjectError.of("CDP186", f"there is no example `{name}`", hint=suggestion(name, examples(), "examples"))
    return folder


def _files(source: Path) -> Iterator[Path]:
    """The files of an example, relative to it, without what running it has made."""
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if name not in NOT_COPIED)
        for name in sorted(names):
            if not name.endswith((".pyc", ".duckdb", ".duckdb.wal", ".duckdb.lock")):
                yield (Path(folder) / name).relative_to(source)


def _copy(source: Path, files: list[Path], target: Path) -> None:
    for file in files:
        if file.name == ".gitignore" and (target / file).exists():
            continue  # the user's own stays, and is no reason to refuse
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / file, target / file)
    ignore = target / ".gitignore"
    if not ignore.exists():
        ignore.write_text(IGNORED, encoding="utf-8")


def _write_data(target: Path) -> None:
    """Run the example's generator; its last day is yesterday."""
    script = target / "generate.py"
    if script.is_file():
        generator = load_generator(script)
        generator.write(target / "data", seed=7, people=2000, day=1, end=_today())


def load_generator(script: Path) -> Any:
    """The generator of an example as a module; it lies outside of the package, where its owner may edit it."""
    spec = importlib.util.spec_from_file_location("cdp_example_generate", script)
    if spec is None or spec.loader is None:
        raise ProjectError.of("CDP186", f"{script} cannot be loaded", hint="reinstall composable-cdp")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def _today() -> date:
    return datetime.now(UTC).date()
