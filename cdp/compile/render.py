"""Templates and trees ► statements of the target: the one door between text and SQL.

A template in `models/` is rendered in a sandbox with our own names only. A tree (whatever carries a user's text, every
value) never becomes text on the way: it leaves a numbered slot, the rendered text is parsed in the canonical dialect,
and the trees are put in place of their slots.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from sqlglot import exp, parse
from sqlglot.errors import SqlglotError

from cdp.compile.facts import Facts
from cdp.compile.plan import Action, Statement
from cdp.errors import CompileError
from cdp.project.snippet import bracketed
from cdp.shipped import shipped

CANONICAL = "duckdb"
_NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*\Z")
_PUNCTUATION = re.compile(r"[ ,+A-Z]*\Z")  # what a template itself puts between things: commas, DESC, UNION ALL
_SLOT = re.compile(r"cdp_slot_(\d+)\Z")


class Renderer:
    """Renders for one target. Not for several threads at once."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._slots: list[exp.Expr] = []
        self._environment = ImmutableSandboxedEnvironment(
            loader=jinja2.FileSystemLoader(shipped("models")),
            undefined=jinja2.StrictUndefined,
            finalize=self._finalize,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def statement(self, template: str, name: str, action: Action, target: str, **values: Any) -> Statement:
        """The statement that `models/<template>.sql.jinja` makes of `values` (names, numbers, trees, lists of them)."""
        return self.of_tree(self.tree(template, **values), name, action, target)

    def of_tree(self, tree: exp.Expr, name: str, action: Action, target: str) -> Statement:
        """The statement of a canonical tree."""
        return Statement(name, action, target, self.sql(tree), tree)

    def tree(self, template: str, **values: Any) -> exp.Expr:
        """The canonical tree that a template makes of `values`; raises CompileError CDP201 where it is no statement."""
        self._slots = []
        text = self._environment.get_template(f"{template}.sql.jinja").render(**values)
        return self._fill(parse_one(text, template))

    def sql(self, tree: exp.Expr, *, pretty: bool = True) -> str:
        """The target's text of a canonical tree, parsed back; raises CompileError CDP202 for an unknown function."""
        text = self.target_tree(tree).sql(dialect=self.facts.dialect, pretty=pretty, comments=False, copy=False)
        try:
            parsed = parse(text, dialect=self.facts.dialect)
        except SqlglotError as error:
            raise CompileError("CDP201", f"a generated statement is no {self.facts.name} SQL: {error}") from error
        if len(parsed) != 1:
            raise CompileError("CDP201", f"a generated statement became {len(parsed)} statements")
        return text

    def target_tree(self, tree: exp.Expr) -> exp.Expr:
        """A copy of the tree in which this engine's own functions stand in for the canonical ones."""
        functions, rewrites = self.facts.functions, self.facts.rewrites

        def swap(node: exp.Expr) -> exp.Expr:
            if isinstance(node, exp.Anonymous):
                build = functions.get(str(node.this).lower())
                if build is None:
                    raise CompileError("CDP202", f"{self.facts.name} has no function for `{node.this}`")
                return build(node.expressions)
            rewrite = rewrites.get(type(node))
            return rewrite(node) if rewrite else node

        return _bottom_up(tree.copy(), swap)

    def _finalize(self, value: Any) -> Any:
        if isinstance(value, exp.Expr):
            self._slots.append(value)
            return f"cdp_slot_{len(self._slots) - 1}"
        if isinstance(value, bool | int):
            return value
        if isinstance(value, str):
            if not (_NAME.match(value) or _PUNCTUATION.match(value)):
                raise CompileError("CDP201", f"{value!r} is no plain name and may not go into a template as text")
            return value
        if isinstance(value, jinja2.Undefined):
            return value
        raise CompileError("CDP201", f"a template was given a {type(value).__name__}")

    def _fill(self, tree: exp.Expr) -> exp.Expr:
        slots = self._slots
        if not slots:
            return tree
        root = exp.Paren(this=tree)
        for identifier in list(tree.find_all(exp.Identifier)):
            match = _SLOT.match(identifier.name)
            if match:
                _put(identifier, slots[int(match[1])].copy())
        filled = root.this
        assert isinstance(filled, exp.Expr)
        return filled.pop()


def _put(identifier: exp.Expr, tree: exp.Expr) -> None:
    place = identifier.parent
    if isinstance(tree, exp.Identifier):
        identifier.replace(tree)
    elif isinstance(place, exp.Table):
        alias = place.args.get("alias")
        if alias is not None:
            if isinstance(tree, exp.Query) and not isinstance(tree, exp.Subquery):
                tree = exp.Subquery(this=tree)
            tree.set("alias", alias.copy())
        place.replace(tree)
    elif isinstance(place, exp.Column):
        place.replace(bracketed(tree, place.parent))
    else:
        raise CompileError("CDP201", f"a tree cannot stand in a {type(place).__name__}")


def _bottom_up(node: exp.Expr, change: Any) -> exp.Expr:
    """`node` with `change` applied to every node, children first (sqlglot's transform goes top down)."""
    for child in list(node.iter_expressions()):
        new = _bottom_up(child, change)
        if new is not child:
            child.replace(new)
    result: exp.Expr = change(node)
    return result


@lru_cache(maxsize=4096)
def _parsed(text: str, template: str) -> exp.Expr:
    try:
        trees = parse(text, dialect=CANONICAL)
    except SqlglotError as error:
        raise CompileError("CDP201", f"models/{template}.sql.jinja renders no SQL: {error}") from error
    if len(trees) != 1 or trees[0] is None:
        raise CompileError("CDP201", f"models/{template}.sql.jinja renders {len(trees)} statements, not one")
    return trees[0]


def parse_one(text: str, template: str) -> exp.Expr:
    """One canonical statement; a fresh copy, since trees are changed in place."""
    return _parsed(text, template).copy()


def text(value: str) -> exp.Expr:
    """A text literal."""
    return exp.Literal.string(value)


def column(name: str, table: str | None = None) -> exp.Column:
    """A column of ours: never quoted."""
    return exp.column(name, table=table)


def call(function: str, *arguments: exp.Expr) -> exp.Expr:
    """One of our canonical functions (`cdp_…`), which the target's table turns into its own."""
    return exp.Anonymous(this=function, expressions=list(arguments))
