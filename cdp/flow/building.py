"""Running a plan's steps: each one beside, then swapped; what depends on a step that failed is skipped, the rest goes on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cdp.compile.plan import Plan, Statement, Step
from cdp.errors import CdpError, GuardError, Problem, StatementError, WarehouseError
from cdp.flow.results import Event, StepResult, StepStatus, Stop, Watch
from cdp.warehouse.base import Warehouse


@dataclass
class Builder:
    """Runs the steps of one plan in one warehouse."""

    warehouse: Warehouse
    watch: Watch | None = None
    stop: Stop | None = None
    explain: Callable[[Step], Problem | None] | None = None  # what may be behind a refused statement
    results: list[StepResult] = field(default_factory=list)
    _bad: dict[str, str] = field(default_factory=dict)  # step -> why what needs it is skipped
    _gone: CdpError | None = None

    def run(self, plan: Plan) -> list[StepResult]:
        """All steps; a lost warehouse ends the run, every other failure only what depends on it."""
        try:
            for number, step in enumerate(plan.steps):
                self._tell(Event("start", step.id, done=number, total=len(plan.steps)))
                result = self._step(step)
                self.results.append(result)
                if result.status != "done":
                    self._bad[step.id] = f"{step.id} {'was skipped' if result.status == 'skipped' else result.status}"
                self._tell(
                    Event(
                        "end", step.id, done=number + 1, total=len(plan.steps), rows=result.rows, seconds=result.seconds,
                        message=result.message, status=result.status,
                    )
                )  # fmt: skip
        finally:
            if self._gone is None:
                self._clean(plan.steps)
        return self.results

    def _tell(self, event: Event) -> None:
        if self.watch is not None:
            self.watch(event)

    def _step(self, step: Step) -> StepResult:
        if self._gone is not None:
            return StepResult(step.id, step.resource, "skipped", message="the warehouse was lost")
        if self.stop is not None and self.stop():
            return StepResult(step.id, step.resource, "interrupted", message="stopped before it began", exit_code=130)
        why = next((self._bad[need] for need in step.needs if need in self._bad), None)
        if why is not None:
            return StepResult(step.id, step.resource, "skipped", message=f"needs {why}")
        started = time.monotonic()
        digest = hashlib.sha256()
        try:
            rows = self._carry_out(step, digest)
        except GuardError as error:
            return self._ended(step, "held", started, error)
        except StatementError as refused:
            found = self.explain(step) if self.explain is not None else None
            told = refused if found is None else StatementError(found.code, found.message, hint=found.hint)
            return self._ended(step, "failed", started, told)
        except WarehouseError as error:
            self._gone = error
            return self._ended(step, "failed", started, error)
        seconds = time.monotonic() - started
        return StepResult(step.id, step.resource, "done", seconds, rows, statement_hash=digest.hexdigest()[:16])

    def _ended(self, step: Step, status: StepStatus, started: float, error: CdpError) -> StepResult:
        message = f"{error.message} ({error.hint})" if error.hint else error.message
        return StepResult(
            step.id, step.resource, status, time.monotonic() - started,
            message=message, code=error.code, exit_code=error.exit_code,
        )  # fmt: skip

    def _carry_out(self, step: Step, digest: hashlib._Hash) -> int | None:
        """The step's statements, then its swap; the rows of the last table that was made."""
        script = step.script()
        rows: int | None = None
        answer = None
        try:
            statement = next(script)
            while True:
                digest.update(statement.sql.encode())
                answer = self._statement(statement)
                if statement.action == "table":
                    rows = answer
                elif statement.action == "probe" and answer and statement.name.endswith(" duplicates"):
                    source = step.resource.removeprefix("source:")
                    self._tell(
                        Event(
                            "warn",
                            step.id,
                            message=f"source {source}: {answer:,} rows repeat a key; the latest of each key is read",
                        )
                    )
                statement = script.send(answer)
        except StopIteration:
            pass
        with self.warehouse.transaction():
            if step.publishes:
                self.warehouse.drop(*(view.target for view in step.views))  # Postgres drops no table under a view
                self.warehouse.swap({f"{table}__new": table for table in step.publishes})
            for statement in step.after_swap:
                self._statement(statement)
            for view in step.views:
                self._statement(view)
        return rows

    def _statement(self, statement: Statement) -> int:
        if statement.action == "table":
            return self.warehouse.make_table(statement.target, statement.sql)
        if statement.action == "view":
            self.warehouse.make_view(statement.target, statement.sql)
            return 0
        if statement.action == "run":
            return self.warehouse.execute(statement.sql)
        found = self.warehouse.rows(statement.sql)
        return int(str(found[0][0] or 0)) if found else 0

    def _clean(self, steps: Iterable[Step]) -> None:
        """Scratch tables, and those of steps that did not come to their swap."""
        tables = [table for step in steps for table in step.scratch]
        tables += [f"{table}__new" for step in steps for table in step.publishes]
        self.warehouse.drop(*dict.fromkeys(tables))
