"""`cdp explain CODE`: what an error code means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cdp.cli.options import Options, command
from cdp.cli.output import Output, table
from cdp.errors import ProjectError, suggestion

CODES = Path(__file__).resolve().parent.parent / "error_codes.yml"


@command(name="explain")
def app(
    out: Output,
    options: Options,
    code: Annotated[str | None, typer.Argument(help="The code, like CDP104; none lists all.")] = None,
) -> int:
    """What an error code means, what causes it, and the way out."""
    codes = error_codes()
    if code is None:
        return out.result(0, table([(name, one["title"]) for name, one in codes.items()]), codes=codes)
    asked = code.upper() if code.upper().startswith("CDP") else f"CDP{code}"
    if asked not in codes:
        near = suggestion(asked, list(codes), "codes")
        raise ProjectError.of("CDP185", f"there is no error code `{code}`", hint=near)
    found = codes[asked]
    lines = [f"{asked}: {found['title']}", "", f"Cause:    {found['cause']}", f"Way out:  {found['way_out']}"]
    return out.result(0, lines, code=asked, **found)


def error_codes() -> dict[str, dict[str, Any]]:
    """All codes in their order: title, cause, way_out."""
    import yaml

    with CODES.open(encoding="utf-8") as file:
        loaded = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return dict(sorted(loaded.items()))
