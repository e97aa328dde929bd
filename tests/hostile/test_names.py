"""Names that cannot be, names of what is not there, and things made of themselves."""

from __future__ import annotations

import pytest

from tests.hostile.shop import Spoiled

NAMES = {
    "upper case": "Growing", "camel case": "growingFast", "blanks": "growing fast", "a dash": "growing-fast", "a dot": "growing.fast",
    "a leading digit": "1growing", "a leading underscore": "_growing", "41 characters": "g" * 41, "900 characters": "g" * 900,
    "an umlaut": "größe", "an emoji": "grow🌱", "nothing": '""', "a quote": '"gro\\"wing"', "a semicolon": '"growing; drop table x"',
    "a comment": '"growing--"', "a slash": "../growing", "a NUL": '"a\\0"', "a new line": '"a\\nb"', "right to left": '"\\u202egrowing"',
    "jinja": '"{{ growing }}"', "a full width letter": "ｇrowing", "a Kelvin sign": "growin\u212a", "a combining accent": "growinǵ",
}  # fmt: skip
PLACES = {
    "audience": ("audiences.yml", "  growing:\n", "  {}:\n"),
    "source": ("sources.yml", "  plans:\n", "  {}:\n"),
    "entity": ("entities/household.yml", "  household:\n", "  {}:\n"),
    "trait": ("traits.yml", "    has_refund: ", "    {}: "),
    "sync": ("syncs.yml", "  ads_lapsing:\n", "  {}:\n"),
    "attribute": ("entities/customer.yml", "      origin: ", "      {}: "),
    "identifier": ("entities/customer.yml", "- crm_id: ", "- {}: "),
    "relation": ("sources.yml", "      of_order: ", "      {}: "),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLACES)
def test_a_name_that_cannot_be_is_refused_where_it_stands(kind: str, shop: Spoiled) -> None:
    file, old, new = PLACES[kind]
    for what, name in NAMES.items():
        line = shop.replace(file, old, new.format(name))
        told = [problem for problem in shop.errors() if problem.code == "CDP109"]
        assert any(p.mark and (p.mark.file, p.mark.line) == (file, line) for p in told), (what, [str(p) for p in told])
        shop.restore(file)


@pytest.mark.parametrize("kind", ["source", "entity", "trait", "attribute", "identifier"])
@pytest.mark.parametrize(
    "name", ["order", "user", "group", "select", "table", "all", "not", "in", "count", "as_of", "ctid", "cdp_x"]
)
def test_a_word_that_an_engine_or_the_language_keeps_is_refused(kind: str, name: str, shop: Spoiled) -> None:
    file, old, new = PLACES[kind]
    line = shop.replace(file, old, new.format(name))
    told = [problem for problem in shop.errors() if problem.code == "CDP109" and name in problem.message]
    assert any(p.mark and (p.mark.file, p.mark.line) == (file, line) for p in told)


TWICE = {
    "an audience": ("audiences", "growing: {of: customer, where: {country: FR}}"),
    "a source": ("sources", "plans: {table: plans}"),
    "an entity": ("entities", "household: {identity: {identifiers: [{address: {}}]}}"),
    "a trait": ("traits", "customer: {ltv: {count: orders}}"),
    "a sync": (
        "syncs",
        "ads_lapsing: {from: {audience: lapsing}, to: {destination: ads}, mode: upsert, match: {a: email}}",
    ),
    "a policy": ("policies", "customer: {exclude: [employees]}"),
}


@pytest.mark.parametrize("what", TWICE)
def test_what_is_declared_twice_is_refused_and_the_first_place_is_told(what: str, shop: Spoiled) -> None:
    key, body = TWICE[what]
    shop.write("zz/zz.yml", f"{key}:\n  {body}\n")
    told = [problem for problem in shop.errors() if problem.code == "CDP109"]
    assert [problem.mark.file for problem in told if problem.mark] == ["zz/zz.yml"]
    assert ".yml:" in told[0].message


SAME = {
    "a trait named as an attribute": ("traits", "customer: {country: {count: orders}}"),
    "a trait named as an identifier": ("traits", "customer: {crm_id: {count: orders}}"),
    "a trait named as a relation": ("traits", "customer: {orders: {count: orders}}"),
    "a trait named as the key": ("traits", "customer: {customer_id: {count: orders}}"),
    "a source named as an entity": ("sources", "household: {table: h}"),
}


@pytest.mark.parametrize("what", SAME)
def test_an_entity_has_one_namespace(what: str, shop: Spoiled) -> None:
    key, body = SAME[what]
    shop.write("zz/zz.yml", f"{key}:\n  {body}\n")
    assert "CDP109" in [problem.code for problem in shop.errors()]


UNKNOWN = {
    "a source of an entity": ("entities/subscription.yml", "from: subscriptions", "from: subscription", "subscriptions"),
    "a key of an entity": ("entities/subscription.yml", "key: subscription_id", "key: subscription_nr", "subscription_id"),
    "an own column of a relation": ("entities/subscription.yml", "{plan_code: code}", "{plan_cod: code}", "plan_code"),
    "another's column of a relation": ("entities/subscription.yml", "{plan_code: code}", "{plan_code: cod}", "code"),
    "a source of a relation": ("sources.yml", "to: products", "to: product", "products"),
    "an entity of ids": ("sources.yml", "customer: {user_id: user_id}", "custumer: {user_id: user_id}", "customer"),
    "an identifier of ids": ("sources.yml", "customer: {user_id: user_id}", "customer: {userid: user_id}", "user_id"),
    "a column of ids": ("sources.yml", "customer: {user_id: user_id}", "customer: {user_id: usr_id}", "user_id"),
    "a column of where": ("sources.yml", "deleted_at is null", "deletet_at is null", "deleted_at"),
    "a column of sql": ("sources.yml", "first_name || ' ' || last_name", "first_name || ' ' || lst_name", "last_name"),
    "a time": ("sources.yml", "time: updated_at", "time: updated", "updated_at"),
    "a time of landing": ("sources.yml", "loaded_at: loaded_at ", "loaded_at: load_at ", "loaded_at"),
    "a key": ("sources.yml", "key: [order_id, line_no]", "key: [order_id, line_nr]", "line_no"),
    "a source of an attribute": ("entities/customer.yml", "contacts.city", "contact.city", "contacts"),
    "a column of an attribute": ("entities/customer.yml", "contacts.city", "contacts.citty", "city"),
    "an identifier in known": ("entities/customer.yml", "- crm_id: {exists", "- crmid: {exists", "crm_id"),
    "an entity's attribute in ids": ("entities/customer.yml", "lower(street)", "lower(stret)", "street"),
    "an alias": ("entities/household.yml", "[customer, subscription]", "[customer, subscriptions]", "subscription"),
    "a path of a trait": ("traits.yml", "{min: orders.ordered_at}", "{min: order.ordered_at}", "orders"),
    "a column of a trait": ("traits.yml", "{min: orders.ordered_at}", "{min: orders.orderd_at}", "ordered_at"),
    "a filter of a trait": ("traits.yml", "where: {status: refunded}", "where: {state: refunded}", "status"),
    "an envelope": ("traits.yml", "web.row.timestamp", "web.row.timestmp", "timestamp"),
    "a formula": ("traits.yml", "and orders_90d >= 2", "and orders_90 >= 2", "orders_90d"),
    "a variable": ("traits.yml", "var('vip_from')", "var('vip_form')", "vip_from"),
    "an entity of traits": ("traits.yml", "  household:\n", "  houshold:\n", "household"),
    "an entity of an audience": ("audiences.yml", "of: household", "of: houshold", "household"),
    "an attribute": ("audiences.yml", "newsletter: true", "newsleter: true", "newsletter"),
    "a relation": ("audiences.yml", "- has: subscription ", "- has: subscripton ", "subscription"),
    "a stream": ("audiences.yml", "from: [web]", "from: [wbe]", "web"),
    "an audience": ("audiences.yml", "- not_in: regulars", "- not_in: regular", "regulars"),
    "a ref": ("audiences.yml", "{ref: customer.avg_basket}", "{ref: customer.avg_baskt}", "avg_basket"),
    "a measure": ("audiences.yml", "sum: {line_total:", "sum: {line_totl:", "line_total"),
    "a last row": ("audiences.yml", "last: {channel: web}", "last: {chanel: web}", "channel"),
    "an order": ("audiences.yml", "by: [ltv desc]", "by: [lvt desc]", "ltv"),
    "sql of an audience": ("audiences.yml", "2 * biggest_order", "2 * bigest_order", "biggest_order"),
    "an excluding audience": ("policies.yml", "exclude: [employees]", "exclude: [employes]", "employees"),
    "an entity of a policy": ("policies.yml", "  customer:\n", "  costumer:\n", "customer"),
    "an audience of a sync": ("syncs.yml", "{audience: lapsing}", "{audience: lasping}", "lapsing"),
    "a destination": ("syncs.yml", "destination: ads", "destination: add", "ads"),
    "a match": ("syncs.yml", "{EMAIL: email}", "{EMAIL: emial}", "email"),
    "a field": ("syncs.yml", "favourite: favourite_category", "favourite: favorite_category", "favourite_category"),
    "a hole of a template": ("syncs.yml", "${first_name}", "${first_nam}", "first_name"),
    "a member of an object": ("syncs.yml", "zip: postcode", "zip: postode", "postcode"),
    "a case": ("syncs.yml", "when: {is_vip: true}", "when: {is_vp: true}", "is_vip"),
    "a field that is ignored": ("syncs.yml", "ignore: [last_seen]", "ignore: [last_sen]", "last_seen"),
    "a field with a tolerance": ("syncs.yml", "tolerance: {ltv: 0.5}", "tolerance: {lvt: 0.5}", "ltv"),
    "a sync to wait for": ("syncs.yml", "after: [crm_regulars]", "after: [crm_regular]", "crm_regulars"),
    "a profile": ("cdp_project.yml", "profile: shop", "profile: shopp", "shop"),
    "a variable's own name": ("cdp_project.yml", "currency: EUR", "curency: EUR", "curency"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_is_not_there_is_told_where_it_is_named_with_what_was_meant(what: str, shop: Spoiled) -> None:
    file, old, new, meant = UNKNOWN[what]
    line = shop.replace(file, old, new)
    errors = shop.errors()
    assert any(f"did you mean `{meant}`?" in (problem.hint or "") for problem in errors), [
        str(problem) for problem in errors
    ]
    if what not in ("a profile", "a variable's own name"):  # these are missed elsewhere
        assert errors[0].mark and (errors[0].mark.file, errors[0].mark.line) == (file, line)
    assert len(errors) == 1, [str(problem) for problem in errors]


CYCLES = {
    "an audience in itself": ("audiences.yml", "- in: regulars", "- in: vip", "audience vip ► audience vip"),
    "two audiences": ("audiences.yml", "- ltv: {gte: 100}", "- in: vip", "audience vip ► audience regulars"),
    "a trait of itself": ("traits.yml", '"ltv >= ', '"is_vip and ltv >= ', "customer.is_vip ► customer.is_vip"),
    "two traits": ("traits.yml", "{sum: customer.ltv}", "{sum: customer.spent}", "household.household_spend"),
    "an alias of itself": ("entities/household.yml", "[customer, subscription]", "[household_subscriptions]", "household_subscriptions ► household.household_subscriptions"),
    "a column of itself": ("sources.yml", "sql: \"first_name", "sql: \"full_name || first_name", "computed from itself"),
    "a sync after itself": ("syncs.yml", "after: [crm_regulars]", "after: [ads_lapsing]", "ads_lapsing ► ads_lapsing"),
}  # fmt: skip


@pytest.mark.parametrize("what", CYCLES)
def test_a_cycle_is_printed(what: str, shop: Spoiled) -> None:
    file, old, new, said = CYCLES[what]
    shop.replace(file, old, new)
    if what == "two traits":
        shop.write("zz.yml", 'traits: {customer: {spent: {formula: "household.household_spend"}}}\n')
    told = [problem for problem in shop.errors() if problem.code == "CDP114"]
    assert len(told) == 1
    assert said in told[0].message
