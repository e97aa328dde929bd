"""The canonical functions on Postgres 14 and later. Checked on the engine by tests/conformance.

Its casts raise, and it has no TRY_CAST: a text is cast only behind a CASE whose pattern admits nothing that could
fail. `cdp_json_valid` is our own function there (`Postgres.ensure_schemas` makes it in the state schema).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cdp.warehouse.facts import Build, Facts
from cdp.warehouse.functions.duckdb import is_double, is_json
from cdp.warehouse.functions.formats import of_formats
from cdp.warehouse.functions.fragment import called, chained, fill, fragments, literal_text, zoned
from cdp.warehouse.functions.patterns import POSTGRES, translated
from cdp.warehouse.functions.shapes import BLANKS, FALSE, INT, NUMBER, REAL_TIMESTAMP, TRUE, WITH_OFFSET

_D = "postgres"
_T = f"TRIM('{BLANKS}' FROM CAST(_1 AS TEXT))"
_STAMP = f"UPPER({_T})"
_MICROS = rf"REGEXP_REPLACE({_STAMP}, '(\.[0-9]{{6}})[0-9]+', '\1')"  # a longer fraction would be rounded
_DAY_US = 86_400_000_000
_NUMERIC = f"CAST({_T} AS NUMERIC)"


def _json_text(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """Through `json`, never `jsonb`, which reorders keys. Containers lose their blanks outside of strings, and numbers
    with a fraction or an exponent are spelled as doubles: DuckDB's JSON reader gives no others."""
    document, *keys = arguments
    path = exp.Array(expressions=[exp.Literal.string(literal_text(key, "a JSON key")) for key in keys])
    text = (
        "CASE JSON_TYPEOF(_1 #> _2) WHEN 'string' THEN _1 #>> _2 WHEN 'boolean' THEN _1 #>> _2"
        r""" WHEN 'number' THEN CASE WHEN _1 #>> _2 ~ '^-?[0-9]+$' THEN _1 #>> _2 ELSE _3 END"""
        r""" WHEN 'null' THEN NULL ELSE REGEXP_REPLACE(_1 #>> _2, '("(?:[^"\\]|\\.)*")|\s+', '\1', 'g') END"""
    )
    number = fill(_REAL, _D, fill("CAST(_1 #>> _2 AS DOUBLE PRECISION)", _D, _json(document), path))
    tree = fill(text, _D, _json(document), path, number)
    return tree if is_json(document) else fill("CASE WHEN CDP_JSON_VALID(_1) THEN _2 END", _D, _as_text(document), tree)


_REAL = (
    "CASE WHEN ABS(_1) < 1e15 AND _1 = TRUNC(_1) THEN CONCAT(CAST(CAST(_1 AS BIGINT) AS TEXT), '.0')"
    r" ELSE REGEXP_REPLACE(REGEXP_REPLACE(CAST(_1 AS TEXT), 'e([+-])0', 'e\1'), 'e[+]', 'e') END"
)


def _json(document: exp.Expr) -> exp.Expr:
    return fill("CAST(_1 AS JSON)", _D, document.this if is_json(document) else _as_text(document))


def _as_text(document: exp.Expr) -> exp.Expr:
    return fill("CAST(_1 AS TEXT)", _D, document)


def _list_has(arguments: Sequence[exp.Expr]) -> exp.Expr:
    return fill("CASE WHEN CDP_JSON_VALID(_1) THEN CAST(_1 AS JSONB) @> CAST(_2 AS JSONB) END", _D, *arguments)


def _divide(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """decimal(38,9); of doubles where one side is `CAST(… AS DOUBLE)`."""
    type_ = "DOUBLE PRECISION" if any(is_double(argument) for argument in arguments) else "NUMERIC(38, 9)"
    return fill(f"CAST(CAST(_1 AS {type_}) / NULLIF(CAST(_2 AS {type_}), 0) AS {type_})", _D, *arguments)


def _matches(arguments: Sequence[exp.Expr]) -> exp.Expr:
    pattern, _ = translated(literal_text(arguments[1], "a pattern"), POSTGRES)
    return fill("_1 ~ _2", _D, arguments[0], exp.Literal.string(pattern))


def _regex_replace(arguments: Sequence[exp.Expr]) -> exp.Expr:
    pattern, _ = translated(literal_text(arguments[1], "a pattern"), POSTGRES)
    replacement = literal_text(arguments[2], "a replacement").replace("\\0", "\\&")
    texts = [exp.Literal.string(pattern), exp.Literal.string(replacement)]
    return fill("REGEXP_REPLACE(_1, _2, _3, 'g')", _D, arguments[0], *texts)


def _round(node: exp.Expr) -> exp.Expr:
    """ROUND(double, n) does not exist."""
    if node.args.get("decimals") is not None:
        node.set("this", exp.Cast(this=node.this.copy(), to=exp.DataType.build("numeric", dialect=_D)))
    return node


def _any_value(node: exp.Expr) -> exp.Expr:
    """ANY_VALUE came with Postgres 16."""
    return exp.Min(this=node.this.copy())


_TO_UTC = "CAST(_1 AS TIMESTAMP) AT TIME ZONE _2 AT TIME ZONE 'UTC'"
_LOCAL = "CAST(_1 AS TIMESTAMP) AT TIME ZONE 'UTC' AT TIME ZONE _2"
_ADD = f"(_2 / {_DAY_US}) * INTERVAL '1 DAY' + (_2 % {_DAY_US}) * INTERVAL '1 MICROSECOND'"

_FUNCTIONS: dict[str, Build] = fragments(
    _D,
    cdp_text_of_bool="CAST(_1 AS TEXT)",
    cdp_text_of_decimal=r"RTRIM(REGEXP_REPLACE(CAST(_1 AS TEXT), '(\.[0-9]*?)0+$', '\1'), '.')",
    cdp_text_of_timestamp="""TO_CHAR(CAST(_1 AS TIMESTAMP), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
    cdp_text_of_date="TO_CHAR(CAST(_1 AS DATE), 'YYYY-MM-DD')",
    cdp_text_of_float=(
        "CASE WHEN ABS(_1) < 1e15 AND _1 = TRUNC(_1) THEN CAST(CAST(_1 AS BIGINT) AS TEXT) ELSE CAST(_1 AS TEXT) END"
    ),
    cdp_try_int=(
        f"CASE WHEN {_T} ~ '{INT}' AND LENGTH({_T}) <= 200 THEN CASE WHEN {_NUMERIC}"
        f" BETWEEN -9223372036854775808 AND 9223372036854775807 THEN CAST({_NUMERIC} AS BIGINT) END END"
    ),
    cdp_try_decimal=(
        f"CASE WHEN {_T} ~ '{NUMBER}' AND LENGTH({_T}) <= 200 THEN CASE WHEN ABS(ROUND({_NUMERIC}, 9)) < 1e29"
        f" THEN CAST({_NUMERIC} AS NUMERIC(38, 9)) END END"
    ),
    cdp_try_float=(
        f"CASE WHEN {_T} ~ '{NUMBER}' AND LENGTH({_T}) <= 200 THEN CASE WHEN ABS({_NUMERIC}) < 4.94e-324 THEN 0"
        f" WHEN ABS({_NUMERIC}) <= 1.7976931348623157e308 THEN CAST({_T} AS DOUBLE PRECISION) END END"
    ),
    cdp_try_bool=f"CASE WHEN LOWER({_T}) IN {TRUE} THEN TRUE WHEN LOWER({_T}) IN {FALSE} THEN FALSE END",
    cdp_try_date=f"CASE WHEN {_STAMP} ~ '{REAL_TIMESTAMP}' THEN CAST(LEFT({_T}, 10) AS DATE) END",
    cdp_md5="MD5(CAST(_1 AS TEXT))",
    cdp_sha256="ENCODE(SHA256(CONVERT_TO(CAST(_1 AS TEXT), 'UTF8')), 'hex')",
    cdp_bucket=(
        "CAST(CAST(CAST('x' || SUBSTRING(MD5(CAST(_1 AS TEXT)) FROM 1 FOR 8) AS BIT(32)) AS BIGINT) % 10000 AS BIGINT)"
    ),
    cdp_epoch_us="CAST(EXTRACT(EPOCH FROM CAST(_1 AS TIMESTAMP)) * 1000000 AS BIGINT)",
    # in days and a rest: an interval is multiplied in doubles, which are exact to 285 years of microseconds only
    cdp_of_epoch_us=f"CAST('1970-01-01' AS TIMESTAMP) + {_ADD.replace('_2', 'CAST(_1 AS BIGINT)')}",
    cdp_add_us=f"CAST(_1 AS TIMESTAMP) + {_ADD.replace('_2', 'CAST(_2 AS BIGINT)')}",
    cdp_utc_of_tz="_1 AT TIME ZONE 'UTC'",
    cdp_json_quote="CAST(TO_JSON(CAST(_1 AS TEXT)) AS TEXT)",
    cdp_list_length=(
        "CASE WHEN CDP_JSON_VALID(_1) THEN CASE WHEN JSON_TYPEOF(CAST(_1 AS JSON)) = 'array'"
        " THEN CAST(JSON_ARRAY_LENGTH(CAST(_1 AS JSON)) AS BIGINT) END END"
    ),
    cdp_contains="POSITION(LOWER(_2) IN LOWER(_1)) > 0",
    cdp_starts_with="STARTS_WITH(LOWER(_1), LOWER(_2))",
    cdp_ends_with="RIGHT(LOWER(_1), LENGTH(LOWER(_2))) = LOWER(_2)",
    cdp_digits="REGEXP_REPLACE(_1, '[^0-9]', '', 'g')",
    cdp_bitand="_1 & _2",
    cdp_binary='_1 COLLATE "C"',
    cdp_first='(ARRAY_AGG(_1 ORDER BY _2 NULLS FIRST, _3 COLLATE "C") FILTER (WHERE _4))[1]',
    cdp_last='(ARRAY_AGG(_1 ORDER BY _2 DESC NULLS LAST, _3 COLLATE "C" DESC) FILTER (WHERE _4))[1]',
    cdp_median="PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY CAST(_1 AS DOUBLE PRECISION))",
    cdp_string_agg="STRING_AGG(_1, _2 ORDER BY _3)",
)
_ZONED = fragments(
    _D,
    utc="CAST(_1 AS TIMESTAMP)",
    to_utc=_TO_UTC,
    local=_LOCAL,
    date="CAST(_1 AS DATE)",
    local_date=f"CAST({_LOCAL} AS DATE)",
    stamp=f"CASE WHEN {_STAMP} ~ '{REAL_TIMESTAMP}' THEN CAST({_MICROS} AS TIMESTAMPTZ) AT TIME ZONE 'UTC' END",
    local_stamp=(
        f"CASE WHEN {_STAMP} ~ '{REAL_TIMESTAMP}' THEN CASE WHEN {_STAMP} ~ '{WITH_OFFSET}'"
        f" THEN CAST({_MICROS} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
        f" ELSE CAST({_MICROS} AS TIMESTAMP) AT TIME ZONE _2 AT TIME ZONE 'UTC' END END"
    ),
)
_FUNCTIONS |= {
    "cdp_try_timestamp": zoned(_ZONED["stamp"], _ZONED["local_stamp"]),
    "cdp_utc": zoned(_ZONED["utc"], _ZONED["to_utc"]),
    "cdp_local_timestamp": zoned(_ZONED["utc"], _ZONED["local"]),
    "cdp_local_date": zoned(_ZONED["date"], _ZONED["local_date"]),
    "cdp_midnight": zoned(_ZONED["utc"], _ZONED["to_utc"]),
    "cdp_json_text": _json_text,
    "cdp_list_has": _list_has,
    "cdp_divide": _divide,
    "cdp_matches": _matches,
    "cdp_regex_replace": _regex_replace,
    "cdp_concat": chained(exp.DPipe),
    "cdp_greatest": called("GREATEST"),
    "cdp_least": called("LEAST"),
}
_FUNCTIONS |= of_formats(_FUNCTIONS)

_FUZZY = "an identity rule; Postgres has levenshtein(a, b) in its extension fuzzystrmatch"
FACTS = Facts(
    name="postgres",
    dialect=_D,
    functions=_FUNCTIONS,
    rewrites={exp.Round: _round, exp.AnyValue: _any_value},
    groups_by_window=False,
    skips_blocks=False,
)
