"""`cdp schema`: the language as a JSON Schema, for editors."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cdp.cli.options import Options, command
from cdp.cli.output import Output

FILE = "cdp.schema.json"


@command(name="schema")
def app(
    out: Output,
    options: Options,
    write: Annotated[bool, typer.Option("--write", help=f"Write {FILE} into the project folder.")] = False,
) -> int:
    """Print the JSON Schema of project files, or write it beside them."""
    from cdp.project import schema_json

    schema = schema_json()
    if not write:
        text = json.dumps(schema, ensure_ascii=False, indent=2)
        return out.result(0, text.splitlines(), schema=schema)
    path = options.project_dir / FILE
    path.write_text(json.dumps(schema, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    modeline = f"# yaml-language-server: $schema={FILE}"
    return out.result(0, [f"{path} written; an editor reads it where a file begins with", modeline], path=path)
