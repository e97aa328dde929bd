"""What a user types, and what they are told when it is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

import cdp as package
from cdp.cli.main import split
from cdp.cli.options import Options, moment, seconds, variables
from cdp.errors import ProjectError
from tests.cli.conftest import Call


def test_the_version_is_one_line(cdp: Call) -> None:
    assert cdp("--version").out == f"cdp {package.__version__}\n"


def test_help_lists_every_command_and_exit_code(cdp: Call) -> None:
    said = cdp("--help")
    assert said.code == 0
    for word in ("init", "validate", "explain", "--project-dir", "CDP_TARGET", "130", "guard"):
        assert word in said.out


def test_no_command_is_a_mistake_and_shows_the_help_on_stderr(cdp: Call) -> None:
    said = cdp()
    assert said.code == 2
    assert said.out == ""
    assert "Commands:" in said.err
    assert "CDP180: no command was given" in said.err


def test_a_mistyped_command_is_told_its_neighbour(cdp: Call) -> None:
    said = cdp("biuld")
    assert said.code == 2
    assert said.err.splitlines()[:2] == [
        "CDP180: there is no command `biuld`",
        "  hint: did you mean `cdp build`? `cdp --help` lists the commands",
    ]


def test_an_unknown_option_is_told_in_our_words(cdp: Call) -> None:
    said = cdp("explain", "--targt", "dev")
    assert said.code == 2
    assert said.err.startswith("CDP181: No such option: --targt")
    assert "--target" in said.err
    assert "`cdp explain --help` lists the options" in said.err


def test_a_missing_argument_is_told_in_our_words(cdp: Call) -> None:
    said = cdp("preview")
    assert said.code == 2
    assert said.err.startswith("CDP181: Missing argument")


@pytest.mark.parametrize("name", ["plan", "apply", "test", "why", "erase", "serve", "state"])
def test_a_command_of_a_later_version_says_so(cdp: Call, name: str) -> None:
    said = cdp(name, "--whatever", "it takes")
    assert said.code == 2
    assert said.err.startswith(f"CDP190: `cdp {name}` is not in this version of cdp\n")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--output", "jsno"], "CDP182: --output cannot be `jsno`\n  hint: did you mean `json`?"),
        (["--log-level", "loud"], "CDP182: --log-level cannot be `loud`\n  hint: one of: debug, info, warning, error"),
        (["--wait", "soon"], "CDP182: --wait is no duration: `soon`\n  hint: write 30s, 10m or 2h"),
        (["--vars", "{a: 1, a: 2}"], "--vars:1:8: CDP103: the key `a` stands twice in this map"),
    ],
)
def test_a_value_that_cannot_be_read_is_shown_with_what_would_do(cdp: Call, argv: list[str], message: str) -> None:
    said = cdp("explain", *argv)
    assert said.code == 2
    assert said.err.startswith(message)


def test_shared_options_stand_before_or_after_the_command(cdp: Call) -> None:
    before = cdp("--output", "json", "-q", "-t", "dev", "explain", "CDP182")
    after = cdp("explain", "CDP182", "--output=json", "-q", "--target=dev")
    assert before == after
    assert before.document["code"] == "CDP182"


def test_the_name_is_found_behind_options_that_take_a_value() -> None:
    assert split(["-t", "run", "--vars", "{build: 1}", "sync", "-s", "x"]) == (
        ["-t", "run", "--vars", "{build: 1}"],
        "sync",
        ["-s", "x"],
    )
    assert split(["--output=json", "-q", "run"]) == (["--output=json", "-q"], "run", [])
    assert split(["--quiet"]) == (["--quiet"], None, [])


def test_mistakes_of_the_command_line_come_in_the_format_asked_for(cdp: Call) -> None:
    said = cdp("explain", "--output", "json", "--nope").document
    assert said["exit_code"] == 2
    assert said["schema_version"] == 1
    assert said["command"] == "explain"
    assert [problem["code"] for problem in said["problems"]] == ["CDP181"]
    assert cdp("biuld", "--output=github").out.startswith("::error title=CDP180::there is no command `biuld`%0Ahint: ")


def test_a_point_in_time_is_utc_unless_it_says_otherwise() -> None:
    assert moment("--as-of", "2026-03-02") == datetime(2026, 3, 2, tzinfo=UTC)
    assert moment("--as-of", "2026-03-02T06:00:00Z") == datetime(2026, 3, 2, 6, tzinfo=UTC)
    assert moment("--as-of", "2026-03-02T06:00:00+02:00") == datetime(2026, 3, 2, 4, tzinfo=UTC)
    assert moment("--as-of", None) is None
    with pytest.raises(ProjectError, match="CDP182: --as-of is no point in time: `yesterday`"):
        moment("--as-of", "yesterday")


def test_durations_are_seconds() -> None:
    assert [seconds("--wait", text) for text in ("30s", "10m", "2h", "1d")] == [30, 600, 7200, 86_400]


def test_vars_are_yaml_1_2() -> None:
    assert variables("{country: [NO, FR], top: 10, at: '21:30'}") == {"country": ["NO", "FR"], "top": 10, "at": "21:30"}
    assert variables(None) == {}


def test_selections_are_words() -> None:
    options = Options.of({"select": ["a b", "+sync:crm"], "exclude": [], "output": "text", **LEVELS})
    assert options.select == ("a", "b", "+sync:crm")


def test_the_environment_gives_what_the_command_line_does_not(
    cdp: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDP_PROJECT_DIR", str(tmp_path))
    made = cdp("init")
    assert made.code == 0
    assert (tmp_path / "cdp_project.yml").is_file()
    other = tmp_path / "other"
    cdp("init", "--project-dir", str(other))
    assert (other / "cdp_project.yml").is_file()


LEVELS = {"log_level": "info", "log_format": "text"}
