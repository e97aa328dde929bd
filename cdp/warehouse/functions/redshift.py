r"""The canonical functions on Amazon Redshift, whose session time zone must be UTC.

Each rule is AWS's own (https://docs.aws.amazon.com/redshift/latest/dg/…, the page is named beside it); there is no server
of it to try on. Text of any length is VARCHAR(MAX): a bare VARCHAR holds 256 bytes (r_Character_types). A backslash in
a literal is an escape. Texts are compared by bytes, without their trailing blanks (c_collation_sequences).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlglot import exp

from cdp.errors import CompileError
from cdp.warehouse.facts import Build, Facts
from cdp.warehouse.functions.duckdb import is_double, is_json
from cdp.warehouse.functions.formats import of_formats
from cdp.warehouse.functions.fragment import called, chained, fill, filtering, fragments, literal_text, zoned
from cdp.warehouse.functions.patterns import REDSHIFT, translated
from cdp.warehouse.functions.shapes import BLANKS, FALSE, INT, NUMBER, REAL_TIMESTAMP, TRUE, WITH_OFFSET

_D = "redshift"
_TEXT = "CAST(_1 AS VARCHAR(MAX))"
_T = f"TRIM('{BLANKS}' FROM {_TEXT})"
_STAMP = f"UPPER({_T})"
# r_DATE_TIME literals: a blank between date and time, an offset in digits; a fraction has at most six of them
_ISO = f"REPLACE(REPLACE(REPLACE(REPLACE({_STAMP}, ' UTC', '+00'), 'UTC', '+00'), 'Z', '+00'), 'T', ' ')"
_EPOCH = "CAST('1970-01-01 00:00:00' AS TIMESTAMP)"
_SINCE_EPOCH = "DATEDIFF(MICROSECOND, " + _EPOCH + ", CAST({} AS TIMESTAMP))"
_FIRST_YEAR = 62_135_596_800_000_000  # microseconds from 0001-01-01 to 1970-01-01


def _named(name: str, *arguments: exp.Expr | str) -> exp.Expr:
    """A call as it is written here: sqlglot knows these by other names or with other arguments."""
    trees = [exp.Literal.string(one) if isinstance(one, str) else one.copy() for one in arguments]
    return exp.Anonymous(this=name, expressions=trees)


# ------------------------------------------------------------------------------------------------ JSON
def _parsed(text: exp.Expr) -> exp.Expr:
    """The text as SUPER, NULL where it is no JSON: JSON_PARSE raises (JSON_PARSE, CAN_JSON_PARSE)."""
    valid = fill("CASE WHEN _1 THEN _2 END", _D, _named("CAN_JSON_PARSE", text), text)
    return _named("JSON_PARSE", valid)


def _serialized(document: exp.Expr) -> exp.Expr:
    """Compact text of a SUPER; that of NULL is 'null' (JSON_SERIALIZE)."""
    return fill("CASE WHEN NOT _1 IS NULL THEN _2 END", _D, document, _named("JSON_SERIALIZE", document))


def _json_text(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """Through SUPER and back, so that containers lose their blanks; at most five keys deep at a time, and NULL instead
    of an error where the text is no JSON (JSON_EXTRACT_PATH_TEXT)."""
    document, *keys = arguments
    for key in keys:
        literal_text(key, "a JSON key")
    tree = _named("JSON_SERIALIZE", document.this if is_json(document) else _parsed(fill(_TEXT, _D, document)))
    for start in range(0, len(keys), 5):
        tree = _named("JSON_EXTRACT_PATH_TEXT", tree, *keys[start : start + 5], exp.true())
    return tree


def _json_quote(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """Minimal escaping by REPLACE; the rare text with control characters beside tabs and line ends goes through SUPER, whose
    spelling of them is not documented (a REPLACE for each would nest too deep for a parser)."""
    text = fill(_TEXT, _D, arguments[0])
    quick = _named("REPLACE", _named("REPLACE", text, "\\", "\\\\"), '"', '\\"')
    named = quick
    for code, letter in _SHORT.items():
        named = _named("REPLACE", named, _named("CHR", exp.Literal.number(code)), f"\\{letter}")
    rare = _named("TRANSLATE", text, "".join(map(chr, _SHORT)), "")
    whole = _named("JSON_SERIALIZE", _named("ARRAY", text))
    inner = _named("SUBSTRING", whole, exp.Literal.number(2), fill("LENGTH(_1) - 2", _D, whole))
    choice = (
        "CASE WHEN _1 IS NULL THEN NULL WHEN NOT _1 ~ '[[:cntrl:]]' THEN '\"' || _2 || '\"'"
        " WHEN NOT _3 ~ '[[:cntrl:]]' THEN '\"' || _4 || '\"' ELSE _5 END"
    )
    return fill(choice, _D, text, quick, rare, named, inner)


_SHORT = {8: "b", 9: "t", 10: "n", 12: "f", 13: "r"}


def _list_has(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """With TRUE a NULL in the list is a value like any other (array_contains)."""
    tree = _named("ARRAY_CONTAINS", *(_parsed(argument) for argument in arguments), exp.true())
    return fill("CASE WHEN _1 THEN _2 END", _D, _named("IS_VALID_JSON_ARRAY", arguments[0]), tree)


def _list_length(arguments: Sequence[exp.Expr]) -> exp.Expr:
    valid = fill("CASE WHEN _1 THEN _2 END", _D, _named("IS_VALID_JSON_ARRAY", arguments[0]), arguments[0])
    return fill("CAST(_1 AS BIGINT)", _D, _named("JSON_ARRAY_LENGTH", valid, exp.true()))


# ------------------------------------------------------------------------------------------------ numbers, patterns
def _divide(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """A quotient has 38 digits, of which those before the point of DECIMAL(p, 9) and its nine take p: ten places are
    left for p = 28, four for p = 34 (r_numeric_computations201)."""
    if any(is_double(argument) for argument in arguments):
        return fill("CAST(_1 AS DOUBLE PRECISION) / NULLIF(CAST(_2 AS DOUBLE PRECISION), 0)", _D, *arguments)
    whole, by = "CAST(_1 AS DECIMAL(38, 9))", "NULLIF(CAST(_2 AS DECIMAL(38, 9)), 0)"
    small = f"CAST(CASE WHEN ABS({whole}) < 1e19 THEN {whole} END AS DECIMAL(28, 9)) / {by}"
    large = f"CAST(CASE WHEN ABS({whole}) >= 1e19 AND ABS({whole}) < 1e25 THEN {whole} END AS DECIMAL(34, 9)) / {by}"
    return fill(f"CAST(COALESCE(ROUND({small}, 9), {large}) AS DECIMAL(38, 9))", _D, *arguments)


def _matches(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """PCRE by the parameter p (REGEXP_INSTR); the operator ~ knows POSIX only."""
    pattern, _ = translated(literal_text(arguments[1], "a pattern"), REDSHIFT)
    numbers = [exp.Literal.number(value) for value in (1, 1, 0)]
    return fill("_1 > 0", _D, _named("REGEXP_INSTR", arguments[0], pattern, *numbers, "p"))


def _regex_replace(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """Every match is replaced; a group is `$1` there."""
    pattern, _ = translated(literal_text(arguments[1], "a pattern"), REDSHIFT)
    replacement = literal_text(arguments[2], "a replacement")
    if "$" in replacement:
        raise CompileError("CDP313", "a replacement with `$` cannot be said on redshift", hint="use replace(x, a, b)")
    for group in range(10):
        replacement = replacement.replace(f"\\{group}", f"${group}")
    return _named("REGEXP_REPLACE", arguments[0], pattern, replacement, exp.Literal.number(1), "p")


# ------------------------------------------------------------------------------------------------ aggregates
def _edge(pick: str) -> Build:
    """The value of the first or last row as the least or greatest text of time, key and value: there is no aggregate that
    takes one row's value by another's order, and those that sort must all sort alike (r_LISTAGG, r_MEDIAN).

    The key is spelled in hex (TO_HEX), so that a blank ends it. The value must be a cast, whose type it gets back.
    """
    moment = f"CAST(COALESCE({_SINCE_EPOCH.format('_2')} + {_FIRST_YEAR + 1}, 0) AS VARCHAR(20))"
    order = f"LPAD({moment}, 20, '0') || COALESCE(_5, '') || ' ' || _1"

    def build(arguments: Sequence[exp.Expr]) -> exp.Expr:
        value, at, key, where = arguments
        type_ = value.to if isinstance(value, exp.Cast) else exp.DataType.build("text")
        logical = type_.is_type("boolean")
        text = fill("CASE WHEN _1 THEN 'true' WHEN NOT _1 THEN 'false' END" if logical else _TEXT, _D, value)
        shown = _named("TO_HEX", fill("CAST(CAST(_1 AS VARCHAR(MAX)) AS VARBYTE)", _D, key))
        whole = fill(f"{pick}(CASE WHEN _4 THEN {order} END)", _D, text, at, key, where, shown)
        found = _named("SUBSTRING", whole, fill("POSITION(' ' IN _1) + 1", _D, whole))
        if logical:
            return fill("_1 = 'true'", _D, found)
        return found if type_.is_type(*exp.DataType.TEXT_TYPES) else exp.Cast(this=found, to=type_.copy())

    return build


def _string_agg(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """Empty texts are left out (r_LISTAGG); ours are JSON, which is never empty."""
    return fill("NULLIF(LISTAGG(_1, _2) WITHIN GROUP (ORDER BY _3), '')", _D, *arguments)


# ------------------------------------------------------------------------------------------------ what sqlglot leaves
def _where(node: exp.Expr) -> exp.Expr:
    """There is no FILTER: the argument is NULL where the condition does not hold."""
    aggregate: exp.Expr = node.this
    condition: exp.Expr = node.expression.this
    rebuild: Callable[[exp.Expr], exp.Expr] | None = aggregate.meta.get("cdp_rebuild")
    if rebuild is not None:
        return rebuild(condition)
    inner = aggregate.this
    if isinstance(inner, exp.Distinct):
        inner.set("expressions", [exp.Case().when(condition.copy(), value) for value in inner.expressions])
        return aggregate
    value = exp.Literal.number(1) if isinstance(inner, exp.Star) else inner
    aggregate.set("this", exp.Case().when(condition.copy(), value.copy()))
    return aggregate


def _differs(node: exp.Expr) -> exp.Expr:
    """IS DISTINCT FROM is not documented."""
    text = "CASE WHEN _1 IS NULL OR _2 IS NULL THEN NOT (_1 IS NULL AND _2 IS NULL) ELSE _1 <> _2 END"
    return fill(text, _D, node.this, node.expression)


def _equals(node: exp.Expr) -> exp.Expr:
    text = "CASE WHEN _1 IS NULL OR _2 IS NULL THEN _1 IS NULL AND _2 IS NULL ELSE _1 = _2 END"
    return fill(text, _D, node.this, node.expression)


def _with(node: exp.Expr) -> exp.Expr:
    """A recursive query must name its columns (r_WITH_clause)."""
    for cte in node.expressions if node.args.get("recursive") else ():
        if not cte.args["alias"].columns:
            cte.args["alias"].set("columns", [exp.to_identifier(name) for name in cte.this.named_selects])
    return node


def _substring(node: exp.Expr) -> exp.Expr:
    """With commas, as it is documented (r_SUBSTRING)."""
    arguments = [node.args[key] for key in ("this", "start", "length") if node.args.get(key) is not None]
    return _named("SUBSTRING", *arguments)


def _cast(node: exp.Expr) -> exp.Expr:
    """A SUPER becomes text by JSON_SERIALIZE; a cast would take scalars only."""
    assert isinstance(node, exp.Cast)
    if node.to.is_type(*exp.DataType.TEXT_TYPES) and is_json(node.this):
        return _serialized(node.this.this)
    return node


def _any_value(node: exp.Expr) -> exp.Expr:
    """ANY_VALUE may choose a NULL (r_ANY_VALUE)."""
    return exp.Min(this=node.this.copy())


def _ignore_nulls(node: exp.Expr) -> exp.Expr:
    return node.this if isinstance(node.this, exp.Min | exp.Max) else node


_FUNCTIONS: dict[str, Build] = fragments(
    _D,
    cdp_text_of_bool="CASE WHEN _1 THEN 'true' WHEN NOT _1 THEN 'false' END",
    cdp_text_of_decimal="RTRIM(RTRIM(CAST(CAST(_1 AS DECIMAL(38, 9)) AS VARCHAR(64)), '0'), '.')",
    cdp_text_of_float=(
        "CASE WHEN ABS(_1) < 1e15 AND _1 = TRUNC(_1) THEN CAST(CAST(_1 AS BIGINT) AS VARCHAR(64))"
        " ELSE CAST(_1 AS VARCHAR(64)) END"
    ),
    # the CASE stands inside: nobody promises that a CASE around keeps TRY_CAST from an empty text (r_TRY_CAST)
    cdp_try_int=f"TRY_CAST(CASE WHEN {_T} ~ '{INT}' THEN SPLIT_PART({_T}, '.', 1) END AS BIGINT)",
    cdp_try_decimal=f"TRY_CAST(CASE WHEN {_T} ~ '{NUMBER}' THEN {_T} END AS DECIMAL(38, 9))",
    cdp_try_float=(  # a number too small for a double is 0, not an error
        f"COALESCE(TRY_CAST(CASE WHEN {_T} ~ '{NUMBER}' THEN {_T} END AS DOUBLE PRECISION),"
        f" CASE WHEN {_T} ~ '{NUMBER}' AND {_T} ~ '[eE]-[0-9]{{3}}$' THEN CAST(0 AS DOUBLE PRECISION) END)"
    ),
    cdp_try_bool=f"CASE WHEN LOWER({_T}) IN {TRUE} THEN TRUE WHEN LOWER({_T}) IN {FALSE} THEN FALSE END",
    cdp_try_date=f"TRY_CAST(CASE WHEN {_STAMP} ~ '{REAL_TIMESTAMP}' THEN LEFT({_T}, 10) END AS DATE)",
    cdp_md5=f"MD5({_TEXT})",
    cdp_sha256=f"SHA2({_TEXT}, 256)",
    cdp_epoch_us=_SINCE_EPOCH.format("_1"),
    cdp_of_epoch_us=f"DATEADD(MICROSECOND, CAST(_1 AS BIGINT), {_EPOCH})",
    cdp_add_us="DATEADD(MICROSECOND, CAST(_2 AS BIGINT), CAST(_1 AS TIMESTAMP))",
    cdp_utc_of_tz="CAST(_1 AS TIMESTAMP)",  # by the session's zone; GETDATE() has none to begin with
    cdp_contains="(POSITION(LOWER(_2) IN LOWER(_1)) > 0 OR (LENGTH(_2) = 0 AND LENGTH(_1) >= 0))",
    cdp_starts_with="LEFT(LOWER(_1), LENGTH(LOWER(_2))) = LOWER(_2)",
    cdp_ends_with="RIGHT(LOWER(_1), LENGTH(LOWER(_2))) = LOWER(_2)",
    cdp_bitand="_1 & _2",
    cdp_binary="_1",
    cdp_median="MEDIAN(CAST(_1 AS DOUBLE PRECISION))",
)
_ZONED = fragments(
    _D,
    utc="CAST(_1 AS TIMESTAMP)",
    to_utc="CONVERT_TIMEZONE(_2, 'UTC', CAST(_1 AS TIMESTAMP))",
    local="CONVERT_TIMEZONE('UTC', _2, CAST(_1 AS TIMESTAMP))",
    date="CAST(_1 AS DATE)",
    local_date="CAST(CONVERT_TIMEZONE('UTC', _2, CAST(_1 AS TIMESTAMP)) AS DATE)",
)


def _moment(where: str, type_: str, then: str) -> Build:
    """A text of the right shape, read as `type_`; a fraction beyond six digits is cut off, not rounded."""

    def build(arguments: Sequence[exp.Expr]) -> exp.Expr:
        iso = _named(
            "REGEXP_REPLACE", fill(_ISO, _D, arguments[0]), "(?<=[.][0-9]{6})[0-9]+", "", exp.Literal.number(1), "p"
        )
        text = fill(f"CASE WHEN {where} THEN _2 END", _D, arguments[0], iso)
        read = fill(f"TRY_CAST(_1 AS {type_})", _D, text)
        return fill(then, _D, read, *arguments[1:])

    return build


_SHAPED = f"{_STAMP} ~ '{REAL_TIMESTAMP}'"
_INSTANT = _moment(_SHAPED, "TIMESTAMPTZ", "CAST(_1 AS TIMESTAMP)")
_OFFSET = _moment(f"{_SHAPED} AND {_STAMP} ~ '{WITH_OFFSET}'", "TIMESTAMPTZ", "CAST(_1 AS TIMESTAMP)")
_NAIVE = _moment(f"{_SHAPED} AND NOT {_STAMP} ~ '{WITH_OFFSET}'", "TIMESTAMP", "CONVERT_TIMEZONE(_2, 'UTC', _1)")


def _local_instant(arguments: Sequence[exp.Expr]) -> exp.Expr:
    return fill("COALESCE(_1, _2)", _D, _OFFSET(arguments), _NAIVE(arguments))


def _bucket(arguments: Sequence[exp.Expr]) -> exp.Expr:
    digits = fill(f"LEFT(MD5({_TEXT}), 8)", _D, arguments[0])
    return fill("_1 % 10000", _D, _named("STRTOL", digits, exp.Literal.number(16)))


def _digits(arguments: Sequence[exp.Expr]) -> exp.Expr:
    return _named("REGEXP_REPLACE", arguments[0], "[^0-9]", "")


def _text_by(format_: str, cast: str) -> Build:
    """TO_CHAR as a plain call: sqlglot would rewrite the format and lose the quotes around the T."""
    return lambda arguments: _named("TO_CHAR", fill(cast, _D, *arguments), format_)


_FUNCTIONS |= {
    "cdp_text_of_timestamp": _text_by('YYYY-MM-DD"T"HH24:MI:SS.US"Z"', "CAST(_1 AS TIMESTAMP)"),
    "cdp_text_of_date": _text_by("YYYY-MM-DD", "CAST(_1 AS DATE)"),
    "cdp_try_timestamp": zoned(_INSTANT, _local_instant),
    "cdp_utc": zoned(_ZONED["utc"], _ZONED["to_utc"]),
    "cdp_local_timestamp": zoned(_ZONED["utc"], _ZONED["local"]),
    "cdp_local_date": zoned(_ZONED["date"], _ZONED["local_date"]),
    "cdp_midnight": zoned(_ZONED["utc"], _ZONED["to_utc"]),
    "cdp_json_text": _json_text,
    "cdp_json_quote": _json_quote,
    "cdp_list_has": _list_has,
    "cdp_list_length": _list_length,
    "cdp_divide": _divide,
    "cdp_matches": _matches,
    "cdp_regex_replace": _regex_replace,
    "cdp_digits": _digits,
    "cdp_bucket": _bucket,
    "cdp_concat": chained(exp.DPipe),
    "cdp_greatest": called("GREATEST"),  # NULLs in the list are ignored (r_GREATEST_LEAST)
    "cdp_least": called("LEAST"),
    "cdp_first": _edge("MIN"),
    "cdp_last": _edge("MAX"),
    "cdp_string_agg": filtering(_string_agg),
}
_FUNCTIONS |= of_formats(_FUNCTIONS)

_FUZZY = "an identity rule on normalised values; Redshift compares texts by soundex(x) only"
FACTS = Facts(
    name="redshift",
    dialect=_D,
    functions=_FUNCTIONS,
    rewrites={
        exp.Filter: _where,
        exp.NullSafeNEQ: _differs,
        exp.NullSafeEQ: _equals,
        exp.With: _with,
        exp.Substring: _substring,
        exp.Cast: _cast,
        exp.AnyValue: _any_value,
        exp.IgnoreNulls: _ignore_nulls,
    },
    groups_by_window=False,
    one_order_per_scan=True,
)
