"""The demo company of grouparoo (users, accounts, purchases, payments): keyed entities, and sums over rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal

import pytest

from tests.data.making import Place, csv_rows, shared

SOURCES = """
sources:
  users:                          # its rows become the entity `person`
    table: raw.users
    key: id
    ids: {account: account_id}    # implies person.account and account.person
  accounts:
    table: raw.accounts
    key: id
    relations: {plan: {to: plans, by: {plan_id: id}}}
  plans: {table: raw.plans, key: id}
  purchases: {table: raw.purchases, key: id, ids: {person: user_id}}        # implies person.purchases
  payments: {table: raw.payments, key: id, ids: {account: account_id}}

entities:
  person: {from: users, key: id}
  account: {from: accounts, key: id}

traits:
  person:
    ltv: {sum: purchases.price, where: {state: successful}}
    categories: {distinct: purchases.category, where: {state: successful}}
  account:
    paid: {sum: payments.amount, where: {state: successful}}
    paid_or_not: {sum: payments.amount}
    seats_taken: {count: person}
    spent_by_people: {sum: person.ltv}
"""

AUDIENCES = """
audiences:
  big_spenders:                   # asked of the rows
    of: person
    where: {has: purchases, where: {state: successful}, sum: {price: {gt: 100}}}
  big_spenders_by_trait:          # the same, asked of a trait
    of: person
    where: {ltv: {gt: 100}}
  spaniards: {of: person, where: {language: Spanish}}
  reachable: {of: person, where: {email: {exists: true}}}
  buyers: {of: person, where: {ltv: {gt: 0}}}
  non_buyers: {of: person, where: {has: purchases, where: {state: successful}, match: none}}
  good_payers:
    of: account
    where: {has: payments, where: {state: successful}, sum: {amount: {gt: 800}}}
  payers_if_the_state_is_forgotten: {of: account, where: {paid_or_not: {gt: 800}}}
  people_of_good_payers:          # along a to-one relation: from a person to the account
    of: person
    where: {has: account, where: {in: good_payers}}
  people_with_dear_plans: {of: person, where: {account.plan.monthly_rate: {gte: 150}}}
  overfull:                       # more people than the plan has seats
    of: account
    where: {seats_taken: {gt: {ref: plan.seats}}}
"""


@pytest.fixture
def company(place: Place) -> Place:
    """The company's tables, and its project, built."""
    data, number, money = shared("grouparoo_demo"), "bigint", "numeric(12, 2)"
    place.load_csv(data / "users.csv", id=number, account_id=number, deactivated="boolean")
    place.load_csv(data / "accounts.csv", id=number, plan_id=number)
    place.load_csv(data / "plans.csv", id=number, seats=number, monthly_rate=money)
    place.load_csv(data / "purchases.csv", id=number, user_id=number, item=number, price=money)
    place.load_csv(data / "payments.csv", id=number, account_id=number, amount=money)
    place.project(sources=SOURCES, audiences=AUDIENCES)
    place.freeze()
    place.build()
    return place


def test_the_published_answers_come_out(company: Place) -> None:
    assert len(company.members("big_spenders")) == 185
    assert len(company.members("spaniards")) == 216
    assert len(company.members("reachable")) == 1000
    assert len(company.members("good_payers")) == 49
    assert len(company.members("payers_if_the_state_is_forgotten")) == 50
    ltv = "SELECT count(*), sum(ltv), max(ltv) FROM cdp.person WHERE ltv > 0"
    assert company.rows(ltv) == [(488, Decimal("47485.63"), Decimal("341.66"))]


def test_members_are_those_that_plain_python_finds(company: Place) -> None:
    data = shared("grouparoo_demo")
    users = {row["id"]: row for row in csv_rows(data / "users.csv")}
    accounts = {row["id"]: row for row in csv_rows(data / "accounts.csv")}
    plans = {row["id"]: row for row in csv_rows(data / "plans.csv")}
    spent: dict[str, Decimal] = defaultdict(Decimal)
    paid: dict[str, Decimal] = defaultdict(Decimal)
    seats = Counter(row["account_id"] for row in users.values())
    for row in csv_rows(data / "purchases.csv"):
        if row["state"] == "successful":
            spent[row["user_id"]] += Decimal(row["price"])
    buyers = set(spent)
    for row in csv_rows(data / "payments.csv"):
        if row["state"] == "successful":
            paid[row["account_id"]] += Decimal(row["amount"])
    good = {account for account in accounts if paid[account] > 800}
    plan = {account: plans[row["plan_id"]] for account, row in accounts.items()}

    assert company.members("big_spenders") == {user for user in users if spent[user] > 100}
    assert company.members("big_spenders_by_trait") == company.members("big_spenders")
    assert company.members("spaniards") == {user for user, row in users.items() if row["language"] == "Spanish"}
    assert company.members("buyers") == {user for user in users if spent[user] > 0}
    assert company.members("non_buyers") == set(users) - buyers
    assert company.members("good_payers") == good
    assert company.members("people_of_good_payers") == {key for key, row in users.items() if row["account_id"] in good}
    dear = {account for account in accounts if Decimal(plan[account]["monthly_rate"]) >= 150}
    assert company.members("people_with_dear_plans") == {key for key, row in users.items() if row["account_id"] in dear}
    assert company.members("overfull") == {key for key in accounts if seats[key] > int(plan[key]["seats"])}


def test_sums_do_not_fan_out_over_a_second_relation(company: Place) -> None:
    """An account has payments and people, and its people have purchases: each is added up by itself."""
    people = "FROM raw.users WHERE account_id IN (SELECT id FROM raw.accounts)"  # some accounts are not there
    purchases = f"SELECT sum(price) FROM raw.purchases WHERE state = 'successful' AND user_id IN (SELECT id {people})"
    payments = "SELECT sum(amount) FROM raw.payments WHERE state = 'successful'"
    expected = tuple(company.value(sql) for sql in (payments, f"SELECT count(*) {people}", purchases))
    assert company.rows("SELECT sum(paid), sum(seats_taken), sum(spent_by_people) FROM cdp.account") == [expected]
