"""What a user may write of syncs: where rows come from, where they go, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from cdp.project.fields import ConditionField, DurationField, Key, Names, ShareField
from cdp.project.part import NotYet, Part, Resource, Text


class From(Part):
    """Where the rows of a sync come from."""

    audience: str | None = None
    entity: str | None = None
    source: str | None = None
    query: str | dict[str, str] | None = None
    key: Key | None = None
    where: ConditionField | None = None
    since: DurationField | None = None
    anonymous: bool = False
    arm: NotYet = None
    journey: NotYet = None

    @model_validator(mode="after")
    def _one_origin(self) -> From:
        given = [name for name in ("audience", "entity", "source", "query") if getattr(self, name) is not None]
        if len(given) != 1:
            raise self.lacks("needs one of `audience`, `entity`, `source` and `query`")
        if self.query is not None and not self.key:
            raise ValueError("is a query and lacks its `key`")
        return self


class To(Part):
    """The destination of a sync, as the profile names it."""

    destination: str
    object: str | None = None
    list_: Text | None = Field(default=None, alias="list")


class When(Part):
    """One branch of a case."""

    when: ConditionField
    then: Any


Nulls = Literal["omit", "clear", "send"]


class FieldMap(Part):
    """What fills a field of the destination."""

    column: str | None = None
    constant: Any = None
    template: str | None = None
    case: Annotated[list[When], Field(min_length=1)] | None = None
    else_: Any = Field(default=None, alias="else")
    object_: dict[str, FieldSpec] | None = Field(default=None, alias="object")
    round_: Annotated[int, Field(ge=0, le=9)] | None = Field(default=None, alias="round")
    nulls: Nulls | None = None
    sql: NotYet = None
    rows: NotYet = None
    lookup: NotYet = None
    only_if_empty: NotYet = None
    fields: NotYet = None
    order: NotYet = None
    limit: NotYet = None
    all_: str | None = Field(default=None, alias="all")  # in `match` only: every identifier of a type

    @model_validator(mode="after")
    def _one_kind(self) -> FieldMap:
        given = [
            name
            for name, here in (
                ("column", self.column is not None),
                ("constant", "constant" in self.model_fields_set),
                ("template", self.template is not None),
                ("case", self.case is not None),
                ("object", self.object_ is not None),
                ("all", self.all_ is not None),
            )
            if here
        ]
        if len(given) > 1:
            raise ValueError(f"has both `{given[0]}` and `{given[1]}`")
        if not given:
            raise self.lacks("needs one of column, constant, template, case and object")
        return self


def _field(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


FieldSpec = Annotated[FieldMap, BeforeValidator(_field, json_schema_input_type=str | FieldMap)]
FieldMap.model_rebuild()


class Diff(Part):
    """What counts as a change."""

    ignore: Names = []
    tolerance: dict[str, Annotated[float, Field(ge=0)]] = {}


class Guard(Part):
    """Brakes; shares as `20%`."""

    max_removed: ShareField | None = None
    max_changed: ShareField | None = None
    max_rejected: ShareField | None = None
    max_invalid: ShareField | None = None
    shrunk: ShareField | None = None
    floor: Annotated[int, Field(ge=0)] | None = None
    empty: Literal["stop", "allow"] | None = None
    first_run: Literal["send", "adopt", "stop"] | None = None
    max_age: DurationField | None = None


class Retry(Part):
    """How long a refused row is tried again."""

    give_up_after: DurationField | None = None


MODES = ("mirror", "upsert", "append")
LATER_MODES = ("update", "insert", "add", "remove", "delete", "replace")


class Sync(Resource):
    """Rows of the warehouse, kept equal at a destination."""

    from_: From = Field(alias="from")
    to: To
    mode: str = "mirror"
    on_leave: Literal["remove", "clear", "delete", "ignore"] | None = None
    match: dict[str, FieldSpec] = {}
    fields: dict[str, FieldSpec] = {}
    nulls: Nulls = "omit"
    after: Names = []
    prefer: Names = []
    diff: Diff = Diff()
    guard: Guard = Guard()
    retry: Retry = Retry()
    consent: NotYet = None
    alert: NotYet = None
    delivery: NotYet = None
    for_each: NotYet = None
