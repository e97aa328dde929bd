"""`cdp debug`: what stands between this machine and a run."""

from __future__ import annotations

from cdp.cli.options import Options, command
from cdp.cli.output import Output

# by the first word of what failed; what else fails could not be reached: 4
_EXIT_CODES = {"project": 2, "source": 1, "schema": 1, "schemas": 1}


@command(name="debug")
def app(out: Output, options: Options) -> int:
    """Connect; check version, role, clock, latency, rights, sources and destinations; say what is missing."""
    from cdp import flow

    found = flow.debug(options.settings(out))
    lines = []
    for line in found:
        lines.append(f"{'NO' if not line.ok else '!!' if line.warning else 'ok':3} {line.name}: {line.detail}")
        if line.hint and (line.warning or not line.ok):
            lines.append(f"    hint: {line.hint}")
    codes = {_EXIT_CODES.get(line.name.split()[0], 4) for line in found if not line.ok}
    codes |= {1 for line in found if line.warning and options.strict}
    return out.result(next((code for code in (2, 4, 1) if code in codes), 0), lines, checks=found)
