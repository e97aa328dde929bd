"""`cdp preview AUDIENCE`: how big it is, who is in it, and what each condition keeps."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Annotated

import typer

from cdp.cli.options import TIMED, Options, command
from cdp.cli.output import Output, counted, table

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
    width = shutil.get_terminal_size().columns if out.stdout.isatty() else None
    return out.result(0, _lines(found, width), preview=found)


def _lines(found: PreviewResult, width: int | None) -> list[str]:
    share = f" ({found.size / found.population:.1%})" if found.population else ""
    lines = [f"{found.audience}: {found.size:,} of {found.population:,} {found.entity}{share}", ""]
    rows = [(one.text, one.alone, one.cumulative, one.only_this_excludes, one.place) for one in found.conditions]
    head = ("condition", "keeps alone", "kept so far", "only this excludes", "place")
    lines += table(rows, head, right=(1, 2, 3))
    if found.sample:
        lines += ["", *_sample(found, width)]
    return lines


def _sample(found: PreviewResult, width: int | None) -> list[str]:
    """The sample with as many of its columns as fit into `width` characters; all where nobody counts them."""
    count = len(found.columns)
    lines = table(found.sample, found.columns)
    while width is not None and count > 1 and max(map(len, lines)) > width:
        count -= 1
        lines = table([row[:count] for row in found.sample], found.columns[:count])
    left = len(found.columns) - count
    return [*lines, f"… {counted(left, 'more column')}; --output json has all"] if left else lines
