"""The JSON Schema of project files, for editors: made of the models, with the grammar of conditions added."""

from __future__ import annotations

from typing import Any

from cdp.project.grammar import LATER, OPTIONS, TESTS
from cdp.project.model import Files


def schema_json() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of any project file but `cdp_project.yml`."""
    schema: dict[str, Any] = _linked(Files.model_json_schema(by_alias=True))
    definitions = schema.setdefault("$defs", {})
    definitions["condition"] = _condition()
    definitions["test"] = _test()
    definitions["window"] = {
        "description": "last 30 days, this month, previous month, or {from: …, to: …}; half-open",
        "anyOf": [
            {"type": "string", "pattern": "^(last|this|previous) "},
            {
                "type": "object",
                "properties": {"from": {"type": "string"}, "to": {"type": "string"}},
                "additionalProperties": False,
            },
        ],
    }
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "cdp project file"
    return schema


def _linked(schema: Any) -> Any:
    """The places of conditions and windows (`fields` marks them) as references to their definitions."""
    if isinstance(schema, list):
        return [_linked(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "x-cdp" in schema:
        return {"$ref": f"#/$defs/{schema['x-cdp']}"}
    return {key: _linked(item) for key, item in schema.items()}


def _condition() -> dict[str, Any]:
    condition = {"$ref": "#/$defs/condition"}
    several = {"type": "array", "items": condition, "minItems": 1}
    special = {
        "all": several,
        "any": several,
        "not": condition,
        "where": condition,
        "during": {"$ref": "#/$defs/window"},
    }
    operators = []
    for name, options in OPTIONS.items():
        note = {"description": "not in this version"} if name in LATER else {}
        operators.append(
            {
                "type": "object",
                "required": [name],
                "properties": {key: special.get(key, {}) for key in (name, *options)},
                "additionalProperties": False,
                **note,
            }
        )
    fields = {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/$defs/test"}}
    return {"anyOf": [*operators, fields]}


def _test() -> dict[str, Any]:
    scalar = {"type": ["string", "number", "boolean"]}
    return {
        "anyOf": [
            scalar,
            {"type": "array", "items": scalar},
            {"type": "object", "properties": {name: {} for name in TESTS}, "additionalProperties": False},
        ]
    }
