"""The commands are those of the contract, and every option says what it does."""

from __future__ import annotations

import importlib

import pytest
import typer

from cdp.cli import commands
from cdp.cli.options import ALWAYS, SELECTING, TIMED
from cdp.errors import CompileError, GuardError, LeaseError, ProjectError, StatementError, WarehouseError

PAPER = """init validate compile debug sources plan apply build sync run test preview why identity logs retry erase
    export dbt grants clean state destinations schema explain docs serve"""
SELECT = {"compile", "build", "sync", "run"}
TIME = {"compile", "sources", "build", "run", "preview"}
OWN = {
    "init": {"directory", "--example"},
    "validate": {"--compile", "--all-targets", "--online"},
    "compile": set(),
    "debug": set(),
    "grants": {"--role"},
    "dbt": {"action", "--out"},
    "sources": {"action"},
    "build": {"--full-refresh", "--scratch", "--force", "--estimate"},
    "sync": {"--dry-run", "--only", "--limit", "--resync", "--adopt", "--force", "--treat-as-new"},
    "preview": {"audience", "--limit"},
    "logs": {"sync", "--failed", "--limit"},
    "destinations": {"action", "name"},
    "schema": {"--write"},
    "explain": {"code"},
}
OWN["run"] = OWN["sync"] | {"--full-refresh", "--after-dbt"}


def test_every_command_of_the_contract_exists() -> None:
    assert set(commands.COMMANDS) | set(commands.ABSENT) == set(PAPER.split())
    assert not set(commands.COMMANDS) & set(commands.ABSENT)


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_a_command_has_its_options_and_says_what_each_does(name: str) -> None:
    command = typer.main.get_command(importlib.import_module(f"cdp.cli.{name}").app)
    assert command.help
    shared = {flag for one in ALWAYS.values() for flag in one.flags}
    shared |= {flag for one in SELECTING.values() for flag in one.flags} if name in SELECT else set()
    shared |= {flag for one in TIMED.values() for flag in one.flags} if name in TIME else set()
    there = set()
    for parameter in command.params:
        names = [one for one in (*parameter.opts, *parameter.secondary_opts) if one != "--help"]
        there |= set(names)
        assert getattr(parameter, "help", None), f"{name} {names} has no help"
    assert there == shared | OWN[name]


def test_errors_end_with_the_exit_codes_of_the_contract() -> None:
    codes = {
        ProjectError: 2,
        CompileError: 2,
        GuardError: 3,
        WarehouseError: 4,
        StatementError: 1,
        LeaseError: 5,
    }
    assert {error: error.exit_code for error in codes} == codes
    assert sorted(commands.EXIT_CODES) == [0, 1, 2, 3, 4, 5, 130]
