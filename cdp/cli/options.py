"""The options that commands share, and how a command is made from a function.

A command is a function `(out, options, …its own options) -> exit code`; `command()` puts the shared options into its
signature for typer, which makes the help text and the parser from it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from cdp.cli.output import LEVELS, Format, Output
from cdp.errors import ProjectError, did_you_mean

if TYPE_CHECKING:
    import typer

    from cdp.flow.results import Settings

FORMATS = ("text", "json", "github")
_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class Shared:
    """One shared option: its names on the command line, whether it takes a value, and what `--help` says."""

    flags: tuple[str, ...]
    help: str
    kind: type = str  # str, bool (no value) or list (may be given again)
    default: object = None
    metavar: str | None = None
    environ: str | None = None


ALWAYS: dict[str, Shared] = {
    "project_dir": Shared(
        ("--project-dir",), "Folder of the project [default: this one].", metavar="DIR", environ="CDP_PROJECT_DIR"
    ),
    "profiles_dir": Shared(
        ("--profiles-dir",),
        "Folder of profiles.yml [default: the project, then ~/.cdp].",
        metavar="DIR",
        environ="CDP_PROFILES_DIR",
    ),
    "target": Shared(
        ("--target", "-t"), "Target of profiles.yml [default: its own].", metavar="NAME", environ="CDP_TARGET"
    ),
    "vars": Shared(("--vars",), "A YAML map; wins over the vars of target and project.", metavar="YAML"),
    "output": Shared(
        ("--output",), "json: one document on stdout; github: annotations.", str, "text", "text|json|github"
    ),
    "log_level": Shared(("--log-level",), "How much to say on stderr.", str, "info", "debug|info|warning|error"),
    "log_format": Shared(("--log-format",), "The log as text, or one JSON object a line.", str, "text", "text|json"),
    "no_color": Shared(("--no-color",), "No colours, no moving progress.", bool, False),
    "wait": Shared(("--wait",), "How long to wait for another run's lease: 30s, 10m.", str, "0s", "DURATION"),
    "strict": Shared(("--strict",), "Warnings are errors.", bool, False),
    "yes": Shared(("--yes",), "Ask nothing.", bool, False),
    "quiet": Shared(("--quiet", "-q"), "Only the result, warnings and errors.", bool, False),
}
SELECTING: dict[str, Shared] = {
    "select": Shared(
        ("--select", "-s"), "Only these: a name, audience:x, +sync:crm, tag:daily, a path.", list, (), "WHAT"
    ),
    "exclude": Shared(("--exclude",), "All but these.", list, (), "WHAT"),
    "allow_empty": Shared(("--allow-empty",), "It is no error when nothing is selected.", bool, False),
}
TIMED: dict[str, Shared] = {
    "as_of": Shared(
        ("--as-of",),
        "The clock of the run, ISO 8601; UTC unless it says otherwise [default: now].",
        metavar="TIME",
        environ="CDP_AS_OF",
    )
}


@dataclass(frozen=True)
class Options:
    """The shared options of one call, read and checked. `as_of` is aware (UTC), `wait` in seconds."""

    project_dir: Path = Path()
    profiles_dir: Path | None = None
    target: str | None = None
    vars: Mapping[str, Any] | None = None
    output: Format = "text"
    log_level: str = "info"
    log_format: str = "text"
    no_color: bool = False
    wait: float = 0.0
    strict: bool = False
    yes: bool = False
    quiet: bool = False
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    allow_empty: bool = False
    as_of: datetime | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """From what typer read; raises ProjectError (CDP182) for a value that cannot be read."""
        values = dict(given)
        values["project_dir"] = Path(given.get("project_dir") or ".")
        values["profiles_dir"] = Path(given["profiles_dir"]) if given.get("profiles_dir") else None
        values["vars"] = variables(given.get("vars"))
        values["wait"] = seconds("--wait", given.get("wait") or "0s")
        for name in ("select", "exclude"):
            values[name] = tuple(word for words in given.get(name) or () for word in words.split())
        values["as_of"] = moment("--as-of", given.get("as_of"))
        one_of("--output", values["output"], FORMATS)
        one_of("--log-level", values["log_level"], tuple(LEVELS))
        one_of("--log-format", values["log_format"], ("text", "json"))
        return cls(**values)

    def settings(self, out: Output) -> Settings:
        """The same for `cdp.flow`; from now on what it learns to be secret is masked in `out`."""
        from cdp.flow.loading import SECRETS
        from cdp.flow.results import Settings

        out.mask = SECRETS.mask
        return Settings(
            project_dir=self.project_dir,
            profiles_dir=self.profiles_dir,
            target=self.target,
            vars=self.vars or {},
            as_of=self.as_of,
            wait=self.wait,
            strict=self.strict,
            select=self.select,
            exclude=self.exclude,
            allow_empty=self.allow_empty,
        )


def command(*groups: Mapping[str, Shared], name: str) -> Callable[[Callable[..., int]], typer.Typer]:
    """Make the command `name` from a function; its file keeps it as `app`."""

    def decorate(function: Callable[..., int]) -> typer.Typer:
        import typer

        from cdp.cli.failures import guarded

        shared = {key: one for group in (*groups, ALWAYS) for key, one in group.items()}
        own = list(inspect.signature(function, eval_str=True).parameters.values())[2:]

        def run(**values: Any) -> int:
            options = Options.of({key: values.pop(key) for key in shared})
            out = output_of(name, options)
            return guarded(out, lambda: function(out, options, **values))

        run.__doc__ = function.__doc__
        run.__name__ = name
        parameters = [*own, *(_parameter(key, one) for key, one in shared.items())]
        cast(Any, run).__signature__ = inspect.Signature(
            [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters], return_annotation=int
        )
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        app.command(name=name, context_settings={"help_option_names": ["-h", "--help"]})(run)
        return app

    return decorate


def output_of(command: str, options: Options) -> Output:
    """Where a command with these options prints."""
    return Output(
        command=command,
        format=options.output,
        level=options.log_level,
        log_format=options.log_format,
        quiet=options.quiet,
        colour=not options.no_color,
        project_dir=options.project_dir,
    )


def _parameter(name: str, shared: Shared) -> inspect.Parameter:
    import typer

    option = typer.Option(
        *shared.flags,
        help=shared.help,
        metavar=None if shared.kind is bool else shared.metavar,
        envvar=shared.environ,
        show_default=shared.kind is str and shared.default is not None,
        rich_help_panel=None,
    )
    kinds: dict[type, Any] = {bool: bool, list: list[str], str: str if shared.default is not None else str | None}
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        annotation=Annotated[kinds[shared.kind], option],
        default=list(cast(tuple[str, ...], shared.default)) if shared.kind is list else shared.default,
    )


def one_of(flag: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ProjectError (CDP182) where `value` is none of the choices."""
    if value not in choices:
        near = did_you_mean(value, choices)
        listed = ", ".join(choices)
        hint = f"did you mean `{near}`? one of: {listed}" if near else f"one of: {listed}"
        raise ProjectError.of("CDP182", f"{flag} cannot be `{value}`", hint=hint)


def moment(flag: str, text: str | None) -> datetime | None:
    """An instant, aware, in UTC; a date is its midnight, a time without offset is UTC."""
    if not text:
        return None
    try:
        read = datetime.fromisoformat(text)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        hint = "write 2026-03-02 or 2026-03-02T06:00:00Z"
        raise ProjectError.of("CDP182", f"{flag} is no point in time: `{text}`", hint=hint) from None


def seconds(flag: str, text: str) -> float:
    """A duration in seconds."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise ProjectError.of("CDP182", f"{flag} is no duration: `{text}`", hint="write 30s, 10m or 2h")
    return float(found["number"]) * _SECONDS[found["unit"]]


def variables(text: str | None) -> Mapping[str, Any]:
    """The map in `--vars`, read as project files are; raises ProjectError with all its mistakes."""
    if not text:
        return {}
    from cdp.project.reader import read_bytes

    document = read_bytes(text.encode("utf-8", "surrogateescape"), "--vars")
    if document.problems:
        raise ProjectError(document.problems)
    return document.data
