"""Values of the wrong kind, at every key of the language: an error with a place or a meaning, never a crash."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from cdp.project.reader import read
from tests.hostile.shop import PROJECT, SHOP, Spoiled, Word, words
from tests.hostile.test_typos import is_language

WRONG: list[Any] = [
    None,
    42,
    True,
    "",
    "x y",
    [],
    {},
    [1, "a"],
    {"a": 1},
    -1,
    1e300,
    "a.b.c",
    [[]],
    [{}],
    {"": None},
    "\0",
    "é" * 50,
]
JUNK = [
    "last 0 days",
    "0d",
    "999999999d",
    "99999999999y",
    "-1d",
    "100%",
    "-5%",
    "1e9",
    "2026-02-30",
    "0001-01-01",
    "9999-12-31T23:59:59Z",
]


def kinds(file: str) -> list[Word]:
    """The keys of the language in a file, one of each kind (`audiences.*.where` once)."""
    found: dict[tuple[str, ...], Word] = {}
    for word in words(file):
        if word.is_key and is_language(word):
            found.setdefault((*tuple(part for part in word.parents[2:] if not part.isdigit())[-2:], word.text), word)
    return list(found.values())


def put(data: Any, word: Word, value: Any) -> Any:
    """A copy of the data with another value under a key."""
    result = copy.deepcopy(data)
    here = result
    for part in word.parents:
        here = here[int(part)] if isinstance(here, list) else here[part]
    here[word.text] = value
    return result


@pytest.mark.slow
@pytest.mark.parametrize("file", PROJECT)
def test_a_value_of_any_other_kind_is_no_crash(file: str, shop: Spoiled) -> None:
    data = json.loads(json.dumps(read(SHOP / file, root=SHOP).data))
    refused = tried = 0
    for number, word in enumerate(kinds(file)):
        for turn in range(4):
            pool = [*WRONG, *JUNK]
            value = pool[(number * 4 + turn) % len(pool)]
            shop.write(file, json.dumps(put(data, word, value), indent=1, ensure_ascii=False))
            refused += bool(shop.errors())
            tried += 1
    assert refused >= tried * 0.7, f"{refused} of {tried} were refused"


CASES = {
    "a duration that is too long": ("audiences.yml", "last 30 days", "last 999999999 years", "CDP107"),
    "a duration that overflows": ("audiences.yml", "within_last: 30d", "within_last: 99999999w", "CDP107"),
    "a time before all zones": ("audiences.yml", 'before: "2008-01-01"', 'before: "0001-01-01"', "CDP115"),
    "a day that there is not": ("audiences.yml", 'before: "2008-01-01"', 'before: "2008-02-30"', "CDP115"),
    "a number that no decimal holds": ("audiences.yml", "ltv: {gte: 100}", "ltv: {gte: 1e300}", "CDP108"),
    "a huge whole number": ("audiences.yml", "ltv: {gte: 100}", f"ltv: {{gte: {'9' * 39}}}", "CDP108"),
    "a number for a text": ("audiences.yml", "country: [FR, BE, CH]", "country: 33", "CDP115"),
    "a text for a number": ("audiences.yml", "ltv: {gte: 100}", 'ltv: {gte: "100"}', "CDP115"),
    "values of several types": ("audiences.yml", "country: [FR, BE, CH]", "country: [FR, 1, true]", "CDP115"),
    "a bare null": ("audiences.yml", "country: [FR, BE, CH]", "country: null", "CDP108"),
    "an empty list": ("audiences.yml", "country: [FR, BE, CH]", "country: []", "CDP108"),
    "between of one": ("audiences.yml", "between: [1, 20]", "between: [1]", "CDP108"),
    "between with a null": ("audiences.yml", "between: [1, 20]", "between: [1, null]", "CDP108"),
    "between of times": ("audiences.yml", 'before: "2008-01-01"', 'between: ["2008-01-01", "2009-01-01"]', "CDP115"),
    "an empty event": ("audiences.yml", "did: Product Added", 'did: ""', "CDP106"),
    "a prefix of nothing": ("audiences.yml", "starts_with: Product}", 'starts_with: ""}', "CDP106"),
    "a pattern with look-ahead": ("audiences.yml", r'"^\\+33[67]"', '"(?=a)"', "CDP108"),
    "a pattern that is none": ("audiences.yml", r'"^\\+33[67]"', '"("', "CDP108"),
    "count with match none": ("audiences.yml", "match: none  ", "match: none\n          count: 1  ", "CDP106"),
    "two operators": ("audiences.yml", "- did: Order Completed ", "- has: orders\n              did: Order Completed ", "CDP106"),
    "an operator among fields": ("audiences.yml", "- ltv: {gte: 100}", "- ltv: {gte: 100}\n          has: orders", "CDP106"),
    "a list as a condition": ("audiences.yml", "- ltv: {gte: 100}", "- [{ltv: 1}]", "CDP106"),
    "a ref alone": ("audiences.yml", "{gt: {ref: orders_prev_90d}}", "{ref: orders_prev_90d}", "CDP108"),
    "the wrong order": ("audiences.yml", "by: [ltv desc]", "by: [ltv down]", "CDP106"),
    "a limit of none": ("audiences.yml", "top: 100", "top: 0", "CDP105"),
    "a limit of half": ("audiences.yml", "top: 100", "top: 1.5", "CDP105"),
    "two kinds of a trait": ("traits.yml", "{sum: orders.amount", "{count: orders, sum: orders.amount", "CDP105"),
    "no kind of a trait": ("traits.yml", "{min: orders.ordered_at}", "{default: 1}", "CDP105"),
    "the sum of rows": ("traits.yml", "{sum: orders.amount", "{sum: orders", "CDP117"),
    "the count of a value": ("traits.yml", "{count: orders, where: {status: paid}, during: last 90", "{count: orders.amount, during: last 90", "CDP117"),
    "the sum of texts": ("traits.yml", "{max: orders.amount", "{sum: orders.status", "CDP115"),
    "a default of another type": ("traits.yml", "default: 0", "default: nothing", "CDP115"),
    "a trait of its own row": ("traits.yml", "{min: orders.ordered_at}", "{min: country}", "CDP117"),
    "a limit below one": ("entities/customer.yml", "{limit: 1}     ", "{limit: 0}     ", "CDP105"),
    "a region of nowhere": ("entities/customer.yml", "region: FR", "region: XX", "CDP105"),
    "a block that is no pattern": ("entities/customer.yml", '"/^till', '"/^(till', "CDP108"),
    "a share of five hundred": ("entities/customer.yml", "    identity:\n", "    identity:\n      max_changed: 500%\n", "CDP105"),
    "identifiers by name": ("entities/household.yml", "- address: {}", "  address: {}", "CDP105"),
    "a source of two origins": ("sources.yml", "file: data/plans.csv", "file: data/plans.csv\n    table: plans", "CDP105"),
    "a source of none": ("sources.yml", "    file: data/plans.csv\n", "", "CDP105"),
    "a file of another kind": ("sources.yml", "data/plans.csv", "data/plans.xlsx", "CDP113"),
    "a time zone of Mars": ("sources.yml", "timezone: UTC", "timezone: Mars/Olympus", "CDP111"),
    "a format of its own": ("sources.yml", "%d/%m/%Y", "%Q", "CDP105"),
    "a format of a text": ("sources.yml", "type: date, format", "type: text, format", "CDP105"),
    "a time that is none": ("sources.yml", "time: updated_at", "time: newsletter", "CDP115"),
    "an age without a unit": ("sources.yml", "warn: 36h", "warn: 36", "CDP105"),
    "a column that the lock has not": ("sources.yml", "price: {type: decimal}}", "prize: {type: decimal}}", "CDP112"),
    "a type that there is not": ("sources.lock.yml", "order_id: text", "order_id: varchar", "CDP105"),
    "a lock of another version": ("sources.lock.yml", "version: 1", "version: 2", "CDP105"),
    "a mode that there is not": ("syncs.yml", "mode: mirror\n    on_leave: remove", "mode: mirrored\n    on_leave: remove", "CDP105"),
    "nothing when it leaves": ("syncs.yml", "    on_leave: delete\n", "", "CDP118"),
    "a list to leave that is none": ("syncs.yml", "on_leave: delete", "on_leave: remove", "CDP118"),
    "no match": ("syncs.yml", "    match: {EMAIL: email}              ", "    #", "CDP118"),
    "a field of two kinds": ("syncs.yml", "{constant: cdp}", "{constant: cdp, column: email}", "CDP105"),
    "a field of none": ("syncs.yml", "{constant: cdp}", "{nulls: send}", "CDP105"),
    "a case without cases": ("syncs.yml", "{case: [{when: {ltv: {gte: 200}}, then: high}], else: normal}", "{case: []}", "CDP105"),
    "branches of two types": ("syncs.yml", "else: bronze", "else: 3", "CDP118"),
    "a hole that stays open": ("syncs.yml", "Bonjour ${first_name}", "Bonjour ${first_name", "CDP118"),
    "too many digits": ("syncs.yml", "round: 2", "round: 99", "CDP105"),
    "a guard of a lot": ("syncs.yml", "max_removed: 25%", "max_removed: lots", "CDP105"),
    "a guard of a fraction": ("syncs.yml", "max_removed: 25%", "max_removed: 0.25", "CDP105"),
    "a guard below nothing": ("syncs.yml", "max_removed: 25%", "max_removed: -5", "CDP105"),
    "a tolerance below nothing": ("syncs.yml", "{ltv: 0.5}", "{ltv: -1}", "CDP105"),
    "the wrong version": ("cdp_project.yml", "version: 1", "version: 2", "CDP105"),
    "a dialect that there is not": ("cdp_project.yml", "dialect: duckdb", "dialect: mysql", "CDP105"),
    "a zone that there is not": ("cdp_project.yml", "Europe/Paris", "Europe/Lutetia", "CDP111"),
    "resources at the root": ("cdp_project.yml", "vars:", "audiences: {}\nvars:", "CDP104"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_makes_no_sense_is_refused_at_its_place(name: str, shop: Spoiled) -> None:
    file, old, new, code = CASES[name]
    line = shop.replace(file, old, new)
    errors = shop.errors()
    assert errors
    first = line - 7, line + new.count("\n") + 3  # an empty map or a missing key is told where the whole stands
    near = [
        p for p in errors if p.code == code and p.mark and p.mark.file == file and first[0] <= p.mark.line <= first[1]
    ]
    assert near, [str(problem) for problem in errors]
    assert len(errors) <= 2, [str(problem) for problem in errors]
