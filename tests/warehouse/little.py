"""A little project over two tables of anybody's warehouse: two customers, an audience, a list in a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cdp.flow import Settings
from tests.dialects.projects import on_tables

AS_OF = datetime(2026, 1, 10, 12, tzinfo=UTC)
CONTACTS = ("contact_id", "email", "first_name", "country", "updated_at")
ORDERS = ("order_id", "email", "amount", "ordered_at")
ROWS = {
    "raw.contacts": [
        ("c1", "ann@example.com", "Ann", "FR", "2026-01-01T10:00:00Z"),
        ("c2", "ben@example.com", "Ben", "DE", "2026-01-02T10:00:00Z"),
    ],
    "raw.orders": [
        ("o1", "ann@example.com", "150.00", "2026-01-03T10:00:00Z"),
        ("o2", "ann@example.com", "75.50", "2026-01-04T10:00:00Z"),
        ("o3", "ben@example.com", "900", "2026-01-05T10:00:00Z"),
    ],
}


def tables(execute: Callable[[str], object]) -> None:
    """Make and fill the sources, in plain SQL that every engine here takes."""
    execute("CREATE SCHEMA raw")
    for name, columns in (("raw.contacts", CONTACTS), ("raw.orders", ORDERS)):
        execute(f"CREATE TABLE {name} ({', '.join(f'{column} VARCHAR(200)' for column in columns)})")
        for row in ROWS[name]:
            execute(f"INSERT INTO {name} VALUES ({', '.join(repr(value) for value in row)})")


def project(folder: Path, profile: Mapping[str, Any]) -> Path:
    """The project, with one target that means `profile`."""
    on_tables("starter", folder)
    crm = {"type": "file", "path": "out/", "format": "jsonl"}
    target = {"warehouse": dict(profile), "destinations": {"crm": crm}}
    text = json.dumps({"starter": {"target": "dev", "targets": {"dev": target}}}, indent=1)
    (folder / "profiles.yml").write_text(text, encoding="utf-8")
    return folder


def settings(folder: Path, **more: Any) -> Settings:
    """How the commands find it; as of a day after its rows."""
    return Settings(project_dir=folder, profiles_dir=folder, as_of=AS_OF, **more)


def sent(folder: Path) -> list[dict[str, Any]]:
    """What went into the file of the destination."""
    return [
        json.loads(line)
        for path in sorted((folder / "out").rglob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
