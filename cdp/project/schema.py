"""What can be named: nodes (entities and sources), their columns, and the relations that lead from one to another.

Every relation, however it was declared, becomes equality of join keys between the rows of two nodes; a way over a link
table or an alias becomes several such hops.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdp.errors import Mark, did_you_mean
from cdp.project.load import Project
from cdp.project.model import Entity, Ids, Relation, Source
from cdp.project.nodes import SEGMENT, ColumnRef, Hop, JoinKey, Node, PathError, Place, snake
from cdp.project.part import Part
from cdp.project.paths import Paths
from cdp.project.reader import Map
from cdp.project.reading import Reading, key_mark

__all__ = ["SEGMENT", "ColumnRef", "Hop", "JoinKey", "Node", "PathError", "Place", "Schema", "query_node", "snake"]


def query_node(sync: str) -> str:
    """The node of the rows of a sync that reads a query."""
    return f"query_{sync}"


class Schema(Paths):
    """All nodes of a project. Mistakes in relations and ids are noted while it is built."""

    def __init__(self, project: Project, reading: Reading) -> None:
        self.project = project
        self.reading = reading
        self.nodes: dict[str, Node] = {}
        self.taken: dict[str, str] = {}  # source -> keyed entity
        self.lost: set[tuple[str, str]] = set()  # relations and aliases that lead nowhere, by node
        self._make_nodes()
        for node in self.nodes.values():
            self._relate(node)
        self._one_namespace()
        self._follow_aliases()

    # -------------------------------------------------------------------------------------------- nodes
    def _make_nodes(self) -> None:
        project = self.project
        for entity in project.entities.values():
            if entity.from_ is not None:
                if entity.from_ in project.sources:
                    if entity.from_ in self.taken:
                        self.reading.problem(
                            "CDP113",
                            f"source `{entity.from_}` is taken by `{self.taken[entity.from_]}` already",
                            entity.at("from"),
                        )
                    self.taken[entity.from_] = entity.name
                elif ("source", entity.from_) not in project.broken:
                    self.reading.unknown(
                        "CDP112",
                        f"there is no source `{entity.from_}`",
                        entity.from_,
                        project.sources,
                        "sources",
                        entity.at("from"),
                    )
        for name, source in project.sources.items():
            if name not in self.taken:
                self.nodes[name] = self._node(name, None, source)
        for name, entity in project.entities.items():
            if name in self.nodes:
                self.reading.problem(
                    "CDP109", f"`{name}` is both a source and an entity", entity.mark, length=len(name)
                )
            self.nodes[name] = self._node(name, entity, project.sources.get(entity.from_ or ""))
        for entity_name, traits in project.traits.items():
            if entity_name in self.nodes and self.nodes[entity_name].entity is not None:
                self.nodes[entity_name].traits = dict(traits)
            elif ("entity", entity_name) not in project.broken:
                self._no_entity("traits", entity_name, project.places.get(("traits", entity_name)))
                near = did_you_mean(entity_name, project.entities)
                if near is not None:  # so that nobody misses them
                    self.nodes[near].traits = {**traits, **self.nodes[near].traits}
        for sync in project.syncs.values():
            if sync.from_.query is not None:
                source = Source(query=sync.from_.query, key=sync.from_.key)
                source = source.model_copy(update={"name": query_node(sync.name)})
                source._origin = sync.from_.origin
                self.nodes[source.name] = self._node(source.name, None, source)

    def _node(self, name: str, entity: Entity | None, source: Source | None) -> Node:
        node = Node(name, entity, source)
        if source is not None:
            lock = self.project.lock.get(source.name)
            if source.spec == "segment":
                node.columns.update(SEGMENT)
            if lock is not None:
                if source.spec == "segment":
                    node.columns = {k: SEGMENT.get(snake(k), v) for k, v in lock.items()}
                else:
                    node.columns.update(lock)
            for column, told in source.columns.items():
                spelled = node.spelling(column) or column
                if lock is not None and spelled not in node.columns and told.sql is None:
                    self.reading.unknown(
                        "CDP112", f"{self.project.tells(source.name)} knows no column `{column}` of {source.name}", column, list(lock), "columns",
                        _within(source, "columns", column),
                    )  # fmt: skip
                node.columns[spelled] = told.type or node.columns.get(spelled)
            node.complete = lock is not None or source.only or source.spec == "segment"
            node.ids = dict(source.ids)
            if source.spec == "segment" and not node.ids:
                node.ids = self._segment_ids()
        if entity is not None:
            node.ids = {**node.ids, **entity.ids}
            if entity.identity is not None:
                for identifier in entity.identity.by_name:
                    node.attributes[identifier] = "text"
            for attribute, rule in entity.attributes.items():
                node.attributes[attribute] = "list" if rule.pick == "all" else rule.type
        return node

    def _segment_ids(self) -> Ids:
        """The ids of a Segment stream belong to the one entity that has identifiers of these names."""
        wanted = {"user_id", "anonymous_id"}
        fits = [
            name
            for name, entity in self.project.entities.items()
            if entity.identity is not None and wanted & set(entity.identity.by_name)
        ]
        if len(fits) != 1:
            return {}
        entity = self.project.entities[fits[0]]
        assert entity.identity is not None
        return {fits[0]: {name: [name] for name in entity.identity.by_name if name in wanted}}

    # -------------------------------------------------------------------------------------------- relations
    def _relate(self, node: Node) -> None:
        for entity_name in list(node.ids):
            holder = self._holder(node, entity_name)
            if not self._is_entity(entity_name, holder):
                ids = node.ids.pop(entity_name)
                near = did_you_mean(entity_name, self.project.entities)
                if near is None or near in node.ids:
                    continue
                entity_name, node.ids[near] = near, ids
            if node.entity is not None and node.entity.name == entity_name:
                continue
            if not self._fits(node, entity_name, node.ids[entity_name], holder):
                node.ids.pop(entity_name)
                continue
            key = (JoinKey("id", entity_name), JoinKey("id", entity_name))
            self._add(node, entity_name, (Hop(entity_name, node.name, entity_name, False, (key,)),), declared=False)
            self._add(
                self.nodes[entity_name],
                node.name,
                (Hop(node.name, entity_name, node.name, True, (key,)),),
                declared=False,
            )
        for holder_part in (node.source, node.entity):
            if holder_part is None:
                continue
            for name, relation in holder_part.relations.items():
                mark = _within(holder_part, "relations", name)
                if isinstance(relation, list):
                    node.aliases[name] = relation
                else:
                    self._declared(node, name, relation, mark)

    def _holder(self, node: Node, entity: str) -> Mark | None:
        for part in (node.source, node.entity):
            if part is not None and entity in part.ids:
                return _within(part, "ids", entity)
        return None

    def _is_entity(self, name: str, mark: Mark | None) -> bool:
        if name in self.nodes and self.nodes[name].entity is not None:
            return True
        if ("entity", name) not in self.project.broken:
            self._no_entity("ids", name, mark)
        return False

    def _no_entity(self, what: str, name: str, mark: Mark | None) -> None:
        self.reading.unknown(
            "CDP112", f"{what} of `{name}`, which is no entity", name, self.project.entities, "entities", mark
        )

    def _fits(self, node: Node, entity_name: str, ids: Any, mark: Mark | None) -> bool:
        """Whether ids are of the kind that the entity has; mistakes are noted, and single unknown identifiers left out."""
        target = self.nodes[entity_name].entity
        assert target is not None
        if target.identity is not None:
            if not isinstance(ids, dict):
                self.reading.problem(
                    "CDP113", f"ids of `{entity_name}` must name identifiers", mark,
                    f"such as {{{next(iter(target.identity.by_name))}: column}}",
                )  # fmt: skip
                return False
            for kind in list(ids):
                if kind not in target.identity.by_name:
                    self.reading.unknown(
                        "CDP112", f"{entity_name} has no identifier `{kind}`", kind, target.identity.by_name,
                        f"identifiers of {entity_name}", _id_mark(node, entity_name, kind) or mark,
                    )  # fmt: skip
                    ids.pop(kind)
        elif isinstance(ids, dict) or len(ids) != len(target.key or []):
            self.reading.problem(
                "CDP113", f"`{entity_name}` is keyed by {', '.join(target.key or [])}", mark,
                f"write {entity_name}: column (a list for a composite key)",
            )  # fmt: skip
            return False
        return True

    def _declared(self, node: Node, name: str, relation: Relation, mark: Mark | None) -> None:
        if relation.through is not None:
            self._through(node, name, relation, mark)
            return
        other = self._node_named(relation.to or "", mark)
        if other is None:
            self.lost.add((node.name, name))
            return
        if relation.by is not None:
            self._has_key(other, name, mark)
            keys = tuple(
                (self._key(node, own, mark), self._key(other, theirs, mark)) for own, theirs in relation.by.items()
            )
        else:
            if node.source is None:
                hint = f"relate entities by `ids:` of {node.name}, or by `by:`"
                self.reading.problem(
                    "CDP113",
                    f"`{name}` with `ids`, and {node.name} has no rows of its own",
                    mark,
                    hint,
                    length=len(name),
                )
                self.lost.add((node.name, name))
                return
            ids = self._role_ids(other, relation.ids, mark)
            if other.entity is None or not self._fits(node, other.name, ids, mark):
                self.lost.add((node.name, name))
                return
            node.roles[name] = (other.name, ids)
            keys = ((JoinKey("role", name), JoinKey("id", other.name)),)
        self._add(node, name, (Hop(name, node.name, other.name, False, keys),), declared=True)
        if relation.inverse:
            back = tuple((theirs, own) for own, theirs in keys)
            self._add(
                other, relation.inverse, (Hop(relation.inverse, other.name, node.name, True, back),), declared=True
            )

    def _role_ids(self, other: Node, ids: Any, mark: Mark | None) -> Any:
        if other.entity is None:
            self.reading.problem(
                "CDP113", f"`ids` leads to an entity, and `{other.name}` is a source", mark, "use `by:`"
            )
        elif isinstance(ids, dict) and list(ids) == [other.name]:
            return ids[other.name]
        return ids

    def _through(self, node: Node, name: str, relation: Relation, mark: Mark | None) -> None:
        through = relation.through
        assert through is not None
        link = self._node_named(through.source, mark)
        if link is None:
            return
        left = tuple((self._key(node, own, mark), self._key(link, its, mark)) for own, its in through.left.items())
        first = Hop(link.name, node.name, link.name, True, left)
        right = dict(through.right)
        if "ids" in right and isinstance(right["ids"], dict) and len(right["ids"]) == 1:
            to, ids = next(iter(right["ids"].items()))
            other = self._node_named(to, mark)
            role = f"{node.name}_{name}"[:40]
            link.roles[role] = (to, _listed(ids))
            pairs: tuple[tuple[JoinKey, JoinKey], ...] = ((JoinKey("role", role), JoinKey("id", to)),)
        else:
            other = self._node_named(str(right.pop("to", "")), mark)
            if other is None:
                return
            self._has_key(other, name, mark)
            pairs = tuple(
                (self._key(link, its, mark), self._key(other, str(theirs), mark)) for its, theirs in right.items()
            )
        if other is None or not pairs:
            self.reading.problem(
                "CDP113",
                f"relation `{name}` has no right side",
                mark,
                "right: {its column: other's, to: node} or {ids: …}",
            )
            return
        second = Hop(name, link.name, other.name, False, pairs)
        self._add(node, name, (first, second), declared=True)
        if relation.inverse:
            back = Hop(link.name, other.name, link.name, True, tuple((theirs, own) for own, theirs in pairs))
            home = Hop(relation.inverse, link.name, node.name, False, tuple((its, own) for own, its in left))
            self._add(other, relation.inverse, (back, home), declared=True)

    def _has_key(self, node: Node, relation: str, mark: Mark | None) -> None:
        if node.source is not None and not node.key:
            hint = f"its rows cannot be told apart: give {node.source.name} a `key:`"
            self.reading.problem(
                "CDP113", f"`{relation}` leads to `{node.name}`, which has no `key`", mark, hint, length=len(relation)
            )

    def _node_named(self, name: str, mark: Mark | None) -> Node | None:
        found = self.nodes.get(self.taken.get(name, name))
        if (
            found is None
            and ("source", name) not in self.project.broken
            and ("entity", name) not in self.project.broken
        ):
            self.reading.unknown(
                "CDP112", f"there is no source or entity `{name}`", name, list(self.nodes), "there are", mark
            )
        return found

    def _key(self, node: Node, name: str, mark: Mark | None) -> JoinKey:
        if node.entity is not None and name == f"{node.entity.name}_id":
            return JoinKey("text", node.entity.name)
        if node.source is not None:
            spelled = node.spelling(name)
            if spelled is None and node.complete:
                self.reading.unknown(
                    "CDP112", f"{node.name} has no column `{name}`", name, node.columns, f"columns of {node.name}", mark
                )
            return JoinKey("column", spelled or name)
        if node.resolved and name not in node.attributes:
            self.reading.unknown(
                "CDP112",
                f"{node.name} has no attribute `{name}`",
                name,
                node.attributes,
                f"attributes of {node.name}",
                mark,
            )
        return JoinKey("column", name)

    def _add(self, node: Node, name: str, hops: tuple[Hop, ...], *, declared: bool) -> None:
        there = node.hops.get(name)
        if there is not None and there != hops and not declared:
            node.ambiguous.add(name)
            return
        if declared:
            node.ambiguous.discard(name)
        node.hops[name] = hops

    def _one_namespace(self) -> None:
        for node in self.nodes.values():
            if node.entity is None:
                continue
            kinds: dict[str, str] = {f"{name}_id": "the id of an entity" for name in self.project.entities}
            for name in node.attributes:
                if name in kinds:
                    mark = self._attribute_mark(node.entity, name)
                    self.reading.problem(
                        "CDP109", f"`{name}` of {node.name} is {kinds[name]} already", mark, length=len(name)
                    )
                kinds[name] = "an attribute"
            for kind, names in (("a trait", node.traits), ("a relation", node.hops), ("an alias", node.aliases)):
                for name in names:
                    if name in kinds:
                        trait = node.traits.get(name)
                        self.reading.problem(
                            "CDP109", f"`{name}` of {node.name} is both {kinds[name]} and {kind}",
                            trait.mark if trait is not None else node.entity.mark, "one entity has one namespace", length=len(name),
                        )  # fmt: skip
                    kinds[name] = kind

    def _attribute_mark(self, entity: Entity, name: str) -> Mark | None:
        if name in entity.attributes:
            return _within(entity, "attributes", name)
        return entity.identity.by_name[name].at() if entity.identity is not None else None

    def _follow_aliases(self) -> None:
        """An alias that leads nowhere is told where it is declared, and not again wherever it is used."""
        for node in self.nodes.values():
            for name in list(node.aliases):
                try:
                    if not node.aliases[name]:
                        raise PathError(
                            f"the alias `{name}` of {node.name} names no path", "name: [relation, relation]", "CDP113"
                        )
                    self.resolve(node.name, name)
                except PathError as error:
                    holder = node.source if node.source is not None and name in node.source.relations else node.entity
                    if not error.noted and holder is not None:
                        mark = _within(holder, "relations", name)
                        self.reading.problem(error.code, error.message, mark, error.hint, length=len(name))
                    self.lost.add((node.name, name))


def _within(part: Part, key: str, name: str) -> Mark | None:
    """Where `name` stands in the map under `key`."""
    holder = part.origin.get(key) if part.origin is not None else None
    return key_mark(holder, name) if isinstance(holder, dict) else None


def _id_mark(node: Node, entity: str, kind: str) -> Mark | None:
    """Where an identifier stands in the ids of a source or an entity."""
    for part in (node.source, node.entity):
        if part is not None and entity in part.ids:
            given = part.origin.get("ids") if part.origin is not None else None
            return key_mark(given[entity], kind) if isinstance(given, Map) else None
    return None


def _listed(ids: Mapping[str, Any] | Any) -> Any:
    """ids in the form that the models make of them: every expression in a list."""
    if isinstance(ids, Mapping):
        return {kind: [value] if isinstance(value, str) else list(value) for kind, value in ids.items()}
    return [ids] if isinstance(ids, str) else list(ids)
