"""profiles.yml: which warehouse a target means, and the connections of the destinations. The only place for secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, PrivateAttr, ValidationError

from cdp.errors import Mark, Problem, ProjectError, suggestion
from cdp.project.reader import Map, read
from cdp.project.reading import Reading
from cdp.warehouse.base import Warehouse
from cdp.warehouse.engines import ENGINES, settings_of
from cdp.warehouse.environment import resolve
from cdp.warehouse.facts import Facts
from cdp.warehouse.secrets import Secrets, looks_secret
from cdp.warehouse.settings import Settings, Strict, Truth

FILE = "profiles.yml"


class Target(Strict):
    """A warehouse and the connections of the destinations, by name."""

    production: Truth = False
    warehouse: Settings
    destinations: dict[str, dict[str, Any]] = {}
    notify: dict[str, dict[str, Any]] = {}
    vars: dict[str, Any] = {}
    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        """Its name in profiles.yml."""
        return self._name

    @property
    def type(self) -> str:
        """The warehouse's type: duckdb, postgres …"""
        return str(getattr(self.warehouse, "type", ""))


class _Head(Strict):
    target: str
    targets: dict[str, Any]


@dataclass(frozen=True)
class Profile:
    """One entry of profiles.yml; its targets are read one by one, since each needs its own environment variables."""

    name: str
    default: str
    targets: tuple[str, ...]
    _data: Map = field(repr=False)
    _reading: Reading = field(repr=False)
    _environ: Mapping[str, str] = field(repr=False)

    def target(self, name: str | None, secrets: Secrets) -> Target:
        """The target of that name (None: the default), its secrets made known; raises ProjectError with all mistakes.

        CDP308: unknown target, wrong or unknown keys. CDP310: an environment variable that is not set.
        """
        name = name or self.default
        reading = self._reading
        targets: Map = self._data["targets"]
        if name not in targets:
            hint = suggestion(name, self.targets, "targets")
            raise ProjectError.of("CDP308", f"profile `{self.name}` has no target `{name}`", hint=hint)
        before = len(reading.problems)
        data = resolve(targets[name], self._environ, reading, secrets)
        target = None if len(reading.problems) > before else _validated(data, reading, f"{self.name}.{name}")
        if target is None:
            raise ProjectError([_masked(problem, secrets) for problem in reading.problems[before:]])
        target._name = name
        return target


def _validated(data: Any, reading: Reading, where: str) -> Target | None:
    """The target, or None with all its mistakes noted: those of the warehouse and those beside it."""
    if not isinstance(data, Map):
        reading.problem("CDP308", f"`{where}` must be a map", None, "warehouse: {type: duckdb, path: …}")
        return None
    before = len(reading.problems)
    warehouse = data.get("warehouse")
    settings = _settings(warehouse, reading, where) if isinstance(warehouse, Map) else None
    known = _known_only(data, Target, reading, where)
    target = None
    try:
        target = Target.model_validate({**known, "warehouse": settings or known.get("warehouse")})
    except ValidationError as error:
        details = [
            detail for detail in error.errors() if detail["loc"][:1] != ("warehouse",) or not isinstance(warehouse, Map)
        ]
        if details:
            rest = ValidationError.from_exception_data(error.title, [_again(detail) for detail in details])
            reading.of_pydantic(rest, data, where)
    reading.problems[before:] = [replace(problem, code="CDP308") for problem in reading.problems[before:]]
    return target if len(reading.problems) == before else None


def _settings(warehouse: Map, reading: Reading, where: str) -> Settings | None:
    kind = warehouse.get("type")
    if not isinstance(kind, str) or kind not in ENGINES:
        said = f"there is no warehouse type `{kind}`" if kind else f"`{where}.warehouse` says no `type`"
        mark = warehouse.values_at.get("type", warehouse.at)
        reading.unknown("CDP308", said, str(kind or ""), ENGINES, "types", mark)
        return None
    model = settings_of(kind)
    known = _known_only(warehouse, model, reading, f"{where}.warehouse")
    try:
        return model.model_validate(known)
    except ValidationError as error:
        reading.of_pydantic(error, warehouse, f"{where}.warehouse")
        return None


def _known_only(data: Map, model: type[BaseModel], reading: Reading, where: str) -> dict[str, Any]:
    """The keys that the model has; each other one is noted at its place with the nearest that exists."""
    names = [field.alias or name for name, field in model.model_fields.items()]
    for key in data:
        if key not in names:
            said = f"`{where}` has no key `{key}`"
            reading.unknown("CDP308", said, key, names, "keys", data.keys_at[key])
    return {key: value for key, value in data.items() if key in names}


def _again(detail: Any) -> Any:
    return {key: detail[key] for key in ("type", "loc", "input", "ctx") if key in detail}


def _masked(problem: Problem, secrets: Secrets) -> Problem:
    line = None if problem.line is None else secrets.mask(problem.line, keep_length=True)  # for the caret
    return replace(problem, message=secrets.mask(problem.message), line=line)


def find_profiles(project_dir: Path, profiles_dir: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The profiles.yml in force: --profiles-dir, $CDP_PROFILES_DIR, the project, ~/.cdp. A folder that was named must
    have one. Raises ProjectError CDP307."""
    named = profiles_dir or (Path(environ["CDP_PROFILES_DIR"]) if environ.get("CDP_PROFILES_DIR") else None)
    folders = [named] if named else [project_dir, Path(environ.get("HOME") or "~").expanduser() / ".cdp"]
    for folder in folders:
        if (folder / FILE).is_file():
            return folder / FILE
    looked = " and ".join(str(folder) for folder in folders)
    hint = "write one after profiles.yml.example, or name its folder with --profiles-dir"
    raise ProjectError.of("CDP307", f"there is no {FILE} in {looked}", hint=hint)


def load_profile(
    project_dir: Path, name: str, *, profiles_dir: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Profile:
    """The profile that the project names; raises ProjectError CDP307 (no file), CDP308, or the reader's own codes."""
    path = find_profiles(project_dir, profiles_dir, environ)
    document = read(path, root=project_dir)
    secrets = _written(document.data)
    if document.problems:
        raise ProjectError([_masked(problem, secrets) for problem in document.problems])
    reading = Reading(lines={document.file: document.lines})
    data = document.data.get(name)
    if not isinstance(data, Map):
        hint = suggestion(name, list(document.data), "profiles")
        mark = document.data.values_at.get(name, Mark(document.file, 1, 1))
        raise ProjectError.of("CDP308", f"{document.file} has no profile `{name}`", hint=hint, mark=mark)
    try:
        head = _Head.model_validate(data)
        if not isinstance(data["targets"], Map):
            raise TypeError
    except ValidationError as error:
        reading.of_pydantic(error, data, name)
        problems = [_masked(replace(problem, code="CDP308"), secrets) for problem in reading.problems]
        raise ProjectError(problems) from None
    return Profile(name, head.target, tuple(head.targets), data, reading, environ)


def _written(data: Any) -> Secrets:
    """What stands in the file in plain text under a key that looks secret."""
    secrets = Secrets()
    stack: list[tuple[str, Any]] = [("", data)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, dict):
            stack += list(value.items())
        elif isinstance(value, list):
            stack += [(key, item) for item in value]
        elif isinstance(value, str | int) and not isinstance(value, bool) and looks_secret(key):
            secrets.add(value)
    return secrets


def facts_of(target: Target) -> Facts:
    """The facts of the target's engine, without a connection."""
    return target.warehouse.facts


def connect(target: Target, project_dir: Path, wait: float = 0.0) -> Warehouse:
    """The target's warehouse; the connection itself is made at the first statement. Who waits for a lease (`wait`
    seconds) waits as long for the file that its holder has open."""
    warehouse = target.warehouse.connect(project_dir)
    warehouse.patience = max(warehouse.patience, wait)
    return warehouse
