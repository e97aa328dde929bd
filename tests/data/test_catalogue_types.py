"""The types that a catalogue knows, frozen and read: the same words and the same values on every engine."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import yaml

from tests.data.making import Place

NATIVE = {
    "id": "uuid", "small": "smallint", "big": "bigint", "price": "numeric(10, 2)", "ratio": "double precision",
    "yes": "boolean", "day": "date", "local_at": "timestamp",
    "instant": "timestamp with time zone", "doc": "json", "short": "varchar(10)",
}  # fmt: skip
SOURCES = """
sources:
  things:
    table: raw.things
    key: id
    time: local_at
    timezone: Europe/Paris            # of times that don't say: one hour ahead of UTC in January
entities:
  thing: {from: things, key: id}
traits:
  thing:
    doubled: {formula: "small * 2 + price"}
    colour: {formula: "doc ->> '$.colour'"}
audiences:
  before_noon: {of: thing, where: {local_at: {before: "2026-01-05T12:00:00Z"}}}
  same_moment: {of: thing, where: {local_at: {eq: {ref: instant}}}}
  red: {of: thing, where: {doc.colour: red, doc.size.w: {gte: 2}}}
  rich: {of: thing, where: {price: 12.50, big: {gt: 9007199254740992}, ratio: {lt: 0.5}, yes: true, day: "2026-01-05"}}
"""
ONE, TWO = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


def things(place: Place) -> None:
    doc = '{"colour": "red", "size": {"w": 2}}'
    plain = (3, 9007199254740993, "12.50", 0.25, "true", "2026-01-05")
    times = ("2026-01-05 12:30:00", "2026-01-05 11:30:00+00")
    nothing = (None,) * len(plain)
    rows = [
        (ONE, *plain, *times, doc, "a b"),
        (TWO, *nothing, "2026-01-05 13:00:00", "2026-01-05 13:00:00+00", None, None),
    ]
    place.load("things", NATIVE, rows)
    place.project(sources=SOURCES)
    place.freeze()


def test_the_lock_names_types_in_the_words_of_the_language(place: Place) -> None:
    things(place)
    lock = yaml.safe_load((place.root / "sources.lock.yml").read_text(encoding="utf-8"))
    assert lock["sources"]["things"] == {
        "id": "other", "small": "int", "big": "int", "price": "decimal", "ratio": "float", "yes": "bool", "day": "date",
        "local_at": "timestamp", "instant": "timestamptz", "doc": "json", "short": "text",
    }  # fmt: skip


def test_values_keep_their_types_and_times_become_utc(place: Place) -> None:
    things(place)
    place.build(datetime(2026, 1, 10, tzinfo=UTC))
    columns = "small, big, price, ratio, yes, day, local_at, instant, short, doubled, colour"
    half_past, noon, one = datetime(2026, 1, 5, 11, 30), datetime(2026, 1, 5, 12), datetime(2026, 1, 5, 13)
    found = {row[0]: row[1:] for row in place.rows(f"SELECT thing_id, {columns} FROM cdp.thing")}
    plain = (3, 9007199254740993, Decimal("12.5"), 0.25, True, date(2026, 1, 5))
    assert found[ONE] == (*plain, half_past, half_past, "a b", Decimal("18.5"), "red")
    assert found[TWO] == (*[None] * len(plain), noon, one, None, None, None)


def test_conditions_compare_in_the_type_of_the_column(place: Place) -> None:
    things(place)
    place.build(datetime(2026, 1, 10, tzinfo=UTC))
    assert place.members("before_noon") == {ONE}
    assert place.members("same_moment") == {ONE}
    assert place.members("red") == {ONE}
    assert place.members("rich") == {ONE}
