"""The example shop, spoiled in one place or several, and what `validate` says of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdp.errors import Problem, ProjectError
from cdp.flow import Settings, check
from cdp.project.reader import Map, Seq, read

SHOP = Path(__file__).resolve().parents[2] / "examples" / "shop"
FILES = tuple(path.relative_to(SHOP).as_posix() for path in sorted(SHOP.rglob("*.yml")))
PROJECT = tuple(name for name in FILES if name not in ("profiles.yml", "sources.lock.yml"))


@dataclass(frozen=True)
class Word:
    """A key, or a text value, of a file: where it stands (line and column from 1) and below which keys."""

    file: str
    line: int
    column: int
    text: str
    parents: tuple[str, ...]  # of a value: its own key is the last of them
    is_key: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column} {'.'.join(self.parents)} {self.text!r}"

    @property
    def path(self) -> str:
        """The keys above it, joined by dots; list positions are left out."""
        return ".".join(part for part in self.parents if not part.isdigit())


def words(file: str) -> list[Word]:
    """All keys and text values of a file that stand on one line as they are meant."""
    lines = (SHOP / file).read_text(encoding="utf-8").split("\n")
    found = []
    for word in _walk(read(SHOP / file, root=SHOP).data, file, ()):
        line, start = lines[word.line - 1], word.column - 1
        quoted = line[start : start + 1] in ("'", '"')
        if line[start + quoted : start + quoted + len(word.text)] == word.text and word.text:
            found.append(word)
    return found


def _walk(node: Any, file: str, parents: tuple[str, ...]) -> Iterator[Word]:
    places: Any = node.values_at if isinstance(node, Map | Seq) else {}
    for key in node if isinstance(node, Map) else range(len(node)) if isinstance(node, Seq) else ():
        inner = (*parents, str(key))
        if isinstance(node, Map):
            mark = node.keys_at[key]
            yield Word(file, mark.line, mark.column, key, parents, True)
        value = node[key]
        if isinstance(value, str):
            yield Word(file, places[key].line, places[key].column, value, inner, False)
        yield from _walk(value, file, inner)


def misspelt(word: str, number: int, taken: frozenset[str] = frozenset()) -> str:
    """The word with one letter left out, doubled or wrong; `number` picks where and which."""
    for turn in range(number, number + 12):
        at = 1 + turn % max(1, len(word) - 1)
        some = (word[:at] + word[at + 1 :], word[:at] + word[at - 1] + word[at:], word[:at] + "x" + word[at + 1 :])
        new = some[turn % 3] if len(word) > 3 else some[1 + turn % 2]
        if new != word and new not in taken:
            return new
    raise AssertionError(f"no typo of {word}")


class Spoiled:
    """A copy of the shop in a folder; what is changed stays changed until `restore`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for file in FILES:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(SHOP / file, folder / file)

    def replace(self, file: str, old: str, new: str) -> int:
        """Put `new` in the place of the first `old`; the line it begins in."""
        text = (self.folder / file).read_text(encoding="utf-8")
        assert old in text, f"{file} holds no {old!r}"
        (self.folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
        return text[: text.index(old)].count("\n") + 1

    def respell(self, word: Word, new: str) -> None:
        """Write a word of the original otherwise."""
        lines = (self.folder / word.file).read_text(encoding="utf-8").split("\n")
        line, start = lines[word.line - 1], word.column - 1
        start += line[start : start + 1] in ("'", '"')
        lines[word.line - 1] = line[:start] + new + line[start + len(word.text) :]
        (self.folder / word.file).write_text("\n".join(lines), encoding="utf-8")

    def write(self, file: str, content: str | bytes) -> None:
        """A file with this content."""
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)

    def restore(self, file: str) -> None:
        """The file as the example has it."""
        shutil.copyfile(SHOP / file, self.folder / file)

    def problems(self) -> tuple[Problem, ...]:
        """What `validate` says: () where nothing is wrong. Anything but a ProjectError goes through."""
        try:
            return check(Settings(project_dir=self.folder)).problems
        except ProjectError as error:
            assert error.exit_code == 2
            assert any(problem.severity == "error" for problem in error.problems)
            return error.problems

    def errors(self) -> list[Problem]:
        """The problems that are no mere warnings; each has a code, a reason and a place in a file of the project."""
        found = [problem for problem in self.problems() if problem.severity == "error"]
        for problem in found:
            assert problem.code.startswith("CDP") and problem.message, problem
            assert problem.mark is not None, problem
            assert problem.mark.line >= 1 and problem.mark.column >= 1, problem
            assert (self.folder / problem.mark.file).is_file(), problem
            assert str(problem).startswith(f"{problem.mark.file}:{problem.mark.line}:{problem.mark.column}: CDP"), (
                problem
            )
        return found
