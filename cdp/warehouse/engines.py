"""The engines by the names that profiles.yml calls them: the one table to which a new adapter adds a line."""

from __future__ import annotations

from importlib import import_module

from cdp.warehouse.settings import Settings

# type ► the module in this folder whose `SETTINGS` says which keys it takes and how to connect
ENGINES = {
    "duckdb": "duckdb",
    "postgres": "postgres",
    "redshift": "redshift",
    "snowflake": "snowflake",
    "bigquery": "bigquery",
    "spark": "spark",
    "databricks": "databricks",
}


def settings_of(type_: str) -> type[Settings]:
    """The model of the keys that a warehouse of that type takes; no driver is imported for it."""
    found: type[Settings] = import_module(f"cdp.warehouse.{ENGINES[type_]}").SETTINGS
    return found
