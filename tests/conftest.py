"""Warehouses for all tests, each an empty one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines import ENGINES, PARAMS, Engines, connected, module_of
from tests.engines.postgres import fresh_database

if TYPE_CHECKING:
    from cdp.warehouse.base import Warehouse
    from cdp.warehouse.duckdb import DuckDB
    from cdp.warehouse.postgres import Postgres


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what the stand-in of an engine cannot do, by the table `GAPS` of its module: part of a test's id ► why."""
    callspec = getattr(item, "callspec", None)
    for name in ENGINES if callspec is not None else ():
        if name in callspec.params.values():
            for part, why in getattr(module_of(name), "GAPS", {}).items():
                if part in item.nodeid:
                    pytest.skip(f"{name}'s stand-in: {why}")


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """The engines of this worker, started when they are asked for."""
    found = Engines(tmp_path_factory.getbasetemp())
    yield found
    found.close()


@pytest.fixture(scope="session")
def postgres_dsn(engines: Engines) -> str:
    """The dsn of a Postgres that tests may make databases in; skips, with the reason, where there is none."""
    return engines.address("postgres")


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
    """The two engines on which everything is tried, in turn."""
    found: Warehouse = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=PARAMS)
def every_warehouse(request: pytest.FixtureRequest, engines: Engines, tmp_path: Path) -> Iterator[Warehouse]:
    """A warehouse of each engine in turn, both schemas made."""
    with engines.fresh(request.param, tmp_path) as profile:
        warehouse = connected(profile, tmp_path)
        warehouse.ensure_schemas()
        yield warehouse
        warehouse.close()
