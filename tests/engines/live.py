"""Real accounts in place of the stand-ins, where the environment names them; the same suite then runs there.

`CDP_TEST_<ENGINE>_<KEY>` is the key of that engine's `warehouse:` in profiles.yml: CDP_TEST_SNOWFLAKE_ACCOUNT, _USER,
_PASSWORD, _WAREHOUSE, _DATABASE; CDP_TEST_BIGQUERY_PROJECT, _KEYFILE; CDP_TEST_DATABRICKS_HOST, _TOKEN, _CLUSTER_ID, _CATALOG (engine
`spark`); CDP_TEST_REDSHIFT_DSN. Tests name their schemas (cdp, cdp_state, raw …), so each gets a database, or catalog,
of its own with a random name, which is dropped afterwards; BigQuery has none between project and dataset: there the
datasets themselves are made and dropped, in a project that must hold none of these names when the tests begin.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from cdp.warehouse.base import Warehouse
from cdp.warehouse.engines import settings_of
from cdp.warehouse.environment import FromEnvironment

# engine of the tests ► (type in profiles.yml, the key that a database of its own changes, the kind of database)
KINDS = {
    "snowflake": ("snowflake", "database", "DATABASE"),
    "bigquery": ("bigquery", None, ""),
    "spark": ("databricks", "catalog", "CATALOG"),
    "redshift": ("redshift", "dsn", "DATABASE"),
}
DATASETS = ("cdp", "cdp_state", "raw", "raw_state")
# part of a test's id ► what a real engine cannot do, that a stand-in can
GAPS = {
    "redshift": {"test_columns_are_found_without_regard_to_case": "it has no arrays, and folds quoted names too"},
}


def told(name: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any] | None:
    """The profile of the real account that the environment names for an engine, None where it names none."""
    if name not in KINDS:
        return None
    type_ = KINDS[name][0]
    prefix = f"CDP_TEST_{type_.upper()}_"
    keys = {field.alias or key for key, field in settings_of(type_).model_fields.items()}
    found = {
        key[len(prefix) :].lower(): FromEnvironment(value)
        for key, value in environ.items()
        if key.startswith(prefix) and value and key[len(prefix) :].lower() in keys
    }
    return {"type": type_, **found} if found else None


def wanted(name: str) -> str:
    """What to set so that the tests of an engine run on a real account."""
    type_ = KINDS[name][0]
    return f"CDP_TEST_{type_.upper()}_{_LEAST[type_]}"


_LEAST = {
    "snowflake": "ACCOUNT, _USER, _PASSWORD, _WAREHOUSE, _DATABASE",
    "bigquery": "PROJECT",
    "databricks": "HOST, _TOKEN, _CLUSTER_ID, _CATALOG",
    "redshift": "DSN",
}


class Live:
    """What a module of an engine offers, for its real account."""

    def __init__(self, name: str, profile: dict[str, Any]) -> None:
        self._kind = KINDS[name]
        self._profile = profile
        self.GAPS = {part: f"on the real engine, {why}" for part, why in GAPS.get(name, {}).items()}

    @contextmanager
    def start(self, base: Path) -> Iterator[str]:
        """It runs already; BigQuery's project must be a free one."""
        from tests.engines import Unavailable

        if self._kind[1] is None:
            with _connected(self._profile, base) as warehouse:
                there = [name for name in DATASETS if warehouse.tables(name)]
            if there:
                raise Unavailable(
                    f"the project has a dataset {there[0]} with tables in it: name a project for tests only"
                )
        yield str(self._profile["type"])

    @contextmanager
    def fresh(self, address: str, folder: Path) -> Iterator[dict[str, Any]]:
        """A database of its own, dropped at the end."""
        _, key, kind = self._kind
        if key is None:
            try:
                yield dict(self._profile)
            finally:
                with _connected(self._profile, folder) as warehouse:
                    for name in DATASETS:
                        warehouse.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
            return
        name = f"cdp_test_{uuid4().hex[:12]}"
        with _connected(self._profile, folder) as warehouse:
            warehouse.execute(f"CREATE {kind} {name}")
            try:
                yield {**self._profile, key: self._moved(name)}
            finally:
                warehouse.execute(f"DROP {kind} {name}{' CASCADE' if kind == 'CATALOG' else ''}")

    def _moved(self, name: str) -> str:
        """The value of the key that means the new database."""
        if self._kind[1] != "dsn":
            return name
        from psycopg.conninfo import make_conninfo

        return make_conninfo(self._profile["dsn"], dbname=name)


@contextmanager
def _connected(profile: Mapping[str, Any], folder: Path) -> Iterator[Warehouse]:
    warehouse = settings_of(profile["type"]).model_validate(dict(profile)).connect(folder)
    try:
        yield warehouse
    finally:
        warehouse.close()
