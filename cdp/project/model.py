"""What a user may write. No SQL and no I/O here: shapes only; names are looked up later. Syncs: `sync_model`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from cdp.project.fields import ColumnType, ConditionField, DurationField, Key, Names, ShareField, WindowField
from cdp.project.part import NotYet, Part, Resource, Text
from cdp.project.sync_model import Sync

Ids = dict[str, dict[str, Names] | Names]  # entity -> {identifier type: expressions}, or the key's expressions


# ------------------------------------------------------------------------------------------------ cdp_project.yml
class DbtProject(Part):
    """The dbt project whose models are sources: its folder, and where in that its artifacts lie."""

    project_dir: str
    target_path: str = "target"


class ProjectFile(Part):
    """`cdp_project.yml`."""

    version: Literal[1]
    name: str
    profile: str | None = None
    timezone: str = "UTC"
    dialect: Literal["duckdb", "postgres", "snowflake", "bigquery", "spark", "redshift", "databricks"] = "duckdb"
    vars: dict[str, Any] = {}
    dbt: DbtProject | None = None
    ignore: Names = []
    retain: dict[Literal["log", "runs"], DurationField] = {}


# ------------------------------------------------------------------------------------------------ sources
class Column(Part):
    """What is known of a column beside its name."""

    type: ColumnType | None = None
    format: str | None = None
    pii: str | bool | None = None
    send: bool = True
    sql: str | None = None

    @model_validator(mode="after")
    def _readable(self) -> Column:
        if self.format is not None:
            if self.type not in ("date", "timestamp"):
                raise ValueError("has a `format`, which only a date or a timestamp takes")
            unknown = set(re.findall("%(.?)", self.format)) - set("YmdHMSyb%")
            if unknown:
                raise ValueError(f"has a `format` with %{min(unknown)}: there are %Y %y %m %b %d %H %M %S")
        return self


def _column(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class Read(Part):
    """How texts of files are read."""

    empty_as_null: bool = True
    null_values: list[Text] = []
    trim: bool = True
    text: bool = False


class Freshness(Part):
    """Ages after which a source warns and fails."""

    warn: DurationField | None = None
    error: DurationField | None = None


class Through(Part):
    """A link table between two kinds of rows."""

    source: str
    left: Annotated[dict[str, str], Field(min_length=1)]
    right: dict[str, Any]

    @model_validator(mode="after")
    def _leads_on(self) -> Through:
        ids = self.right.get("ids")
        if ids is not None and (not isinstance(ids, dict) or len(ids) != 1):
            raise ValueError("needs one entity under `right.ids`: {customer: …}")
        if ids is None and (not isinstance(self.right.get("to"), str) or len(self.right) < 2):
            raise ValueError("needs a right side: {its column: other's, to: node}, or {ids: …}")
        return self


class Relation(Part):
    """A way from one kind of row to another; declared once, on the many side."""

    to: str | None = None
    by: dict[str, str] | None = None
    ids: dict[str, Names] | Names | None = None
    through: Through | None = None
    inverse: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Relation:
        if self.through is not None:
            if self.to or self.by or self.ids:
                raise ValueError("takes `through` and `inverse` only, where it leads over a link table")
        elif not self.to or (not self.by) == (not self.ids):
            raise ValueError("needs `to` and one of `by` (own column: other's column) and `ids`, or `through`")
        return self


RelationOrAlias = Annotated[Relation | list[str], Field(union_mode="left_to_right")]


LATER_SPECS = ("segment_warehouse", "rudderstack_warehouse", "snowplow")


class Source(Resource):
    """A table of the warehouse, named once."""

    table: str | None = None
    query: str | dict[str, str] | None = None
    file: str | None = None
    dbt: str | None = None
    key: Key | None = None
    unique: bool = False
    time: str | None = None
    loaded_at: str | None = None
    timezone: str = "UTC"
    read: Read = Read()
    where: str | dict[str, str] | None = None
    columns: dict[str, Annotated[Column, BeforeValidator(_column, json_schema_input_type=ColumnType | Column)]] = {}
    only: bool = False
    ids: Ids = {}
    relations: dict[str, RelationOrAlias] = {}
    event: str | None = None
    spec: str | None = None
    schema_: NotYet = Field(default=None, alias="schema")
    freshness: Freshness | None = None
    sessionize: NotYet = None

    def told(self, name: str) -> tuple[str, Column | None]:
        """What `columns` says of a column, and its spelling there: a catalogue may spell it in other cases."""
        same = [key for key in self.columns if key.lower() == name.lower()]
        spelled = name if name in self.columns or len(same) != 1 else same[0]
        return spelled, self.columns.get(spelled)

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        given = [name for name in ("table", "query", "file", "dbt") if getattr(self, name) is not None]
        if len(given) != 1 and self.spec in (None, "segment"):
            raise self.lacks(
                "needs one of `table`, `query`, `file` and `dbt`"
                if not given
                else f"has both `{given[0]}` and `{given[1]}`"
            )
        return self


# ------------------------------------------------------------------------------------------------ entities
class Identifier(Part):
    """A kind of identifier and what it may do."""

    limit: Annotated[int, Field(ge=1)] | None = None
    joins: bool = True
    normalize: str = "none"  # email phone lower digits none, or an expression over `value`
    region: str | None = None
    gmail: bool = False
    block: list[Text] = []


class LinkTable(Part):
    """Pairs of identifiers in a table: left_type, left_value, right_type, right_value."""

    table: str


class Identity(Part):
    """How rows become entities."""

    identifiers: list[dict[str, Identifier]]
    anonymous: Literal["by_component", "by_time"] = "by_component"
    fuzzy: NotYet = None
    always_link: LinkTable | list[list[str]] | None = None
    never_link: NotYet = None
    max_size: NotYet = None
    max_changed: ShareField = "20%"  # of the ids: a share only

    @field_validator("identifiers")
    @classmethod
    def _one_name_each(cls, value: list[dict[str, Identifier]]) -> list[dict[str, Identifier]]:
        if not value:
            raise ValueError("needs at least one identifier")
        if any(len(item) != 1 for item in value):
            raise ValueError("is a list with one `name: {options}` each, strongest first")
        return value

    @field_validator("max_changed")
    @classmethod
    def _is_share(cls, value: str | int) -> str | int:
        if not isinstance(value, str):
            raise ValueError("must be a share, such as 20%")
        return value

    @property
    def by_name(self) -> dict[str, Identifier]:
        """The identifiers in their order, strongest first."""
        return {name: options for item in self.identifiers for name, options in item.items()}


class Attribute(Part):
    """A rule of the golden record."""

    from_: Names | None = Field(default=None, alias="from")
    pick: Literal["first", "latest", "earliest", "most_frequent", "longest", "min", "max", "any", "all"] = "latest"
    type: ColumnType | None = None
    pii: str | bool | None = None


class Entity(Resource):
    """Something the business knows: resolved by an identity graph, or keyed (its rows stand in a source)."""

    identity: Identity | None = None
    from_: str | None = Field(default=None, alias="from")
    key: Key | None = None
    known: ConditionField | None = None
    attributes: dict[str, Attribute] = {}
    ids: Ids = {}
    relations: dict[str, RelationOrAlias] = {}

    @model_validator(mode="after")
    def _resolved_or_keyed(self) -> Entity:
        if (self.identity is None) == (self.from_ is None):
            raise self.lacks("needs either `identity` (resolved) or `from` and `key` (keyed)")
        if self.from_ is not None and not self.key:
            raise ValueError("is keyed and lacks its `key`")
        return self


# ------------------------------------------------------------------------------------------------ traits
KINDS = (
    "count", "sum", "avg", "min", "max", "median", "distinct", "first", "last",
    "most_frequent", "least_frequent", "list", "exists", "formula",
)  # fmt: skip
LATER_KINDS = ("ntile", "rank", "query", "lookup")


class Trait(Resource):
    """A value per entity: one kind with its path, and its options."""

    count: str | None = None
    sum: str | None = None
    avg: str | None = None
    min: str | None = None
    max: str | None = None
    median: str | None = None
    distinct: str | None = None
    first: str | None = None
    last: str | None = None
    most_frequent: str | None = None
    least_frequent: str | None = None
    list_: str | None = Field(default=None, alias="list")
    exists: str | None = None
    formula: str | dict[str, str] | None = None
    ntile: NotYet = None
    rank: NotYet = None
    query: NotYet = None
    lookup: NotYet = None
    from_: NotYet = Field(default=None, alias="from")
    of: NotYet = None
    per: NotYet = None
    max_age: NotYet = None
    columns: NotYet = None
    where: ConditionField | None = None
    during: WindowField | None = None
    default: Any = None
    type: ColumnType | None = None
    pii: str | bool | None = None
    order: Literal["value", "recent"] = "value"
    limit: Annotated[int, Field(ge=1)] | None = None

    @property
    def kinds(self) -> list[str]:
        """The kinds given: one, where the trait is well formed."""
        return [kind for kind in KINDS if self._of(kind) is not None]

    @property
    def kind(self) -> str:
        """Its kind."""
        return self.kinds[0]

    @property
    def path(self) -> str:
        """The path its kind names (for a formula: its text)."""
        value = self._of(self.kind)
        return value if isinstance(value, str) else ""

    def _of(self, kind: str) -> Any:
        return self.list_ if kind == "list" else getattr(self, kind)


# ------------------------------------------------------------------------------------------------ audiences
class Limit(Part):
    """The first `top` members by `by` (`trait`, `trait desc`), ties by entity id."""

    top: Annotated[int, Field(ge=1)]
    by: Names = []
    per: NotYet = None


class Of(Part):
    """An entity, and whether profiles outside `known` are meant too."""

    entity: str
    anonymous: bool = False


def _of(value: Any) -> Any:
    return {"entity": value} if isinstance(value, str) else value


class Audience(Resource):
    """Members of an entity that satisfy a condition."""

    of: Annotated[Of, BeforeValidator(_of, json_schema_input_type=str | Of)]
    where: ConditionField | None = None
    limit: Limit | None = None
    priority: NotYet = None
    expect: NotYet = None
    for_each: NotYet = None


class Policy(Part):
    """What holds for every audience and sync of an entity."""

    exclude: Names = []
    consent: NotYet = None
    holdout: NotYet = None


LockType = Literal[
    "text", "int", "decimal", "float", "bool", "date", "timestamp", "timestamptz", "list", "json", "other",
]  # fmt: skip


class Lock(Part):
    """`sources.lock.yml`: the columns of every source as the catalogue has them."""

    version: Literal[1]
    sources: dict[str, dict[str, LockType]]


class Files(Part):
    """The top-level keys of any project file; used for the JSON Schema and for suggestions."""

    sources: dict[str, Source] = {}
    entities: dict[str, Entity] = {}
    traits: dict[str, dict[str, Trait]] = {}
    audiences: dict[str, Audience] = {}
    policies: dict[str, Policy] = {}
    syncs: dict[str, Sync] = {}
    experiments: NotYet = None
    plans: NotYet = None
    journeys: NotYet = None
    mappings: NotYet = None
    tests: NotYet = None
