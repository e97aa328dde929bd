"""A row as a destination takes it: which fields travel, in which form, and which rows cannot travel at all."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import orjson

from cdp.destination.description import Description
from cdp.destination.outcome import Change

_NATIVE = "native"


class Shape:
    """The facts of a description that concern single rows."""

    def __init__(self, description: Description) -> None:
        self._changed_only = description.changed_only
        self._types = description.types
        self._limits = description.limits
        self._identifiers = description.identifiers
        self._one_id = description.match == "one"
        forms = description.types
        self._good_names: set[str] = set()
        self._longest = self._limits.text_bytes or sys.maxsize
        refused = "refuse" in (forms.nulls, forms.booleans, forms.numbers, forms.lists, forms.objects)
        self._simple_forms = not refused and self._limits.nul == "allow"
        self._as_they_are = {forms.nulls, forms.booleans, forms.numbers, forms.lists, forms.objects} == {_NATIVE}

    def fields(self, change: Change) -> Mapping[str, Any]:
        """The fields that travel, as the API wants them. Of a change only what changed, where the API can take
        that; all of them where nobody knows what changed (a row in doubt)."""
        fields = change.fields
        if self._changed_only and change.kind == "change" and change.changed:
            fields = {name: value for name, value in fields.items() if name in change.changed}
        if self._as_they_are:
            return fields if type(fields) is dict else dict(fields)
        return {name: self._formed(value) for name, value in fields.items()}

    def _formed(self, value: Any) -> Any:
        form = self._form(value)
        if form == "text":
            return orjson.dumps(value).decode()
        return "" if form == "empty_text" else value

    def _form(self, value: Any) -> str:
        if isinstance(value, str):
            return _NATIVE
        if value is None:
            return self._types.nulls
        if isinstance(value, bool):
            return self._types.booleans
        if isinstance(value, int | float):
            return self._types.numbers
        return self._types.lists if isinstance(value, list | tuple) else self._types.objects

    def unfit(self, change: Change) -> str | None:
        """Why this row's identifiers or fields cannot be sent, or None. Names fields, never shows values."""
        return self._unfit_match(change.match) or self._unfit_fields(change)

    def _unfit_match(self, match: Mapping[str, Any]) -> str | None:
        if self._one_id and len(match) != 1:
            return f"exactly one match id is taken, the row has {len(match)}"
        for name, value in match.items():
            if (
                isinstance(value, list) and value and self._identifiers is None
            ):  # `{all: …}`: every identifier of a type
                unfit = next((found for one in value if (found := self._unfit_id(name, one))), None)
            else:
                unfit = self._unfit_id(name, value)
            if unfit:
                return unfit
        return None

    def _unfit_id(self, name: str, value: Any) -> str | None:
        if value is None or value == "":
            return f"match id `{name}` is empty"
        if not isinstance(value, str | int) or isinstance(value, bool):
            return f"match id `{name}` is neither text nor a whole number"
        if self._identifiers is not None:
            known = self._identifiers.get(name)
            if known is None:
                return f"`{name}` is no identifier here; it takes {', '.join(self._identifiers)}"
            if known.bytes is not None and _bytes(str(value)) > known.bytes:
                return f"match id `{name}` is longer than {known.bytes} bytes"
        unfit = _unfit(value, self._limits.nul == "refuse")
        return f"match id `{name}` {unfit}" if unfit else None

    def _unfit_fields(self, change: Change) -> str | None:
        fields = change.fields
        if self._limits.fields is not None and len(fields) > self._limits.fields:
            return f"{len(fields)} fields; at most {self._limits.fields} are taken"
        if not fields.keys() <= self._good_names:
            unfit = self._unfit_names(fields)
            if unfit:
                return unfit
        return None if self._simple_forms and self._simple(fields) else self._unfit_values(fields)

    def _simple(self, fields: Mapping[str, Any]) -> bool:
        """Whether all values are harmless scalars: the quick way out, which nearly every row takes."""
        longest = self._longest
        for value in fields.values():
            kind = value.__class__
            if kind is str:
                if len(value) > longest or not value.isascii():
                    return False
            elif kind is float:
                if not -math.inf < value < math.inf:
                    return False
            elif kind is int:
                if not -(2**63) <= value < 2**64:
                    return False
            elif value is not None and kind is not bool:
                return False
        return True

    def _unfit_names(self, fields: Mapping[str, Any]) -> str | None:
        longest = self._limits.name_bytes
        for name in fields:
            unfit = _unfit_key(name)
            if unfit:
                return f"a field's name {unfit}"
            if longest is not None and _bytes(name) > longest:
                return f"the name of field `{name[:40]}…` is longer than {longest} bytes"
        if len(self._good_names) < 10_000:
            self._good_names |= fields.keys()
        return None

    def _unfit_values(self, fields: Mapping[str, Any]) -> str | None:
        no_nul, longest = self._limits.nul == "refuse", self._limits.text_bytes
        for name, value in fields.items():
            if not self._as_they_are and self._form(value) == "refuse":
                return f"field `{name}` is {_kind(value)}, which is not taken"
            unfit = _unfit(value, no_nul)
            if unfit:
                return f"field `{name}` {unfit}"
            if longest is not None and isinstance(value, str) and _bytes(value) > longest:
                return f"field `{name}` has {_bytes(value):,} bytes; at most {longest:,} are taken"
        return None


def _unfit(value: Any, no_nul: bool) -> str | None:
    """Why a value cannot stand in JSON as it is, or None."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        if no_nul and "\0" in value:
            return "holds the character NUL"
        return None if value.isascii() else _unfit_text(value)
    if isinstance(value, float):
        return None if math.isfinite(value) else "is not a finite number"
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**64 else "is a whole number beyond 64 bits"
    if isinstance(value, Mapping):
        unfit = next((reason for key in value if (reason := _unfit_key(key))), None)
        return unfit or next((reason for item in value.values() if (reason := _unfit(item, no_nul))), None)
    if isinstance(value, list | tuple):
        return next((reason for item in value if (reason := _unfit(item, no_nul))), None)
    return f"is a {type(value).__name__}, which JSON does not have"


def _unfit_text(value: str) -> str | None:
    try:
        value.encode()
    except UnicodeEncodeError:
        return "holds half of a character (a lone surrogate)"
    return None


def _unfit_key(key: object) -> str | None:
    return _unfit_text(key) if isinstance(key, str) else "has a key that is no text"


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _kind(value: Any) -> str:
    if value is None:
        return "empty (NULL)"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list | tuple) else "an object"
