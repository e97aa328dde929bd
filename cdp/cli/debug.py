"""`cdp debug`: what stands between this machine and a run."""

from __future__ import annotations

from cdp.cli.options import Options, command
from cdp.cli.output import Output

_EXIT_CODES = {"project": 2, "sources": 1}  # what else fails could not be reached: 4


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
    codes = {_EXIT_CODES.get(line.name, 4) for line in found if not line.ok}
    return out.result(next((code for code in (2, 4, 1) if code in codes), 0), lines, checks=found)
