"""Hostile values arrive equal, or are set aside with a reason; they never change a request's shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cdp.destination import Batch, Split
from tests.destination.making import change, connected, send, statuses, webhook
from tests.receiver import Receiver

VALUES: list[Any] = [
    'O\'Brien "quoted" `ticks`',
    "100 % sure %s %(x)s %00",
    "line\nbreak\r\nX-Admin: yes\ttab",
    '", "is_admin": true, "x": "',
    '"}],"is_admin":true}',
    "{{ config.token }} {{ 7*7 }} {% for x in y %} ${column}",
    "emoji 🦄 日本語 \u202e rtl \u0000 nul",
    "e\u0301 and \u00e9",
    "x" * 65_536,
    "'; DROP TABLE users; --",
    "\\ \\u0041 \\n",
    "",
    "true",
    0,
    -0.0,
    1e308,
    2**63,
    -(2**63),
    True,
    None,
    [1, "two", [None]],
    {"a.b": {"c": "d"}, "": 1},
]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_a_value_arrives_equal(receiver: Receiver, value: Any) -> None:
    row = change("key", {"v": value, "is_admin": False})
    to = connected(webhook(receiver.url))
    assert to.invalid(row) is None
    assert statuses(send(to, Batch("upsert", (row,)))[0]) == ["accepted"]
    arrived = receiver.rows["key"]["fields"]
    assert arrived == {"v": value, "is_admin": False}
    assert repr(arrived["v"]) == repr(value)


@pytest.mark.parametrize("value", [text for text in VALUES if isinstance(text, str) and len(text) < 1000 and text])
def test_a_text_survives_in_address_and_query(receiver: Receiver, value: str) -> None:
    operations = {"upsert": {"path": "/u/{{ match.id }}", "query": {"q": "{{ match.id }}"}, "body": {"a": 1}}}
    to = connected(webhook(receiver.url, operations=operations))
    row = change("key", match={"id": value})
    assert to.invalid(row) is None
    send(to, Batch("upsert", (row,)))
    request = receiver.requests[-1]
    assert request.path == f"/u/{value}"
    assert request.query == {"q": value}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"v": float("nan")}, "field `v` is not a finite number"),
        ({"v": [1, float("inf")]}, "field `v` is not a finite number"),
        ({"v": 2**64}, "field `v` is a whole number beyond 64 bits"),
        ({"v": "\ud800"}, "field `v` holds half of a character (a lone surrogate)"),
        ({"v": {"\ud800": 1}}, "field `v` holds half of a character (a lone surrogate)"),
        ({"v": {1: 1}}, "field `v` has a key that is no text"),
        ({"v": b"bytes"}, "field `v` is a bytes, which JSON does not have"),
        ({"\ud800": 1}, "a field's name holds half of a character (a lone surrogate)"),
    ],
)
def test_what_json_cannot_carry_is_invalid_with_a_reason(fields: dict[str, Any], reason: str) -> None:
    assert connected(webhook("http://localhost")).invalid(change(fields=fields)) == reason


@pytest.mark.parametrize(
    ("match", "reason"),
    [
        ({"email": None}, "match id `email` is empty"),
        ({"email": ""}, "match id `email` is empty"),
        ({"email": 1.5}, "match id `email` is neither text nor a whole number"),
        ({"email": "\ud800"}, "match id `email` holds half of a character (a lone surrogate)"),
    ],
)
def test_a_match_id_that_addresses_nobody_is_invalid(match: dict[str, Any], reason: str) -> None:
    assert connected(webhook("http://localhost")).invalid(change(match=match)) == reason


@pytest.mark.parametrize("value", [".", ".."])
def test_a_match_id_cannot_climb_out_of_its_address(value: str) -> None:
    operations = {"delete": {"method": "DELETE", "path": "/users/{{ match.id }}"}}
    to = connected(webhook("http://localhost", operations=operations))
    row = change(match={"id": value}, operation="delete")
    assert to.invalid(row) == f"`{value}` cannot be part of an address"


def test_an_address_that_no_server_takes_is_invalid() -> None:
    operations = {"delete": {"method": "DELETE", "path": "/users/{{ match.id }}"}}
    to = connected(webhook("http://localhost", operations=operations))
    row = change(match={"id": "x" * 65_536}, operation="delete")
    assert to.invalid(row) == "the row's address is longer than 8,000 bytes"
    answer = send(to, Batch("delete", (row,)))[0]
    assert isinstance(answer, Split) and answer.code == "CDP415"


def test_an_operation_that_is_not_there_makes_the_row_invalid() -> None:
    to = connected(webhook("http://localhost"))
    assert to.invalid(change(operation="delete")) == "`delete` is not among its operations"


def test_limits_and_types_are_said_in_the_entry() -> None:
    to = connected(
        webhook(
            "http://localhost",
            limits={"fields": 3, "name_bytes": 5, "text_bytes": 4, "nul": "refuse"},
            types={"lists": "refuse", "nulls": "refuse"},
            identifiers={"email": {"bytes": 20}},
            match="one",
        )
    )

    def why(fields: dict[str, Any], **match: Any) -> str | None:
        return to.invalid(change(fields=fields, match=match or {"email": "a@x.fr"}))

    assert why({"a": "1234"}) is None
    assert why({"a": "éé"}) is None
    assert why({"a": "ééé"}) == "field `a` has 6 bytes; at most 4 are taken"
    assert why({"a": "\0"}) == "field `a` holds the character NUL"
    assert why({"a": []}) == "field `a` is a list, which is not taken"
    assert why({"a": None}) == "field `a` is empty (NULL), which is not taken"
    assert why({"abcdef": 1}) == "the name of field `abcdef…` is longer than 5 bytes"
    assert why(dict.fromkeys("abcd", 1)) == "4 fields; at most 3 are taken"
    assert why({}, email="x" * 21) == "match id `email` is longer than 20 bytes"
    assert why({}, phone="1") == "`phone` is no identifier here; it takes email"
    assert why({}, email="a", phone="1") == "exactly one match id is taken, the row has 2"


def test_types_change_the_form_of_values() -> None:
    with Receiver() as receiver:
        types = {"numbers": "text", "booleans": "text", "lists": "text", "objects": "text", "nulls": "empty_text"}
        to = connected(webhook(receiver.url, types=types))
        fields = {"n": 1.5, "b": True, "l": [1, "é"], "o": {"a": 1}, "z": None, "t": "x"}
        send(to, Batch("upsert", (change("key", fields),)))
        expected = {"n": "1.5", "b": "true", "l": '[1,"é"]', "o": '{"a":1}', "z": "", "t": "x"}
        assert receiver.rows["key"]["fields"] == expected
