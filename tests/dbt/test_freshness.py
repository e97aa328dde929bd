"""How old the data behind a dbt model is: by its own rows, and by what dbt found at its sources."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdp.errors import ProjectError
from cdp.flow import Freshness, sources_freshness
from tests.cli.conftest import Call
from tests.dbt.conftest import RECORDED, Shop


@pytest.fixture(autouse=True)
def recorded(shop: Shop) -> None:
    """The sources.json that dbt wrote, with fresh rows in the tables."""
    shutil.copy(RECORDED / "sources.json", shop.target / "sources.json")
    now = datetime.now(UTC).replace(tzinfo=None)
    shop.sql(f"UPDATE orders SET ordered_at = TIMESTAMP '{now}'; UPDATE contacts SET updated_at = TIMESTAMP '{now}'")


def aged(shop: Shop, hours: float, status: str = "pass", source: str = "orders") -> None:
    """dbt found the newest row of a source to be that old; all others are new."""

    def change(content: Any) -> None:
        for result in content["results"]:
            mine = result["unique_id"].endswith(f".{source}")
            at = datetime.now(UTC) - timedelta(hours=hours if mine else 0)
            result.update(max_loaded_at=at.isoformat(), status=status if mine else "pass")

    shop.artifact("sources", change)


def found(shop: Shop) -> dict[str, Freshness]:
    return {one.source: one for one in sources_freshness(shop.settings())}


def test_what_dbt_found_at_the_sources_behind_a_model_is_told(shop: Shop) -> None:
    orders = found(shop)["orders"]  # through an ephemeral model
    assert (orders.status, orders.upstream) == ("error", "raw.orders")
    assert orders.newest == datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert found(shop)["countries"].status == "none"  # nothing behind it is known


@pytest.mark.parametrize(("hours", "status"), [(1, "pass"), (30, "warn"), (80, "error")])
def test_what_was_fresh_when_dbt_looked_grows_older(hours: float, status: str, shop: Shop) -> None:
    aged(shop, hours)  # dbt said: pass
    assert found(shop)["orders"].status == status


def test_dbts_own_verdict_is_never_made_better(shop: Shop) -> None:
    aged(shop, 1, "warn")
    assert found(shop)["orders"].status == "warn"
    aged(shop, 1, "runtime error")
    assert found(shop)["orders"].status == "error"


def test_rows_that_are_older_than_dbts_sources_count(shop: Shop) -> None:
    aged(shop, 1)
    shop.replace("    dbt: orders\n", "    dbt: orders\n    freshness: {error: 24h}\n")
    shop.sql("UPDATE orders SET ordered_at = TIMESTAMP '2026-01-01'")
    orders = found(shop)["orders"]
    assert (orders.status, orders.upstream) == ("error", None)


def test_a_source_that_dbt_could_not_look_at_is_an_error_without_an_age(shop: Shop) -> None:
    def break_(content: Any) -> None:
        for result in content["results"]:
            result.update(status="runtime error", max_loaded_at=None, criteria=None)

    shop.artifact("sources", break_)
    orders = found(shop)["orders"]
    assert (orders.status, orders.newest, orders.age_seconds) == ("error", None, None)


def test_without_what_dbt_found_the_rows_alone_tell(shop: Shop) -> None:
    (shop.target / "sources.json").unlink()
    orders = found(shop)["orders"]
    assert (orders.status, orders.upstream) == ("none", None)
    assert orders.age_seconds is not None and orders.age_seconds < 3600


def test_the_command_names_the_source_of_dbt_and_ends_with_1(cdp: Call, shop: Shop) -> None:
    said = cdp("sources", "freshness", "--project-dir", str(shop.folder))
    assert said.code == 1
    head, _, orders, _ = said.out.splitlines()
    assert head.split() == ["source", "newest", "age", "status", "dbt", "source"]
    assert orders.split()[0] == "orders" and orders.split()[-2:] == ["error", "raw.orders"]


@pytest.mark.parametrize("content", ["", "[]", '{"metadata": {}}'])
def test_a_file_that_cannot_be_read_is_one_line(content: str, shop: Shop) -> None:
    (shop.target / "sources.json").write_text(content)
    with pytest.raises(ProjectError) as caught:
        found(shop)
    assert (caught.value.code, caught.value.hint) == ("CDP130", "have dbt write it: dbt source freshness")


@pytest.mark.parametrize(
    "odd", [None, 7, "x", [], {"warn_after": 7}, {"warn_after": {"count": "x", "period": "eon"}}], ids=str
)
def test_results_of_odd_shape_are_no_crash(odd: Any, shop: Shop) -> None:
    def spoil(content: Any) -> None:
        content["results"] += [odd, {"unique_id": odd}]
        for result in content["results"][:2]:
            result.update(criteria=odd, max_loaded_at=odd, status=odd)

    shop.artifact("sources", spoil)
    assert found(shop)["orders"].status == "error"
