"""Running a plan's steps: each one beside, then swapped; what depends on a step that failed is skipped, the rest goes on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import partial
from threading import Lock

from cdp.compile.plan import Plan, Script, Statement, Step
from cdp.errors import CdpError, GuardError, Problem, StatementError, WarehouseError
from cdp.flow.crew import Crew, Spent
from cdp.flow.results import Event, StepResult, StepStatus, Stop, Watch
from cdp.warehouse.base import Warehouse


def run_statement(warehouse: Warehouse, statement: Statement) -> int:
    """Carry out a statement; its answer, as `Statement` says."""
    if statement.action == "table":
        return warehouse.make_table(statement.target, statement.sql)
    if statement.action == "view":
        warehouse.make_view(statement.target, statement.sql)
        return 0
    if statement.action == "refill":
        return warehouse.refill(statement.target, statement.sql)
    if statement.action == "run":
        return warehouse.execute(statement.sql)
    found = warehouse.rows(statement.sql)
    return int(str(found[0][0] or 0)) if found else 0


@dataclass
class _Begun:
    """A step on its way."""

    step: Step
    script: Script
    started: float = field(default_factory=time.monotonic)
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    rows: int | None = None
    statements: int = 0
    bytes: int | None = None
    error: CdpError | None = None
    published: bool = False


@dataclass
class Builder:
    """Runs the steps of one plan in one warehouse.

    With `another` (a further connection to it) up to `threads` statements run at once: those of steps that do not need
    each other, and those that a step yields together. Finished tables are swapped in by one step at a time.
    """

    warehouse: Warehouse
    watch: Watch | None = None
    stop: Stop | None = None
    explain: Callable[[Step], Problem | None] | None = None  # what may be behind a refused statement
    another: Callable[[], Warehouse] | None = None
    threads: int = 1
    results: list[StepResult] = field(default_factory=list)
    _bad: dict[str, str] = field(default_factory=dict)  # step -> why what needs it is skipped
    _doing: dict[Future[Spent], tuple[_Begun, Statement | None]] = field(default_factory=dict)
    _publishing: Lock = field(default_factory=Lock)
    _gone: CdpError | None = None
    _total: int = 0

    def run(self, plan: Plan) -> list[StepResult]:
        """All steps; a lost warehouse ends the run, every other failure only what depends on it."""
        waiting = list(plan.steps)
        self._total = len(waiting)
        crew = Crew(self.warehouse, self.another, self.threads)
        try:
            while waiting or self._doing:
                self._begin(waiting, crew)
                ended, _ = wait(self._doing, return_when=FIRST_COMPLETED)
                for future in [future for future in self._doing if future in ended]:
                    self._go_on(future, crew)
        finally:
            crew.close()
            if self._gone is None:
                self._clean(plan.steps)
        return self.results

    # ------------------------------------------------------------------------------------------ beginning
    def _begin(self, waiting: list[Step], crew: Crew) -> None:
        """Begin what needs nothing that is still to be done, in the order of the plan, as many steps as hands."""
        open_ids = {step.id for step in waiting} | {begun.step.id for begun, _ in self._doing.values()}
        for step in list(waiting):
            if len({begun.step.id for begun, _ in self._doing.values()}) >= crew.threads:
                return
            if open_ids.intersection(step.needs):
                continue
            waiting.remove(step)
            self._tell(Event("start", step.id, done=len(self.results), total=self._total))
            left_out = self._left_out(step)
            if left_out is None:
                self._ask(_Begun(step, step.script()), None, crew)
            else:
                self._end(left_out)
            if not any(begun.step is step for begun, _ in self._doing.values()):
                open_ids.discard(step.id)

    def _left_out(self, step: Step) -> StepResult | None:
        """What is said of a step that is not begun."""
        if self._gone is not None:
            return StepResult(step.id, step.resource, "skipped", message="the warehouse was lost")
        if self.stop is not None and self.stop():
            return StepResult(step.id, step.resource, "interrupted", message="stopped before it began", exit_code=130)
        why = next((self._bad[need] for need in step.needs if need in self._bad), None)
        return None if why is None else StepResult(step.id, step.resource, "skipped", message=f"needs {why}")

    # ------------------------------------------------------------------------------------------ going on
    def _ask(self, begun: _Begun, answer: int | None, crew: Crew) -> None:
        """Let the step's script say what it wants next; after its end, its tables are swapped in."""
        try:
            asked = next(begun.script) if answer is None else begun.script.send(answer)
        except StopIteration:
            begun.published = True
            self._doing[crew.submit(lambda warehouse: self._publish(begun.step, warehouse))] = (begun, None)
            return
        except GuardError as error:
            self._end(self._failed(begun, "held", error))
            return
        for statement in asked if isinstance(asked, tuple) else (asked,):
            begun.digest.update(statement.sql.encode())
            self._doing[crew.submit(partial(run_statement, statement=statement))] = (begun, statement)

    def _go_on(self, future: Future[Spent], crew: Crew) -> None:
        """Take the end of a piece of work to the step that asked for it."""
        begun, statement = self._doing.pop(future)
        answer = 0
        try:
            spent = future.result()
            answer = spent.answer
            begun.statements += spent.statements
            begun.bytes = begun.bytes if spent.bytes is None else (begun.bytes or 0) + spent.bytes
            self._note(begun, statement, answer)
        except WarehouseError as error:
            lost = not isinstance(error, StatementError)
            begun.error = error if lost or begun.error is None else begun.error
        if any(other is begun for other, _ in self._doing.values()):
            return
        if isinstance(begun.error, StatementError):
            found = self.explain(begun.step) if self.explain is not None else None
            told = begun.error if found is None else StatementError(found.code, found.message, hint=found.hint)
            self._end(self._failed(begun, "failed", told))
        elif begun.error is not None:
            self._gone = begun.error
            self._end(self._failed(begun, "failed", begun.error))
        elif begun.published:
            self._end(
                StepResult(
                    begun.step.id, begun.step.resource, "done", time.monotonic() - begun.started, begun.rows,
                    statement_hash=begun.digest.hexdigest()[:16], statements=begun.statements, bytes=begun.bytes,
                )
            )  # fmt: skip
        elif self._gone is not None:
            self._end(self._failed(begun, "failed", self._gone))
        else:
            self._ask(begun, answer, crew)

    def _note(self, begun: _Begun, statement: Statement | None, answer: int) -> None:
        if statement is None:
            return
        if statement.action == "table":
            begun.rows = answer
        elif statement.action == "probe" and answer and statement.name.endswith(" duplicates"):
            source = begun.step.resource.removeprefix("source:")
            said = f"source {source}: {answer:,} rows repeat a key; the latest of each key is read"
            self._tell(Event("warn", begun.step.id, message=said))

    def _publish(self, step: Step, warehouse: Warehouse) -> int:
        """Swap the step's tables in and move the masters with them, all in one transaction."""
        if not (step.publishes or step.after_swap or step.views):
            return 0
        with self._publishing, warehouse.transaction():
            if step.publishes:
                if (
                    warehouse.transactional_ddl
                ):  # Postgres drops no table under a view; without it they stay until replaced
                    warehouse.drop(*(view.target for view in step.views))
                warehouse.swap({f"{table}__new": table for table in step.publishes})
            for statement in (*step.after_swap, *step.views):
                run_statement(warehouse, statement)
        return 0

    # ------------------------------------------------------------------------------------------ ending
    def _failed(self, begun: _Begun, status: StepStatus, error: CdpError) -> StepResult:
        message = f"{error.message} ({error.hint})" if error.hint else error.message
        return StepResult(
            begun.step.id, begun.step.resource, status, time.monotonic() - begun.started,
            message=message, code=error.code, exit_code=error.exit_code, statements=begun.statements, bytes=begun.bytes,
        )  # fmt: skip

    def _end(self, result: StepResult) -> None:
        self.results.append(result)
        if result.status != "done":
            self._bad[result.id] = f"{result.id} {'was skipped' if result.status == 'skipped' else result.status}"
        self._tell(
            Event(
                "end", result.id, done=len(self.results), total=self._total, rows=result.rows, seconds=result.seconds,
                message=result.message, status=result.status,
            )
        )  # fmt: skip

    def _tell(self, event: Event) -> None:
        if self.watch is not None:
            self.watch(event)

    def _clean(self, steps: Iterable[Step]) -> None:
        """Scratch tables, and those of steps that did not come to their swap."""
        tables = [table for step in steps for table in step.scratch]
        tables += [f"{table}__new" for step in steps for table in step.publishes]
        self.warehouse.drop(*dict.fromkeys(tables))
