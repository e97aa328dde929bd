"""The whole way with the real dbt: it builds, cdp reads what it left, and dbt takes what cdp writes for it.

`make dbt` installs it: dbt-core below 1.12, for from there on its install downloads from elsewhere than PyPI.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest

from cdp.errors import ProjectError
from cdp.flow import dbt_exposures, run, sources_freeze, sources_freshness
from cdp.project import load
from tests.dbt.conftest import RECORDED, Shop
from tests.dbt.real import Dbt, executable

pytestmark = [pytest.mark.dbt, pytest.mark.slow]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Dbt]]:
    """dbt's project, built once, and the shop beside it."""
    program = executable()
    if program is None:
        pytest.skip("no dbt: make dbt installs it, or name it in $CDP_TEST_DBT")
    base = tmp_path_factory.mktemp("real")
    shop = Shop(base)
    shutil.rmtree(shop.analytics)  # its tables are dbt's to make
    dbt = Dbt(base / "analytics", program)
    dbt("deps")
    dbt("seed")
    dbt("build")
    shutil.copy(shop.target / "run_results.json", base / "built.json")  # the next command writes it anew
    dbt("docs", "generate")
    yield shop, dbt


def test_what_dbt_built_is_read_and_sent_and_what_it_failed_to_build_waits(world: tuple[Shop, Dbt]) -> None:
    shop, dbt = world
    results = shop.target / "run_results.json"
    assert shop.problems(compile=True, online=True) == ()
    with pytest.raises(ProjectError, match="is of `dbt docs generate`, which builds nothing"):
        run(shop.settings(), after_dbt=results)
    first = run(shop.settings(), after_dbt=shop.folder.parent / "built.json")
    assert (first.exit_code, first.problems) == (0, ())
    assert shop.sql("SELECT email, spent FROM cdp.customer ORDER BY email") == [
        ("ann@example.com", pytest.approx(320.5)), ("bob@example.com", 700), ("cyd@example.com", 0),
    ]  # fmt: skip
    dbt("build", "--vars", "{broken: true}", fine=False)
    second = run(shop.settings(), after_dbt=results)
    assert second.exit_code == 3
    assert {step.id: step.status for step in second.steps if step.status != "done"} == {
        "source:orders": "held", "entity:customer": "skipped", "audience:big": "skipped", "sync:crm_big": "skipped",
    }  # fmt: skip
    dbt("build")  # the model is mended
    assert run(shop.settings(), after_dbt=results).exit_code == 0


def test_types_of_the_catalog_are_those_that_a_freeze_finds(world: tuple[Shop, Dbt]) -> None:
    shop, _ = world
    told = load(shop.folder).lock
    assert told["orders"] == {"order_id": "int", "customer_id": "int", "amount": "decimal", "ordered_at": "timestamp"}
    sources_freeze(shop.settings())
    frozen = load(shop.folder).lock
    (shop.folder / "sources.lock.yml").unlink()
    assert told == frozen


def test_freshness_is_what_dbt_found(world: tuple[Shop, Dbt]) -> None:
    shop, dbt = world
    dbt("source", "freshness", fine=False)  # its data is of January 2026
    found = {one.source: (one.status, one.upstream) for one in sources_freshness(shop.settings())}
    assert found == {
        "orders": ("error", "raw.orders"),
        "contacts": ("error", "raw.customers"),
        "countries": ("none", None),
    }


def test_dbt_takes_the_exposures_and_selects_by_them(world: tuple[Shop, Dbt]) -> None:
    shop, dbt = world
    shop.replace(
        "big: {of: customer,",
        "big: {description: \"{{ '{{ no.template }}' }}\", owner: 'G <g@example.com>', tags: [a b], of: customer,",
    )
    try:
        dbt_exposures(shop.settings(), dbt.folder / "models" / "cdp.yml")
    finally:
        shop.replace("description: \"{{ '{{ no.template }}' }}\", owner: 'G <g@example.com>', tags: [a b], ", "")
    said = dbt("parse", "--no-partial-parse", "--warn-error-options", '{"error": ["Deprecations"]}')
    assert "rror" not in said
    exposure = dbt.artifact("manifest.json")["exposures"]["exposure.analytics.shop_audience_big"]
    assert exposure["depends_on"]["nodes"] == ["model.analytics.contacts", "model.analytics.orders"]
    assert exposure["owner"] == {"email": "g@example.com", "name": "G"}
    assert exposure["tags"] == ["a b", "cdp"]
    listed = dbt("ls", "-s", "+exposure:shop_sync_crm_lands", "--resource-type", "model").split()
    assert listed == ["analytics.dim_country.v2"]
    (dbt.folder / "models" / "cdp.yml").unlink()


def test_the_recorded_artifacts_are_still_what_dbt_writes(world: tuple[Shop, Dbt]) -> None:
    _, dbt = world
    recorded = json.loads((RECORDED / "manifest.json").read_text())
    dbt("parse")
    now = dbt.artifact("manifest.json")
    for id_, node in recorded["nodes"].items():
        for key in ("name", "relation_name", "tags", "attached_node", "test_metadata", "latest_version"):
            assert node.get(key) == (now["nodes"][id_].get(key) or None), (id_, key)
