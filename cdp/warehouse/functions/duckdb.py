"""The canonical functions on DuckDB 2. Checked on the engine by tests/conformance."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cdp.warehouse.facts import Build, Facts
from cdp.warehouse.functions.formats import of_formats
from cdp.warehouse.functions.fragment import called, chained, fill, fragments, literal_text, zoned
from cdp.warehouse.functions.shapes import BLANKS, FALSE, INT, NUMBER, TIMESTAMP, TRUE, WITH_OFFSET

_D = "duckdb"
_T = f"TRIM(CAST(_1 AS VARCHAR), '{BLANKS}')"
_STAMP = rf"REGEXP_REPLACE(UPPER({_T}), ' ([+-])', '\1')"  # a blank before an offset is refused
_CONTROLS = r"[\x0b\x0e\x0f\x1a-\x1f]"  # those that DuckDB writes as \u001F, the others as \u001f


def _json_text(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """By JSON pointer: in it only `~` and `/` need an escape, so that no key can break out of its place."""
    document, *keys = arguments
    steps = [literal_text(key, "a JSON key").replace("~", "~0").replace("/", "~1") for key in keys]
    pointer = exp.Literal.string("".join(f"/{step}" for step in steps))
    if is_json(document):
        return fill("JSON_EXTRACT_STRING(_1, _2)", _D, document, pointer)
    return fill("CASE WHEN JSON_VALID(_1) THEN JSON_EXTRACT_STRING(_1, _2) END", _D, document, pointer)


def is_json(tree: exp.Expr) -> bool:
    """`CAST(x AS JSON)`: the caller vouches that x is valid."""
    return isinstance(tree, exp.Cast) and tree.to.is_type("json", "jsonb")


def _json_quote(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """Minimal escaping; nine rare control characters are respelled as the other engines write them.

    A JSON literal holds no raw control character, so chr(1) can stand for an escaped backslash meanwhile: `\\u000B` in
    somebody's text is no escape and must stay.
    """
    quoted: exp.Expr = fill("CAST(TO_JSON(CAST(_1 AS VARCHAR)) AS VARCHAR)", _D, arguments[0])
    slow = _replace(quoted, "\\\\", "\1")
    for code in (0x0B, 0x0E, 0x0F, *range(0x1A, 0x20)):
        slow = _replace(slow, f"\\u{code:04X}", f"\\u{code:04x}")
    slow = _replace(slow, "\1", "\\\\")
    choice = f"CASE WHEN REGEXP_MATCHES(_1, '{_CONTROLS}') THEN _2 ELSE _3 END"
    return fill(choice, _D, arguments[0], slow, quoted)


def _replace(text: exp.Expr, old: str, new: str) -> exp.Expr:
    words = [exp.Literal.string(old), exp.Literal.string(new)]
    return exp.Anonymous(this="REPLACE", expressions=[text.copy(), *words])


def _divide(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """Exact to nine places, rounded half away from zero, by integers: DuckDB divides decimals as doubles.

    Where one side is `CAST(… AS DOUBLE)` it is the division of doubles. Beyond 8.5e19 the answer is NULL.
    """
    if any(is_double(argument) for argument in arguments):
        return fill("CAST(_1 AS DOUBLE) / NULLIF(CAST(_2 AS DOUBLE), 0)", _D, *arguments)
    billionths = "CAST(CAST({} AS DECIMAL(38, 9)) * 1000000000 AS HUGEINT)"
    halves = f"({billionths.format('_1')} * 2000000000) // NULLIF({billionths.format('_2')}, 0)"  # // cuts off
    rounded = f"ROUND(CAST({halves} AS DECIMAL(37, 0)) * CAST(0.5 AS DECIMAL(2, 1)), 0)"
    return fill(f"TRY(CAST({rounded} * CAST(0.000000001 AS DECIMAL(10, 9)) AS DECIMAL(38, 9)))", _D, *arguments)


def is_double(tree: exp.Expr) -> bool:
    """`CAST(x AS DOUBLE)`."""
    return isinstance(tree, exp.Cast) and tree.to.is_type("double", "float")


_TO_UTC = "CAST(_1 AS TIMESTAMP) AT TIME ZONE _2 AT TIME ZONE 'UTC'"
_LOCAL = "CAST(_1 AS TIMESTAMP) AT TIME ZONE 'UTC' AT TIME ZONE _2"

_FUNCTIONS: dict[str, Build] = fragments(
    _D,
    cdp_text_of_bool="CAST(_1 AS VARCHAR)",
    cdp_text_of_decimal=r"RTRIM(REGEXP_REPLACE(CAST(_1 AS VARCHAR), '(\.[0-9]*?)0+$', '\1'), '.')",
    cdp_text_of_timestamp="STRFTIME(CAST(_1 AS TIMESTAMP), '%Y-%m-%dT%H:%M:%S.%fZ')",
    cdp_text_of_date="STRFTIME(CAST(_1 AS DATE), '%Y-%m-%d')",
    cdp_text_of_float=(
        "CASE WHEN ISNAN(_1) THEN 'NaN' WHEN ISINF(_1) THEN CASE WHEN _1 > 0 THEN 'Infinity' ELSE '-Infinity' END"
        " WHEN _1 = TRUNC(_1) AND ABS(_1) < 1e15 THEN CAST(CAST(_1 AS BIGINT) AS VARCHAR) ELSE CAST(_1 AS VARCHAR) END"
    ),
    cdp_try_int=f"CASE WHEN REGEXP_MATCHES({_T}, '{INT}') THEN TRY_CAST(SPLIT_PART({_T}, '.', 1) AS BIGINT) END",
    cdp_try_decimal=f"CASE WHEN REGEXP_MATCHES({_T}, '{NUMBER}') THEN TRY_CAST({_T} AS DECIMAL(38, 9)) END",
    cdp_try_float=(
        f"CASE WHEN REGEXP_MATCHES({_T}, '{NUMBER}') AND ABS(TRY_CAST({_T} AS DOUBLE)) <= 1.7976931348623157e308"
        f" THEN TRY_CAST({_T} AS DOUBLE) END"
    ),
    cdp_try_bool=f"CASE WHEN LOWER({_T}) IN {TRUE} THEN TRUE WHEN LOWER({_T}) IN {FALSE} THEN FALSE END",
    cdp_try_date=f"CASE WHEN REGEXP_MATCHES({_STAMP}, '{TIMESTAMP}') THEN TRY_CAST(LEFT({_T}, 10) AS DATE) END",
    cdp_md5="MD5(_1)",
    cdp_sha256="SHA256(_1)",
    cdp_bucket="CAST('0x' || SUBSTRING(MD5(_1), 1, 8) AS BIGINT) % 10000",
    cdp_epoch_us="EPOCH_US(CAST(_1 AS TIMESTAMP))",
    cdp_of_epoch_us="MAKE_TIMESTAMP(CAST(_1 AS BIGINT))",
    cdp_add_us="CAST(_1 AS TIMESTAMP) + TO_MICROSECONDS(CAST(_2 AS BIGINT))",
    cdp_utc_of_tz="_1 AT TIME ZONE 'UTC'",
    cdp_list_has="LIST_CONTAINS(FROM_JSON(CASE WHEN JSON_VALID(_1) THEN _1 END, '[\"JSON\"]'), _2)",
    cdp_list_length=(
        "CASE WHEN JSON_VALID(_1) THEN CASE WHEN JSON_TYPE(_1) = 'ARRAY'"
        " THEN CAST(JSON_ARRAY_LENGTH(_1) AS BIGINT) END END"
    ),
    cdp_contains="CONTAINS(LOWER(_1), LOWER(_2))",
    cdp_starts_with="STARTS_WITH(LOWER(_1), LOWER(_2))",
    cdp_ends_with="ENDS_WITH(LOWER(_1), LOWER(_2))",
    cdp_matches="REGEXP_MATCHES(_1, _2)",
    cdp_regex_replace="REGEXP_REPLACE(_1, _2, _3, 'g')",
    cdp_digits="REGEXP_REPLACE(_1, '[^0-9]', '', 'g')",
    cdp_bitand="_1 & _2",
    cdp_binary="_1",
    cdp_first="ARG_MIN(_1, ROW(_2 IS NOT NULL, _2, _3)) FILTER (WHERE _4)",
    cdp_last="ARG_MAX(_1, ROW(_2 IS NOT NULL, _2, _3)) FILTER (WHERE _4)",
    cdp_median="QUANTILE_CONT(CAST(_1 AS DOUBLE), 0.5)",
    cdp_string_agg="STRING_AGG(_1, _2 ORDER BY _3)",
)
_ZONED = fragments(
    _D,
    utc="CAST(_1 AS TIMESTAMP)",
    to_utc=_TO_UTC,
    local=_LOCAL,
    date="CAST(_1 AS DATE)",
    local_date=f"CAST({_LOCAL} AS DATE)",
    stamp=(
        f"CASE WHEN REGEXP_MATCHES({_STAMP}, '{TIMESTAMP}')"
        f" THEN TRY_CAST({_STAMP} AS TIMESTAMPTZ) AT TIME ZONE 'UTC' END"
    ),
    local_stamp=(
        f"CASE WHEN REGEXP_MATCHES({_STAMP}, '{TIMESTAMP}') THEN CASE WHEN REGEXP_MATCHES({_STAMP}, '{WITH_OFFSET}')"
        f" THEN TRY_CAST({_STAMP} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
        f" ELSE TRY_CAST({_STAMP} AS TIMESTAMP) AT TIME ZONE _2 AT TIME ZONE 'UTC' END END"
    ),
)
_FUNCTIONS |= {
    "cdp_try_timestamp": zoned(_ZONED["stamp"], _ZONED["local_stamp"]),
    "cdp_utc": zoned(_ZONED["utc"], _ZONED["to_utc"]),
    "cdp_local_timestamp": zoned(_ZONED["utc"], _ZONED["local"]),
    "cdp_local_date": zoned(_ZONED["date"], _ZONED["local_date"]),
    "cdp_midnight": zoned(_ZONED["utc"], _ZONED["to_utc"]),
    "cdp_json_text": _json_text,
    "cdp_json_quote": _json_quote,
    "cdp_divide": _divide,
    "cdp_concat": chained(exp.DPipe),
    "cdp_greatest": called("GREATEST"),
    "cdp_least": called("LEAST"),
    "cdp_read_json": called("READ_JSON"),
}
_FUNCTIONS |= of_formats(_FUNCTIONS)

FACTS = Facts(
    name="duckdb",
    dialect=_D,
    functions=_FUNCTIONS,
    reads_files=True,
    groups_by_window=False,  # measured: half the scans, and no slower (docs/design-notes.md)
)
