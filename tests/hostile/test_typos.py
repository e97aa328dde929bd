"""One letter wrong: the place is that letter's word, and the hint names the word that was meant."""

from __future__ import annotations

import re

import pytest

from cdp.project.grammar import OPTIONS, TESTS
from tests.hostile.shop import PROJECT, Spoiled, Word, misspelt, words

GRAMMAR = {*OPTIONS, *(option for some in OPTIONS.values() for option in some), *TESTS, "ref", "starts_with", "to"}

# below these stand names that the user gives, not keys of the language
_NAMES = re.compile(
    r"(sources|entities|audiences|syncs|policies|traits|traits\.\w+|vars|.*\.(columns|ids|ids\.\w+|relations|by"
    r"|identifiers|attributes|tolerance|object)|syncs\.\w+\.(fields|match))\Z"
)
_CONDITION = re.compile(r"(\.|\A)(where|known|when)(\.|\Z)")
_MEASURED = re.compile(r"\.(sum|avg|min|max|distinct|first|last)\Z")

# values that name something of the project, or are one of a few words
_REFERENCES = re.compile(
    r".*(\.of|\.of\.entity|\.(all|any|not|where)\.(in|not_in)|\.has|\.ref|\.exclude|\.limit\.by|\.from\.audience|\.after|\.pick|\.type|\.mode"
    r"|\.on_leave|\.nulls|\.key|\.time|\.loaded_at|\.to|\.match|\.spec|attributes\.\w+\.from|did\.from|\.destination"
    r"|relations\.household_subscriptions|\.timezone|\.by\.\w+|\.anonymous)\Z"
    r"|traits\.\w+\.\w+\.(sum|count|avg|min|max|median|distinct|most_frequent|least_frequent|list|first|last|exists)\Z"
    r"|syncs\.\w+\.(fields\.\w+|fields\.\w+\.(column|object\.\w+)|match\.\w+|diff\.ignore)\Z"
)


def is_language(word: Word) -> bool:
    """Whether a key belongs to the language (and is not a name that somebody gave)."""
    if _NAMES.fullmatch(word.path) or _MEASURED.search(word.path):
        return False
    return word.text in GRAMMAR if _CONDITION.search(word.path) else True


def is_reference(word: Word) -> bool:
    """Whether a text value names something that must be there."""
    free = word.path.endswith((".during.to", ".channel", ".to.object"))
    return bool(_REFERENCES.fullmatch(word.path)) and not free


def last_part(text: str) -> tuple[str, str]:
    """A path as what leads to its last name, and that name: (`orders.`, `amount`); an order's ` desc` is cut off."""
    name = text.split(" ")[0]
    start = name.rfind(".") + 1
    return name[:start], name[start:]


@pytest.mark.slow
@pytest.mark.parametrize("file", PROJECT)
def test_a_misspelt_key_is_found_at_its_place_and_named(file: str, shop: Spoiled) -> None:
    keys = [word for word in words(file) if word.is_key and is_language(word)]
    assert keys
    unnamed, alone = [], 0
    for number, word in enumerate(keys):
        shop.respell(word, misspelt(word.text, number, frozenset(GRAMMAR)))
        found = shop.errors()
        shop.restore(file)
        here = [
            p for p in found if p.mark and (p.mark.file, p.mark.line, p.mark.column) == (file, word.line, word.column)
        ]
        assert here, (str(word), [str(problem) for problem in found])
        alone += len(found) == 1
        if not any((problem.hint or "").startswith(f"did you mean `{word.text}`?") for problem in here):
            unnamed.append((str(word), here[0].hint))
    assert len(unnamed) <= len(keys) / 10, unnamed
    assert alone >= len(keys) * 0.85, f"{len(keys) - alone} of {len(keys)} typos are told more than once"


@pytest.mark.slow
@pytest.mark.parametrize("file", [file for file in PROJECT if file != "cdp_project.yml"])
def test_a_misspelt_reference_is_found_in_its_line_and_named(file: str, shop: Spoiled) -> None:
    values = [word for word in words(file) if not word.is_key and is_reference(word)]
    assert values
    unnamed = []
    for number, word in enumerate(values):
        before, name = last_part(word.text)
        if before == "web.":  # a property of a call may have any name, but a source may not
            before, name = "", "web"
        shop.respell(word, word.text.replace(before + name, before + misspelt(name, number), 1))
        found = shop.errors()
        shop.restore(file)
        here = [
            problem for problem in found if problem.mark and (problem.mark.file, problem.mark.line) == (file, word.line)
        ]
        assert here, (str(word), [str(problem) for problem in found])
        if not any(f"did you mean `{name}`?" in (problem.hint or "") for problem in here):
            unnamed.append((str(word), here[0].message, here[0].hint))
    assert len(unnamed) <= len(values) / 10, unnamed
