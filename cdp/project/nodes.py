"""What can be named, as data: nodes (entities and sources that stand for themselves), hops between their rows, values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from cdp.project.model import Entity, Ids, Source

SEGMENT = {
    "message_id": "text", "type": "text", "event": "text", "timestamp": "timestamp", "received_at": "timestamp",
    "user_id": "text", "anonymous_id": "text", "properties": "json", "traits": "json", "context": "json",
}  # fmt: skip


@dataclass(frozen=True)
class JoinKey:
    """A column that rows are joined by: the id of an entity, the id that a role leads to, or a user's column."""

    kind: Literal["id", "text", "role", "column"]  # text: the id as a user's column names it
    name: str


@dataclass(frozen=True)
class Hop:
    """One step from the rows of `origin` to the rows of `to`: pairs of (own key, their key)."""

    name: str
    origin: str
    to: str
    many: bool
    keys: tuple[tuple[JoinKey, JoinKey], ...]


@dataclass(frozen=True)
class ColumnRef:
    """A value of one row. `property`: a bare name of a Segment row; `keys`: what follows into JSON."""

    kind: Literal["id", "attribute", "trait", "column", "property"]
    name: str
    type: str | None
    keys: tuple[str, ...] = ()
    pii: bool = False


@dataclass(frozen=True)
class Place:
    """Where a path ends: the hops to a node, and the column there (None: its rows)."""

    hops: tuple[Hop, ...]
    node: str
    column: ColumnRef | None


class PathError(Exception):
    """A path that leads nowhere; `noted`: it would, were something else not broken, which has been told already."""

    def __init__(self, message: str, hint: str | None = None, code: str = "CDP112", *, noted: bool = False) -> None:
        super().__init__(message)
        self.message, self.hint, self.code, self.noted = message, hint, code, noted


@dataclass
class Node:
    """An entity or a source that stands for itself (a source that a keyed entity takes over is that entity)."""

    name: str
    entity: Entity | None
    source: Source | None
    columns: dict[str, str | None] = field(default_factory=dict)
    complete: bool = False  # `columns` is all there is
    attributes: dict[str, str | None] = field(default_factory=dict)
    traits: dict[str, Any] = field(default_factory=dict)
    hops: dict[str, tuple[Hop, ...]] = field(default_factory=dict)
    ambiguous: set[str] = field(default_factory=set)
    aliases: dict[str, list[str]] = field(default_factory=dict)
    roles: dict[str, tuple[str, Any]] = field(default_factory=dict)  # role -> (entity, its ids)
    ids: Ids = field(default_factory=dict)

    @property
    def resolved(self) -> bool:
        """Made by an identity graph."""
        return self.entity is not None and self.entity.identity is not None

    @property
    def segment(self) -> bool:
        """Its rows have Segment's shape."""
        return self.source is not None and self.source.spec == "segment"

    @property
    def time(self) -> str | None:
        """The column that says when a row became true."""
        if self.source is None:
            return None
        return self.source.time or ("timestamp" if self.segment else None)

    @property
    def event(self) -> str | None:
        """The column that names a row's event."""
        if self.source is None:
            return None
        return self.source.event or ("event" if self.segment else None)

    @property
    def stream(self) -> bool:
        """Its rows are events."""
        return self.event is not None

    @property
    def key(self) -> list[str]:
        """The columns that tell its rows apart. Without any, no relation can lead to them."""
        if self.entity is not None and self.entity.key:
            return self.entity.key
        if self.source is not None and self.source.key:
            return self.source.key
        return ["message_id"] if self.segment else []

    def one_row(self, keys: list[JoinKey]) -> bool:
        """Whether these keys lead to one row at most."""
        named = {snake(key.name) for key in keys if key.kind == "column"}
        return any(key.kind == "id" for key in keys) or (bool(self.key) and {snake(name) for name in self.key} <= named)

    def names(self) -> list[str]:
        """Everything that may be named here, for suggestions."""
        own = [*self.attributes, *self.traits, *self.columns, *self.hops, *self.aliases]
        return list(dict.fromkeys([f"{self.entity.name}_id", *own] if self.entity else own))

    def spelling(self, name: str) -> str | None:
        """The catalogue's spelling of a column, whatever case it was named in."""
        if name in self.columns:
            return name
        same = [column for column in self.columns if column.lower() == name.lower()]
        return same[0] if len(same) == 1 else None


def snake(name: str) -> str:
    """camelCase as snake_case."""
    return (
        "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_") if not name.isupper() else name.lower()
    )
