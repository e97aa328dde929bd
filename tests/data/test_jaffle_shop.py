"""dbt's Jaffle Shop: its `customers` model, written as five traits; and what a column without a type is read as."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cdp import flow
from cdp.errors import ProjectError
from cdp.flow import Settings
from tests.data.making import Place, csv_rows, shared

SOURCES = """
sources:
  customers: {table: raw.raw_customers, key: id}
  orders:
    table: raw.raw_orders
    key: id
    time: order_date
    ids: {customer: user_id}
  payments:
    table: raw.raw_payments
    key: id
    columns: {amount_paid: {sql: "amount / 100", type: decimal}}       # the table has cents
    relations: {order: {to: orders, by: {order_id: id}, inverse: payments}}

entities:
  customer: {from: customers, key: id}

traits:
  customer:
    first_order: {min: orders.order_date}
    most_recent_order: {max: orders.order_date}
    number_of_orders: {count: orders}
    lifetime_value: {sum: orders.payments.amount_paid}
    average_payment: {avg: orders.payments.amount_paid}
    median_payment: {median: orders.payments.amount_paid}
    methods: {list: orders.payments.payment_method}
    usual_method: {most_frequent: orders.payments.payment_method}
    last_status: {last: orders.status}
    returned: {exists: orders, where: {status: {starts_with: return}}}
    worth: {formula: "case when lifetime_value >= 50 then 'high' when number_of_orders > 0 then 'low' end"}

audiences:
  never_ordered: {of: customer, where: {has: orders, match: none}}
  paid_by_coupon_only:
    of: customer
    where: {has: orders.payments, match: all, where: {payment_method: coupon}}
  twice_in_march:
    of: customer
    where: {has: orders, count: {gte: 2}, during: {from: "2018-03-01", to: "2018-04-01"}}
  last_one_came_back: {of: customer, where: {has: orders, last: {status: {in: [returned, return_pending]}}}}
  split_payers:                   # some order was paid in two or more ways
    of: customer
    where: {has: orders, where: {has: payments, distinct: {payment_method: {gte: 2}}}}
  best_five: {of: customer, limit: {top: 5, by: [lifetime_value desc, first_order]}}
"""

AS_OF = datetime(2018, 4, 10, tzinfo=UTC)


def load(place: Place, **types: str) -> None:
    data = shared("jaffle_shop_classic")
    for name, columns in {
        "raw_customers": {"id": "bigint"},
        "raw_orders": {"id": "bigint", "user_id": "bigint", "order_date": "date"},
        "raw_payments": {"id": "bigint", "order_id": "bigint", "amount": "bigint"},
    }.items():
        place.load_csv(data / f"{name}.csv", **{column: types.get(column, kind) for column, kind in columns.items()})


@pytest.fixture
def shop(place: Place) -> Place:
    """The shop's three tables, and its project, built."""
    load(place)
    place.project(sources=SOURCES)
    place.freeze()
    place.build(AS_OF)
    return place


class Facts:
    """The same rows in plain Python; orders after AS_OF do not exist for a run."""

    def __init__(self) -> None:
        data = shared("jaffle_shop_classic")
        self.customers = [row["id"] for row in csv_rows(data / "raw_customers.csv")]
        self.orders: dict[str, list[dict[str, str]]] = defaultdict(list)
        self.payments: dict[str, list[dict[str, str]]] = defaultdict(list)  # by order
        for row in csv_rows(data / "raw_orders.csv"):
            if row["order_date"] < "2018-04-10":
                self.orders[row["user_id"]].append(row)
        for row in csv_rows(data / "raw_payments.csv"):
            self.payments[row["order_id"]].append(row)

    def in_time(self, customer: str) -> list[dict[str, str]]:
        return sorted(self.orders[customer], key=lambda order: (order["order_date"], order["id"]))

    def paid(self, customer: str) -> list[dict[str, str]]:
        return [payment for order in self.orders[customer] for payment in self.payments[order["id"]]]

    def amounts(self, customer: str) -> list[Decimal]:
        return sorted(Decimal(payment["amount"]) / 100 for payment in self.paid(customer))


def test_the_customers_model_of_dbt_comes_out_as_traits(shop: Place) -> None:
    facts, expected = Facts(), {}
    for customer in facts.customers:
        dates = [date.fromisoformat(order["order_date"]) for order in facts.orders[customer]]
        paid = sum(facts.amounts(customer))
        expected[customer] = (min(dates, default=None), max(dates, default=None), len(dates), paid)
    columns = "first_order, most_recent_order, number_of_orders, lifetime_value"
    assert {row[0]: row[1:] for row in shop.rows(f"SELECT customer_id, {columns} FROM cdp.customer")} == expected


def test_the_other_kinds_of_traits_are_what_plain_python_makes_of_the_rows(shop: Place) -> None:
    facts, expected = Facts(), {}
    for customer in facts.customers:
        amounts = facts.amounts(customer)
        methods = Counter(payment["payment_method"] for payment in facts.paid(customer))
        orders = facts.in_time(customer)
        middle = len(amounts) // 2
        median = None if not amounts else (amounts[middle] + amounts[-middle - 1]) / 2
        expected[customer] = (
            None if not amounts else (sum(amounts, Decimal()) / len(amounts)).quantize(Decimal("1e-6")),
            median,
            "[" + ",".join(f'"{method}"' for method in sorted(methods)) + "]" if methods else None,
            min(methods, key=lambda method: (-methods[method], method), default=None),
            orders[-1]["status"] if orders else None,
            any(order["status"].startswith("return") for order in orders),
            "high" if sum(amounts) >= 50 else "low" if orders else None,
        )
    columns = "round(average_payment, 6), median_payment, methods, usual_method, last_status, returned, worth"
    assert {row[0]: row[1:] for row in shop.rows(f"SELECT customer_id, {columns} FROM cdp.customer")} == expected


def test_audiences_are_those_that_plain_python_finds(shop: Place) -> None:
    facts = Facts()

    def those(holds: Any) -> set[str]:
        return {customer for customer in facts.customers if holds(customer)}

    assert shop.members("never_ordered") == those(lambda c: not facts.orders[c])
    coupon = those(lambda c: facts.paid(c) and all(p["payment_method"] == "coupon" for p in facts.paid(c)))
    assert shop.members("paid_by_coupon_only") == coupon
    march = those(lambda c: sum(order["order_date"].startswith("2018-03") for order in facts.orders[c]) >= 2)
    assert shop.members("twice_in_march") == march
    back = those(lambda c: any(order["status"].startswith("return") for order in facts.in_time(c)[-1:]))
    assert shop.members("last_one_came_back") == back
    ways = {order: {payment["payment_method"] for payment in payments} for order, payments in facts.payments.items()}
    split = those(lambda c: any(len(ways.get(order["id"], ())) >= 2 for order in facts.orders[c]))
    assert shop.members("split_payers") == split
    first = {c: min((order["order_date"] for order in facts.orders[c]), default="9") for c in facts.customers}
    best = sorted(facts.customers, key=lambda c: (-sum(facts.amounts(c)), first[c], c))
    assert shop.members("best_five") == set(best[:5])


def test_one_audience_can_be_built_alone(shop: Place) -> None:
    before = shop.members("split_payers")
    shop.execute("DELETE FROM raw.raw_payments")
    later = Settings(project_dir=shop.root, as_of=AS_OF + timedelta(hours=1), select=("audience:split_payers",))
    assert flow.build(later).exit_code == 0
    assert before and shop.members("split_payers") == set()
    assert len(shop.members("best_five")) == 5, "what was not selected stays as it was"


def test_an_audience_built_alone_reads_the_traits_as_they_were_built(shop: Place) -> None:
    before = shop.members("best_five")
    shop.execute("DELETE FROM raw.raw_payments", "DELETE FROM cdp.audience_best_five")
    later = Settings(project_dir=shop.root, as_of=AS_OF + timedelta(hours=1), select=("audience:best_five",))
    assert flow.build(later).exit_code == 0
    assert shop.members("best_five") == before


def test_columns_whose_type_nobody_told_are_read_by_safe_casts(place: Place) -> None:
    """Everything loaded as text and no lock: the same answers, and a warning for each guess; --strict refuses them."""
    load(place, id="text", user_id="text", order_id="text", amount="text", order_date="text")
    loose = SOURCES.replace('"amount / 100"', '"cast(amount as decimal(38, 9)) / 100"')
    place.project(sources=loose.replace("{min: orders.order_date}", "{min: orders.order_date, type: date}"))
    result = flow.build(place.settings(AS_OF))
    assert result.exit_code == 0
    assert {problem.code for problem in result.problems if problem.severity == "warning"} == {"CDP116"}
    facts = Facts()
    expected = {}
    for customer in facts.customers:
        dates = [date.fromisoformat(order["order_date"]) for order in facts.orders[customer]]
        expected[customer] = (min(dates, default=None), len(dates), sum(facts.amounts(customer)))
    rows = place.rows("SELECT customer_id, first_order, number_of_orders, lifetime_value FROM cdp.customer")
    assert {row[0]: row[1:] for row in rows} == expected
    with pytest.raises(ProjectError, match="CDP116"):
        place.build(AS_OF)
