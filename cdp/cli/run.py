"""`cdp run`: build, then sync."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cdp.cli.options import SELECTING, TIMED, Options, command
from cdp.cli.output import Output
from cdp.cli.results import carried_out, confirm_production
from cdp.cli.sync import Adopt, DryRun, Force, Limit, Only, Resync, TreatAsNew


@command(SELECTING, TIMED, name="run")
def app(
    out: Output,
    options: Options,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Make every table anew; ids and ledgers stay.")
    ] = False,
    dry_run: DryRun = False,
    only: Only = [],  # noqa: B006 (typer reads it, nobody writes it)
    limit: Limit = None,
    resync: Resync = False,
    adopt: Adopt = False,
    force: Force = [],  # noqa: B006
    treat_as_new: TreatAsNew = False,
    after_dbt: Annotated[
        Path | None,
        typer.Option("--after-dbt", metavar="FILE", help="dbt's run_results.json: what hangs on a failed model waits."),
    ] = None,
) -> int:
    """Build, then sync: what an hourly job calls."""
    from cdp import flow

    if not dry_run:
        confirm_production(out, options)
    return carried_out(
        out,
        lambda progress, stop: flow.run(
            options.settings(out),
            full_refresh=full_refresh,
            dry_run=dry_run,
            only=tuple(only),
            limit=limit,
            resync=resync,
            adopt=adopt,
            force=tuple(force),
            treat_as_new=treat_as_new,
            after_dbt=after_dbt,
            on_event=progress,
            stop=stop,
        ),
    )
