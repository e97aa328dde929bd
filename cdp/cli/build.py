"""`cdp build`: run the SQL."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from cdp.cli.options import SELECTING, TIMED, Options, command
from cdp.cli.output import Output, table
from cdp.cli.results import carried_out
from cdp.cli.sync import Force

if TYPE_CHECKING:
    from cdp.flow import Estimate


@command(SELECTING, TIMED, name="build")
def app(
    out: Output,
    options: Options,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Make every table anew; ids and ledgers stay.")
    ] = False,
    scratch: Annotated[
        str | None, typer.Option(metavar="SCHEMA", help="Build into this schema instead; any --as-of will do.")
    ] = None,
    force: Force = [],  # noqa: B006 (typer reads it, nobody writes it)
    estimate: Annotated[bool, typer.Option("--estimate", help="Print what would be scanned, and run nothing.")] = False,
) -> int:
    """Run the SQL: identity, traits, audiences; made beside, checked, then swapped."""
    from cdp import flow

    if estimate:
        return _estimated(out, flow.estimate(options.settings(out)))
    return carried_out(
        out,
        lambda progress, stop: flow.build(
            options.settings(out),
            full_refresh=full_refresh,
            scratch=scratch,
            force=tuple(force),
            on_event=progress,
            stop=stop,
        ),
    )


def _estimated(out: Output, found: Estimate) -> int:
    scans = [step for step in found.steps if step.reads]
    rows = [
        (
            step.id,
            step.statements,
            ", ".join(f"{table} × {n}" for table, n in Counter(step.reads).items()),
            _size(step.bytes),
        )
        for step in scans
    ]
    rest = [step for step in found.steps if not step.reads]
    lines = table(rows, ("step", "statements", "scans", "bytes"), right=(1, 3))
    lines.append("")
    lines.append(f"and {len(rest)} steps with {sum(step.statements for step in rest)} statements over what these make")
    if found.bytes is not None:
        lines.append(f"sources: {_size(found.bytes)}")
    return out.result(0, lines, estimate=found)


def _size(count: int | None) -> str:
    if count is None:
        return ""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
