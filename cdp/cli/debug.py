"""`cdp debug`: what stands between this machine and a run."""

from __future__ import annotations

from cdp.cli.options import Options, command
from cdp.cli.output import Output


@command(name="debug")
def app(out: Output, options: Options) -> int:
    """Connect to the warehouse and the destinations; check versions and grants; say what is missing."""
    from cdp import flow

    found = flow.debug(options.settings(out))
    lines = []
    for line in found:
        lines.append(f"{'ok' if line.ok else 'NO':3} {line.name}: {line.detail}")
        if line.hint and not line.ok:
            lines.append(f"    hint: {line.hint}")
    return out.result(0 if all(line.ok for line in found) else 4, lines, checks=found)
