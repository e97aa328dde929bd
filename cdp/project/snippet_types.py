"""The language's types over canonical trees: what an expression is, and the casts that its types ask for.

A text is never taken for a number by itself; a failing cast is NULL; decimals stay (38,9); a division by zero is NULL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from sqlglot import exp

from cdp.project.snippet_build import SQL_TYPE, TYPE_OF, call, cast, closed, number, text
from cdp.project.snippet_dates import moment
from cdp.project.snippet_nodes import Refused, SnippetError, SnippetErrors

Types = Callable[[str], str | None]
Kind = Literal["text", "int", "decimal", "float", "bool", "date", "timestamp", "list", "json"]
KINDS: tuple[str, ...] = get_args(Kind)
_NUMBERS = ("int", "decimal", "float")

_RESULT = {
    "cdp_md5": "text",
    "cdp_sha256": "text",
    "cdp_concat": "text",
    "cdp_json_text": "text",
    "cdp_json_quote": "text",
    "cdp_regex_replace": "text",
    "cdp_digits": "text",
    "cdp_matches": "bool",
    "cdp_list_has": "bool",
    "cdp_list_length": "int",
    "cdp_epoch_us": "int",
    "cdp_bucket": "int",
    "cdp_of_epoch_us": "timestamp",
    "cdp_add_us": "timestamp",
    "cdp_utc": "timestamp",
    "cdp_local_timestamp": "timestamp",
    "cdp_midnight": "timestamp",
    "cdp_local_date": "date",
    "cdp_median": "float",
}
_TEXT = (exp.Lower, exp.Upper, exp.Trim, exp.Substring, exp.Left, exp.Right, exp.Replace, exp.SplitPart, exp.Pad)
_INT = (exp.Length, exp.StrPosition, exp.Count, exp.RowNumber, exp.Rank, exp.DenseRank, exp.Ntile, exp.Sign)
_FLOAT = (exp.Pow, exp.Sqrt, exp.Ln, exp.Exp)
_SAME = (
    exp.Paren,
    exp.Neg,
    exp.Abs,
    exp.Min,
    exp.Max,
    exp.FirstValue,
    exp.LastValue,
    exp.Lag,
    exp.Lead,
    exp.Window,
    exp.Filter,
    exp.Nullif,
)


def column_path(node: exp.Column) -> str:
    """The name under which `types` knows a column: its parts joined by dots."""
    path = node.meta.get("path") or tuple(part.name for part in node.parts)
    return ".".join(path)


def type_of(tree: exp.Expr, types: Types) -> str | None:
    """The language's type of a canonical expression, None where it cannot be told.

    `types` gives the type of a column by its path (`price`, `plan.price`). Never raises.
    """
    return _kind(tree, types)


def _kind(node: exp.Expr, types: Types) -> str | None:
    if isinstance(node, exp.Column):
        path = column_path(node)
        return types(path) or ("timestamp" if path == "as_of" else None)
    if isinstance(node, exp.Literal):
        if node.is_string:
            return "text"
        written = str(node.this)
        return "float" if "e" in written.lower() else "decimal" if "." in written else "int"
    if isinstance(node, exp.Boolean | exp.Predicate | exp.Connector | exp.Not | exp.In | exp.Between | exp.Is):
        return "bool"
    if isinstance(node, exp.Cast | exp.TryCast):
        target = node.args["to"].this
        return TYPE_OF.get(target.value if isinstance(target, exp.DType) else str(target))
    if isinstance(node, exp.Anonymous):
        return _kind_of_call(node, types)
    for classes, kind in ((_TEXT, "text"), (_INT, "int"), (_FLOAT, "float")):
        if isinstance(node, classes):
            return kind
    if isinstance(node, exp.TimestampTrunc):
        return "timestamp"
    if isinstance(node, _SAME):
        return _kind(node.this, types)
    if isinstance(node, exp.Coalesce):
        return _common([node.this, *node.expressions], types)
    if isinstance(node, exp.Case):
        return _common([*(branch.args["true"] for branch in node.args["ifs"]), node.args.get("default")], types)
    if isinstance(node, exp.Round | exp.Floor | exp.Ceil):
        inner = _kind(node.this, types)
        return inner if inner == "int" else "decimal" if inner else None
    if isinstance(node, exp.Sum | exp.Avg):
        inner = _kind(node.this, types)
        return "int" if inner == "int" and isinstance(node, exp.Sum) else "decimal" if inner in _NUMBERS else None
    if isinstance(node, exp.Add | exp.Sub | exp.Mul | exp.Mod | exp.Div):
        return _kind_of_arithmetic(node, types)
    return None


def _kind_of_call(node: exp.Anonymous, types: Types) -> str | None:
    name = str(node.this).lower()
    if name in ("cdp_greatest", "cdp_least", "cdp_first", "cdp_last"):
        return _common(node.expressions if name in ("cdp_greatest", "cdp_least") else node.expressions[:1], types)
    if name == "cdp_divide":
        return "float" if "float" in [_kind(one, types) for one in node.expressions] else "decimal"
    for prefix, kinds in (("cdp_text_of_", None), ("cdp_try_", KINDS)):
        if name.startswith(prefix):
            kind = name.removeprefix(prefix).removesuffix("_format")
            return "text" if kinds is None else kind if kind in kinds else None
    return _RESULT.get(name)


def _kind_of_arithmetic(node: exp.Expr, types: Types) -> str | None:
    left, right = _kind(node.this, types), _kind(node.expression, types)
    if isinstance(node.expression, exp.Interval):
        return "timestamp"
    if left == "date" and right in ("date", "int"):
        return "int" if right == "date" else "date"
    if "float" in (left, right):
        return "decimal" if isinstance(node, exp.Mod) else "float"
    if isinstance(node, exp.Div):
        return "decimal"
    if "decimal" in (left, right):
        return "decimal"
    return "int" if (left, right) == ("int", "int") else None


def _common(nodes: list[exp.Expr | None], types: Types) -> str | None:
    kinds = {_kind(node, types) for node in nodes if node is not None and not isinstance(node, exp.Null)}
    if len(kinds) == 1:
        return kinds.pop()
    for wider in ("float", "decimal"):
        if wider in kinds and kinds <= set(_NUMBERS):
            return wider
    return "timestamp" if kinds == {"date", "timestamp"} else None


def _clash(message: str, hint: str, node: exp.Expr) -> SnippetErrors:
    """Two types that do not go together, at the first place below `node` that the user wrote."""
    places = [child.meta["at"] for child in node.find_all(exp.Expr) if "at" in child.meta]
    place: dict[str, int] = min(places, key=lambda at: at["offset"], default={})
    return SnippetErrors([SnippetError("CDP126", message, hint=hint, **place)])


def safe_arithmetic(tree: exp.Expr, types: Types, *, zone: str = "UTC") -> exp.Expr:
    """A copy of a canonical tree with the casts that its types ask for: to be called once, before `resolve` or after.

    TRY_CAST becomes the cdp_try_… of its type, or a plain cast between numbers; `/` becomes cdp_divide (NULL on zero,
    never whole-number division); decimal * decimal is cast back to (38,9); date - date counts days; other types in `||`
    become text. `zone` is that of texts cast to timestamps which bear no offset. Raises SnippetErrors (CDP126).
    """
    root = exp.Paren(this=tree.copy())
    _rewrite(root, types, zone)
    result = root.this
    assert isinstance(result, exp.Expr)
    return result.pop()


def _rewrite(node: exp.Expr, types: Types, zone: str) -> exp.Expr:
    for child in list(node.iter_expressions()):
        new = _rewrite(child, types, zone)
        if new is not child:
            child.replace(exp.Paren(this=new) if _comes_apart(new, node) else new)
    if isinstance(node, exp.TryCast):
        return _converted(node.this, _kind(node.this, types), _kind(node, types) or "text", zone)
    if isinstance(node, exp.Add | exp.Sub | exp.Mul | exp.Div | exp.Mod):
        return _arithmetic(node, types)
    if isinstance(node, exp.EQ | exp.NEQ | exp.LT | exp.LTE | exp.GT | exp.GTE):
        _compare(node, [node.this, node.expression], types, zone)
    elif isinstance(node, exp.Between):
        _compare(node, [node.this, node.args["low"], node.args["high"]], types, zone)
    elif isinstance(node, exp.In):
        _compare(node, [node.this, *node.expressions], types, zone)
    elif isinstance(node, exp.Anonymous) and node.this in ("cdp_concat", "cdp_md5", "cdp_sha256"):
        node.set("expressions", [as_text(one, _kind(one, types), types) for one in node.expressions])
    elif isinstance(node, exp.Length) and _kind(node.this, types) == "list":
        return call("cdp_list_length", node.this)
    elif isinstance(node, exp.Round | exp.Floor | exp.Ceil) and _kind(node.this, types) == "float":
        node.set("this", cast(node.this, "decimal"))
    elif isinstance(node, (*_TEXT, exp.Length)):
        kind = _kind(node.this, types)
        if kind in (*_NUMBERS, "bool", "date", "timestamp"):
            raise _clash(f"a text function over {kind}", "write cast(x as text)", node)
    return node


def _comes_apart(new: exp.Expr, parent: exp.Expr) -> bool:
    return (
        isinstance(new, exp.Binary | exp.Unary)
        and not isinstance(new, exp.Paren)
        and isinstance(parent, exp.Binary | exp.Unary)
    )


def _arithmetic(node: exp.Expr, types: Types) -> exp.Expr:
    left, right = _kind(node.this, types), _kind(node.expression, types)
    if isinstance(node.expression, exp.Interval):
        return node
    for kind in (left, right):
        if kind in ("text", "bool", "list", "json"):
            raise _clash(f"arithmetic with {kind}", "write cast(x as decimal) where a text holds a number", node)
    if left == "date" and right == "date" and isinstance(node, exp.Sub):
        micros = exp.Sub(this=_epoch(node.this), expression=_epoch(node.expression))
        return cast(call("cdp_divide", micros, number(86_400_000_000)), "int")
    if left == "date" and right == "int" and isinstance(node, exp.Add | exp.Sub):
        days = exp.Mul(this=closed(node.expression), expression=number(86_400_000_000))
        moved = exp.Neg(this=exp.Paren(this=days)) if isinstance(node, exp.Sub) else days
        return cast(call("cdp_add_us", cast(node.this, "timestamp"), moved), "date")
    if {left, right} & {"date", "timestamp"}:
        raise _clash("arithmetic with times", "date_diff('day', a, b), or x + interval '7 days'", node)
    if isinstance(node, exp.Div):
        if "float" in (left, right):
            return call("cdp_divide", node.this, node.expression)
        return cast(call("cdp_divide", node.this, node.expression), "decimal")
    if isinstance(node, exp.Mod) and "float" in (left, right):  # Postgres has no % for floats
        sides = [
            cast(side, "decimal") if kind == "float" else closed(side)
            for side, kind in zip(_sides(node), (left, right), strict=True)
        ]
        return exp.Mod(this=sides[0], expression=sides[1])
    if isinstance(node, exp.Mul) and _kind_of_arithmetic(node, types) == "decimal":
        return cast(node, "decimal")
    return node


def _sides(node: exp.Expr) -> tuple[exp.Expr, exp.Expr]:
    return node.this, node.expression


def _epoch(node: exp.Expr) -> exp.Expr:
    return call("cdp_epoch_us", cast(node, "timestamp"))


def _compare(node: exp.Expr, sides: list[exp.Expr], types: Types, zone: str) -> None:
    """A text in quotes beside a time is a time; anything else of two kinds is a mistake."""
    kinds = [_kind(side, types) for side in sides]
    times = {kind for kind in kinds if kind in ("date", "timestamp")}
    if times:
        target = "timestamp" if "timestamp" in times else "date"
        for side, kind in zip(sides, kinds, strict=True):
            if kind == "text" and isinstance(side, exp.Literal):
                side.replace(_moment(side, "timestamp" if len(str(side.this)) > 10 else target))
            elif kind == "date" and target == "timestamp":
                side.replace(cast(side, "timestamp"))
        kinds = [
            kind for side, kind in zip(sides, kinds, strict=True) if not isinstance(side, exp.Literal) or kind != "text"
        ]
    families = {_family(kind) for kind in kinds if kind is not None}
    if len(families) > 1:
        said = " and ".join(sorted({kind for kind in kinds if kind}))
        raise _clash(f"{said} cannot be compared", "write cast(x as …) on one side", node)


def _moment(side: exp.Expr, kind: str) -> exp.Expr:
    try:
        return moment(str(side.this), kind)
    except Refused as fault:
        raise _clash(fault.message, fault.hint or "", side.parent or side) from None


def _family(kind: str) -> str:
    return (
        "number"
        if kind in _NUMBERS
        else "time"
        if kind in ("date", "timestamp")
        else "text"
        if kind in ("list", "json")
        else kind
    )


def as_text(node: exp.Expr, kind: str | None, types: Types) -> exp.Expr:
    """A value of any type as the text that is the same on every engine."""
    if kind in ("text", "list", "json") or isinstance(node, exp.Null):
        return node
    if kind in ("bool", "decimal", "float", "date", "timestamp"):
        return call(f"cdp_text_of_{kind}", node)
    return cast(node, "text")


def _converted(value: exp.Expr, source: str | None, target: str, zone: str) -> exp.Expr:
    """CAST by the types on both sides; NULL where it fails."""
    if source == target:
        return value.copy()
    if target == "text":
        return as_text(value.copy(), source, lambda _: None)
    if isinstance(value, exp.Null):
        return cast(value, target)
    if source in _NUMBERS and target in _NUMBERS:
        if target == "int":  # engines truncate, or round half to even: half away from zero here, as decimals do
            return cast(
                exp.Round(this=value.copy() if source == "decimal" else cast(value, "decimal"), decimals=number(0)),
                "int",
            )
        return cast(value, target)
    if source == "bool" and target in _NUMBERS:
        ones = [exp.If(this=exp.Boolean(this=truth), true=number(int(truth))) for truth in (True, False)]
        return cast(exp.Case(this=value.copy(), ifs=ones), target)
    if source in _NUMBERS and target == "bool":
        return exp.Paren(this=exp.NEQ(this=closed(value), expression=number(0)))
    if {source, target} == {"date", "timestamp"}:
        return cast(value, target)
    if source not in (None, "text", "json"):
        raise _clash(f"{source} cannot become {target}", "there is no cast between these types", value)
    written = value.copy() if source else cast(value, "text")
    if target not in SQL_TYPE:
        raise _clash(f"a cast to {target}", "lists and JSON are text already", value)
    arguments = [written, text(zone)] if target == "timestamp" else [written]
    return call(f"cdp_try_{target}", *arguments)
