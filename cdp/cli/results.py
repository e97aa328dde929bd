"""What `build`, `sync` and `run` print at their end, and what they ask before they begin."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from cdp.cli.options import Options
from cdp.cli.output import Output, counted, table
from cdp.cli.plain import jsonable
from cdp.cli.progress import Progress
from cdp.cli.signals import Stop, stop_on_signals
from cdp.errors import ProjectError

if TYPE_CHECKING:
    from cdp.flow.results import RunResult, StepResult

Work = Callable[[Progress, Stop], "RunResult"]

_COLUMNS = {
    "queried": "rows",
    "added_accepted": "added",
    "changed_accepted": "changed",
    "removed_accepted": "removed",
    "requests": "requests",
}
_UNTOLD = ("bytes", "newly_refused")  # in the JSON and in the table `sync_runs`


def carried_out(out: Output, work: Work) -> int:
    """Carry out a run with progress on stderr, print its result, return its exit code.

    The first Ctrl-C or SIGTERM lets the run finish what is in flight; it then ends 130 or 143.
    """
    with Progress(out) as progress, stop_on_signals(lambda said: out.log(said, "warning")) as stop:
        result = work(progress, stop)
    code = stop.exit_code or result.exit_code
    fields = jsonable(result)
    fields.pop("exit_code", None)
    fields.pop("problems", None)
    return out.result(code, lines_of(result), problems=result.problems, **fields)


def confirm_production(out: Output, options: Options) -> None:
    """Before something is sent from a terminal to a target that says `production`: ask. Elsewhere nobody could answer.

    Raises ProjectError (CDP189) for any answer but yes.
    """
    if options.yes or not (sys.stdin.isatty() and out.stderr.isatty()):
        return
    from cdp.flow.loading import SECRETS, open_profile

    _, target, project = open_profile(options.settings(out), SECRETS)
    if not target.production:
        return
    out.ask(f"Send from project `{project.name}` to target `{target.name}`, which is production? [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ProjectError.of("CDP189", f"nothing was run: target `{target.name}` was not confirmed", hint="--yes")


def lines_of(result: RunResult) -> list[str]:
    """The result as a person reads it: syncs with what went where, then what went wrong, then one line of sums."""
    lines: list[str] = []
    syncs = [step for step in result.steps if step.counts]
    if syncs:
        some = {name for step in syncs for name, number in (step.counts or {}).items() if number}
        names = [*_COLUMNS, *(name for name in syncs[0].counts or {} if name in some - {*_COLUMNS, *_UNTOLD})]
        rows = [
            (step.resource.removeprefix("sync:"), step.status, *((step.counts or {}).get(name, 0) for name in names))
            for step in syncs
        ]
        head = ("sync", "status", *(_COLUMNS.get(name, name.replace("_", " ")) for name in names))
        lines += [*table(rows, head, right=range(2, len(names) + 2)), ""]
    for step in syncs:
        lines += _sample(step)
    for step in result.steps:
        if step.status != "done":
            lines += _trouble(step)
    if lines and lines[-1]:
        lines.append("")
    return [*lines, _sums(result)]


def _sample(step: StepResult) -> list[str]:
    """A few of the rows that a dry run would send, as they would travel."""
    shown = [f"  {json.dumps(jsonable(row), ensure_ascii=False)}" for row in step.sample]
    return [f"{step.resource.removeprefix('sync:')} would send:", *shown, ""] if shown else []


def _trouble(step: StepResult) -> list[str]:
    code = f"{step.code}: " if step.code else ""
    return [f"{step.status}: {step.resource or step.id}: {code}{step.message or ''}".rstrip(": ")]


def _sums(result: RunResult) -> str:
    statuses = Counter(step.status for step in result.steps)
    counts = ", ".join(f"{number:,} {status}" for status, number in statuses.items())
    taken = sum(step.seconds for step in result.steps)
    moment = jsonable(result.as_of)
    steps = f"{counted(len(result.steps), 'step')} in {taken:.1f} s: {counts or 'nothing to do'}"
    return f"{steps}; as of {moment}; run {result.run_id}"
