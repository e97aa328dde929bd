"""A shop whose sources are dbt models: the artifacts are recorded ones, the tables are made here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cdp.errors import Problem, ProjectError
from cdp.flow import RunResult, Settings, check, run
from tests.cli.conftest import cdp  # noqa: F401 (a fixture)

RECORDED = Path(__file__).parent / "recorded"
NAMES = {"built": "run_results", "catalog": "catalog", "manifest": "manifest"}
TABLES = """
CREATE TABLE contacts (customer_id INTEGER, email VARCHAR, "Country" VARCHAR, updated_at TIMESTAMP);
INSERT INTO contacts VALUES (1, 'ann@example.com', 'FR', '2026-01-05 10:00:00'),
  (2, 'bob@example.com', 'BE', '2026-01-05 10:00:00'), (3, 'cyd@example.com', 'FR', '2026-01-05 10:00:00');
CREATE TABLE orders (order_id INTEGER, customer_id INTEGER, amount DECIMAL(12,2), ordered_at TIMESTAMP);
INSERT INTO orders VALUES (10, 1, 300.00, '2026-01-02 09:00:00'), (11, 1, 20.50, '2026-01-03 09:00:00'),
  (12, 2, 700.00, '2026-01-04 09:00:00');
CREATE TABLE dim_country_v2 (code VARCHAR, name VARCHAR);
INSERT INTO dim_country_v2 VALUES ('FR', 'France');
CREATE VIEW big_spenders AS SELECT customer_id, sum(amount) AS spent FROM orders GROUP BY customer_id;
"""
PROJECT = """version: 1
name: shop
profile: shop
dbt: {project_dir: ../analytics}
"""
PROFILE = """shop:
  target: dev
  targets:
    dev:
      warehouse: {type: duckdb, path: ../analytics/analytics.duckdb}
      destinations: {crm: {type: file, path: out/, format: jsonl}}
"""
SHOP = """sources:
  contacts:
    dbt: contacts
    key: customer_id
    time: updated_at
    ids: {customer: {customer_no: customer_id, email: email}}
  orders:
    dbt: orders
    key: order_id
    time: ordered_at
    ids: {customer: {customer_no: customer_id}}
  countries: {dbt: dim_country, key: code}
entities:
  customer:
    identity: {identifiers: [{customer_no: {limit: 1}}, {email: {limit: 3, normalize: email}}]}
    attributes: {country: {from: contacts.Country}}
  country: {from: countries, key: code}
traits:
  customer:
    spent: {sum: orders.amount, default: 0}
audiences:
  big: {of: customer, where: {spent: {gte: 300}}}
  lands: {of: country, where: {name: {exists: true}}}
syncs:
  crm_big:
    from: {audience: big}
    to: {destination: crm, object: contact, list: Big}
    match: {external_id: customer_id}
    fields: {email: email, spent: spent}
  crm_lands:
    from: {audience: lands}
    to: {destination: crm, object: land, list: Lands}
    match: {external_id: country_id}
    fields: {name: name}
"""


class Shop:
    """The project in `folder`, beside dbt's in `analytics`; what is changed is changed on the disk."""

    def __init__(self, base: Path) -> None:
        self.folder, self.analytics = base / "shop", base / "analytics"
        self.target = self.analytics / "target"
        self.target.mkdir(parents=True)
        self.folder.mkdir()
        for name, file in NAMES.items():
            shutil.copy(RECORDED / f"{name}.json", self.target / f"{file}.json")
        for name, text in (("cdp_project.yml", PROJECT), ("profiles.yml", PROFILE), ("shop.yml", SHOP)):
            (self.folder / name).write_text(text)
        self.sql(TABLES)

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        """Run SQL in the warehouse; the rows of its last statement."""
        with duckdb.connect(str(self.analytics / "analytics.duckdb")) as connection:
            return connection.execute(text).fetchall()

    def replace(self, old: str, new: str, file: str = "shop.yml") -> None:
        """Change a file of the project."""
        text = (self.folder / file).read_text()
        assert text.count(old) == 1, old
        (self.folder / file).write_text(text.replace(old, new))

    def artifact(self, name: str, change: Callable[[Any], object]) -> Path:
        """Change an artifact of dbt."""
        path = self.target / f"{name}.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        return path

    def settings(self, **more: Any) -> Settings:
        """As a command would have it."""
        return Settings(project_dir=self.folder, **more)

    def problems(self, **more: Any) -> tuple[Problem, ...]:
        """What `validate` finds."""
        try:
            return check(self.settings(), **more).problems
        except ProjectError as error:
            return error.problems

    def run(self, results: str | None = None, **more: Any) -> RunResult:
        """`cdp run`, after dbt came to the recorded results."""
        return run(self.settings(**more), after_dbt=RECORDED / f"{results}.json" if results else None)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop of one's own."""
    return Shop(tmp_path)
