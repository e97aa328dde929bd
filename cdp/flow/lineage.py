"""What is made of which dbt models: the resources of a project, down to the tables that dbt makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlglot import exp

from cdp.compile.lower import lower_project
from cdp.errors import ProjectError
from cdp.flow.loading import Loaded
from cdp.project.dbt import DbtModel
from cdp.project.dbt_sources import DbtUse
from cdp.project.reading import Reading
from cdp.project.schema import query_node


class Lineage:
    """Resources (`type:name`) and what they are made of, whatever is selected."""

    def __init__(self, loaded: Loaded) -> None:
        project = loaded.project
        self.project = project
        self.dbt = used(loaded)
        schema = loaded.target.warehouse.schema_
        self.lowered = lower_project(project, Reading(project.reading.lines), loaded.as_of, schema)
        self.below: dict[str, set[str]] = {name: set(used) for name, used in self.lowered.lowering.uses.items()}
        tables: dict[str, list[str]] = {}
        for name, model in self.dbt.models.items():
            tables.setdefault(_table(model), []).append(f"source:{name}")
        for node, parts in self.lowered.parts.items():
            source = self.lowered.schema.nodes[node].source
            if source is not None and source.query is not None:
                self._reads(f"source:{source.name}", parts.relation, tables)
        for name, sync in project.syncs.items():
            if sync.from_.query is not None:
                self.below.setdefault(f"sync:{name}", set()).add(f"source:{query_node(name)}")
        for entity, links in self.lowered.always.items():
            for link in links:
                self._reads(f"entity:{entity}", link.relation, tables)

    def _reads(self, resource: str, tree: exp.Expr, tables: Mapping[str, list[str]]) -> None:
        """Note the models whose tables a query of the user reads: by their names, for two sources may share one."""
        for table in tree.find_all(exp.Table):
            self.below.setdefault(resource, set()).update(tables.get(_name(part.name for part in table.parts), ()))

    def sources_of(self, resource: str) -> set[str]:
        """The sources that are dbt models, and that a resource is made of at any depth."""
        return {name for name in self.dbt.models if f"source:{name}" in self._reach({resource}, self.below)}

    def models_of(self, resource: str) -> list[DbtModel]:
        """The models behind a resource, each once, by name."""
        found = {self.dbt.models[name].id: self.dbt.models[name] for name in self.sources_of(resource)}
        return sorted(found.values(), key=lambda model: model.id)

    def made_of(self, sources: Iterable[str]) -> set[str]:
        """The resources that some sources are in, those sources included. An entity's table holds its traits, and
        nothing of an entity can be made without it: it counts as made of all of them."""
        above: dict[str, set[str]] = {}
        for name, below in self.below.items():
            for used in below:
                above.setdefault(used, set()).add(name)
        for entity, traits in self.project.traits.items():
            for trait in traits:
                above.setdefault(f"trait:{entity}.{trait}", set()).add(f"entity:{entity}")
        return self._reach({f"source:{name}" for name in sources}, above)

    def _reach(self, start: set[str], edges: Mapping[str, set[str]]) -> set[str]:
        found, pending = set(start), list(start)
        while pending:
            for other in edges.get(pending.pop(), ()):
                if other not in found:
                    found.add(other)
                    pending.append(other)
        return found


def used(loaded: Loaded) -> DbtUse:
    """The dbt project that is read; raises ProjectError CDP134 where no source is a model of it."""
    if loaded.project.dbt is None or not loaded.project.dbt.models:
        hint = "name a model: `dbt: model` in place of `table:`, and `dbt: {project_dir: …}` in cdp_project.yml"
        raise ProjectError.of("CDP134", "no source of this project is a dbt model", hint=hint)
    return loaded.project.dbt


def _table(model: DbtModel) -> str:
    return _name(name for name, _ in model.relation)


def _name(parts: Iterable[str]) -> str:
    return "\x00".join(part.lower() for part in parts)
