"""What every part of the compiler has: the plan so far, the renderer, names of tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from cdp.compile.facts import Facts
from cdp.compile.lower import Lowered
from cdp.compile.plan import Script, Statement, Step
from cdp.compile.render import Renderer


@dataclass(frozen=True)
class Names:
    """Where things stand in the warehouse."""

    schema: str
    state_schema: str


@dataclass
class Steps:
    """The steps of one run for one target, in the making."""

    lowered: Lowered
    facts: Facts
    names: Names
    run_id: str
    forced: frozenset[str] = frozenset()
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.renderer = Renderer(self.facts)
        self.lowering = self.lowered.lowering
        self.schema = self.lowered.schema
        self._after: dict[str, list[str]] = {}  # node -> steps that its rows need

    def table(self, name: str) -> str:
        """A table of the schema that may be dropped."""
        return f"{self.names.schema}.{name}"

    def add(self, step: Step) -> None:
        """Put a step behind all others."""
        self.steps.append(step)

    def _statement(self, template: str, target: str, **values: Any) -> Statement:
        return self.renderer.statement(f"compile/{template}", target, "table", target, **values)

    def _one(
        self,
        step_id: str,
        resource: str,
        table: str,
        statement: Callable[[], Statement],
        needs: Iterable[str],
        *,
        scratch: bool = True,
    ) -> None:
        """A step of one statement."""

        def script() -> Script:
            yield statement()

        self.add(
            Step(step_id, resource, script, scratch=(table,) if scratch else (), needs=tuple(dict.fromkeys(needs)))
        )
