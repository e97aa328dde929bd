"""The projects that are compiled for every engine: the shop on tables, the starter, and one that uses everything."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

from cdp.compile.compiler import Compiler
from cdp.compile.lower import Lowered, lower_project
from cdp.compile.plan import Plan
from cdp.compile.steps import Names
from cdp.project import load
from cdp.warehouse.functions import FACTS

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "shop": ROOT / "examples" / "shop",
    "starter": ROOT / "examples" / "starter",
    "everything": Path(__file__).parent / "everything",
}
AS_OF = datetime(2026, 1, 10, 12, tzinfo=UTC)
_FILE = re.compile(r"^(    )file: data/(\w+?)(?:_\*)?\.\w+( .*)?$", re.MULTILINE)


def on_tables(name: str, folder: Path) -> Path:
    """A copy of a project that reads tables `raw.…` where it read files."""
    shutil.copytree(
        FOLDERS[name], folder, ignore=shutil.ignore_patterns("data", "out", "target", "*.duckdb*", "__pycache__")
    )
    for path in folder.rglob("*.yml"):
        path.write_text(_FILE.sub(r"\1table: raw.\2", path.read_text(encoding="utf-8")), encoding="utf-8")
    return folder


def lowered(folder: Path, engine: str) -> Lowered:
    """The project in a folder, lowered; it has no mistakes. Its lock is spelled as the engine's catalogue would."""
    project = load(folder)
    if FACTS[engine].fold == "upper":
        for columns in project.lock.values():
            kinds = {
                name.upper() if name.islower() and name.isidentifier() else name: kind for name, kind in columns.items()
            }
            columns.clear()
            columns.update(kinds)
    found = lower_project(project, project.reading, AS_OF, "cdp")
    assert not project.reading.errors, [str(problem) for problem in project.reading.errors]
    return found


def plan_of(found: Lowered, engine: str) -> Plan:
    """The plan of a build."""
    return Compiler(found, FACTS[engine], Names("cdp", "cdp_state"), "r1").plan()
