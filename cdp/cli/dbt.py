"""`cdp dbt exposures`: what dbt is to know of audiences and syncs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cdp.cli.options import Options, command, one_of
from cdp.cli.output import Output, counted

ACTIONS = ("exposures",)


@command(name="dbt")
def app(
    out: Output,
    options: Options,
    action: Annotated[str, typer.Argument(metavar="exposures", help="What to do.")],
    file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write them there; replaces only what this command wrote."),
    ] = None,
) -> int:
    """Print audiences and syncs as exposures of dbt, with the models that they are made of, or write them to a file."""
    from cdp import flow

    one_of("the first argument", action, ACTIONS)
    made = flow.dbt_exposures(options.settings(out), file)
    said = counted(len(made.exposures), "exposure")
    if made.path is None:
        out.log(said)
        return out.result(0, made.text.splitlines(), exposures=made.exposures)
    state = "written" if made.changed else "unchanged"
    return out.result(
        0, [f"{made.path} {state}: {said}"], path=made.path, changed=made.changed, exposures=made.exposures
    )
