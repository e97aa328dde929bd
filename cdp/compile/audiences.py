"""Audiences ► their tables, and the stays: who was in which one, from when, to when.

Stays are masters in the state schema. They move in the transaction that swaps an audience's table in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sqlglot import exp

from cdp.compile.lowering import AudiencePlan
from cdp.compile.plan import Script, Statement, Step
from cdp.compile.render import Renderer, text
from cdp.compile.windows import Clock


class Places(Protocol):
    """Where tables stand."""

    @property
    def schema(self) -> str: ...
    @property
    def state_schema(self) -> str: ...


@dataclass(frozen=True)
class Moved:
    """Statements that let open stays follow the changes of ids of one run: what moves (before the swap), the moves."""

    found: Statement
    statements: tuple[Statement, ...]
    scratch: tuple[str, ...]


def audience_step(
    renderer: Renderer, plan: AudiencePlan, verdicts: str, after: str, places: Places, run_id: str, clock: Clock
) -> Step:
    """The step of one audience: its members out of a table of verdicts, then its stays closed and opened."""
    name, entity = plan.audience.name, plan.entity
    table, stays = f"{places.schema}.audience_{name}", f"{places.state_schema}.stays"
    limit = plan.audience.limit
    values = {
        "key": f"{entity}_id", "verdict": f"v_{name}", "verdicts": verdicts, "stays": stays, "members": f"{table}__new",
        "audience": text(name), "entity": text(entity), "run_id": text(run_id), "as_of": clock.literal(),
        "top": limit.top if limit is not None else 0,
        "order": [
            {"column": f"o{index}_{name}", "descending": descending} for index, (_, descending) in enumerate(plan.order)
        ],
        "identity": exp.Anonymous(this="cdp_binary", expressions=[exp.column(f"{entity}_id")]),
    }  # fmt: skip

    def script() -> Script:
        yield renderer.statement("compile/members", f"{table}__new", "table", f"{table}__new", **values)

    values |= {"members": table}
    return Step(
        f"audience:{name}",
        f"audience:{name}",
        script,
        publishes=(table,),
        after_swap=(
            renderer.statement("compile/stays_close", f"stays of {name} that end", "run", stays, **values),
            renderer.statement("compile/stays_open", f"stays of {name} that begin", "run", stays, **values),
        ),
        needs=(after,),
    )


def moved_stays(renderer: Renderer, entity: str, changes: str, places: Places, run_id: str, clock: Clock) -> Moved:
    """What follows a merge of ids: the earliest open stay is kept under the new id, the others end. `changes` names the
    table of this run's changes."""
    moved, stays = f"{places.schema}.tmp_stays_{entity}", f"{places.state_schema}.stays"
    values = {
        "stays": stays, "changes": changes, "moved": moved,
        "entity": text(entity), "run_id": text(run_id), "as_of": clock.literal(),
    }  # fmt: skip
    found = renderer.statement("compile/stays_moved", f"stays of {entity} that move", "table", moved, **values)
    # in this order: begun again after any of them, the same stays are found to move
    moves = [
        renderer.statement(f"compile/{template}", f"{template} of {entity}", "run", stays, **values)
        for template in ("stays_keep", "stays_forget", "stays_merge")
    ]
    return Moved(found, tuple(moves), (moved,))
