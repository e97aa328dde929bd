"""`cdp validate`: all mistakes of the project at once."""

from __future__ import annotations

from typing import Annotated

import typer

from cdp.cli.options import Options, command
from cdp.cli.output import Output, counted
from cdp.errors import Problem, ProjectError


@command(name="validate")
def app(
    out: Output,
    options: Options,
    compile: Annotated[bool, typer.Option("--compile", help="Also make every statement for the target.")] = False,
    all_targets: Annotated[bool, typer.Option("--all-targets", help="With --compile: for every target.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Also look into the warehouse's catalogue.")] = False,
) -> int:
    """Find all mistakes of the project at once, offline: names, types, SQL snippets."""
    from cdp import flow

    try:
        found = flow.check(
            options.settings(out), compile=compile or all_targets, all_targets=all_targets, online=online
        )
    except ProjectError as error:
        return _report(out, options, error.problems, 0, 0)
    return _report(out, options, found.problems, found.resources, found.statements)


def _report(out: Output, options: Options, problems: tuple[Problem, ...], resources: int, statements: int) -> int:
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    wrong = errors or (warnings and options.strict)
    if not out.quiet:
        made = f", {counted(statements, 'statement')}" if statements else ""
        said = f"{counted(resources, 'resource')}{made}: " if resources else ""
        counts = f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"
        out.log(said + ("no mistakes" if not problems else counts), "info")
    return out.result(
        2 if wrong else 0,
        problems=problems,
        problems_are_the_result=True,
        resources=resources,
        statements=statements,
        errors=errors,
        warnings=warnings,
    )
