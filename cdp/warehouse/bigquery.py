"""BigQuery: `compile` writes for it; connecting is not in this version."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from cdp.errors import WarehouseError
from cdp.warehouse.base import Warehouse
from cdp.warehouse.functions import FACTS
from cdp.warehouse.settings import Settings


class BigQuerySettings(Settings):
    """type: bigquery."""

    facts: ClassVar = FACTS["bigquery"]
    type: Literal["bigquery"]

    def connect(self, project_dir: Path) -> Warehouse:
        hint = "this version connects to duckdb and postgres, and compiles for snowflake, bigquery and spark besides"
        raise WarehouseError("CDP305", f"connecting to {self.type} is not in this version", hint=hint)


SETTINGS = BigQuerySettings
