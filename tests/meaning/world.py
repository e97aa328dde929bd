"""Cases as data: a world is a project, rows, a clock, and what must come of them; every answer was worked out by hand.

A world is built once per engine and with or without `sources.lock.yml`; each of its cases is a test of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from cdp.project.reader import read

CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """One question: an audience's members, a trait's values, or the refusal of either."""

    name: str
    why: str
    entity: str
    audience: Mapping[str, Any] | None = None
    members: frozenset[str] | None = None
    trait: Mapping[str, Any] | None = None
    values: Mapping[str, Any] | None = None
    refused: Mapping[str, str] | None = None  # code, says
    extra: Mapping[str, Any] = field(default_factory=dict)  # more of the project, for a refusal
    typed: bool = False  # asked only where the lock tells the types

    def resources(self) -> dict[str, Any]:
        """What the case adds to its world's project."""
        if self.audience is not None:
            return {"audiences": {self.name: self.audience}}
        if self.trait is not None:
            return {"traits": {self.entity: {self.name: self.trait}}}
        return {}


@dataclass(frozen=True)
class World:
    """A project with its rows. `called`: attributes by which an entity is named in the answers (else its id)."""

    name: str
    as_of: datetime
    zone: str
    project: Mapping[str, Any]
    tables: Mapping[str, Any]
    cases: tuple[Case, ...]
    called: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    locks: tuple[bool, ...] = (True, False)

    def asked(self, lock: bool) -> tuple[Case, ...]:
        """The cases that are built, with the lock or without."""
        return tuple(case for case in self.cases if case.refused is None and (lock or not case.typed))

    def files(self, lock: bool) -> dict[str, Any]:
        """The project's files by name, as data: the base, and all cases that are to be built."""
        head = {"version": 1, "name": "meaning", "timezone": self.zone}
        return {
            "cdp_project.yml": head, "base.yml": self.project,
            "cases.yml": merged(*(case.resources() for case in self.asked(lock))),
        }  # fmt: skip


def merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Top-level keys of several files as one: names of one kind must differ (traits: per entity)."""
    whole: dict[str, Any] = {}
    for part in parts:
        for kind, resources in part.items():
            into = whole.setdefault(kind, {})
            for name, resource in resources.items():
                if kind == "traits":
                    into.setdefault(name, {}).update(resource)
                else:
                    assert name not in into, f"two {kind} are called {name}"
                    into[name] = resource
    return whole


def load_world(path: Path) -> World:
    """The world in a file."""
    document = read(path, root=path.parent)
    assert not document.problems, document.problems
    data = document.data
    return World(
        path.stem,
        instant(data["as_of"]),
        data.get("timezone", "UTC"),
        data["project"],
        data["tables"],
        tuple(_case(item, data.get("of", "person")) for item in data["cases"]),
        {
            name: (called,) if isinstance(called, str) else tuple(called)
            for name, called in data.get("called", {}).items()
        },
        tuple(data.get("locks", (True, False))),
    )


def instant(text: str) -> datetime:
    """An ISO time with Z."""
    return datetime.fromisoformat(text)


def _case(item: Mapping[str, Any], of: str) -> Case:
    entity = item.get("of", of)
    name, why = item["case"], item["why"]
    if "trait" in item:
        return Case(
            name,
            why,
            entity,
            trait=item["trait"],
            values=item.get("values"),
            refused=item.get("refused"),
            extra=item.get("extra", {}),
            typed=item.get("typed", False),
        )
    audience: dict[str, Any] = {"of": {"entity": entity, "anonymous": item.get("anonymous", False)}}
    audience |= {key: item[key] for key in ("where", "limit") if key in item}
    members = frozenset(item["members"]) if "members" in item else None
    return Case(
        name, why, entity, audience=audience if "where" in item or "limit" in item or members is not None else None,
        members=members, refused=item.get("refused"), extra=item.get("extra", {}), typed=item.get("typed", False),
    )  # fmt: skip


@cache
def worlds() -> dict[str, World]:
    """All worlds but those that are built several times (`stays_…`)."""
    paths = sorted(path for path in CASES.glob("*.yml") if not path.stem.startswith("stays"))
    return {path.stem: load_world(path) for path in paths}
