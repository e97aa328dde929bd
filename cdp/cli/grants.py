"""`cdp grants`: what an administrator runs once, so that a run may do its work and nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from cdp.cli.options import Options, command
from cdp.cli.output import Output


@command(name="grants")
def app(
    out: Output,
    options: Options,
    role: Annotated[
        str | None, typer.Option("--role", metavar="NAME", help="Who gets them [default: the target's role or user].")
    ] = None,
) -> int:
    """Print the least privileges of the target's role as SQL: read the sources, write the two schemas. Connects to
    nothing."""
    from cdp import flow

    found = flow.grants(options.settings(out), role)
    if not found.statements:
        out.log("this warehouse knows no roles: who can open it can do everything", "warning")
    return out.result(0, [f"{statement};" for statement in found.statements], grants=found)
