"""How fresh a table is."""

from __future__ import annotations

from cdp.sync.state import State, microseconds


def newest_us(state: State, *tables: str, column: str = "changed_at") -> int | None:
    """The newest moment in `column` of any of the tables, in microseconds since 1970; None where there is none."""
    found = [microseconds(state.rows("newest", table=table, column=column)[0][0]) for table in tables]
    return max((value for value in found if value is not None), default=None)
