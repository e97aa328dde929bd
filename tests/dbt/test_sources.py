"""A source that names a dbt model is the table that dbt makes, with what dbt knows of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlglot import exp

from cdp.compile.sources import relation_of
from cdp.flow import compile_project, sources_freeze, sources_list
from cdp.project import Project, load
from cdp.project.dbt_types import lock_type
from cdp.project.reading import Reading
from cdp.project.schema import Schema
from tests.dbt.conftest import Shop


def loaded(shop: Shop) -> Project:
    return load(shop.folder, target={"name": "dev", "type": "duckdb"})


def node(name: str) -> str:
    return f"model.analytics.{name}"


def steps_of(shop: Shop) -> dict[str, str]:
    """The compiled statements by step."""
    return {path.stem.partition("_")[2]: path.read_text() for path in compile_project(shop.settings()).files}


def test_a_project_on_dbt_models_has_no_mistakes_and_builds(shop: Shop) -> None:
    assert shop.problems(compile=True, online=True) == ()
    result = shop.run()
    assert result.exit_code == 0
    assert shop.sql("SELECT email, country, spent FROM cdp.customer ORDER BY email") == [
        ("ann@example.com", "FR", pytest.approx(320.5)),
        ("bob@example.com", "BE", 700),
        ("cyd@example.com", "FR", 0),
    ]
    assert shop.sql("SELECT count(*) FROM cdp.audience_big") == [(2,)]


def test_the_table_is_the_one_that_dbt_names_quotes_included(shop: Shop) -> None:
    where = {line.source: line.where for line in sources_list(shop.settings())}
    assert where["orders"] == '"analytics"."main"."orders"'
    assert where["countries"] == '"analytics"."main"."dim_country_v2"'  # the latest version
    assert 'FROM "analytics"."main"."orders" AS' in steps_of(shop)["source.orders"]


def test_dbts_duckdb_file_may_be_attached_to_ones_own(shop: Shop) -> None:
    attached = "path: shop.duckdb, attach: {analytics: ../analytics/analytics.duckdb}}"
    shop.replace("path: ../analytics/analytics.duckdb}", attached, "profiles.yml")
    assert shop.problems(online=True) == ()
    assert shop.run().exit_code == 0
    assert shop.sql("SELECT count(*) FROM information_schema.schemata WHERE schema_name = 'cdp'") == [(0,)]


@pytest.mark.parametrize(
    ("adapter", "relation", "written"),
    [
        ("snowflake", "ANALYTICS.PUBLIC.orders", "ANALYTICS.PUBLIC.orders"),  # folds as dbt lets it fold
        ("snowflake", 'ANALYTICS.PUBLIC."Orders"', 'ANALYTICS.PUBLIC."Orders"'),
        ("bigquery", "`my-project`.`shop`.`orders`", "`my-project`.`shop`.`orders`"),
        ("databricks", "`main`.`shop`.`orders`", "`main`.`shop`.`orders`"),
        ("spark", "shop.orders", "shop.orders"),
        ("redshift", '"dev"."shop"."orders"', '"dev"."shop"."orders"'),
        ("postgres", '"dev"."shop"."or""ders"', '"dev"."shop"."or""ders"'),
    ],
)
def test_every_adapters_way_of_writing_a_table_is_kept(adapter: str, relation: str, written: str, shop: Shop) -> None:
    def change(manifest: Any) -> None:
        manifest["metadata"]["adapter_type"] = adapter
        manifest["nodes"][node("orders")]["relation_name"] = relation

    shop.artifact("manifest", change)
    project = load(shop.folder)
    tree = relation_of(project.sources["orders"], Schema(project, Reading()))
    assert isinstance(tree, exp.Table)
    assert tree.sql(dialect=adapter) == written


def test_a_key_that_dbt_tests_for_is_not_looked_through_for_duplicates(shop: Shop) -> None:
    shop.replace("  countries: {", "  spenders: {dbt: big_spenders, key: customer_id}\n  countries: {")
    project = loaded(shop)
    # big_spenders is tested for unique alone: rows without a key would slip through that
    assert {name: item.unique for name, item in project.sources.items()} == {
        "contacts": True, "orders": True, "countries": True, "spenders": False,
    }  # fmt: skip
    assert "-- one number" not in steps_of(shop)["source.orders"]
    shop.replace("    key: order_id\n", "    key: order_id\n    unique: false\n")
    assert "-- one number" in steps_of(shop)["source.orders"]  # how many rows repeat a key
    assert not loaded(shop).sources["orders"].unique  # what the author says wins


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"severity": "warn"}},
        {"config": {"where": "order_id > 5"}},
        {"column_name": "customer_id"},
        {"test_metadata": {"name": "accepted_values", "kwargs": {}}},
    ],
    ids=["only warns", "of some rows", "of another column", "another test"],
)
def test_a_test_that_does_not_hold_the_whole_key_proves_nothing(change: dict[str, Any], shop: Shop) -> None:
    def weaken(manifest: Any) -> None:
        (test,) = [one for id_, one in manifest["nodes"].items() if id_.startswith("test.analytics.unique_orders_")]
        test.update(change)

    shop.artifact("manifest", weaken)
    assert not loaded(shop).sources["orders"].unique


def test_a_combination_of_columns_is_a_key_where_none_of_them_is_null(shop: Shop) -> None:
    def combine(manifest: Any) -> None:
        (test,) = [one for id_, one in manifest["nodes"].items() if id_.startswith("test.analytics.unique_orders_")]
        test.pop("column_name")
        test["test_metadata"] = {
            "name": "unique_combination_of_columns",
            "namespace": "dbt_utils",
            "kwargs": {"combination_of_columns": ["ORDER_ID", "customer_id"]},
        }

    shop.artifact("manifest", combine)
    shop.replace("    key: order_id\n", "    key: [customer_id, order_id]\n")
    assert not loaded(shop).sources["orders"].unique  # customer_id may be NULL

    def fill(manifest: Any) -> None:
        (test,) = [one for id_, one in manifest["nodes"].items() if id_.startswith("test.analytics.not_null_orders_o")]
        manifest["nodes"]["test.analytics.other"] = {**test, "column_name": "customer_id"}

    shop.artifact("manifest", fill)
    assert loaded(shop).sources["orders"].unique


def test_a_keyed_entity_is_told_apart_by_its_own_key(shop: Shop) -> None:
    shop.replace("country: {from: countries, key: code}", "country: {from: countries, key: name}")
    assert not loaded(shop).sources["countries"].unique


def test_tags_and_descriptions_come_along_and_select(shop: Shop) -> None:
    shop.replace("    dbt: contacts\n", "    dbt: contacts\n    tags: [mine, crm]\n")
    contacts = loaded(shop).sources["contacts"]
    assert contacts.tags == ["mine", "crm", "daily"]
    assert contacts.description == "One row per contact of the shop."
    result = shop.run(select=("tag:daily+",))
    assert {step.id for step in result.steps} >= {"source:contacts", "audience:big", "sync:crm_big"}
    assert not {step.id for step in result.steps} & {"audience:lands", "sync:crm_lands"}


def test_what_dbt_calls_personal_is_personal(shop: Shop) -> None:
    shop.replace("attributes: {", "attributes: {mail: {from: contacts.email}, ")
    assert shop.run().exit_code == 0
    masked = {name for (name, *_) in shop.sql("DESCRIBE cdp.customer_masked")}
    whole = {name for (name, *_) in shop.sql("DESCRIBE cdp.customer")}
    assert {"mail", "email"} == whole - masked
    shop.replace(
        "    ids: {customer: {customer_no: customer_id, email",
        "    columns: {email: {pii: false}}\n    ids: {customer: {customer_no: customer_id, email",
    )
    assert loaded(shop).sources["contacts"].columns["email"].pii is False


@pytest.mark.parametrize("said", [True, "special", ["Country", "updated_at"]], ids=["true", "a kind", "columns"])
def test_a_whole_model_may_be_personal(said: Any, shop: Shop) -> None:
    shop.artifact("manifest", lambda manifest: manifest["nodes"][node("contacts")].update(meta={"pii": said}))
    personal = {name: told.pii for name, told in loaded(shop).sources["contacts"].columns.items() if told.pii}
    of_all = dict.fromkeys(("customer_id", "Country", "updated_at"), said)
    assert personal == {
        "email": "email",
        **({"Country": True, "updated_at": True} if isinstance(said, list) else of_all),
    }


def test_columns_of_the_catalog_find_a_typo_offline(shop: Shop) -> None:
    shop.replace("spent: {sum: orders.amount", "spent: {sum: orders.amuont")
    (problem,) = shop.problems()
    assert problem.code == "CDP112" and problem.mark and problem.mark.file == "shop.yml"
    assert "did you mean `amount`?" in (problem.hint or "")


def test_a_column_that_the_catalog_lacks_is_told_by_its_name(shop: Shop) -> None:
    shop.replace("    dbt: orders\n", "    dbt: orders\n    columns: {amuont: decimal}\n")
    (problem,) = shop.problems()
    assert "catalog.json knows no column `amuont` of orders" in problem.message


def test_the_lock_wins_over_the_catalog(shop: Shop) -> None:
    before = dict(loaded(shop).lock)
    sources_freeze(shop.settings())
    assert loaded(shop).lock == before  # recorded and frozen agree on every type
    lock = shop.folder / "sources.lock.yml"
    lock.write_text(lock.read_text().replace("    amount: decimal\n", "    amount: text\n"))
    assert loaded(shop).lock["orders"]["amount"] == "text"


def test_a_table_that_changed_since_the_catalog_has_drifted(shop: Shop) -> None:
    shop.sql("ALTER TABLE orders ADD COLUMN coupon VARCHAR")
    (problem,) = shop.problems(online=True)
    assert (problem.code, problem.severity) == ("CDP322", "warning")
    assert "column `coupon` is text, dbt's catalog.json says nothing" in problem.message


def test_without_a_catalog_the_manifest_tells_what_it_can(shop: Shop) -> None:
    (shop.target / "catalog.json").unlink()
    project = loaded(shop)
    told = {name: column.type for name, column in project.sources["contacts"].columns.items()}
    assert told == {"customer_id": "int", "email": "text", "country": "text"}
    assert project.lock == {}
    assert project.sources["countries"].only  # its contract is enforced: these are all columns
    assert not project.sources["orders"].only
    assert shop.run().exit_code == 0


def test_a_model_that_dbt_has_not_built_yet_says_so(shop: Shop) -> None:
    shop.sql("DROP VIEW big_spenders; DROP TABLE orders")
    (problem,) = shop.problems(online=True)
    assert problem.code == "CDP320"
    assert problem.hint == "has dbt made it in this warehouse? dbt build --select orders"


def test_a_query_reads_dbt_models_by_their_sources(shop: Shop) -> None:
    (shop.folder / "paid.sql").write_text("SELECT order_id, customer_id, amount FROM orders WHERE amount > 100")
    shop.replace(
        "  countries: {",
        "  paid: {query: paid.sql, key: order_id, ids: {customer: {customer_no: customer_id}}}\n  countries: {",
    )
    shop.replace("spent: {sum: orders.amount, default: 0}", "spent: {sum: paid.amount, type: decimal, default: 0}")
    assert [problem for problem in shop.problems() if problem.severity == "error"] == []
    assert shop.run().exit_code == 0
    assert shop.sql("SELECT spent FROM cdp.customer ORDER BY spent") == [(0,), (300,), (700,)]


def test_the_manifest_of_compile_names_the_dbt_nodes(shop: Shop) -> None:
    manifest = json.loads(compile_project(shop.settings()).manifest.read_text())
    nodes = {name: item.get("dbt") for name, item in manifest["nodes"].items() if item["type"] == "source"}
    assert nodes == {
        "source:contacts": node("contacts"), "source:orders": node("orders"), "source:countries": node("dim_country.v2"),
    }  # fmt: skip
    assert "dbt" not in manifest["nodes"]["audience:big"]


# ------------------------------------------------------------------------------------------------ names
@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("orders", "orders"),  # of the project itself, though a package has one too
        ("analytics.orders", "orders"),
        ("shared.orders", "shared_orders"),
        ("dim_country", "dim_country_v2"),
        ("dim_country.v1", "dim_country_v1"),
        ("analytics.dim_country.v2", "dim_country_v2"),
        ("raw_orders", "raw_orders"),  # a seed
    ],
)
def test_a_model_goes_by_the_names_that_ref_takes(name: str, table: str, shop: Shop) -> None:
    shop.replace("  countries: {", f"  other: {{dbt: {name}}}\n  countries: {{")
    project = loaded(shop)
    assert not project.reading.errors
    assert (project.sources["other"].table or "").endswith(f'"{table}"')


MISSING = {
    "ordres": ("dbt has no model `ordres`", "did you mean `orders`?"),
    "old_orders": ("the dbt model `old_orders` is disabled", "enable it in dbt, then `dbt parse`"),
    "stg_orders": ("the dbt model `stg_orders` is ephemeral: there is no table", "materialize it as a table or view"),
    "raw.orders": ("`raw.orders` is a source of dbt, no model", "name its table: `table: schema.name`"),
    "dim_country.v3": ("dbt has no model `dim_country.v3`", "did you mean `dim_country.v"),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_name_that_stands_for_no_table_is_told_at_its_place_with_the_way_out(name: str, shop: Shop) -> None:
    shop.replace("    dbt: orders\n", f"    dbt: {name}\n")
    (problem,) = shop.problems()
    assert (problem.code, str(problem.mark)) == ("CDP131", "shop.yml:8:10")
    message, hint = MISSING[name]
    assert problem.message.startswith(message)
    assert (problem.hint or "").startswith(hint)
    assert problem.length == len(name)


def test_a_source_that_is_switched_off_needs_no_dbt(shop: Shop) -> None:
    shop.replace("  countries: {", "  former: {dbt: ordres, enabled: false}\n  countries: {")
    assert shop.problems() == ()


@pytest.mark.parametrize("said", ["''", "7", "[orders]", "{model: orders}", "null"])
def test_what_is_no_name_is_a_mistake(said: str, shop: Shop) -> None:
    shop.replace("    dbt: orders\n", f"    dbt: {said}\n")
    codes = {problem.code for problem in shop.problems() if problem.severity == "error"}
    assert codes == ({"CDP131"} if said == "''" else {"CDP105"})


def test_a_source_is_a_model_or_a_table_never_both(shop: Shop) -> None:
    shop.replace("    dbt: orders\n", "    dbt: orders\n    table: main.orders\n")
    assert [problem.message for problem in shop.problems()] == ["`source orders` has both `table` and `dbt`"]


def test_a_name_that_two_packages_have_must_say_which(shop: Shop) -> None:
    def rename(manifest: Any) -> None:
        manifest["metadata"]["project_name"] = "third"

    shop.artifact("manifest", rename)
    (problem,) = shop.problems()
    assert problem.message == "several dbt packages have a model `orders`"
    assert problem.hint == "name the package: `analytics.orders` or `shared.orders`"


def test_all_mistakes_come_in_one_go_and_none_twice(shop: Shop) -> None:
    shop.replace("    dbt: orders\n", "    dbt: ordres\n")
    shop.replace("    dbt: contacts\n", "    dbt: contcats\n")
    assert [problem.code for problem in shop.problems()] == ["CDP131", "CDP131"]


# ------------------------------------------------------------------------------------------------ the manifest itself
def test_no_manifest_says_what_makes_one(shop: Shop) -> None:
    (shop.target / "manifest.json").unlink()
    (problem,) = shop.problems()
    assert (problem.code, str(problem.mark)) == ("CDP130", "cdp_project.yml:4:20")
    assert problem.message == f"there is no {shop.target / 'manifest.json'}"
    assert problem.hint == "have dbt write it: dbt parse"


def test_no_dbt_project_at_all_says_so(shop: Shop) -> None:
    shop.replace("../analytics", "../analitycs", "cdp_project.yml")
    (problem,) = shop.problems()
    assert problem.code == "CDP130" and "there is no dbt project in" in problem.message


def test_a_model_without_a_project_asks_for_the_project(shop: Shop) -> None:
    shop.replace("dbt: {project_dir: ../analytics}\n", "", "cdp_project.yml")
    problems = shop.problems()
    assert [(problem.code, str(problem.mark)) for problem in problems][:1] == [("CDP130", "shop.yml:3:10")]
    assert len(problems) == 3
    assert problems[0].hint == "there: dbt: {project_dir: ../analytics}"


def test_artifacts_may_lie_in_another_folder(shop: Shop) -> None:
    shutil.move(shop.target, shop.analytics / "build")
    shop.replace("../analytics}", "../analytics, target_path: build}", "cdp_project.yml")
    assert shop.problems() == ()


SPOILED: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "it is no JSON"),
    "broken off": ('{"metadata": {"dbt_schema', "it is no JSON"),
    "no bytes of text": (b"\xff\xfe\x00", "it is no JSON"),
    "too deep": ("[" * 100_000, "it is no JSON"),
    "a list": ("[]", "is no artifact of dbt, not its manifest"),
    "something else": ('{"metadata": {"name": 1}}', "is no artifact of dbt, not its manifest"),
    "our own manifest": ('{"schema_version": 1, "nodes": {}}', "is no artifact of dbt, not its manifest"),
    "another artifact": (
        '{"metadata": {"dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json"}}',
        "is dbt's run-results, not its manifest",
    ),
    "an old one": (
        '{"metadata": {"dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v7.json"}}',
        "is of version v7, too old to be read",
    ),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_manifest_that_is_none_is_refused_in_one_line(how: str, shop: Shop) -> None:
    content, said = SPOILED[how]
    path = shop.target / "manifest.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (problem,) = shop.problems()
    assert problem.code == "CDP130"
    assert said in problem.message and str(path) in problem.message
    assert "\n" not in problem.message


def test_a_folder_in_the_place_of_the_manifest_is_refused(shop: Shop) -> None:
    (shop.target / "manifest.json").unlink()
    (shop.target / "manifest.json").mkdir()
    (problem,) = shop.problems()
    assert problem.code == "CDP130" and "cannot be read: Is a directory" in problem.message


@pytest.mark.parametrize("version", [9, 10, 11, 12, 20])
def test_the_manifests_of_all_versions_since_dbt_1_5_are_known(version: int, shop: Shop) -> None:
    schema = f"https://schemas.getdbt.com/dbt/manifest/v{version}.json"
    shop.artifact("manifest", lambda manifest: manifest["metadata"].update(dbt_schema_version=schema))
    assert shop.problems() == ()


def test_a_manifest_of_a_version_to_come_is_read_with_a_warning(shop: Shop) -> None:
    schema = "https://schemas.getdbt.com/dbt/manifest/v31.json"
    shop.artifact("manifest", lambda manifest: manifest["metadata"].update(dbt_schema_version=schema))
    (problem,) = shop.problems()
    assert (problem.code, problem.severity) == ("CDP132", "warning")
    assert "v31" in problem.message


def test_a_manifest_of_another_warehouse_is_a_warning(shop: Shop) -> None:
    shop.artifact("manifest", lambda manifest: manifest["metadata"].update(adapter_type="snowflake"))
    (problem,) = shop.problems()
    assert (problem.code, problem.severity) == ("CDP132", "warning")
    assert problem.message == "dbt's manifest was made for snowflake, and target `dev` is duckdb"


@pytest.mark.parametrize("values", [None, 7, "x", [], [None], {"a": None}, {"a": []}], ids=str)
def test_a_manifest_of_odd_shape_is_no_crash(values: Any, shop: Shop) -> None:
    others = dict.fromkeys(("sources", "disabled", "unit_tests"), values)
    shop.artifact("manifest", lambda manifest: manifest.update(others))
    assert shop.problems() == ()
    shop.artifact("manifest", lambda manifest: manifest.update(nodes=values))
    assert [problem.code for problem in shop.problems()] == ["CDP131"] * 3


@pytest.mark.parametrize("values", [None, 7, "x", [], {"a": 1}, {"a": {"name": None}}], ids=str)
def test_a_node_of_odd_shape_is_no_crash(values: Any, shop: Shop) -> None:
    keys = ("columns", "config", "meta", "depends_on", "contract", "tags", "description")
    shop.artifact("manifest", lambda manifest: manifest["nodes"][node("contacts")].update(dict.fromkeys(keys, values)))
    assert [problem for problem in shop.problems() if problem.severity == "error"] == []


@pytest.mark.parametrize("values", [None, 7, "x", [], {"a": 1}], ids=str)
def test_a_catalog_of_odd_shape_is_no_crash(values: Any, shop: Shop) -> None:
    shop.artifact("catalog", lambda catalog: catalog["nodes"][node("contacts")].update(columns=values))
    assert [problem for problem in shop.problems() if problem.severity == "error"] == []


def test_a_catalog_that_cannot_be_read_is_a_mistake(shop: Shop) -> None:
    (shop.target / "catalog.json").write_text("{")
    (problem,) = [one for one in shop.problems() if one.severity == "error"]
    assert (problem.code, problem.hint) == ("CDP130", "have dbt write it: dbt docs generate")


# ------------------------------------------------------------------------------------------------ types
TYPES = {
    "duckdb": {
        "INTEGER": "int", "HUGEINT": "int", "DECIMAL(12,2)": "decimal", "DOUBLE": "float", "VARCHAR": "text", "BOOLEAN": "bool",
        "DATE": "date", "TIMESTAMP": "timestamp", "TIMESTAMP WITH TIME ZONE": "timestamptz", "VARCHAR[]": "list", "JSON": "json",
        "STRUCT(a INTEGER)": "json", "BLOB": "other", "TIME": "other", "ENUM('a', 'b')": "other", "?": "other",
    },
    "postgres": {
        "integer": "int", "numeric": "decimal", "numeric(12,2)": "decimal", "character varying(255)": "text", "text": "text",
        "timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz", "jsonb": "json", "text[]": "list",
        "double precision": "float", "uuid": "other", "bytea": "other", "USER-DEFINED": "other",
    },
    "snowflake": {
        "NUMBER": "decimal", "TEXT": "text", "TIMESTAMP_NTZ": "timestamp", "TIMESTAMP_LTZ": "timestamptz", "TIMESTAMP_TZ": "timestamptz",
        "FLOAT": "float", "VARIANT": "json", "OBJECT": "json", "ARRAY": "list", "BOOLEAN": "bool", "BINARY": "other",
    },
    "bigquery": {
        "INT64": "int", "STRING": "text", "TIMESTAMP": "timestamptz", "DATETIME": "timestamp", "NUMERIC": "decimal",
        "BIGNUMERIC": "decimal", "FLOAT64": "float", "STRUCT<a INT64>": "json", "ARRAY<STRING>": "list", "BYTES": "other",
    },
    "databricks": {"timestamp": "timestamptz", "timestamp_ntz": "timestamp", "array<string>": "list", "map<string,int>": "json"},
    "redshift": {"super": "json", "numeric(18,0)": "decimal", "character varying(256)": "text"},
    "an adapter of somebody": {"integer": "int", "varchar(20)": "text"},
}  # fmt: skip


@pytest.mark.parametrize("adapter", TYPES)
def test_types_of_every_catalogue_become_the_words_of_the_lock(adapter: str) -> None:
    assert {native: lock_type(native, adapter) for native in TYPES[adapter]} == TYPES[adapter]


def test_a_type_that_nobody_told_stays_untold() -> None:
    assert [lock_type(native, "duckdb") for native in (None, "", "  ", 7)] == [None] * 4


def test_the_inside_of_a_bigquery_record_is_no_column(shop: Shop) -> None:
    more = {"address": {"name": "address", "type": "STRUCT<city STRING>", "index": 5}}
    more["address.city"] = {"name": "address.city", "type": "STRING", "index": 6}
    shop.artifact("catalog", lambda catalog: catalog["nodes"][node("contacts")]["columns"].update(more))
    assert [name for name in loaded(shop).lock["contacts"] if "address" in name] == ["address"]


def test_nothing_of_this_imports_dbt() -> None:
    folder = Path(__file__).resolve().parents[2] / "cdp"
    imports = [
        line
        for path in folder.rglob("*.py")
        for line in path.read_text().splitlines()
        if line.startswith(("import dbt", "from dbt"))
    ]
    assert imports == []
