"""What is read of a source: which columns, in which types, and whose each row is.

`src_<node>` holds a source's rows read once: filtered, typed, one row per key, none from the future. `rows_<node>` adds the ids
of resolved entities, found by the row's identifiers.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from cdp.compile.render import call, text
from cdp.compile.typed import Typed, as_text, cast, read_as
from cdp.compile.windows import Clock
from cdp.errors import Mark
from cdp.project.model import Source
from cdp.project.reading import Reading, key_mark, value_mark
from cdp.project.schema import SEGMENT, ColumnRef, Node, Schema, snake
from cdp.project.snippet import ColumnUse, SnippetErrors, expression, resolve
from cdp.project.snippet_types import safe_arithmetic, type_of
from cdp.project.tongue import Tongue
from cdp.project.words import NAME, RESERVED


def slug(name: str) -> str:
    """A plain name made of any."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40] or "x"


def digest(*parts: str) -> str:
    """Twelve hex digits of what is said."""
    return hashlib.md5("\x1f".join(parts).encode(), usedforsecurity=False).hexdigest()[:12]


def number_of(entity: str) -> str:
    """The column of an entity's number within a build; no user's name can begin so."""
    return f"_no_{entity}"


@dataclass
class Rows:
    """The columns that are needed of one node's source; filled while conditions are lowered."""

    node: Node
    schema: Schema
    reading: Reading
    clock: Clock
    columns: dict[str, Typed] = field(default_factory=dict)  # name in src_/rows_ -> raw tree and type
    owners: set[str] = field(default_factory=set)  # entities whose id is asked for
    roles: set[str] = field(default_factory=set)
    keyed: bool = False  # somebody asks for row_key
    _names: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _warned: set[str] = field(default_factory=set)
    _open: list[str] = field(default_factory=list)

    @property
    def source(self) -> Source:
        """The source behind it."""
        assert self.node.source is not None
        return self.node.source

    # ------------------------------------------------------------------------------------------ columns by name
    def column(self, ref: ColumnRef, mark: Mark | None) -> tuple[str, Typed]:
        """The name under which a value stands in `rows_`, and how it is typed there (its tree is not to be used)."""
        key = (ref.kind, ref.name, ref.keys)
        if key in self._names:
            name = self._names[key]
            return name, self.columns[name]
        value = self._value(ref, mark)
        name = f"c_{slug('_'.join([ref.name, *ref.keys]))}"
        if name in self.columns:
            name = f"{name[:40]}_{digest(ref.kind, ref.name, *ref.keys)}"
        self.columns[name] = value
        self._names[key] = name
        return name, value

    def _value(self, ref: ColumnRef, mark: Mark | None) -> Typed:
        if ref.kind == "property":
            return self._leaf(self._property(), ref.name, *ref.keys)
        value = self.raw(ref.name, mark)
        if ref.keys:
            return self._leaf(as_text(value), *ref.keys)
        return Typed(as_text(value), None, zone=self.source.timezone) if value.type is None else value

    def _leaf(self, document: exp.Expr, *keys: str) -> Typed:
        return Typed(call("cdp_json_text", document, *map(text, keys)), "json", True, self.source.timezone)

    def _property(self) -> exp.Expr:
        """Where bare names of a Segment row stand: traits on identify and group rows, else properties."""
        parts = {name: self._envelope(name) for name in ("type", "traits", "properties")}
        if parts["traits"] is None or parts["type"] is None:
            return parts["properties"] or exp.null()
        special = exp.In(this=parts["type"], expressions=[text("identify"), text("group")])
        return exp.Case().when(special, parts["traits"]).else_(parts["properties"] or exp.null())

    def _envelope(self, name: str) -> exp.Expr | None:
        spelled = self.schema.envelope(self.node, name)
        return self.raw(spelled, None).tree if spelled else None

    def raw(self, name: str, mark: Mark | None) -> Typed:
        """A column of the source as the language reads it, over the source's own columns."""
        source = self.source
        told, info = source.told(name)
        if info is not None and info.sql is not None:
            return self._computed(told)
        known = self.schema.project.lock.get(source.name, {}).get(name)
        if source.file is not None and source.read.text:
            known = "text"
        value = self._native(exp.column(exp.to_identifier(name, quoted=self._is_exact(name))), known)
        wanted = info.type if info is not None else None
        if wanted is None and self.node.segment:
            wanted = SEGMENT.get(snake(name))  # type: ignore[assignment]
        if wanted is None or (wanted == value.type and not (info and info.format)):
            if (
                known is None
                and name not in self._warned
                and not self._open
                and self.source.name in self.schema.project.sources
            ):
                self._warned.add(name)
                self.reading.problem(
                    "CDP116", f"nobody told the type of `{name}` of {self.node.name}", mark,
                    "it is read by a safe cast; run cdp sources freeze", severity="warning",
                )  # fmt: skip
            if value.type is None and name in (source.time, source.loaded_at):  # what it is used for tells its type
                return Typed(read_as(value, "timestamp", self.clock.zone.key), "timestamp")
            return value
        if info is not None and info.format:
            plain = as_text(value)
            if wanted == "date":
                return Typed(call("cdp_try_date_format", plain, text(info.format)), "date")
            return Typed(call("cdp_try_timestamp_format", plain, text(info.format), text(source.timezone)), "timestamp")
        zone = (
            source.timezone if value.type == "text" else self.clock.zone.key
        )  # a date is midnight in the project's zone
        return Typed(read_as(value, wanted, zone), wanted)

    def _is_exact(self, name: str) -> bool:
        """Whether a column must be quoted. Where nobody told how the catalogue spells a plain word, it folds as the
        engine likes; a file has the spelling that it is asked for."""
        locked = self.schema.project.lock.get(self.source.name)
        plain = NAME.match(name) is not None and not any(name in words for words in RESERVED.values())
        return not plain or self.source.file is not None or (locked is not None and name in locked)

    def _native(self, tree: exp.Expr, known: str | None) -> Typed:
        """A column as the catalogue types it, brought into the language's types."""
        if known is None or known == "other":
            return Typed(tree, None, zone=self.source.timezone)
        if known == "text":
            return Typed(self._cleaned(tree), "text")
        if known == "timestamptz":
            return Typed(call("cdp_utc_of_tz", tree), "timestamp")
        if known == "timestamp":
            naive = cast(tree, "timestamp")
            zone = self.source.timezone
            return Typed(naive if zone == "UTC" else call("cdp_utc", naive, text(zone)), "timestamp")
        if known in ("json", "list"):
            return Typed(exp.cast(exp.cast(tree, "JSON"), "TEXT"), known)
        if known in ("bool", "date"):
            return Typed(tree, known)
        return Typed(cast(tree, known), known)

    def _cleaned(self, tree: exp.Expr) -> exp.Expr:
        """Texts of files (and of tables that say `read:`): trimmed, the words for nothing made NULL."""
        source = self.source
        if source.file is None and "read" not in source.model_fields_set:
            return tree
        read, result = source.read, tree
        if read.trim:
            result = exp.Trim(this=result)
        if read.empty_as_null:
            result = exp.Nullif(this=result, expression=text(""))
        for word in read.null_values:
            result = exp.Nullif(this=result, expression=text(word))
        return result

    def _computed(self, name: str) -> Typed:
        info = self.source.columns[name]
        columns = self.source.origin.get("columns", {}) if self.source.origin is not None else {}
        mark = value_mark(columns.get(name), "sql") or key_mark(columns, name)
        if name in self._open:
            self.reading.problem("CDP114", f"column `{name}` of {self.node.name} is computed from itself", mark)
            return Typed(exp.null(), info.type)
        self._open.append(name)
        value = self.snippet(info.sql or "", mark)
        self._open.pop()
        if info.type is not None and info.type != value.type:
            return Typed(read_as(value, info.type, self.source.timezone), info.type)
        return value

    # ------------------------------------------------------------------------------------------ snippets over raw columns
    def snippet(self, sql: str, mark: Mark | None, *, boolean: bool = False, tongue: Tongue | None = None) -> Typed:
        """A user's expression over the row's own columns; mistakes are noted."""
        kinds: dict[str, str | None] = {}

        def column(use: ColumnUse) -> exp.Expr | None:
            if use.name == "as_of" and len(use.path) == 1:
                kinds["as_of"] = "timestamp"
                return self.clock.literal()
            spelled = self._spelled(use, mark)
            if spelled is None:
                return exp.null()
            value = self.raw(spelled, mark)
            tree = exp.cast(value.tree, "TEXT") if value.type is None else value.tree
            kinds[str(use)] = value.type or "text"
            return tree

        tongue = tongue or self.schema.project.tongue
        return lower_snippet(sql, tongue, mark, self.reading, column, kinds, boolean=boolean)

    def _spelled(self, use: ColumnUse, mark: Mark | None) -> str | None:
        name = use.name
        if len(use.path) > 1 and use.path[0] != "row":
            self.reading.problem(
                "CDP112", f"`{use}` is no column of the row", mark, "expressions see the row's own columns only"
            )
            return None
        spelled = self.schema.envelope(self.node, name) if self.node.segment else self.node.spelling(name)
        if spelled is not None:
            return spelled
        if self.node.complete:
            self.reading.unknown(
                "CDP112", f"{self.node.name} has no column `{name}`", name, self.node.columns, "columns", mark
            )
            return None
        return name


def lower_snippet(
    sql: str,
    tongue: Tongue,
    mark: Mark | None,
    reading: Reading,
    column: Any,
    kinds: dict[str, str | None],
    *,
    boolean: bool,
) -> Typed:
    """A user's expression with its columns resolved by `column`, which fills in `kinds`; mistakes are noted."""
    try:
        found = expression(sql, tongue.dialect, boolean=boolean)
        resolve(found, column)  # first: learn the types
        inferred = type_of(found.tree, kinds.get)
        safe = safe_arithmetic(found.tree, kinds.get)
    except SnippetErrors as errors:
        note_snippet(errors, mark, reading)
        return Typed(exp.false() if boolean else exp.null(), "bool" if boolean else None)
    tree = resolve(type(found)(safe, found.columns), column)
    return Typed(tree, "bool" if boolean else inferred)


def note_snippet(errors: SnippetErrors, mark: Mark | None, reading: Reading) -> None:
    """Note what is wrong with a snippet, each mistake at its own column where the text stands on one line."""
    if any(problem.code == "CDP110" and problem.mark == mark for problem in reading.problems):
        return  # a template in it failed, so this is not the text that was meant
    for problem in errors.problems:
        place = mark
        if mark is not None:
            lines = reading.lines.get(mark.file, [])
            line = lines[mark.line - 1] if 0 < mark.line <= len(lines) else ""
            quoted = line[mark.column - 1 : mark.column] in ("'", '"')
            if problem.line == 1 and line[mark.column - 1 : mark.column] not in ("|", ">"):
                shift = problem.col - 1 + quoted
                if (
                    "{{" not in line[mark.column - 1 : mark.column - 1 + shift]
                ):  # else the text is not as it was written
                    place = Mark(mark.file, mark.line, mark.column + shift)
        reading.problem(problem.code, problem.message, place, problem.hint, length=problem.length)
