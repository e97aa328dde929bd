"""Whom the policies keep out: excluding audiences, and the to-one paths over which they are followed."""

from __future__ import annotations

from cdp.project import Project
from cdp.project.condition import audiences_in
from cdp.project.reading import Reading
from cdp.project.schema import Hop, Node, Schema


def ways_to_policies(
    project: Project, schema: Schema, node: Node, seen: frozenset[str] = frozenset()
) -> list[tuple[Hop, ...]]:
    """The to-one paths from a node's rows to entities that have a policy; none goes through a node twice."""
    seen |= {node.name}
    found: list[tuple[Hop, ...]] = []
    for hops in node.hops.values():
        other = hops[-1].to
        if any(hop.many for hop in hops) or other in seen:
            continue
        if other in project.policies:
            found.append(hops)
        found += [(*hops, *more) for more in ways_to_policies(project, schema, schema.nodes[other], seen)]
    return found


def excluding(project: Project, reading: Reading, entity: str) -> list[str]:
    """The audiences that an entity's policy excludes; one that is none of its audiences is noted."""
    policy = project.policies.get(entity)
    names = []
    for name in policy.exclude if policy else []:
        if name in project.audiences and project.audiences[name].of.entity == entity:
            names.append(name)
        elif ("audience", name) not in project.broken and policy is not None:
            of_entity = [key for key, item in project.audiences.items() if item.of.entity == entity]
            reading.unknown(
                "CDP112", f"`{name}` is no audience of {entity}", name, of_entity, "audiences", policy.at("exclude")
            )
    return names


def unfiltered(project: Project) -> set[str]:
    """The excluding audiences and those that they are built from: filtered, they would empty themselves."""
    pending = [name for policy in project.policies.values() for name in policy.exclude]
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in found and name in project.audiences:
            found.add(name)
            pending += audiences_in(project.audiences[name].where)
    return found
