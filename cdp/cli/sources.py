"""`cdp sources list|freeze|freshness`: the tables that the project reads."""

from __future__ import annotations

from typing import Annotated

import typer

from cdp.cli.options import TIMED, Options, command, one_of
from cdp.cli.output import Output, counted, table
from cdp.cli.plain import jsonable

ACTIONS = ("list", "freeze", "freshness")


@command(TIMED, name="sources")
def app(
    out: Output,
    options: Options,
    action: Annotated[str, typer.Argument(metavar="[list|freeze|freshness]", help="What to do.")] = "list",
) -> int:
    """List the sources; freeze their columns into sources.lock.yml; say how old their data is."""
    one_of("the first argument", action, ACTIONS)
    return {"list": _list, "freeze": _freeze, "freshness": _freshness}[action](out, options)


def _list(out: Output, options: Options) -> int:
    from cdp import flow

    found = flow.sources_list(options.settings(out))
    rows = [tuple(jsonable(one).values()) for one in found]
    head = tuple(jsonable(found[0])) if found else ()
    return out.result(0, table(rows, head), sources=found)


def _freeze(out: Output, options: Options) -> int:
    from cdp import flow

    made = flow.sources_freeze(options.settings(out))
    counts = f"{counted(made.sources, 'source')}, {counted(made.columns, 'column')}"
    state = "written" if made.changed else "unchanged"
    return out.result(0, [f"{made.path} {state}: {counts}"], **jsonable(made))


def _freshness(out: Output, options: Options) -> int:
    from cdp import flow

    found = flow.sources_freshness(options.settings(out))
    head = ("source", "newest", "age", "status", *(["dbt source"] if any(one.upstream for one in found) else []))
    rows = [
        (one.source, one.newest, _age(one.age_seconds), one.status, one.upstream or "")[: len(head)] for one in found
    ]
    bad = {"error", "warn"} if options.strict else {"error"}
    code = 1 if any(one.status in bad for one in found) else 0
    return out.result(code, table(rows, head), sources=found)


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    hours, minutes = divmod(int(seconds) // 60, 60)
    days, hours = divmod(hours, 24)
    return f"{days}d {hours}h" if days else f"{hours}h {minutes}m"
