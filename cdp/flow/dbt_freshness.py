"""How old the data behind a dbt model is, by what `dbt source freshness` found: `target/sources.json`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from cdp.flow.results import Freshness
from cdp.project.dbt import Manifest, read_artifact
from cdp.project.dbt_sources import DbtUse

FILE = "sources.json"
_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}
Status = Literal["pass", "warn", "error", "none"]
_RANK: tuple[Status, ...] = ("none", "pass", "warn", "error")
_GROWN: tuple[Status, ...] = ("warn", "error")


def with_upstream(found: tuple[Freshness, ...], dbt: DbtUse | None, now: datetime) -> tuple[Freshness, ...]:
    """The same, where the sources of dbt behind a model are older (or worse off) than the model's own rows say: those.

    Raises ProjectError CDP130 where sources.json cannot be read; where there is none, nothing is said.
    """
    if dbt is None or not (dbt.target / FILE).is_file():
        return found
    artifact = read_artifact(dbt.target / FILE, "sources", "dbt source freshness")
    told = {str(result.get("unique_id")): result for result in artifact.items("results")}
    return tuple(
        _worse(one, _oldest(dbt.models[one.source].id, dbt.manifest, told, now)) if one.source in dbt.models else one
        for one in found
    )


def _worse(own: Freshness, upstream: Freshness | None) -> Freshness:
    if upstream is None:
        return own
    if own.newest is not None and _RANK.index(upstream.status) <= _RANK.index(own.status):
        return own
    return replace(upstream, source=own.source, status=max(own.status, upstream.status, key=_RANK.index))


def _oldest(id_: str, manifest: Manifest, told: dict[str, Any], now: datetime) -> Freshness | None:
    """Of all sources behind a node: the one in the worst state, then the oldest."""
    found = [_judged(manifest.called(other), told[other], now) for other in manifest.ancestors(id_) if other in told]
    return max(found, key=lambda one: (_RANK.index(one.status), one.age_seconds or 0.0), default=None)


def _judged(name: str, result: dict[str, Any], now: datetime) -> Freshness:
    """A source as dbt found it, by the clock of now: what was fresh yesterday has grown older since."""
    newest = _moment(result.get("max_loaded_at"))
    age = None if newest is None else (now - newest).total_seconds()
    recorded: dict[str, Status] = {"pass": "pass", "warn": "warn"}
    statuses: list[Status] = [recorded.get(str(result.get("status")), "error")]
    criteria = result.get("criteria")
    for status in _GROWN:
        limit = _limit(criteria.get(f"{status}_after")) if isinstance(criteria, dict) else None
        if age is not None and limit is not None and age > limit:
            statuses.append(status)
    return Freshness("", newest, age, max(statuses, key=_RANK.index), name)


def _limit(after: Any) -> float | None:
    """`{count: 1, period: day}` in seconds."""
    if not isinstance(after, dict) or not isinstance(after.get("count"), int) or after.get("period") not in _SECONDS:
        return None
    return float(after["count"] * _SECONDS[after["period"]])


def _moment(text: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
