"""The one door for a user's SQL: text in the project's dialect ► a checked tree in the canonical one.

What comes out is made only of what `snippet_nodes` lets in, and means the same on every engine (`snippet_functions`).
The text itself goes no further than this file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from cdp.errors import did_you_mean
from cdp.project.snippet_build import Canon
from cdp.project.snippet_functions import canonical
from cdp.project.snippet_nodes import (
    AGGREGATES,
    EXPRESSION,
    NAMES,
    QUERY,
    Refused,
    SnippetError,
    SnippetErrors,
    misplaced,
    refusal,
)
from cdp.project.snippet_text import MAX_TEXT, Source, spot_of
from cdp.project.snippet_types import safe_arithmetic, type_of
from cdp.project.words import NAME

__all__ = [
    "ColumnUse",
    "Query",
    "Snippet",
    "SnippetError",
    "SnippetErrors",
    "TableUse",
    "expression",
    "query",
    "resolve",
    "safe_arithmetic",
    "type_of",
]


@dataclass(frozen=True)
class ColumnUse:
    """A column as the user wrote it; `path` has one part per name (`plan.price` has two), `quoted` is of the last."""

    path: tuple[str, ...]
    quoted: bool
    offset: int
    line: int
    col: int

    @property
    def name(self) -> str:
        """The last part."""
        return self.path[-1]

    @property
    def table(self) -> str | None:
        """What stands before the last part, joined by dots."""
        return ".".join(self.path[:-1]) or None

    def __str__(self) -> str:
        return ".".join(self.path)


@dataclass(frozen=True)
class TableUse:
    """A plain table name in a query that names none of its own CTEs."""

    name: str
    offset: int
    line: int
    col: int


@dataclass(frozen=True)
class Snippet:
    """One scalar expression. `columns` has an entry per place."""

    tree: exp.Expr
    columns: tuple[ColumnUse, ...]


@dataclass(frozen=True)
class Query:
    """One SELECT. `outputs` are the names of its columns, with `*` where it says so.

    The Table nodes that are sources, and no CTE, bear the source's name in their `meta["source"]`.
    """

    tree: exp.Query
    tables: tuple[TableUse, ...]
    columns: tuple[ColumnUse, ...]
    outputs: tuple[str, ...]


def expression(text: str, dialect: str, *, boolean: bool = False, aggregates: bool = False) -> Snippet:
    """The one scalar expression that `text` is; `boolean` asks for a truth value, `aggregates` lets COUNT, SUM … in.

    Raises SnippetErrors (CDP120–CDP127). `as_of` is a column like any other, which the compiler replaces.
    """
    source = _Reader(text, dialect, MAX_TEXT)
    for token in source.tokens:
        if token.token_type is TokenType.SEMICOLON:
            raise SnippetErrors([source.error("CDP121", "a `;`: this is more than one expression", token)])
    tree = source.parsed(exp.Condition)
    nodes = {**EXPRESSION, **AGGREGATES} if aggregates else EXPRESSION
    tree, columns = source.checked(tree, nodes, query=False)
    kind = type_of(tree, lambda _: None)
    if boolean and kind not in (None, "bool"):
        raise SnippetErrors(
            [source.error("CDP126", f"this is {kind}, not true or false", None, "compare it with something")]
        )
    return Snippet(tree, columns)


def query(text: str, dialect: str) -> Query:
    """The one SELECT (WITH and UNION allowed) that `text` is. Raises SnippetErrors (CDP120–CDP128)."""
    source = _Reader(text, dialect, MAX_TEXT * 10)
    tokens = source.tokens
    for token in tokens[:-1]:
        if token.token_type is TokenType.SEMICOLON:
            raise SnippetErrors([source.error("CDP121", "a `;` inside: this is more than one statement", token)])
    if tokens[0].token_type not in (TokenType.SELECT, TokenType.WITH, TokenType.L_PAREN):
        raise SnippetErrors([source.error("CDP121", "a query begins with SELECT or WITH", tokens[0])])
    tree = source.parsed(None)
    if not isinstance(tree, exp.Select | exp.SetOperation):
        raise SnippetErrors([source.error("CDP121", "this is no SELECT", tokens[0])])
    if not tree.selects:
        raise SnippetErrors([source.error("CDP121", "this selects nothing", tokens[0])])
    outputs = source.outputs(tree)
    tables = tuple(source.tables(tree))
    checked, columns = source.checked(tree, {**EXPRESSION, **QUERY}, query=True)
    assert isinstance(checked, exp.Query)
    return Query(checked, tables, columns, outputs)


def resolve(snippet: Snippet | Query, column: Callable[[ColumnUse], exp.Expr | None]) -> exp.Expr:
    """A copy of the tree in which `column`'s tree stands for each column use; None leaves the column as it was.

    Brackets are added where the new tree would bind otherwise.
    """
    root = exp.Paren(this=snippet.tree.copy())
    for node in list(root.find_all(exp.Column)):
        number = node.meta.get("use")
        if number is None:
            continue
        new = column(snippet.columns[number])
        if new is not None:
            node.replace(bracketed(new.copy(), node.parent))
    tree = root.this
    assert isinstance(tree, exp.Expr)
    return tree.pop()


def bracketed(tree: exp.Expr, parent: exp.Expr | None) -> exp.Expr:
    """`tree`, in brackets where it could come apart below `parent` (sqlglot takes AND and OR for functions)."""
    loose = isinstance(
        tree, exp.Binary | exp.Unary | exp.Between | exp.In | exp.Interval | exp.Query
    ) and not isinstance(tree, exp.Paren)
    if isinstance(tree, exp.Query):
        loose = not isinstance(tree, exp.Subquery)
    closed = isinstance(parent, exp.Paren | exp.Anonymous | exp.Alias | exp.Where) or (
        isinstance(parent, exp.Func) and not isinstance(parent, exp.Binary)
    )
    return exp.Paren(this=tree) if loose and not closed else tree


_SIZED = re.compile(r"\b(dec|decimal|numeric)\s*\(", re.IGNORECASE)


class _Reader(Source):
    """From the parser's tree to the canonical one, or to all that is wrong with it."""

    def checked(
        self, tree: exp.Expr, nodes: Mapping[type[exp.Expr], frozenset[str]], *, query: bool
    ) -> tuple[exp.Expr, tuple[ColumnUse, ...]]:
        """The canonical tree, or all that is wrong with it."""
        root = exp.Paren(this=tree)
        self.locate(root)
        self._join_paths(root)
        for node in root.walk():
            node.comments = None
        errors = self._unlisted(root, nodes)
        if errors:
            raise SnippetErrors(errors)
        columns = self._columns(root)
        refused: list[Refused] = []
        canon = Canon(type(self.dialect).__name__.lower(), self._is_bare_path, refused, query)
        canon.sized = bool(_SIZED.search(self.text))
        try:
            result = canonical(root.this, canon)
        except Refused as fault:
            refused.append(fault)
        if refused:
            raise SnippetErrors(_distinct(self.place(fault, tree) for fault in refused))
        self.bound(result, 2)
        for node in result.walk():  # for what is found out later, when the text is gone
            if "start" in node.meta:
                node.meta["at"] = self.at(node.meta["start"], node.meta["end"] - node.meta["start"] + 1)
        return result, columns

    def _unlisted(self, root: exp.Expr, nodes: Mapping[type[exp.Expr], frozenset[str]]) -> list[SnippetError]:
        errors: list[SnippetError] = []
        stack = [root]
        while stack:
            node = stack.pop()
            allowed = nodes.get(type(node))
            if allowed is None:
                errors.append(self._refused(node))
                continue
            extra = [key for key, value in node.args.items() if value not in (None, False, []) and key not in allowed]
            if extra and isinstance(node.args[extra[0]], exp.Expr) and type(node.args[extra[0]]) not in nodes:
                extra = []  # what stands there is refused itself, and has more to say
            if extra:
                message = f"`{self._word(node)}` with `{extra[0].strip('_')}` may not be used here"
                errors.append(self.place(Refused("CDP122", message), node))
            fault = misplaced(node)
            if fault is not None:
                errors.append(self.place(fault, node))
            stack.extend(node.iter_expressions())
        return _distinct(iter(sorted(errors, key=lambda error: error.offset)))

    def _word(self, node: exp.Expr) -> str:
        name = node.sql_name() if isinstance(node, exp.Func) else type(node).__name__
        return name.lower()

    def _refused(self, node: exp.Expr) -> SnippetError:
        written = self.text[node.meta["start"] : node.meta["end"] + 1] if "start" in node.meta else None
        name = node.name if isinstance(node, exp.Anonymous) else written
        fault = refusal(node, name)
        if fault.code == "CDP123" and fault.hint is None:
            near = did_you_mean((name or "").lower(), NAMES)
            fault.hint = f"did you mean `{near}`?" if near else "the docs list what may be used"
        return self.place(fault, node)

    def _join_paths(self, root: exp.Expr) -> None:
        """`a.b.c.d.e` is a Dot above a Column; one Column with its whole path is simpler."""
        for dot in list(root.find_all(exp.Dot)):
            parts = dot.parts
            if dot.root() is root and all(isinstance(part, exp.Identifier) for part in parts):
                joined = exp.Column(this=parts[-1].copy())
                joined.meta["path"] = tuple(part.name for part in parts)
                joined.meta["start"], joined.meta["end"] = spot_of(dot) or (0, 0)
                dot.replace(joined)

    def _columns(self, root: exp.Expr) -> tuple[ColumnUse, ...]:
        uses: list[ColumnUse] = []
        for node in root.find_all(exp.Column, bfs=False):
            if not isinstance(node.this, exp.Identifier):
                continue
            place = self.at((spot_of(node) or (0, 0))[0])
            path = node.meta.get("path") or tuple(part.name for part in node.parts)
            node.meta["use"] = len(uses)
            uses.append(
                ColumnUse(path, bool(node.this.args.get("quoted")), place["offset"], place["line"], place["col"])
            )
        return tuple(uses)

    def _is_bare_path(self, path: exp.Expr) -> bool:
        """Whether a JSON path was written without `$`: DuckDB then takes `a.b` for one key, the parser for two."""
        if type(self.dialect).__name__.lower() != "duckdb":
            return False
        texts = [token.text for token in self.tokens if token.token_type is TokenType.STRING]
        bare = [text for text in texts if re.search(r"[.\[*]", text) and not text.startswith(("$", "/"))]
        return any(self.dialect.to_json_path(exp.Literal.string(text)) == path for text in bare)

    def outputs(self, tree: exp.Query) -> tuple[str, ...]:
        """The names of a query's columns; raises where one has none, or two have the same."""
        self.locate(tree)
        names: list[str] = []
        for column in tree.selects:
            name = "*" if column.is_star else column.output_name
            fault = None
            if not name:
                fault = Refused("CDP122", "a column without a name", "write `… AS name`")
            elif name in names and name != "*":
                fault = Refused("CDP122", f"two columns are called `{name}`", "write `… AS name`")
            if fault:
                raise SnippetErrors([self.place(fault, column)])
            names.append(name)
        return tuple(names)

    def tables(self, tree: exp.Expr) -> Iterator[TableUse]:
        """The plain table names that are none of the query's own; raises for any other kind of table."""
        for table in tree.find_all(exp.Table, bfs=False):
            if not isinstance(table.this, exp.Identifier):
                name = table.this.name if isinstance(table.this, exp.Anonymous) else table.this.sql_name().lower()
                raise SnippetErrors(
                    [self.place(Refused("CDP128", f"a table function `{name}`", "declare a source"), table)]
                )
            if table.args.get("db"):
                hint = "a query reads sources by their names"
                raise SnippetErrors([self.place(Refused("CDP128", "a table with a schema", hint), table)])
            if not NAME.match(_folded(table.this)):
                hint = "a query reads sources by their names"
                raise SnippetErrors([self.place(Refused("CDP128", f"`{table.name}` is no source", hint), table)])
            if not _is_own(table):
                place = self.at((spot_of(table) or (0, 0))[0])
                table.meta["source"] = _folded(table.this)
                yield TableUse(_folded(table.this), place["offset"], place["line"], place["col"])


def _is_own(table: exp.Table) -> bool:
    """Whether a CTE that is visible where the table stands has its name."""
    inside: exp.Expr = table
    above = table.parent
    while above is not None:
        with_ = above.args.get("with_")
        if with_ is not None and inside is not with_ and any(_names(cte, table) for cte in with_.expressions):
            return True
        if isinstance(above, exp.With):  # an earlier CTE of the same WITH
            for cte in above.expressions:
                if cte is inside:
                    break
                if _names(cte, table):
                    return True
        inside, above = above, above.parent
    return False


def _folded(name: exp.Expr) -> str:
    """A name as SQL reads it: upper case counts in quotes only."""
    return name.name if name.args.get("quoted") else name.name.lower()


def _names(cte: exp.Expr, table: exp.Table) -> bool:
    return _folded(cte.args["alias"].this) == _folded(table.this)


def _distinct(errors: Iterator[SnippetError]) -> list[SnippetError]:
    """Each mistake once, the first twenty."""
    return list(dict.fromkeys(errors))[:20]
