"""Numbers and truth values in canonical trees: NULL instead of an error, and the same rounding everywhere."""

from __future__ import annotations

import math
import re

from sqlglot import exp

from cdp.project.snippet_build import Canon, call, closed, number, to_kind, when, whole
from cdp.project.snippet_nodes import Refused


def extreme_(node: exp.Expr, canon: Canon) -> exp.Expr:
    values = [node.this, *node.expressions]
    found = call("cdp_greatest" if isinstance(node, exp.Greatest) else "cdp_least", *values)
    if node.args.get("ignore_nulls", True):
        return found
    missing: exp.Expr = exp.Is(this=closed(values[0]), expression=exp.Null())
    for value in values[1:]:
        missing = exp.Or(this=missing, expression=exp.Is(this=closed(value), expression=exp.Null()))
    return when(missing, exp.Null(), found)


def mod_(node: exp.Expr, canon: Canon) -> exp.Expr:
    """NULL where the divisor is 0: some engines raise."""
    if whole(node.expression):
        return node
    return exp.Mod(this=node.this.copy(), expression=exp.Nullif(this=node.expression.copy(), expression=number(0)))


def div_(node: exp.Expr, canon: Canon) -> exp.Expr:
    return exp.Div(this=node.this.copy(), expression=node.expression.copy(), typed=False, safe=True)


def root_(node: exp.Expr, canon: Canon) -> exp.Expr:
    """NULL outside of the domain: some engines raise, others give NaN."""
    value = to_kind(node.this, "float")
    inside = exp.GTE if isinstance(node, exp.Sqrt) else exp.GT
    return when(inside(this=value, expression=number(0)), type(node)(this=value.copy()))


def power_(node: exp.Expr, canon: Canon) -> exp.Expr:
    return exp.Pow(this=to_kind(node.this, "float"), expression=to_kind(node.expression, "float"))


def exp_(node: exp.Expr, canon: Canon) -> exp.Expr:
    return exp.Exp(this=to_kind(node.this, "float"))


def round_(node: exp.Expr, canon: Canon) -> exp.Expr:
    """Half away from zero, on decimals (floats are rounded half to even on Postgres)."""
    places = whole(node.args.get("decimals") or number(0))
    if places is None or not 0 <= places <= 9:
        raise Refused("CDP125", "round() takes a number of places from 0 to 9")
    return exp.Round(this=node.this.copy(), decimals=number(places))


def is_(node: exp.Expr, canon: Canon) -> exp.Expr:
    right = node.expression
    negate = bool(node.args.get("negate"))
    new: exp.Expr
    if isinstance(right, exp.Null):
        new = exp.Is(this=closed(node.this), expression=exp.Null())
    elif isinstance(right, exp.Boolean):
        value = exp.Coalesce(this=node.this.copy(), expressions=[exp.Boolean(this=not right.this)])
        new = value if right.this else exp.Not(this=value)
    else:
        raise Refused("CDP122", "IS takes NULL, TRUE or FALSE", "write a IS NOT DISTINCT FROM b")
    return exp.Not(this=closed(new)) if negate else new


def same_(node: exp.Expr, canon: Canon) -> exp.Expr:
    """a IS NOT DISTINCT FROM b, with what every engine has."""
    left, right = closed(node.this), closed(node.expression)
    both = exp.And(this=exp.Is(this=left, expression=exp.Null()), expression=exp.Is(this=right, expression=exp.Null()))
    same = exp.Coalesce(this=exp.EQ(this=left.copy(), expression=right.copy()), expressions=[both])
    return exp.Not(this=same) if isinstance(node, exp.NullSafeNEQ) else same


def literal_(node: exp.Expr, canon: Canon) -> exp.Expr:
    written = str(node.this)
    if node.args.get("is_string"):
        return node
    if not re.fullmatch(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", written):
        raise Refused("CDP120", f"`{written[:50]}` is no number")
    if "e" in written.lower():
        if math.isinf(float(written)):
            raise Refused("CDP126", f"`{written}` is too large for a float")
    elif (
        len(written.partition(".")[0].lstrip("0")) > (29 if "." in written else 18)
        or len(written.partition(".")[2]) > 9
    ):
        raise Refused("CDP126", f"`{written[:50]}` is too long for an int (18 digits) or a decimal (29 and 9)")
    return node


def star_(node: exp.Expr, canon: Canon) -> exp.Expr:
    if not isinstance(node.parent, exp.Count) and not (
        canon.query and isinstance(node.parent, exp.Select | exp.Column)
    ):
        raise Refused("CDP122", "a `*`", "name the column")
    return node


def aggregate_(node: exp.Expr, canon: Canon) -> exp.Expr:
    """An aggregate of an aggregate makes sense in a window only."""
    above = node.parent
    while above is not None and not isinstance(above, exp.Window | exp.Query):
        if isinstance(above, exp.AggFunc):
            raise Refused("CDP122", "an aggregate inside an aggregate")
        above = above.parent
    return node


def join_(node: exp.Expr, canon: Canon) -> exp.Expr:
    kind = f"{node.args.get('side') or ''} {node.args.get('kind') or ''}".strip().upper()
    if kind not in ("", "INNER", "CROSS", "OUTER", "LEFT", "RIGHT", "FULL", "LEFT OUTER", "RIGHT OUTER", "FULL OUTER"):
        raise Refused("CDP122", f"a {kind} join", "use EXISTS (…), or LEFT JOIN")
    return node


def in_(node: exp.Expr, canon: Canon) -> exp.Expr:
    if not node.expressions and not node.args.get("query"):
        raise Refused("CDP122", "IN takes a list in brackets")
    return node


def if_(node: exp.Expr, canon: Canon) -> exp.Expr:
    if isinstance(node.parent, exp.Case):
        return node
    return when(node.this, node.args["true"], node.args.get("false"))
