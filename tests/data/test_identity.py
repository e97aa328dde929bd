"""Small public cases of identity resolution, and graphs that break whoever stops after so many rounds."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.data.making import Place, shared

# ------------------------------------------------------------------------------------------------ Treasure Data, ex4
MEMBERS = """
sources:
  aaa:
    table: raw.ex4_aaa
    ids:
      person: {{member_id: member_id, email: email}}

entities:
  person:
    identity:
      identifiers:                # strongest first
        - member_id: {member_id}
        - email: {{normalize: email}}
"""


@pytest.fixture
def members(place: Place) -> Place:
    """Six records: two members share a mail, one member stands there twice, one mail twice without a member."""
    place.load_csv(shared("td_id_unification", "ex4_aaa.csv"))
    return place


def test_whoever_shares_an_identifier_is_one_person(members: Place) -> None:
    members.project(sources=MEMBERS.format(member_id="{}"))
    members.freeze()
    members.build()
    assert members.people("person") == {
        frozenset({"member_id:1", "member_id:2", "email:a@ex.com"}),
        frozenset({"member_id:3", "email:b@ex.com"}),
        frozenset({"email:c@ex.com"}),
    }


def test_members_that_must_not_be_merged_stay_apart_whatever_mail_they_share(members: Place) -> None:
    members.project(sources=MEMBERS.format(member_id="{limit: 1}"))
    members.freeze()
    members.build()
    assert members.people("person") == {
        frozenset({"member_id:1", "email:a@ex.com"}),  # the mail belongs to one of the two
        frozenset({"member_id:2"}),
        frozenset({"member_id:3", "email:b@ex.com"}),
        frozenset({"email:c@ex.com"}),
    }
    cut = "SELECT left_value, right_value, reason FROM cdp.person_edges WHERE NOT used"
    assert members.rows(cut) == [("2", "a@ex.com", "limit")]  # and the other one's tie is kept, with its reason


# ------------------------------------------------------------------------------------------------ chains and stars
GRAPH = """
sources:
  links: {table: raw.links, ids: {person: {id: [a, b]}}}

entities:
  person: {identity: {identifiers: [{id: {}}]}}
"""


def one_person(place: Place, identifiers: int) -> None:
    """All identifiers of `raw.links` are one person."""
    place.project(sources=GRAPH)
    place.freeze()
    place.build()
    found = place.rows("SELECT count(*), count(DISTINCT id_value), count(DISTINCT person_id) FROM cdp.person_ids")
    assert found == [(identifiers, identifiers, 1)]
    assert place.value("SELECT count(*) FROM cdp.person") == 1


def chain(place: Place, names: list[str]) -> None:
    """`raw.links` as a chain: each name seen together with the next one."""
    place.load("links", {"a": "text", "b": "text"}, pairwise(names))


def test_a_chain_of_10_000_numbered_in_order_is_one_person(place: Place) -> None:
    chain(place, [f"n{number:05}" for number in range(10_000)])
    one_person(place, 10_000)


def test_a_chain_of_1_000_in_bit_reversed_order_is_one_person(place: Place) -> None:
    """Every second one is a local minimum, again and again: the most rounds that contraction can be made to take."""
    reversed_bits = sorted(range(1024), key=lambda number: f"{number:010b}"[::-1])
    chain(place, [f"n{number:05}" for number in reversed_bits if number < 1000])
    one_person(place, 1_000)


@pytest.mark.slow
def test_a_star_of_100_000_is_one_person(place: Place) -> None:
    place.load("links", {"a": "text", "b": "text"}, (("hub", f"n{number}") for number in range(100_000)))
    one_person(place, 100_001)
