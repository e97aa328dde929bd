"""Customer.io: what its API answers, and what it is sent."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from cdp.destination import Again, Answer, Batch, Delivery, Rows, Split, Stop, check
from cdp.destination.outcome import Operation
from tests.destination.making import answering, batch, change, connected, mocked, run, send, sent, statuses
from tests.receiver import Receiver

CONFIG = {"type": "customerio", "site_id": "site", "api_key": "canary-key"}
SHARED = Path(os.environ.get("CDP_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
RECORDED = SHARED / "recorded" / "customerio.jsonl"


def answered(status: int, body: Any = None, count: int = 3, operation: Operation = "upsert", **headers: str) -> Answer:
    """The verdict on one answer to a batch of people."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    people = Batch(operation, tuple(change(f"u{i}", match={"id": f"u{i}"}, operation=operation) for i in range(count)))
    delivery = Delivery("crm", "run1", "2026-01-10T12:00:00Z", list="7")
    return send(mocked(answering(status, body, told), CONFIG), people, delivery=delivery)[0]


def recorded() -> list[dict[str, Any]]:
    if not RECORDED.is_file():
        return []
    lines = [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["label"] is not None]


@pytest.mark.skipif(not RECORDED.is_file(), reason="the recorded answers (shared data) are not here")
@pytest.mark.parametrize("line", recorded(), ids=lambda line: line["id"])
def test_recorded_answers_get_the_labelled_verdict(line: dict[str, Any]) -> None:
    label = line["label"]
    if label["outcome"] == "absent":  # a read of v1 that found nobody; for a removal that is as good as done
        answer = answered(line["status"], line["response_body"], count=1, operation="delete")
        assert statuses(answer) == ["accepted"]
        return
    answer = answered(line["status"], line["response_body"], count=label["n"])
    verdicts = statuses(answer)
    assert [index for index, status in enumerate(verdicts) if status == "accepted"] == label["accepted"]
    assert [index for index, status in enumerate(verdicts) if status == "refused"] == label["refused"]
    assert [index for index, status in enumerate(verdicts) if status == "retry"] == label["retry"]


def error(index: Any, reason: str = "invalid", field: str = "identifiers.id", message: str = "bad") -> dict[str, Any]:
    return {"batch_index": index, "reason": reason, "field": field, "message": message}


@pytest.mark.parametrize(
    ("status", "body", "verdicts"),
    [
        (200, {}, ["accepted"] * 3),
        (200, "", ["accepted"] * 3),
        (207, {"errors": [error(0)]}, ["refused", "accepted", "accepted"]),
        (207, {"errors": [error(2), error(0)]}, ["refused", "accepted", "refused"]),
        (207, {"errors": [error(0), error(1), error(2)]}, ["refused"] * 3),
        (207, {"errors": [error(1), error(1, "required")]}, ["accepted", "refused", "accepted"]),
        (207, {"errors": []}, ["accepted"] * 3),
        (207, {"errors": [error(3)]}, ["unknown"] * 3),
        (207, {"errors": [error(1), error(-1)]}, ["unknown", "refused", "unknown"]),
        (207, {"errors": [{"reason": "invalid"}]}, ["unknown"] * 3),
        (207, {}, ["unknown"] * 3),
        (207, '{"errors": [{"batch_index": 0', ["unknown"] * 3),
        (207, "<html>", ["unknown"] * 3),
    ],
)
def test_answers_row_by_row(status: int, body: Any, verdicts: list[str]) -> None:
    assert statuses(answered(status, body)) == verdicts


def test_the_reason_of_a_refusal_is_kept() -> None:
    answer = answered(207, {"errors": [error(0, "required", message="id is required")]})
    assert isinstance(answer, Rows)
    assert (answer.outcomes[0].code, answer.outcomes[0].message) == ("required", "id is required")


def test_a_whole_400_is_bisected() -> None:
    answer = answered(400, {"errors": [{"reason": "invalid", "message": "batch is required"}]})
    assert isinstance(answer, Split)
    assert (answer.code, answer.message, answer.too_large) == ("HTTP 400", "batch is required", False)


def test_413_is_halved() -> None:
    answer = answered(413, "too large")
    assert isinstance(answer, Split) and answer.too_large


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_stops_and_is_not_repeated(status: int) -> None:
    answer = answered(status, {"meta": {"error": "Unauthorized canary-key"}})
    assert isinstance(answer, Stop)
    assert (answer.code, answer.message) == ("CDP424", f"it answered {status}: Unauthorized ***")


def test_429_waits_without_being_told_how_long() -> None:
    answer = answered(429)
    assert isinstance(answer, Again) and answer.throttled and answer.after == 0.25


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_goes_again(status: int) -> None:
    answer = answered(status, "upstream")
    assert isinstance(answer, Again) and answer.unknown


def test_a_segment_that_does_not_exist_stops() -> None:
    assert isinstance(answered(404, {}, operation="add"), Stop)


PEOPLE = Batch("upsert", tuple(change(f"u{i}", {"plan": "pro", "gone": None}, match={"id": f"u{i}"}) for i in range(2)))
DELIVERY = Delivery("crm", "run1", "2026-01-10T12:00:00Z", list="7")


def test_people_are_identified_and_deleted_by_the_batch() -> None:
    with Receiver() as receiver:
        to = connected({**CONFIG, "base_url": receiver.url})
        leaving = Batch("delete", (change("u1", {}, match={"id": "u1"}, operation="delete", kind="remove"),))
        send(to, PEOPLE, leaving, delivery=DELIVERY)
        first, second = receiver.requests
        assert receiver.rows == {"u0": {"plan": "pro", "gone": ""}}
    assert first.target == second.target == "/api/v2/batch"
    assert first.headers["authorization"] == "Basic c2l0ZTpjYW5hcnkta2V5"
    assert first.body["batch"][0] == {
        "type": "person",
        "action": "identify",
        "identifiers": {"id": "u0"},
        "attributes": {"plan": "pro", "gone": ""},
    }
    assert second.body == {"batch": [{"type": "person", "action": "delete", "identifiers": {"id": "u1"}}]}


def test_segments_are_filled_and_emptied() -> None:
    with Receiver() as receiver:
        to = connected({**CONFIG, "base_url": receiver.url, "id_type": "email"})
        joining = Batch("add", (change("a", operation="add"), change("b", operation="add")))
        leaving = Batch("remove", (change("a", operation="remove"),))
        run(sent(to, joining, leaving, delivery=DELIVERY))
        assert receiver.lists == {"7": {"b@example.com"}}
        assert receiver.requests[0].target == "/api/v1/segments/7/add_customers?id_type=email"
        assert receiver.requests[0].body == {"ids": ["a@example.com", "b@example.com"]}


def test_only_changed_attributes_travel() -> None:
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(orjson.loads(request.content)["batch"][0]["attributes"])
        return httpx.Response(200)

    row = change("u", {"a": 1, "b": 2}, match={"id": "u"}, kind="change", changed=["b"])
    send(mocked(handler, CONFIG), Batch("upsert", (row,)))
    assert seen == [{"b": 2}]


def test_batches_stay_below_500_kb_and_rows_below_32() -> None:
    to = mocked(answering(200), CONFIG)
    fields = {f"f{i}": "x" * 900 for i in range(30)}
    rows = [change(f"u{i}", fields, match={"id": f"u{i}"}) for i in range(40)]
    cut = list(to.batches("upsert", rows))
    sizes = [len(to._calls["upsert"].request(one).content or b"") for one in cut]
    assert sum(len(one.changes) for one in cut) == 40
    assert all(size <= 500_000 for size in sizes) and max(sizes) > 450_000
    assert to.invalid(rows[0]) is None
    huge = change("u", {f"f{i}": "x" * 900 for i in range(40)}, match={"id": "u"})
    assert (to.invalid(huge) or "").endswith("at most 32,000 are taken")
    members = [change(f"u{i}", {}, match={"id": f"u{i}"}, operation="add") for i in range(1001)]
    assert [len(one.changes) for one in to.batches("add", members)] == [1000, 1]


def test_limits_set_rows_aside_with_a_reason() -> None:
    to = mocked(answering(200), CONFIG)

    def why(fields: dict[str, Any], match: dict[str, Any] | None = None) -> str | None:
        return to.invalid(change("u", fields, match=match or {"id": "u"}))

    assert why({"bio": "x" * 1001}) == "field `bio` has 1,001 bytes; at most 1,000 are taken"
    assert why({}, {"id": "u" * 151}) == "match id `id` is longer than 150 bytes"
    assert why({}, {"phone": "1"}) == "`phone` is no identifier here; it takes id, email, cio_id"
    assert why({}, {"id": "u", "email": "e"}) == "exactly one match id is taken, the row has 2"
    member = change("u", {}, match={"email": "e@x.fr"}, operation="add")
    assert to.invalid(member) == "the row has no match id `id`"


@pytest.mark.parametrize(("region", "host"), [("us", "track.customer.io"), ("eu", "track-eu.customer.io")])
def test_the_region_chooses_the_host(region: str, host: str) -> None:
    hosts = []

    def handler(request: httpx.Request) -> httpx.Response:
        hosts.append((request.url.scheme, request.url.host))
        return httpx.Response(200)

    send(mocked(handler, {**CONFIG, "region": region}), batch(1))
    assert hosts == [("https", host)]


def test_it_is_idempotent_limited_and_says_whose_account_it_is() -> None:
    to = mocked(answering(200), CONFIG)
    assert to.semantics == "set"
    assert to.sends == "changed"
    assert to.account() == "customerio:track.customer.io::site"
    assert [(window.requests, window.per) for window in to.description.rate] == [(100, 1.0)]
    faster = mocked(answering(200), {**CONFIG, "rate": [{"requests": 1000, "per": "1s"}]})
    assert [(window.requests, window.per) for window in faster.description.rate] == [(1000, 1.0)]


def test_a_sync_that_asks_too_much_is_told_so() -> None:
    def found(**asked: Any) -> list[str]:
        wanted = {"operations": ["upsert", "add", "remove"], "mode": "mirror", "list": "7", "match": ["id"], **asked}
        return [f"{problem.code} {problem.message}" for problem in check(CONFIG, name="crm", **wanted)]

    assert found() == []
    assert found(object="person") == []
    assert found(operations=["append"], mode="append") == [
        "CDP405 `crm` (customerio) has no operation `append`, which mode `append` needs"
    ]
    assert found(list="VIP")[0].startswith("CDP406 `list: VIP` does not fit `crm` (customerio): the number of a manual")
    assert found(object="company") == ["CDP407 `crm` (customerio) has no object `company`"]
    assert found(match=["id", "email"]) == ["CDP407 `crm` (customerio) takes exactly one identifier in `match`"]
    assert found(match=["email"]) == ["CDP406 lists of `crm` (customerio) go by `id`, which `match` does not have"]
    assert found(match=["phone"], list=None) == ["CDP407 `phone` is no identifier of `crm` (customerio)"]
