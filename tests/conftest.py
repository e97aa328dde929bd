"""Warehouses for all tests: DuckDB in a file, Postgres in a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.postgres import Unavailable, fresh_database, shared_cluster

if TYPE_CHECKING:
    from cdp.warehouse.base import Warehouse
    from cdp.warehouse.duckdb import DuckDB
    from cdp.warehouse.postgres import Postgres


@pytest.fixture(scope="session")
def postgres_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dsn of a Postgres that tests may make databases in; skips, with the reason, where there is none."""
    try:
        with shared_cluster(tmp_path_factory.getbasetemp()) as dsn:
            yield dsn
    except Unavailable as reason:
        pytest.skip(f"no Postgres: {reason}")


@pytest.fixture
def postgres_database(postgres_dsn: str) -> Iterator[str]:
    """The dsn of a fresh, empty database."""
    with fresh_database(postgres_dsn) as dsn:
        yield dsn


@pytest.fixture
def postgres(postgres_database: str) -> Iterator[Postgres]:
    """A Postgres warehouse on a fresh database, both schemas made."""
    from cdp.warehouse.postgres import Postgres

    warehouse = Postgres(dsn=postgres_database)
    warehouse.ensure_schemas()
    yield warehouse
    warehouse.close()


@pytest.fixture
def duckdb(tmp_path: Path) -> Iterator[DuckDB]:
    """A DuckDB warehouse on a fresh file, both schemas made."""
    from cdp.warehouse.duckdb import DuckDB

    warehouse = DuckDB(tmp_path / "warehouse.duckdb")
    warehouse.ensure_schemas()
    yield warehouse
    warehouse.close()


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    """Each warehouse in turn."""
    found: Warehouse = request.getfixturevalue(request.param)
    return found
