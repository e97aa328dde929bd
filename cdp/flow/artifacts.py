"""What a run leaves in `target/`: results, compiled statements, the manifest. Versioned, and free of secrets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from cdp import __version__
from cdp.compile.compiler import Compiler
from cdp.compile.plan import Plan, Statement, Step
from cdp.errors import GuardError
from cdp.flow.loading import Loaded, load_all
from cdp.flow.results import CompileResult, RunResult, Settings
from cdp.flow.selection import resources
from cdp.warehouse.profiles import facts_of
from cdp.warehouse.secrets import Secrets

SCHEMA_VERSION = 1


def write_json(path: Path, content: dict[str, Any], secrets: Secrets) -> None:
    """A JSON document, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(
        secrets.mask(json.dumps(content, indent=2, ensure_ascii=False, default=_plain)) + "\n", encoding="utf-8"
    )
    beside.replace(path)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)


def write_run_results(root: Path, result: RunResult, command: str, secrets: Secrets) -> None:
    """`target/run_results.json`."""
    steps = []
    for step in result.steps:
        entry = {
            key: value for key, value in asdict(step).items() if key not in ("problems", "sample") and value is not None
        }
        entry["problems"] = [{"code": problem.code, "message": problem.message} for problem in step.problems]
        steps.append(entry)
    content = {
        "schema_version": SCHEMA_VERSION, "cdp_version": __version__, "command": command, "run_id": result.run_id,
        "target": result.target, "as_of": result.as_of, "exit_code": result.exit_code, "steps": steps,
    }  # fmt: skip
    write_json(root / "target" / "run_results.json", content, secrets)


def compile_project(settings: Settings) -> CompileResult:
    """Every statement of a build as a file, and `target/manifest.json`. No connection is made."""
    loaded = load_all(settings)
    plan = compiled_plan(loaded)
    folder = loaded.root / "target" / "compiled" / loaded.target.name
    if folder.exists():
        shutil.rmtree(folder)
    files = []
    for number, step in enumerate(plan.steps):
        path = folder / f"{number:03d}_{step.id.replace(':', '.')}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            loaded.secrets.mask("\n".join(_shown(statement) for statement in statements(step))), encoding="utf-8"
        )
        files.append(path)
    manifest = loaded.root / "target" / "manifest.json"
    write_json(manifest, _manifest(loaded, plan, files), loaded.secrets)
    return CompileResult(tuple(files), manifest)


def compiled_plan(loaded: Loaded, run_id: str = "compiled") -> Plan:
    """The plan of a build for the loaded target."""
    from cdp.compile.steps import Names

    warehouse = loaded.target.warehouse
    return Compiler(
        loaded.lowered, facts_of(loaded.target), Names(warehouse.schema_, warehouse.state_schema), run_id
    ).plan()


def statements(step: Step) -> Iterator[Statement]:
    """What a step would run. Where that depends on the data, each branch is gone into once: a statement that is asked
    for the first time is answered 1, then 0, so that a loop goes round twice."""
    calm: set[str] = set()  # what a guard asks: it would trip at 1
    told = 0
    while True:
        seen: set[str] = set()
        asked = ""
        script = step.script()
        try:
            wanted = next(script)
            for number in count():
                some = wanted if isinstance(wanted, tuple) else (wanted,)
                if number >= told:
                    told += 1
                    yield from some
                asked = some[-1].name
                first = asked not in seen and asked not in calm
                seen.add(asked)
                wanted = script.send(1 if first else 0)
        except StopIteration:
            break
        except GuardError:
            calm.add(asked)
    yield from step.after_swap
    yield from step.views


def _shown(statement: Statement) -> str:
    what = {
        "table": f"-- table {statement.target}",
        "view": f"-- view {statement.target}",
        "refill": f"-- all rows of {statement.target}",
        "probe": "-- one number",
    }
    return f"{what.get(statement.action, '-- ' + statement.name)}\n{statement.sql};\n"


def _manifest(loaded: Loaded, plan: Plan, files: list[Path]) -> dict[str, Any]:
    uses = loaded.lowered.lowering.uses
    models = loaded.project.dbt.models if loaded.project.dbt is not None else {}
    nodes = {
        name: {
            "type": name.partition(":")[0],
            "name": name.partition(":")[2],
            "file": item.mark.file if item.mark else None,
            "line": item.mark.line if item.mark else None,
            "title": item.title,
            "description": item.description,
            "owner": item.owner,
            "tags": item.tags,
            "depends_on": sorted(uses.get(name, ())),
            **({"dbt": models[name.partition(":")[2]].id} if name.startswith("source:") and name[7:] in models else {}),
        }
        for name, item in resources(loaded.project).items()
    }
    steps = [
        {"id": step.id, "resource": step.resource, "needs": list(step.needs), "tables": list(step.publishes),
         "file": file.relative_to(loaded.root).as_posix()}
        for step, file in zip(plan.steps, files, strict=True)
    ]  # fmt: skip
    return {
        "schema_version": SCHEMA_VERSION, "cdp_version": __version__, "project": loaded.project.name,
        "target": loaded.target.name, "dialect": facts_of(loaded.target).dialect, "as_of": loaded.as_of, "nodes": nodes, "steps": steps,
    }  # fmt: skip
