"""`cdp dbt exposures`: audiences and syncs as exposures of dbt, so that `dbt ls -s +exposure:…` knows who reads its models.

The keys are those of https://docs.getdbt.com/reference/exposure-properties; since dbt 1.10 tags and meta stand under `config`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from cdp.errors import ProjectError
from cdp.flow.lineage import Lineage
from cdp.flow.loading import load_all
from cdp.flow.results import ExposuresResult, Settings
from cdp.project.dbt import DbtModel, Manifest
from cdp.project.model import Audience
from cdp.project.sync_model import Sync

HEAD = "# Made by `cdp dbt exposures`: audiences and syncs that are made of models of this project. Do not edit it.\n"


def dbt_exposures(settings: Settings, out: Path | None = None) -> ExposuresResult:
    """The exposures, written to `out` (None: nowhere); no connection is made. A file that this command made is replaced.

    Raises ProjectError: CDP134 where no source is a dbt model, CDP183 where another file is in the way.
    """
    loaded = load_all(settings, check=True)
    lineage = Lineage(loaded)
    project, found = loaded.project, []
    for audience in project.audiences.values():
        found.append(_exposure(lineage, f"audience:{audience.name}", audience, "analysis", _of_audience(audience)))
    for sync in project.syncs.values():
        found.append(_exposure(lineage, f"sync:{sync.name}", sync, "application", _of_sync(sync)))
    exposures = tuple(one for one in found if one["depends_on"])
    content = {"version": 2, "exposures": list(exposures)}
    written = HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    return ExposuresResult(exposures, written, out, out is not None and _write(out, written))


def _exposure(lineage: Lineage, resource: str, item: Audience | Sync, kind: str, said: str) -> dict[str, Any]:
    """One exposure, in the order in which dbt's documentation lists its keys."""
    manifest, project = lineage.dbt.manifest, lineage.project
    name = re.sub(r"\W+", "_", f"{project.name}_{resource}".lower(), flags=re.ASCII)
    config = {"tags": list(dict.fromkeys(["cdp", *(_inert(tag) for tag in item.tags)])), "meta": {"cdp": resource}}
    return {
        "name": name,
        "label": _inert(item.title or f"{resource.replace(':', ' ')} ({project.name})"),
        "type": kind,
        "description": _inert(item.description or said),
        "owner": _owner(item.owner, project.name),
        "depends_on": [_ref(model, manifest) for model in lineage.models_of(resource)],
        **({"config": config} if _at_least(manifest.dbt_version, (1, 10)) else config),
    }


def _of_audience(audience: Audience) -> str:
    return f"Members of {audience.of.entity} that cdp finds."


def _of_sync(sync: Sync) -> str:
    return f"Rows that cdp keeps equal at the destination {sync.to.destination}."


def _owner(owner: str | None, project: str) -> dict[str, str]:
    """dbt wants a name or an address of everybody."""
    said = _inert(owner) if owner else f"cdp project {_inert(project)}"
    address = re.search(r"[^\s<>]+@[^\s<>]+", said)
    if address is None:
        return {"name": said}
    name = said.replace(address[0], "").strip(" <>")
    return {"name": name or address[0], "email": address[0]}


def _ref(model: DbtModel, manifest: Manifest) -> str:
    """How dbt calls a model: with its package where that is another one, with its version where it has any."""
    parts = [] if model.package == manifest.project else [model.package]
    names = ", ".join(f"'{part}'" for part in [*parts, model.name])
    if model.version is None:
        return f"ref({names})"
    version = model.version if model.version.isdecimal() else f"'{model.version}'"
    return f"ref({names}, v={version})"


def _inert(said: str) -> str:
    """dbt renders the texts of its YAML with Jinja; ours are no templates."""
    return re.sub(r"\{(?=[{%#])", "{ ", said)


def _at_least(version: str, wanted: tuple[int, int]) -> bool:
    """Whether a version of dbt is not older; one that cannot be read is taken for a new one."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is None or (int(found[1]), int(found[2])) >= wanted


def _write(path: Path, content: str) -> bool:
    """Whether the file is another one now; raises ProjectError CDP183 where it was not made by us."""
    try:
        there = path.read_text(encoding="utf-8") if path.exists() else None
    except UnicodeDecodeError:
        there = ""
    if there is not None and not there.startswith(HEAD.partition(":")[0]):
        said = f"{path} is in the way: it was not made by `cdp dbt exposures`"
        raise ProjectError.of("CDP183", said, hint="name another file, or move that one away")
    if there == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_text(content, encoding="utf-8")
    beside.replace(path)
    return True
