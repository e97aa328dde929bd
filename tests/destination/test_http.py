"""An HTTP destination against a real receiver on the loopback, and its faults."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cdp.destination import Again, Answer, Batch, Delivery, Rows, Split, Stop
from cdp.destination.http import HttpDestination
from tests.destination.making import (
    BATCHED,
    answering,
    batch,
    change,
    connected,
    mocked,
    run,
    send,
    sent,
    statuses,
    webhook,
)
from tests.receiver import Receiver, Reply


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


def one_answer(receiver: Receiver, *replies: Reply, config: dict[str, Any] | None = None) -> Answer:
    receiver.script(*replies)
    return send(connected(webhook(receiver.url, **(config or {}))), batch())[0]


def test_rows_arrive_as_they_were_sent(receiver: Receiver) -> None:
    answer = one_answer(receiver)
    assert statuses(answer) == ["accepted"] * 3
    assert receiver.rows["k1"] == {
        "op": "add",
        "key": "k1",
        "match": {"email": "k1@example.com"},
        "fields": {"name": "Name k1"},
    }
    assert [request.path for request in receiver.requests] == ["/batch"]
    assert isinstance(answer, Rows) and answer.request_bytes == len(receiver.requests[0].content)


def test_json_lines_send_one_row_a_line(receiver: Receiver) -> None:
    operations = {"append": {"path": "/lines", "encoding": "ndjson", "batch": {"items": 10}, "row": "{{ fields }}"}}
    send(connected(webhook(receiver.url, operations=operations)), batch(2, "append"))
    request = receiver.requests[0]
    assert request.content == b'{"name":"Name k0"}\n{"name":"Name k1"}\n'
    assert request.headers["content-type"] == "application/x-ndjson"


def test_one_row_per_request_puts_the_row_in_the_address(receiver: Receiver) -> None:
    operations = {
        "upsert": {"method": "PUT", "path": "/users/{{ match.email }}", "query": {"v": 2}, "body": "{{ fields }}"},
        "delete": {"method": "DELETE", "path": "/users/{{ match.email }}"},
    }
    to = connected(webhook(receiver.url, operations=operations))
    send(to, Batch("upsert", (change("a/b?c#d"),)), Batch("delete", (change(operation="delete"),)))
    put, delete = receiver.requests
    assert put.target == "/users/a%2Fb%3Fc%23d%40example.com?v=2"
    assert put.body == {"name": "Name a/b?c#d"}
    assert (delete.method, delete.path, delete.content) == ("DELETE", "/users/k1@example.com", b"")


def test_headers_auth_and_the_user_agent_are_sent(receiver: Receiver) -> None:
    config = {"auth": {"kind": "bearer", "token": "t0k"}, "headers": {"X-Source": "cdp {{ sync }}"}}
    one_answer(receiver, config=config)
    headers = receiver.requests[0].headers
    assert headers["authorization"] == "Bearer t0k"
    assert headers["x-source"] == "cdp crm_sync"
    assert headers["user-agent"] == "composable-cdp"


@pytest.mark.parametrize(
    ("auth", "target", "header"),
    [
        ({"kind": "api_key", "in": "query", "name": "key", "value": "a&b c"}, "/batch?key=a%26b%20c", None),
        ({"kind": "api_key", "in": "header", "name": "X-Key", "value": "v", "prefix": "K "}, "/batch", "K v"),
        ({"kind": "basic", "username": "u", "password": "p"}, "/batch", None),
    ],
)
def test_every_kind_of_login_travels(receiver: Receiver, auth: dict[str, str], target: str, header: str | None) -> None:
    one_answer(receiver, config={"auth": auth})
    request = receiver.requests[0]
    assert request.target == target
    assert request.headers.get("x-key") == header
    assert request.headers.get("authorization") == ("Basic dTpw" if auth["kind"] == "basic" else None)


def test_a_refused_row_does_not_spoil_its_batch(receiver: Receiver) -> None:
    receiver.verdict = lambda row: "no such plan" if row["key"] == "k1" else None
    rules = [{"status": 207, "rows": {"locator": "index_field", "path": "errors", "key": "index"}}]
    answer = one_answer(receiver, config={"answers": rules})
    assert statuses(answer) == ["accepted", "refused", "accepted"]
    assert sorted(receiver.rows) == ["k0", "k2"]


def test_nobody_listens_nothing_was_sent() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    answer = send(connected(webhook(f"http://127.0.0.1:{port}")), batch())[0]
    assert isinstance(answer, Again)
    assert (answer.code, answer.unknown, answer.throttled) == ("CDP420", False, False)
    assert f"127.0.0.1:{port}" in answer.message


@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_connection_lost_after_sending_leaves_the_rows_unknown(receiver: Receiver, drop: Any) -> None:
    answer = one_answer(receiver, Reply(drop=drop))
    assert isinstance(answer, Again) and answer.unknown and answer.code == "CDP421"
    assert bool(receiver.rows) == (drop == "after")


def test_an_answer_that_breaks_off_leaves_the_rows_unknown(receiver: Receiver) -> None:
    answer = one_answer(receiver, Reply(200, {"much": "text" * 100}, truncate=10))
    assert isinstance(answer, Again) and answer.unknown


def test_a_429_that_breaks_off_is_still_a_429(receiver: Receiver) -> None:
    answer = one_answer(receiver, Reply(429, "slow down please", {"Retry-After": "0"}, truncate=3))
    assert isinstance(answer, Again) and answer.throttled and not answer.unknown


def test_an_answer_that_does_not_come_leaves_the_rows_unknown(receiver: Receiver) -> None:
    answer = one_answer(receiver, Reply(delay=5), config={"timeout": "100ms"})
    assert isinstance(answer, Again) and answer.unknown


def test_the_next_request_after_a_fault_is_a_usual_one(receiver: Receiver) -> None:
    receiver.script(Reply(drop="after"), Reply(500, apply=True), Reply(429, headers={"Retry-After": "0"}))
    answers = send(connected(webhook(receiver.url)), *[batch()] * 4)
    assert [type(answer) for answer in answers] == [Again, Again, Again, Rows]


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    answer = one_answer(receiver, Reply(307, headers={"Location": f"{receiver.url}/elsewhere"}))
    assert isinstance(answer, Stop)
    assert receiver.request_count == 1


def test_413_asks_for_smaller_batches(receiver: Receiver) -> None:
    answer = one_answer(receiver, Reply(413))
    assert isinstance(answer, Split) and answer.too_large


def test_an_answer_packed_wrongly_is_no_body() -> None:
    rules = [{"status": 200, "rows": {"locator": "index_field", "path": "errors", "key": "index"}}]

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip"))

    assert statuses(send(mocked(handler, webhook("http://localhost", answers=rules)), batch())[0]) == ["unknown"] * 3


def test_a_throttle_pauses_all_workers_of_the_account(receiver: Receiver) -> None:
    receiver.script(Reply(429, headers={"Retry-After": "0.4"}))

    async def main() -> float:
        to, beside = connected(webhook(receiver.url)), connected(webhook(receiver.url))
        for one in (to, beside):
            await one.open(Delivery("s", "r", ""))
        throttled = await to.send(batch())
        assert isinstance(throttled, Again) and throttled.after == pytest.approx(0.4)
        began = time.monotonic()
        assert statuses(await beside.send(batch())) == ["accepted"] * 3
        for one in (to, beside):
            await one.close(complete=True)
        return time.monotonic() - began

    assert run(main()) > 0.3


def test_a_long_pause_sends_nothing_and_says_how_long(receiver: Receiver) -> None:
    receiver.script(Reply(429, headers={"Retry-After": "1000000000"}))
    first, second = send(connected(webhook(receiver.url)), batch(), batch())
    assert isinstance(first, Again) and first.after == 300
    assert isinstance(second, Again) and second.throttled and second.after is not None and second.after > 298
    assert receiver.request_count == 1


def test_a_throttle_without_a_time_pauses_a_little() -> None:
    answer = send(mocked(answering(429), webhook("http://localhost")), batch())[0]
    assert isinstance(answer, Again) and answer.after == 0.25


def test_a_used_up_window_pauses_before_the_429(receiver: Receiver) -> None:
    receiver.script(Reply(headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}))
    began = time.monotonic()
    send(connected(webhook(receiver.url)), batch(), batch())
    assert time.monotonic() - began > 0.8


def test_the_rate_holds_requests_back(receiver: Receiver) -> None:
    began = time.monotonic()
    send(connected(webhook(receiver.url, rate=[{"requests": 2, "per": "300ms"}])), *[batch()] * 5)
    assert 0.55 < time.monotonic() - began < 2


def test_a_batch_sent_again_carries_the_same_idempotency_key(receiver: Receiver) -> None:
    receiver.honours_idempotency_keys = True
    point = {**BATCHED["upsert"], "idempotency_key": {"header": "Idempotency-Key"}}
    to = connected(webhook(receiver.url, operations={"append": point}, semantics="append"))
    receiver.script(Reply(drop="after"))
    rows = Batch("append", tuple(change(f"k{i}", operation="append", idempotency_key=f"i{i}") for i in range(3)))
    send(to, rows, rows)
    assert receiver.row_count == 3
    assert to.semantics == "append"
    assert not to.honours_idempotency_keys  # rows that travel in another batch next time would not be recognised


def test_keys_are_honoured_where_each_row_carries_its_own() -> None:
    single = {"append": {"path": "/one", "idempotency_key": {"header": "Idempotency-Key"}}}
    assert connected(webhook("http://localhost", operations=single)).honours_idempotency_keys


def test_a_row_that_json_cannot_carry_is_split_off_and_never_raises() -> None:
    rows = Batch("upsert", (change(), change("k2", {"x": {1, 2}})))
    answer = send(mocked(answering(200), webhook("http://localhost")), rows)[0]
    assert isinstance(answer, Split) and answer.code == "CDP415"


def test_batches_respect_items_bytes_and_uniqueness() -> None:
    limits = {"items": 3, "bytes": 500, "unique_by": "email"}
    point = {"batch": limits, "row": {"e": "{{ match.email }}", "n": "{{ fields.n }}"}, "body": {"rows": "{{ rows }}"}}
    to = mocked(answering(200), webhook("http://localhost", operations={"upsert": point}))
    assert isinstance(to, HttpDestination)
    small = [change(f"k{i}", {"n": "x"}) for i in range(7)]
    assert [len(one.changes) for one in to.batches("upsert", small)] == [3, 3, 1]
    assert [one.number for one in to.batches("upsert", small)] == [0, 1, 2]
    big = [change(f"k{i}", {"n": "x" * 200}) for i in range(4)]
    cut = list(to.batches("upsert", big))
    assert [len(one.changes) for one in cut] == [2, 2]
    assert all(len(to._calls["upsert"].request(one).content or b"") <= 500 for one in cut)
    twice = [change("a", {"n": 1}), change("b", {"n": 2}), change("a", {"n": 3})]
    assert [[c.row_key for c in one.changes] for one in to.batches("upsert", twice)] == [["a", "b"], ["a"]]
    assert to.invalid(change("k1", {"n": "x" * 600})) == "the row alone takes 629 bytes; a request may have 500"


def test_changed_only_sends_what_changed() -> None:
    bodies = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append(httpx.Response(200, content=request.content).json())
        return httpx.Response(200)

    point = {"path": "/x", "body": "{{ fields }}"}
    to = mocked(handler, webhook("http://localhost", operations={"upsert": point}, changed_only=True))
    fields = {"a": 1, "b": 2}
    rows = [change(fields=fields), change(fields=fields, kind="change", changed=["b"])]
    doubtful = change(fields=fields, kind="change", changed=[])
    send(to, *[Batch("upsert", (row,)) for row in [*rows, doubtful]])
    assert bodies == [{"a": 1, "b": 2}, {"b": 2}, {"a": 1, "b": 2}]
    assert to.sends == "changed"


def test_the_account_is_told_apart_without_its_secret() -> None:
    def account(token: str) -> str:
        return connected(webhook("https://api.example.com", auth={"kind": "bearer", "token": token})).account()

    assert account("sandbox-t0ken") == account("sandbox-t0ken") != account("production-t0ken")
    assert "t0ken" not in account("sandbox-t0ken")


SECRETS = {"auth": {"kind": "bearer", "token": "canary-t0ken"}, "headers": {"X-Key": "canary-header"}}


@pytest.mark.parametrize("reply", [Reply(401), Reply(400), Reply(500), Reply(429), Reply(302), Reply(207)])
def test_secrets_never_come_back(receiver: Receiver, reply: Reply) -> None:
    reply.body = {"message": "you sent Bearer canary-t0ken and canary-header"}
    to = connected(webhook(receiver.url, **SECRETS))
    receiver.script(reply)
    answer = send(to, batch())[0]
    assert "canary" not in f"{answer!r} {to!r} {to.account()} {vars(to)['_settings']!r}"


def test_requests_are_not_logged_with_their_address(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    import logging

    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    try:
        one_answer(receiver, config={"auth": {"kind": "api_key", "in": "query", "name": "k", "value": "canary"}})
    finally:
        root.setLevel(before)
    assert "canary" not in caplog.text


def test_sixteen_requests_are_in_flight_at_once() -> None:
    with Receiver(latency=0.05) as receiver:

        async def main() -> None:
            to = connected(webhook(receiver.url))
            await to.open(Delivery("s", "r", ""))
            began = time.monotonic()
            await asyncio.gather(*(to.send(batch()) for _ in range(64)))
            assert time.monotonic() - began < 64 * 0.05 / 4
            await to.close(complete=True)

        run(main())
        assert receiver.most_in_flight == 16


def test_a_hundred_thousand_rows_take_no_time_to_prepare() -> None:
    to = mocked(answering(200), webhook("http://localhost"))
    fields = {f"f{i}": f"value number {i}" for i in range(8)} | {"n": 1, "x": 1.5}
    rows = [change(f"k{i}", fields) for i in range(20_000)]
    began = time.process_time()
    assert not any(to.invalid(row) for row in rows)
    for one in to.batches("upsert", rows):
        to._calls["upsert"].request(one)
    assert (time.process_time() - began) * 5 < 2  # a wide margin: 0.3 s where it was written


def test_a_wrong_certificate_stops(tmp_path: Any) -> None:
    import ssl

    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("failed") from ssl.SSLCertVerificationError("self-signed certificate")

    answer = send(mocked(handler, webhook("https://localhost")), batch())[0]
    assert isinstance(answer, Stop) and answer.code == "CDP429"


def test_a_list_of_the_sync_stands_in_the_address(receiver: Receiver) -> None:
    point = {"path": "/lists/{{ list }}/add", "batch": {"items": 10}, "row": "{{ match.email }}"}
    to = connected(webhook(receiver.url, operations={"add": point}))
    run(sent(to, batch(2, "add"), delivery=Delivery("s", "r", "", list="VIP & co")))
    assert receiver.requests[0].target == "/lists/VIP%20%26%20co/add"
    assert receiver.requests[0].body == ["k0@example.com", "k1@example.com"]
