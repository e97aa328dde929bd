"""The data of examples/shop: the same for the same seed, with the traps and the second day it promises."""

import csv
import importlib.util
import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

Record = tuple[str, str]
Identifier = tuple[str, str]
SHOP = Path(__file__).parents[2] / "examples" / "shop"
PEOPLE = 800  # enough for two offices
ZERO_UUID = "00000000-0000-0000-0000-000000000000"
JUNK_MAILS = {"test@test.com", "noreply@greenroom.example", "till2@greenroom.example"}
JUNK = {"", "n/a", "null", "undefined", "0000000000", ZERO_UUID, *JUNK_MAILS}
TIMES = ("timestamp", "received_at", "updated_at", "ordered_at", "loaded_at", "started_at", "cancelled_at")
GROWING = ("events_{}.jsonl", "orders_{}.csv", "order_lines_{}.csv")
WHOLE = ("contacts.csv", "subscriptions.csv", "products.csv", "plans.csv")


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("shop_generate", SHOP / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


generate = load_generator()


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folders = {day: tmp_path_factory.mktemp(f"day{day}") for day in (1, 2)}
    for day, folder in folders.items():
        generate.write(folder, seed=7, people=PEOPLE, day=day)
    return folders


def rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [json.loads(line) for line in file] if path.suffix == ".jsonl" else list(csv.DictReader(file))


def by_key(path: Path, key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in rows(path)}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- the files ----


def test_a_seed_gives_the_same_bytes_and_another_one_others(days: dict[int, Path], tmp_path: Path) -> None:
    generate.write(tmp_path / "again", seed=7, people=PEOPLE, day=2)
    generate.write(tmp_path / "other", seed=8, people=PEOPLE, day=2)
    assert content(tmp_path / "again") == content(days[2])
    assert content(tmp_path / "other")["events_1.jsonl"] != content(days[2])["events_1.jsonl"]


def test_day_1_and_day_2_write_the_files_that_the_sources_name(days: dict[int, Path]) -> None:
    assert set(content(days[1])) == {*WHOLE, *(name.format(1) for name in GROWING)}
    assert set(content(days[2])) == set(content(days[1])) | {name.format(2) for name in GROWING}


def test_the_columns_are_those_of_the_lock(days: dict[int, Path]) -> None:
    sources = yaml.safe_load((SHOP / "sources.yml").read_text(encoding="utf-8"))["sources"]
    lock = yaml.safe_load((SHOP / "sources.lock.yml").read_text(encoding="utf-8"))["sources"]
    assert set(sources) == set(lock)
    for name, source in sources.items():
        files = list(days[2].glob(source["file"].removeprefix("data/")))
        assert files
        assert all(list(rows(file)[0]) == list(lock[name]) for file in files)


@pytest.mark.parametrize("name", [name.format(1) for name in GROWING] + ["products.csv", "plans.csv"])
def test_day_2_leaves_the_files_of_day_1_as_they_were(days: dict[int, Path], name: str) -> None:
    assert content(days[1])[name] == content(days[2])[name]


def test_going_back_to_day_1_takes_the_files_of_day_2_away(days: dict[int, Path], tmp_path: Path) -> None:
    for day in (2, 1):
        generate.write(tmp_path, seed=7, people=PEOPLE, day=day)
    assert content(tmp_path) == content(days[1])


def test_the_default_shop_takes_less_than_three_seconds(tmp_path: Path) -> None:
    start = time.perf_counter()
    generate.write(tmp_path)
    assert time.perf_counter() - start < 3
    assert len(rows(tmp_path / "contacts.csv")) > 1500


@pytest.mark.parametrize(("day", "people"), [(0, 800), (3, 800), (1, 99)])
def test_another_day_or_too_few_people_are_refused(tmp_path: Path, day: int, people: int) -> None:
    with pytest.raises(ValueError, match="day is 1 or 2 and people at least 100"):
        generate.write(tmp_path, day=day, people=people)
    assert not content(tmp_path)


def moments(folder: Path) -> Iterator[str]:
    for name in content(folder):
        for row in rows(folder / name):
            yield from (row[column] for column in TIMES if row.get(column))


def test_every_day_ends_before_the_instant_that_its_build_should_use(days: dict[int, Path]) -> None:
    assert "2026-03-01T00:00:00Z" < max(moments(days[1])) < "2026-03-02T00:00:00Z"
    assert "2026-03-02T00:00:00Z" < max(moments(days[2])) < "2026-03-03T00:00:00Z"
    assert min(moments(days[1])) > "2025-06-01T00:00:00Z"


@pytest.mark.parametrize("day", [1, 2])
def test_an_end_moves_every_time_but_no_birthday(days: dict[int, Path], tmp_path: Path, day: int) -> None:
    generate.write(tmp_path, seed=7, people=PEOPLE, day=day, end=date(2027, 5, 1))
    assert "2027-04-30T00:00:00Z" < max(moments(tmp_path)) < "2027-05-01T00:00:00Z"
    births = [[row["birth_date"] for row in rows(folder / "contacts.csv")] for folder in (tmp_path, days[day])]
    assert births[0] == births[1]


# ---- day 2 ----


def test_day_2_brings_only_events_and_orders_of_that_day_besides_changed_orders(days: dict[int, Path]) -> None:
    assert {row["timestamp"][:10] for row in rows(days[2] / "events_2.jsonl")} == {"2026-03-02"}
    old, new = by_key(days[2] / "orders_1.csv", "order_id"), by_key(days[2] / "orders_2.csv", "order_id")
    again = {key for key in new if key in old}
    assert again and len(new) > len(again)
    for key, row in new.items():
        if key in again:
            assert row == {**old[key], "status": "refunded", "loaded_at": row["loaded_at"]}
            assert row["loaded_at"] > old[key]["loaded_at"]
        else:
            assert row["ordered_at"].startswith("2026-03-02")


def test_on_day_2_contacts_move_are_deleted_vanish_and_join(days: dict[int, Path]) -> None:
    before, after = (by_key(days[day] / "contacts.csv", "crm_id") for day in (1, 2))
    changed = [after[key] for key in before if key in after and after[key] != before[key]]
    assert all(row["updated_at"].startswith("2026-03-02") for row in changed)
    assert any(row["deleted_at"] for row in changed)
    assert any(row["street"] != before[row["crm_id"]]["street"] for row in changed)
    assert 0 < len(changed) < len(before) / 10
    assert set(before) - set(after)
    assert len(set(after) - set(before)) == PEOPLE // 100


def test_on_day_2_active_subscriptions_are_cancelled(days: dict[int, Path]) -> None:
    before, after = (by_key(days[day] / "subscriptions.csv", "subscription_id") for day in (1, 2))
    changed = [key for key in before if before[key] != after[key]]
    assert changed
    assert all(before[key]["status"] == "active" and after[key]["status"] == "cancelled" for key in changed)


def test_day_2_brings_sides_of_people_together_that_day_1_knew_apart() -> None:
    first, second = (generate.truth(seed=7, people=PEOPLE, day=day) for day in (1, 2))
    apart = {owner for owner in first.values() if "/" in owner}
    assert {owner.partition("/")[2] for owner in apart} == {"device", "account"}
    assert not any("/" in owner for owner in second.values())
    assert all(second[record] == owner.partition("/")[0] for record, owner in first.items() if record in second)
    assert all(record[0] == "contacts" for record in set(first) - set(second))  # those that were deleted


# ---- the traps ----


def mail(contact: dict[str, Any]) -> str:
    return str(contact["email"]).strip().lower()


def test_junk_stands_in_every_identifier(days: dict[int, Path]) -> None:
    contacts, events = rows(days[1] / "contacts.csv"), rows(days[1] / "events_1.jsonl")
    assert {"n/a", "null", *JUNK_MAILS} <= {mail(row) for row in contacts}
    assert "n/a" in {row["loyalty_id"] for row in contacts}
    assert "0000000000" in {row["phone"] for row in contacts}
    assert {"null", "undefined"} <= {row["user_id"] for row in events}
    assert ZERO_UUID in {row["anonymous_id"] for row in events}


def test_some_contacts_have_no_mail_and_some_mails_belong_to_many(days: dict[int, Path]) -> None:
    contacts = rows(days[1] / "contacts.csv")
    assert any(not row["email"] and not row["work_email"] for row in contacts)
    families = Counter(mail(row) for row in contacts if mail(row).startswith("family."))
    assert max(families.values()) == 4
    offices = Counter(row["work_email"] for row in contacts if row["kind"] == "business")
    assert set(offices.values()) == {21}
    staff = [row for row in contacts if row["kind"] == "staff"]
    assert staff and all(row["work_email"].endswith("@greenroom.example") for row in staff)


def test_people_have_several_devices_mails_and_records(days: dict[int, Path]) -> None:
    owners = generate.truth(seed=7, people=PEOPLE, day=1)
    devices: dict[str, set[str]] = defaultdict(set)
    mails: dict[str, set[str]] = defaultdict(set)
    records: Counter[str] = Counter()
    for row in rows(days[1] / "events_1.jsonl"):
        owner = owners.get(("web", row["message_id"]))
        if owner:
            devices[owner].add(row["anonymous_id"])
            mails[owner] |= {row["traits"]["email"]} if row["traits"] else set()
    for row in rows(days[1] / "contacts.csv"):
        records[owners["contacts", row["crm_id"]]] += 1
    assert max(map(len, devices.values())) >= 3
    assert max(map(len, mails.values())) == 2
    assert max(records.values()) == 2


def test_some_messages_are_delivered_twice_with_a_later_arrival(days: dict[int, Path]) -> None:
    seen: dict[str, dict[str, Any]] = {}
    twice = 0
    for row in rows(days[1] / "events_1.jsonl"):
        first = seen.setdefault(row["message_id"], row)
        if first is not row:
            twice += 1
            assert row == {**first, "received_at": row["received_at"]}
            assert row["received_at"] > first["received_at"]
    assert twice >= 10


# ---- the truth ----


def identifiers(folder: Path) -> dict[Record, set[Identifier]]:
    """What each record knows, spelt in one way and without junk."""
    found: dict[Record, set[Identifier]] = {}

    def add(record: Record, known: dict[str, str | None]) -> None:
        clean = {(kind.removeprefix("work_"), (value or "").strip().lower()) for kind, value in known.items()}
        found[record] = {(kind, value) for kind, value in clean if value not in JUNK}

    for row in rows(folder / "contacts.csv"):
        if not row["deleted_at"]:
            known = {name: row[name] for name in ("crm_id", "user_id", "loyalty_id", "email", "work_email")}
            digits = "" if row["phone"] in JUNK else re.sub(r"\D", "", row["phone"])
            add(("contacts", row["crm_id"]), {**known, "phone": re.sub(r"^(0033|33|0)", "", digits)})
    for path in folder.glob("orders_*.csv"):
        for row in rows(path):
            add(("orders", row["order_id"]), {name: row[name] for name in ("user_id", "loyalty_id", "email")})
    for path in folder.glob("events_*.jsonl"):
        for row in rows(path):
            email = (row["traits"] or {}).get("email")
            known = {"user_id": row["user_id"], "anonymous_id": row["anonymous_id"], "email": email}
            add(("web", row["message_id"]), known)
    for row in rows(folder / "subscriptions.csv"):
        add(("subscriptions", row["subscription_id"]), {"user_id": row["user_id"]})
    return found


def components(known: dict[Record, set[Identifier]]) -> dict[Record, Record]:
    """Each record's component, named by one of its records: plain union-find over shared identifiers."""
    parent: dict[Any, Any] = {}

    def root(node: Any) -> Any:
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    for record, values in known.items():
        for value in values:
            parent[root(value)] = root(record)
    return {record: root(record) for record in known}


@pytest.mark.parametrize("day", [1, 2])
def test_identifiers_that_nobody_shares_lead_to_exactly_the_true_people(days: dict[int, Path], day: int) -> None:
    owners, known = generate.truth(seed=7, people=PEOPLE, day=day), identifiers(days[day])
    assert {record for record, values in known.items() if values} == set(owners)
    holders: dict[Identifier, set[str]] = defaultdict(set)
    for record, values in known.items():
        for value in values:
            holders[value].add(owners[record])
    shared = {value for value, people in holders.items() if len(people) > 1}
    assert {kind for kind, _ in shared} == {"email", "anonymous_id"}  # family and office mails, tablets
    mine = {record: values - shared for record, values in known.items() if values - shared}
    found = components(mine)
    people: dict[str, set[Record]] = defaultdict(set)
    parts: dict[Record, set[str]] = defaultdict(set)
    for record, component in found.items():
        people[owners[record]].add(component)
        parts[component].add(owners[record])
    assert all(len(owners_of_part) == 1 for owners_of_part in parts.values())
    split = [owner for owner, its_parts in people.items() if len(its_parts) > 1]
    assert len(split) <= (0 if day == 1 else 2)  # a deleted contact may have been the only link


def test_a_graph_without_limits_would_take_an_office_for_one_person(days: dict[int, Path]) -> None:
    owners, found = generate.truth(seed=7, people=PEOPLE, day=1), components(identifiers(days[1]))
    parts: dict[Record, set[str]] = defaultdict(set)
    for record, component in found.items():
        if record in owners:
            parts[component].add(owners[record])
    assert max(map(len, parts.values())) >= 21
