"""The command line starts without what it does not need."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("pydantic", "sqlglot", "duckdb", "httpx", "rich", "jinja2", "yaml", "psycopg", "typer", "orjson", "asyncio")


def loaded(*argv: str) -> set[str]:
    """The heavy packages that a call leaves in memory."""
    script = (
        "import sys, io, json, contextlib\n"
        "from cdp.cli.main import run\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    code = run({list(argv)!r})\n"
        "print(json.dumps([code, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stdout)
    assert code == 0
    return {name for name in HEAVY if name in modules}


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_version_and_help_load_nothing_heavy(flag: str) -> None:
    assert loaded(flag) == set()


def test_the_python_interface_loads_nothing_until_it_is_used() -> None:
    script = f"import sys, cdp; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_help_of_a_command_needs_no_engine() -> None:
    assert not loaded("run", "--help") & {"sqlglot", "duckdb", "httpx", "rich", "jinja2", "psycopg"}
