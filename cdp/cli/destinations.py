"""`cdp destinations list|show NAME`: where rows can be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cdp.cli.options import Options, command, one_of
from cdp.cli.output import Output, table
from cdp.errors import ProjectError

if TYPE_CHECKING:
    from cdp.destination.description import Description


@command(name="destinations")
def app(
    out: Output,
    options: Options,
    action: Annotated[str, typer.Argument(metavar="[list|show]", help="What to do.")] = "list",
    name: Annotated[str | None, typer.Argument(help="The destination to show.")] = None,
) -> int:
    """List the destinations that cdp knows, or show what one of them can do."""
    if action == "test":
        raise ProjectError.of("CDP190", "`cdp destinations test` is not in this version", hint="there is: list, show")
    one_of("the first argument", action, ("list", "show"))
    if action == "show" and name is None:
        raise ProjectError.of("CDP181", "show needs a name", hint="cdp destinations show webhook")
    return _list(out, options) if name is None else _show(out, options, name)


def _list(out: Output, options: Options) -> int:
    from cdp.destination.catalogue import catalogue

    found = catalogue(options.project_dir)
    rows = [(one.name, one.title, ", ".join(one.operations) or "-") for one in found]
    documents = [one.model_dump(mode="json", by_alias=True, exclude_defaults=True) for one in found]
    return out.result(0, table(rows, ("type", "title", "operations")), destinations=documents)


def _show(out: Output, options: Options, name: str) -> int:
    from cdp.destination.catalogue import find

    found = find(name, options.project_dir)
    document = found.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return out.result(0, _described(found), destination=document)


def _described(one: Description) -> list[str]:
    lines = [f"{one.name}: {one.title}".rstrip(": "), ""]
    if one.docs:
        end = f", until {one.docs.end_of_life}" if one.docs.end_of_life else ""
        lines += [f"API version {one.docs.version}{end}; checked {one.docs.checked}  {one.docs.url or ''}".rstrip(), ""]
    settings = [
        (
            name,
            setting.type,
            "required" if setting.required else "secret" if setting.secret else "",
            setting.about or "",
        )
        for name, setting in one.config.items()
    ]
    lines += ["In profiles.yml:", *(f"  {line}" for line in table([("type", one.name, "", ""), *settings])), ""]
    operations = [
        (name, point.method, point.path or "/", f"{point.batch.items:,} a request")
        for name, point in one.operations.items()
    ]
    if operations:
        lines += ["Operations:", *(f"  {line}" for line in table(operations)), ""]
    identifiers = [(name, fact.about or "") for name, fact in (one.identifiers or {}).items()]
    if identifiers:
        lines += ["Identifiers (match):", *(f"  {line}" for line in table(identifiers)), ""]
    if one.membership:
        lines += [f"list: {one.membership.about}", ""]
    return lines[:-1]
