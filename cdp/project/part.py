"""The base of everything a user may write: strict, frozen, and able to say where it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationInfo, WrapValidator, model_validator

from cdp.errors import Mark
from cdp.project.reader import Map, near_key
from cdp.project.reading import Reading, key_mark, value_mark


class Later:
    """Marks a key that the language has and this version refuses."""


NotYet = Annotated[Any, Later()]


def _text_or_number(value: Any, handler: Callable[[Any], Any]) -> Any:
    """Identifiers such as `42` are often written without quotes; they are text all the same."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return handler(value)


Text = Annotated[str, WrapValidator(_text_or_number)]


class Part(BaseModel):
    """A map of the project language. Unknown keys are noted with a suggestion; keys for later are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    _origin: Map | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: Callable[[Any], Any], info: ValidationInfo) -> Any:
        if not isinstance(value, dict):
            return handler(value)
        reading = info.context if isinstance(info.context, Reading) else None
        if reading is None:
            return handler(value)
        kept = {key: item for key, item in value.items() if cls._allowed(key, value, reading)}
        part = handler(kept)
        if isinstance(value, Map):
            part._origin = value
        return part

    @classmethod
    def _allowed(cls, key: str, value: dict[str, Any], reading: Reading) -> bool:
        fields = {(field.alias or name): field for name, field in cls.model_fields.items()}
        if key not in fields:
            reading.problem(
                "CDP104", f"unknown key `{key}`", key_mark(value, key), near_key(key, list(fields)), length=len(key)
            )
            return False
        if any(isinstance(extra, Later) for extra in fields[key].metadata):
            reading.later(f"`{key}`", key_mark(value, key))
            return False
        return True

    def at(self, key: str | None = None) -> Mark | None:
        """Where this map stands, or the value under `key` (the map where that was left out)."""
        if self._origin is None:
            return None
        if key is not None and key in self._origin:
            return value_mark(self._origin, key)
        return self._origin.at

    @property
    def origin(self) -> Map | None:
        """The YAML it was read from."""
        return self._origin


class Resource(Part):
    """What every named resource takes."""

    name: str = Field(default="", exclude=True, json_schema_extra={"readOnly": True})
    title: str | None = None
    description: str | None = None
    owner: str | None = None
    tags: list[str] = []
    enabled: bool = True
    was: NotYet = None

    _key_mark: Mark | None = PrivateAttr(default=None)

    @property
    def mark(self) -> Mark | None:
        """Where its name stands."""
        return self._key_mark
