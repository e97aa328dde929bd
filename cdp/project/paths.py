"""Paths: from a node along relations to a column, and into JSON."""

from __future__ import annotations

from cdp.errors import suggestion
from cdp.project.load import Project
from cdp.project.nodes import SEGMENT, ColumnRef, Hop, Node, PathError, Place, snake


class Paths:
    """Follows paths over the nodes of a project; `lost` are relations and aliases that lead nowhere, by node."""

    project: Project
    nodes: dict[str, Node]
    taken: dict[str, str]
    lost: set[tuple[str, str]]

    def resolve(self, node_name: str, path: str) -> Place:
        """Where a path leads from the rows of a node; raises PathError."""
        node, hops, names = self.nodes[node_name], (), path.split(".")
        hops_so_far: tuple[Hop, ...] = hops
        inside: list[tuple[str, int]] = []  # aliases that are being followed, and how many names stand behind each
        while names:
            name = names[0]
            if name in node.ambiguous:
                raise PathError(f"two ways lead from {node.name} to `{name}`", "name one of them in `relations:`")
            if name in node.hops:
                found = node.hops[name]
            elif (node.name, name) in self.lost:
                raise PathError(f"`{name}` of {node.name} leads nowhere", noted=True)
            elif name in node.aliases:
                alias = f"{node.name}.{name}"
                inside = [(other, behind) for other, behind in inside if behind < len(names)]
                cycle = [other for other, _ in inside]
                if alias in cycle:
                    raise PathError(
                        f"a cycle of aliases: {' ► '.join([*cycle[cycle.index(alias) :], alias])}", code="CDP114"
                    )
                inside.append((alias, len(names) - 1))
                names[:1] = node.aliases[name]
                continue
            else:
                break
            hops_so_far += found
            node = self.nodes[found[-1].to]
            names = names[1:]
        if not names:
            return Place(hops_so_far, node.name, None)
        return Place(hops_so_far, node.name, self.column(node, names))

    def column(self, node: Node, names: list[str]) -> ColumnRef:
        """The value that `names` (a column, then JSON keys) stands for in a row of `node`; raises PathError."""
        name, keys = names[0], tuple(names[1:])
        whole = ".".join(names)
        if node.entity is not None:
            if name == f"{node.entity.name}_id" and not keys:
                return ColumnRef("id", node.entity.name, "text")
            if name in node.attributes:
                rule = node.entity.attributes.get(name)
                return ColumnRef("attribute", name, node.attributes[name], keys, bool(rule and rule.pii))
            if name in node.traits:
                return ColumnRef("trait", name, None, keys, bool(node.traits[name].pii))
        if node.segment:
            return self._segment_column(node, names)
        if node.source is not None:
            spelled = node.spelling(whole)
            if spelled is not None:
                name, keys = spelled, ()
            told = node.spelling(name)
            if told is not None or not node.complete:
                kind = node.columns.get(told or name)
                if keys and kind not in (None, "json", "list"):
                    raise PathError(f"`{told}` of {node.name} is {kind} and holds no `{keys[0]}`")
                info = node.source.told(told or name)[1]
                return ColumnRef("column", told or name, kind, keys, bool(info and info.pii))
        hint = suggestion(name, node.names(), f"{node.name} has")
        raise PathError(f"{node.name} has no `{name}`", hint, noted=self._is_broken(node, name))

    def _is_broken(self, node: Node, name: str) -> bool:
        """Whether a name is missing only because what would bring it could not be read."""
        broken = self.project.broken
        if node.entity is not None and node.entity.from_ is not None and node.source is None:
            return True
        other = self.nodes.get(name)
        if other is not None and other.entity is not None and other.entity.from_ is not None and other.source is None:
            return True
        names = (("source", name), ("entity", name), ("relation", name), ("trait", f"{node.name}.{name}"))
        return any(item in broken for item in names)

    def _segment_column(self, node: Node, names: list[str]) -> ColumnRef:
        if names[0] != "row":
            return ColumnRef("property", names[0], "json", tuple(names[1:]))
        if len(names) < 2:
            raise PathError("`row` needs the name of an envelope field", f"one of {', '.join(SEGMENT)}")
        spelled = self.envelope(node, names[1])
        if spelled is None:
            raise PathError(f"a Segment row has no `{names[1]}`", suggestion(names[1], list(node.columns), "it has"))
        return ColumnRef("column", spelled, node.columns[spelled], tuple(names[2:]))

    def envelope(self, node: Node, name: str) -> str | None:
        """The catalogue's spelling of an envelope field of a Segment row (camelCase is accepted)."""
        return next((column for column in node.columns if snake(column) == snake(name)), None)
