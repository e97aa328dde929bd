"""Files: every accepted row stands in exactly one finished file."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from cdp.destination import Batch, Delivery, Destination, Stop
from cdp.errors import ProjectError
from tests.destination.making import NOW, batch, change, connected, run, send, sent, statuses

DELIVERY = Delivery("crm", "run1", NOW)


def files(project: Path, **config: Any) -> Destination:
    return connected({"type": "file", "path": "out/", **config}, project)


def names(project: Path) -> list[str]:
    return sorted(str(path.relative_to(project)) for path in project.rglob("*") if path.is_file())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_one_line_per_operation(tmp_path: Path) -> None:
    gone = change("k9", {}, kind="remove", operation="remove")
    answers = send(files(tmp_path), batch(1), Batch("remove", (gone,)), delivery=DELIVERY)
    assert [statuses(answer) for answer in answers] == [["accepted"], ["accepted"]]
    assert names(tmp_path) == ["out/crm/run1.jsonl"]
    assert lines(tmp_path / "out/crm/run1.jsonl") == [
        {
            "op": "add",
            "key": "k0",
            "match": {"email": "k0@example.com"},
            "fields": {"name": "Name k0"},
            "as_of": NOW,
        },
        {"op": "remove", "key": "k9", "match": {"email": "k9@example.com"}, "fields": {}, "as_of": NOW},
    ]


def test_no_file_when_nothing_changed(tmp_path: Path) -> None:
    send(files(tmp_path), delivery=DELIVERY)
    assert names(tmp_path) == []


def test_csv_has_a_header_and_fixed_columns(tmp_path: Path) -> None:
    delivery = Delivery("crm", "run1", NOW, match_names=("email",), field_names=("tier", "name", "n"))
    gone = change("k9", {}, kind="remove", operation="remove")
    row = change("k0", {"name": 'say "hi",\nthen', "n": -5})
    send(files(tmp_path, format="csv"), Batch("upsert", (row,)), Batch("remove", (gone,)), delivery=delivery)
    with open(tmp_path / "out/crm/run1.csv", encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["op", "key", "match.email", "fields.tier", "fields.name", "fields.n", "as_of"],
            ["add", "k0", "k0@example.com", "", 'say "hi",\nthen', "-5", NOW],
            ["remove", "k9", "k9@example.com", "", "", "", NOW],
        ]
    assert names(tmp_path) == ["out/crm/run1.csv"]


def test_csv_without_a_told_mapping_has_the_columns_that_occur(tmp_path: Path) -> None:
    rows = Batch("upsert", (change("k0", {"a": 1}), change("k1", {"b": [1, True]})))
    send(files(tmp_path, format="csv"), rows, delivery=DELIVERY)
    text = (tmp_path / "out/crm/run1.csv").read_text()
    assert text.splitlines()[0] == "op,key,match.email,fields.a,fields.b,as_of"
    assert text.splitlines()[2] == f'add,k1,k1@example.com,,"[1,true]",{NOW}'


@pytest.mark.parametrize("text", ["=1+1", "+33612", "-x", "@SUM(A1)", "\tx", "\rx", '=HYPERLINK("http://x")'])
def test_csv_is_safe_to_open_in_a_spreadsheet(tmp_path: Path, text: str) -> None:
    for formula, expected in (("escape", f"'{text}"), ("keep", text)):
        delivery = Delivery(f"crm_{formula}", "run1", NOW)
        rows = Batch("upsert", (change("k0", {"t": text, "n": -1.5}),))
        send(files(tmp_path, format="csv", formula=formula), rows, delivery=delivery)
        with open(tmp_path / f"out/crm_{formula}/run1.csv", encoding="utf-8", newline="") as file:
            assert list(csv.reader(file))[1][3:5] == [expected, "-1.5"]


def test_a_sync_that_was_broken_off_leaves_a_finished_file(tmp_path: Path) -> None:
    async def main() -> None:
        to = files(tmp_path)
        await to.open(DELIVERY)
        await to.send(batch())
        assert names(tmp_path) == ["out/crm/run1.jsonl.part"]
        await to.close(complete=False)

    run(main())
    assert names(tmp_path) == ["out/crm/run1.jsonl"]


def test_what_is_accepted_is_on_the_disk_before(tmp_path: Path) -> None:
    async def main() -> None:
        to = files(tmp_path)
        await to.open(DELIVERY)
        assert statuses(await to.send(batch(2))) == ["accepted"] * 2
        assert [line["key"] for line in lines(tmp_path / "out/crm/run1.jsonl.part")] == ["k0", "k1"]
        await to.close(complete=True)

    run(main())


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_the_next_run_finishes_what_a_killed_one_left(tmp_path: Path, kind: str) -> None:
    async def killed() -> None:
        to = files(tmp_path, format=kind)
        await to.open(DELIVERY)
        await to.send(batch(2))

    run(killed())
    part = tmp_path / f"out/crm/run1.{kind}.part"
    with open(part, "ab") as file:
        file.write(b'{"op":"add","key":"torn')
    send(files(tmp_path, format=kind), batch(1), delivery=Delivery("crm", "run2", NOW))
    assert names(tmp_path) == [f"out/crm/run1.{kind}", f"out/crm/run2.{kind}"]
    text = (tmp_path / f"out/crm/run1.{kind}").read_text()
    assert "k0" in text and "k1" in text and "torn" not in text
    assert text.endswith("\n")


def test_a_part_with_nothing_but_a_torn_line_goes_away(tmp_path: Path) -> None:
    folder = tmp_path / "out/crm"
    folder.mkdir(parents=True)
    (folder / "run0.jsonl.part").write_bytes(b'{"torn' + b"x" * 200_000)
    send(files(tmp_path), delivery=DELIVERY)
    assert names(tmp_path) == []


def test_a_run_that_opens_a_sync_twice_overwrites_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        send(files(tmp_path), batch(1), delivery=DELIVERY)
    assert names(tmp_path) == ["out/crm/run1.jsonl", "out/crm/run1_2.jsonl"]


def test_a_full_disk_stops_and_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        to = files(tmp_path)
        await to.open(DELIVERY)
        await to.send(batch(2))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", _no_space)
            answer = await to.send(batch(3))
        assert isinstance(answer, Stop) and answer.code == "CDP416" and "No space left" in answer.message
        assert statuses(await to.send(batch(1))) == ["accepted"]
        await to.close(complete=False)

    run(main())
    assert [line["key"] for line in lines(tmp_path / "out/crm/run1.jsonl")] == ["k0", "k1", "k0"]


def _no_space(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("path", ["../elsewhere", "/tmp", "out/../../x", "link/x"])
def test_nothing_is_written_outside_of_the_project(tmp_path: Path, path: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "link").symlink_to(tmp_path)
    with pytest.raises(ProjectError) as caught:
        files(project, path=path)
    assert caught.value.code == "CDP408"


@pytest.mark.parametrize("sync", ["..", "a/b", "", "a\\b"])
def test_a_sync_cannot_climb_out_by_its_name(tmp_path: Path, sync: str) -> None:
    with pytest.raises(ProjectError):
        send(files(tmp_path), batch(1), delivery=Delivery(sync, "run1", NOW))
    assert names(tmp_path) == []


HOSTILE = ["quote ' \"", "line\nbreak\r\n", "100 %", '", "is_admin": true', "🦄", "x" * 65_536, "\0", "\u2028", ""]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:20])
def test_values_stand_in_the_file_as_they_are(tmp_path: Path, value: str) -> None:
    row = change("k0", {"v": value})
    for kind in ("jsonl", "csv"):
        to = files(tmp_path, format=kind)
        assert to.invalid(row) is None
        send(to, Batch("upsert", (row,)), delivery=DELIVERY)
    with open(tmp_path / "out/crm/run1.jsonl", "rb") as lines_file:
        assert [json.loads(line)["fields"]["v"] for line in lines_file] == [value]
    with open(tmp_path / "out/crm/run1.csv", encoding="utf-8", newline="") as csv_file:
        assert list(csv.reader(csv_file))[1][3] == value


def test_ten_thousand_rows_are_cut_into_a_few_batches(tmp_path: Path) -> None:
    to = files(tmp_path)
    cut = list(to.batches("upsert", (change(f"k{i}") for i in range(10_001))))
    assert [len(one.changes) for one in cut] == [5000, 5000, 1]
    run(sent(to, *cut, delivery=DELIVERY))
    assert len((tmp_path / "out/crm/run1.jsonl").read_text().splitlines()) == 10_001


def test_the_account_is_the_folder_wherever_the_project_lies(tmp_path: Path) -> None:
    assert files(tmp_path).account() == files(tmp_path / "elsewhere").account() == "file:out"
    assert files(tmp_path, path="other").account() == "file:other"


def test_a_row_has_one_line_with_a_list_or_without(tmp_path: Path) -> None:
    assert files(tmp_path).operations == {"upsert", "remove", "delete", "append"}
