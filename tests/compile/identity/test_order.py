"""Order-free: whatever the order of rows, the partition, the ids, what is cut and why are the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.compile.identity import Identifier, IdentitySpec
from cdp.warehouse.base import Warehouse
from cdp.warehouse.duckdb import DuckDB
from cdp.warehouse.postgres import Postgres
from tests.compile.identity.people import Row, attached, build, customer, dropped, edges, fill, ids, records

IDENTIFIERS = (
    Identifier("user_id", 1),
    Identifier("card", 2),
    Identifier("email", 3, normalize="email"),
    Identifier("device", 4),
    Identifier("birth", 1, joins=False),
)
SLOTS = ["user_id", "card", "email", "email", "device", "birth"]


@pytest.fixture(scope="module")
def memory() -> Iterator[DuckDB]:
    warehouse = DuckDB(":memory:")
    warehouse.ensure_schemas()
    yield warehouse
    warehouse.close()


def spec() -> IdentitySpec:
    return customer(IDENTIFIERS, records("cdp.crm", SLOTS[:4]), records("cdp.web", [SLOTS[i] for i in (0, 2, 4, 5)], 1))


def world(warehouse: Warehouse, crm: list[Row], web: list[Row]) -> tuple[object, ...]:
    """Everything that identity resolution says about some rows, without history."""
    for master in ("ids", "changes"):
        warehouse.drop(f"cdp_state.customer_{master}")
    fill(warehouse, "cdp.crm", 4, crm)
    fill(warehouse, "cdp.web", 4, web)
    build(warehouse, spec())
    return ids(warehouse), attached(warehouse), dropped(warehouse), edges(warehouse)


def random_rows(seed: int, count: int) -> tuple[list[Row], list[Row]]:
    """Rows of a small world of its own: no identifier is shared with the world of another seed."""
    dice = random.Random(seed)

    def value(prefix: str, of: int, missing: float) -> str | None:
        return None if dice.random() < missing else f"{prefix}{int(of * dice.random() ** 2)}.{seed}"

    def row(kinds: list[tuple[str, int, float]]) -> Row:
        day = None if dice.random() < 0.1 else dice.randrange(30)
        return (day, *(value(*kind) for kind in kinds))

    crm = [("u", 12, 0.4), ("c", 14, 0.5), ("m", 16, 0.4), ("m", 16, 0.8)]
    web = [("u", 12, 0.7), ("m", 16, 0.6), ("d", 14, 0.2), ("b", 6, 0.7)]
    return [row(crm) for _ in range(count)], [row(web) for _ in range(count)]


def hundred_worlds() -> tuple[list[Row], list[Row]]:
    crm: list[Row] = []
    web: list[Row] = []
    for seed in range(100):
        some, more = random_rows(seed, 3 + seed // 2)
        crm += some
        web += more
        if seed % 10 == 0:  # a mailbox that the whole office reads
            web += [(1, None, f"office.{seed}", f"d{n}.{seed}", None) for n in range(14)]
    return crm, web


@pytest.mark.parametrize("shuffle", range(3))
def test_shuffled_rows_give_the_same_people_ids_and_reasons(memory: DuckDB, shuffle: int) -> None:
    crm, web = hundred_worlds()
    first = world(memory, crm, web)
    dice = random.Random(shuffle)
    dice.shuffle(crm)
    dice.shuffle(web)
    assert world(memory, crm, web) == first


def test_another_engine_gives_the_same_people_ids_and_reasons(memory: DuckDB, postgres: Postgres) -> None:
    crm, web = hundred_worlds()
    assert world(postgres, crm, web) == world(memory, crm, web)


def test_a_person_is_the_same_beside_others_and_alone(memory: DuckDB) -> None:
    found = world(memory, *hundred_worlds())[0]
    alone = world(memory, *random_rows(71, 3 + 71 // 2))[0]
    assert alone == {name: entity for name, entity in found.items() if name.endswith(".71")}  # type: ignore[attr-defined]


def test_nothing_vanishes_and_no_join_breaks_a_limit_in_a_hundred_worlds(memory: DuckDB) -> None:
    crm, web = hundred_worlds()
    found, loose, gone, seen = world(memory, crm, web)
    assert set(seen.values()) == {None, "shared", "over_limit", "limit"}  # type: ignore[attr-defined]
    _nothing_vanishes(crm, web, found, gone)  # type: ignore[arg-type]
    _no_join_breaks_a_limit(found, loose, seen)  # type: ignore[arg-type]


VALUE = st.sampled_from([None, "1", "2", "3", "4", "5", "6"])
ROW = st.tuples(st.sampled_from([None, 1, 2, 3]), VALUE, VALUE, VALUE, VALUE)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(crm=st.lists(ROW, max_size=14), web=st.lists(ROW, max_size=14))
def test_nothing_vanishes_and_no_join_breaks_a_limit(memory: DuckDB, crm: list[Row], web: list[Row]) -> None:
    found, loose, gone, seen = world(memory, crm, web)
    _nothing_vanishes(crm, web, found, gone)  # type: ignore[arg-type]
    _no_join_breaks_a_limit(found, loose, seen)  # type: ignore[arg-type]


def _nothing_vanishes(crm: list[Row], web: list[Row], found: dict[str, str], gone: dict[str, object]) -> None:
    places = [(crm, SLOTS[:4]), (web, [SLOTS[i] for i in (0, 2, 4, 5)])]
    given_ = {
        f"{kind}:{value}"
        for rows, slots in places
        for _, *values in rows
        for kind, value in zip(slots, values, strict=True)
        if value
    }
    assert given_ == set(found) | set(gone)
    assert not set(found) & set(gone)


def _no_join_breaks_a_limit(found: dict[str, str], loose: set[str], seen: dict[tuple[str, str], str | None]) -> None:
    """A profile may hold more of a type than its limit only where one profile of the stronger types held them all:
    users and cards, of which nothing stronger than a card can hold many, are never over."""
    held = Counter((entity, name.split(":")[0]) for name, entity in found.items() if name not in loose)
    for (_, kind), count in held.items():
        if kind == "user_id":
            assert count <= 1
    used = [pair for pair, reason in seen.items() if reason is None]
    assert all(found[left] == found[right] for left, right in used)
    cut = [(pair, reason) for pair, reason in seen.items() if reason == "limit"]
    assert all(found.get(left) != found.get(right) for (left, right), _ in cut)
