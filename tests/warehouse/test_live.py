"""Whether the tests of the other engines run on real accounts, and that the environment is read as the suite says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.engines import Engines, connected, live


@pytest.mark.engines
@pytest.mark.parametrize("name", live.KINDS)
def test_a_real_account_answers(name: str, engines: Engines, tmp_path: Path) -> None:
    if live.told(name) is None:
        pytest.skip(f"no account of {name}: set {live.wanted(name)}")
    with engines.fresh(name, tmp_path) as profile:
        warehouse = connected(profile, tmp_path)
        found = warehouse.about()
        assert found.version and found.role
        assert abs((found.clock.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()) < 60
        warehouse.ensure_schemas()
        assert warehouse.make_table("cdp.t", "SELECT 1 AS a") == 1
        warehouse.close()


def test_the_environment_becomes_a_profile() -> None:
    environ = {
        "CDP_TEST_SNOWFLAKE_ACCOUNT": "a",
        "CDP_TEST_SNOWFLAKE_USER": "u",
        "CDP_TEST_SNOWFLAKE_NONSENSE": "x",
        "CDP_TEST_REDSHIFT_DSN": "host=h",
        "CDP_TEST_REDSHIFT_FETCH_SIZE": "5000",
        "CDP_TEST_BIGQUERY_PROJECT": "",
    }
    assert live.told("snowflake", environ) == {"type": "snowflake", "account": "a", "user": "u"}
    found = live.told("redshift", environ)
    assert found == {"type": "redshift", "dsn": "host=h", "fetch_size": "5000"}
    assert connected(found, Path())._fetch_size == 5000  # type: ignore[attr-defined]
    assert live.told("bigquery", environ) is None
    assert live.told("duckdb", {"CDP_TEST_DUCKDB_PATH": "x"}) is None
