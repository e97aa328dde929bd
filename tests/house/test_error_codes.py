"""Every error code has its entry, and every entry its code."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from cdp.cli.explain import CODES, error_codes

ROOT = Path(__file__).resolve().parents[2]


def used() -> dict[str, str]:
    """The codes in the sources, with the first file that has each."""
    found: dict[str, str] = {}
    for folder in ("cdp", "destinations", "models"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".yml", ".jinja") and path != CODES and "_shipped" not in path.parts:
                for code in re.findall(r"\bCDP\d{3}\b", path.read_text(encoding="utf-8")):
                    found.setdefault(code, str(path.relative_to(ROOT)))
    return found


def test_every_code_in_use_is_explained() -> None:
    explained = error_codes()
    assert {code: file for code, file in used().items() if code not in explained} == {}


def test_every_explained_code_is_in_use() -> None:
    assert sorted(set(error_codes()) - set(used())) == []


def test_an_entry_has_a_title_a_cause_and_a_way_out() -> None:
    for code, entry in error_codes().items():
        assert set(entry) == {"title", "cause", "way_out"}, code
        assert all(isinstance(text, str) and text.strip() for text in entry.values()), code
        assert re.fullmatch(r"CDP[1-5]\d\d", code)


def test_no_code_stands_twice() -> None:
    codes = re.findall(r"^(CDP\d{3}):", CODES.read_text(encoding="utf-8"), re.MULTILINE)
    assert codes == sorted(set(codes))
    assert codes == list(yaml.safe_load(CODES.read_text(encoding="utf-8")))
