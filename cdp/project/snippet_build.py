"""Small pieces that the rules build trees from; every argument is copied, so a tree never has two parents."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from cdp.project.snippet_nodes import Refused

LOOSE = (exp.Binary, exp.Unary, exp.Between, exp.In, exp.Interval)
US = {"second": 1_000_000, "minute": 60_000_000, "hour": 3_600_000_000, "day": 86_400_000_000, "week": 604_800_000_000}
CALENDAR = ("month", "quarter", "year")
TYPES = {
    "text": ("TEXT", "VARCHAR", "CHAR", "NCHAR", "NVARCHAR"),
    "int": ("INT", "BIGINT", "SMALLINT", "TINYINT"),
    "decimal": ("DECIMAL",),
    "float": ("DOUBLE", "FLOAT"),
    "bool": ("BOOLEAN",),
    "date": ("DATE",),
    "timestamp": ("TIMESTAMP", "TIMESTAMPNTZ", "DATETIME"),
}
TYPE_OF = {name: ours for ours, names in TYPES.items() for name in names}
SQL_TYPE = {
    "text": "TEXT",
    "int": "BIGINT",
    "decimal": "DECIMAL(38, 9)",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}


MAX_NODES = 50_000  # made by all rules together: some write their argument twice, and may stand in one another


@dataclass
class Canon:
    """What the rules need besides the node: the dialect it came from, and where to put what they find."""

    dialect: str
    is_bare_path: Callable[[exp.Expr], bool]
    refused: list[Refused]
    query: bool
    sized: bool = True  # a decimal is written with its sizes somewhere in the text
    made: int = 0


def call(function: str, *arguments: exp.Expr) -> exp.Expr:
    """One of our functions."""
    return exp.Anonymous(this=function, expressions=[argument.copy() for argument in arguments])


def number(value: int) -> exp.Expr:
    """A whole number, in brackets where negative."""
    literal = exp.Literal.number(abs(value))
    return exp.Paren(this=exp.Neg(this=literal)) if value < 0 else literal


def text(value: str) -> exp.Expr:
    """A text literal."""
    return exp.Literal.string(value)


def closed(node: exp.Expr) -> exp.Expr:
    """A copy in brackets where it needs them."""
    return exp.Paren(this=node.copy()) if isinstance(node, LOOSE) else node.copy()


def cast(node: exp.Expr, kind: str) -> exp.Expr:
    """A plain CAST to one of the language's types."""
    return exp.Cast(this=node.copy(), to=exp.DataType.build(SQL_TYPE[kind], dialect="duckdb"))


def to_kind(node: exp.Expr, kind: str) -> exp.Expr:
    """A cast whose way `safe_arithmetic` chooses when it knows the type of what is cast."""
    return exp.TryCast(this=node.copy(), to=exp.DataType.build(SQL_TYPE[kind], dialect="duckdb"))


def when(condition: exp.Expr, value: exp.Expr, other: exp.Expr | None = None) -> exp.Expr:
    """CASE WHEN condition THEN value [ELSE other] END."""
    return exp.Case(ifs=[exp.If(this=condition.copy(), true=value.copy())], default=other.copy() if other else None)


def whole(node: exp.Expr | None) -> int | None:
    """The value of a whole-number literal, else None."""
    if isinstance(node, exp.Paren):
        return whole(node.this)
    if isinstance(node, exp.Neg):
        inner = whole(node.this)
        return None if inner is None else -inner
    if isinstance(node, exp.Literal) and re.fullmatch(r"[+-]?\d{1,18}", str(node.this)):
        return int(node.this)
    return None


def literal_text(node: exp.Expr | None, what: str) -> str:
    """The value of a text literal; refused otherwise."""
    if isinstance(node, exp.Literal) and node.is_string:
        return str(node.this)
    raise Refused("CDP125", f"{what} must be a text in quotes", "engines read other values differently", node)
