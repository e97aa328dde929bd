"""The JSON Schema for editors: it accepts what the reader accepts, and shows a mistyped key where the reader does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cdp.project import schema_json
from cdp.project.reader import read

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NO_RESOURCES = ("cdp_project.yml", "profiles.yml", "sources.lock.yml")
FILES = sorted(file for file in EXAMPLES.glob("*/**/*.yml") if file.name not in NO_RESOURCES)


def plain(file: Path) -> Any:
    return json.loads(json.dumps(read(file, root=EXAMPLES).data))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_the_examples_are_valid_for_an_editor(file: Path) -> None:
    found = [
        f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema_json()).iter_errors(plain(file))
    ]
    assert found == []


@pytest.mark.parametrize(
    "content",
    [
        {"audiences": {"a": {"off": "customer"}}},
        {"audiences": {"a": {"of": "customer", "where": {"has": "orders", "wehre": {"x": 1}}}}},
        {"audiences": {"a": {"of": "customer", "where": {"ltv": {"gtee": 1}}}}},
        {"syncs": {"s": {"from": {"audience": "a"}, "to": {"destination": "crm"}, "nulls": "keep"}}},
        {"nothing": {}},
    ],
)
def test_a_mistyped_key_or_word_is_seen_by_an_editor(content: dict[str, Any]) -> None:
    assert list(Draft202012Validator(schema_json()).iter_errors(content))


def test_the_schema_is_valid_itself() -> None:
    Draft202012Validator.check_schema(schema_json())
