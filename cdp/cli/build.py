"""`cdp build`: run the SQL."""

from __future__ import annotations

from typing import Annotated

import typer

from cdp.cli.options import SELECTING, TIMED, Options, command
from cdp.cli.output import Output
from cdp.cli.results import carried_out
from cdp.cli.sync import Force


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
) -> int:
    """Run the SQL: identity, traits, audiences; made beside, checked, then swapped."""
    from cdp import flow

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
