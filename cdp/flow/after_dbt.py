"""`cdp run --after-dbt run_results.json`: what hangs on a dbt model that failed or was skipped is left as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cdp.compile.lower import Wanted, lower_project
from cdp.errors import Problem, ProjectError
from cdp.flow.lineage import Lineage
from cdp.flow.loading import Loaded
from cdp.flow.results import StepResult
from cdp.project.dbt import Artifact, Manifest, read_artifact
from cdp.project.reading import Reading

GUARD = "CDP512"
BUILDS_NOTHING = {"generate": "docs generate", "freshness": "source freshness"}
BUILDS_NOTHING |= {name: name for name in ("compile", "parse", "show", "list", "run-operation")}
FINE = ("success", "pass", "warn", "no-op", "reused")
_SAID = {
    "error": "ended in an error",
    "runtime error": "ended in an error",
    "fail": "failed",
    "skipped": "was skipped",
    "partial success": "was built in part only",
}


@dataclass(frozen=True)
class Held:
    """What is left of a run: what can be built, the steps that say what cannot, and the syncs whose rows would be stale."""

    loaded: Loaded
    steps: tuple[StepResult, ...] = ()
    syncs: Mapping[str, StepResult] = field(default_factory=dict)


def hold_back(loaded: Loaded, results: Path) -> Held:
    """The run without what is made of models that did not come to a good end.

    Raises ProjectError CDP130 (no results, or of a command that builds nothing), CDP134 (no source is a dbt model).
    """
    lineage = Lineage(loaded)
    manifest = lineage.dbt.manifest
    artifact = read_artifact(results, "run-results", "dbt build")
    command = str(artifact.of("args").get("which") or "")
    if command in BUILDS_NOTHING:
        hint = "every command of dbt writes that file anew: name the one of `dbt build`, or copy it right after"
        raise ProjectError.of(
            "CDP130", f"{results} is of `dbt {BUILDS_NOTHING[command]}`, which builds nothing", hint=hint
        )
    bad = _bad(manifest, artifact)
    why = {name: said for name, model in lineage.dbt.models.items() if (said := _why(model.id, manifest, bad))}
    doubts = _doubts(lineage, artifact, results)
    if doubts and loaded.settings.strict:
        raise ProjectError(doubts)
    loaded = replace(loaded, warnings=(*loaded.warnings, *doubts))
    hit = {name: lineage.made_of([name]) for name in why}
    every = set().union(*hit.values())
    stale = every & loaded.selection.resources
    steps = {
        name: StepResult(f"source:{name}", f"source:{name}", "held", message=why[name], code=GUARD, exit_code=3)
        for name in sorted(why)
        if (hit[name] & stale) - {f"source:{name}"}  # a source that nothing selected is made of is not even read
    }
    if not steps:
        return Held(loaded)
    behind = {
        resource: next(step for name, step in steps.items() if resource in hit[name]) for resource in sorted(stale)
    }
    tables = {_table(name): step for name, step in behind.items() if not name.startswith(("source:", "sync:"))}
    skipped = [
        StepResult(name, name, "skipped", message=f"needs {step.id}: {step.message}") for name, step in tables.items()
    ]
    syncs = {name: step for name, step in behind.items() if name.startswith("sync:")}
    return Held(_without(loaded, every), (*steps.values(), *skipped), syncs)


def _table(resource: str) -> str:
    """The resource whose table something stands in: a trait is a column of its entity's."""
    kind, _, name = resource.partition(":")
    return f"entity:{name.partition('.')[0]}" if kind == "trait" else resource


def _without(loaded: Loaded, stale: set[str]) -> Loaded:
    """The same without what is stale: as if it had not been selected. Not even the sources are read: the table of a
    model that failed may be missing."""
    project, wanted = loaded.project, loaded.selection.wanted
    kept = Wanted(
        frozenset(name for name in _all(wanted.entities, project.entities) if f"entity:{name}" not in stale),
        frozenset(name for name in _all(wanted.audiences, project.audiences) if f"audience:{name}" not in stale),
        frozenset(name for name in _all(wanted.syncs, project.syncs) if f"sync:{name}" not in stale),
    )
    schema = loaded.target.warehouse.schema_
    lowered = lower_project(project, Reading(project.reading.lines), loaded.as_of, schema, kept)
    for node in list(lowered.parts):
        source = lowered.schema.nodes[node].source
        if source is not None and f"source:{source.name}" in stale:
            del lowered.parts[node]
    return replace(loaded, lowered=lowered)


def _all(wanted: frozenset[str] | None, there: Mapping[str, object]) -> frozenset[str]:
    return frozenset(there) if wanted is None else wanted


def _bad(manifest: Manifest, artifact: Artifact) -> dict[str, str]:
    """What is wrong with nodes, in words: with themselves, or with a test of theirs. dbt's own message may hold values
    of rows, so it is not repeated."""
    found: dict[str, str] = {}
    for result in artifact.items("results"):
        id_, status = str(result.get("unique_id")), str(result.get("status"))
        if status in FINE:
            continue
        said = _SAID.get(status, f"has the status `{status[:40]}`")
        tested = manifest.tested(id_)
        if not tested:
            found[id_] = said
        elif status != "skipped":  # a test is skipped because of its model, which is told itself
            for node in tested:
                found.setdefault(node, f"has a test that {said}: `{manifest.called(id_)}`")
    return found


def _why(id_: str, manifest: Manifest, bad: Mapping[str, str]) -> str | None:
    """Why a model is not as it should be: it, or the nearest thing that it is made of, came to a bad end."""
    if id_ in bad:
        return f"the dbt model `{manifest.called(id_)}` {bad[id_]}"
    for other in manifest.ancestors(id_):
        if other in bad:
            return f"the dbt model `{manifest.called(id_)}` is made of `{manifest.called(other)}`, which {bad[other]}"
    return None


def _doubts(lineage: Lineage, artifact: Artifact, results: Path) -> list[Problem]:
    manifest = lineage.dbt.manifest
    found = []
    if artifact.unknown is not None:
        said = f"{results} is of version {artifact.unknown}, which this cdp does not know"
        found.append(Problem("CDP132", said, hint="it is read as far as it goes", severity="warning"))
    known = {model.id for model in lineage.dbt.models.values()}
    known |= {other for id_ in set(known) for other in manifest.ancestors(id_)}
    told = {str(result.get("unique_id")) for result in artifact.items("results")}
    if not any(id_ in known or known & set(manifest.tested(id_)) for id_ in told):
        said = f"{results} says nothing of the dbt models that this project reads"
        hint = "is it of the same dbt project, and of a command that selected them?"
        found.append(Problem("CDP132", said, hint=hint, severity="warning"))
    return found
