"""Ids: the same for any order of input and after every rebuild; births, merges, splits and retirements are recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from cdp.compile.identity import IdentitySpec
from cdp.errors import GuardError
from cdp.warehouse.base import Warehouse
from cdp.warehouse.duckdb import DuckDB
from tests.compile.identity.people import AS_OF, Row, build, changes, customer, fill, ids, limited, records


def spec_of(limit: int | None = None) -> IdentitySpec:
    return customer(limited({"user_id": limit, "email": None}), records("cdp.crm", ["user_id", "email"]))


def day(warehouse: Warehouse, run: int, rows: Sequence[Row], spec: IdentitySpec | None = None) -> dict[str, str]:
    """The ids after a run over `rows`."""
    fill(warehouse, "cdp.crm", 2, rows)
    build(warehouse, spec or spec_of(), f"run{run}", AS_OF + timedelta(days=run))
    return ids(warehouse)


def master(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return sorted(warehouse.rows("SELECT * FROM cdp_state.customer_ids"), key=repr)


ROWS: list[Row] = [(1, "u1", "a"), (2, "u2", "a"), (3, "u3", "b"), (None, None, "c")]


def test_unchanged_data_keep_the_master_of_ids_byte_for_byte(warehouse: Warehouse) -> None:
    day(warehouse, 1, ROWS)
    before = master(warehouse)
    day(warehouse, 2, ROWS[::-1])
    assert master(warehouse) == before
    assert changes(warehouse, "run2") == set()


def test_two_cold_rebuilds_agree_on_ids(warehouse: Warehouse) -> None:
    first = day(warehouse, 1, ROWS)
    warehouse.execute("DELETE FROM cdp_state.customer_ids")
    assert day(warehouse, 2, ROWS[::-1]) == first


def test_an_id_is_text_and_derived_from_project_entity_and_anchor(warehouse: Warehouse) -> None:
    found = day(warehouse, 1, [(1, "u1", "a")])
    # printf 'shop:customer:user_id:u1' | sha256sum
    assert found["user_id:u1"] == "0f6e1ea4efc3d522c4d4c43f87eaca0f"
    assert {len(entity) for entity in found.values()} == {32}


def test_every_birth_is_recorded(warehouse: Warehouse) -> None:
    found = day(warehouse, 1, ROWS)
    assert changes(warehouse, "run1") == {("new", None, entity) for entity in set(found.values())}


def test_a_merge_keeps_the_oldest_id_and_records_the_other(warehouse: Warehouse) -> None:
    first = day(warehouse, 1, [(9, "u2", "b")])
    second = day(warehouse, 2, [(9, "u2", "b"), (1, "u1", "a")])
    assert second["user_id:u2"] == first["user_id:u2"]
    third = day(warehouse, 3, [(9, "u2", "b"), (1, "u1", "a"), (10, "u1", "b")])
    assert set(third.values()) == {first["user_id:u2"]}  # made in run 1, although u1 was seen earlier
    assert changes(warehouse, "run3") == {("merged", second["user_id:u1"], first["user_id:u2"])}


def test_a_split_leaves_the_id_with_its_anchor(warehouse: Warehouse) -> None:
    joined = [(1, "u1", "a"), (2, "u2", "a"), (3, "u2", "b")]
    first = day(warehouse, 1, joined)
    assert len(set(first.values())) == 1
    second = day(warehouse, 2, [(1, "u1", "a"), (3, "u2", "b")])
    assert second["user_id:u1"] == second["email:a"] == first["user_id:u1"]
    assert second["user_id:u2"] == second["email:b"] != first["user_id:u1"]
    assert changes(warehouse, "run2") == {("split", first["user_id:u1"], second["user_id:u2"])}


def test_a_merge_that_is_undone_gives_the_former_id_back(warehouse: Warehouse) -> None:
    apart: list[Row] = [(1, "u1", "a"), (2, "u2", "b")]
    first = day(warehouse, 1, apart)
    day(warehouse, 2, [*apart, (3, "u2", "a")])
    assert day(warehouse, 3, apart) == first


def test_an_id_that_lives_on_elsewhere_is_not_given_again(warehouse: Warehouse) -> None:
    first = day(warehouse, 1, [(1, "u1", "a")])  # anchored at u1
    day(warehouse, 2, [(1, None, "a")])  # u1 is gone, its id lives on with mail a
    third = day(warehouse, 3, [(1, None, "a"), (5, "u1", "b")])
    assert third["email:a"] == first["user_id:u1"]
    assert third["user_id:u1"] != first["user_id:u1"]


def test_an_id_without_identifiers_is_retired_and_comes_back_with_them(warehouse: Warehouse) -> None:
    first = day(warehouse, 1, ROWS)
    day(warehouse, 2, ROWS[:2])
    gone = {first["user_id:u3"], first["email:c"]}
    assert changes(warehouse, "run2") == {("retired", entity, None) for entity in gone}
    assert day(warehouse, 3, ROWS) == first
    assert changes(warehouse, "run3") == {("new", None, entity) for entity in gone}


def test_a_mail_that_is_cut_off_later_leaves_its_id_with_the_anchor(warehouse: Warehouse) -> None:
    first = day(warehouse, 1, [(1, "u1", "a"), (2, "u2", "a")])
    second = day(warehouse, 2, [(1, "u1", "a"), (2, "u2", "a")], spec_of(1))
    assert second["user_id:u1"] == second["email:a"] == first["user_id:u1"]
    assert changes(warehouse, "run2") == {("split", first["user_id:u1"], second["user_id:u2"])}


def test_a_run_that_would_change_too_many_ids_stops_and_changes_nothing(duckdb: DuckDB) -> None:
    many: list[Row] = [(1, f"u{n}", f"m{n}") for n in range(1100)]
    day(duckdb, 1, many)
    before = master(duckdb)
    merged = [(1, f"u{n}", f"m{n - n % 2}") for n in range(1100)]
    with pytest.raises(GuardError, match="would merge, split or retire 550 ids of `customer`") as caught:
        day(duckdb, 2, merged)
    assert caught.value.code == "CDP506"
    assert master(duckdb) == before
    assert len(set(day(duckdb, 3, merged, replace(spec_of(), forced=True)).values())) == 1100 - 550


def test_growth_is_no_change_of_ids(duckdb: DuckDB) -> None:
    many: list[Row] = [(1, f"u{n}", f"m{n}") for n in range(1100)]
    day(duckdb, 1, many)
    found = day(duckdb, 2, [*many, *((2, f"v{n}", f"w{n}") for n in range(1100))])
    assert len(set(found.values())) == 2200
