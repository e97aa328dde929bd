"""Files that are no YAML, or more than is good: each is refused with a place, none takes the reader along."""

from __future__ import annotations

import pytest

from tests.hostile.shop import PROJECT, SHOP, Spoiled

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)

BYTES = {
    "no UTF-8": (b"audiences:\n  caf\xe9: {of: customer}\n", "CDP101", 2),
    "UTF-16": ("audiences:\n".encode("utf-16"), "CDP101", 1),
    "UTF-16 without its mark": ("audiences: {}\n".encode("utf-16-le"), "CDP102", 1),
    "UTF-32": ("audiences:\n".encode("utf-32"), "CDP101", 1),
    "latin 1 in a comment": (b"# r\xe9gions\naudiences: {}\n", "CDP101", 1),
    "half a character at the end": ("audiences: {} # é".encode()[:-1], "CDP101", 1),
    "an overlong character": (b"audiences: {a\xc0\xaf: 1}\n", "CDP101", 1),
    "half a pair": (b"audiences: {\xed\xa0\x80: 1}\n", "CDP101", 1),
    "NUL": (b"audiences:\n  a: x\0y\n", "CDP102", 2),
    "NUL alone": (b"\0" * 100, "CDP102", 1),
    "ESC": (b"audiences:\n  a: \x1b[31mred\n", "CDP102", 2),
    "BEL in quotes": (b'audiences:\n  "a\x07": 1\n', "CDP102", 2),
    "BOM in the middle": ("audiences:\n  \ufeffa: {of: customer}\n".encode(), "CDP109", 2),
    "a tab in the indentation": (b"audiences:\n\ta:\n\t\tof: customer\n", "CDP102", 2),
    "a tab after blanks": (b"audiences:\n  \ta: 1\n", "CDP102", 2),
    "two documents": (b"audiences: {}\n---\nsyncs: {}\n", "CDP102", 2),
    "a list at the top": (b"- audiences\n", "CDP102", 1),
    "a text at the top": (b"audiences\n", "CDP102", 1),
    "a number at the top": (b"42\n", "CDP102", 1),
    "a key twice": (b"audiences: {}\nsyncs: {}\naudiences: {}\n", "CDP103", 3),
    "a key twice, deep": (b"audiences:\n  a:\n    of: customer\n    of: household\n", "CDP103", 4),
    "a key twice, one in quotes": (b"audiences:\n  a: {of: customer}\n  'a': {of: customer}\n", "CDP103", 3),
    "a number as a key": (b"audiences:\n  1: {of: customer}\n", "CDP103", 2),
    "true as a key": (b"audiences:\n  true: {of: customer}\n", "CDP103", 2),
    "null as a key": (b"audiences:\n  ~: {of: customer}\n", "CDP103", 2),
    "a list as a key": (b"audiences:\n  ? [a, b]\n  : 1\n", "CDP103", 2),
    "a map as a key": (b"audiences:\n  {a: b}: 1\n", "CDP103", 2),
    "a key without an end": (b"audiences:\n  ?\n", "CDP103", 2),
    "a merge": (b"x: &x {of: customer}\naudiences:\n  a:\n    <<: *x\n", "CDP104", 4),
    "a python object": (b"audiences:\n  a: !!python/object/apply:os.system ['true']\n", "CDP103", 2),
    "a python name": (b"audiences: !!python/name:os.system\n", "CDP103", 1),
    "a tag of our own": (b"audiences:\n  a: !env HOME\n", "CDP103", 2),
    "a set": (b"audiences: !!set {a, b}\n", "CDP103", 1),
    "binary": (b"audiences:\n  a: !!binary aGVsbG8=\n", "CDP103", 2),
    "an alias of nothing": (b"audiences:\n  a: *nobody\n", "CDP103", 2),
    "an alias of itself": (b"audiences:\n  a: &a {where: *a}\n", "CDP103", 2),
    "laughs": (LAUGHS.encode(), "CDP103", 6),
    "many brackets": (b"[" * 50_000, "CDP102", 1),
    "many brackets that close": (b"audiences: " + b"[" * 50_000 + b"]" * 50_000, "CDP102", 1),
    "many maps": (b"audiences: " + b"{a: " * 50_000 + b"}" * 50_000, "CDP102", 1),
    "many lists in a row": (b"- " * 50_000, "CDP102", 1),
    "deep blocks": ("".join(" " * n + "a:\n" for n in range(1_200)).encode(), "CDP102", 65),
    "many anchors": (b"x: [" + b", ".join(b"&a%d x" % n for n in range(90_000)) + b"]\n", "CDP104", 1),
    "too many nodes": (b"x: [" + b"a, " * 250_000 + b"]\n", "CDP102", 1),
    "too many bytes": (b"# " + b"x" * 2_100_000, "CDP100", 1),
    "a long key": (b"audiences:\n  " + b"a" * 2_000 + b": {of: customer}\n", "CDP10", 2),
    "a long line": (b"audiences: {a: {of: " + b"customer" * 100_000 + b"}}\n", "CDP112", 1),
    "quotes that don't close": (b'audiences:\n  a: "of\n', "CDP102", 3),
    "a bracket that doesn't close": (b"audiences:\n  a: {of: customer\n", "CDP102", 3),
    "a bracket of the other kind": (b"audiences:\n  a: {of: customer]\n", "CDP102", 2),
    "two colons": (b"audiences:\n  a: of: customer\n", "CDP102", 2),
    "a wrong escape": (b'audiences:\n  a: "\\q"\n', "CDP102", 2),
    "a template without quotes": (b"audiences:\n  a: {of: {{ var('x') }}}\n", "CDP10", 2),
    "a directive": (b"%YAML 3.0\n---\naudiences: {}\n", "CDP102", 1),
    "an unknown directive and a tag": (b"%TAG ! tag:x,2026:\n---\naudiences: !a {}\n", "CDP103", 3),
    "a percent sign": (b"audiences:\n  a: %x\n", "CDP102", 2),
    "an at sign": (b"audiences:\n  a: @x\n", "CDP102", 2),
    "a backtick": (b"audiences:\n  a: `x`\n", "CDP102", 2),
    "outdented": (b"audiences:\n    a:\n      of: customer\n   b: {of: customer}\n", "CDP102", 4),
}  # fmt: skip


@pytest.mark.parametrize("name", BYTES)
def test_a_file_that_is_no_yaml_of_ours_is_refused_with_its_line(name: str, shop: Spoiled) -> None:
    content, code, line = BYTES[name]
    shop.write("extra.yml", content)
    errors = [problem for problem in shop.errors() if problem.mark and problem.mark.file == "extra.yml"]
    assert errors
    assert any(problem.code.startswith(code) and problem.mark and problem.mark.line == line for problem in errors), [
        (problem.code, problem.mark, problem.message[:80]) for problem in errors
    ]


@pytest.mark.parametrize(
    "name", ["BOM", "CRLF", "CR", "no end of line", "NEL and LS in a text", "empty", "a comment", "blank lines"]
)
def test_what_is_harmless_is_read(name: str, shop: Spoiled) -> None:
    plain = (SHOP / "syncs.yml").read_text(encoding="utf-8")
    content = {
        "BOM": "\ufeff" + plain,
        "CRLF": plain.replace("\n", "\r\n"),
        "CR": plain.replace("\n", "\r"),
        "no end of line": plain.rstrip("\n"),
        "NEL and LS in a text": plain.replace("Win back the lapsing", '"Win\u0085back\u2028the\u2029lapsing"'),
        "empty": "",
        "a comment": "# nothing\n",
        "blank lines": "\n\n  \n",
    }[name]
    shop.write("syncs.yml", content)
    assert not shop.problems()


@pytest.mark.parametrize("name", ["BOM", "CRLF", "CR"])
def test_places_hold_whatever_the_lines_end_in(name: str, shop: Spoiled) -> None:
    line = shop.replace("syncs.yml", "on_leave: delete", "on_leave: dilete")
    plain = (shop.folder / "syncs.yml").read_text(encoding="utf-8")
    shop.write(
        "syncs.yml",
        {"BOM": "\ufeff" + plain, "CRLF": plain.replace("\n", "\r\n"), "CR": plain.replace("\n", "\r")}[name],
    )
    [problem] = shop.errors()
    assert problem.mark and (problem.mark.line, problem.mark.column) == (line, 15)
    assert problem.line == "    on_leave: dilete"


@pytest.mark.slow
@pytest.mark.parametrize("file", PROJECT)
def test_a_file_that_breaks_off_anywhere_is_read_or_refused(file: str, shop: Spoiled) -> None:
    content = (SHOP / file).read_bytes()
    refused = 0
    cuts = [len(content) * part // 23 for part in range(1, 23)]
    for cut in [*cuts, *(cut + 1 for cut in cuts)]:
        shop.write(file, content[:cut])
        refused += bool(shop.errors())
    assert refused


@pytest.mark.parametrize("file", PROJECT)
def test_a_file_of_nothing_but_the_first_key_is_no_crash(file: str, shop: Spoiled) -> None:
    first = next(line for line in (SHOP / file).read_text(encoding="utf-8").splitlines() if line and line[0].isalpha())
    for rest in (
        "",
        "\n",
        " []\n",
        " 3\n",
        " {}\n",
        " {a: }\n",
        " {a: 1}\n",
        " {a: []}\n",
        " {a: {}}\n",
        ' {a: {"": }}\n',
    ):
        shop.write(file, first.split(":")[0] + ":" + rest)
        shop.errors()


def test_yaml_by_its_other_ending_is_an_error_with_a_hint(shop: Spoiled) -> None:
    shop.write("more/people.yaml", "audiences: {}\n")
    [problem] = shop.errors()
    assert (problem.code, str(problem.mark)) == ("CDP100", "more/people.yaml:1:1")
    assert "people.yaml" in problem.message and ".yml" in (problem.hint or "")


def test_what_is_ignored_is_not_read(shop: Spoiled) -> None:
    for file in ("venv/x.yml", ".git/x.yml", "target/x.yml", "dbt/y.yaml"):
        shop.write(file, "[")
    shop.replace("cdp_project.yml", "version: 1", "version: 1\nignore: [venv/, dbt]")
    assert not shop.problems()


def test_a_file_that_may_not_be_read_or_is_a_folder_is_told(shop: Spoiled) -> None:
    (shop.folder / "folder.yml").mkdir()
    (shop.folder / "lost.yml").symlink_to(shop.folder / "nowhere.yml")
    [problem] = shop.problems()
    assert (problem.code, problem.mark and problem.mark.file) == ("CDP100", "lost.yml")
