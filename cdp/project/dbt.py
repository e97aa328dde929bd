"""What dbt leaves in its target folder, read as plain JSON; dbt itself is never imported.

Manifests v9 to v12 (dbt 1.5 to 1.11) and v20 (Fusion) are known: https://docs.getdbt.com/reference/artifacts/manifest-json.
A newer one is read all the same, for the few fields that are looked at have kept their names since v9.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from cdp.errors import ProjectError, suggestion
from cdp.project.dbt_types import lock_type

KNOWN = {"manifest": (9, 10, 11, 12, 20), "catalog": (1,), "sources": (2, 3), "run-results": (4, 5, 6)}
TABLES = ("model", "seed", "snapshot")
_PART = re.compile(r'"((?:[^"]|"")*)"|`([^`]*)`|\[([^\]]*)\]|([^.]+)')


class NoTable(Exception):
    """A name that stands for no table of dbt; with the way out."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True)
class Artifact:
    """A JSON document of dbt. `unknown` says of which version it is, where this cdp has never seen that."""

    path: Path
    data: Mapping[str, Any] = field(repr=False)
    unknown: str | None = None

    def of(self, key: str) -> dict[str, Any]:
        """A map of it; empty where it is missing."""
        return _map(self.data.get(key))

    def items(self, key: str) -> list[dict[str, Any]]:
        """The maps of a list of it."""
        return [item for item in _list(self.data.get(key)) if isinstance(item, dict)]


def read_artifact(path: Path, kind: str, make: str) -> Artifact:
    """An artifact of a `kind` (as its schema calls it); `make` is the dbt command that writes it.

    Raises ProjectError CDP130 where there is none, it cannot be read, is something else, or older than what is known.
    """
    try:
        data = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise ProjectError.of("CDP130", f"there is no {path}", hint=f"have dbt write it: {make}") from None
    except (OSError, orjson.JSONDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no JSON"
        raise ProjectError.of("CDP130", f"{path} cannot be read: {why}", hint=f"have dbt write it: {make}") from None
    said = str(_map(_map(data).get("metadata")).get("dbt_schema_version") or "")
    found = re.search(r"/dbt/([a-z-]+)/v(\d{1,4})(?:\.json)?\Z", said)
    if found is None or found[1] != kind:
        what = f"dbt's {found[1]}" if found else "no artifact of dbt"
        raise ProjectError.of("CDP130", f"{path} is {what}, not its {kind}", hint=f"have dbt write it: {make}")
    version = int(found[2])
    if version < KNOWN[kind][0]:
        hint = f"known are v{KNOWN[kind][0]} and later: use a newer dbt (1.5 or later)"
        raise ProjectError.of("CDP130", f"{path} is of version v{version}, too old to be read", hint=hint)
    return Artifact(path, data, None if version in KNOWN[kind] else f"v{version}")


@dataclass(frozen=True)
class DbtColumn:
    """A column as dbt knows it: its spelling there, its type in the lock's words, whether it is personal."""

    name: str
    type: str | None = None
    pii: str | bool | None = None


@dataclass(frozen=True)
class DbtModel:
    """A model, seed or snapshot. `relation`: the parts of its table's name, and whether dbt quotes each of them.

    `unique`: sets of columns (lower case) that dbt's tests hold to be unique and never NULL. `complete`: `columns` are
    all there are, for a contract is enforced.
    """

    id: str
    name: str
    package: str
    version: str | None
    relation: tuple[tuple[str, bool], ...]
    columns: tuple[DbtColumn, ...] = ()
    complete: bool = False
    unique: frozenset[frozenset[str]] = frozenset()
    tags: tuple[str, ...] = ()
    description: str | None = None

    @property
    def table(self) -> str:
        """The table's name as adapters take it: parts in double quotes where dbt quotes them."""
        return ".".join('"' + name.replace('"', '""') + '"' if quoted else name for name, quoted in self.relation)


class Manifest:
    """`manifest.json`: what there is, and what is made of what."""

    def __init__(self, artifact: Artifact) -> None:
        self.path, self.unknown = artifact.path, artifact.unknown
        metadata = artifact.of("metadata")
        self.project = str(metadata.get("project_name") or "")
        self.adapter = str(metadata.get("adapter_type") or "")
        self.dbt_version = str(metadata.get("dbt_version") or "")
        self.nodes = {str(key): _map(node) for key, node in artifact.of("nodes").items()}
        self.sources = {str(key): _map(node) for key, node in artifact.of("sources").items()}
        self.unit_tests = {str(key): _map(node) for key, node in artifact.of("unit_tests").items()}
        self._disabled = [_map(node) for several in artifact.of("disabled").values() for node in _list(several)]

    def model(self, name: str) -> DbtModel:
        """The model that `ref()` would find: `orders`, `package.orders`, `orders.v2`; raises NoTable with the way out."""
        found = self._named.get(name, [])
        own = [node for node in found if node.get("package_name") == self.project]
        if len(found) > 1 and len(own) != 1:
            names = " or ".join(sorted(f"`{node.get('package_name')}.{name}`" for node in found))
            raise NoTable(f"several dbt packages have a model `{name}`", f"name the package: {names}")
        if not found:
            raise self._none(name)
        node = own[0] if own else found[0]
        relation = _relation(node)
        if not relation:
            how = str(_map(node.get("config")).get("materialized") or "")
            kind = "is ephemeral" if how == "ephemeral" else "has no relation"
            hint = "materialize it as a table or view in dbt, or read a model that is made of it"
            raise NoTable(f"the dbt model `{name}` {kind}: there is no table of it in the warehouse", hint)
        return self._model(node, relation)

    def _none(self, name: str) -> NoTable:
        if any(name in _spoken(node) for node in self._disabled):
            return NoTable(f"the dbt model `{name}` is disabled", "enable it in dbt, then `dbt parse`")
        if any(f"{node.get('source_name')}.{node.get('name')}" == name for node in self.sources.values()):
            return NoTable(f"`{name}` is a source of dbt, no model", "name its table: `table: schema.name`")
        plain = [str(node.get("name")) for nodes in self._named.values() for node in nodes]
        hint = suggestion(name, list(dict.fromkeys([*plain, *self._named])), "models")
        return NoTable(f"dbt has no model `{name}`", f"{hint} (is the manifest of today? dbt parse)")

    @cached_property
    def _named(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for node in self.nodes.values():
            if node.get("resource_type") in TABLES:
                for name in _spoken(node):
                    found.setdefault(name, []).append(node)
        return found

    def _model(self, node: Mapping[str, Any], relation: tuple[tuple[str, bool], ...]) -> DbtModel:
        config = _map(node.get("config"))
        pii = _meta(node).get("pii")
        columns = [_map(column) for column in _map(node.get("columns")).values()]
        own = tuple(
            DbtColumn(name, lock_type(column.get("data_type"), self.adapter), _pii(_meta(column).get("pii"), pii, name))
            for column in columns
            if (name := str(column.get("name") or ""))
        )
        known = {column.name.lower() for column in own}
        listed = [str(name) for name in pii if str(name).lower() not in known] if isinstance(pii, list) else []
        contract = _map(node.get("contract") or config.get("contract"))
        version = node.get("version")
        return DbtModel(
            str(node.get("unique_id")), str(node.get("name")), str(node.get("package_name")),
            None if version is None else str(version), relation, (*own, *(DbtColumn(name, None, True) for name in listed)),
            bool(contract.get("enforced")) and bool(own), self._unique.get(str(node.get("unique_id")), frozenset()),
            tuple(str(tag) for tag in _list(node.get("tags")) if isinstance(tag, str)), str(node.get("description") or "") or None,
        )  # fmt: skip

    def whole(self, id_: str) -> str | bool | None:
        """What `meta: pii` says of a whole model: of every column of it."""
        said = _meta(self.nodes.get(id_, {})).get("pii")
        return said if isinstance(said, bool | str) else None

    # -------------------------------------------------------------------------------------------- what follows of what
    def parents(self, id_: str) -> list[str]:
        """What a node is made of, directly."""
        return [str(one) for one in _list(_map(self.nodes.get(id_, {}).get("depends_on")).get("nodes"))]

    def ancestors(self, id_: str) -> Iterator[str]:
        """Everything that a node is made of, the nearest first."""
        seen, pending = {id_}, deque([id_])
        while pending:
            for parent in self.parents(pending.popleft()):
                if parent not in seen:
                    seen.add(parent)
                    pending.append(parent)
                    yield parent

    def tested(self, id_: str) -> list[str]:
        """The nodes that a test is about; empty for what is no test."""
        node = self.unit_tests.get(id_) or self.nodes.get(id_, {})
        if id_ not in self.unit_tests and node.get("resource_type") != "test":
            return []
        attached = node.get("attached_node")
        return [str(attached)] if attached else [str(one) for one in _list(_map(node.get("depends_on")).get("nodes"))]

    def called(self, id_: str) -> str:
        """The name of a node as people say it."""
        node = self.nodes.get(id_) or self.sources.get(id_) or self.unit_tests.get(id_) or {}
        name = str(node.get("name") or id_.rpartition(".")[2])
        if node.get("version") is not None:
            return f"{name}.v{node['version']}"
        return f"{node['source_name']}.{name}" if node.get("source_name") else name

    @cached_property
    def _unique(self) -> dict[str, frozenset[frozenset[str]]]:
        """Sets of columns that tests hold to be unique and not NULL, by node."""
        unique: dict[str, set[frozenset[str]]] = {}
        filled: dict[str, set[str]] = {}
        for id_, node in self.nodes.items():
            what = _test(node)
            for about in self.tested(id_) if what is not None else ():
                kind, columns = what or ("", frozenset())
                if kind == "not_null":
                    filled.setdefault(about, set()).update(columns)
                else:
                    unique.setdefault(about, set()).add(columns)
        return {
            about: frozenset(columns for columns in several if columns <= filled.get(about, set()))
            for about, several in unique.items()
        }


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _meta(node: Mapping[str, Any]) -> dict[str, Any]:
    """`meta` of a node or column; since dbt 1.10 it stands under `config`, and some write it to one place only."""
    return {**_map(node.get("meta")), **_map(_map(node.get("config")).get("meta"))}


def _pii(own: Any, whole: Any, name: str) -> str | bool | None:
    """Of a column: what is said of itself, else of the model (true, a kind, or a list of columns)."""
    if isinstance(own, bool | str):
        return own
    if isinstance(whole, list):
        return True if name.lower() in {str(one).lower() for one in whole} else None
    return whole if isinstance(whole, bool | str) else None


def _spoken(node: Mapping[str, Any]) -> list[str]:
    """The names that a node goes by; without a version it is the latest one that is meant."""
    name, package, version = str(node.get("name")), str(node.get("package_name")), node.get("version")
    names = [] if version is None else [f"{name}.v{version}"]
    if version is None or str(version) == str(node.get("latest_version")):
        names.append(name)
    return [*names, *(f"{package}.{one}" for one in names)]


def _relation(node: Mapping[str, Any]) -> tuple[tuple[str, bool], ...]:
    """`"db"."main"."orders"` (or in backticks, or without any) in parts; empty where dbt makes no table of it."""
    written = node.get("relation_name")
    if not isinstance(written, str):
        return ()
    parts = []
    for match in _PART.finditer(written.strip()):
        quoted = next((part for part in match.groups()[:3] if part is not None), None)
        parts.append((match[4].strip(), False) if quoted is None else (quoted.replace('""', '"'), True))
    return tuple(parts[-3:])


def _test(node: Mapping[str, Any]) -> tuple[str, frozenset[str]] | None:
    """(`unique` or `not_null`, columns) of a test that holds for all rows and stops dbt where it fails; else None."""
    metadata, config = _map(node.get("test_metadata")), _map(node.get("config"))
    given = _map(metadata.get("kwargs"))
    if (
        config.get("where")
        or str(config.get("severity") or "error").lower() != "error"
        or config.get("enabled") is False
    ):
        return None
    name, home = metadata.get("name"), metadata.get("namespace")
    if name in ("unique", "not_null") and home in (None, "dbt"):
        column = node.get("column_name") or given.get("column_name")
        return (str(name), frozenset({_plain(column)})) if column else None
    several = given.get("combination_of_columns")
    if name == "unique_combination_of_columns" and isinstance(several, list) and several:
        return "unique", frozenset(_plain(column) for column in several)
    return None


def _plain(column: Any) -> str:
    return str(column).strip('"`[]').lower()
