"""The base of everything a user may write: strict, frozen, and able to say where it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from cdp.errors import Mark, did_you_mean
from cdp.project.reader import Map, near_key, rename
from cdp.project.reading import NOTED, Reading, key_mark, value_mark


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

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True, defer_build=True)

    _origin: Map | None = PrivateAttr(default=None)
    _later: bool = PrivateAttr(default=False)

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: Callable[[Any], Any], info: ValidationInfo) -> Any:
        if not isinstance(value, dict):
            return handler(value)
        reading = info.context if isinstance(info.context, Reading) else None
        if reading is None:
            return handler(value)
        cls.spell(value, reading)
        later = [key for key in value if cls._is_later(key, value, reading)]
        try:
            part = handler({key: item for key, item in value.items() if key in cls._keys() and key not in later})
        except ValidationError as error:
            if later and all(
                len(detail["loc"]) <= 1 and detail["type"] in ("missing", "value_error") for detail in error.errors()
            ):
                raise PydanticCustomError(NOTED, "what is not in this version stands in its place") from None
            raise
        if isinstance(value, Map):
            part._origin = value
        part._later = bool(later)
        return part

    def lacks(self, message: str) -> ValueError | PydanticCustomError:
        """The error of a map that lacks something: nothing more is said where what it has is not in this version."""
        return PydanticCustomError(NOTED, "not in this version") if self._later else ValueError(message)

    @classmethod
    def _keys(cls) -> dict[str, Any]:
        """The keys that it takes, beside the name, which stands before it."""
        return {(field.alias or name): field for name, field in cls.model_fields.items() if not field.exclude}

    @classmethod
    def spell(cls, value: dict[str, Any], reading: Reading) -> None:
        """Note unknown keys, and read each as what was probably meant, so that what is below it is looked at, too."""
        known = cls._keys()
        for key in [key for key in value if key not in known]:
            reading.problem(
                "CDP104", f"unknown key `{key}`", key_mark(value, key), near_key(key, list(known)), length=len(key)
            )
            near = did_you_mean(key, known)
            if near is not None and near not in value:
                rename(value, key, near)

    @classmethod
    def _is_later(cls, key: str, value: dict[str, Any], reading: Reading) -> bool:
        field = cls._keys().get(key)
        if field is None or not any(isinstance(extra, Later) for extra in field.metadata):
            return False
        reading.later(f"`{key}`", key_mark(value, key), length=len(key))
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
