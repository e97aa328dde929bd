"""Builders out of a fragment of the engine's own SQL, parsed once: `_1`, `_2` … stand for the arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from sqlglot import exp, parse_one

from cdp.errors import CompileError
from cdp.warehouse.facts import Build

_PLACE = re.compile(r"_(\d)\Z")
_TIGHT = (exp.Column, exp.Literal, exp.Func, exp.Cast, exp.Paren, exp.Subquery, exp.Case, exp.Null, exp.Boolean)


def fragments(dialect: str, **texts: str) -> dict[str, Build]:
    """One builder per fragment: `fragments("duckdb", cdp_md5="MD5(_1)")`."""
    return {name: _builder(text, dialect) for name, text in texts.items()}


def _builder(text: str, dialect: str) -> Build:
    return lambda arguments: fill(text, dialect, *arguments)


def fill(text: str, dialect: str, *arguments: exp.Expr) -> exp.Expr:
    """The tree of a fragment with the arguments in their places."""
    holder = exp.Paren(this=_parsed(text, dialect).copy())
    for column in list(holder.find_all(exp.Column)):
        place = _PLACE.match(column.name)
        if place:
            column.replace(bracketed(arguments[int(place[1]) - 1]))
    tree = holder.this
    assert isinstance(tree, exp.Expr)
    return tree.pop()


def bracketed(tree: exp.Expr) -> exp.Expr:
    """A copy that can stand beside any operator."""
    return tree.copy() if isinstance(tree, _TIGHT) else exp.Paren(this=tree.copy())


@lru_cache(maxsize=512)
def _parsed(text: str, dialect: str) -> exp.Expr:
    return parse_one(text, dialect=dialect)


def literal_text(tree: exp.Expr, what: str) -> str:
    """The value of a text literal; raises CompileError CDP312 where the argument is anything else."""
    if not (isinstance(tree, exp.Literal) and tree.is_string):
        raise CompileError("CDP312", f"{what} must be a text literal, not `{tree.sql(dialect='duckdb')[:80]}`")
    return str(tree.this)


def zoned(in_utc: Build, elsewhere: Build) -> Build:
    """Two ways for a function whose last argument is a time zone: the cheap one where that is UTC."""

    def build(arguments: Sequence[exp.Expr]) -> exp.Expr:
        zone = literal_text(arguments[-1], "a time zone")
        return (in_utc if zone.upper() in ("UTC", "ETC/UTC", "GMT") else elsewhere)(arguments)

    return build


def chained(node: type[exp.Binary]) -> Build:
    """a ∘ b ∘ c …"""

    def build(arguments: Sequence[exp.Expr]) -> exp.Expr:
        tree = bracketed(arguments[0])
        for argument in arguments[1:]:
            tree = node(this=tree, expression=bracketed(argument))
        return tree

    return build


def called(name: str) -> Build:
    """A call of the engine's own function of that name with the arguments as they are."""
    return lambda arguments: exp.Anonymous(this=name, expressions=[argument.copy() for argument in arguments])


def filtering(build: Build) -> Build:
    """A composite aggregate that can stand under FILTER: it is built again, its first argument where that holds."""

    def with_rebuild(arguments: Sequence[exp.Expr]) -> exp.Expr:
        tree = build(arguments)
        tree.meta["cdp_rebuild"] = lambda condition: build([_only_where(condition, arguments[0]), *arguments[1:]])
        return tree

    return with_rebuild


def filtered(node: exp.Expr) -> exp.Expr:
    """The rewrite of FILTER for composites of `filtering`; any other aggregate keeps its FILTER."""
    rebuild: Callable[[exp.Expr], exp.Expr] | None = node.this.meta.get("cdp_rebuild")
    return rebuild(node.expression.this) if rebuild else node


def _only_where(condition: exp.Expr, value: exp.Expr) -> exp.Expr:
    return exp.Case(ifs=[exp.If(this=condition.copy(), true=value.copy())])
