"""A profile's entry: what is wrong with it is said before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdp.destination import check, destination
from cdp.errors import Mark, ProjectError
from cdp.project.reader import read_bytes
from tests.destination.making import BATCHED, webhook

CUSTOMERIO = {"type": "customerio", "site_id": "s", "api_key": "canary-k"}


def problems(config: dict[str, Any]) -> list[str]:
    with pytest.raises(ProjectError) as caught:
        destination("crm", config, Path())
    return [str(problem) for problem in caught.value.problems]


def without(config: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != key}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, "CDP401: destination `crm` has no `type`\n  hint: types: customerio, file, webhook"),
        ({"type": 5}, "CDP401: destination `crm` has no `type`"),
        (
            {"type": "custmerio"},
            "CDP401: destination `crm`: there is no destination type `custmerio`\n  hint: did you mean `customerio`?",
        ),
        ({"type": "../x"}, "CDP401"),
        (
            {**CUSTOMERIO, "siteid": "x"},
            "CDP402: destination `crm`: unknown setting `siteid`\n  hint: did you mean `site_id`?",
        ),
        (without(CUSTOMERIO, "api_key"), "CDP403: destination `crm`: `api_key` is missing"),
        ({**CUSTOMERIO, "region": "fr"}, "CDP404: destination `crm`: `region` must be one of: us, eu"),
        ({**CUSTOMERIO, "site_id": 5}, "CDP404: destination `crm`: `site_id` must be text (put it in quotes)"),
        ({**CUSTOMERIO, "site_id": ""}, "CDP404: destination `crm`: `site_id` is empty"),
        ({**CUSTOMERIO, "api_key": "a\r\nb"}, "CDP404: destination `crm`: `api_key` holds control characters"),
        ({**CUSTOMERIO, "share": "0%"}, "CDP404: destination `crm`: `share`: a share such as 50%"),
        ({**CUSTOMERIO, "share": True}, "CDP404: destination `crm`: `share`"),
        ({**CUSTOMERIO, "ca_file": "nowhere.pem"}, "CDP404: destination `crm`: `ca_file` is no file"),
        ({**CUSTOMERIO, "allow_http": "yes"}, "CDP404: destination `crm`: `allow_http` must be true or false"),
        ({**CUSTOMERIO, "rate": [{"requests": 0, "per": "1s"}]}, "CDP404: destination `crm`: `rate.0.requests`"),
        ({**CUSTOMERIO, "operations": {}}, "CDP402: destination `crm`: unknown setting `operations`"),
        (without(webhook("https://x.example"), "operations"), "CDP403: destination `crm`: `operations` is missing"),
        (without(webhook(""), "url"), "CDP403: destination `crm`: `url` is missing: where requests go"),
        ({**webhook("https://x.example"), "operations": {"upsrt": {}}}, "`operations.upsrt`"),
        (
            webhook("https://x.example", operations={"upsert": {"batch": {"itms": 3}}}),
            "CDP402: destination `crm`: unknown key `operations.upsert.batch.itms`\n  hint: did you mean `items`?",
        ),
        (webhook("https://x.example", answers=[{"status": "9xx"}]), "CDP404: destination `crm`: `answers.0.status`"),
        (
            webhook("https://x.example", operations={"upsert": {**BATCHED["upsert"], "body": {"r": "{{ row }}"}}}),
            "CDP413: destination `crm`: `operations.upsert.body`: `row` is not known here",
        ),
        (webhook("http://x.example"), "CDP409: destination `crm`: plain http would send personal data unencrypted"),
        (
            webhook("http://169.254.169.254", allow_http=True),
            "CDP409: destination `crm`: 169.254.169.254 is no address",
        ),
        (webhook("https://[fe80::1]/"), "CDP409"),
        (webhook("https://0.0.0.0/"), "CDP409"),
        (webhook("https://user:canary@x.example"), "CDP409: destination `crm`: a login in the address"),
        (webhook("https://x.example/?key=canary"), "CDP409: destination `crm`: an address with `?` or `#`"),
        (webhook("ftp://x.example"), "CDP409: destination `crm`: its address is no URL"),
        (webhook("x.example"), "CDP409"),
        (webhook("https://x.example:port"), "CDP409"),
        (webhook("https://x.exam ple"), "CDP409"),
        (
            webhook("https://x.example", headers={"X Y": "1"}),
            "CDP404: destination `crm`: `headers.X Y`: a header takes",
        ),
        (
            webhook("https://x.example", headers={"X": "a\r\nb"}),
            "CDP404: destination `crm`: `headers.X`: a header takes",
        ),
        (
            webhook("https://x.example", auth={"kind": "bearer", "token": "canary\n"}),
            "CDP404: destination `crm`: `auth.token`: a header takes printable ASCII only",
        ),
        (
            webhook("https://x.example", auth={"kind": "bearer", "token": "{{ canary }}"}),
            "CDP413: destination `crm`: `auth`: a hole that names nothing known here",
        ),
        ({"type": "file"}, "CDP403: destination `crm`: `path` is missing"),
        (
            {"type": "file", "path": "out", "format": "xml"},
            "CDP404: destination `crm`: `format` must be one of: jsonl, csv",
        ),
        ({"type": "file", "path": "out", "rate": []}, "CDP402: destination `crm`: unknown setting `rate`"),
        ({"type": "file", "path": "../out"}, "CDP408"),
    ],
)
def test_a_wrong_entry_is_refused(config: dict[str, Any], expected: str) -> None:
    found = problems(config)
    assert expected in found[0]
    assert "canary" not in str(found)


def test_all_mistakes_of_an_entry_are_said_at_once() -> None:
    found = problems({"type": "customerio", "sit_id": "x", "region": "fr"})
    assert [text.split(":")[0] for text in found] == ["CDP402", "CDP403", "CDP403", "CDP404"]


@pytest.mark.parametrize(
    "url",
    ["http://localhost:8000", "http://127.0.0.1:1", "http://[::1]:1", "https://x.example/a/b", "https://10.0.0.1"],
)
def test_right_addresses(url: str) -> None:
    assert destination("crm", webhook(url), Path()).operations == {"upsert"}


def test_plain_http_to_another_machine_has_to_be_said() -> None:
    assert destination("crm", webhook("http://receiver:8000", allow_http=True), Path()).operations == {"upsert"}


def test_a_mistake_in_a_read_entry_has_its_place() -> None:
    text = b"type: webhook\nurl: https://x.example\noperations:\n  upsert:\n    batch: {itms: 100}\n"
    found = check(read_bytes(text, "profiles.yml").data, operations=["upsert"], mode="upsert", name="crm")
    assert [(problem.code, problem.mark) for problem in found] == [("CDP402", Mark("profiles.yml", 5, 13))]


def asked(config: dict[str, Any], **wish: Any) -> list[str]:
    return [str(problem) for problem in check(config, name="crm", **{"mode": "mirror", **wish})]


def test_an_operation_that_the_mode_needs_must_be_there() -> None:
    assert asked(webhook("https://x.example"), operations=["upsert"]) == []
    assert asked(webhook("https://x.example"), operations=["upsert", "delete"]) == [
        "CDP405: `crm` (webhook) has no operation `delete`, which mode `mirror` needs\n  hint: it has: upsert"
    ]


def test_a_list_needs_a_destination_that_has_lists() -> None:
    assert asked(webhook("https://x.example"), operations=["upsert"], list="VIP") == [
        "CDP406: `crm` (webhook) has no lists: take `list: VIP` away"
    ]


def test_a_file_takes_anything(tmp_path: Path) -> None:
    wish = {"operations": ["upsert", "add", "remove"], "list": "VIP", "object": "contact", "match": ["id", "email"]}
    assert asked({"type": "file", "path": "out/"}, **wish) == []


def test_a_wrong_entry_is_among_the_problems_of_its_syncs() -> None:
    assert [text[:6] for text in asked({"type": "customerio"}, operations=["upsert"])] == ["CDP403", "CDP403"]
