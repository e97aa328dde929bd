"""What profiles.yml may say of any warehouse; each adapter's file adds the keys of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from cdp.warehouse.base import Warehouse
from cdp.warehouse.environment import FromEnvironment
from cdp.warehouse.facts import Facts


def _number(value: object) -> object:
    """Environment variables are text; a number in plain YAML must be one."""
    return int(value) if isinstance(value, FromEnvironment) and value.strip().isdecimal() else value


def _truth(value: object) -> object:
    return value.lower() == "true" if isinstance(value, FromEnvironment) and value.lower() in _TRUTH else value


_TRUTH = ("true", "false")
Number = Annotated[int, BeforeValidator(_number)]
Truth = Annotated[bool, BeforeValidator(_truth)]


def _plain_schema(value: object) -> object:
    """Schema names go into every statement unquoted, so they are plain; case does not count."""
    if isinstance(value, str):
        name = value.lower()
        if not (name.isascii() and name.isidentifier() and len(name) <= 40):
            raise ValueError(f"must be a plain name of letters, digits and _, not `{value[:40]}`")
        return name
    return value


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class Settings(Strict):
    """What every warehouse has; an adapter's own model adds `type` and its keys.

    Values are plain or from the environment (text): numbers are `Number`, truths `Truth`.
    """

    facts: ClassVar[Facts]
    schema_: Annotated[str, BeforeValidator(_plain_schema)] = Field("cdp", alias="schema")
    threads: Number = 4  # statements of a build that may run at once, where the engine can
    state_schema: Annotated[str, BeforeValidator(_plain_schema)] = "cdp_state"

    @model_validator(mode="after")
    def _apart(self) -> Settings:
        if self.schema_ == self.state_schema:
            raise ValueError("needs two schemas: `schema` may be dropped and rebuilt, `state_schema` never")
        return self

    def connect(self, project_dir: Path) -> Warehouse:
        """The warehouse; the connection itself is made at the first statement."""
        raise NotImplementedError
