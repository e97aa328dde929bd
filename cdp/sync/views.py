"""The view over all ledgers that others read: what is at which destination, and what was refused."""

from __future__ import annotations

from collections.abc import Iterable

from cdp.compile.render import text
from cdp.sync.names import Names
from cdp.sync.state import State


def deliveries(state: State, syncs: Iterable[str]) -> None:
    """Make `<schema>.deliveries` over the ledgers of these syncs, as far as they have been run."""
    warehouse = state.warehouse
    there = set(warehouse.tables(warehouse.state_schema))
    parts = []
    for sync in sorted(syncs):
        names = Names.of(warehouse.state_schema, sync)
        ledger = next((table for table in (names.ledger, names.members) if table.rsplit(".", 1)[1] in there), None)
        refused = names.refused if names.refused.rsplit(".", 1)[1] in there else None
        if ledger is not None or refused is not None:
            parts.append({"sync": text(sync), "ledger": ledger, "refused": refused})
    if parts:
        warehouse.make_view(f"{warehouse.schema}.deliveries", state.sql("deliveries", parts=parts))
