"""A folder of YAML ► a Project, and everything that is wrong with its files, all in one go."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from zoneinfo import ZoneInfo, available_timezones

from pydantic import ValidationError

from cdp.errors import Mark, ProjectError
from cdp.project.model import (
    LATER_SPECS,
    Audience,
    Entity,
    Files,
    Lock,
    LockType,
    Policy,
    ProjectFile,
    Relation,
    Source,
    Trait,
)
from cdp.project.part import Later, Resource
from cdp.project.reader import Map, read
from cdp.project.reading import Reading, key_mark, value_mark, without
from cdp.project.sync_model import LATER_MODES, MODES, Sync
from cdp.project.tongue import Tongue
from cdp.project.values import project_names, render_values
from cdp.project.words import name_problem

if TYPE_CHECKING:
    from cdp.project.dbt_sources import DbtUse

ROOT_FILE = "cdp_project.yml"
LOCK_FILE = "sources.lock.yml"
_KINDS: dict[str, type[Resource]] = {"sources": Source, "entities": Entity, "audiences": Audience, "syncs": Sync}
_SINGULAR = {"sources": "source", "entities": "entity", "audiences": "audience", "syncs": "sync"}


@dataclass(frozen=True)
class Project:
    """A whole project: what a user wrote, by name. Nothing here has been looked up in a warehouse.

    `lock` holds the column types of `sources.lock.yml` (of dbt's catalog.json for models that it lacks); `broken` the resources that could not be read
    (kind, name), so that nobody complains about them twice.
    """

    root: Path
    file: ProjectFile
    sources: dict[str, Source] = field(default_factory=dict)
    entities: dict[str, Entity] = field(default_factory=dict)
    traits: dict[str, dict[str, Trait]] = field(default_factory=dict)
    audiences: dict[str, Audience] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    syncs: dict[str, Sync] = field(default_factory=dict)
    lock: dict[str, dict[str, str]] = field(default_factory=dict)
    broken: frozenset[tuple[str, str]] = frozenset()
    places: Mapping[tuple[str, str], Mark] = field(
        default_factory=dict, compare=False
    )  # of traits and policies, by entity
    reading: Reading = field(default_factory=Reading, compare=False, repr=False)
    dbt: DbtUse | None = field(default=None, compare=False, repr=False)
    tongue: Tongue = field(default_factory=Tongue, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The project's name."""
        return self.file.name

    def tells(self, source: str) -> str:
        """The file that tells the columns of a source which stands in `lock`."""
        return "catalog.json" if self.dbt is not None and source in self.dbt.told else LOCK_FILE

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of calendar windows."""
        return ZoneInfo(self.file.timezone)

    @classmethod
    def load(
        cls, root: Path | str, *, variables: Mapping[str, Any] | None = None, target: Mapping[str, Any] | None = None
    ) -> Project:
        """The project in the folder `root`; raises ProjectError with all mistakes of its files."""
        project = load(Path(root), variables=variables, target=target)
        if project.reading.errors:
            raise ProjectError(project.reading.problems)
        return project


def load(root: Path, *, variables: Mapping[str, Any] | None = None, target: Mapping[str, Any] | None = None) -> Project:
    """As much of the project as can be read; its mistakes stand in `project.reading`.

    Raises ProjectError where there is no project at all.
    """
    root = root.resolve()
    reading = Reading()
    head = _head(root, reading)
    given = {**head.vars, **(variables or {})}
    names = project_names(given, target)
    loader = _Loader(reading)
    for path in _files(root, head.ignore, reading):
        document = read(path, root=root)
        reading.lines[document.file] = document.lines
        reading.problems += document.problems
        render_values(document.data, names, reading)
        loader.take(document.data)
    lock = _lock(root, reading)
    named = any(item.dbt is not None and item.enabled for item in loader.sources.values())
    dbt = _with_dbt(loader, head, root, target or {}, lock) if named else None
    project = Project(
        root, head, loader.sources, loader.entities, loader.traits, loader.audiences, loader.policies, loader.syncs,
        lock, frozenset(loader.broken), loader.places, reading, dbt,
    )  # fmt: skip
    return _enabled(project)


def _with_dbt(
    loader: _Loader, head: ProjectFile, root: Path, target: Mapping[str, Any], lock: dict[str, dict[str, str]]
) -> DbtUse | None:
    """Look up in dbt's manifest what the sources name that say `dbt:`."""
    from cdp.project.dbt_sources import Resolving

    resolving = Resolving(head, root, target, lock, loader.reading)
    found = resolving.resolve(loader.sources, loader.entities.values())
    loader.broken |= resolving.broken
    return found


def read_head(root: Path) -> ProjectFile:
    """`cdp_project.yml` alone; raises ProjectError with its mistakes."""
    reading = Reading()
    head = _head(root.resolve(), reading)
    if reading.errors:
        raise ProjectError(reading.problems)
    return head


def _head(root: Path, reading: Reading) -> ProjectFile:
    """The file as far as it can be read, so that the others are looked at; raises ProjectError where there is none."""
    path = root / ROOT_FILE
    if not path.is_file():
        raise ProjectError.of(
            "CDP100", f"there is no {ROOT_FILE} in {root}", hint="go to the project's folder, or make one: cdp init"
        )
    document = read(path, root=root)
    reading.lines[document.file] = document.lines
    reading.problems += document.problems
    if document.problems:
        return ProjectFile(version=1, name="project")
    data = document.data
    for key in Files.model_fields:
        if key in data:
            reading.problem(
                "CDP104",
                f"`{key}` in {ROOT_FILE}",
                key_mark(data, key),
                "resources stand in any other *.yml",
                length=len(key),
            )
            data.pop(key)
    try:
        head = ProjectFile.model_validate(data, context=reading)
    except ValidationError as error:
        reading.of_pydantic(error, data, "project")
        name = data.get("profile") or data.get("name")  # by which a profile can be found
        rest = {"version": 1, "name": name if isinstance(name, str) else "project"}
        head = _rest(ProjectFile, _joined(without(data, error), rest), reading) or ProjectFile.model_validate(rest)
    if not is_zone(head.timezone):
        _no_zone(head.timezone, head.at("timezone"), reading)
        return head.model_copy(update={"timezone": "UTC"})
    return head


def is_zone(name: str) -> bool:
    """Whether there is a time zone of this name."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # no plain name; a folder; unknown
        return False
    return True


def _no_zone(name: str, mark: Mark | None, reading: Reading) -> None:
    reading.unknown("CDP111", f"there is no time zone `{name}`", name, sorted(available_timezones()), "zones", mark)


def _rest(model: type[Any], rest: Any, reading: Reading) -> Any:
    """A part of what was right in its map, None where that makes no whole; nothing more is noted."""
    try:
        return model.model_validate(rest, context=Reading(reading.lines))
    except ValidationError:
        return None


def _joined(data: Map, more: Mapping[str, Any]) -> Map:
    """The map with some keys put in or in the place of others."""
    result = Map({**data, **more})
    result.at, result.keys_at, result.values_at = data.at, dict(data.keys_at), dict(data.values_at)
    return result


def _told_types(raw: Map) -> dict[str, Any]:
    """A lock in which a type that there is not is one that nobody told: the column is there all the same."""
    known = get_args(LockType)
    sources = raw["sources"] if isinstance(raw["sources"], Map) else {}
    return {
        "version": 1,
        "sources": {
            name: {column: kind if kind in known else "other" for column, kind in columns.items()}
            for name, columns in sources.items()
            if isinstance(columns, Map)
        },
    }


def _inverses(raw: Any) -> Iterator[str]:
    """The names of relations that a part gives to others, at any depth."""
    if isinstance(raw, Map):
        for key, value in raw.items():
            if key == "inverse" and isinstance(value, str):
                yield value
            else:
                yield from _inverses(value)


def _files(root: Path, ignore: list[str], reading: Reading) -> Iterator[Path]:
    """Every *.yml of the project in the order of its path; `*.yaml` is noted as a mistake."""
    skipped = {root / part.rstrip("/") for part in ignore} | {root / "target"}
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and here / name not in skipped)
        for name in sorted(files):
            path = here / name
            if path in skipped or name.startswith("."):
                continue
            if name.endswith(".yaml"):
                mark = Mark(path.relative_to(root).as_posix(), 1, 1)
                reading.problem(
                    "CDP100",
                    f"{name} ends in .yaml and would not be read",
                    mark,
                    "rename it to .yml, or list it in `ignore:`",
                )
            elif (
                name.endswith(".yml")
                and not (here == root and name in (ROOT_FILE, LOCK_FILE))
                and name != "profiles.yml"
            ):
                yield path


class _Loader:
    """Gathers resources from files; a name given twice is noted with both places."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.sources: dict[str, Any] = {}
        self.entities: dict[str, Any] = {}
        self.audiences: dict[str, Any] = {}
        self.syncs: dict[str, Any] = {}
        self.policies: dict[str, Policy] = {}
        self.traits: dict[str, dict[str, Trait]] = {}
        self.broken: set[tuple[str, str]] = set()
        self.places: dict[tuple[str, str], Mark] = {}

    def take(self, data: Map) -> None:
        """Take in one file."""
        Files.spell(data, self.reading)
        for key in data:
            if key not in Files.model_fields:
                continue
            if any(isinstance(extra, Later) for extra in Files.model_fields[key].metadata):
                self.reading.later(f"`{key}`", data.keys_at[key], length=len(key))
            elif data[key] is None:
                continue
            elif not isinstance(data[key], Map):
                self.reading.problem("CDP105", f"`{key}` must be a map by name", data.values_at[key])
            elif key == "traits":
                self._traits(data[key])
            elif key == "policies":
                for name in data[key]:
                    self.places.setdefault(("policies", name), data[key].keys_at[name])
                    policy = self._part(Policy, data[key], name, f"policy {name}")
                    if policy is not None:
                        self._put(self.policies, name, policy, "policies of", data[key])
            else:
                for name in data[key]:
                    self._resource(key, data[key], name)

    def _traits(self, data: Map) -> None:
        for entity in data:
            self.places.setdefault(("traits", entity), data.keys_at[entity])
            if not isinstance(data[entity], Map):
                self.reading.problem("CDP105", f"`traits.{entity}` must be a map by name", data.values_at[entity])
                continue
            for name in data[entity]:
                self._name(name, "trait", data[entity].keys_at[name])
                trait = self._part(Trait, data[entity], name, f"trait {entity}.{name}")
                if trait is None or not self._one_kind(trait, entity, name, data[entity].values_at[name]):
                    self.broken.add(("trait", f"{entity}.{name}"))
                else:
                    self._put(self.traits.setdefault(entity, {}), name, trait, f"trait {entity}.", data[entity])

    def _one_kind(self, trait: Trait, entity: str, name: str, mark: Mark) -> bool:
        if len(trait.kinds) == 1:
            return True
        if trait.origin is None or not any(key in trait.origin for key in ("ntile", "rank", "query", "lookup", "from")):
            said = f"has both `{trait.kinds[0]}` and `{trait.kinds[1]}`" if trait.kinds else "says not what it is"
            self.reading.problem(
                "CDP105", f"trait `{entity}.{name}` {said}", mark, "one of count, sum, first, formula … with its path"
            )
        return False

    def _resource(self, kind: str, data: Map, name: str) -> None:
        singular = _SINGULAR[kind]
        self._name(name, singular, data.keys_at[name])
        resource = self._part(_KINDS[kind], data, name, f"{singular} {name}")
        if resource is None or (isinstance(resource, Sync) and not self._mode(resource)):
            self.broken.add((singular, name))
            return
        if isinstance(resource, Source) and resource.spec not in (None, "segment"):
            self._spec(resource.spec, resource.at("spec"))
            self.broken.add((singular, name))
            return
        if isinstance(resource, Source) and not self._zone(resource):
            resource = resource.model_copy(update={"timezone": "UTC"})
        self._inner_names(resource)
        self._put(getattr(self, kind), name, resource, singular, data)

    def _inner_names(self, resource: Resource) -> None:
        """What a source or an entity names inside itself and we make columns of."""
        origin = resource.origin if resource.origin is not None else Map()
        if isinstance(resource, Entity):
            for name in resource.attributes:
                self._name(name, "attribute", key_mark(origin.get("attributes", {}), name))
            for item in resource.identity.identifiers if resource.identity is not None else []:
                for name, options in item.items():
                    self._name(name, "identifier", options.at())
        for name, relation in resource.relations.items() if isinstance(resource, Source | Entity) else ():
            self._name(name, "relation", key_mark(origin.get("relations", {}), name))
            if isinstance(relation, Relation) and relation.inverse is not None:
                self._name(relation.inverse, "relation", relation.at("inverse"))

    def _mode(self, sync: Sync) -> bool:
        if sync.mode in MODES:
            return True
        if sync.mode in LATER_MODES:
            self.reading.later(f"the mode `{sync.mode}`", sync.at("mode"))
        else:
            self.reading.unknown(
                "CDP105", f"there is no mode `{sync.mode}`", sync.mode, (*MODES, *LATER_MODES), "modes", sync.at("mode")
            )
        return False

    def _part(self, model: type[Any], data: Map, name: str, what: str) -> Any:
        raw = data[name]
        try:
            part = model.model_validate({} if raw is None else raw, context=self.reading)
        except ValidationError as error:
            self.reading.of_pydantic(error, raw, what, data.values_at[name])
            part = _rest(model, without(raw, error), self.reading)
            if part is None:
                self.broken |= {("relation", inverse) for inverse in _inverses(raw)}
                return None
        if isinstance(part, Resource):
            named = part.model_copy(update={"name": name})
            named._key_mark = data.keys_at[name]
            named._origin = part._origin
            return named
        return part

    def _spec(self, spec: str, mark: Mark | None) -> None:
        if spec in LATER_SPECS:
            self.reading.later(f"the spec `{spec}`", mark, length=len(spec))
        else:
            self.reading.unknown("CDP105", f"there is no spec `{spec}`", spec, ("segment", *LATER_SPECS), "specs", mark)

    def _zone(self, source: Source) -> bool:
        if is_zone(source.timezone):
            return True
        _no_zone(source.timezone, source.at("timezone"), self.reading)
        return False

    def _put(self, where: dict[str, Any], name: str, value: Any, kind: str, data: Map) -> None:
        if name in where:
            first = where[name].mark if isinstance(where[name], Resource) else where[name].at()
            self.reading.problem(
                "CDP109", f"{kind} `{name}` is declared twice; first at {first}", key_mark(data, name), length=len(name)
            )
        else:
            where[name] = value

    def _name(self, name: str, kind: str, mark: Mark | None) -> None:
        wrong = name_problem(name, kind)
        if wrong:
            self.reading.problem("CDP109", wrong, mark, length=len(name))


def _lock(root: Path, reading: Reading) -> dict[str, dict[str, str]]:
    path = root / LOCK_FILE
    if not path.exists():
        return {}
    document = read(path, root=root)
    reading.lines[document.file] = document.lines
    reading.problems += document.problems
    data = document.data
    if document.problems:
        return {}
    Lock.spell(data, reading)
    if data.get("version") != 1:
        reading.problem(
            "CDP105",
            f"{LOCK_FILE} has no `version: 1`",
            value_mark(data, "version") or data.at,
            "make it again: cdp sources freeze",
        )
    raw = _joined(data, {"version": 1, "sources": data.get("sources") or {}})
    lock: Lock | None = None
    try:
        lock = Lock.model_validate(raw, context=reading)
    except ValidationError as error:
        reading.of_pydantic(error, raw, "lock")
        lock = _rest(Lock, _told_types(raw), reading)
    found = {name: dict(columns) for name, columns in lock.sources.items()} if lock is not None else {}
    for name, columns in found.items():  # a column of a type that there is not is there all the same
        told = raw["sources"].get(name)
        found[name] = {column: columns.get(column, "other") for column in told} if isinstance(told, dict) else columns
    return {name: {column: str(kind) for column, kind in columns.items()} for name, columns in found.items()}


def _enabled(project: Project) -> Project:
    """The project without what says `enabled: false`."""
    return replace(
        project,
        sources={name: item for name, item in project.sources.items() if item.enabled},
        entities={name: item for name, item in project.entities.items() if item.enabled},
        audiences={name: item for name, item in project.audiences.items() if item.enabled},
        syncs={name: item for name, item in project.syncs.items() if item.enabled},
        traits={
            entity: {name: item for name, item in traits.items() if item.enabled}
            for entity, traits in project.traits.items()
        },
    )
