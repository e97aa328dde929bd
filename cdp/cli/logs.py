"""`cdp logs`: what each destination answered, row by row."""

from __future__ import annotations

from typing import Annotated

import typer

from cdp.cli.options import Options, command
from cdp.cli.output import Output, table
from cdp.cli.plain import jsonable


@command(name="logs")
def app(
    out: Output,
    options: Options,
    sync: Annotated[str | None, typer.Argument(help="Of this sync only.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only rows that were not accepted.")] = False,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many rows, the newest.")] = 50,
) -> int:
    """Show what each destination answered, row by row, newest first."""
    from cdp import flow

    found = flow.logs(options.settings(out), sync=sync, failed=failed, limit=limit)
    rows = [jsonable(row) for row in found]
    lines = table([tuple(row.values()) for row in rows], tuple(rows[0]) if rows else ())
    if not rows:
        out.log("no row matches")
    return out.result(0, lines, rows=rows)
