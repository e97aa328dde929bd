"""A source ► `tmp_src_<node>`: its rows read once, typed, filtered, one per key, none from the future."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from cdp.compile.plan import Script
from cdp.compile.render import Renderer, call, text
from cdp.compile.rows import Rows
from cdp.compile.typed import Typed, as_text, both, read_as
from cdp.errors import CompileError, Mark
from cdp.project.model import Source
from cdp.project.reading import Reading, value_mark
from cdp.project.schema import SEGMENT, Schema
from cdp.project.snippet import SnippetErrors, query, safe_arithmetic
from cdp.project.tongue import picked

_TABLE_PART = re.compile(r"[\w $@#-]{1,200}\Z")


@dataclass(frozen=True)
class SourceParts:
    """What is read of a source: our columns over its own, and the columns that hold raw identifiers.

    `identifiers` maps an entity (or role) to (identifier type, column), strongest first.
    """

    relation: exp.Expr
    columns: dict[str, exp.Expr]
    where: exp.Expr  # over the source's columns
    kept: exp.Expr  # over ours
    key: exp.Expr | None
    loaded_at: exp.Expr
    identifiers: dict[str, tuple[tuple[str, str], ...]]
    files: bool


def source_parts(rows: Rows, resolved: set[str], schema: Schema) -> SourceParts:
    """The parts of a source's SELECT; mistakes are noted. `resolved`: entities whose identifiers are wanted."""
    source, node = rows.source, rows.node
    columns: dict[str, exp.Expr] = {}
    key = _key(rows)
    at = _moment(rows, node.time, "time")
    columns["row_at"] = at if at is not None else exp.cast(exp.null(), "TIMESTAMP")
    identifiers: dict[str, tuple[tuple[str, str], ...]] = {}
    for entity in node.ids:
        _ids(rows, entity, entity, node.ids[entity], resolved, columns, identifiers, schema)
    for role, (entity, ids) in node.roles.items():
        if role in rows.roles:
            _ids(rows, f"rel_{role}", entity, ids, resolved | {entity}, columns, identifiers, schema)
    if node.entity is not None and node.entity.from_ is not None:
        columns[f"{node.entity.name}_id"] = key if key is not None else exp.cast(exp.null(), "TEXT")
    columns.update({name: value.tree for name, value in rows.columns.items()})
    columns = {"row_key": key if key is not None else _hash(columns), **columns}
    kept: list[exp.Expr] = []
    if at is not None:
        early = exp.LT(this=exp.column("row_at"), expression=rows.clock.literal())
        kept.append(exp.or_(exp.Is(this=exp.column("row_at"), expression=exp.null()), early))
    if node.entity is not None and key is not None:
        kept.append(exp.not_(exp.Is(this=exp.column("row_key"), expression=exp.null())))
    loaded = _moment(rows, source.loaded_at, "loaded_at")
    return SourceParts(
        relation_of(source, schema), columns, both(_where(rows)), both(kept), None if source.unique else key,
        loaded if loaded is not None else columns["row_at"], identifiers, source.file is not None,
    )  # fmt: skip


def source_script(parts: SourceParts, table: str, renderer: Renderer) -> Script:
    """One look for duplicates of the key, then the table; the other way round where a scan of the source is paid for."""
    values: dict[str, Any] = {"parts": parts, "row_hash": _hash(parts.columns)}
    if renderer.facts.reads_once:
        ordered = parts.key is not None
        yield renderer.statement("compile/source", table, "table", table, ordered=ordered, **values)
        if parts.key is not None:
            duplicates = yield renderer.statement("compile/copied", f"{table} duplicates", "probe", "", table=table)
            if duplicates:
                yield renderer.statement(
                    "compile/source_newest", f"{table} newest", "table", table, table=table, **values
                )
        return
    duplicates = 0
    if parts.key is not None:
        duplicates = yield renderer.statement(
            "compile/duplicates", f"{table} duplicates", "probe", "", parts=parts, row_at=parts.columns["row_at"]
        )
    template = "compile/source_once" if duplicates else "compile/source"
    yield renderer.statement(template, table, "table", table, ordered=False, **values)


def _key(rows: Rows) -> exp.Expr | None:
    """The row's key as text; of several columns, canonical JSON."""
    source = rows.source
    names, mark = list(source.key or []), source.at("key")
    if rows.node.entity is not None and rows.node.entity.key:
        for name in names:
            _named(rows, name, "key", mark)
        names, mark = list(rows.node.entity.key), rows.node.entity.at("key")
    if not names and rows.node.segment:
        spelled = rows.schema.envelope(rows.node, "message_id")
        names = [spelled] if spelled else []
    parts = []
    for name in names:
        value = _named(rows, name, "key", mark)
        if value is not None:
            parts.append(as_text(value))
    if not parts:
        return None
    return composite(parts)


def _named(rows: Rows, name: str, option: str, mark: Mark | None) -> Typed | None:
    spelled = rows.node.spelling(name)
    if spelled is None and rows.node.complete:
        rows.reading.unknown(
            "CDP112",
            f"`{option}` of {rows.node.name} names `{name}`, which is no column of it",
            name,
            rows.node.columns,
            "columns",
            mark,
        )
        return None
    return rows.raw(spelled or name, mark)


def _moment(rows: Rows, name: str | None, option: str) -> exp.Expr | None:
    if name is None:
        return None
    spelled = rows.schema.envelope(rows.node, name) if rows.node.segment else name
    value = _named(rows, spelled or name, option, rows.source.at(option))
    if value is None:
        return None
    if value.type in ("int", "decimal", "float", "bool", "list", "json"):
        rows.reading.problem(
            "CDP115",
            f"`{option}` of {rows.node.name} is {value.type}, not a time",
            rows.source.at(option),
            "cast it under `columns:`",
        )
        return None
    return read_as(value, "timestamp", rows.clock.zone.key if value.type == "date" else rows.source.timezone)


def _hash(columns: dict[str, exp.Expr]) -> exp.Expr:
    """A row without a key is told apart by all that is read of it."""
    parts: list[exp.Expr] = []
    for tree in columns.values():
        parts += [exp.Coalesce(this=exp.cast(tree.copy(), "TEXT"), expressions=[text("\x01")]), text("\x02")]
    return call("cdp_md5", call("cdp_concat", *parts))


def _where(rows: Rows) -> list[exp.Expr]:
    if rows.source.where is None:
        return []
    chosen = picked(rows.source.where, "where", rows.source, rows.schema.project.tongue, rows.reading)
    if chosen is None:
        return []
    where, tongue, mark = chosen
    return [rows.snippet(where, mark, boolean=True, tongue=tongue).tree]


def _ids(
    rows: Rows, name: str, entity: str, ids: Any, resolved: set[str], columns: dict[str, exp.Expr],
    identifiers: dict[str, tuple[tuple[str, str], ...]], schema: Schema,
) -> None:  # fmt: skip
    """The id of a keyed entity, or the identifiers of a resolved one."""
    node = rows.node
    if node.entity is not None and node.entity.name == entity:
        return
    holder = node.source if node.source is not None and entity in node.source.ids else node.entity
    given = holder.origin.get("ids") if holder is not None and holder.origin is not None else None
    marks = given.get(entity) if isinstance(given, dict) else None
    if not schema.nodes[entity].resolved:
        parts = [as_text(rows.snippet(sql, value_mark(given, entity))) for sql in ids]
        columns[f"{name}_id"] = composite(parts)
        return
    if entity not in resolved:
        return
    slots: list[tuple[str, str]] = []
    for kind, expressions in ids.items():
        for sql in expressions:
            value = rows.snippet(sql, value_mark(marks, kind))
            column = f"i_{name}_{len(slots)}"[:60]
            columns[column] = as_text(value)
            slots.append((kind, column))
    identifiers[name] = tuple(slots)


def composite(parts: list[exp.Expr]) -> exp.Expr:
    """The texts of a key's columns as one: of several, canonical JSON; NULL where one of them is."""
    if len(parts) == 1:
        return parts[0]
    pieces: list[exp.Expr] = []
    for index, part in enumerate(parts):
        pieces += [text("[" if index == 0 else ","), call("cdp_json_quote", part)]
    return call("cdp_concat", *pieces, text("]"))


# ------------------------------------------------------------------------------------------------ where it stands
def relation_of(source: Source, schema: Schema) -> exp.Expr:
    """What a source is read from: a table, a file that DuckDB reads, or a query over other sources."""
    if source.dbt is not None and schema.project.dbt is not None:
        parts = schema.project.dbt.models[source.name].relation
        names = [exp.to_identifier(name, quoted=quoted) for name, quoted in parts]
        return exp.Table(**dict(zip(("this", "db", "catalog"), reversed(names), strict=False)))
    if source.table is not None:
        return table_named(source.table, schema.project.file.dialect, source.at("table"), schema.reading)
    if source.file is not None:
        return _file(source, schema)
    return _query(source, schema)


def table_named(name: str, dialect: str, mark: Mark | None, reading: Reading) -> exp.Table:
    """The table of that name, one to three plain or quoted words joined by dots; anything else is noted.

    DuckDB reads `"x.csv"` as a file: files are named under `file:`, where they are looked at.
    """
    try:
        found = parse_one(name, into=exp.Table, dialect=dialect)
    except (SqlglotError, IndexError):
        found = None
    if isinstance(found, exp.Table) and not found.comments:
        parts = [found.args[key] for key in ("this", "db", "catalog") if found.args.get(key) is not None]
        if all(isinstance(part, exp.Identifier) and _TABLE_PART.match(part.name) for part in parts):
            return found
    reading.problem("CDP112", f"`{name[:60]}` is no table name", mark, "schema.table", length=min(len(name), 60) or 1)
    return exp.to_table("nothing")


def _file(source: Source, schema: Schema) -> exp.Expr:
    path = source.file or ""
    kind = path.lower().removesuffix(".gz").rsplit(".", 1)[-1]
    readers: dict[str, Callable[[Source, Schema], exp.Expr]] = {
        "csv": _csv,
        "tsv": _csv,
        "jsonl": _json,
        "ndjson": _json,
        "parquet": _parquet,
    }
    if kind not in readers:
        schema.reading.problem(
            "CDP113",
            f"`{path[:80]}` is no kind of file that is read",
            source.at("file"),
            "csv, jsonl or parquet, also .gz",
        )
        return exp.to_table("nothing")
    if Path(path).is_absolute() or ".." in Path(path).parts or not path.isprintable():
        schema.reading.problem(
            "CDP113", f"`{path[:80]}` lies outside the project", source.at("file"), "a path below the project's folder"
        )
        return exp.to_table("nothing")
    return exp.Table(this=readers[kind](source, schema))


def _option(name: str, value: exp.Expr) -> exp.Expr:
    return exp.EQ(this=exp.column(name), expression=value)


def _path(source: Source, schema: Schema) -> exp.Expr:
    """Absolute: DuckDB would look in the folder that a command was called from first."""
    return text(str(schema.project.root / (source.file or "")))


def _csv(source: Source, schema: Schema) -> exp.Expr:
    nothing = [text("")] if source.read.empty_as_null else []
    nothing += [text(word) for word in source.read.null_values]
    options = [
        _option("all_varchar", exp.Boolean(this=source.read.text)),
        _option("union_by_name", exp.true()),
        _option("header", exp.true()),
        _option("nullstr", exp.Array(expressions=nothing)),
    ]
    return exp.ReadCSV(this=_path(source, schema), expressions=options)


def _json(source: Source, schema: Schema) -> exp.Expr:
    options = [_option("format", text("newline_delimited")), _option("union_by_name", exp.true())]
    if source.spec == "segment":
        known = {name: "JSON" if kind == "json" else "VARCHAR" for name, kind in SEGMENT.items()}
        pairs = [exp.PropertyEQ(this=exp.to_identifier(name), expression=text(kind)) for name, kind in known.items()]
        options.append(_option("columns", exp.Struct(expressions=pairs)))
    else:
        options.append(_option("maximum_depth", exp.Literal.number(1)))
    return exp.Anonymous(this="cdp_read_json", expressions=[_path(source, schema), *options])


def _parquet(source: Source, schema: Schema) -> exp.Expr:
    return exp.ReadParquet(expressions=[_path(source, schema), _option("union_by_name", exp.true())])


def _query(source: Source, schema: Schema) -> exp.Expr:
    """A SELECT in a file whose plain table names are sources."""
    chosen = picked(source.query, "query", source, schema.project.tongue, schema.reading)
    if chosen is None:
        return exp.to_table("nothing")
    path, tongue, mark = chosen
    full = schema.project.root / path
    try:
        if not path.isprintable():
            raise OSError("its name holds a control character")
        if not full.resolve().is_relative_to(schema.project.root):
            raise OSError("it lies outside the project")
        found = query(full.read_text(encoding="utf-8"), tongue.dialect)
    except (OSError, UnicodeDecodeError) as error:
        schema.reading.problem(
            "CDP112", f"the query `{path}` cannot be read: {error}", mark, "a path from the project's folder"
        )
        return exp.to_table("nothing")
    except SnippetErrors as errors:
        for problem in errors.problems:
            schema.reading.problem(
                problem.code, f"{path}:{problem.line}:{problem.col}: {problem.message}", mark, problem.hint
            )
        return exp.to_table("nothing")
    for use in found.tables:
        if use.name not in schema.project.sources:
            schema.reading.unknown(
                "CDP112",
                f"{path}:{use.line}: there is no source `{use.name}`",
                use.name,
                schema.project.sources,
                "sources",
                mark,
            )
        elif schema.project.sources[use.name].query is not None:
            schema.reading.problem(
                "CDP113", f"{path}:{use.line}: `{use.name}` is itself a query", mark, "a query reads tables and files"
            )
    tree = safe_arithmetic(found.tree, lambda _: None)
    for table in list(tree.find_all(exp.Table)):
        other = schema.project.sources.get(table.meta.get("source", ""))
        if other is not None and other.query is None:
            table.replace(exp.select("*").from_(relation_of(other, schema)).subquery(table.alias_or_name))
    return tree


def refuse_files(source: Source, reads_files: bool, target: str) -> None:
    """Raise CompileError CDP203 where a file would have to be read by an engine that reads none."""
    if source.file is not None and not reads_files:
        raise CompileError(
            "CDP203",
            f"source `{source.name}` is a file, and {target} reads no files",
            hint="load it into a table, or use DuckDB",
            mark=source.at("file"),
        )
