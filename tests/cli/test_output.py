"""What reaches the terminal, the log and the program that reads stdout."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from cdp.cli.failures import guarded
from cdp.cli.output import Output, clean, table, terminal
from cdp.cli.plain import jsonable
from cdp.errors import GuardError, Mark, Problem, ProjectError

HOSTILE = [
    "\x1b[31mred", "\x1b]0;title\x07", "\x1b]8;;http://evil\x1b\\link", "\x9b31m", "\x90q", "a\rb", "\x08\x08",
    "\x00", "\x7f", "\u202e gnp.exe", "\u2066x\u2069", "\u200f", "\u061c", "\u2028line", "\x0b\x0c", "\ufeffbom",
]  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(**options: object) -> tuple[Output, io.StringIO, io.StringIO]:
    stdout, stderr = io.StringIO(), io.StringIO()
    return Output(command="test", stdout=stdout, stderr=stderr, **options), stdout, stderr  # type: ignore[arg-type]


@pytest.mark.parametrize("text", HOSTILE)
def test_control_characters_from_data_reach_neither_terminal_nor_log(text: str) -> None:
    problem = Problem("CDP104", f"no trait {text}", Mark("a.yml", 1, 1), hint=text, line=text)
    for format in ("text", "json", "github"):
        out, stdout, stderr = printed(format=format)
        out.result(0, table([(text, 1)]), problems=[problem], rows=[text])
        out.log(text)
        for stream in (stdout, stderr):
            shown = stream.getvalue().replace("\n", "")
            assert clean(shown) == shown
            assert "\x1b" not in shown


@pytest.mark.parametrize("text", HOSTILE)
def test_json_keeps_the_data_as_it_is(text: str) -> None:
    out, stdout, _ = printed(format="json")
    out.result(0, rows=[{"name": text}])
    assert json.loads(stdout.getvalue())["rows"] == [{"name": text}]


def test_secrets_are_masked_wherever_something_is_printed() -> None:
    problem = Problem("CDP301", "login with hunter2 failed", Mark("hunter2.yml", 1, 1), line="pw: hunter2")
    for format in ("text", "json", "github"):
        for log_format in ("text", "json"):
            out, stdout, stderr = printed(
                format=format, log_format=log_format, mask=lambda text: text.replace("hunter2", "***")
            )
            out.result(1, ["hunter2"], problems=[problem], secret="hunter2")
            out.log("hunter2", "warning", more="hunter2")
            assert "hunter2" not in stdout.getvalue() + stderr.getvalue()
            assert "***" in stdout.getvalue()


@pytest.mark.parametrize(
    ("environ", "welcome"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"CI": "true"}, False),
        ({"CI": "false"}, True),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(environ: dict[str, str], welcome: bool) -> None:
    assert terminal(Terminal(), environ) is welcome
    assert terminal(io.StringIO(), environ) is False


def test_a_mistake_is_red_on_a_terminal_and_no_colour_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "CI", "TERM"):
        monkeypatch.delenv(name, raising=False)
    error = ProjectError.of("CDP104", "wrong", hint="do it right")
    for colour, expected in ((True, "\x1b[31mCDP104: wrong\x1b[0m\n  hint: do it right\n"), (False, "CDP104: wrong\n")):
        stderr = Terminal()
        Output(stdout=io.StringIO(), stderr=stderr, colour=colour).failed(error)
        assert stderr.getvalue().startswith(expected)


def test_quiet_leaves_the_result_warnings_and_errors() -> None:
    out, stdout, stderr = printed(quiet=True)
    out.log("a step")
    out.log("careful", "warning")
    out.result(0, ["result"])
    assert (stdout.getvalue(), stderr.getvalue()) == ("result\n", "careful\n")


def test_the_log_is_one_json_object_a_line_when_asked_for() -> None:
    out, _, stderr = printed(log_format="json")
    out.log("first\nsecond", step="customer", rows=3)
    entry = json.loads(stderr.getvalue())
    assert entry.pop("at").endswith("Z")
    assert entry == {"level": "info", "message": "first\nsecond", "step": "customer", "rows": 3}


def test_github_marks_the_line_in_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    out, stdout, _ = printed(format="github", project_dir=tmp_path / "cdp")
    problem = Problem("CDP104", "100% wrong", Mark("a,b.yml", 14, 9), hint="mend it")
    out.result(2, ["the result"], problems=[problem])
    assert stdout.getvalue().splitlines() == [
        "the result",
        "::error file=cdp/a%2Cb.yml,line=14,col=9,title=CDP104::100%25 wrong%0Ahint: mend it",
    ]
    assert "### cdp test: exit 2" in summary.read_text()
    assert "CDP104: 100% wrong" in summary.read_text()


def test_values_are_plain_json_in_every_place() -> None:
    @dataclass(frozen=True)
    class Row:
        at: datetime
        cents: Decimal

    paris = timezone(timedelta(hours=1))
    value = {
        "row": Row(datetime(2026, 3, 2, 1, tzinfo=paris), Decimal("1.50")),
        "days": [date(2026, 3, 2)],
        "ratio": float("nan"),
        "ids": frozenset({"b", "a"}),
        "raw": b"\x01\xff",
        "path": Path("a/b"),
        "flag": True,
    }
    assert jsonable(value) == {
        "row": {"at": "2026-03-02T00:00:00Z", "cents": "1.50"},
        "days": ["2026-03-02"],
        "ratio": None,
        "ids": ["a", "b"],
        "raw": "01ff",
        "path": "a/b",
        "flag": True,
    }
    assert jsonable(datetime(2026, 3, 2, tzinfo=UTC)) == "2026-03-02T00:00:00Z"


def test_tables_are_aligned_and_cells_stay_on_one_line() -> None:
    assert table([("a\nb", 1234, None), ("long name", 5, True)], ("name", "rows", "at"), right=(1,)) == [
        "name        rows  at",
        "a b        1,234  -",
        "long name      5  true",
    ]
    assert table([]) == []


def test_an_unexpected_fault_is_one_message_and_a_traceback_only_for_debug() -> None:
    def work() -> int:
        raise ZeroDivisionError("division by zero")

    for level, traceback in (("info", False), ("debug", True)):
        out, _, stderr = printed(level=level)
        assert guarded(out, work) == 1
        assert "CDP199: a fault in cdp itself: ZeroDivisionError: division by zero" in stderr.getvalue()
        assert ("Traceback" in stderr.getvalue()) is traceback


def test_an_error_gives_its_own_exit_code() -> None:
    def work() -> int:
        raise GuardError("CDP501", "held")

    out, _, stderr = printed()
    assert guarded(out, work) == 3
    assert stderr.getvalue() == "CDP501: held\n`cdp explain CDP501` says more\n"


def test_a_full_disk_is_no_traceback() -> None:
    def work() -> int:
        raise OSError(28, "No space left on device", "target/manifest.json")

    out, _, stderr = printed()
    assert guarded(out, work) == 1
    assert stderr.getvalue().startswith("CDP192: target/manifest.json: No space left on device\n")


def test_a_closed_pipe_is_silent() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    called = subprocess.run(
        [sys.executable, "-m", "cdp.cli", "explain"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert called.returncode in (0, 141)
    assert called.stderr == ""


WAITING = """
import sys, time
from cdp.cli.failures import guarded
from cdp.cli.output import Output
from cdp.cli.signals import end_on_signals, stop_on_signals

def patient():
    with stop_on_signals(lambda said: print(said, file=sys.stderr, flush=True)) as stop:
        print("ready", flush=True)
        while not stop():
            time.sleep(0.01)
        if "twice" in sys.argv:
            time.sleep(30)
        print("finished what was in flight", flush=True)
    return stop.exit_code

def hasty():
    print("ready", flush=True)
    time.sleep(30)
    return 0

end_on_signals()
sys.exit(guarded(Output(), patient if "patient" in sys.argv else hasty))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_with_its_own_exit_code(number: int, code: int) -> None:
    with subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
        assert waiting.stdout is not None and waiting.stderr is not None
        waiting.stdout.readline()
        waiting.send_signal(number)
        said = waiting.stderr.read().decode()
    assert waiting.returncode == code
    assert said.startswith("CDP191: interrupted")
    assert "Traceback" not in said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_lets_a_sync_finish_what_is_in_flight(number: int, code: int) -> None:
    command = [sys.executable, "-c", WAITING, "patient"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
        assert waiting.stdout is not None
        waiting.stdout.readline()
        waiting.send_signal(number)
        assert waiting.stdout.read().decode() == "finished what was in flight\n"
    assert waiting.returncode == code


def test_the_second_signal_ends_at_once() -> None:
    command = [sys.executable, "-c", WAITING, "patient", "twice"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
        assert waiting.stdout is not None and waiting.stderr is not None
        waiting.stdout.readline()
        begun = time.monotonic()
        waiting.send_signal(signal.SIGINT)
        assert b"stopping" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        waiting.wait(timeout=10)
    assert waiting.returncode == 130
    assert time.monotonic() - begun < 10
