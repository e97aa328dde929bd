"""What a user's SQL may be made of: node types with the arguments they may carry, and how anything else is refused.

The parser understands far more than is safe or equal on every engine, so this is a list of what is let in, never of
what is kept out: a node type that is not named here is refused, and so is a named one with an argument that is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType


@dataclass(frozen=True)
class SnippetError:
    """One mistake in a text; `offset` counts characters from 0, `line` and `col` from 1."""

    code: str
    message: str
    offset: int = 0
    line: int = 1
    col: int = 1
    length: int = 1
    hint: str | None = None


class SnippetErrors(Exception):
    """Everything that is wrong with one text; the caller adds the file and the line it stands at."""

    def __init__(self, problems: Sequence[SnippetError]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = tuple(problems)


class Refused(Exception):
    """A node that cannot stand in a user's SQL; `snippet` adds the place."""

    def __init__(self, code: str, message: str, hint: str | None = None, node: exp.Expr | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.hint, self.node = code, message, hint, node


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _nodes(*lines: tuple[str, str]) -> dict[type[exp.Expr], frozenset[str]]:
    """Class name(s) ► the arguments that may be set."""
    return {getattr(exp, name): frozenset(args.split()) for names, args in lines for name in names.split()}


EXPRESSION: Mapping[type[exp.Expr], frozenset[str]] = _nodes(
    ("Column", "this table db catalog"),
    ("Identifier", "this quoted"),
    ("Literal", "this is_string"),
    ("Boolean Null Paren Var Neg Not", "this"),
    ("And Or EQ NEQ LT LTE GT GTE NullSafeEQ NullSafeNEQ Add Sub Mul Mod Pow", "this expression"),
    ("Is Like ILike", "this expression negate"),
    ("Div", "this expression typed safe"),
    ("DPipe", "this expression safe"),
    ("Between", "this low high"),
    ("In", "this expressions"),
    ("Case", "this ifs default"),
    ("If", "this true false"),
    ("Coalesce", "this expressions is_nvl is_null"),
    ("Nullif", "this expression"),
    ("Cast TryCast", "this to safe"),
    ("DataType", "this expressions nested"),
    ("DataTypeParam", "this"),
    ("Interval", "this unit"),
    # text
    ("Lower Upper Length MD5", "this"),
    ("Trim", "this expression position"),
    ("Substring", "this start length"),
    ("Left Right", "this expression negative_length_returns_empty"),
    ("Replace", "this expression replacement"),
    ("Concat", "expressions safe coalesce"),
    ("SplitPart", "this delimiter part_index part_index_zero_as_one empty_delimiter_returns_whole"),
    ("Pad", "this expression fill_pattern is_left"),
    ("StrPosition", "this substr clamp_position"),
    ("StartsWith EndsWith Contains", "this expression"),
    ("RegexpLike", "this expression flag"),
    ("RegexpReplace", "this expression replacement modifiers single_replace"),
    ("SHA2", "this length"),
    # numbers
    ("Abs Sqrt Ln Exp Sign", "this"),
    ("Floor Ceil", "this"),
    ("Round", "this decimals casts_non_integer_decimals"),
    ("Greatest Least", "this expressions ignore_nulls"),
    # dates
    ("TimestampTrunc DateTrunc", "this unit input_type_preserved"),
    ("DateDiff TimestampDiff DatetimeDiff", "this expression unit date_part_boundary big_int"),
    ("DateAdd DateSub TimestampAdd TimestampSub DatetimeAdd DatetimeSub", "this expression unit"),
    ("Extract", "this expression"),
    ("TsOrDsToDate", "this"),
    ("Year Quarter Month Day Hour Minute DayOfWeekIso", "this"),
    # json and lists
    ("JSONExtract", "this expression only_json_types variant_extract requires_json"),
    ("JSONExtractScalar", "this expression only_json_types scalar_only json_type"),
    ("JSONPath", "expressions"),
    ("JSONPathRoot", ""),
    ("JSONPathKey", "this quoted"),
    ("ArrayContains", "this expression ensure_variant check_null"),
    ("ArraySize", "this"),
)

AGGREGATES: Mapping[type[exp.Expr], frozenset[str]] = _nodes(
    ("Count", "this expressions big_int"),
    ("Sum Avg Median Where", "this"),
    ("Min Max", "this"),
    ("Distinct", "expressions"),
    ("Filter", "this expression"),
    ("Star", ""),
)

QUERY: Mapping[type[exp.Expr], frozenset[str]] = {
    **AGGREGATES,
    **_nodes(
        ("Select", "with_ expressions distinct from_ joins where group having qualify order limit offset"),
        ("Union Except Intersect", "with_ this expression distinct order limit offset"),
        ("With", "expressions"),
        ("CTE", "this alias"),
        ("Subquery", "this alias with_"),
        ("Table", "this alias joins"),
        ("TableAlias", "this columns"),
        ("Alias", "this alias"),
        ("From Having Qualify Exists", "this"),
        ("Join", "this on side kind using"),
        ("Group", "expressions"),
        ("Order", "expressions"),
        ("Ordered", "this desc nulls_first"),
        ("Limit Offset", "expression"),
        ("In", "this expressions query"),
        ("Window", "this partition_by order spec over"),
        ("WindowSpec", "kind start start_side end end_side"),
        ("RowNumber", ""),
        ("Rank DenseRank", ""),
        ("Ntile FirstValue LastValue", "this"),
        ("Lag Lead", "this offset default"),
    ),
}

STRINGS_REFUSED = frozenset(
    getattr(TokenType, name)
    for name in (
        "HEREDOC_STRING",
        "RAW_STRING",
        "HEX_STRING",
        "BIT_STRING",
        "BYTE_STRING",
        "NATIONAL_STRING",
        "UNICODE_STRING",
        "PARAMETER",
        "PLACEHOLDER",
    )
)

CLOCK = _words(
    "now today getdate sysdate systimestamp current_date current_time current_timestamp current_datetime localtime "
    "localtimestamp get_current_timestamp get_current_time transaction_timestamp statement_timestamp clock_timestamp "
    "unix_timestamp timeofday"
)
RANDOM = _words(
    "random rand uuid gen_random_uuid generate_uuid uuid_string uuidv4 uuidv7 newid randn uniform setseed nextval "
    "currval seq4 seq8"
)
_CLOCK_NODE = re.compile(r"(Current|Utc|Local|Sys)(Date|Time|date|time)\w*|UnixTimestamp|Systimestamp")
_RANDOM_NODES = ("Rand", "Randn", "Uuid", "UuidString", "NextValueFor", "Uniform", "Seq")

# What an expression may call, as people write it: for "did you mean" and for the docs.
NAMES = sorted(
    _words(
        """
        abs array_length cast ceil coalesce concat contains date_diff date_trunc day ends_with exp extract
        floor greatest hour if isodow json_extract_string least left length list_contains ln lower lpad ltrim
        md5 minute mod month nullif position power quarter regexp_matches regexp_replace replace right round
        rpad rtrim sha256 sign split_part sqrt starts_with strpos substring trim try_cast upper year
        """
    )
)

_HINTS = {
    "regexp_extract": "split_part(), substring() and position() give the same answer on every engine",
    "strftime": "format dates in the destination, or put date parts together with extract()",
    "concat_ws": "concat(a, sep, b), or a || sep || b where any NULL shall give NULL",
    "log": "`log` has a base that differs by engine: write ln(x), or ln(x) / ln(10)",
    "date_part": "extract(year from x)",
    "datepart": "extract(year from x)",
    "date_sub": "date_diff('day', a, b), or x - interval '7 days'",
    "epoch": "extract(epoch from x)",
    "dayofweek": "isodow(x): Monday is 1 on every engine",
}


def refusal(node: exp.Expr, name: str | None) -> Refused:
    """Why a node that is on no list is refused; `name` is the function's name as it was written."""
    kind = type(node).__name__
    called = (name or "").lower()
    if isinstance(node, exp.Query | exp.Exists | exp.Unnest | exp.Lateral | exp.Table):
        return Refused(
            "CDP122", "a query inside an expression", "an expression sees the row's own columns; write a trait"
        )
    if called in CLOCK or _CLOCK_NODE.fullmatch(kind):
        return Refused("CDP124", f"`{called or kind}` asks the clock", "`as_of` is the time of the run")
    if called in RANDOM or kind in _RANDOM_NODES:
        return Refused("CDP124", f"`{called or kind}` gives another answer each time", "use md5() of a key")
    if isinstance(node, exp.Window):
        return Refused("CDP122", "a window function", "write a trait (`rank`, `ntile`, `first`, …) or a query")
    if isinstance(node, exp.AggFunc | exp.Filter | exp.WithinGroup):
        return Refused("CDP122", "an aggregate over many rows", "write a trait (`sum`, `count`, …) or a query")
    if isinstance(node, exp.Placeholder | exp.Parameter | exp.SessionParameter):
        return Refused("CDP122", "a parameter", "write the value, or `{{ var('name') }}` in YAML")
    if isinstance(node, exp.Star):
        return Refused("CDP122", "a `*`", "name the column")
    if isinstance(node, exp.JSONPathPart):
        return Refused("CDP125", "a JSON path with a position or a wildcard", "keys only: '$.a.b'")
    if isinstance(node, exp.Func) and kind not in _CONSTRUCTS:
        shown = called or node.sql_name().lower()
        return Refused("CDP123", f"`{shown}` is no function that may be used here", _HINTS.get(shown))
    return Refused("CDP122", f"`{_spoken(kind)}` may not be used here", _CONSTRUCTS.get(kind))


_PLAIN_NAME = re.compile(r"[^\W\d]\w*\Z")
_HOLDS_QUERY = (exp.Subquery, exp.CTE, exp.In, exp.Exists, exp.SetOperation)
_HOLDS_DISTINCT = (exp.Select, exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max)


def misplaced(node: exp.Expr) -> Refused | None:
    """Why a node that is on the list cannot stand where it does, or as it is; None where nothing is wrong."""
    if isinstance(node, exp.Identifier):
        name = node.name
        if not node.args.get("quoted") and not _PLAIN_NAME.match(name):
            return Refused("CDP122", f"`{name}` is no plain name on every engine", "put it in quotes")
        if "\\" in name or not name.isprintable():
            return Refused("CDP122", "a name with a backslash or a control character")
    elif isinstance(node, exp.Query) and not isinstance(node, exp.Subquery):
        if isinstance(node.parent, exp.Paren) and node.parent.parent is None:  # the root
            return None
        if not isinstance(node.parent, _HOLDS_QUERY):
            return Refused("CDP122", "a query inside an expression without brackets")
    elif isinstance(node, exp.Distinct) and not isinstance(node.parent, _HOLDS_DISTINCT):
        return Refused("CDP122", "`DISTINCT` may not be used here")
    elif isinstance(node, exp.Order) and not isinstance(node.parent, exp.Query | exp.Window):
        return Refused("CDP122", "`ORDER BY` may not be used here")
    if not isinstance(node, exp.Literal) and node.error_messages():
        name = node.sql_name() if isinstance(node, exp.Func) else _spoken(type(node).__name__)
        return Refused("CDP120", f"`{name.lower()}` lacks an argument")
    return None


_CONSTRUCTS = {
    "IntDiv": "write floor(a / b)",
    "Bracket": "x ->> 'key' reads JSON; list_contains(x, 'v') asks a list",
    "Struct": "x ->> 'key' reads JSON",
    "Array": "x IN (1, 2) tests a list",
    "Tuple": "write a = 1 AND b = 2",
    "Collate": "compare lower(a) with lower(b)",
    "AtTimeZone": "stored times are UTC; `timezone:` of the source says what naive times mean",
    "Escape": "contains(), starts_with() and ends_with() take % and _ as they are",
    "SimilarTo": "use regexp_matches(x, 'pattern')",
    "Glob": "use LIKE or regexp_matches(x, 'pattern')",
    "Dot": "a column path is names joined by dots",
}


def _spoken(kind: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(kind))
