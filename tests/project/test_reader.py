"""Hostile YAML: every fault has a place, nothing recurses, nothing is guessed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.project.reader import MAX_BYTES, Document, Map, Seq, read, read_bytes


def read_text(text: str) -> Document:
    return read_bytes(text.encode(), "a.yml")


def test_data_comes_with_the_places_of_keys_and_values() -> None:
    document = read_text("sources:\n  orders:\n    key: [a, b]\n")
    assert not document.problems
    orders = document.data["sources"]["orders"]
    assert (orders.keys_at["key"].line, orders.keys_at["key"].column) == (3, 5)
    assert (orders.values_at["key"].line, orders.values_at["key"].column) == (3, 10)
    assert isinstance(orders["key"], Seq)
    assert [(mark.line, mark.column) for mark in orders["key"].values_at] == [(3, 11), (3, 14)]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("yes", "yes"), ("NO", "NO"), ("on", "on"), ("True", "True"), ("true", True), ("false", False),
        ("21:30", "21:30"),
        ("2026-01-31", "2026-01-31"), ("012", "012"), ("0x1F", "0x1F"), ("0o7", "0o7"), ("1_000", "1_000"), ("12", 12),
        ("-3", -3), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("~", None), ("null", None), ("", None), ("'12'", "12"),
        ('"true"', "true"), ("=", "="), ("<<", "<<"), (".inf", ".inf"), (".nan", ".nan"), ("01234", "01234"), ("+1", 1),
        ("1e", "1e"), ("é", "é"), ("|\n  a\n  b\n", "a\nb\n"),
    ],
)  # fmt: skip
def test_scalars_mean_what_yaml_1_2_says(written: str, meant: object) -> None:
    document = read_text(f"x: {written}")
    assert not document.problems
    assert document.data["x"] == meant
    assert type(document.data["x"]) is type(meant)


def test_a_number_too_large_for_a_float_stays_text() -> None:
    assert read_text("x: 1e999").data["x"] == "1e999"


FAULTS = [
    ("a: 1\na: 2", "CDP103", 2, 1),
    ("a: {b: 1, b: 2}", "CDP103", 1, 11),
    ("a:\n\tb: 1", "CDP102", 2, 1),
    ("a: !!python/object/apply:os.system ['ls']", "CDP103", 1, 4),
    ("a: !env X", "CDP103", 1, 4),
    ("a: !!str 1", "CDP103", 1, 4),
    ("a: !!binary aGk=", "CDP103", 1, 4),
    ("1: a", "CDP103", 1, 1),
    ("true: a", "CDP103", 1, 1),
    ("null: a", "CDP103", 1, 1),
    ("? [a]\n: b", "CDP103", 1, 3),
    ("? {a: b}\n: c", "CDP103", 1, 3),
    ("- a", "CDP102", 1, 1),
    ("just text", "CDP102", 1, 1),
    ("a: 1\n---\nb: 2", "CDP102", 2, 1),
    ("a: *b", "CDP103", 1, 4),
    ("a: &a [*a]", "CDP103", 1, 8),
    ("a: [1, 2", "CDP102", 2, 1),
    ("a: 'x", "CDP102", 1, 6),
    ("a: b: c", "CDP102", 1, 5),
    ("a: @x", "CDP102", 1, 4),
    ("a: %x", "CDP102", 1, 4),
    ("a: \x07", "CDP102", 1, 4),
    ("{" * 1, "CDP102", 2, 1),
    ("a: {b}: c", "CDP102", 1, 7),
    ("%TAG ! x", "CDP102", 2, 1),
    ("a: x\n b: y", "CDP102", 2, 3),
]


@pytest.mark.parametrize(("text", "code", "line", "column"), FAULTS)
def test_a_fault_has_its_place(text: str, code: str, line: int, column: int) -> None:
    document = read_text(text)
    problem = document.problems[0]
    assert problem.mark is not None
    assert (problem.code, problem.mark.line, problem.mark.column) == (code, line, column), problem.message


def test_all_duplicate_keys_of_a_file_are_told() -> None:
    assert len(read_text("a: 1\na: 2\nb: {c: 1, c: 2}\na: 3").problems) == 3


def test_bytes_that_are_no_utf8_have_a_place() -> None:
    problem = read_bytes(b"a: 1\nb: caf\xe9\n", "a.yml").problems[0]
    assert problem.mark is not None
    assert (problem.code, problem.mark.line, problem.mark.column) == ("CDP101", 2, 7)
    assert read_bytes("a: 1".encode("utf-16"), "a.yml").problems[0].code == "CDP101"
    assert not read_bytes(b"\xef\xbb\xbfa: 1", "a.yml").problems
    assert read_bytes(b"a: \x00", "a.yml").problems[0].code == "CDP102"


def test_an_empty_file_is_an_empty_map() -> None:
    for text in ("", "\n", "# only a comment\n", "---\n", "a:\n"):
        assert not read_text(text).problems
    assert read_text("").data == {}


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 50_000,
        "a: " + "{b: " * 50_000,
        "a: " + "[" * 50_000 + "]" * 50_000,
        "\n".join("  " * level + "a:" for level in range(2_000)),
        "- " * 20_000,
        "a: " + "? " * 20_000,
    ],
)
def test_deep_nesting_is_refused_without_recursion(text: str) -> None:
    started = time.perf_counter()
    assert read_text(text).problems
    assert time.perf_counter() - started < 5


def test_a_bomb_of_aliases_does_not_grow() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    started = time.perf_counter()
    problem = read_text("\n".join(lines)).problems[0]
    assert time.perf_counter() - started < 2
    assert problem.code == "CDP103"
    assert problem.message.startswith("aliases blow the file up")


def test_an_alias_is_the_same_value_again() -> None:
    document = read_text("a: &x {b: 1}\nc: *x\nd: &s text\ne: *s")
    assert not document.problems
    assert document.data["c"] == {"b": 1}
    assert document.data["e"] == "text"
    assert document.data.values_at["c"].line == 2


def test_a_file_too_large_is_not_parsed() -> None:
    started = time.perf_counter()
    assert read_bytes(b"a: " + b"x" * MAX_BYTES, "a.yml").problems[0].code == "CDP100"
    assert time.perf_counter() - started < 0.5


def test_many_nodes_are_bounded() -> None:
    assert read_text("a: [" + "1," * 250_000 + "]").problems[0].code == "CDP102"


def test_a_file_that_cannot_be_read_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    assert read(tmp_path / "none.yml", root=tmp_path).problems[0].code == "CDP100"
    (tmp_path / "folder.yml").mkdir()
    problem = read(tmp_path / "folder.yml", root=tmp_path).problems[0]
    assert problem.code == "CDP100"
    assert problem.mark is not None and problem.mark.file == "folder.yml"


def test_places_count_characters_not_bytes() -> None:
    document = read_text("é: {ü: 1, ü: 2}")
    mark = document.problems[0].mark
    assert mark is not None and (mark.line, mark.column) == (1, 11)


def test_windows_line_ends_do_not_move_places() -> None:
    document = read_text("a: 1\r\nb: {c: 1, c: 2}\r\n")
    mark = document.problems[0].mark
    assert mark is not None and (mark.line, mark.column) == (2, 11)
    assert document.line(2) == "b: {c: 1, c: 2}"


def test_a_place_can_be_shown_after_odd_line_breaks() -> None:
    """YAML 1.1 takes U+0085 and U+2028 for line breaks, an editor does not; a place must not point beyond the file."""
    for odd in ("\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\r"):
        document = read_text(f"a: 'x{odd}y'\nb: {{c: 1, c: 2}}")
        for problem in document.problems:
            assert problem.mark is not None and problem.line is not None, repr(odd)


@settings(max_examples=500, deadline=None)
@given(st.text(st.sampled_from("ab:-?[]{},&*!|>'\"%@`# \n\t\r~1.é\u2028\x85\x00\ud7ff") | st.characters(), max_size=60))
def test_no_text_makes_the_reader_stumble(text: str) -> None:
    document = read_bytes(text.encode("utf-8", "replace"), "a.yml")
    assert isinstance(document.data, Map)
    for problem in document.problems:
        assert problem.mark is not None and problem.mark.line >= 1 and problem.mark.column >= 1
        assert str(problem)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_make_the_reader_stumble(content: bytes) -> None:
    assert isinstance(read_bytes(content, "a.yml"), Document)
