"""What identity resolution is told: identifiers, where records stand, who is always linked. Trees and names, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlglot import exp

Normal = Literal["none", "email", "phone", "lower", "digits"]
Pick = Literal["first", "latest", "earliest", "most_frequent", "longest", "min", "max", "any", "all"]


@dataclass(frozen=True)
class Identifier:
    """A type of identifier; `normalize` is one of the names or a canonical tree over the column `value`.

    `limit`: how many values one profile may hold by joining (None: any number). `joins` false: counted for limits,
    joins nobody. `block`: values that are set aside, exact or `/regex/` (RE2, partial match on the normalised value).
    """

    name: str
    limit: int | None = None
    joins: bool = True
    normalize: Normal | exp.Expr = "none"
    region: str | None = None
    gmail_dots: bool = False
    gmail_plus: bool = False
    block: tuple[str, ...] = ()


@dataclass(frozen=True)
class Records:
    """The records of one source: `relation` is a canonical SELECT of `row_key` text, `row_at` timestamp or NULL, and
    `i0` … `in`: raw identifier values as text, whose types `slots` names, in order of strength within the row."""

    source: str
    order: int
    relation: exp.Expr
    slots: tuple[str, ...]


@dataclass(frozen=True)
class Link:
    """`always_link`: a canonical SELECT of left_type, left_value, right_type, right_value (raw text)."""

    relation: exp.Expr


@dataclass(frozen=True)
class IdentitySpec:
    """All that resolves one entity. `max_changed`: the share of former ids that a run may merge, split or retire
    where there are more than `max_changed_floor` of them; `forced` lets it pass."""

    project: str
    entity: str
    identifiers: tuple[Identifier, ...]  # strongest first
    records: tuple[Records, ...]
    always: tuple[Link, ...] = ()
    schema: str = "cdp"
    state_schema: str = "cdp_state"
    max_changed: float = 0.20
    max_changed_floor: int = 1000
    forced: bool = False

    def type_of(self, name: str) -> int:
        """The strength of an identifier type: 0 is the strongest."""
        return [identifier.name for identifier in self.identifiers].index(name)

    def scratch(self, name: str) -> str:
        """A scratch table of this entity."""
        return f"{self.schema}.tmp_{self.entity}_{name}"

    @property
    def ids(self) -> str:
        """The master of ids."""
        return f"{self.state_schema}.{self.entity}_ids"

    @property
    def changes(self) -> str:
        """The master of changes."""
        return f"{self.state_schema}.{self.entity}_changes"

    @property
    def width(self) -> int:
        """The number of identifier columns of the widest source."""
        return max(len(records.slots) for records in self.records)


@dataclass(frozen=True)
class Attribute:
    """One field of the golden record. Each of `froms`, best source first, is a canonical SELECT of entity_id, row_at
    (or NULL), row_key and value, of the type that `type` names (text int decimal float bool date timestamp)."""

    name: str
    pick: Pick
    type: str
    froms: tuple[exp.Expr, ...]
