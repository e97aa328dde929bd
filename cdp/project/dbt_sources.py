"""Sources that name a dbt model ► sources with a table, and what dbt knows of it besides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from cdp.errors import ProjectError
from cdp.project.dbt import DbtModel, Manifest, NoTable, read_artifact
from cdp.project.dbt_types import lock_type
from cdp.project.fields import ColumnType
from cdp.project.model import Column, Entity, ProjectFile, Source
from cdp.project.reading import Reading

CATALOG = "catalog.json"
_PARSE = "dbt parse"
_SAME = ({"spark", "databricks"},)  # adapters of dbt and types of targets that mean one warehouse


@dataclass(frozen=True)
class DbtUse:
    """The dbt project that a project reads: its manifest, the model of each source, and where its artifacts lie.

    `told`: the sources whose columns catalog.json tells, for want of a lock.
    """

    manifest: Manifest
    target: Path
    models: Mapping[str, DbtModel] = field(default_factory=dict)
    told: frozenset[str] = frozenset()


def target_folder(head: ProjectFile, root: Path) -> Path:
    """Where the dbt project of `dbt:` keeps its artifacts."""
    assert head.dbt is not None
    return (root / head.dbt.project_dir / head.dbt.target_path).resolve()


@dataclass
class Resolving:
    """One pass over the sources that say `dbt:`; mistakes are noted at their places, and their sources are `broken`."""

    head: ProjectFile
    root: Path
    target: Mapping[str, Any]
    lock: dict[str, dict[str, str]]
    reading: Reading
    broken: set[tuple[str, str]] = field(default_factory=set)

    def resolve(self, sources: dict[str, Source], entities: Iterable[Entity]) -> DbtUse | None:
        """Put a table to every source that names a model (in place), its columns into the lock; the dbt project."""
        named = {name: source for name, source in sources.items() if source.dbt is not None and source.enabled}
        manifest = self._manifest(named)
        if manifest is None:
            for name in named:
                sources.pop(name)
                self.broken.add(("source", name))
            return None
        self._judge(manifest)
        keys = _keys(entities)
        columns = self._catalog(manifest) if any(name not in self.lock for name in named) else {}
        models: dict[str, DbtModel] = {}
        told: set[str] = set()
        for name, source in named.items():
            try:
                model = manifest.model(source.dbt or "")
            except NoTable as none:
                self.reading.problem(
                    "CDP131", none.message, source.at("dbt"), none.hint, length=len(source.dbt or "") or 1
                )
                sources.pop(name)
                self.broken.add(("source", name))
                continue
            models[name] = model
            if name not in self.lock and columns.get(model.id):
                told.add(name)
                self.lock[name] = columns[model.id]
            sources[name] = _read(source, model, self.lock.get(name), manifest.whole(model.id), keys.get(name, []))
        return DbtUse(manifest, target_folder(self.head, self.root), models, frozenset(told))

    def _manifest(self, named: Mapping[str, Source]) -> Manifest | None:
        if self.head.dbt is None:
            for source in named.values():
                said = f"source `{source.name}` is a dbt model, and cdp_project.yml names no dbt project"
                self.reading.problem("CDP130", said, source.at("dbt"), "there: dbt: {project_dir: ../analytics}")
            return None
        folder = target_folder(self.head, self.root)
        try:
            return Manifest(read_artifact(folder / "manifest.json", "manifest", _PARSE))
        except ProjectError as error:
            if not folder.parent.is_dir() and self.head.dbt.target_path == "target":
                said = f"there is no dbt project in {folder.parent}"
                self.reading.problem("CDP130", said, self.head.dbt.at("project_dir"), "the folder of dbt_project.yml")
            else:
                self.reading.problem(error.code, error.message, self.head.dbt.at("project_dir"), error.hint)
            return None

    def _judge(self, manifest: Manifest) -> None:
        """What may be amiss with the manifest as a whole, but need not be."""
        mark = self.head.dbt.at("project_dir") if self.head.dbt is not None else None
        if manifest.unknown is not None:
            said = f"dbt's manifest is of version {manifest.unknown}, which this cdp does not know"
            self.reading.problem("CDP132", said, mark, "it is read as far as it goes", severity="warning")
        kind = self.target.get("type")
        same = kind == manifest.adapter or any({kind, manifest.adapter} <= names for names in _SAME)
        if kind and manifest.adapter and not same:
            said = f"dbt's manifest was made for {manifest.adapter}, and target `{self.target.get('name')}` is {kind}"
            hint = f"its tables may have other names there: {_PARSE} --target …, with the one that this target reads"
            self.reading.problem("CDP132", said, mark, hint, severity="warning")

    def _catalog(self, manifest: Manifest) -> dict[str, dict[str, str]]:
        """The columns of all tables, by id of their node, where `dbt docs generate` has written them down."""
        path = target_folder(self.head, self.root) / CATALOG
        if not path.is_file():
            return {}
        try:
            nodes = read_artifact(path, "catalog", "dbt docs generate").of("nodes")
        except ProjectError as error:
            mark = self.head.dbt.at("project_dir") if self.head.dbt is not None else None
            self.reading.problem(error.code, error.message, mark, error.hint)
            return {}
        found: dict[str, dict[str, str]] = {}
        for id_, node in nodes.items():
            listed = node.get("columns") if isinstance(node, dict) else None
            listed = listed.values() if isinstance(listed, dict) else ()
            columns = [column for column in listed if isinstance(column, dict)]
            columns.sort(key=lambda column: column["index"] if isinstance(column.get("index"), int) else 0)
            names = {str(column.get("name")) for column in columns}
            found[id_] = {
                name: lock_type(column.get("type"), manifest.adapter) or "other"
                for column in columns
                if (name := str(column.get("name"))).partition(".")[0]
                not in names - {name}  # BigQuery lists what is inside
            }
        return found


def _keys(entities: Iterable[Entity]) -> dict[str, list[list[str]]]:
    """The keys of keyed entities by the source that their rows stand in: it is by these that its rows are told apart."""
    found: dict[str, list[list[str]]] = {}
    for entity in entities:
        if entity.from_ is not None and entity.key:
            found.setdefault(entity.from_, []).append(entity.key)
    return found


def _read(
    source: Source, model: DbtModel, lock: Mapping[str, str] | None, whole: str | bool | None, keys: list[list[str]]
) -> Source:
    """The source as it stands in the warehouse; what its author says wins over what dbt does."""
    update: dict[str, Any] = {"table": model.table, "columns": _columns(source, model, lock, whole)}
    if lock is None and model.complete:
        update["only"] = True
    wanted = [frozenset(name.lower() for name in key) for key in [*([source.key] if source.key else []), *keys]]
    if "unique" not in source.model_fields_set and wanted and all(key in model.unique for key in wanted):
        update["unique"] = True
    if model.tags:
        update["tags"] = list(dict.fromkeys([*source.tags, *model.tags]))
    if source.description is None and model.description is not None:
        update["description"] = model.description
    return source.model_copy(update=update)


def _columns(
    source: Source, model: DbtModel, lock: Mapping[str, str] | None, whole: str | bool | None
) -> dict[str, Column]:
    """What is told of columns: what is personal, and types where neither the lock nor a catalogue tells them."""
    columns = dict(source.columns)
    spelled = {name.lower(): name for name in lock} if lock is not None else None
    known = {column.name.lower(): column for column in model.columns}
    names = {**{name: known[name].name for name in known}, **(spelled or {})}
    for lower, name in names.items():
        if spelled is not None and lower not in spelled:
            continue  # the catalogue knows better
        dbt = known.get(lower)
        key, own = source.told(name)
        told: dict[str, Any] = {}
        pii = dbt.pii if dbt is not None and dbt.pii is not None else whole
        if pii is not None and (own is None or own.pii is None):
            told["pii"] = pii
        untyped = own is None or (own.type is None and own.sql is None)
        if spelled is None and untyped and dbt is not None and dbt.type in get_args(ColumnType):
            told["type"] = dbt.type
        if told:
            columns[key] = own.model_copy(update=told) if own is not None else Column(**told)
    return columns
