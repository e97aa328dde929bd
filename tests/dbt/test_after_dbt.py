"""`cdp run --after-dbt`: what hangs on a dbt model that failed or was skipped is neither built nor sent; the rest is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cdp.errors import ProjectError
from cdp.flow import RunResult, run
from cdp.flow.after_dbt import hold_back
from cdp.flow.loading import load_all
from tests.cli.conftest import Call
from tests.dbt.conftest import RECORDED, Shop

ORDERS = "the dbt model `orders` ended in an error"


def told(result: RunResult) -> dict[str, tuple[str, str]]:
    """What did not come to its end, and why."""
    return {step.id: (step.status, step.message) for step in result.steps if step.status != "done"}


def sent(shop: Shop) -> list[str]:
    """The syncs that sent anything, run by run."""
    return sorted(path.parent.name for path in (shop.folder / "out").rglob("*.jsonl"))


def results(shop: Shop, *told: tuple[str, str], which: str = "build") -> Path:
    """dbt's results, of one's own."""
    content = json.loads((RECORDED / "built.json").read_text())
    content["args"]["which"] = which
    content["results"] = [{"unique_id": id_, "status": status} for id_, status in told]
    path = shop.folder / "results.json"
    path.write_text(json.dumps(content))
    return path


def after(shop: Shop, *told: tuple[str, str], **more: Any) -> RunResult:
    """A run after dbt came to these results."""
    return run(shop.settings(**more), after_dbt=results(shop, *told))


def held(shop: Shop, *told: tuple[str, str], **more: Any) -> dict[str, tuple[str, str]]:
    """What a run after these results would leave alone, and why: nothing is built."""
    found = hold_back(load_all(shop.settings(**more)), results(shop, *told))
    waiting = {step.id: (step.status, step.message) for step in found.steps}
    return {**waiting, **{name: ("skipped", step.message) for name, step in found.syncs.items()}}


def test_after_a_good_dbt_everything_runs(shop: Shop) -> None:
    result = shop.run("built")
    assert (result.exit_code, told(result), result.problems) == (0, {}, ())
    assert sent(shop) == ["crm_big", "crm_lands"]


def test_what_hangs_on_a_failed_model_waits_and_the_rest_goes_on(shop: Shop) -> None:
    result = shop.run("broken")
    assert result.exit_code == 3
    assert told(result) == {
        "source:orders": ("held", ORDERS),
        "entity:customer": ("skipped", f"needs source:orders: {ORDERS}"),
        "audience:big": ("skipped", f"needs source:orders: {ORDERS}"),
        "sync:crm_big": ("skipped", f"its table is stale: source:orders is held by a guard: {ORDERS}"),
    }
    assert {step.id for step in result.steps if step.status == "done"} >= {
        "entity:country",
        "audience:lands",
        "sync:crm_lands",
    }
    assert sent(shop) == ["crm_lands"]
    (held,) = [step for step in result.steps if step.status == "held"]
    assert (held.code, held.exit_code) == ("CDP512", 3)


def test_tables_stay_as_they_were_and_a_later_run_catches_up(shop: Shop) -> None:
    assert shop.run("built").exit_code == 0
    members = shop.sql("SELECT customer_id, entered_at FROM cdp.audience_big ORDER BY 1")
    shop.sql("DELETE FROM orders")  # half of a broken dbt run: everybody would leave
    assert shop.run("broken").exit_code == 3
    assert shop.sql("SELECT customer_id, entered_at FROM cdp.audience_big ORDER BY 1") == members
    assert shop.sql("SELECT count(*) FROM cdp_state.stays WHERE to_at IS NULL AND audience = 'big'") == [(2,)]
    assert sent(shop) == ["crm_big", "crm_lands"]
    shop.sql("INSERT INTO orders VALUES (12, 2, 700.00, '2026-01-04 09:00:00')")
    later = shop.run("built", select=("entity:customer", "audience:big"))
    assert later.exit_code == 0
    assert shop.sql("SELECT count(*) FROM cdp.audience_big") == [(1,)]


def test_the_run_is_noted_as_held_in_part(shop: Shop) -> None:
    shop.run("broken")
    assert shop.sql("SELECT status, exit_code FROM cdp_state.runs") == [("part", 3)]
    written = json.loads((shop.folder / "target" / "run_results.json").read_text())
    assert written["exit_code"] == 3
    assert {step["id"]: step["code"] for step in written["steps"] if "code" in step} == {"source:orders": "CDP512"}


def test_a_failed_test_counts_as_it_does_for_dbt(shop: Shop) -> None:
    result = shop.run("twice")
    assert told(result)["source:contacts"] == (
        "held", "the dbt model `contacts` has a test that failed: `unique_contacts_customer_id`",
    )  # fmt: skip
    assert sent(shop) == ["crm_lands"]


def test_an_upstream_of_the_model_counts_too(shop: Shop) -> None:
    shop.replace("  countries: {", "  spenders: {dbt: big_spenders, key: customer_id}\n  countries: {")
    shop.replace("  country: {from", "  spender: {from: spenders, key: customer_id}\n  country: {from")
    found = held(shop, ("model.analytics.orders", "error"))
    said = "the dbt model `big_spenders` is made of `orders`, which ended in an error"
    assert found["source:spenders"] == ("held", said)
    assert found["entity:spender"] == ("skipped", f"needs source:spenders: {said}")


STATUSES = {
    "error": "ended in an error",
    "runtime error": "ended in an error",
    "skipped": "was skipped",
    "fail": "failed",
    "partial success": "was built in part only",
    "something new": "has the status `something new`",
}


def test_every_status_but_a_good_one_holds(shop: Shop) -> None:
    for status, said in STATUSES.items():
        found = held(shop, ("model.analytics.dim_country.v2", status))
        assert found["source:countries"] == ("held", f"the dbt model `dim_country.v2` {said}")
        assert set(found) == {"source:countries", "entity:country", "audience:lands", "sync:crm_lands"}


def test_a_good_status_holds_nothing(shop: Shop) -> None:
    for status in ("success", "no-op", "reused"):
        assert held(shop, ("model.analytics.dim_country.v2", status)) == {}


def test_a_test_that_only_warns_or_was_skipped_says_nothing_of_its_model(shop: Shop) -> None:
    for status in ("warn", "pass", "skipped"):
        assert held(shop, ("test.analytics.not_null_orders_amount.106140f9fd", status)) == {}


def test_a_failed_unit_test_counts_against_its_model(shop: Shop) -> None:
    unit = {"name": "adds_up", "depends_on": {"nodes": ["model.analytics.orders"]}}
    add = {"unit_test.analytics.orders.adds_up": unit}
    shop.artifact("manifest", lambda manifest: manifest["unit_tests"].update(add))
    found = held(shop, ("unit_test.analytics.orders.adds_up", "fail"))
    assert found["source:orders"] == ("held", "the dbt model `orders` has a test that failed: `adds_up`")


def test_a_source_of_dbt_that_failed_holds_what_is_made_of_it(shop: Shop) -> None:
    found = held(shop, ("source.analytics.raw.orders", "error"))
    said = "the dbt model `orders` is made of `raw.orders`, which ended in an error"
    assert found["source:orders"] == ("held", said)


def test_a_table_that_a_failed_model_has_not_even_made_is_not_asked_for(shop: Shop) -> None:
    shop.sql("DROP VIEW big_spenders; DROP TABLE orders; DROP TABLE contacts")
    result = after(shop, ("model.analytics.orders", "error"), ("model.analytics.contacts", "error"))
    assert result.exit_code == 3
    assert not [step for step in result.steps if step.status == "failed"]
    assert sent(shop) == ["crm_lands"]


def test_dbts_own_message_is_not_repeated(shop: Shop) -> None:
    path = results(shop, ("model.analytics.orders", "error"))
    content = json.loads(path.read_text())
    content["results"][0]["message"] = "could not convert 'ann@example.com' to INT32"
    path.write_text(json.dumps(content))
    run(shop.settings(), after_dbt=path)
    assert "ann@" not in (shop.folder / "target" / "run_results.json").read_text()


def test_what_nothing_selected_is_made_of_holds_nothing(shop: Shop) -> None:
    assert held(shop, ("model.analytics.orders", "error"), select=("+sync:crm_lands",)) == {}


def test_a_sync_alone_is_held_by_what_its_audience_is_made_of(shop: Shop) -> None:
    assert shop.run("built").exit_code == 0
    result = shop.run("broken", select=("sync:crm_big",))
    assert result.exit_code == 3
    assert set(told(result)) == {"source:orders", "sync:crm_big"}


def test_a_trait_alone_waits_with_the_table_that_it_stands_in(shop: Shop) -> None:
    found = held(shop, ("model.analytics.orders", "error"), select=("trait:customer.spent",))
    assert {name: status for name, (status, _) in found.items()} == {
        "source:orders": "held",
        "entity:customer": "skipped",
    }


def test_an_audience_alone_is_not_built_upon_a_stale_entity(shop: Shop) -> None:
    assert shop.run("built").exit_code == 0
    before = shop.sql("SELECT max(run_id) FROM cdp_state.stays")
    result = shop.run("broken", select=("audience:big", "audience:lands"))
    assert told(result)["audience:big"][0] == "skipped"
    assert [step.id for step in result.steps if step.status == "done" and step.id.startswith("audience:")] == [
        "audience:lands"
    ]
    assert shop.sql("SELECT max(run_id) FROM cdp_state.stays") == before


def test_a_query_over_a_model_hangs_on_it(shop: Shop) -> None:
    (shop.folder / "towns.sql").write_text("SELECT code, name FROM countries")
    shop.replace("  countries: {", "  towns: {query: towns.sql, key: code}\n  countries: {")
    shop.replace("country: {from: countries", "country: {from: towns")
    assert set(held(shop, ("model.analytics.dim_country.v2", "error"))) == {
        "source:countries",
        "entity:country",
        "audience:lands",
        "sync:crm_lands",
    }


def test_a_sync_of_a_query_hangs_on_its_models(shop: Shop) -> None:
    (shop.folder / "towns.sql").write_text("SELECT code, name FROM countries")
    shop.replace("    from: {audience: lands}\n", "    from: {query: towns.sql, key: code}\n")
    shop.replace("match: {external_id: country_id}", "match: {external_id: code}")
    result = after(shop, ("model.analytics.dim_country.v2", "error"))
    assert told(result)["sync:crm_lands"][0] == "skipped"
    assert sent(shop) == ["crm_big"]


def test_links_that_dbt_makes_hold_their_entity(shop: Shop) -> None:
    shop.artifact("manifest", _add_links)
    shop.replace("  countries: {", "  links: {dbt: links}\n  countries: {")
    shop.replace(
        "email: {limit: 3, normalize: email}}]", "email: {limit: 3, normalize: email}}], always_link: {table: links}"
    )
    found = held(shop, ("model.analytics.links", "skipped"))
    assert found["source:links"] == ("held", "the dbt model `links` was skipped")
    assert found["entity:customer"][0] == found["sync:crm_big"][0] == "skipped"


def _add_links(manifest: Any) -> None:
    id_ = "model.analytics.links"
    node = {"unique_id": id_, "name": "links", "relation_name": '"analytics"."main"."links"', "columns": {}}
    manifest["nodes"][id_] = {**manifest["nodes"]["model.analytics.orders"], **node}


def test_a_sync_that_comes_after_a_held_one_is_skipped(shop: Shop) -> None:
    shop.replace(
        "    match: {external_id: country_id}\n", "    match: {external_id: country_id}\n    after: [crm_big]\n"
    )
    assert told(shop.run("broken"))["sync:crm_lands"] == ("skipped", "it comes after `crm_big`, which was skipped")


def test_where_everything_hangs_on_it_nothing_is_built_and_nothing_sent(shop: Shop) -> None:
    bad = [(f"model.analytics.{name}", "skipped") for name in ("orders", "contacts", "dim_country.v2")]
    result = after(shop, *bad)
    assert result.exit_code == 3
    assert {step.id for step in result.steps if step.status == "done"} <= {"views"}
    assert (
        shop.sql(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'cdp' AND table_name LIKE 'tmp%'"
        )
        == []
    )
    assert sent(shop) == []


# ------------------------------------------------------------------------------------------------ the file
def test_results_of_a_command_that_builds_nothing_are_refused(shop: Shop) -> None:
    with pytest.raises(ProjectError) as caught:
        shop.run("generated")
    assert caught.value.code == "CDP130"
    assert caught.value.message.endswith("generated.json is of `dbt docs generate`, which builds nothing")
    assert not (shop.folder / "out").exists()


def test_results_that_say_nothing_of_our_models_are_doubted(shop: Shop) -> None:
    result = after(shop, ("model.other.x", "success"))
    assert result.exit_code == 0
    assert [(problem.code, problem.severity) for problem in result.problems] == [("CDP132", "warning")]
    with pytest.raises(ProjectError, match="says nothing of the dbt models"):
        held(shop, ("model.other.x", "success"), strict=True)


def test_results_of_tests_alone_are_of_our_models(shop: Shop) -> None:
    found = hold_back(
        load_all(shop.settings()), results(shop, ("test.analytics.unique_orders_order_id.fed79b3a6e", "pass"))
    )
    assert found.loaded.warnings == ()


def test_a_project_without_dbt_models_refuses_the_flag(shop: Shop) -> None:
    for name, table in (("contacts", "main.contacts"), ("orders", "main.orders")):
        shop.replace(f"    dbt: {name}\n", f"    table: {table}\n")
    shop.replace("{dbt: dim_country, ", "{table: main.dim_country_v2, ")
    with pytest.raises(ProjectError) as caught:
        shop.run("built")
    assert caught.value.code == "CDP134"


def test_the_command_says_it_step_by_step(cdp: Call, shop: Shop) -> None:
    said = cdp("run", "--project-dir", str(shop.folder), "--after-dbt", str(RECORDED / "broken.json"))
    assert said.code == 3
    assert f"held: source:orders: CDP512: {ORDERS}" in said.out
    assert "skipped: sync:crm_big: its table is stale" in said.out
    assert f"source:orders  {ORDERS}" in said.err


def test_a_file_that_is_not_there_is_one_line(cdp: Call, shop: Shop) -> None:
    said = cdp("run", "--project-dir", str(shop.folder), "--after-dbt", "nowhere.json")
    assert said.code == 2
    assert said.err.startswith("CDP130: there is no nowhere.json\n  hint: have dbt write it: dbt build\n")
