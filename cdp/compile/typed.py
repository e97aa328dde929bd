"""A value in SQL with its type in the language's words, and how it is read in another type."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from sqlglot import exp

from cdp.compile.render import call, text

NUMBERS = ("int", "decimal", "float")
TIMES = ("date", "timestamp")
SQL_TYPES = {
    "text": "TEXT", "int": "BIGINT", "decimal": "DECIMAL(38, 9)", "float": "DOUBLE", "bool": "BOOLEAN",
    "date": "DATE", "timestamp": "TIMESTAMP", "list": "TEXT", "json": "TEXT",
}  # fmt: skip


@dataclass(frozen=True)
class Typed:
    """`type` is None where nobody told it: then `tree` is raw, and every use reads it by a safe cast.

    A `json` value is the text of a leaf (`leaf`: a scalar may be in it), read in the type of what it is compared with.
    `zone` is that of naive times in its text, where that is not the project's.
    """

    tree: exp.Expr
    type: str | None
    leaf: bool = False
    zone: str | None = None

    @property
    def unknown(self) -> bool:
        """It stands for something that is broken itself."""
        return self.type is None and isinstance(self.tree, exp.Null)

    @property
    def loose(self) -> bool:
        """Its type is decided by its use."""
        return self.type is None or self.leaf


def cast(tree: exp.Expr, kind: str) -> exp.Expr:
    """A plain cast to one of the language's types."""
    return exp.cast(tree, SQL_TYPES[kind])


def read_as(value: Typed, kind: str, zone: str) -> exp.Expr:
    """The value in a type, safely: what cannot be read is NULL. `zone` is that of naive times in texts."""
    if value.type == kind and not value.leaf:
        return value.tree
    if value.type in ("int",) and kind in ("decimal", "float"):
        return cast(value.tree, kind)
    if value.type == "decimal" and kind == "float":
        return cast(value.tree, kind)
    if value.type == "date" and kind == "timestamp":
        return call("cdp_midnight", value.tree, text(zone))
    if value.type == "timestamp" and kind == "date":
        return call("cdp_local_date", value.tree, text(zone))
    if kind == "text":
        return as_text(value)
    plain = as_text(value)
    if kind in ("list", "json"):
        return plain
    if kind == "timestamp":
        return _moment(plain, zone, value.zone or zone)
    return call(f"cdp_try_{kind}", plain)


def _moment(plain: exp.Expr, zone: str, naive: str) -> exp.Expr:
    """A text as a time: a date is midnight in the project's `zone`, a time without offset is of the source's (`naive`)."""
    if naive == zone:
        return call("cdp_try_timestamp", plain, text(zone))
    short = exp.LTE(this=exp.Length(this=exp.Trim(this=plain.copy())), expression=exp.Literal.number(10))
    as_date = call("cdp_try_timestamp", plain.copy(), text(zone))
    return exp.Case().when(short, as_date).else_(call("cdp_try_timestamp", plain, text(naive)))


def as_text(value: Typed) -> exp.Expr:
    """The canonical text of a value: whole numbers without a point, times in ISO with Z."""
    if value.type in ("text", "list", "json"):
        return value.tree
    if value.type in ("bool", "decimal", "float", "date", "timestamp"):
        return call(f"cdp_text_of_{value.type}", value.tree)
    if value.type == "int":
        return exp.cast(exp.cast(value.tree, "BIGINT"), "TEXT")
    return exp.cast(value.tree, "TEXT")


def as_json(value: Typed) -> exp.Expr:
    """The value as JSON text: numbers and booleans bare, lists and structures as they are, the rest quoted."""
    if value.type in ("int", "decimal", "float", "bool"):
        return as_text(value)
    if value.type in ("list", "json") and not value.leaf:
        return value.tree
    return call("cdp_json_quote", as_text(value))


def number(value: int | float | Decimal) -> exp.Expr:
    """A numeric literal, exact; negative ones in brackets of their own."""
    shown = str(value) if isinstance(value, int) else format(Decimal(str(value)), "f")
    literal: exp.Expr = exp.Literal.number(shown.lstrip("-"))
    return exp.Paren(this=exp.Neg(this=literal)) if shown.startswith("-") else literal


def literal(value: str | int | float | bool) -> Typed:
    """A scalar of the language as a literal."""
    if isinstance(value, bool):
        return Typed(exp.Boolean(this=value), "bool")
    if isinstance(value, int):
        return Typed(number(value), "int")
    if isinstance(value, float):
        return Typed(number(value), "decimal")
    return Typed(text(value), "text")


def true_or_false(condition: exp.Expr) -> exp.Expr:
    """A leaf never says NULL: unknown is false."""
    return exp.Coalesce(this=condition, expressions=[exp.false()])


def both(parts: list[exp.Expr]) -> exp.Expr:
    """AND of all parts; of none: TRUE."""
    return exp.and_(*parts) if parts else exp.true()


def either(parts: list[exp.Expr]) -> exp.Expr:
    """OR of all parts; of none: FALSE."""
    return exp.or_(*parts) if parts else exp.false()
