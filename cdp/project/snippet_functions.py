"""A checked tree of any dialect ► the canonical tree, whose meaning no engine changes.

One rule per node type. Where engines answer differently, the node becomes one of our `cdp_…` functions or plain
arithmetic; what cannot be made equal is refused with a hint. Types are not known yet: casts are left as TRY_CAST and
`/` as Div for `snippet_types.safe_arithmetic`.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable

from sqlglot import exp

from cdp.project import snippet_dates, snippet_numbers
from cdp.project.snippet_build import (
    MAX_NODES,
    TYPE_OF,
    Canon,
    call,
    closed,
    literal_text,
    number,
    text,
    to_kind,
    when,
    whole,
)
from cdp.project.snippet_nodes import Refused


def canonical(node: exp.Expr, canon: Canon) -> exp.Expr:
    """The canonical tree; refusals are appended to `canon.refused`, and then the tree is of no use.

    Raises Refused (CDP127) where it grows out of bounds.
    """
    if isinstance(node, exp.JSONExtract | exp.JSONExtractScalar):
        children = [node.this]  # the path is no expression
    else:
        children = list(node.iter_expressions())
    for child in children:
        new = canonical(child, canon)
        if new is not child:
            child.replace(new)
    rule = _RULES.get(type(node))
    if rule is None:
        new = node
    else:
        try:
            new = rule(node, canon)
        except Refused as fault:
            fault.node = fault.node or node
            canon.refused.append(fault)
            return node
    if new is not node and "start" in node.meta:
        new.meta.setdefault("start", node.meta["start"])
        new.meta.setdefault("end", node.meta["end"])
    for _ in new.walk() if new is not node else (new,):
        canon.made += 1
        if canon.made > MAX_NODES:
            raise Refused("CDP127", "this grows too large", "split it into two traits", node)
    return new


def _at_least(node: exp.Expr, least: int, what: str) -> exp.Expr:
    """A position or length: engines differ below `least`, so it never gets there."""
    value = whole(node)
    if value is None:
        bounded = when(exp.LT(this=closed(node), expression=number(least)), number(least), node)
        return exp.Cast(this=bounded, to=exp.DataType.build("INT"))  # Postgres takes no bigint here
    if value < least:
        raise Refused("CDP125", f"{what} below {least} means another thing on each engine", None, node)
    return node


def _cast(node: exp.Expr, canon: Canon) -> exp.Expr:
    target = node.args["to"]
    name = target.this.value if isinstance(target.this, exp.DType) else str(target.this)
    if name in ("JSON", "VARIANT", "JSONB") and isinstance(node.parent, exp.JSONExtract | exp.JSONExtractScalar):
        return _inner(node)
    if name == "TEXT" and isinstance(node.this, exp.Anonymous) and node.this.this == "cdp_json_text":
        return _inner(node)
    kind = TYPE_OF.get(name)
    if kind is None or (target.args.get("nested") and target.expressions):
        hint = {"TIMESTAMPTZ": "timestamps are UTC: write timestamp"}.get(
            name, "text int decimal float bool date timestamp"
        )
        raise Refused("CDP125", f"a cast to `{name.lower()}`", hint)
    sizes = [whole(size.this) for size in target.expressions if isinstance(size, exp.DataTypeParam)]
    if sizes == [18, 3] and not canon.sized:
        sizes = []  # what DuckDB takes a bare DECIMAL for; ours is (38,9)
    if kind == "text" and sizes:
        raise Refused("CDP125", "a cast to a text of limited length", "write left(x, n)")
    if isinstance(node.this, exp.Literal) and node.this.is_string and kind in ("date", "timestamp"):
        return snippet_dates.moment(str(node.this.this), kind)
    scale = (sizes[1] if len(sizes) > 1 else 0) if kind == "decimal" and sizes else 9
    if scale is None or scale > 9:
        raise Refused("CDP125", "more than nine decimal places", "decimal is (38,9)")
    cast_ = to_kind(node.this, kind)
    return cast_ if scale == 9 else exp.Round(this=cast_, decimals=number(scale))


def _json(node: exp.Expr, canon: Canon) -> exp.Expr:
    path = node.expression
    keys: list[str] = []
    if isinstance(path, exp.JSONPath):
        for step in path.expressions:
            if isinstance(step, exp.JSONPathKey) and isinstance(step.this, str):
                keys.append(step.this)
            elif not isinstance(step, exp.JSONPathRoot):
                raise Refused("CDP125", "a JSON path with a position or a wildcard", "keys only: '$.a.b'")
        if canon.is_bare_path(path):
            raise Refused(
                "CDP125", "a JSON path without `$` that is no plain key", """write '$.a.b', or '$."a.b"' for one key"""
            )
    elif isinstance(path, exp.Literal) and path.is_string and not str(path.this).startswith("/"):
        keys.append(str(path.this))
    if not keys:
        raise Refused("CDP125", "a JSON path must be keys in quotes", "x ->> 'key' or x ->> '$.a.b'")
    inner = isinstance(node.parent, exp.JSONExtract | exp.JSONExtractScalar) and node.arg_key == "this"
    as_text = isinstance(node.parent, exp.Cast | exp.TryCast)
    if isinstance(node, exp.JSONExtract) and not inner and not as_text:
        raise Refused("CDP125", "`->` gives JSON, which engines compare differently", "`->>` gives text")
    below = node.this
    if isinstance(below, exp.Anonymous) and below.this == "cdp_json_text":
        return call("cdp_json_text", *below.expressions, *(text(key) for key in keys))
    return call("cdp_json_text", below, *(text(key) for key in keys))


def _concat(node: exp.Expr, canon: Canon) -> exp.Expr:
    if isinstance(node, exp.DPipe):
        sides = [node.this, node.expression]
        joined = [part for side in sides for part in (side.expressions if _is_call(side, "cdp_concat") else [side])]
        return call("cdp_concat", *joined)
    if not node.args.get("coalesce"):
        return call("cdp_concat", *node.expressions)
    return call(
        "cdp_concat", *(exp.Coalesce(this=to_kind(one, "text"), expressions=[text("")]) for one in node.expressions)
    )


def _is_call(node: exp.Expr, name: str) -> bool:
    return isinstance(node, exp.Anonymous) and node.this == name


def _pattern(node: exp.Expr | None) -> exp.Expr:
    """A literal in the RE2 subset that all engines share."""
    pattern = literal_text(node, "a pattern")
    rest = re.sub(r"\A\(\?(i|s|is|si)\)", "", pattern)
    odd = re.search(r"\(\?(?!:)|\\[1-9AZzGpPQEkRXCx]|[*+?}]\+|\[\[[:.=]", rest)
    if odd:
        raise Refused("CDP125", f"`{odd[0]}` in a pattern is not understood by every engine", None, node)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # `[[`, `--`, `&&` in a class: read differently by engines
            re.compile(pattern)
    except (re.error, FutureWarning) as error:
        raise Refused("CDP126", f"the pattern cannot be read: {error}", None, node) from None
    return text(pattern)


def _matches(node: exp.Expr, canon: Canon) -> exp.Expr:
    if node.args.get("flag"):
        raise Refused("CDP125", "a pattern with options", "lower(x) and a pattern in lower case")
    return call("cdp_matches", node.this, _pattern(node.expression))


def _regex_replace(node: exp.Expr, canon: Canon) -> exp.Expr:
    modifiers = node.args.get("modifiers")
    flags = literal_text(modifiers, "an option") if modifiers else ""
    if flags not in ("", "g") or (node.args.get("single_replace") and flags != "g"):
        raise Refused(
            "CDP125",
            "engines differ in which match they replace",
            "regexp_replace(x, 'pattern', 'by', 'g') replaces all",
        )
    by = literal_text(node.args.get("replacement") or text(""), "what stands in")
    if re.search(r"[\\$&]", by):
        raise Refused("CDP125", "`\\`, `$` and `&` in what stands in", "engines write groups differently")
    return call("cdp_regex_replace", node.this, _pattern(node.expression), text(by))


def _like(node: exp.Expr, canon: Canon) -> exp.Expr:
    pattern = literal_text(node.expression, "the pattern of LIKE")
    if "\\" in pattern:
        raise Refused(
            "CDP125", "a backslash in LIKE is an escape on some engines", "use contains(x, 'text')", node.expression
        )
    left = node.this
    if isinstance(node, exp.ILike):
        left, pattern = exp.Lower(this=left.copy()), pattern.lower()
    like = exp.Like(this=closed(left), expression=text(pattern))
    return exp.Not(this=like) if node.args.get("negate") else like


def _list_has(node: exp.Expr, canon: Canon) -> exp.Expr:
    value = node.expression
    if isinstance(value, exp.Literal):
        element: exp.Expr = text(json.dumps(value.this, ensure_ascii=False) if value.is_string else str(value.this))
    else:
        element = call("cdp_json_quote", value)
    return call("cdp_list_has", node.this, element)


def _trim(node: exp.Expr, canon: Canon) -> exp.Expr:
    """Always with its characters: BigQuery's bare TRIM takes off all white space, others blanks."""
    characters = literal_text(node.expression, "what is trimmed") if node.expression else " "
    trimmed = exp.Trim(this=node.this.copy(), expression=text(characters))
    if node.args.get("position") and node.args["position"] != "BOTH":
        trimmed.set("position", node.args["position"])
    return trimmed


def _substring(node: exp.Expr, canon: Canon) -> exp.Expr:
    node.set("start", _at_least(node.args.get("start") or number(1), 1, "a start"))
    if node.args.get("length"):
        node.set("length", _at_least(node.args["length"], 0, "a length"))
    return node


def _left(node: exp.Expr, canon: Canon) -> exp.Expr:
    return type(node)(this=node.this.copy(), expression=_at_least(node.expression, 0, "a length").copy())


def _ends(node: exp.Expr, canon: Canon) -> exp.Expr:
    """STARTS_WITH is missing on some engines, and our cdp_starts_with does not mind the case."""
    side = exp.Left if isinstance(node, exp.StartsWith) else exp.Right
    cut = side(this=node.this.copy(), expression=exp.Length(this=node.expression.copy()))
    return exp.Paren(this=exp.EQ(this=cut, expression=closed(node.expression)))


def _contains(node: exp.Expr, canon: Canon) -> exp.Expr:
    found = exp.StrPosition(this=closed(node.this), substr=closed(node.expression))
    return exp.Paren(this=exp.GT(this=found, expression=number(0)))


def _position(node: exp.Expr, canon: Canon) -> exp.Expr:
    return exp.StrPosition(this=closed(node.this), substr=closed(node.args["substr"]))


def _replace(node: exp.Expr, canon: Canon) -> exp.Expr:
    if not literal_text(node.expression, "what is replaced"):
        raise Refused("CDP125", "replacing an empty text")
    return exp.Replace(
        this=node.this.copy(),
        expression=node.expression.copy(),
        replacement=(node.args.get("replacement") or text("")).copy(),
    )


def _split(node: exp.Expr, canon: Canon) -> exp.Expr:
    delimiter, index = literal_text(node.args.get("delimiter"), "the delimiter"), whole(node.args.get("part_index"))
    if not delimiter or index is None or index < 1:
        raise Refused("CDP125", "split_part takes a delimiter and a number from 1")
    return exp.SplitPart(this=node.this.copy(), delimiter=text(delimiter), part_index=number(index))


def _pad(node: exp.Expr, canon: Canon) -> exp.Expr:
    node.set("expression", _at_least(node.expression, 0, "a length"))
    if not literal_text(node.args.get("fill_pattern") or text(" "), "the filling"):
        raise Refused("CDP125", "padding with nothing")
    node.set("fill_pattern", node.args.get("fill_pattern") or text(" "))
    return node


def _sha(node: exp.Expr, canon: Canon) -> exp.Expr:
    if whole(node.args.get("length") or number(256)) != 256:
        raise Refused("CDP125", "a hash other than md5 and sha256")
    return call("cdp_sha256", node.this)


def _inner(node: exp.Expr) -> exp.Expr:
    inner = node.this
    assert isinstance(inner, exp.Expr)
    return inner


_Rule = Callable[[exp.Expr, Canon], exp.Expr]
_RULES: dict[type[exp.Expr], _Rule] = {
    exp.Literal: snippet_numbers.literal_,
    exp.Star: snippet_numbers.star_,
    exp.Join: snippet_numbers.join_,
    **dict.fromkeys((exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max), snippet_numbers.aggregate_),
    exp.Add: snippet_dates.add,
    exp.Sub: snippet_dates.add,
    exp.Mod: snippet_numbers.mod_,
    exp.Div: snippet_numbers.div_,
    exp.Pow: snippet_numbers.power_,
    exp.Sqrt: snippet_numbers.root_,
    exp.Ln: snippet_numbers.root_,
    exp.Exp: snippet_numbers.exp_,
    exp.Round: snippet_numbers.round_,
    exp.Greatest: snippet_numbers.extreme_,
    exp.Least: snippet_numbers.extreme_,
    exp.Is: snippet_numbers.is_,
    exp.NullSafeEQ: snippet_numbers.same_,
    exp.NullSafeNEQ: snippet_numbers.same_,
    exp.In: snippet_numbers.in_,
    exp.If: snippet_numbers.if_,
    exp.Like: _like,
    exp.ILike: _like,
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.Interval: snippet_dates.interval,
    exp.JSONExtract: _json,
    exp.JSONExtractScalar: _json,
    exp.DPipe: _concat,
    exp.Concat: _concat,
    exp.MD5: lambda node, canon: call("cdp_md5", node.this),
    exp.SHA2: _sha,
    exp.RegexpLike: _matches,
    exp.RegexpReplace: _regex_replace,
    exp.Trim: _trim,
    exp.Substring: _substring,
    exp.Left: _left,
    exp.Right: _left,
    exp.StartsWith: _ends,
    exp.EndsWith: _ends,
    exp.Contains: _contains,
    exp.StrPosition: _position,
    exp.Replace: _replace,
    exp.SplitPart: _split,
    exp.Pad: _pad,
    exp.ArrayContains: _list_has,
    exp.ArraySize: lambda node, canon: call("cdp_list_length", node.this),
    exp.TimestampTrunc: snippet_dates.trunc,
    exp.DateTrunc: snippet_dates.trunc,
    exp.TsOrDsToDate: lambda node, canon: to_kind(node.this, "date"),  # Spark's datediff(a, b)
    exp.DateDiff: snippet_dates.date_diff,
    exp.TimestampDiff: snippet_dates.date_diff,
    exp.DatetimeDiff: snippet_dates.date_diff,
    **dict.fromkeys(
        (exp.DateAdd, exp.DateSub, exp.TimestampAdd, exp.TimestampSub, exp.DatetimeAdd, exp.DatetimeSub),
        snippet_dates.date_add,
    ),
    exp.Extract: snippet_dates.extract,
    **{
        kind: lambda node, canon: snippet_dates.part(type(node).__name__.lower(), node.this)
        for kind in (exp.Year, exp.Quarter, exp.Month, exp.Day, exp.Hour, exp.Minute)
    },
    exp.DayOfWeekIso: lambda node, canon: exp.Paren(this=snippet_dates.part("isodow", node.this)),
    exp.Median: lambda node, canon: call("cdp_median", node.this),
}
