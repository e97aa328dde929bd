"""`cdp dbt exposures`: audiences and syncs as dbt is to know them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from cdp.errors import ProjectError
from cdp.flow import dbt_exposures
from tests.cli.conftest import Call
from tests.dbt.conftest import Shop


def exposures(shop: Shop) -> dict[str, Any]:
    return {one["name"]: one for one in yaml.safe_load(dbt_exposures(shop.settings()).text)["exposures"]}


def test_every_audience_and_sync_is_an_exposure_of_the_models_that_it_is_made_of(shop: Shop) -> None:
    found = exposures(shop)
    assert {name: one["depends_on"] for name, one in found.items()} == {
        "shop_audience_big": ["ref('contacts')", "ref('orders')"],
        "shop_audience_lands": ["ref('dim_country', v=2)"],
        "shop_sync_crm_big": ["ref('contacts')", "ref('orders')"],
        "shop_sync_crm_lands": ["ref('dim_country', v=2)"],
    }
    assert found["shop_sync_crm_big"] == {
        "name": "shop_sync_crm_big",
        "label": "sync crm_big (shop)",
        "type": "application",
        "description": "Rows that cdp keeps equal at the destination crm.",
        "owner": {"name": "cdp project shop"},
        "depends_on": ["ref('contacts')", "ref('orders')"],
        "config": {"tags": ["cdp"], "meta": {"cdp": "sync:crm_big"}},
    }
    assert found["shop_audience_big"]["type"] == "analysis"


def test_what_the_project_says_of_a_resource_is_said_to_dbt(shop: Shop) -> None:
    about = "title: Big spenders, description: Who spent a lot., owner: 'Growth <growth@example.com>', tags: [hourly]"
    shop.replace("big: {of: customer,", f"big: {{{about}, of: customer,")
    found = exposures(shop)["shop_audience_big"]
    assert (found["label"], found["description"]) == ("Big spenders", "Who spent a lot.")
    assert found["owner"] == {"name": "Growth", "email": "growth@example.com"}
    assert found["config"]["tags"] == ["cdp", "hourly"]


@pytest.mark.parametrize(
    ("owner", "said"),
    [
        ("growth", {"name": "growth"}),
        ("growth@example.com", {"name": "growth@example.com", "email": "growth@example.com"}),
    ],
)
def test_an_owner_is_a_name_or_an_address(owner: str, said: dict[str, str], shop: Shop) -> None:
    shop.replace("big: {of: customer,", f"big: {{owner: {owner}, of: customer,")
    assert exposures(shop)["shop_audience_big"]["owner"] == said


def test_texts_of_ours_are_no_templates_of_dbt(shop: Shop) -> None:
    shop.replace("name: shop\n", "name: 'Shop {# 1'\nvars: {said: 'Never {%x%} or {{ y }}'}\n", "cdp_project.yml")
    shop.replace("big: {of: customer,", "big: {description: \"{{ var('said') }}\", of: customer,")
    text = dbt_exposures(shop.settings()).text
    assert "{%" not in text and "{#" not in text and "{{" not in text
    assert "Never { %x%} or { { y }}" in text
    assert "shop_1_audience_big" in text


def test_a_model_of_another_package_is_named_with_it(shop: Shop) -> None:
    shop.replace(
        "    dbt: orders\n",
        "    dbt: shared.orders\n    columns: {order_id: int, customer_id: int, amount: decimal, ordered_at: timestamp}\n",
    )
    (shop.target / "catalog.json").unlink()
    assert exposures(shop)["shop_audience_big"]["depends_on"] == ["ref('contacts')", "ref('shared', 'orders')"]


def test_what_is_made_of_no_model_is_no_exposure(shop: Shop) -> None:
    shop.replace(
        "{dbt: dim_country, key: code}", "{table: main.dim_country_v2, key: code, columns: {code: text, name: text}}"
    )
    assert set(exposures(shop)) == {"shop_audience_big", "shop_sync_crm_big"}


def test_models_behind_a_query_count(shop: Shop) -> None:
    (shop.folder / "towns.sql").write_text("SELECT code, name FROM countries")
    shop.replace("    from: {audience: lands}\n", "    from: {query: towns.sql, key: code}\n")
    shop.replace("match: {external_id: country_id}", "match: {external_id: code}")
    assert exposures(shop)["shop_sync_crm_lands"]["depends_on"] == ["ref('dim_country', v=2)"]


@pytest.mark.parametrize("version", ["1.9.4", "1.5.0"])
def test_an_older_dbt_gets_tags_and_meta_where_it_looks_for_them(version: str, shop: Shop) -> None:
    shop.artifact("manifest", lambda manifest: manifest["metadata"].update(dbt_version=version))
    found = exposures(shop)["shop_audience_big"]
    assert "config" not in found
    assert (found["tags"], found["meta"]) == (["cdp"], {"cdp": "audience:big"})


def test_a_project_without_dbt_models_has_no_exposures(shop: Shop) -> None:
    for name in ("contacts", "orders"):
        shop.replace(f"    dbt: {name}\n", f"    table: main.{name}\n")
    shop.replace("{dbt: dim_country, ", "{table: main.dim_country_v2, ")
    with pytest.raises(ProjectError) as caught:
        dbt_exposures(shop.settings())
    assert caught.value.code == "CDP134"
    assert "dbt: {project_dir: …}" in (caught.value.hint or "")


# ------------------------------------------------------------------------------------------------ the command
def test_the_command_prints_yaml_and_nothing_else_on_stdout(cdp: Call, shop: Shop) -> None:
    said = cdp("dbt", "exposures", "--project-dir", str(shop.folder))
    assert said.code == 0
    assert [one["name"] for one in yaml.safe_load(said.out)["exposures"]] == list(exposures(shop))
    assert said.err == "4 exposures\n"
    document = cdp("dbt", "exposures", "--project-dir", str(shop.folder), "--output", "json").document
    assert document["exposures"][0]["name"] == "shop_audience_big"


def test_a_file_is_written_once_and_kept_up_to_date(cdp: Call, shop: Shop) -> None:
    path = shop.analytics / "models" / "cdp.yml"
    call = ("dbt", "exposures", "--project-dir", str(shop.folder), "--out", str(path))
    assert cdp(*call).out == f"{path} written: 4 exposures\n"
    first = path.read_text()
    assert first.startswith("# Made by `cdp dbt exposures`")
    assert cdp(*call).out == f"{path} unchanged: 4 exposures\n"
    shop.replace("big: {of: customer,", "big: {title: Big, of: customer,")
    assert cdp(*call).out == f"{path} written: 4 exposures\n"
    assert path.read_text() == first.replace("label: audience big (shop)", "label: Big")
    assert [other.name for other in path.parent.iterdir()] == ["cdp.yml"]


@pytest.mark.parametrize("content", [b"version: 2\n", b"", b"\xff"], ids=["of dbt", "empty", "no text"])
def test_a_file_of_somebody_else_is_never_overwritten(content: bytes, cdp: Call, shop: Shop) -> None:
    path = shop.analytics / "schema.yml"
    path.write_bytes(content)
    said = cdp("dbt", "exposures", "--project-dir", str(shop.folder), "--out", str(path))
    assert said.code == 2
    assert said.err.startswith(f"CDP183: {path} is in the way")
    assert path.read_bytes() == content


def test_an_action_that_there_is_not_is_a_mistake(cdp: Call, shop: Shop) -> None:
    said = cdp("dbt", "exposure", "--project-dir", str(shop.folder))
    assert said.code == 2
    assert "CDP182: the first argument cannot be `exposure`" in said.err and "did you mean `exposures`?" in said.err
    assert cdp("dbt").code == 2
