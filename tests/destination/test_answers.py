"""From answers to verdicts: the rules one by one, then what HTTP means anyway."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from cdp.destination import Again, Answer, Split, Stop
from cdp.destination.answers import Judge, Response, cleaner, pick
from cdp.destination.description import AnswerRule
from cdp.destination.outcome import Operation, Rows
from tests.destination.making import batch, statuses


def judged(
    status: int,
    body: Any = None,
    *rules: dict[str, Any],
    count: int = 3,
    operation: Operation = "upsert",
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Answer:
    """The verdict on one answer; a text goes in as it is."""
    content = body.encode() if isinstance(body, str) else b"" if body is None else orjson.dumps(body)
    judge = Judge([AnswerRule.model_validate(rule) for rule in rules], clean=cleaner(["s3cret-token"]))
    return judge.verdict(batch(count, operation), Response(status, headers or {}, content), **more)


def reasons(answer: Answer) -> list[tuple[str, str]]:
    assert isinstance(answer, Rows)
    return [(outcome.code, outcome.message) for outcome in answer.outcomes]


BY_INDEX = {"status": 207, "rows": {"locator": "index_field", "path": "errors", "key": "index"}}
BY_KEY = {"status": 207, "rows": {"locator": "key_field", "path": "errors", "key": "id", "code": "type"}}
BY_PLACE = {
    "status": 200,
    "rows": {
        "locator": "positional",
        "path": "results",
        "accepted": {"path": "success", "equals": True},
        "retry": {"path": "code", "in": ["LOCKED"]},
        "remote_id": "id",
        "code": "code",
    },
}
BY_LIST = {
    "status": 200,
    "rows": [
        {"locator": "id_list", "path": "invalid", "optional": True},
        {"locator": "id_list", "path": "busy", "optional": True, "then": "retry"},
    ],
}


def test_an_error_by_index_concerns_its_row_only() -> None:
    answer = judged(207, {"errors": [{"index": 1, "message": "bad e-mail"}]}, BY_INDEX)
    assert statuses(answer) == ["accepted", "refused", "accepted"]
    assert reasons(answer)[1] == ("HTTP 207", "bad e-mail")


def test_an_index_may_count_from_one_and_be_text() -> None:
    rule = {"rows": {**BY_INDEX["rows"], "index_from": 1}}  # type: ignore[dict-item]
    assert statuses(judged(207, {"errors": [{"index": "3"}]}, rule)) == ["accepted", "accepted", "refused"]


@pytest.mark.parametrize("index", [3, -1, True, "x", None, 1.5, {"a": 1}, 10**12])
def test_an_index_outside_of_the_batch_leaves_the_unnamed_rows_unknown(index: Any) -> None:
    answer = judged(207, {"errors": [{"index": 0}, {"index": index}]}, BY_INDEX)
    assert statuses(answer) == ["refused", "unknown", "unknown"]
    assert reasons(answer)[1] == ("CDP428", "the answer names a row that was not sent")


def test_an_error_by_key_finds_its_row_whatever_the_case() -> None:
    answer = judged(207, {"errors": [{"id": "K1@Example.com", "type": "bounced", "message": "no"}]}, BY_KEY)
    assert statuses(answer) == ["accepted", "refused", "accepted"]
    assert reasons(answer)[1] == ("bounced", "no")


def test_an_unknown_key_leaves_the_unnamed_rows_unknown() -> None:
    assert statuses(judged(207, {"errors": [{"id": "somebody@else.com"}]}, BY_KEY)) == ["unknown"] * 3


def test_an_error_without_its_key_leaves_all_unknown() -> None:
    assert statuses(judged(207, {"errors": [{"message": "bad"}]}, BY_KEY)) == ["unknown"] * 3


def test_positional_results_judge_row_by_row() -> None:
    results = [{"success": True, "id": 71}, {"success": False, "code": "LOCKED"}, {"success": False, "code": "BAD"}]
    answer = judged(200, {"results": results}, BY_PLACE)
    assert isinstance(answer, Rows)
    assert statuses(answer) == ["accepted", "retry", "refused"]
    assert [outcome.remote_id for outcome in answer.outcomes] == ["71", None, None]


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_list_of_the_wrong_length_is_believed_in_nothing(count: int) -> None:
    answer = judged(200, {"results": [{"success": True}] * count}, BY_PLACE)
    assert statuses(answer) == ["unknown"] * 3
    assert reasons(answer)[0] == ("CDP428", f"3 rows were sent, {count} were answered")


def test_lists_of_ids_name_the_rows() -> None:
    answer = judged(200, {"invalid": ["k2@example.com"], "busy": ["k0@example.com"]}, BY_LIST)
    assert statuses(answer) == ["retry", "accepted", "refused"]


def test_a_row_named_twice_gets_the_graver_verdict() -> None:
    answer = judged(200, {"invalid": ["k0@example.com"], "busy": ["k0@example.com"]}, BY_LIST)
    assert statuses(answer) == ["refused", "accepted", "accepted"]


def test_benign_errors_can_count_as_accepted() -> None:
    rule = {"rows": {**BY_INDEX["rows"], "accepted": {"path": "code", "equals": 1015}}}  # type: ignore[dict-item]
    answer = judged(207, {"errors": [{"index": 0, "code": 1015}, {"index": 1, "code": 7}]}, rule)
    assert statuses(answer) == ["accepted", "refused", "accepted"]


def test_results_that_name_the_good_rows_leave_the_others_unknown() -> None:
    rule = {"rows": {"locator": "key_field", "path": "results", "key": "id", "then": "accepted", "others": "unknown"}}
    assert statuses(judged(200, {"results": [{"id": "k2@example.com"}]}, rule)) == ["unknown", "unknown", "accepted"]


def test_a_rule_may_name_the_value_that_answers_call_a_row_by() -> None:
    rule = AnswerRule.model_validate(
        {"rows": {"locator": "key_field", "path": "errors", "key": "trace", "row": "{{ row_key }}"}}
    )
    judge = Judge([rule], row_value=lambda template, change: change.row_key)
    content = orjson.dumps({"errors": [{"trace": "k1"}]})
    assert statuses(judge.verdict(batch(2), Response(207, {}, content))) == ["accepted", "refused"]


@pytest.mark.parametrize("body", ["", "{", "<html>", "\ufeffx", '{"errors": [', "[" * 5000, {}, {"errors": None}, 7])
def test_a_body_that_its_rules_cannot_read_is_never_success(body: Any) -> None:
    assert statuses(judged(207, body, BY_INDEX)) == ["unknown"] * 3


def test_rules_without_a_body_do_not_ask_for_one() -> None:
    assert statuses(judged(200, "<html>")) == ["accepted"] * 3


def test_207_that_no_rule_reads_is_unknown() -> None:
    assert statuses(judged(207, {"errors": []})) == ["unknown"] * 3


def test_200_with_a_failure_in_its_body_is_no_success() -> None:
    rule = {"status": "2xx", "when": {"path": "ok", "equals": False}, "then": "refused", "reason": "error"}
    answer = judged(200, {"ok": False, "error": "channel_not_found"}, rule)
    assert statuses(answer) == ["refused"] * 3
    assert reasons(answer)[0] == ("HTTP 200", "channel_not_found")


def test_the_first_rule_that_fits_decides() -> None:
    rules: list[dict[str, Any]] = [
        {"status": [400, 422], "when": {"path": "code", "equals": "slow"}, "then": "throttle"},
        {"status": "4xx", "operations": ["add"], "then": "stop"},
        {"status": "4xx", "then": "refused"},
    ]
    throttled = judged(400, {"code": "slow"}, *rules)
    assert isinstance(throttled, Again) and throttled.throttled
    assert isinstance(judged(400, {}, *rules, operation="add"), Stop)
    assert statuses(judged(422, {}, *rules)) == ["refused"] * 3


@pytest.mark.parametrize(
    ("test", "body", "holds"),
    [
        ({"path": "a", "exists": True}, {"a": None}, True),
        ({"path": "a", "exists": False}, {}, True),
        ({"path": "a", "empty": True}, {}, True),
        ({"path": "a", "empty": False}, {"a": [1]}, True),
        ({"path": "a", "equals": 1}, {"a": True}, False),
        ({"path": "a", "equals": None}, {"a": None}, True),
        ({"path": "a", "equals": None}, {}, False),
        ({"path": "a", "not_equals": 0}, {"a": 3}, True),
        ({"path": "a", "not_equals": 0}, {}, False),
        ({"path": "a.1.b", "in": [2, 3]}, {"a": [{}, {"b": 3}]}, True),
        ({"path": "a", "not_in": [2, 3]}, {"a": 4}, True),
        ({"path": "a", "contains": "lim"}, {"a": "rate limit"}, True),
        ({"path": "a", "contains": "lim"}, {"a": 3}, False),
        ({"path": "a", "gt": 0}, {"a": 1}, True),
        ({"path": "a", "gt": 0}, {"a": "1"}, False),
        ({"path": "a", "lt": 0.5}, {"a": 0.4}, True),
        ({"path": "", "equals": "ok"}, "ok", True),
    ],
)
def test_values_are_picked_and_tested(test: dict[str, Any], body: Any, holds: bool) -> None:
    content = orjson.dumps(body).decode()
    answer = judged(200, content, {"when": test, "then": "refused"})
    assert statuses(answer) == (["refused"] if holds else ["accepted"]) * 3


def test_a_path_leads_through_maps_and_lists() -> None:
    assert pick({"a": [{"b": 7}]}, "a.0.b") == 7
    assert pick({"a": []}, "a.0.b") is pick({}, "x")


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_success_is_success(status: int) -> None:
    assert statuses(judged(status)) == ["accepted"] * 3


@pytest.mark.parametrize("status", [400, 402 + 7, 422, 418])
def test_a_whole_4xx_is_split_to_find_the_poison(status: int) -> None:
    answer = judged(status, {"message": "bad \x1b[31mrow s3cret-token"})
    assert answer == Split(f"HTTP {status}", "bad \ufffd[31mrow ***")


@pytest.mark.parametrize("status", [413, 414, 431])
def test_too_large_is_split_because_of_its_size(status: int) -> None:
    answer = judged(status, "")
    assert isinstance(answer, Split) and answer.too_large


@pytest.mark.parametrize("status", [401, 402, 403, 407])
def test_a_refused_login_stops(status: int) -> None:
    answer = judged(status, {"message": "who are you"})
    assert answer == Stop("CDP424", f"it answered {status}: who are you")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_stops(status: int) -> None:
    answer = judged(status, headers={"location": "http://169.254.169.254/"})
    assert isinstance(answer, Stop) and answer.code == "CDP425" and "169" not in answer.message


@pytest.mark.parametrize("status", [404, 405, 410, 501])
def test_an_endpoint_that_is_not_there_stops(status: int) -> None:
    assert isinstance(judged(status), Stop)


def test_a_404_of_an_address_that_names_the_row_is_about_the_row() -> None:
    assert isinstance(judged(404, count=1, addressed=True), Split)


@pytest.mark.parametrize("operation", ["remove", "delete"])
@pytest.mark.parametrize("status", [404, 410])
def test_what_is_already_gone_counts_as_removed(operation: Operation, status: int) -> None:
    assert statuses(judged(status, operation=operation)) == ["accepted"] * 3


def test_429_waits_as_told() -> None:
    answer = judged(429, headers={"retry-after": "7"})
    assert isinstance(answer, Again)
    assert (answer.after, answer.throttled, answer.unknown) == (7, True, False)


def test_a_rule_names_the_header_that_says_how_long() -> None:
    answer = judged(429, None, {"status": 429, "then": "throttle", "after": "X-Wait"}, headers={"x-wait": "2"})
    assert isinstance(answer, Again) and answer.after == 2


def test_503_that_says_when_is_a_throttle() -> None:
    answer = judged(503, headers={"retry-after": "2"})
    assert isinstance(answer, Again) and answer.throttled and not answer.unknown


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_after_a_server_error_the_rows_may_be_in(status: int) -> None:
    answer = judged(status, "oops")
    assert isinstance(answer, Again) and answer.unknown and not answer.throttled
    assert answer.message == f"it answered {status}: oops"


def test_a_rule_may_say_that_a_server_error_applied_nothing() -> None:
    answer = judged(500, None, {"status": 500, "then": "retry", "applied": "no"})
    assert isinstance(answer, Again) and not answer.unknown


@pytest.mark.parametrize("status", [408, 425])
def test_a_request_that_was_not_read_goes_again(status: int) -> None:
    answer = judged(status)
    assert isinstance(answer, Again) and not answer.unknown


def test_a_message_from_outside_is_cut_and_cleaned() -> None:
    clean = cleaner(["tok-123"], limit=20)
    assert clean("a\x1b]0;x\x07b\u202e tok-123") == "a\ufffd]0;x\ufffdb\ufffd ***"
    assert len(clean("x" * 1000)) == 20


def test_the_request_id_is_kept_for_support() -> None:
    answer = judged(200, headers={"x-request-id": "r-9"})
    assert isinstance(answer, Rows) and answer.outcomes[0].request_id == "r-9"
