"""Who is one person: closure, junk, NULL, links; and the shapes of graphs that others get wrong."""

from __future__ import annotations

import csv
import os
from itertools import pairwise
from pathlib import Path

import pytest
from sqlglot import parse_one

from cdp.compile.identity import Identifier, Link
from cdp.warehouse.base import Warehouse
from cdp.warehouse.duckdb import DuckDB
from tests.compile.identity.people import build, customer, dropped, edges, fill, ids, limited, people, records

EMAIL = Identifier("email", normalize="email")


def test_records_that_share_an_identifier_are_one_person(warehouse: Warehouse) -> None:
    fill(warehouse, "cdp.crm", 2, [(1, "u1", "A@x.fr "), (2, None, "a@x.fr"), (3, "u2", "b@x.fr")])
    build(warehouse, customer([Identifier("user_id"), EMAIL], records("cdp.crm", ["user_id", "email"])))
    assert people(warehouse) == {frozenset({"user_id:u1", "email:a@x.fr"}), frozenset({"user_id:u2", "email:b@x.fr"})}


def test_null_and_junk_join_nobody_and_are_listed(warehouse: Warehouse) -> None:
    rows = [(1, "u1", None), (2, "u2", None), (3, "u3", "N/A"), (4, "u4", "n/a"), (5, "7", "noreply@x.fr")]
    fill(warehouse, "cdp.crm", 2, [*rows, (6, None, None), (7, "  ", "")])
    build(warehouse, customer([Identifier("user_id"), EMAIL], records("cdp.crm", ["user_id", "email"])))
    assert people(warehouse) == {frozenset({f"user_id:{name}"}) for name in ("u1", "u2", "u3", "u4", "7")}
    assert dropped(warehouse) == {
        "email:n/a": ("junk_word", 2),
        "email:noreply@x.fr": ("placeholder", 1),
        "email:": ("empty", 1),
        "user_id:": ("empty", 1),
    }


def test_two_identifiers_of_one_type_in_a_row_are_one_person(warehouse: Warehouse) -> None:
    fill(
        warehouse,
        "cdp.crm",
        3,
        [(1, "u1", "a@x.fr", "b@x.fr"), (2, None, "c@x.fr", "b@x.fr"), (3, None, "c@x.fr", "c@x.fr")],
    )
    build(warehouse, customer([Identifier("user_id"), EMAIL], records("cdp.crm", ["user_id", "email", "email"])))
    assert people(warehouse) == {frozenset({"user_id:u1", "email:a@x.fr", "email:b@x.fr", "email:c@x.fr"})}
    counts = dict(warehouse.rows("SELECT id_value, row_count FROM cdp.customer_ids WHERE id_type = 'email'"))
    assert counts == {"a@x.fr": 1, "b@x.fr": 2, "c@x.fr": 2}


def test_sources_times_and_rows_of_an_identifier_are_told(warehouse: Warehouse) -> None:
    fill(warehouse, "cdp.web", 2, [(9, "d1", "u1"), (4, "d1", None)])
    fill(warehouse, "cdp.crm", 1, [(2, "u1"), (None, "u1")])
    spec = customer(
        limited({"user_id": None, "device": None}),
        records("cdp.web", ["device", "user_id"]),
        records("cdp.crm", ["user_id"]),
    )
    build(warehouse, spec)
    told = warehouse.rows(
        "SELECT id_value, CAST(first_seen_at AS DATE), CAST(last_seen_at AS DATE), row_count, sources"
        " FROM cdp.customer_ids ORDER BY 1"
    )
    assert [tuple(map(str, row)) for row in told] == [
        ("d1", "2025-01-05", "2025-01-10", "2", '["web"]'),
        ("u1", "2025-01-03", "2025-01-10", "3", '["crm","web"]'),
    ]


def test_always_link_joins_without_a_row_that_says_so(warehouse: Warehouse) -> None:
    fill(warehouse, "cdp.crm", 2, [(1, "u1", "a@x.fr"), (2, "u2", "b@x.fr"), (3, "u3", "c@x.fr")])
    links = """SELECT 'user_id' AS left_type, 'u1' AS left_value, 'user_id' AS right_type, 'u2' AS right_value
        UNION ALL SELECT 'user_id', 'u3', 'user_id', 'u9' UNION ALL SELECT 'user_id', 'u2', 'user_id', 'null'"""
    link = Link(parse_one(links, dialect="duckdb"))
    build(
        warehouse, customer([Identifier("user_id", 1), EMAIL], records("cdp.crm", ["user_id", "email"]), always=(link,))
    )
    assert people(warehouse) == {
        frozenset({"user_id:u1", "email:a@x.fr", "user_id:u2", "email:b@x.fr"}),
        frozenset({"user_id:u3", "email:c@x.fr"}),
    }
    assert edges(warehouse)["user_id:u1", "user_id:u2"] is None


def test_always_link_is_stronger_than_any_row(warehouse: Warehouse) -> None:
    fill(warehouse, "cdp.crm", 2, [(1, "u1", "a@x.fr"), (2, "u2", "b@x.fr")])
    links = "SELECT 'user_id' AS left_type, 'u1' AS left_value, 'email' AS right_type, 'B@x.fr' AS right_value"
    link = Link(parse_one(links, dialect="duckdb"))
    build(
        warehouse, customer([Identifier("user_id", 1), EMAIL], records("cdp.crm", ["user_id", "email"]), always=(link,))
    )
    assert people(warehouse) == {frozenset({"user_id:u1", "email:a@x.fr", "email:b@x.fr"}), frozenset({"user_id:u2"})}
    assert edges(warehouse)["user_id:u1", "email:b@x.fr"] is None
    assert edges(warehouse)["user_id:u2", "email:b@x.fr"] == "limit"


def _chain(order: list[int]) -> list[tuple[object, ...]]:
    """Records that link value order[i] with order[i + 1]."""
    return [(None, f"{a:09d}", f"{b:09d}") for a, b in pairwise(order)]


def _one_person(warehouse: Warehouse, rows: list[tuple[object, ...]], size: int) -> None:
    fill(warehouse, "cdp.crm", 2, rows)
    build(warehouse, customer([Identifier("id")], records("cdp.crm", ["id", "id"])))
    assert [len(members) for members in people(warehouse)] == [size]


def test_a_chain_of_ten_thousand_numbered_in_order_is_one_person(warehouse: Warehouse) -> None:
    _one_person(warehouse, _chain(list(range(10_000))), 10_000)


def test_a_chain_of_a_thousand_in_bit_reversed_order_is_one_person(warehouse: Warehouse) -> None:
    order = sorted(range(1024), key=lambda number: f"{number:010b}"[::-1])[:1000]
    _one_person(warehouse, _chain(order), 1000)


def test_a_star_of_a_hundred_thousand_is_one_person(duckdb: DuckDB) -> None:
    duckdb.make_table(
        "cdp.crm",
        "SELECT CAST(i AS TEXT) AS row_key, CAST(NULL AS TIMESTAMP) AS row_at, 'hub' AS i0, 'd' || i AS i1"
        " FROM range(100000) t(i)",
    )
    build(duckdb, customer(limited({"user_id": None, "device": None}), records("cdp.crm", ["user_id", "device"])))
    assert duckdb.rows("SELECT COUNT(*), COUNT(DISTINCT customer_id) FROM cdp.customer_ids") == [(100_001, 1)]


def _members_of_example_4() -> list[tuple[object, ...]]:
    folder = Path(os.environ.get("CDP_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
    file = folder / "td_id_unification" / "ex4_aaa.csv"
    if not file.is_file():
        pytest.skip(f"public test data are not here: {file}")
    with file.open(newline="", encoding="utf-8") as lines:
        return [(None, row["member_id"] or None, row["email"]) for row in csv.DictReader(lines)]


def test_treasure_data_example_4_is_three_people_by_closure(warehouse: Warehouse) -> None:
    fill(warehouse, "cdp.aaa", 2, _members_of_example_4())
    build(warehouse, customer(limited({"member_id": None, "email": None}), records("cdp.aaa", ["member_id", "email"])))
    assert people(warehouse) == {
        frozenset({"member_id:1", "member_id:2", "email:a@ex.com"}),
        frozenset({"member_id:3", "email:b@ex.com"}),
        frozenset({"email:c@ex.com"}),
    }


def test_treasure_data_example_4_is_four_people_where_members_may_not_merge(warehouse: Warehouse) -> None:
    fill(warehouse, "cdp.aaa", 2, _members_of_example_4())
    build(warehouse, customer(limited({"member_id": 1, "email": None}), records("cdp.aaa", ["member_id", "email"])))
    assert people(warehouse) == {
        frozenset({"member_id:1", "email:a@ex.com"}),
        frozenset({"member_id:2"}),
        frozenset({"member_id:3", "email:b@ex.com"}),
        frozenset({"email:c@ex.com"}),
    }
    assert edges(warehouse)["member_id:2", "email:a@ex.com"] == "limit"


def test_realistic_people_without_limits_in_play_take_twelve_statements_from_records_to_components(
    duckdb: DuckDB,
) -> None:
    # 5,000 people with one to three devices and mails each, nobody over a limit
    rows: list[tuple[object, ...]] = []
    for person in range(5_000):
        for device in range(1 + person % 3):
            rows.append((person % 300, f"u{person}" if device == 0 else None, f"m{person}@x.fr", f"d{person}-{device}"))
    fill(duckdb, "cdp.web", 3, rows)
    spec = customer(
        limited({"user_id": 1, "email": 5, "device": 50}), records("cdp.web", ["user_id", "email", "device"])
    )
    names = [statement.name for statement in build(duckdb, spec)]
    start, end = names.index("edges"), names.index("components over a limit")
    assert end - start + 1 <= 12
    assert "cuts" not in names
    assert len(set(ids(duckdb).values())) == 5_000
