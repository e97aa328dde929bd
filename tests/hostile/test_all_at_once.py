"""All mistakes of a project are told in one go, whatever file and floor they belong to."""

from __future__ import annotations

from tests.hostile.shop import Spoiled

TEN = {  # old, new, code
    "title: Regulars\n": ("titel: Regulars\n", "CDP104"),
    "country: [FR, BE, CH]": ("contry: [FR, BE, CH]", "CDP112"),
    "- orders_90d: {gte: 2}": ("- orders_90d: {gt3: 2}", "CDP106"),
    "where: {status: active}": ("were: {status: active}", "CDP106"),
    "during: last 60 days\n        - has": ("during: last sixty days\n        - has", "CDP107"),
    "- not_in: regulars": ("- not_in: regular", "CDP112"),
    "of: {entity: customer, anonymous: true}": ("of: {entity: customer, anonymous: maybe}", "CDP105"),
    "{gt: {ref: orders_prev_90d}}": ("{ref: orders_prev_90d}", "CDP108"),
    "2 * biggest_order < ltv": ("2 * random() < ltv", "CDP124"),
    "birth_date: {anniversary_within_next: 7d,": ("birth_date: {contains: a,", "CDP115"),
    "limit: {top: 50,": ("limit: {tops: 50,", "CDP104"),
    "- has: customer                 # the related row": (
        "- haas: customer                 # the related row",
        "CDP106",
    ),
    "members: {gte: 3}": ("members: null", "CDP108"),
}


def test_ten_mistakes_and_more_of_one_file_are_told_in_one_go(shop: Spoiled) -> None:
    planted = {}
    for old, (new, code) in TEN.items():
        planted[shop.replace("audiences.yml", old, new)] = code
    errors = shop.errors()
    told = {(problem.mark.line, problem.code) for problem in errors if problem.mark}
    assert set(planted.items()) <= told
    assert len(errors) == len(planted), [
        str(problem) for problem in errors if problem.mark and problem.mark.line not in planted
    ]


def test_mistakes_of_many_files_and_floors_are_told_in_one_go(shop: Spoiled) -> None:
    planted = {
        ("cdp_project.yml", shop.replace("cdp_project.yml", "Europe/Paris", "Europe/Pariss")),
        (
            "profiles.yml",
            shop.replace("profiles.yml", "warehouse: {type: duckdb, path", "warehouse: {type: duckdb, pat"),
        ),
        ("sources.yml", shop.replace("sources.yml", "first_name || ' '", "first_nam || ' '")),
        ("sources.lock.yml", shop.replace("sources.lock.yml", "tier: text", "tier: txt")),
        ("traits.yml", shop.replace("traits.yml", "{avg: orders.amount", "{avg: order.amount")),
        ("audiences.yml", shop.replace("audiences.yml", "- in: regulars", "- in: regularz")),
        ("policies.yml", shop.replace("policies.yml", "exclude:", "excluded:")),
        ("syncs.yml", shop.replace("syncs.yml", "mode: mirror", "mode: miror")),
        (
            "entities/household.yml",
            shop.replace("entities/household.yml", "[customer, subscription]", "[customer, subscriptoin]"),
        ),
        ("entities/customer.yml", shop.replace("entities/customer.yml", "pick: longest", "pick: longst")),
    }
    shop.write("broken.yml", "audiences:\n  a: [\n")
    told = {(problem.mark.file, problem.mark.line) for problem in shop.errors() if problem.mark}
    assert planted <= told, planted - told
    assert ("broken.yml", 3) in told


def test_a_mistake_is_told_once_however_many_things_need_what_is_broken(shop: Spoiled) -> None:
    line = shop.replace("entities/customer.yml", "limit: 5\n", "limit: five\n")
    errors = shop.errors()
    assert [(problem.mark.file, problem.mark.line) for problem in errors if problem.mark] == [
        ("entities/customer.yml", line)
    ]
