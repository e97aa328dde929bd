"""What the language has and this version does not carry out is refused by name, at its place, and alone."""

from __future__ import annotations

import pytest

from tests.hostile.shop import Spoiled

AUDIENCE = ("audiences.yml", "  growing:\n    title: Buying more than before\n", "  growing:\n    {}\n")
CONDITION = ("audiences.yml", "- ltv: {gte: 100}", "- {}")
TRAIT = ("traits.yml", "    has_refund:         {exists: orders, where: {status: refunded}}", "    has_refund: {}")
IDENTITY = ("entities/household.yml", "    identity:\n", "    identity:\n      {}\n")
FIELD = ("syncs.yml", "{constant: cdp}", "{}")
SYNC = ("syncs.yml", "    after: [crm_regulars]  ", "    {}  ")
MODE = ("syncs.yml", "mode: mirror\n    on_leave: delete", "mode: {}")
TOP = ("policies.yml", "policies:\n", "{}\npolicies:\n")

ITEMS = {
    "fuzzy": (IDENTITY, "fuzzy: [{name: x, block_by: [[address]], compare: {address: equal}}]"),
    "never_link": (IDENTITY, "never_link: {table: x}"),
    "max_size": (IDENTITY, "max_size: 12"),
    "by_time": (IDENTITY, "anonymous: by_time"),
    "sequence": (CONDITION, "sequence: [{did: a}, {did: b, within: 7d}]"),
    "journey": (CONDITION, "journey: winback"),
    "arm": (CONDITION, "arm: {winback: mail}"),
    "consent": (CONDITION, "consent: email"),
    "received": (CONDITION, "received: crm_regulars"),
    "journeys": (TOP, "journeys: {a: {of: customer}}"),
    "plans": (TOP, "plans: {a: {stream: web}}"),
    "experiments": (TOP, "experiments: {a: {of: regulars, arms: [{a: 1}]}}"),
    "mappings": (TOP, "mappings: {a: {b: c}}"),
    "tests": (TOP, "tests: [{name: a}]"),
    "policies.consent": (("policies.yml", "exclude: [employees]  ", "exclude: [employees]\n    {}  "), "consent: {email: email}"),
    "policies.holdout": (("policies.yml", "exclude: [employees]  ", "exclude: [employees]\n    {}  "), "holdout: {global: holdout}"),
    "priority": (AUDIENCE, "priority: {group: offers, rank: 2}"),
    "expect": (AUDIENCE, "expect: {size: {between: [1, 2]}}"),
    "for_each": (AUDIENCE, "for_each: {country: [FR, BE]}"),
    "limit.per": (("audiences.yml", "{top: 100, by: [ltv desc]}", "{}"), "{top: 100, by: [ltv desc], per: {country: 10}}"),
    "was of an audience": (AUDIENCE, "was: growing_fast"),
    "was of a trait": (TRAIT, "{exists: orders, was: refunded}"),
    "was of a sync": (SYNC, "was: ads"),
    "was of a source": (("sources.yml", "    key: code\n", "    key: code\n    {}\n"), "was: plan"),
    "was of an entity": (("entities/household.yml", "    title: Household\n", "    {}\n"), "was: home"),
    "sessionize": (("sources.yml", "    file: data/plans.csv\n    read: {text: true}\n    key: code\n    columns: {monthly_price: {type: decimal}}\n", "    {}\n"), "sessionize: {stream: web, gap: 30m, per: customer}"),
    "segment_warehouse": (("sources.yml", "spec: segment ", "spec: {} "), "segment_warehouse"),
    "rudderstack_warehouse": (("sources.yml", "spec: segment ", "spec: {} "), "rudderstack_warehouse"),
    "snowplow": (("sources.yml", "spec: segment ", "spec: {} "), "snowplow"),
    "ntile": (TRAIT, "{ntile: 10, of: ltv, per: country}"),
    "rank": (TRAIT, "{rank: ltv, per: country}"),
    "query": (TRAIT, "{query: models/rfm.sql, columns: {rfm: int}}"),
    "from": (TRAIT, "{from: orders.amount, max_age: 7d}"),
    "lookup": (TRAIT, "{lookup: household.plan}"),
    "field rows": (FIELD, "{rows: orders, fields: {id: order_id}, order: [ordered_at desc], limit: 5}"),
    "field lookup": (FIELD, "{lookup: household.plan}"),
    "field only_if_empty": (FIELD, "{column: phone, only_if_empty: true}"),
    "field sql": (FIELD, '{sql: "1"}'),
    "mode update": (MODE, "update"), "mode insert": (MODE, "insert"), "mode add": (MODE, "add"),
    "mode remove": (MODE, "remove"), "mode delete": (MODE, "delete"), "mode replace": (MODE, "replace"),
    "alert": (SYNC, "alert: [{if: [failed], to: ops}]"),
    "delivery": (SYNC, "delivery: batch"),
    "consent of a sync": (SYNC, "consent: email"),
    "for_each of a sync": (SYNC, "for_each: {country: [FR]}"),
    "sync from a journey": (("syncs.yml", "{audience: lapsing}", "{}"), "{journey: {name: winback, step: hello}}"),
    "sync of an arm": (("syncs.yml", "{audience: lapsing}", "{}"), "{audience: lapsing, arm: mail}"),
}  # fmt: skip


@pytest.mark.parametrize("item", ITEMS)
def test_what_is_not_in_this_version_is_refused_by_name_at_its_place(item: str, shop: Spoiled) -> None:
    (file, old, new), body = ITEMS[item]
    line = shop.replace(file, old, new.replace("{}", body, 1))
    line += new[: new.index("{}")].count("\n")
    errors = shop.errors()
    assert {problem.code for problem in errors} == {"CDP150"}, [str(problem) for problem in errors]
    for problem in errors:
        assert problem.mark and (problem.mark.file, problem.mark.line) == (file, line)
        assert "not in this version" in problem.message
