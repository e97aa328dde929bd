"""Laws of the diff: whatever was there and whatever comes, carrying out the changes makes the one into the other."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.sync.result import SyncOptions
from cdp.warehouse.duckdb import DuckDB
from tests.sync.making import QUICK, World, fields, plan, row

MAPPED = tuple(
    replace(f, nulls="send")
    for f in fields(t="text", i="int", d="decimal", at="timestamp", l="list", x="float", b="bool")
)
OPTIONS: SyncOptions = replace(QUICK, force=frozenset({"max_removed", "max_invalid", "shrunk", "empty"}))
TEXTS = st.sampled_from([None, "", "a", "A", "é", "é", "\U0001f600", "'", '"', "\\", "a\nb", " ", "null", "\x7f", "0"])
VALUES = st.fixed_dictionaries(
    {
        "t": TEXTS | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
        "i": st.none() | st.sampled_from([0, -1, 2**53 + 1, 2**62]) | st.integers(-9, 9),
        "d": st.none()
        | st.decimals(-(10**9), 10**9, places=9, allow_nan=False)
        | st.sampled_from([Decimal("-0.1"), Decimal("1E+3")]),
        "at": st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)),
        "l": st.none() | st.sampled_from(["[]", '["a"]', '["a","b"]', '[""]', "[null]"]),
        "x": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "b": st.none() | st.booleans(),
    }
)
TABLES = st.dictionaries(st.sampled_from(["k1", "k2", "k3", "k4", "k 5", "k'6"]), VALUES, max_size=6)


WAREHOUSE = DuckDB(":memory:")  # one for all examples: its templates are compiled once


def fresh(folder: str) -> World:
    """A world in which nothing was ever sent."""
    WAREHOUSE.drop(*(f"cdp_state.{table}" for table in WAREHOUSE.tables("cdp_state")))
    world = World(WAREHOUSE, Path(folder), plan(MAPPED))
    world.options = OPTIONS
    return world


def carried(table: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The table as the destination should hold it, after a first run into an empty one."""
    with tempfile.TemporaryDirectory() as folder:
        world = fresh(folder)
        world.rows(*(row(key, **values) for key, values in table.items())).run()
        found: dict[str, dict[str, Any]] = world.fake.records
        return found


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(TABLES, TABLES, TABLES)
def test_the_changes_make_the_one_into_the_other(a: Any, b: Any, c: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = fresh(folder)
        for table in (a, b, c):
            world.rows(*(row(key, **values) for key, values in table.items())).run()
            assert world.fake.records.keys() == {f"{key}@x.fr" for key in table}
        assert world.fake.records == carried(c)
        world.fake.forget()
        assert world.run().counts.requests == 0


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(TABLES, st.data())
def test_only_what_differs_is_sent(a: Any, data: st.DataObject) -> None:
    changed = data.draw(st.sets(st.sampled_from(sorted(a)))) if a else set()
    b = {key: {**values, "t": f"{values['t']}!"} if key in changed else values for key, values in a.items()}
    with tempfile.TemporaryDirectory() as folder:
        world = fresh(folder)
        world.rows(*(row(key, **values) for key, values in a.items())).run()
        world.fake.forget()
        world.rows(*(row(key, **values) for key, values in b.items())).run()
        assert {(change.row_key, change.changed) for change in world.fake.sent} == {
            (key, frozenset({"t"})) for key in changed
        }
