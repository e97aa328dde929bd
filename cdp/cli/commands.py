"""The commands by name, as `cdp --help` lists them; the file of a command has its name."""

from __future__ import annotations

import textwrap

COMMANDS = {
    "init": "Make a project that runs at once (--example shop: the whole tour).",
    "validate": "Find all mistakes of the project at once, offline.",
    "compile": "Write the SQL of every step and manifest.json into target/.",
    "debug": "Connect, check versions and grants, say what is missing.",
    "grants": "The least privileges of the target's role, as SQL.",
    "sources": "List the sources, freeze their columns, or say how old their data is.",
    "build": "Run the SQL: identity, traits, audiences.",
    "sync": "Find what changed and send it to the destinations.",
    "run": "Build, then sync.",
    "preview": "The size of an audience, a sample, and what each condition keeps.",
    "dbt": "Audiences and syncs as exposures of dbt: cdp dbt exposures.",
    "logs": "What each destination answered, row by row.",
    "destinations": "List the destinations there are, or show what one can do.",
    "schema": "The JSON Schema of project files, for editors.",
    "explain": "What an error code means, and the way out.",
}

ABSENT = {
    "plan": "What a build and sync would change.",
    "apply": "Carry out a plan.",
    "test": "Run the project's tests.",
    "why": "Why somebody is in an audience, or was not sent.",
    "identity": "The health of the identity graph, and its evidence.",
    "retry": "Send refused rows again.",
    "erase": "Delete a person everywhere, and keep them out.",
    "export": "All that is known of a person.",
    "clean": "Drop tables of deleted resources.",
    "state": "Export, import or unlock the state.",
    "docs": "A catalogue as a page.",
    "serve": "Collector and profile API.",
}

EXIT_CODES = {
    0: "done",
    1: "done, but something failed or too much was refused",
    2: "the project, the profile or the command line is wrong; nothing was run",
    3: "a guard held at least one resource",
    4: "the warehouse or a destination could not be reached or refused the login",
    5: "another run holds the lease",
    130: "interrupted (143: by SIGTERM); the state is consistent",
}


def flags_with_value() -> set[str]:
    """The shared options that take a value, as written on the command line."""
    from cdp.cli.options import ALWAYS, SELECTING, TIMED

    shared = [*ALWAYS.values(), *SELECTING.values(), *TIMED.values()]
    return {flag for one in shared if one.kind is not bool for flag in one.flags}


def overview() -> list[str]:
    """The text of `cdp --help`."""
    from cdp.cli.options import ALWAYS

    wide = max(len(name) for name in (*COMMANDS, *ABSENT)) + 2
    lines = ["Usage: cdp COMMAND [OPTIONS]", "", "A customer data platform in your own warehouse.", "", "Commands:"]
    lines += [f"  {name:<{wide}}{said}" for name, said in COMMANDS.items()]
    lines += ["", "Not in this version: " + ", ".join(ABSENT)]
    lines += ["", "Options of every command, before or after its name:"]
    for option in ALWAYS.values():
        names = ", ".join(option.flags) + (f" {option.metavar}" if option.metavar else "")
        environ = f" [{option.environ}]" if option.environ else ""
        lines += textwrap.wrap(option.help + environ, 100, initial_indent=f"  {names:<38}", subsequent_indent=" " * 40)
    lines += ["  --version", "  --help", "", "Exit codes:"]
    lines += [f"  {code:>3}  {said}" for code, said in EXIT_CODES.items()]
    return [*lines, "", "`cdp COMMAND --help` says more; `cdp explain CODE` explains an error."]
