"""Limits: what must not chain people together, and what must not be lost when something is cut."""

from __future__ import annotations

from cdp.compile.identity import Identifier
from cdp.warehouse.base import Warehouse
from cdp.warehouse.duckdb import DuckDB
from tests.compile.identity.people import attached, build, customer, dropped, edges, fill, ids, limited, people, records

STRONG_FIRST = {"user_id": 1, "email": 5, "phone": 5, "device": 50}


def together(warehouse: Warehouse, *identifiers: str) -> bool:
    """Whether all of them are one person."""
    found = ids(warehouse)
    return len({found[identifier] for identifier in identifiers}) == 1


def test_a_family_mail_belongs_to_its_first_owner_and_joins_nobody(warehouse: Warehouse) -> None:
    # four people of a family with a mail of their own each; the shared one was seen with mum first
    rows = [(day, f"u{n}", f"own{n}@x.fr") for n, day in enumerate((5, 6, 7, 8))]
    rows += [(day, f"u{n}", "family@x.fr") for n, day in enumerate((30, 20, 40, 50))]
    fill(warehouse, "cdp.crm", 2, rows)
    build(warehouse, customer(limited({"user_id": 1, "email": 5}), records("cdp.crm", ["user_id", "email"])))
    assert people(warehouse) == {
        frozenset({"user_id:u1", "email:own1@x.fr", "email:family@x.fr"}),
        *(frozenset({f"user_id:u{n}", f"email:own{n}@x.fr"}) for n in (0, 2, 3)),
    }
    assert attached(warehouse) == {"email:family@x.fr"}
    assert {pair: reason for pair, reason in edges(warehouse).items() if pair[1] == "email:family@x.fr"} == {
        ("user_id:u1", "email:family@x.fr"): None,
        **{(f"user_id:u{n}", "email:family@x.fr"): "limit" for n in (0, 2, 3)},
    }


def test_an_office_mailbox_that_is_the_strongest_type_loses_nobody_a_link(warehouse: Warehouse) -> None:
    # 21 records of 19 companies: the mailbox is in all of them, phones tell the companies apart
    rows = [(1, "office@x.fr", f"p{n % 19}", f"d{n}") for n in range(21)]
    fill(warehouse, "cdp.crm", 3, rows)
    spec = customer(limited({"email": 5, "phone": 5, "device": 50}), records("cdp.crm", ["email", "phone", "device"]))
    build(warehouse, spec)
    assert len(people(warehouse)) == 19
    assert all(together(warehouse, f"phone:p{n % 19}", f"device:d{n}") for n in range(21))
    assert dropped(warehouse) == {"email:office@x.fr": ("shared", 21)}
    found = edges(warehouse)
    assert found["email:office@x.fr", "phone:p0"] == "shared"
    assert found["phone:p0", "device:d19"] is None


def test_an_office_mailbox_below_user_ids_chains_none_of_them(warehouse: Warehouse) -> None:
    rows = [(n, f"u{n % 19}", "office@x.fr", f"d{n}") for n in range(21)]
    fill(warehouse, "cdp.crm", 3, rows)
    build(
        warehouse,
        customer(limited({"user_id": 1, "email": 5, "device": 50}), records("cdp.crm", ["user_id", "email", "device"])),
    )
    assert len(people(warehouse)) == 19
    assert together(warehouse, "user_id:u0", "email:office@x.fr", "device:d0", "device:d19")


def test_forty_good_pairs_touched_by_one_mailbox_stay_forty(warehouse: Warehouse) -> None:
    rows: list[tuple[object, ...]] = []
    for n in range(40):  # a web account and a loyalty card, joined by a mail of their own
        rows += [
            (n, f"u{n}", None, f"own{n}@x.fr"),
            (n, None, f"l{n}", f"own{n}@x.fr"),
            (50 + n, f"u{n}", None, "desk@x.fr"),
        ]
    fill(warehouse, "cdp.crm", 3, rows)
    spec = customer(
        limited({"user_id": 1, "loyalty": 3, "email": 5}), records("cdp.crm", ["user_id", "loyalty", "email"])
    )
    build(warehouse, spec)
    assert len(people(warehouse)) == 40
    assert all(together(warehouse, f"user_id:u{n}", f"loyalty:l{n}", f"email:own{n}@x.fr") for n in range(40))
    assert attached(warehouse) == {"email:desk@x.fr"}


def test_forty_good_pairs_stay_forty_where_only_mails_are_limited(warehouse: Warehouse) -> None:
    rows: list[tuple[object, ...]] = []
    for n in range(40):
        rows += [
            (n, f"u{n}", None, f"own{n}@x.fr"),
            (n, None, f"l{n}", f"own{n}@x.fr"),
            (50 + n, f"u{n}", None, "desk@x.fr"),
        ]
    fill(warehouse, "cdp.crm", 3, rows)
    spec = customer(
        limited({"user_id": None, "loyalty": None, "email": 5}), records("cdp.crm", ["user_id", "loyalty", "email"])
    )
    build(warehouse, spec)
    assert len(people(warehouse)) == 40


def test_an_identifier_on_one_row_in_a_hundred_merges_nobody(duckdb: DuckDB) -> None:
    rows = [(1, f"u{n}", "000-placeholder" if n % 100 == 0 else f"d{n}") for n in range(20_000)]
    fill(duckdb, "cdp.web", 2, rows)
    build(duckdb, customer(limited({"user_id": 1, "device": 50}), records("cdp.web", ["user_id", "device"])))
    assert len(people(duckdb)) == 20_000
    assert dropped(duckdb) == {"device:000-placeholder": ("shared", 200)}


def test_a_person_keeps_more_mails_than_the_limit_if_they_join_nobody_else(warehouse: Warehouse) -> None:
    # four cards of one person, five mails on each: nothing is joined by a mail
    rows = [(1, "u1", f"c{n % 4}", None) for n in range(4)] + [(2, None, f"c{n % 4}", f"m{n}") for n in range(20)]
    fill(warehouse, "cdp.crm", 3, rows)
    build(
        warehouse,
        customer(limited({"user_id": 1, "card": 4, "email": 5}), records("cdp.crm", ["user_id", "card", "email"])),
    )
    assert [len(members) for members in people(warehouse)] == [25]
    assert attached(warehouse) == set()


def test_of_too_many_mails_of_one_identifier_the_latest_join(warehouse: Warehouse) -> None:
    # six mails of u1, the limit is five; the oldest one is also the only mail of card c9
    rows: list[tuple[object, ...]] = [(day, "u1", None, f"m{day}") for day in range(1, 7)]
    rows.append((9, None, "c9", "m1"))
    fill(warehouse, "cdp.crm", 3, rows)
    build(
        warehouse,
        customer(limited({"user_id": 1, "card": 3, "email": 5}), records("cdp.crm", ["user_id", "card", "email"])),
    )
    assert people(warehouse) == {
        frozenset({"user_id:u1", *(f"email:m{day}" for day in range(1, 7))}),
        frozenset({"card:c9"}),
    }
    assert attached(warehouse) == {"email:m1"}
    assert edges(warehouse)["user_id:u1", "email:m1"] == "over_limit"


def test_a_chain_of_which_each_link_is_within_the_limit_falls_apart(warehouse: Warehouse) -> None:
    # c0 -m0- c1 -m1- c2 -m2- c3: two cards a link are allowed, four in a row are not, and no link is to blame alone
    rows = [(1, f"c{n + side}", f"m{n}") for n in range(3) for side in (0, 1)]
    fill(warehouse, "cdp.crm", 2, rows)
    build(warehouse, customer(limited({"card": 2, "email": None}), records("cdp.crm", ["card", "email"])))
    assert len(people(warehouse)) == 4
    assert attached(warehouse) == {"email:m0", "email:m1", "email:m2"}


def test_a_kiosk_joins_no_two_users_but_keeps_their_strong_links(warehouse: Warehouse) -> None:
    rows: list[tuple[object, ...]] = [(n, f"u{n}", f"m{n}", "kiosk") for n in range(3)]
    rows += [(9, None, "m1", "kiosk"), (9, None, "m1", "d1")]
    fill(warehouse, "cdp.web", 3, rows)
    build(
        warehouse,
        customer(limited({"user_id": 1, "email": 5, "device": 50}), records("cdp.web", ["user_id", "email", "device"])),
    )
    assert people(warehouse) == {
        frozenset({"user_id:u0", "email:m0", "device:kiosk"}),
        frozenset({"user_id:u1", "email:m1", "device:d1"}),
        frozenset({"user_id:u2", "email:m2"}),
    }


def test_two_ids_of_a_type_with_limit_one_in_a_row_stay_two_people(warehouse: Warehouse) -> None:
    fill(warehouse, "cdp.crm", 3, [(1, "u1", "u2", "m1"), (2, "u2", None, "m2")])
    build(warehouse, customer(limited({"user_id": 1, "email": 5}), records("cdp.crm", ["user_id", "user_id", "email"])))
    assert people(warehouse) == {frozenset({"user_id:u1", "email:m1"}), frozenset({"user_id:u2", "email:m2"})}
    assert edges(warehouse)["user_id:u1", "user_id:u2"] == "limit"


def test_an_identifier_that_does_not_join_keeps_those_apart_who_differ(warehouse: Warehouse) -> None:
    rows = [
        (1, "u1", "d1", "Ann 1980"),
        (2, "u2", "d1", "Bob 1985"),
        (3, "u3", "d3", "Ann 1980"),
        (4, "u4", "d3", "Ann 1980"),
        (5, None, None, "Ann 1980"),
    ]
    fill(warehouse, "cdp.crm", 3, rows)
    identifiers = [Identifier("user_id"), Identifier("device"), Identifier("name_birth", 1, joins=False)]
    build(warehouse, customer(identifiers, records("cdp.crm", ["user_id", "device", "name_birth"])))
    assert people(warehouse) == {
        frozenset({"user_id:u1", "device:d1", "name_birth:Ann 1980"}),
        frozenset({"user_id:u2", "name_birth:Bob 1985"}),
        frozenset({"user_id:u3", "user_id:u4", "device:d3"}),
    }
    assert attached(warehouse) == {"device:d1", "name_birth:Ann 1980", "name_birth:Bob 1985"}


def test_components_within_their_limits_are_left_alone_when_another_breaks_one(warehouse: Warehouse) -> None:
    good = [(1, f"u{n}", f"m{n}") for n in range(50)]
    fill(warehouse, "cdp.crm", 2, [*good, (1, "a", "shared"), (2, "b", "shared")])
    spec = customer(limited({"user_id": 1, "email": 5}), records("cdp.crm", ["user_id", "email"]))
    names = [statement.name for statement in build(warehouse, spec)]
    assert len(people(warehouse)) == 52
    assert names.count("ties") == 1
    assert len(names) <= 20 + 6 * 3
