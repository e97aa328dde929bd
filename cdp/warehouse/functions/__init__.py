"""The facts of every engine, reachable without its driver."""

from __future__ import annotations

from collections.abc import Mapping

from cdp.warehouse.facts import Facts
from cdp.warehouse.functions import bigquery, duckdb, postgres, redshift, snowflake, spark

FACTS: Mapping[str, Facts] = {
    facts.name: facts
    for facts in (duckdb.FACTS, postgres.FACTS, snowflake.FACTS, bigquery.FACTS, spark.FACTS, redshift.FACTS)
}
