"""Sources by dbt on Postgres, whose tables dbt names with their database."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.dbt.conftest import TABLES, Shop


def test_the_shop_runs_on_postgres_by_dbts_own_names(shop: Shop, postgres_database: str) -> None:
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute(TABLES)
        (name,) = connection.execute("SELECT current_database()").fetchone() or ("",)

    def move(manifest: Any) -> None:
        manifest["metadata"]["adapter_type"] = "postgres"
        for node in manifest["nodes"].values():
            if "relation_name" in node:
                table = node["relation_name"].rpartition(".")[2]
                node["relation_name"] = f'"{name}"."public".{table}'

    def retype(catalog: Any) -> None:
        natives = {"VARCHAR": "text", "DECIMAL(12,2)": "numeric(12,2)", "TIMESTAMP": "timestamp without time zone"}
        for node in catalog["nodes"].values():
            for column in node["columns"].values():
                column["type"] = natives.get(column["type"], column["type"].lower())

    shop.artifact("manifest", move)
    shop.artifact("catalog", retype)
    profile = f"{{type: postgres, dsn: {postgres_database!r}}}"
    shop.replace("{type: duckdb, path: ../analytics/analytics.duckdb}", profile, "profiles.yml")
    assert shop.problems(compile=True, online=True) == ()
    result = shop.run("broken")
    assert (result.exit_code, [step.id for step in result.steps if step.status == "held"]) == (3, ["source:orders"])
    assert shop.run("built").exit_code == 0
    with psycopg.connect(postgres_database) as connection:
        found = connection.execute("SELECT email, spent FROM cdp.customer ORDER BY email").fetchall()
    assert [(email, float(spent)) for email, spent in found] == [
        ("ann@example.com", 320.5), ("bob@example.com", 700), ("cyd@example.com", 0),
    ]  # fmt: skip
