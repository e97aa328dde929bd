"""What a `destination.yml` may say: facts about an API, never logic.

Every key is described in docs/adding-a-destination.md (a test holds it complete). Unknown keys are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from cdp.destination.outcome import Operation

Then = Literal["ok", "refused", "retry", "throttle", "stop", "split", "too_large", "refresh_auth", "unknown"]
Verdict = Literal["accepted", "refused", "retry", "unknown"]
Form = Literal["native", "text", "refuse"]
Locator = Literal["positional", "index_field", "key_field", "id_list", "none"]

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(B|KB|MB|GB|KiB|MiB|GiB)?\Z")
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def size(value: object) -> int:
    """Bytes from 500, "32KB" (1,000 each: the careful reading of a limit) or "4MiB" (1,024)."""
    plain = isinstance(value, int | float | str) and not isinstance(value, bool)
    found = _SIZE.match(str(value)) if plain else None
    if not found:
        raise ValueError("a size such as 500KB or 4MiB is expected")
    return int(float(found[1]) * _UNITS[found[2] or "B"])


def duration(value: object) -> float:
    """Seconds from 10, "10s", "500ms", "1m", "1h" or "1d"."""
    plain = isinstance(value, int | float | str) and not isinstance(value, bool)
    found = _DURATION.match(str(value)) if plain else None
    if not found or float(found[1]) <= 0:
        raise ValueError("a duration such as 10s, 1m or 1h is expected")
    return float(found[1]) * _SECONDS[found[2] or "s"]


def share(value: object) -> float:
    """A part of one from "50%" or 0.5."""
    text = str(value).removesuffix("%")
    try:
        part = float(text) / (100 if str(value).endswith("%") else 1)
    except ValueError:
        part = 0.0
    if isinstance(value, bool) or not 0 < part <= 1:
        raise ValueError("a share such as 50% is expected, above 0 and at most 100%")
    return part


Size = Annotated[int, BeforeValidator(size)]
Seconds = Annotated[float, BeforeValidator(duration)]


class Part(BaseModel):
    """A piece of a description: plain data, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Docs(Part):
    """Which version of the API this describes, and when somebody last compared it with the documents."""

    version: str
    end_of_life: str | None = None
    checked: str
    url: str | None = None
    unchecked: list[str] = Field(default_factory=list)  # facts that nobody has verified


class NoAuth(Part):
    """No login."""

    kind: Literal["none"] = "none"


class BasicAuth(Part):
    """A user and a password."""

    kind: Literal["basic"]
    username: str
    password: str = ""


class BearerAuth(Part):
    """A token in the Authorization header."""

    kind: Literal["bearer"]
    token: str


class ApiKeyAuth(Part):
    """A key in a header or in the query."""

    kind: Literal["api_key"]
    place: Literal["header", "query"] = Field(alias="in")
    name: str
    value: str
    prefix: str = ""


Auth = Annotated[NoAuth | BasicAuth | BearerAuth | ApiKeyAuth, Field(discriminator="kind")]


class Setting(Part):
    """One setting of the profile's entry. `choices` maps what the user writes to what templates see."""

    type: Literal["text", "int", "bool", "choice"] = "text"
    required: bool = False
    secret: bool = False
    default: str | int | bool | None = None
    choices: dict[str, str] | list[str] = Field(default_factory=list)
    about: str | None = None

    @model_validator(mode="after")
    def _choices_fit(self) -> Setting:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("`choices` belong to type: choice, and it needs them")
        return self


class Window(Part):
    """At most so many requests in any stretch of so many seconds."""

    requests: int = Field(gt=0)
    per: Seconds


class BatchLimits(Part):
    """How many rows travel in one request."""

    items: int = Field(default=1, gt=0)
    bytes: Size | None = None
    item_bytes: Size | None = None
    unique_by: str | None = None  # a match id that may stand only once in a request


class IdempotencyKey(Part):
    """Where the API looks for a key that makes a second try harmless: a header, or a field of each row."""

    header: str | None = None
    in_row: bool = False

    @model_validator(mode="after")
    def _one(self) -> IdempotencyKey:
        if (self.header is None) == (not self.in_row):
            raise ValueError("either `header` or `in_row: true`")
        return self


class Endpoint(Part):
    """One operation: a request, and how rows are put in it."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    path: str = ""
    query: dict[str, str | int | bool] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    encoding: Literal["json", "ndjson"] = "json"
    batch: BatchLimits = BatchLimits()
    row: Any = None
    body: Any = None
    idempotency_key: IdempotencyKey | None = None

    @field_validator("path")
    @classmethod
    def _begins_with_a_slash(cls, value: str) -> str:
        if value and not value.startswith("/"):
            raise ValueError("a path begins with `/`; the host stands in base_url")
        if "?" in value or "#" in value:
            raise ValueError("a path without `?` and `#`; the query has its own key")
        return value


class Check(Part):
    """A test of one value picked from an answer: exactly one test."""

    path: str = ""
    exists: bool | None = None
    empty: bool | None = None
    equals: Any = None
    not_equals: Any = None
    one_of: list[Any] | None = Field(default=None, alias="in")
    none_of: list[Any] | None = Field(default=None, alias="not_in")
    contains: str | None = None
    gt: float | int | None = None
    lt: float | int | None = None

    @model_validator(mode="after")
    def _one_test(self) -> Check:
        if len(self.model_fields_set - {"path"}) != 1:
            tests = "exists, empty, equals, not_equals, in, not_in, contains, gt or lt"
            raise ValueError(f"exactly one test: {tests}")
        return self

    @property
    def test(self) -> str:
        """The name of its test."""
        return next(iter(self.model_fields_set - {"path"}))


Checks = Check | list[Check]


class RowsRule(Part):
    """Where an answer says what became of single rows, and how to find which row is meant."""

    locator: Locator
    path: str = ""
    key: str | None = None
    optional: bool = False  # `path` may be missing: then it names no row
    index_from: Literal[0, 1] = 0
    row: str | None = None
    accepted: Checks | None = None
    retry: Checks | None = None
    unknown: Checks | None = None
    then: Verdict = "refused"
    others: Verdict = "accepted"
    code: str | None = None
    reason: str | None = None
    remote_id: str | None = None

    @model_validator(mode="after")
    def _fits_its_locator(self) -> RowsRule:
        if self.locator == "positional" and self.accepted is None:
            raise ValueError("`positional` needs `accepted`: the test by which an entry counts as in")
        if self.locator in ("index_field", "key_field") and self.key is None:
            raise ValueError(f"`{self.locator}` needs `key`: where an entry names its row")
        if self.locator == "id_list" and self.key is not None:
            raise ValueError("the entries of an `id_list` are the ids themselves: no `key`")
        return self


def _status(value: object) -> object:
    """A status, a class of statuses such as 4xx, or a list of them; always a list afterwards."""
    wanted = value if isinstance(value, list) else [value]
    for one in wanted:
        number = isinstance(one, int) and not isinstance(one, bool) and 100 <= one <= 599
        if not number and not (isinstance(one, str) and re.fullmatch("[1-5]xx", one)):
            raise ValueError("a status such as 207, a class such as 4xx, or a list of them is expected")
    return list(wanted)


Statuses = Annotated[list[int | str], BeforeValidator(_status)]


class AnswerRule(Part):
    """One rule; the first that fits an answer decides."""

    status: Statuses | None = None
    operations: list[Operation] | None = None
    when: Checks | None = None
    then: Then = "ok"
    rows: RowsRule | list[RowsRule] | None = None
    after: str | list[str] | None = None
    code: str | None = None
    reason: str | None = None
    applied: Literal["no", "maybe"] | None = None

    @model_validator(mode="after")
    def _one_verdict(self) -> AnswerRule:
        if self.rows is not None and self.then != "ok":
            raise ValueError("`rows` judge row by row: no `then` beside them (see `rows.then`, `rows.others`)")
        return self

    def fits_status(self, status: int) -> bool:
        """Whether the rule is about this status."""
        if self.status is None:
            return True
        return status in self.status or f"{status // 100}xx" in self.status


class Types(Part):
    """How values travel that an API does not take as they are."""

    nulls: Literal["native", "empty_text", "refuse"] = "native"
    booleans: Form = "native"
    numbers: Form = "native"
    lists: Form = "native"
    objects: Form = "native"


class Limits(Part):
    """What the API takes at the most, of one row."""

    fields: int | None = None
    name_bytes: int | None = None
    text_bytes: int | None = None
    nul: Literal["allow", "refuse"] = "allow"  # the character U+0000


class Identifier(Part):
    """One way in which the API knows a record."""

    bytes: int | None = None
    about: str | None = None


class ListFacts(Part):
    """What `list:` of a sync means here."""

    about: str
    pattern: str | None = None
    needs: str | None = None  # the match id that membership goes by, a template such as {{ config.id_type }}


class Description(Part):
    """One kind of destination."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    title: str = ""
    kind: Literal["http", "file"] = "http"
    docs: Docs | None = None
    base_url: str = ""
    account: str | None = None
    auth: Auth = NoAuth()
    headers: dict[str, str] = Field(default_factory=dict)
    config: dict[str, Setting] = Field(default_factory=dict)
    from_profile: list[str] = Field(default_factory=list)
    rate: list[Window] = Field(default_factory=list)
    concurrency: int = Field(default=16, gt=0, le=256)
    timeout: Seconds = 60.0
    semantics: Literal["set", "append"] = "set"
    changed_only: bool = False
    adds_first: bool = False
    objects: list[str] | None = None
    membership: ListFacts | None = Field(default=None, alias="list")
    identifiers: dict[str, Identifier] | None = None
    match: Literal["one", "any"] = "any"
    types: Types = Types()
    limits: Limits = Limits()
    operations: dict[Operation, Endpoint] = Field(default_factory=dict)
    answers: list[AnswerRule] = Field(default_factory=list)
    request_id: str = "x-request-id"

    @field_validator("from_profile")
    @classmethod
    def _are_keys_of_ours(cls, value: list[str]) -> list[str]:
        known = {info.alias or name for name, info in cls.model_fields.items()}
        wrong = [key for key in value if key not in known]
        if wrong:
            raise ValueError(f"`{wrong[0]}` is no key of a destination.yml")
        return value


def keys(model: type[BaseModel] = Description, above: str = "") -> Iterator[str]:
    """Every key of a destination.yml as a path (`operations.*.batch.items`), for the documentation's test."""
    for name, info in model.model_fields.items():
        path = f"{above}{info.alias or name}"
        yield path
        for inner in _models(info.annotation):
            many = "*." if "dict[" in str(info.annotation) else ""
            yield from (key for key in keys(inner, f"{path}.{many}"))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models(inner)
