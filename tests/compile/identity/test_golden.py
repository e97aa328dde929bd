"""The golden record, and whose a row is."""

from __future__ import annotations

import pytest
from sqlglot import exp, parse_one

from cdp.compile.identity import Attribute, Identifier, golden, golden_scratch, owner
from cdp.compile.render import Renderer
from cdp.warehouse.base import Warehouse
from tests.compile.identity.people import Row, build, carry_out, customer, fill, ids, limited, records

CRM: list[Row] = [  # day, user, city
    (5, "u1", "Lyon"), (5, "u1", "Brest"), (None, "u1", "Arles"), (1, "u1", "Lyon"),
    (3, "u2", None), (2, "u2", "Nice"),
]  # fmt: skip
WEB: list[Row] = [(9, "u1", "Paris"), (9, "u2", "Nice"), (1, "u3", None)]
PICKS = {
    # the first source that knows one, then its latest: two at once, the smaller value
    "first": ("Brest", "Nice"),
    "latest": ("Paris", "Nice"),
    # a row without time is older than any
    "earliest": ("Arles", "Nice"),
    "most_frequent": ("Lyon", "Nice"),
    # five letters: of the first source, then the latest, then the smallest
    "longest": ("Brest", "Nice"),
    "min": ("Arles", "Nice"),
    "max": ("Paris", "Nice"),
    "any": ("Arles", "Nice"),
    "all": ('["Arles","Brest","Lyon","Paris"]', '["Nice"]'),
}


def candidates(warehouse: Warehouse, cast: str = "r.i1") -> tuple[exp.Expr, ...]:
    spec = customer([Identifier("user_id")], records("cdp.crm", ["user_id"]), records("cdp.web", ["user_id"], 1))
    build(warehouse, spec)
    keep = [
        exp.column("row_at", "r"),
        exp.column("row_key", "r"),
        exp.alias_(parse_one(cast, dialect="duckdb"), "value"),
    ]
    rows = [parse_one(f"SELECT row_key, row_at, i0, i1 FROM cdp.{table}", dialect="duckdb") for table in ("crm", "web")]
    return tuple(owner(spec, Renderer(warehouse.facts), tree, ["user_id"], keep) for tree in rows)


def table_of(
    warehouse: Warehouse, *attributes: Attribute, identifiers: tuple[str, ...] = ("user_id",)
) -> dict[str, tuple[object, ...]]:
    """user ► values of the attributes."""
    script = golden(
        "customer", "cdp.customer_ids", identifiers, attributes, Renderer(warehouse.facts), "cdp.customer_base"
    )
    carry_out(warehouse, script)
    names = ", ".join(attribute.name for attribute in attributes)
    return {
        str(user): tuple(values) for user, *values in warehouse.rows(f"SELECT user_id, {names} FROM cdp.customer_base")
    }


@pytest.mark.parametrize("pick", sorted(PICKS))
def test_a_pick_chooses_its_value(warehouse: Warehouse, pick: str) -> None:
    fill(warehouse, "cdp.crm", 2, CRM)
    fill(warehouse, "cdp.web", 2, WEB)
    found = table_of(warehouse, Attribute("city", pick, "text", candidates(warehouse)))  # type: ignore[arg-type]
    assert found == {"u1": (PICKS[pick][0],), "u2": (PICKS[pick][1],), "u3": (None,)}


def test_numbers_are_picked_as_numbers(warehouse: Warehouse) -> None:
    fill(warehouse, "cdp.crm", 2, [(1, "u1", "9"), (2, "u1", "10")])
    fill(warehouse, "cdp.web", 2, [(1, "u1", "10")])
    froms = candidates(warehouse, "CAST(r.i1 AS BIGINT)")
    picks = ("max", "min", "all")
    found = table_of(warehouse, *(Attribute(f"n_{pick}", pick, "int", froms) for pick in picks))  # type: ignore[arg-type]
    assert found == {"u1": (10, 9, "[9,10]")}


def test_any_of_booleans_is_true_where_one_is(warehouse: Warehouse) -> None:
    fill(warehouse, "cdp.crm", 2, [(1, "u1", "f"), (2, "u1", "t"), (2, "u2", "f"), (1, "u3", None)])
    fill(warehouse, "cdp.web", 2, [])
    froms = candidates(warehouse, "r.i1 = 't'")
    picks = ("any", "min", "max", "latest", "all")
    found = table_of(warehouse, *(Attribute(f"b_{pick}", pick, "bool", froms) for pick in picks))  # type: ignore[arg-type]
    assert found["u1"] == (True, False, True, True, "[false,true]")
    assert found["u2"] == (False, False, False, False, "[false]")
    assert found["u3"] == (None,) * 5


def test_values_in_lists_are_escaped(warehouse: Warehouse) -> None:
    fill(warehouse, "cdp.crm", 2, [(1, "u1", 'a"b\\c'), (2, "u1", "é, x")])
    fill(warehouse, "cdp.web", 2, [])
    found = table_of(warehouse, Attribute("city", "all", "text", candidates(warehouse)))
    assert found == {"u1": ('["a\\"b\\\\c","é, x"]',)}


def test_an_identifier_is_an_attribute_by_itself_its_value_last_seen(warehouse: Warehouse) -> None:
    fill(warehouse, "cdp.crm", 2, [(1, "u1", "New@x.fr"), (7, "u1", "b@x.fr"), (3, "u1", "c@x.fr"), (2, "u2", None)])
    build(
        warehouse,
        customer(
            [Identifier("user_id"), Identifier("email", normalize="email")], records("cdp.crm", ["user_id", "email"])
        ),
    )
    script = golden(
        "customer", "cdp.customer_ids", ["user_id", "email"], [], Renderer(warehouse.facts), "cdp.customer_base"
    )
    carry_out(warehouse, script)
    assert sorted(warehouse.rows("SELECT user_id, email FROM cdp.customer_base")) == [("u1", "b@x.fr"), ("u2", None)]


def test_many_attributes_take_several_statements_and_give_one_row_each(warehouse: Warehouse) -> None:
    fill(warehouse, "cdp.crm", 2, CRM)
    fill(warehouse, "cdp.web", 2, WEB)
    froms = candidates(warehouse)
    attributes = [Attribute(f"city_{number}", "latest", "text", froms) for number in range(15)]
    found = table_of(warehouse, *attributes)
    assert found == {"u1": ("Paris",) * 15, "u2": ("Nice",) * 15, "u3": (None,) * 15}
    assert golden_scratch("cdp.customer_base", attributes) == ("cdp.tmp_customer_base_0", "cdp.tmp_customer_base_1")


def test_a_row_belongs_to_its_strongest_bridging_identifier(warehouse: Warehouse) -> None:
    # the family mail is attached to u1; d9 is a device of its own that was only seen with the mail
    rows: list[Row] = [
        (1, "u1", "f@x.fr", "d1"),
        (2, "u2", "f@x.fr", "d2"),
        (3, None, "F@x.fr ", "d9"),
        (4, None, "f@x.fr", None),
    ]
    rows += [(5, "null", None, "d2"), (6, None, "test@test.com", None), (7, None, None, None)]
    fill(warehouse, "cdp.crm", 3, rows)
    slots = ["user_id", "email", "device"]
    identifiers = [Identifier("user_id", 1), Identifier("email", 5, normalize="email"), Identifier("device", 50)]
    spec = customer(identifiers, records("cdp.crm", slots))
    build(warehouse, spec)
    tree = owner(spec, Renderer(warehouse.facts), spec.records[0].relation, slots)
    found = warehouse.rows(
        Renderer(warehouse.facts).sql(exp.select("o.row_key", "o.entity_id").from_(exp.Subquery(this=tree, alias="o")))
    )
    of = ids(warehouse)
    u1, u2, d9 = of["user_id:u1"], of["user_id:u2"], of["device:d9"]
    assert len({u1, u2, d9}) == 3
    assert dict(found) == {"0": u1, "1": u2, "2": d9, "3": u1, "4": u2, "5": None, "6": None}


def test_a_shared_identifier_owns_no_row(warehouse: Warehouse) -> None:
    fill(warehouse, "cdp.web", 2, [*((1, "kiosk", f"d{n}") for n in range(40)), (2, "kiosk", None)])
    spec = customer(limited({"login": 5, "device": 5}), records("cdp.web", ["login", "device"]))
    build(warehouse, spec)
    tree = owner(spec, Renderer(warehouse.facts), spec.records[0].relation, ["login", "device"])
    rows = Renderer(warehouse.facts).sql(
        exp.select("o.row_key", "o.entity_id").from_(exp.Subquery(this=tree, alias="o"))
    )
    found = dict(warehouse.rows(rows))
    assert found["40"] is None
    assert len({found[str(n)] for n in range(40)}) == 40


def test_a_costly_normal_form_finds_the_same_owner(warehouse: Warehouse) -> None:
    fill(warehouse, "cdp.crm", 1, [(1, "06 12 34 56 78"), (2, "+33612345678"), (3, "nonsense")])
    spec = customer([Identifier("phone", normalize="phone", region="FR")], records("cdp.crm", ["phone"]))
    build(warehouse, spec)
    tree = owner(spec, Renderer(warehouse.facts), spec.records[0].relation, ["phone"])
    rows = Renderer(warehouse.facts).sql(
        exp.select("o.row_key", "o.entity_id").from_(exp.Subquery(this=tree, alias="o"))
    )
    found = dict(warehouse.rows(rows))
    assert found == {"0": ids(warehouse)["phone:+33612345678"], "1": ids(warehouse)["phone:+33612345678"], "2": None}
