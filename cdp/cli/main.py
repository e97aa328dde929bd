"""`cdp`: finds the command, lets its file do the work, and turns what comes back into an exit code.

Nothing heavy is imported here: a command's file is loaded when it is called, and loads what it needs itself.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, cast

import cdp
from cdp.cli import commands
from cdp.cli.failures import guarded
from cdp.cli.output import Format, Output, silence
from cdp.cli.signals import end_on_signals
from cdp.errors import ProjectError, did_you_mean


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The entry point of the script `cdp`."""
    for stream in (sys.stdout, sys.stderr):
        cast(Any, stream).reconfigure(errors="backslashreplace")
    end_on_signals()
    gc.set_threshold(50_000)  # thousands of classes are made while a command is loaded, and none is garbage
    code = run(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            silence(stream)
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """Carry out one command line; returns the exit code and raises nothing."""
    out = Output(command="", format=_format(argv))
    return guarded(out, lambda: _dispatch(list(argv), out))


def _dispatch(argv: list[str], out: Output) -> int:
    before, name, rest = split(argv)
    if "--version" in before:
        return out.result(0, [f"cdp {cdp.__version__}"], version=cdp.__version__)
    helped = name is None and bool(before) and set(before) <= {"--help", "-h"}
    if helped or name == "help":
        return out.result(0, commands.overview(), commands=commands.COMMANDS | commands.ABSENT)
    if name is None:
        for line in commands.overview():
            out.log(line)
        raise ProjectError.of("CDP180", "no command was given", hint="`cdp --help` lists them")
    out.command = name
    if name in commands.ABSENT:
        if {"--help", "-h"} & {*before, *rest}:
            return out.result(0, [f"cdp {name}: {commands.ABSENT[name]}", "Not in this version."])
        known = ", ".join(commands.COMMANDS)
        raise ProjectError.of("CDP190", f"`cdp {name}` is not in this version of cdp", hint=f"there is: {known}")
    if name not in commands.COMMANDS:
        near = did_you_mean(name, [*commands.COMMANDS, *commands.ABSENT])
        hint = f"did you mean `cdp {near}`? " if near else ""
        raise ProjectError.of("CDP180", f"there is no command `{name}`", hint=f"{hint}`cdp --help` lists the commands")
    return _call(name, [*before, *rest])


def _call(name: str, args: list[str]) -> int:
    """Parse the arguments with typer and run the command."""
    import typer

    usage_error = cast(type[Exception], typer.BadParameter.__mro__[1])  # typer does not export it
    module = importlib.import_module(f"cdp.cli.{name}")
    parser = typer.main.get_command(module.app)
    try:
        return int(parser.main(args=args, prog_name=f"cdp {name}", standalone_mode=False) or 0)
    except usage_error as error:
        message = cast(Any, error).format_message().rstrip(".")
        raise ProjectError.of("CDP181", message, hint=f"`cdp {name} --help` lists the options") from None


def split(argv: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """What stands before the command's name, the name, and what stands after it.

    Shared options may stand on either side, so those before the name are handed to the command too.
    """
    takes_value = commands.flags_with_value()
    at = 0
    while at < len(argv) and argv[at].startswith("-"):
        at += 2 if argv[at] in takes_value else 1
    before = list(argv[:at])
    return before, (argv[at] if at < len(argv) else None), list(argv[at + 1 :])


def _format(argv: Sequence[str]) -> Format:
    """The format asked for, before anything has been parsed: mistakes of the command line are told in it too."""
    asked = ""
    for word, following in zip(argv, [*argv[1:], ""], strict=False):
        if word == "--output":
            asked = following
        elif word.startswith("--output="):
            asked = word.partition("=")[2]
    return cast(Format, asked) if asked in ("json", "github") else "text"
