"""What is sent: only what differs, and only if it does."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from cdp.warehouse.base import Warehouse
from tests.sync.making import Fake, World, fields, plan, row


@pytest.fixture
def world(warehouse: Warehouse, tmp_path: Path) -> World:
    return World(warehouse, tmp_path)


def test_the_first_run_sends_every_row_with_all_its_fields(world: World) -> None:
    result = world.run(row("a", name="Ann", ltv=Decimal("12.50")), row("b", name="Ben"))
    assert (result.status, result.exit_code) == ("done", 0)
    assert world.fake.records == {"a@x.fr": {"name": "Ann", "ltv": 12.5}, "b@x.fr": {"name": "Ben"}}
    assert (result.counts.queried, result.counts.added_accepted, result.counts.requests) == (2, 2, 1)
    assert {c.kind for c in world.fake.sent} == {"add"}


def test_a_second_run_without_changes_sends_nothing(world: World) -> None:
    rows = [row("a", name="Ann", ltv=1), row("b", name=None, ltv=None)]
    world.run(*rows)
    world.fake.forget()
    result = world.run()
    assert (result.status, result.counts.requests, world.fake.batches_sent) == ("done", 0, [])
    assert world.fake.opened == 1


def test_a_change_names_its_fields(world: World) -> None:
    world.run(row("a", name="Ann", ltv=1), row("b", name="Ben", ltv=1))
    world.fake.forget()
    result = world.run(row("a", name="Ann", ltv=2), row("b", name="Ben", ltv=1))
    (change,) = world.fake.sent
    assert (change.row_key, change.kind, change.changed) == ("a", "change", {"ltv"})
    assert change.fields == {"name": "Ann", "ltv": 2}
    assert result.counts.changed_accepted == 1


def test_a_row_that_left_is_removed_by_the_ids_it_was_sent_with(world: World) -> None:
    world.run(row("a", name="Ann"), row("b", name="Ben"), row("c", name="Cid"))
    result = world.run(row("a", name="Ann"), row("c", name="Cid"))
    assert world.fake.records.keys() == {"a@x.fr", "c@x.fr"}
    assert (world.fake.log[-1], result.counts.removed_accepted) == (("delete", "b@x.fr"), 1)
    assert world.state("sent_s", "count(*)") == [(2,)]


def test_a_null_that_is_omitted_is_no_change_and_the_ledger_remembers_what_is_there(world: World) -> None:
    world.run(row("a", name="Ann", ltv=1))
    world.fake.forget()
    world.run(row("a", name=None, ltv=2))
    assert world.fake.records["a@x.fr"] == {"name": "Ann", "ltv": 2}
    world.fake.forget()
    world.run(row("a", name="Ann", ltv=2))
    assert world.fake.sent == []


def test_a_null_that_is_to_be_cleared_is_sent_as_null(world: World) -> None:
    name, ltv = world.plan.fields
    world.map(replace(name, nulls="clear"), ltv)
    world.run(row("a", name="Ann", ltv=1))
    world.run(row("a", name=None, ltv=1))
    assert world.fake.records["a@x.fr"] == {"name": None, "ltv": 1}
    world.fake.forget()
    world.run()
    assert world.fake.sent == []


def test_the_empty_text_is_not_null(world: World) -> None:
    world.run(row("a", name=""))
    world.fake.forget()
    world.run(row("a", name=None))
    assert world.fake.sent == []
    world.run(row("a", name="x"))
    world.run(row("a", name=""))
    assert world.fake.records["a@x.fr"]["name"] == ""


def test_a_difference_within_the_tolerance_is_none(world: World) -> None:
    name, ltv = world.plan.fields
    world.map(name, replace(ltv, tolerance=Decimal("0.01")))
    world.run(row("a", ltv=Decimal("1.00")))
    world.fake.forget()
    world.run(row("a", ltv=Decimal("1.01")))
    assert world.fake.sent == []
    world.run(row("a", ltv=Decimal("1.02")))
    assert [c.fields["ltv"] for c in world.fake.sent] == [1.02]


def test_an_ignored_field_travels_along_but_causes_nothing(world: World) -> None:
    name, ltv = world.plan.fields
    world.map(name, replace(ltv, ignored=True))
    world.run(row("a", name="Ann", ltv=1))
    world.fake.forget()
    world.run(row("a", name="Ann", ltv=2))
    assert world.fake.sent == []
    world.run(row("a", name="Anna", ltv=3))
    assert world.fake.records["a@x.fr"] == {"name": "Anna", "ltv": 3}


def test_duplicates_of_a_key_or_of_match_ids_are_all_set_aside_and_keep_their_state(world: World) -> None:
    world.options = replace(world.options, force=frozenset({"max_invalid"}))
    world.run(row("a", name="Ann"), row("b", name="Ben"), row("c", name="Cid"))
    world.fake.forget()
    result = world.run(
        row("a", name="A1"),
        row("a", name="A2"),
        row("b", email="same@x.fr"),
        row("z", email="same@x.fr"),
        row("c", name="C"),
    )
    assert [(c.row_key, c.kind) for c in world.fake.sent] == [("c", "change")]
    assert (result.counts.invalid, result.exit_code) == (4, 0)
    assert world.fake.records.keys() == {"a@x.fr", "b@x.fr", "c@x.fr"}
    reasons = world.state("sync_log", "row_key, message", "WHERE status = 'invalid' ORDER BY row_key")
    assert reasons == [("a", "duplicate_key"), ("b", "duplicate_match"), ("z", "duplicate_match")]


def test_prefer_names_the_duplicate_that_wins(warehouse: Warehouse, tmp_path: Path) -> None:
    world = World(warehouse, tmp_path, plan(prefer=(("o_0", True),)))
    result = world.run(
        row("a", email="same@x.fr", name="poor", o_0=1),
        row("b", email="same@x.fr", name="rich", o_0=9),
        row("c", name="old", o_0=1),
        row("c", name="new", o_0=2),
        row("d", email="tie@x.fr", o_0=5),
        row("e", email="tie@x.fr", o_0=5),
    )
    assert world.fake.records == {"same@x.fr": {"name": "rich"}, "c@x.fr": {"name": "new"}}
    assert (result.counts.invalid, result.counts.skipped) == (2, 1)


def test_a_row_without_a_match_id_is_skipped_and_does_not_leave(world: World) -> None:
    world.run(row("a", name="Ann"), row("b", name="Ben"))
    world.fake.forget()
    result = world.run(row("a", name="Ann"), {"key": "b", "email": None}, {"key": "c", "email": ""})
    assert (result.counts.skipped, world.fake.sent, result.exit_code) == (2, [], 0)


def test_a_row_that_is_held_back_leaves_and_is_counted_apart(world: World) -> None:
    people = [row(f"k{i}", name="x") for i in range(4)]
    world.run(*people)
    result = world.run(*people[:1], *({**person, "held": "excluded"} for person in people[1:]))
    assert (result.status, result.counts.held, result.planned["remove"]) == ("done", 3, 0)
    assert world.fake.records.keys() == {"k0@x.fr"}


def test_other_match_ids_leave_and_enter(world: World) -> None:
    world.run(row("a", email="old@x.fr", name="Ann", ltv=1))
    world.fake.forget()
    world.run(row("a", email="new@x.fr", name="Ann", ltv=1))
    assert world.fake.log == [("delete", "old@x.fr"), ("upsert", "new@x.fr")]
    assert world.fake.records == {"new@x.fr": {"name": "Ann", "ltv": 1}}
    assert world.state("sent_s", "row_key, match_ids") == [("a", '{"email":"new@x.fr"}')]
    world.fake.forget()
    assert (world.run().counts.requests, world.state("sync_runs", "ledger_rows", "ORDER BY version DESC LIMIT 1")) == (
        0,
        [(1,)],
    )


def test_an_address_that_moves_between_two_keys_is_never_removed(world: World) -> None:
    world.run(row("a", email="one@x.fr", name="Ann"), row("b", email="two@x.fr", name="Ben"))
    world.fake.forget()
    world.run(row("a", email="two@x.fr", name="Ann"), row("b", email="three@x.fr", name="Ben"))
    assert ("delete", "two@x.fr") not in world.fake.log
    assert {who: r["name"] for who, r in world.fake.records.items()} == {"two@x.fr": "Ann", "three@x.fr": "Ben"}
    world.fake.forget()
    assert world.run().counts.requests == 0


def test_a_key_that_is_spelled_anew_is_one_change(world: World) -> None:
    world.run(row("1", email="a@x.fr", name="Ann", ltv=1), row("2", email="b@x.fr", name="Ben"))
    world.fake.forget()
    world.run(row('"1"', email="a@x.fr", name="Ann", ltv=2), row('"2"', email="b@x.fr", name="Ben"))
    assert [(c.row_key, c.kind, c.changed) for c in world.fake.sent] == [('"1"', "change", {"ltv"})]
    assert world.state("sent_s", "row_key", "ORDER BY 1") == [('"1"',), ('"2"',)]
    world.fake.forget()
    assert world.run().counts.requests == 0


def test_a_grown_mapping_sends_the_new_field_only(world: World) -> None:
    world.run(row("a", name="Ann", ltv=1), row("b", name="Ben", ltv=2))
    world.fake.forget()
    world.map(*world.plan.fields, *fields(city="text"))
    world.run(row("a", name="Ann", ltv=1, city="Lyon"), row("b", name="Ben", ltv=2, city=None))
    assert [(c.row_key, c.changed) for c in world.fake.sent] == [("a", {"city"})]
    world.fake.forget()
    assert world.run().counts.requests == 0
    named = world.state("sync_fields", "field, column_name, first_run", "ORDER BY field")
    assert named == [("city", "f_city", "r2"), ("ltv", "f_ltv", "r1"), ("name", "f_name", "r1")]


def test_a_field_that_comes_back_was_never_sent(world: World) -> None:
    name, ltv = world.plan.fields
    world.run(row("a", name="Ann", ltv=1))
    world.map(name).run(row("a", name="Anna"))
    world.fake.forget()
    world.map(name, ltv).run(row("a", name="Anna", ltv=1))
    assert [c.changed for c in world.fake.sent] == [{"ltv"}]
    world.fake.forget()
    assert world.run().counts.requests == 0


def test_a_new_field_that_clears_is_sent_even_if_it_is_null(world: World) -> None:
    world.run(row("a", name="Ann"))
    world.fake.forget()
    (city,) = fields(city="text")
    world.map(*world.plan.fields, replace(city, nulls="clear"))
    world.run(row("a", name="Ann", city=None))
    assert [(c.changed, c.fields) for c in world.fake.sent] == [({"city"}, {"name": "Ann", "city": None})]
    world.fake.forget()
    assert world.run().counts.requests == 0


def test_a_widened_type_sends_nothing_and_the_column_follows(warehouse: Warehouse, tmp_path: Path) -> None:
    world = World(warehouse, tmp_path, plan(fields(n="int")))
    world.run(row("a", n=1), row("b", n=None))
    world.fake.forget()
    world.map(*fields(n="decimal")).run(row("a", n=Decimal("1.0")), row("b", n=None))
    assert world.fake.sent == []
    world.map(*fields(n="text")).run(row("a", n="1"), row("b", n="x"))
    assert [(c.row_key, c.fields) for c in world.fake.sent] == [("b", {"n": "x"})]
    types = {c.name: c.type for c in warehouse.columns("cdp_state.sent_s") or ()}
    assert types["f_n"] == "text"


def test_keys_follow_merged_profiles(warehouse: Warehouse, tmp_path: Path) -> None:
    world = World(warehouse, tmp_path, plan(changes="cdp.customer_changes"))
    changes(warehouse)
    world.run(row("p1", name="Ann", ltv=1), row("p2", email="b@x.fr", name="Ben"))
    world.fake.forget()
    changes(warehouse, ("merged", "p1", "p0", 1), ("merged", "p0", "p9", 2))
    world.run(row("p9", email="p1@x.fr", name="Ann", ltv=1), row("p2", email="b@x.fr", name="Ben"))
    assert world.fake.sent == []
    assert world.state("sent_s", "row_key", "ORDER BY 1") == [("p2",), ("p9",)]


def test_a_merge_never_deletes_a_customer(warehouse: Warehouse, tmp_path: Path) -> None:
    world = World(warehouse, tmp_path, plan(changes="cdp.customer_changes"))
    changes(warehouse)
    world.run(row("p1", name="Ann", ltv=1), row("p2", email="b@x.fr", name="Ben", ltv=2))
    world.fake.forget()
    changes(warehouse, ("merged", "p2", "p1", 1))
    world.run(row("p1", name="Ann", ltv=3))
    assert world.fake.log == [("upsert", "b@x.fr"), ("upsert", "p1@x.fr")]
    assert world.fake.records == {"p1@x.fr": {"name": "Ann", "ltv": 3}, "b@x.fr": {"name": None, "ltv": None}}
    world.fake.forget()
    assert world.run().counts.requests == 0


def changes(warehouse: Warehouse, *merges: tuple[str, str, str, int]) -> None:
    rows = " UNION ALL ".join(
        f"SELECT '{kind}' AS kind, '{old}' AS old_id, '{new}' AS new_id, CAST('2026-01-0{day} 00:00:00' AS TIMESTAMP) AS changed_at"
        for kind, old, new, day in (("new", "x", "x", 1), *merges)
    )
    warehouse.make_table("cdp.customer_changes", rows)


def test_a_list_is_kept_beside_the_records(warehouse: Warehouse, tmp_path: Path) -> None:
    world = World(warehouse, tmp_path, plan(list="l1", on_leave="remove"))
    world.fake.gives_ids = True
    world.run(row("a", name="Ann"), row("b", name="Ben"), row("c", name="Cid"))
    assert world.fake.members == {"a@x.fr", "b@x.fr", "c@x.fr"}
    assert {c.remote_id for c in world.fake.sent if c.operation == "add"} == {"r-a@x.fr", "r-b@x.fr", "r-c@x.fr"}
    world.fake.forget()
    result = world.run(row("a", name="Anna"), row("b", name="Ben"))
    assert world.fake.log == [("remove", "c@x.fr"), ("upsert", "a@x.fr")]
    assert world.fake.records.keys() == {"a@x.fr", "b@x.fr", "c@x.fr"}
    assert (result.counts.changed_accepted, result.counts.removed_accepted) == (1, 1)
    world.fake.forget()
    assert world.run().counts.requests == 0


def test_nobody_is_put_on_the_list_whose_record_was_refused(warehouse: Warehouse, tmp_path: Path) -> None:
    world = World(warehouse, tmp_path, plan(list="l1", on_leave="remove"))
    world.fake.refuse = lambda change: "no" if change.row_key == "b" and change.operation == "upsert" else None
    result = world.run(row("a", name="Ann"), row("b", name="Ben"))
    assert world.fake.members == {"a@x.fr"}
    assert (result.counts.added_accepted, result.counts.added_refused) == (1, 1)
    world.fake.refuse = lambda change: None
    world.run()
    assert world.fake.members == {"a@x.fr", "b@x.fr"}


@pytest.mark.parametrize(
    ("on_leave", "log"),
    [("delete", [("delete", "b@x.fr")]), ("clear", [("upsert", "b@x.fr")]), ("ignore", [])],
)
def test_what_a_leave_does_to_a_record(
    warehouse: Warehouse, tmp_path: Path, on_leave: str, log: list[tuple[str, str]]
) -> None:
    world = World(warehouse, tmp_path, plan(on_leave=on_leave))
    world.run(row("a", name="Ann"), row("b", name="Ben"), row("c"))
    world.fake.forget()
    world.run(row("a", name="Ann"), row("c"))
    assert world.fake.log == log
    world.fake.forget()
    world.run()
    assert world.fake.log == []


def test_upsert_never_removes(warehouse: Warehouse, tmp_path: Path) -> None:
    world = World(warehouse, tmp_path, plan(mode="upsert"))
    world.run(row("a", name="Ann"), row("b", name="Ben"))
    world.fake.forget()
    world.run(row("a", name="Ann"))
    assert (world.fake.log, world.state("sent_s", "row_key")) == ([], [("a",)])


def test_several_match_ids_are_one_address(warehouse: Warehouse, tmp_path: Path) -> None:
    world = World(warehouse, tmp_path, plan(match=("id", "email")))
    world.run(
        {"key": "a", "id": "7", "email": None, "name": "Ann"},
        {"key": "b", "id": "7", "email": 'q"@x.fr', "name": "Ben"},
    )
    assert [dict(c.match) for c in world.fake.sent] == [{"id": "7"}, {"id": "7", "email": 'q"@x.fr'}]
    world.fake.forget()
    assert world.run().counts.requests == 0


def test_values_of_every_type_travel_as_json(warehouse: Warehouse, tmp_path: Path) -> None:
    types = {t: t for t in ("text", "int", "decimal", "float", "bool", "date", "timestamp", "list", "json")}
    world = World(warehouse, tmp_path, plan(fields(**types)))
    world.run(
        row("a", text="é'\"\n\\😀", int=2**60, decimal=Decimal("-0.25"), float=1e-7, bool=False, date="2026-02-03",
            timestamp="2026-02-03 04:05:06", list='["a",1]', json='{"k":null}'),
        row("b", decimal=Decimal("12345678901234567.123456789"), timestamp="2026-02-03 04:05:06.789", float=-0.0),
    )  # fmt: skip
    assert world.fake.records["a@x.fr"] == {
        "text": "é'\"\n\\😀", "int": 2**60, "decimal": -0.25, "float": 1e-7, "bool": False, "date": "2026-02-03",
        "timestamp": "2026-02-03T04:05:06Z", "list": ["a", 1], "json": {"k": None},
    }  # fmt: skip
    b = world.fake.records["b@x.fr"]
    assert (b["decimal"], b["timestamp"]) == ("12345678901234567.123456789", "2026-02-03T04:05:06.789000Z")
    world.fake.forget()
    assert world.run().counts.requests == 0


def test_a_number_that_json_cannot_say_is_set_aside(warehouse: Warehouse, tmp_path: Path) -> None:
    world = World(warehouse, tmp_path, plan(fields(x="float")))
    result = world.run(row("a", x=1.5), row("b", x=float("nan")), row("c", x=float("inf")))
    assert world.fake.records == {"a@x.fr": {"x": 1.5}}
    assert (result.counts.invalid, result.exit_code) == (2, 0)


def test_only_and_limit_leave_rows_for_later(world: World) -> None:
    rows = [row(f"k{i}", name="x") for i in range(5)]
    world.run(*rows, only=("k3",))
    assert world.fake.records.keys() == {"k3@x.fr"}
    world.run(limit=2)
    assert len(world.fake.records) == 3
    result = world.run()
    assert (len(world.fake.records), result.counts.added_accepted) == (5, 2)


def test_resync_sends_everything_again_and_removals(world: World) -> None:
    world.run(row("a", name="Ann"), row("b", name="Ben"), row("c"))
    world.fake.forget()
    world.run(row("a", name="Ann"), row("c"), resync=True)
    assert sorted(world.fake.log) == [("delete", "b@x.fr"), ("upsert", "a@x.fr"), ("upsert", "c@x.fr")]


def test_adopt_remembers_without_sending(world: World) -> None:
    result = world.run(row("a", name="Ann"), row("b", name="Ben"), adopt=True)
    assert (world.fake.batches_sent, result.counts.adopted, result.status) == ([], 2, "done")
    world.run(row("a", name="Anna"), row("b", name="Ben"))
    assert [c.row_key for c in world.fake.sent] == ["a"]


def test_a_dry_run_shows_and_changes_nothing(world: World) -> None:
    world.run(row("a", name="Ann"), row("b", name="Ben"), row("c"))
    world.fake.forget()
    before = [world.state(t) for t in ("sent_s", "sync_runs", "sync_log", "sync_fields")]
    result = world.run(row("a", name="Anna"), row("c"), row("d"), dry_run=True)
    assert (result.planned, result.dry_run) == ({"add": 1, "change": 1, "remove": 1}, True)
    assert [(s["kind"], s["row_key"]) for s in result.sample] == [("remove", "b"), ("change", "a"), ("add", "d")]
    assert before == [world.state(t) for t in ("sent_s", "sync_runs", "sync_log", "sync_fields")]
    assert world.fake.batches_sent == []
    assert [t for t in world.warehouse.tables("cdp_state") if "__" in t or "stage" in t] == []


def test_the_order_is_removes_changes_adds(world: World) -> None:
    world.fake.items = 1
    world.run(row("a", name="Ann"), row("b", name="Ben"), row("z"))
    world.fake.forget()
    world.run(row("b", name="Benno"), row("c"), row("z"))
    assert world.fake.log == [("delete", "a@x.fr"), ("upsert", "b@x.fr"), ("upsert", "c@x.fr")]


def test_a_destination_that_cannot_do_it_is_told_so(warehouse: Warehouse, tmp_path: Path) -> None:
    world = World(warehouse, tmp_path, fake=Fake(operations=frozenset({"upsert"})))
    with pytest.raises(Exception, match="CDP432: sync `s` needs `delete`, which destination `fake` cannot do"):
        world.run(row("a"))
