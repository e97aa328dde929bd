"""`cdp sync`: send what changed."""

from __future__ import annotations

from typing import Annotated

import typer

from cdp.cli.options import SELECTING, Options, command
from cdp.cli.output import Output
from cdp.cli.results import carried_out, confirm_production

DryRun = Annotated[bool, typer.Option("--dry-run", help="Count what would be sent; send nothing.")]
Only = Annotated[list[str], typer.Option(metavar="KEY", help="Only these rows.")]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many rows per sync.")]
Resync = Annotated[bool, typer.Option("--resync", help="Send everything again, and removals.")]
Adopt = Annotated[bool, typer.Option("--adopt", help="Remember the rows as sent without sending them.")]
Force = Annotated[list[str], typer.Option(metavar="GUARD", help="Let this guard pass once; it is recorded.")]
TreatAsNew = Annotated[bool, typer.Option("--treat-as-new", help="Greet who enters by a changed definition, too.")]


@command(SELECTING, name="sync")
def app(
    out: Output,
    options: Options,
    dry_run: DryRun = False,
    only: Only = [],  # noqa: B006 (typer reads it, nobody writes it)
    limit: Limit = None,
    resync: Resync = False,
    adopt: Adopt = False,
    force: Force = [],  # noqa: B006
    treat_as_new: TreatAsNew = False,
) -> int:
    """Find what changed since the last sync, and send it to the destinations."""
    from cdp import flow

    if not dry_run:
        confirm_production(out, options)
    return carried_out(
        out,
        lambda progress, stop: flow.sync(
            options.settings(out),
            dry_run=dry_run,
            only=tuple(only),
            limit=limit,
            resync=resync,
            adopt=adopt,
            force=tuple(force),
            treat_as_new=treat_as_new,
            on_event=progress,
            stop=stop,
        ),
    )
