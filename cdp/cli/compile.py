"""`cdp compile`: the SQL of every step, as files."""

from __future__ import annotations

from cdp.cli.options import SELECTING, TIMED, Options, command
from cdp.cli.output import Output, counted


@command(SELECTING, TIMED, name="compile")
def app(out: Output, options: Options) -> int:
    """Write the SQL of every step to target/compiled/<target>/ and target/manifest.json."""
    from cdp import flow

    made = flow.compile_project(options.settings(out))
    out.log(f"{counted(len(made.files), 'file')} written; {made.manifest}")
    return out.result(0, [str(file) for file in made.files], files=made.files, manifest=made.manifest)
