"""`--select` and `--exclude` in dbt's syntax: names, `type:name`, `tag:x`, a file, `+` before (what it is made of) and after
(what is made of it). Several are a union; a comma between is an intersection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from cdp.compile.lower import Lowered, Wanted
from cdp.errors import ProjectError, did_you_mean
from cdp.project import Project
from cdp.project.part import Resource

TYPES = ("entity", "trait", "audience", "sync", "source", "destination", "tag", "path", "experiment", "journey")
LATER = ("state", "result", "experiment", "journey")


@dataclass(frozen=True)
class Selection:
    """The selected resources (`type:name`), and what a build is to make for them."""

    resources: frozenset[str]
    everything: bool
    wanted: Wanted

    def syncs(self) -> frozenset[str]:
        """The names of the selected syncs."""
        return frozenset(name.removeprefix("sync:") for name in self.resources if name.startswith("sync:"))


def resources(project: Project) -> dict[str, Resource]:
    """All resources by `type:name`."""
    found: dict[str, Resource] = {}
    found.update({f"source:{name}": item for name, item in project.sources.items()})
    found.update({f"entity:{name}": item for name, item in project.entities.items()})
    found.update(
        {f"trait:{entity}.{name}": item for entity, traits in project.traits.items() for name, item in traits.items()}
    )
    found.update({f"audience:{name}": item for name, item in project.audiences.items()})
    found.update({f"sync:{name}": item for name, item in project.syncs.items()})
    return found


def select(
    project: Project, lowered: Lowered, chosen: tuple[str, ...], excluded: tuple[str, ...], allow_empty: bool
) -> Selection:
    """What the command line selects; raises ProjectError (CDP184) for what matches nothing."""
    every = resources(project)
    below = {name: lowered.lowering.uses.get(name, set()) & set(every) for name in every}
    for entity in project.entities:  # an entity's table holds its traits
        below.setdefault(f"entity:{entity}", set())
    graph = _Graph(project, every, below)
    wanted = set(every) if not chosen else graph.union(chosen, allow_empty)
    wanted -= graph.union(excluded, allow_empty=True) if excluded else set()
    if not wanted and not allow_empty and every:
        raise ProjectError.of("CDP184", "the selection is empty", hint="--allow-empty accepts that")
    names = _by_kind(wanted)
    everything = not chosen and not excluded
    entities = names["entity"] | {name.partition(".")[0] for name in names["trait"]}
    plan = Wanted(frozenset(entities), frozenset(names["audience"]), frozenset(names["sync"]))
    return Selection(frozenset(wanted), everything, Wanted() if everything else plan)


def _by_kind(wanted: Iterable[str]) -> dict[str, set[str]]:
    names: dict[str, set[str]] = {kind: set() for kind in ("source", "entity", "trait", "audience", "sync")}
    for item in wanted:
        kind, _, name = item.partition(":")
        names[kind].add(name)
    return names


class _Graph:
    def __init__(self, project: Project, every: dict[str, Resource], below: dict[str, set[str]]) -> None:
        self.project = project
        self.every = every
        self.below = below
        self.above: dict[str, set[str]] = {name: set() for name in every}
        for name, used in below.items():
            for other in used:
                self.above.setdefault(other, set()).add(name)

    def union(self, terms: Iterable[str], allow_empty: bool) -> set[str]:
        """All that any of the terms selects."""
        found: set[str] = set()
        for term in " ".join(terms).split():
            parts = [self._one(part, allow_empty) for part in term.split(",") if part]
            found |= set.intersection(*parts) if parts else set()
        return found

    def _one(self, term: str, allow_empty: bool) -> set[str]:
        name = term.strip("+")
        base = self._named(name)
        if not base and not allow_empty:
            near = did_you_mean(name, [*self.every, *(item.partition(":")[2] for item in self.every)])
            hint = (
                f"did you mean `{near}`?" if near else "types: entity trait audience sync source destination tag path"
            )
            raise ProjectError.of("CDP184", f"`{term}` selects nothing", hint=f"{hint} (--allow-empty accepts that)")
        found = set(base)
        if term.startswith("+"):
            found |= self._reach(base, self.below)
        if term.endswith("+"):
            found |= self._reach(base, self.above)
        return found

    def _named(self, name: str) -> set[str]:
        kind, colon, rest = name.partition(":")
        if colon and kind in LATER:
            raise ProjectError.of(
                "CDP184", f"`{kind}:` is not in this version", hint="select by name, type, tag or path"
            )
        if colon and kind not in TYPES:
            near = did_you_mean(kind, TYPES)
            raise ProjectError.of(
                "CDP184",
                f"there is no type `{kind}:`",
                hint=f"did you mean `{near}:`?" if near else f"one of {', '.join(TYPES)}",
            )
        if kind == "tag" and colon:
            return {key for key, item in self.every.items() if rest in item.tags}
        if kind == "destination" and colon:
            return {f"sync:{key}" for key, sync in self.project.syncs.items() if fnmatchcase(sync.to.destination, rest)}
        if (kind == "path" and colon) or name.endswith(".yml") or "/" in name:
            path = (rest if colon else name).removeprefix("./")
            return {
                key
                for key, item in self.every.items()
                if item.mark and (item.mark.file == path or item.mark.file.startswith(path.rstrip("/") + "/"))
            }
        if colon:
            return {
                key for key in self.every if key.startswith(f"{kind}:") and fnmatchcase(key.partition(":")[2], rest)
            }
        return {key for key in self.every if fnmatchcase(key.partition(":")[2], name)}

    def _reach(self, start: set[str], edges: dict[str, set[str]]) -> set[str]:
        found, pending = set(start), list(start)
        while pending:
            for other in edges.get(pending.pop(), ()):
                if other not in found:
                    found.add(other)
                    pending.append(other)
        return found
