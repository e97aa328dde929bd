"""YAML with positions, read strictly: YAML 1.2 meaning, no tags, no duplicate keys, bounded depth, size and aliases.

libyaml's event stream is turned into plain dicts and lists that remember where they stood. Nothing recursive runs over
a file that has not been measured first: libyaml's own loader dies on 50,000 brackets.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cdp.errors import Mark, Problem, did_you_mean

MAX_BYTES = 2_000_000
MAX_DEPTH = 64
MAX_NODES = 200_000  # after aliases are written out

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # where libyaml counts a line
_LEADING_TAB = re.compile(r" *\t")


class Map(dict[str, Any]):
    """A mapping that knows where it, its keys and its values stand."""

    at: Mark
    keys_at: dict[str, Mark]
    values_at: dict[str, Mark]


class Seq(list[Any]):
    """A list that knows where it and its items stand."""

    at: Mark
    values_at: list[Mark]


@dataclass
class Document:
    """One file: its data (a Map), its lines (for excerpts) and what is wrong with it."""

    file: str
    data: Map
    lines: list[str]
    problems: list[Problem] = field(default_factory=list)

    def problem(self, code: str, message: str, mark: Mark, hint: str | None = None, length: int = 1) -> None:
        """Note a mistake at `mark`."""
        self.problems.append(Problem(code, message, mark, hint, self.line(mark.line), length))

    def line(self, number: int) -> str | None:
        """The text of a line, counted from 1."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else None


class _Refused(Exception):
    """Reading cannot go on in this file."""


def read(path: Path, *, root: Path) -> Document:
    """The file at `path`, named relative to `root` in every mark; mistakes are in `problems`, none is raised."""
    try:
        name = path.relative_to(root).as_posix()
    except ValueError:
        name = str(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        document = _empty(name)
        document.problem("CDP100", f"the file cannot be read: {error.strerror}", Mark(name, 1, 1))
        return document
    return read_bytes(content, name)


def read_bytes(content: bytes, name: str) -> Document:
    """The same for bytes already in hand."""
    document = _empty(name)
    if len(content) > MAX_BYTES:
        document.problem("CDP100", f"the file has {len(content):,} bytes; {MAX_BYTES:,} is the limit", Mark(name, 1, 1))
        return document
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        document.problem(
            "CDP101",
            f"the file is not UTF-8: byte 0x{content[error.start]:02x}",
            Mark(name, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1),
            "save it as UTF-8",
        )
        return document
    document.lines = _LINE_BREAK.split(text)
    for number, line in enumerate(document.lines, 1):
        tab = _LEADING_TAB.match(line)
        if tab:
            document.problem("CDP102", "a tab in the indentation", Mark(name, number, tab.end()), "use blanks")
            return document
    try:
        document.data = _build(text, document)
    except _Refused:
        pass
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(name, at.line + 1, at.column + 1) if at else Mark(name, 1, 1)
        said = " ".join(str(part) for part in (error.context, error.problem) if part)
        document.problem("CDP102", f"this is no YAML: {said}", mark)
    except yaml.YAMLError as error:
        position = getattr(error, "position", 0) or 0
        before = text[:position]
        mark = Mark(name, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        document.problem("CDP102", f"this is no YAML: {getattr(error, 'reason', None) or error}", mark)
    return document


def _empty(name: str) -> Document:
    return Document(name, _new_map(Mark(name, 1, 1)), [])


def _new_map(mark: Mark) -> Map:
    data = Map()
    data.at, data.keys_at, data.values_at = mark, {}, {}
    return data


def _new_seq(mark: Mark) -> Seq:
    data = Seq()
    data.at, data.values_at = mark, []
    return data


def _events(text: str) -> Iterator[Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    yield from yaml.parse(text, Loader=loader)


def _build(text: str, document: Document) -> Map:
    """Walk the events with a stack of our own; raises _Refused where it makes no sense to go on."""
    root: Any = None
    documents = 0
    stack: list[tuple[Map | Seq, list[Any]]] = []  # container, [key, mark of the key] waiting for its value
    anchors: dict[str, tuple[Any, int]] = {}
    open_anchors: list[str | None] = []
    nodes = 0

    def refuse(code: str, message: str, mark: Mark, hint: str | None = None, length: int = 1) -> None:
        document.problem(code, message, mark, hint, length)
        raise _Refused

    def place(value: Any, mark: Mark) -> None:
        nonlocal root
        if not stack:
            root = value
            return
        container, waiting = stack[-1]
        if isinstance(container, Seq):
            container.append(value)
            container.values_at.append(mark)
        elif not waiting:
            waiting[:] = [value, mark]
        else:
            key, key_mark = waiting
            waiting.clear()
            _put(container, key, key_mark, value, mark, document)

    for event in _events(text):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                refuse("CDP102", "a second document in the file", _mark(event, document), "one document per file")
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            mark = _mark(event, document)
            if event.tag is not None:
                refuse("CDP103", f"a tag `{event.tag}`", mark, "tags are not part of the project language")
            if len(stack) >= MAX_DEPTH:
                refuse("CDP102", f"nesting deeper than {MAX_DEPTH}", mark)
            nodes += 1
            stack.append((_new_map(mark) if isinstance(event, yaml.MappingStartEvent) else _new_seq(mark), []))
            open_anchors.append(event.anchor)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            done, _ = stack.pop()
            anchor = open_anchors.pop()
            if anchor is not None:
                anchors[anchor] = (done, _size(done))
            place(done, done.at)
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
            mark = _mark(event, document)
            if event.tag is not None and event.tag != "!":
                refuse("CDP103", f"a tag `{event.tag}`", mark, "tags are not part of the project language")
            value = event.value if event.style else _scalar(event.value)
            if event.anchor is not None:
                anchors[event.anchor] = (value, 1)
            place(value, mark)
        elif isinstance(event, yaml.AliasEvent):
            mark = _mark(event, document)
            anchor = str(event.anchor)
            if anchor not in anchors:
                refuse("CDP103", f"alias `*{anchor}` stands inside its own anchor or before it", mark)
            value, size = anchors[anchor]
            nodes += size
            if nodes > MAX_NODES:
                refuse("CDP103", f"aliases blow the file up to more than {MAX_NODES:,} nodes", mark)
            place(value, mark)
        if nodes > MAX_NODES:
            refuse("CDP102", f"more than {MAX_NODES:,} nodes in the file", _mark(event, document))
    if root is None:
        return document.data
    if not isinstance(root, Map):
        refuse("CDP102", "the file is no mapping", Mark(document.file, 1, 1), "write `key: value` at the top level")
    assert isinstance(root, Map)
    return root


def _mark(event: Any, document: Document) -> Mark:
    return Mark(document.file, event.start_mark.line + 1, event.start_mark.column + 1)


def _size(value: Any) -> int:
    """Nodes below, aliases written out; depth is bounded, and so is the sum (see MAX_NODES)."""
    if isinstance(value, Map):
        return 1 + sum(_size(item) for item in value.values())
    if isinstance(value, Seq):
        return 1 + sum(_size(item) for item in value)
    return 1


def _put(container: Map | Seq, key: Any, key_mark: Mark, value: Any, mark: Mark, document: Document) -> None:
    assert isinstance(container, Map)
    if not isinstance(key, str):
        shown = "true" if key is True else "false" if key is False else "null" if key is None else str(key)[:40]
        document.problem("CDP103", f"the key `{shown}` is no text", key_mark, "put it in quotes", max(1, len(shown)))
        return
    if key in container:
        first = container.keys_at[key]
        document.problem(
            "CDP103",
            f"the key `{key}` stands twice in this map; first at line {first.line}",
            key_mark,
            "a value would be lost: join the two",
            len(key),
        )
        return
    container[key] = value
    container.keys_at[key] = key_mark
    container.values_at[key] = mark


def _scalar(text: str) -> Any:
    """The YAML 1.2 meaning of a plain scalar; a number with a leading zero (a postcode) stays text."""
    if text == "true":
        return True
    if text == "false":
        return False
    if text in ("", "null", "~", "Null", "NULL"):
        return None
    if _INT.match(text) and len(text) < 40:
        return int(text)
    if _FLOAT.match(text) and math.isfinite(float(text)):
        return float(text)
    return text


def rename(data: dict[str, Any], key: str, new: str) -> None:
    """Give one value of a map another key, where it stands."""
    maps: list[dict[str, Any]] = [data]
    if isinstance(data, Map):
        maps += [data.keys_at, data.values_at]
    for found in maps:
        items = {new if name == key else name: value for name, value in found.items()}
        found.clear()
        found.update(items)


def near_key(key: str, known: list[str]) -> str:
    """The hint for an unknown key."""
    near = did_you_mean(key, known)
    listed = ", ".join(known)
    return f"did you mean `{near}`? known here: {listed}" if near else f"known here: {listed}"
