"""`cdp explain`: every code has a cause and a way out."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Call


@pytest.mark.parametrize("word", ["CDP183", "cdp183", "183"])
def test_a_code_is_explained_however_it_is_written(cdp: Call, word: str) -> None:
    said = cdp("explain", word)
    assert said.code == 0
    assert said.out.startswith("CDP183: files are in the way\n\nCause:    ")
    assert "\nWay out:  " in said.out


def test_a_code_as_json_has_its_three_parts(cdp: Call) -> None:
    document = cdp("explain", "CDP183", "--output", "json").document
    assert (document["code"], document["title"]) == ("CDP183", "files are in the way")
    assert document["cause"] and document["way_out"]


def test_without_a_code_all_are_listed_in_order(cdp: Call) -> None:
    lines = cdp("explain").out.splitlines()
    codes = [line.split()[0] for line in lines]
    assert codes == sorted(codes)
    assert "CDP183" in codes


def test_an_unknown_code_is_told_its_neighbour(cdp: Call) -> None:
    said = cdp("explain", "CDP1833")
    assert said.code == 2
    assert said.err.startswith("CDP185: there is no error code `CDP1833`\n  hint: did you mean `CDP183`?")
