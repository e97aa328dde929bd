"""`cdp preview AUDIENCE`: how big it is, who is in it, and what each condition keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cdp.cli.options import TIMED, Options, command
from cdp.cli.output import Output, table

if TYPE_CHECKING:
    from cdp.flow.results import PreviewResult


@command(TIMED, name="preview")
def app(
    out: Output,
    options: Options,
    audience: Annotated[str, typer.Argument(help="The audience's name.")],
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="Rows of the sample.")] = 20,
) -> int:
    """Show the size of an audience, a sample of it, and how many each of its conditions keeps."""
    from cdp import flow

    found = flow.preview(options.settings(out), audience, limit=limit)
    return out.result(0, _lines(found), preview=found)


def _lines(found: PreviewResult) -> list[str]:
    share = f" ({found.size / found.population:.1%})" if found.population else ""
    lines = [f"{found.audience}: {found.size:,} of {found.population:,} {found.entity}{share}", ""]
    rows = [(one.text, one.alone, one.cumulative, one.only_this_excludes, one.place) for one in found.conditions]
    head = ("condition", "keeps alone", "kept so far", "only this excludes", "place")
    lines += table(rows, head, right=(1, 2, 3))
    if found.sample:
        lines += ["", *table(found.sample, found.columns)]
    return lines
