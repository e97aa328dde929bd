"""The brakes of a sync: an empty or shrunken source, a lost ledger or another account never becomes "remove everybody".

All are judged before the first byte is sent, `max_rejected` after the last. A trip holds this sync: nothing of it is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cdp.errors import Problem
from cdp.sync.diff import Diffed

CODES: Mapping[str, str] = {
    "empty": "CDP501",
    "max_removed": "CDP502",
    "max_changed": "CDP503",
    "max_invalid": "CDP504",
    "max_rejected": "CDP505",
    "shrunk": "CDP507",
    "ledger": "CDP508",
    "account": "CDP509",
    "max_age": "CDP510",
    "first_run": "CDP511",
}
_DEFAULTS: Mapping[str, Any] = {
    "max_removed": "20%",
    "max_changed": "100%",
    "max_rejected": "5%",
    "max_invalid": "5%",
    "shrunk": "50%",
    "floor": 10,
    "empty": "stop",
    "first_run": "send",
    "max_age": None,
}
_FIRST = frozenset({"first_run", "max_invalid", "max_age"})  # a first run has nothing to compare with
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True)
class Trip:
    """A guard that holds the sync: which one, and what it saw."""

    guard: str
    problem: Problem


@dataclass(frozen=True)
class Facts:
    """What the guards look at. Rows throughout; `age_us` is how old the source's newest row is, None where nobody asks."""

    diffed: Diffed
    invalid: int
    first_run: bool
    ledger_rows: int
    ledger_noted: int | None
    previous_rows: int | None
    account: str
    account_noted: str | None
    removes: bool  # whether a row that left is written about at all
    in_doubt: int = 0
    age_us: int | None = None

    @property
    def live(self) -> int:
        """Rows of the ledger and of the source together, each once."""
        return max(self.diffed.queried + self.diffed.gone, 1)


def trips(guard: Mapping[str, Any], facts: Facts, *, sync: str) -> list[Trip]:
    """Every guard that would hold this sync, in the order of their names in the docs."""
    settings = {**_DEFAULTS, **{key: value for key, value in guard.items() if value is not None}}
    found: Iterable[tuple[str, str | None, str]] = (
        ("empty", _empty(settings, facts), "is the source really empty? A load that failed looks the same"),
        ("max_removed", _removed(settings, facts), "look at what would be removed with --dry-run"),
        ("max_changed", _changed(settings, facts), "look at what would change with --dry-run"),
        (
            "max_invalid",
            _invalid(settings, facts),
            "`cdp logs` names the rows; `prefer:` says which of two duplicates wins",
        ),
        ("shrunk", _shrunk(settings, facts), "did a load stop half way?"),
        ("ledger", _ledger(facts), "--adopt remembers the rows without sending, --resync sends all of them again"),
        ("account", _account(facts), "is this the login of another account, a sandbox's?"),
        ("max_age", _age(settings, facts), "did the load run?"),
        ("first_run", _first_run(settings, facts), "--adopt remembers the rows without sending"),
    )
    return [
        Trip(name, _problem(name, sync, said, hint))
        for name, said, hint in found
        if said is not None and (not facts.first_run or name in _FIRST)
    ]


def rejected(guard: Mapping[str, Any], refused: int, live: int, *, sync: str) -> Problem | None:
    """The verdict of `max_rejected`, after sending; `refused` counts rows that were refused for the first time."""
    settings = {**_DEFAULTS, **{key: value for key, value in guard.items() if value is not None}}
    if not _over(refused, live, settings["max_rejected"], settings["floor"]):
        return None
    said = f"{refused} of {live} rows were refused, more than max_rejected ({settings['max_rejected']}) allows"
    return _problem("max_rejected", sync, said, f"`cdp logs {sync} --failed` says why")


def first_run_adopts(guard: Mapping[str, Any]) -> bool:
    """Whether the rows of the first run are remembered, not sent."""
    return guard.get("first_run") == "adopt"


def _problem(guard: str, sync: str, said: str, hint: str) -> Problem:
    way = f"; if it is meant: cdp sync -s sync:{sync} --force {guard}" if guard != "max_rejected" else ""
    return Problem(CODES[guard], f"sync `{sync}`: {said}", hint=hint + way)


def _empty(settings: Mapping[str, Any], facts: Facts) -> str | None:
    sent = max(facts.ledger_rows, facts.in_doubt)
    if settings["empty"] != "stop" or facts.diffed.queried or sent <= facts.diffed.held:
        return None
    return f"its source is empty, and {sent} rows were sent before"


def _removed(settings: Mapping[str, Any], facts: Facts) -> str | None:
    removed = facts.diffed.planned.get("remove", 0)
    if not facts.removes or not removed:
        return None
    most = settings["max_removed"]
    share = share_of(most)
    half = share is not None and removed > facts.live * max(share, 0.5)
    if not half and not _over(removed, facts.live, most, settings["floor"]):
        return None
    return f"{removed} of {facts.live} rows would be removed, more than max_removed ({most}) allows"


def _changed(settings: Mapping[str, Any], facts: Facts) -> str | None:
    planned = facts.diffed.planned
    changed = planned.get("add", 0) + planned.get("change", 0)
    if not _over(changed, facts.live, settings["max_changed"], settings["floor"]):
        return None
    return f"{changed} of {facts.live} rows would be added or changed, more than max_changed ({settings['max_changed']}) allows"


def _invalid(settings: Mapping[str, Any], facts: Facts) -> str | None:
    if not _over(facts.invalid, facts.live, settings["max_invalid"], settings["floor"]):
        return None
    return f"{facts.invalid} of {facts.live} rows cannot be sent (duplicates, or values that the destination does not take), more than max_invalid ({settings['max_invalid']}) allows"


def _shrunk(settings: Mapping[str, Any], facts: Facts) -> str | None:
    before, now = facts.previous_rows, facts.diffed.queried
    share = share_of(settings["shrunk"])
    if not before or share is None or now >= before * share or before - now <= settings["floor"]:
        return None
    return f"its source has {now} rows, the last successful run had {before}: less than shrunk ({settings['shrunk']}) allows"


def _ledger(facts: Facts) -> str | None:
    noted = facts.ledger_noted or 0
    if facts.ledger_rows >= noted:
        return None
    lost = "is gone" if facts.ledger_rows == 0 else f"has {facts.ledger_rows} rows"
    return f"its ledger {lost}, the last run left {noted} in it: what the destination holds is not known any more"


def _account(facts: Facts) -> str | None:
    if not facts.account or not facts.account_noted or facts.account == facts.account_noted:
        return None
    return f"the destination's account is another one than last time ({facts.account_noted})"


def _age(settings: Mapping[str, Any], facts: Facts) -> str | None:
    most = settings["max_age"]
    if most is None or facts.age_us is None or facts.age_us <= duration_us(most):
        return None
    return f"its source is {facts.age_us / 3_600_000_000:.1f} hours old, more than max_age ({most}) allows"


def _first_run(settings: Mapping[str, Any], facts: Facts) -> str | None:
    if not facts.first_run or settings["first_run"] != "stop":
        return None
    return f"this is its first run, {facts.diffed.planned.get('add', 0)} rows would be sent"


def _over(count: int, live: int, most: Any, floor: int) -> bool:
    """Whether `count` is more than a share (`20%`, above the floor; 100 % is off) or a number of rows allows."""
    share = share_of(most)
    if share is None:
        return count > int(most)
    return share < 1 and count > floor and count > live * share


def share_of(value: Any) -> float | None:
    """0.2 of `20%` or 0.2; None for a whole number, which counts rows."""
    if isinstance(value, str) and value.strip().endswith("%"):
        return float(value.strip()[:-1]) / 100
    return value if isinstance(value, float) else None


def duration_us(value: Any) -> int:
    """Microseconds of `24h`, `30m`, `7d`; a number is taken as microseconds."""
    if isinstance(value, int):
        return value
    found = re.fullmatch(r"\s*([0-9]+)\s*([smhdw])\s*", str(value))
    assert found, f"{value!r} is no duration: validated with the project"
    return int(found[1]) * _UNITS[found[2]] * 1_000_000
