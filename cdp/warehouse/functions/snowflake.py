"""The canonical functions on Snowflake, whose session must have TIMEZONE = 'UTC'. Parsed back and qualified in its dialect,
each function of its own reviewed against Snowflake's reference, and run on fakesnow, which shows that they fit together."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cdp.warehouse.facts import Build, Facts
from cdp.warehouse.functions.duckdb import is_double
from cdp.warehouse.functions.formats import of_formats
from cdp.warehouse.functions.fragment import called, chained, fill, filtered, filtering, fragments, literal_text, zoned
from cdp.warehouse.functions.patterns import SNOWFLAKE, translated
from cdp.warehouse.functions.shapes import FALSE, INT, NUMBER, TIMESTAMP, TRUE, WITH_OFFSET

_D = "snowflake"
_T = r"TRIM(CAST(_1 AS VARCHAR), ' \t\n\r')"
# Snowflake's own detection knows few ways to write an offset, and nine places of a second:
# https://docs.snowflake.com/en/sql-reference/date-time-input-output#supported-formats-for-auto-detection
_STAMP = rf"REGEXP_REPLACE(REGEXP_REPLACE(UPPER({_T}), ' ?(Z|UTC)$', '+00:00'), '([.][0-9]{{6}})[0-9]+', '\\1')"
for _offset, _spelled in ((" ?([+-][0-9]{2})$", r"\\1\\2:00"), (" ?([+-][0-9]{2}):?([0-9]{2})$", r"\\1\\2:\\3")):
    _STAMP = f"REGEXP_REPLACE({_STAMP}, '(:[0-9:.]+){_offset}', '{_spelled}')"
_DEC = "CAST(CAST(_1 AS DECIMAL(38, 9)) AS VARCHAR)"
_ORDER = (  # at, then key, as one text; a row without time is older than any
    "COALESCE(LPAD(CAST(DATE_PART(EPOCH_MICROSECOND, CAST(_2 AS TIMESTAMPNTZ)) + 62135596800000000 AS VARCHAR),"
    " 20, '0'), '                    ') || COALESCE(_3, '')"
)


def _json_text(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """A VARIANT's string casts to its value, a container to compact JSON, JSON null to NULL."""
    document, *keys = arguments
    tree = fill("TRY_PARSE_JSON(CAST(_1 AS VARCHAR))", _D, document)
    for key in keys:
        literal_text(key, "a JSON key")
        tree = exp.Anonymous(this="GET", expressions=[tree, key.copy()])
    return fill("CAST(_1 AS VARCHAR)", _D, tree)


def _matches(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """REGEXP_LIKE would match the whole text only."""
    pattern, flags = translated(literal_text(arguments[1], "a pattern"), SNOWFLAKE)
    parameters = exp.Literal.string("".join(["i" if "i" in flags else "c", "s" if "s" in flags else ""]))
    return fill("REGEXP_INSTR(_1, _2, 1, 1, 0, _3) > 0", _D, arguments[0], exp.Literal.string(pattern), parameters)


def _regex_replace(arguments: Sequence[exp.Expr]) -> exp.Expr:
    pattern, flags = translated(literal_text(arguments[1], "a pattern"), SNOWFLAKE)
    parameters = exp.Literal.string("".join(["i" if "i" in flags else "c", "s" if "s" in flags else ""]))
    texts = [exp.Literal.string(pattern), arguments[2], parameters]
    return fill("REGEXP_REPLACE(_1, _2, _3, 1, 0, _4)", _D, arguments[0], *texts)


def _divide(arguments: Sequence[exp.Expr]) -> exp.Expr:
    if any(is_double(argument) for argument in arguments):
        return fill("CAST(_1 AS DOUBLE) / NULLIF(CAST(_2 AS DOUBLE), 0)", _D, *arguments)
    return fill(
        "CAST(ROUND(CAST(_1 AS DECIMAL(38, 9)) / NULLIF(CAST(_2 AS DECIMAL(38, 9)), 0), 9) AS DECIMAL(38, 9))",
        _D,
        *arguments,
    )


_FUNCTIONS: dict[str, Build] = fragments(
    _D,
    cdp_text_of_bool="CASE WHEN _1 THEN 'true' WHEN NOT _1 THEN 'false' END",
    cdp_text_of_decimal=f"RTRIM(RTRIM({_DEC}, '0'), '.')",
    cdp_text_of_float=(
        "CASE WHEN ABS(_1) < 1e15 AND _1 = TRUNC(_1) THEN CAST(CAST(_1 AS BIGINT) AS VARCHAR)"
        " ELSE CAST(_1 AS VARCHAR) END"
    ),
    cdp_try_int=(
        f"CASE WHEN {_T} RLIKE '{INT}' THEN CASE WHEN TRY_CAST(SPLIT_PART({_T}, '.', 1) AS DECIMAL(38, 0))"
        f" BETWEEN -9223372036854775808 AND 9223372036854775807"
        f" THEN TRY_CAST(SPLIT_PART({_T}, '.', 1) AS DECIMAL(38, 0)) END END"
    ),
    cdp_try_decimal=f"CASE WHEN {_T} RLIKE '{NUMBER}' THEN TRY_CAST({_T} AS DECIMAL(38, 9)) END",
    cdp_try_float=(  # what is too large would be infinite
        f"CASE WHEN {_T} RLIKE '{NUMBER}' AND ABS(TRY_CAST({_T} AS DOUBLE)) <= 1.7976931348623157e308"
        f" THEN TRY_CAST({_T} AS DOUBLE) END"
    ),
    cdp_try_bool=f"CASE WHEN LOWER({_T}) IN {TRUE} THEN TRUE WHEN LOWER({_T}) IN {FALSE} THEN FALSE END",
    cdp_try_date=f"CASE WHEN UPPER({_T}) RLIKE '{TIMESTAMP}' THEN TRY_CAST(LEFT({_T}, 10) AS DATE) END",
    cdp_md5="MD5(_1)",
    cdp_sha256="SHA2(_1, 256)",
    cdp_bucket="TO_NUMBER(SUBSTRING(MD5(_1), 1, 8), 'XXXXXXXX') % 10000",
    cdp_epoch_us="DATE_PART(EPOCH_MICROSECOND, CAST(_1 AS TIMESTAMPNTZ))",
    cdp_of_epoch_us="DATEADD(MICROSECOND, _1, CAST('1970-01-01' AS TIMESTAMPNTZ))",
    cdp_add_us="DATEADD(MICROSECOND, _2, CAST(_1 AS TIMESTAMPNTZ))",
    cdp_utc_of_tz="CAST(CONVERT_TIMEZONE('UTC', _1) AS TIMESTAMPNTZ)",
    cdp_json_quote="TO_JSON(TO_VARIANT(_1))",
    cdp_list_has="ARRAY_CONTAINS(TRY_PARSE_JSON(_2), AS_ARRAY(TRY_PARSE_JSON(_1)))",
    cdp_list_length="ARRAY_SIZE(TRY_PARSE_JSON(_1))",
    cdp_contains="CONTAINS(LOWER(_1), LOWER(_2))",
    cdp_starts_with="STARTSWITH(LOWER(_1), LOWER(_2))",
    cdp_ends_with="ENDSWITH(LOWER(_1), LOWER(_2))",
    cdp_digits="REGEXP_REPLACE(_1, '[^0-9]', '')",
    cdp_bitand="BITAND(_1, _2)",
    cdp_binary="_1",
    cdp_first=f"MIN_BY(CASE WHEN _4 THEN _1 END, CASE WHEN _4 THEN {_ORDER} END)",
    cdp_last=f"MAX_BY(CASE WHEN _4 THEN _1 END, CASE WHEN _4 THEN {_ORDER} END)",
    cdp_median="MEDIAN(CAST(_1 AS DOUBLE))",
)
_ZONED = fragments(
    _D,
    utc="CAST(_1 AS TIMESTAMPNTZ)",
    to_utc="CONVERT_TIMEZONE(_2, 'UTC', CAST(_1 AS TIMESTAMPNTZ))",
    local="CONVERT_TIMEZONE('UTC', _2, CAST(_1 AS TIMESTAMPNTZ))",
    date="CAST(_1 AS DATE)",
    local_date="CAST(CONVERT_TIMEZONE('UTC', _2, CAST(_1 AS TIMESTAMPNTZ)) AS DATE)",
    stamp=(
        f"CASE WHEN UPPER({_T}) RLIKE '{TIMESTAMP}' THEN"
        f" CAST(CONVERT_TIMEZONE('UTC', TRY_TO_TIMESTAMP_TZ({_STAMP})) AS TIMESTAMPNTZ) END"
    ),
    # RLIKE matches the whole text: the part before the offset is spelled out
    local_stamp=(
        f"CASE WHEN UPPER({_T}) RLIKE '{TIMESTAMP}' THEN CASE WHEN UPPER({_T}) RLIKE '.*{WITH_OFFSET}'"
        f" THEN CAST(CONVERT_TIMEZONE('UTC', TRY_TO_TIMESTAMP_TZ({_STAMP})) AS TIMESTAMPNTZ)"
        f" ELSE CONVERT_TIMEZONE(_2, 'UTC', TRY_TO_TIMESTAMP_NTZ({_STAMP})) END END"
    ),
)


def _string_agg(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """LISTAGG of nothing is '' there."""
    return fill("NULLIF(LISTAGG(_1, _2) WITHIN GROUP (ORDER BY _3), '')", _D, *arguments)


def _text_by(format_: str, cast: str) -> Build:
    """TO_CHAR as a plain call: sqlglot rewrites the format of its own and drops the quotes around the T."""

    def build(arguments: Sequence[exp.Expr]) -> exp.Expr:
        return exp.Anonymous(this="TO_CHAR", expressions=[fill(cast, _D, *arguments), exp.Literal.string(format_)])

    return build


_FUNCTIONS |= {
    "cdp_text_of_timestamp": _text_by('YYYY-MM-DD"T"HH24:MI:SS.FF6"Z"', "CAST(_1 AS TIMESTAMPNTZ)"),
    "cdp_text_of_date": _text_by("YYYY-MM-DD", "CAST(_1 AS DATE)"),
    "cdp_try_timestamp": zoned(_ZONED["stamp"], _ZONED["local_stamp"]),
    "cdp_utc": zoned(_ZONED["utc"], _ZONED["to_utc"]),
    "cdp_local_timestamp": zoned(_ZONED["utc"], _ZONED["local"]),
    "cdp_local_date": zoned(_ZONED["date"], _ZONED["local_date"]),
    "cdp_midnight": zoned(_ZONED["utc"], _ZONED["to_utc"]),
    "cdp_json_text": _json_text,
    "cdp_divide": _divide,
    "cdp_matches": _matches,
    "cdp_regex_replace": _regex_replace,
    "cdp_concat": chained(exp.DPipe),
    "cdp_greatest": called("GREATEST_IGNORE_NULLS"),
    "cdp_least": called("LEAST_IGNORE_NULLS"),
    "cdp_string_agg": filtering(_string_agg),
}
_FUNCTIONS |= of_formats(_FUNCTIONS)

FACTS = Facts(
    name="snowflake",
    dialect=_D,
    functions=_FUNCTIONS,
    rewrites={exp.Filter: filtered},
    reads_once=True,
    fold="upper",
)
