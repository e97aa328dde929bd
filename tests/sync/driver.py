"""A process that runs syncs in children of its own, so that a test can kill them: one JSON order a line, one answer a line.

It has imported everything before the first order: a child starts at once. The order:
`{dsn or path, folder, url, run, fault, batches, after}`; the answer: `{signal, exit}`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cdp.destination import destination
from cdp.errors import CdpError
from cdp.sync import fault
from cdp.sync.engine import sync_one
from cdp.sync.result import SyncOptions
from cdp.warehouse.base import Warehouse
from cdp.warehouse.duckdb import DuckDB
from cdp.warehouse.postgres import Postgres
from tests.sync.making import QUICK, plan

SYNC = plan(guard={"max_removed": "100%", "shrunk": "0%"})
ROW = {"key": "{{ match.email }}", "fields": "{{ fields }}"}
ITEMS = 10
IN_FLIGHT = 4


def webhook(url: str) -> dict[str, Any]:
    """A profile's entry for the receiver."""
    endpoint = {"batch": {"items": ITEMS}, "row": ROW, "body": {"rows": "{{ rows }}"}}
    operations = {"upsert": {**endpoint, "path": "/upsert"}, "delete": {**endpoint, "path": "/delete"}}
    return {"type": "webhook", "url": url, "operations": operations, "concurrency": IN_FLIGHT}


class Stop:
    """Set by a signal."""

    def __init__(self) -> None:
        self.signal = 0

    def __call__(self) -> bool:
        return bool(self.signal)

    @property
    def exit_code(self) -> int | None:
        return 128 + self.signal if self.signal else None


def opened(order: dict[str, Any]) -> Warehouse:
    """The warehouse of an order."""
    return (
        Postgres(dsn=order["dsn"])
        if "dsn" in order
        else DuckDB(order["path"], patience=max(0.2, order.get("wait", 0.0)))
    )


def work(order: dict[str, Any]) -> int:
    """One sync; its exit code."""
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: setattr(stop, "signal", number))
    warehouse = opened(order)
    warehouse.fold_batches = order.get("batches", 3)  # type: ignore[misc]
    fault.arm(order.get("fault"))
    if order.get("after"):
        threading.Timer(order["after"], lambda: os.kill(os.getpid(), signal.Signals[order["kill"]])).start()
    options: SyncOptions = replace(QUICK, stop=stop, wait=order.get("wait", 0.0))
    to = destination("hook", webhook(order["url"]), Path(order["folder"]))
    now = datetime.fromtimestamp(time.time(), UTC)
    try:
        result = sync_one(
            SYNC, warehouse, to, run_id=order["run"], as_of=now, project_dir=Path(order["folder"]), options=options
        )
    except CdpError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for problem in result.problems:
        print(problem, file=sys.stderr)
    return result.exit_code


def main() -> None:
    """Serve orders until stdin ends."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 99
            try:
                code = work(json.loads(line))
            finally:
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        ended = {
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
            "exit": os.waitstatus_to_exitcode(status),
        }
        print(json.dumps(ended), flush=True)


if __name__ == "__main__":
    main()
