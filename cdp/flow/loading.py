"""Project, profile and target, read and checked together, so that all mistakes are told in one go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from cdp.compile.lower import Lowered, Wanted, lower_project
from cdp.destination.connect import check
from cdp.destination.outcome import Operation
from cdp.errors import Problem, ProjectError, suggestion
from cdp.flow.results import Settings
from cdp.flow.selection import Selection, select
from cdp.project import ROOT_FILE, Project, load, read_head
from cdp.project.model import ProjectFile
from cdp.project.reading import Reading
from cdp.project.sync_model import Sync
from cdp.project.tongue import Tongue
from cdp.warehouse.profiles import Profile, Target, facts_of, load_profile
from cdp.warehouse.secrets import Secrets

SECRETS = Secrets()


@dataclass(frozen=True)
class Loaded:
    """A project with the target it is meant for, free of mistakes. `warnings` are what was noted besides."""

    settings: Settings
    project: Project
    profile: Profile
    target: Target
    lowered: Lowered
    selection: Selection
    as_of: datetime
    secrets: Secrets
    warnings: tuple[Problem, ...] = ()

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.project.root


def open_profile(settings: Settings, secrets: Secrets) -> tuple[Profile, Target, Project]:
    """Profile, target and project, each read as far as it goes; raises ProjectError with what is wrong with the first two.

    The project is read with the target's variables, which the command line's win over.
    """
    root = settings.project_dir.resolve()
    try:
        profile, target = _open(root, read_head(root), settings, secrets)
    except ProjectError as error:
        others = _others(root, settings, secrets)
        raise ProjectError([*others, *(problem for problem in error.problems if problem not in others)]) from None
    project = load(root, variables={**target.vars, **settings.vars}, target={"name": target.name, "type": target.type})
    return profile, target, replace(project, tongue=Tongue(project.file.dialect, facts_of(target).name))


def _open(root: Path, head: ProjectFile, settings: Settings, secrets: Secrets) -> tuple[Profile, Target]:
    profile = load_profile(root, head.profile or head.name, profiles_dir=settings.profiles_dir)
    return profile, profile.target(settings.target, secrets)


def _others(root: Path, settings: Settings, secrets: Secrets) -> list[Problem]:
    """What is wrong beside the profile or `cdp_project.yml`: the variables of a target are not known here."""
    project = load(root, variables=settings.vars, target={"name": settings.target or "default"})
    project = replace(project, tongue=Tongue(project.file.dialect))
    lower_project(project, project.reading, settings.as_of or datetime.now(UTC), "cdp", check=True)
    unsure = {problem.mark for problem in project.reading.problems if problem.code == "CDP110"}
    found = [problem for problem in project.reading.errors if problem.mark is None or problem.mark not in unsure]
    if any(problem.mark and problem.mark.file == ROOT_FILE for problem in found):  # then the profile was not looked at
        try:
            _open(root, project.file, settings, secrets)
        except ProjectError as error:
            found += error.problems
    return found


def load_all(
    settings: Settings, *, check: bool = False, wanted: Wanted | None = None, secrets: Secrets | None = None
) -> Loaded:
    """Everything that a command needs, checked; raises ProjectError with all mistakes."""
    secrets = secrets if secrets is not None else SECRETS
    profile, target, project = open_profile(settings, secrets)
    reading = project.reading
    as_of = settings.as_of or datetime.now(UTC)
    schema = target.warehouse.schema_
    whole = lower_project(project, reading, as_of, schema, wanted, check=check)
    check_syncs(project, target, reading)
    if reading.errors:
        raise ProjectError(reading.problems)
    if settings.strict and reading.problems:
        raise ProjectError(reading.problems)
    selection = select(project, whole, settings.select, settings.exclude, settings.allow_empty)
    lowered = whole
    if wanted is None and not selection.everything:
        narrowed = Reading(reading.lines)
        lowered = lower_project(project, narrowed, as_of, schema, selection.wanted)
    return Loaded(settings, project, profile, target, lowered, selection, as_of, secrets, tuple(reading.problems))


def load_written(settings: Settings) -> Loaded:
    """What a freeze needs: names and types are not judged, for the lock that is to be written is what may be amiss.

    Raises ProjectError where the files themselves cannot be read.
    """
    profile, target, project = open_profile(settings, SECRETS)
    if project.reading.errors:
        raise ProjectError(project.reading.problems)
    as_of = settings.as_of or datetime.now(UTC)
    lowered = lower_project(project, Reading(project.reading.lines), as_of, target.warehouse.schema_)
    return Loaded(settings, project, profile, target, lowered, select(project, lowered, (), (), True), as_of, SECRETS)


# ------------------------------------------------------------------------------------------------ syncs and destinations
def check_syncs(project: Project, target: Target, reading: Reading) -> None:
    """What a sync asks of its destination, offline; mistakes are noted."""
    for sync in project.syncs.values():
        name = sync.to.destination
        mark = sync.to.at("destination")
        config = target.destinations.get(name)
        if config is None:
            hint = suggestion(name, list(target.destinations), f"destinations of target {target.name}")
            reading.problem(
                "CDP119", f"target `{target.name}` has no destination `{name}`", mark, hint, length=len(name)
            )
            continue
        found = check(
            config, operations=_operations(sync), mode=sync.mode, list=sync.to.list_, object=sync.to.object,
            match=list(sync.match), name=name, project_dir=project.root,
        )  # fmt: skip
        for problem in found:
            if problem.mark is None:
                reading.problem(
                    problem.code, f"sync `{sync.name}`: {problem.message}", mark, problem.hint, length=len(name)
                )
            elif problem not in reading.problems:
                reading.problems.append(problem)
    _owners(project, reading)
    _waiting(project, reading)


def _waiting(project: Project, reading: Reading) -> None:
    """Syncs must not wait for each other."""
    graph = {name: [other for other in sync.after if other in project.syncs] for name, sync in project.syncs.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        first = project.syncs[error.args[1][0]]
        said = f"syncs wait for each other: {' ► '.join(error.args[1])}"
        reading.problem("CDP114", said, first.at("after"), "`after` must not go round")


def _operations(sync: Sync) -> frozenset[Operation]:
    """What a destination must be able to do for a sync."""
    if sync.mode == "append":
        return frozenset({"append"})
    needed: set[Operation] = {"upsert"} if sync.fields or sync.to.list_ is None else set()
    if sync.to.list_ is not None:
        needed.add("add")
        if sync.mode == "mirror" and sync.on_leave in (None, "remove"):
            needed.add("remove")
    if sync.on_leave == "delete":
        needed.add("delete")
    return frozenset(needed)


def _owners(project: Project, reading: Reading) -> None:
    """Two syncs of one mode must not own the same list, nor the same field of the same object."""
    owners: dict[tuple[Any, ...], str] = {}
    for sync in project.syncs.values():
        claims: list[tuple[tuple[Any, ...], str]] = []
        if sync.to.list_ is not None:
            claims.append(((sync.mode, sync.to.destination, "list", sync.to.list_), f"the list `{sync.to.list_}`"))
        if sync.mode != "append":
            claims += [
                ((sync.mode, sync.to.destination, sync.to.object, "field", name), f"the field `{name}`")
                for name in sync.fields
            ]
        for claim, said in claims:
            other = owners.setdefault(claim, sync.name)
            if other != sync.name:
                reading.problem(
                    "CDP119", f"syncs `{other}` and `{sync.name}` both own {said} at `{sync.to.destination}`", sync.mark,
                    "they would undo each other; let one sync write it", length=len(sync.name),
                )  # fmt: skip
                break
