"""What the command line prints: the result on stdout, the log on stderr, nothing that could harm a terminal.

Everything that is printed passes the same three gates, in this order: secrets are masked, control characters that came
with data are taken out, and only then our own colours are put on. A stream whose reader has gone is silent.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal, TextIO

import cdp
from cdp.cli.plain import jsonable
from cdp.errors import CdpError, Mark, Problem, ProjectError

Format = Literal["text", "json", "github"]
Mask = Callable[[str], str]

SCHEMA_VERSION = 1
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

# C0 without newline and tab, DEL, C1, and what turns the direction of text or breaks lines unseen.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_COLOURS = {"error": "31", "warning": "33", "good": "32", "dim": "2", "bold": "1"}


def clean(text: str) -> str:
    """`text` without control characters: each becomes U+FFFD, so that one sees that something was there."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def terminal(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether colours and moving bars are welcome on this stream."""
    plain = environ.get("NO_COLOR") or environ.get("CI", "").lower() not in ("", "0", "false")
    return not plain and environ.get("TERM") != "dumb" and stream.isatty()


def table(rows: Sequence[Sequence[object]], head: Sequence[str] = (), right: Iterable[int] = ()) -> list[str]:
    """Aligned columns as lines of text; the columns in `right` are flush right. Cells are cut to one line."""
    if not rows:
        return []
    numbers = set(right)
    cells = [[" ".join(_cell(value).split()) for value in row] for row in ([head] if head else []) + list(rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
    return [
        "  ".join(
            value.rjust(widths[at]) if at in numbers else value.ljust(widths[at]) for at, value in enumerate(row)
        ).rstrip()
        for row in cells
    ]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    plain = jsonable(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def problem_fields(problem: Problem) -> dict[str, object]:
    """A problem as it stands in JSON documents."""
    mark = problem.mark
    return {
        "code": problem.code,
        "severity": problem.severity,
        "message": problem.message,
        "file": mark.file if mark else None,
        "line": mark.line if mark else None,
        "column": mark.column if mark else None,
        "hint": problem.hint,
    }


def problems_of(error: CdpError) -> tuple[Problem, ...]:
    """What an error has to say, as problems."""
    if isinstance(error, ProjectError):
        return error.problems
    return (Problem(error.code, error.message, error.mark, error.hint),)


@dataclass
class Output:
    """Where one command prints. `mask` hides secrets; it is set as soon as the profile is read."""

    command: str = ""
    format: Format = "text"
    level: str = "info"
    log_format: str = "text"
    quiet: bool = False
    colour: bool = True
    project_dir: Path = Path()
    mask: Mask = str
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)

    @property
    def live(self) -> bool:
        """Whether progress may move on stderr."""
        lively = self.colour and not self.quiet and self.log_format == "text" and self.format == "text"
        return lively and LEVELS[self.level] >= LEVELS["info"] and terminal(self.stderr)

    def result(
        self,
        exit_code: int,
        lines: Sequence[str] = (),
        *,
        problems: Sequence[Problem] = (),
        problems_are_the_result: bool = False,
        **fields: object,
    ) -> int:
        """Print what the command found, in the format that was asked for; returns `exit_code`.

        `lines` are the text; `fields` the same for programs. Problems go to stderr, unless they are the result; those
        with a place come in the order of files and lines.
        """
        problems = sorted(problems, key=lambda one: (one.mark is None, one.mark or Mark("", 0, 0)))
        if self.format == "json":
            head = {"schema_version": SCHEMA_VERSION, "cdp_version": cdp.__version__, "command": self.command}
            body = {"exit_code": exit_code, "problems": [problem_fields(one) for one in problems], **fields}
            text = json.dumps(jsonable(head | body), ensure_ascii=False, indent=2)
            self._write(self.stdout, _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", self.mask(text)))
        else:
            for line in lines:
                self._write(self.stdout, clean(self.mask(line)))
        if self.format == "github":
            self._annotate(problems)
        elif self.format == "text" or not problems_are_the_result:
            stream = self.stdout if problems_are_the_result and self.format == "text" else self.stderr
            for problem in problems:
                self._problem(problem, stream)
        self._summarise(exit_code, lines, problems)
        return exit_code

    def failed(self, error: CdpError) -> int:
        """Print an error that ended the command; returns its exit code."""
        problems = problems_of(error)
        code = self.result(error.exit_code, problems=problems)
        if self.format != "json" and not self.quiet:
            codes = sorted({one.code for one in problems})
            count = f"{len(problems)} problems; " if len(problems) > 1 else ""
            self._write(self.stderr, self.style(f"{count}`cdp explain {codes[0]}` says more", "dim", self.stderr))
        return code

    def log(self, message: str, level: str = "info", **fields: object) -> None:
        """One line of the log, on stderr."""
        if LEVELS[level] < LEVELS[self.level] or (self.quiet and LEVELS[level] < LEVELS["warning"]):
            return
        if self.log_format == "json":
            from datetime import UTC, datetime

            entry = {"at": datetime.now(UTC), "level": level, "message": message, **fields}
            text = json.dumps(jsonable(entry), ensure_ascii=False)
            self._write(self.stderr, _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", self.mask(text)))
            return
        text = clean(self.mask(message))
        self._write(self.stderr, self.style(text, level, self.stderr) if level in _COLOURS else text)

    def ask(self, question: str) -> None:
        """A question to the terminal; the answer is read by who asks."""
        self._write(self.stderr, clean(self.mask(question)), end="")

    def style(self, text: str, style: str, stream: TextIO) -> str:
        """`text`, which is clean already, in a colour where the stream shows colours."""
        return f"\x1b[{_COLOURS[style]}m{text}\x1b[0m" if self.colour and terminal(stream) else text

    def _problem(self, problem: Problem, stream: TextIO) -> None:
        text = clean(self.mask(str(problem)))
        first, newline, rest = text.partition("\n")
        self._write(stream, self.style(first, problem.severity, stream) + newline + rest)

    def _annotate(self, problems: Sequence[Problem]) -> None:
        """Lines that GitHub shows beside the code: paths from the root of the repository."""
        for problem in problems:
            place = ""
            if problem.mark:
                path = self.project_dir.resolve() / problem.mark.file
                root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
                file = path.relative_to(root) if path.is_relative_to(root) else path
                place = f"file={_property(self.mask(str(file)))},line={problem.mark.line},col={problem.mark.column},"
            text = problem.message + (f"\nhint: {problem.hint}" if problem.hint else "")
            said = clean(self.mask(text)).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
            self._write(self.stdout, f"::{problem.severity} {place}title={problem.code}::{said}")

    def _summarise(self, exit_code: int, lines: Sequence[str], problems: Sequence[Problem]) -> None:
        path = os.environ.get("GITHUB_STEP_SUMMARY")
        if self.format != "github" or not path:
            return
        body = [*lines, *(str(one) for one in problems)]
        text = "\n".join(clean(self.mask(line)) for line in body).replace("```", "'''")
        try:
            with open(path, "a", encoding="utf-8", errors="replace") as summary:
                summary.write(f"### cdp {self.command}: exit {exit_code}\n\n```\n{text}\n```\n")
        except OSError as error:
            self.log(f"the step summary cannot be written: {error.strerror}", "warning")

    def _write(self, stream: TextIO, text: str, end: str = "\n") -> None:
        try:
            stream.write(text + end)
            stream.flush()
        except BrokenPipeError:
            silence(stream)
        except (ValueError, RuntimeError):  # closed already, or a signal came while this very stream was written
            pass


def silence(stream: TextIO) -> None:
    """The reader of `stream` has gone: what follows goes nowhere, at the interpreter's exit too."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def _property(text: str) -> str:
    escaped = clean(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return escaped.replace(":", "%3A").replace(",", "%2C")


def counted(number: int, noun: str) -> str:
    """`1 problem`, `2,000 problems`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
