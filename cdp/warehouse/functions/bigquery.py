"""The canonical functions on BigQuery, where our naive timestamp is a DATETIME. Each function of its own is reviewed
against BigQuery's reference; tests/conformance runs them on a server of ours, which shows the wiring, not the dialect."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cdp.warehouse.facts import Build, Facts
from cdp.warehouse.functions.duckdb import is_double, is_json
from cdp.warehouse.functions.formats import of_formats
from cdp.warehouse.functions.fragment import (
    bracketed,
    chained,
    fill,
    filtered,
    filtering,
    fragments,
    literal_text,
    zoned,
)
from cdp.warehouse.functions.shapes import FALSE, INT, NUMBER, TIMESTAMP, TRUE, WITH_OFFSET

_D = "bigquery"
_T = r"TRIM(CAST(_1 AS STRING), ' \t\n\r')"


def _iso(text: str) -> str:
    """A text of the shape TIMESTAMP as BigQuery reads it: with seconds, at most six digits of them, no blank before the
    offset, a colon within it.

    https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#canonical_format_for_timestamp_literals
    """
    for pattern, instead in (
        (" ?(Z|UTC)$", "Z"),
        (" ?([+-][0-9]{2}):?([0-9]{2})$", r"\\1:\\2"),
        (" ([+-])", r"\\1"),
        ("([T ][0-9]{2}:[0-9]{2})(Z|[+-].*)?$", r"\\1:00\\2"),
        ("([.][0-9]{6})[0-9]+", r"\\1"),
    ):
        text = f"REGEXP_REPLACE({text}, '{pattern}', '{instead}')"
    return text


_STAMP = _iso(f"UPPER({_T})")


def _json_text(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """By subscripts, whose keys are plain literals: a JSONPath cannot name a key with a double quote in it."""
    document, *keys = arguments
    tree = (
        document.copy()
        if is_json(document)
        else fill("SAFE.PARSE_JSON(CAST(_1 AS STRING), wide_number_mode => 'round')", _D, document)
    )
    for key in keys:
        literal_text(key, "a JSON key")
        tree = exp.Bracket(this=tree, expressions=[key.copy()])
    return fill("COALESCE(JSON_VALUE(_1, '$'), NULLIF(TO_JSON_STRING(_1), 'null'))", _D, tree)


def _divide(arguments: Sequence[exp.Expr]) -> exp.Expr:
    type_ = "FLOAT64" if any(is_double(argument) for argument in arguments) else "NUMERIC"
    return fill(f"SAFE_DIVIDE(CAST(_1 AS {type_}), CAST(_2 AS {type_}))", _D, *arguments)


def _extreme(name: str) -> Build:
    """GREATEST is NULL there as soon as one argument is."""

    def build(arguments: Sequence[exp.Expr]) -> exp.Expr:
        values = exp.Array(expressions=[bracketed(argument) for argument in arguments])
        return fill(f"(SELECT {name}(cdp_v) FROM UNNEST(_1) AS cdp_v)", _D, values)

    return build


def _median(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """PERCENTILE_CONT is no aggregate there: the mean of the two middles of the sorted array."""
    middle = "ARRAY_AGG(CAST(_1 AS FLOAT64) IGNORE NULLS ORDER BY CAST(_1 AS FLOAT64))[SAFE_OFFSET(DIV({}, 2))]"
    return fill(f"({middle.format('COUNT(_1) - 1')} + {middle.format('COUNT(_1)')}) / 2", _D, *arguments)


_FIRST = "ARRAY_AGG(CASE WHEN _4 THEN _1 END IGNORE NULLS ORDER BY _2 {0}, _3 {0} LIMIT 1)[SAFE_OFFSET(0)]"
_FUNCTIONS: dict[str, Build] = fragments(
    _D,
    cdp_text_of_bool="CAST(_1 AS STRING)",
    cdp_text_of_decimal="CAST(CAST(_1 AS NUMERIC) AS STRING)",
    cdp_text_of_timestamp="FORMAT_DATETIME('%Y-%m-%dT%H:%M:%E6SZ', CAST(_1 AS DATETIME))",
    cdp_text_of_date="FORMAT_DATE('%Y-%m-%d', CAST(_1 AS DATE))",
    cdp_text_of_float=(
        "CASE WHEN IS_INF(_1) THEN CASE WHEN _1 > 0 THEN 'Infinity' ELSE '-Infinity' END"
        " WHEN ABS(_1) < 1e15 AND _1 = TRUNC(_1) THEN CAST(CAST(_1 AS INT64) AS STRING) ELSE CAST(_1 AS STRING) END"
    ),
    cdp_try_int=(
        f"CASE WHEN REGEXP_CONTAINS({_T}, '{INT}') THEN SAFE_CAST(SPLIT({_T}, '.')[SAFE_OFFSET(0)] AS INT64) END"
    ),
    cdp_try_decimal=f"CASE WHEN REGEXP_CONTAINS({_T}, '{NUMBER}') THEN SAFE_CAST({_T} AS NUMERIC) END",
    cdp_try_float=(
        f"CASE WHEN REGEXP_CONTAINS({_T}, '{NUMBER}') AND ABS(SAFE_CAST({_T} AS FLOAT64)) <= 1.7976931348623157e308"
        f" THEN SAFE_CAST({_T} AS FLOAT64) END"
    ),
    cdp_try_bool=f"CASE WHEN LOWER({_T}) IN {TRUE} THEN TRUE WHEN LOWER({_T}) IN {FALSE} THEN FALSE END",
    cdp_try_date=f"CASE WHEN REGEXP_CONTAINS(UPPER({_T}), '{TIMESTAMP}') THEN SAFE_CAST(LEFT({_T}, 10) AS DATE) END",
    cdp_md5="TO_HEX(MD5(_1))",
    cdp_sha256="TO_HEX(SHA256(_1))",
    cdp_bucket="MOD(CAST('0x' || SUBSTR(TO_HEX(MD5(_1)), 1, 8) AS INT64), 10000)",
    cdp_epoch_us="UNIX_MICROS(TIMESTAMP(CAST(_1 AS DATETIME), 'UTC'))",
    cdp_of_epoch_us="DATETIME(TIMESTAMP_MICROS(_1), 'UTC')",
    cdp_add_us="DATETIME(TIMESTAMP_MICROS(UNIX_MICROS(TIMESTAMP(CAST(_1 AS DATETIME), 'UTC')) + _2), 'UTC')",
    cdp_utc_of_tz="DATETIME(_1, 'UTC')",
    cdp_json_quote="CASE WHEN NOT _1 IS NULL THEN TO_JSON_STRING(_1) END",
    cdp_list_has="_2 IN UNNEST(JSON_QUERY_ARRAY(_1, '$'))",
    cdp_list_length="ARRAY_LENGTH(JSON_QUERY_ARRAY(_1, '$'))",
    cdp_contains="STRPOS(LOWER(_1), LOWER(_2)) > 0",
    cdp_starts_with="STARTS_WITH(LOWER(_1), LOWER(_2))",
    cdp_ends_with="ENDS_WITH(LOWER(_1), LOWER(_2))",
    cdp_matches="REGEXP_CONTAINS(_1, _2)",
    cdp_regex_replace="REGEXP_REPLACE(_1, _2, _3)",
    cdp_digits="REGEXP_REPLACE(_1, '[^0-9]', '')",
    cdp_bitand="_1 & _2",
    cdp_binary="_1",
    cdp_first=_FIRST.format("ASC"),
    cdp_last=_FIRST.format("DESC"),
    cdp_string_agg="STRING_AGG(_1, _2 ORDER BY _3)",
)
_ZONED = fragments(
    _D,
    utc="CAST(_1 AS DATETIME)",
    to_utc="DATETIME(TIMESTAMP(CAST(_1 AS DATETIME), _2), 'UTC')",
    local="DATETIME(TIMESTAMP(CAST(_1 AS DATETIME), 'UTC'), _2)",
    date="CAST(_1 AS DATE)",
    local_date="CAST(DATETIME(TIMESTAMP(CAST(_1 AS DATETIME), 'UTC'), _2) AS DATE)",
    stamp=(
        f"CASE WHEN REGEXP_CONTAINS(UPPER({_T}), '{TIMESTAMP}')"
        f" THEN DATETIME(SAFE_CAST({_STAMP} AS TIMESTAMP), 'UTC') END"
    ),
    local_stamp=(
        f"CASE WHEN REGEXP_CONTAINS(UPPER({_T}), '{TIMESTAMP}')"
        f" THEN CASE WHEN REGEXP_CONTAINS(UPPER({_T}), '{WITH_OFFSET}')"
        f" THEN DATETIME(SAFE_CAST({_STAMP} AS TIMESTAMP), 'UTC')"
        f" ELSE DATETIME(TIMESTAMP(SAFE_CAST({_STAMP} AS DATETIME), _2), 'UTC') END END"
    ),
)
_FUNCTIONS |= {
    "cdp_try_timestamp": zoned(_ZONED["stamp"], _ZONED["local_stamp"]),
    "cdp_utc": zoned(_ZONED["utc"], _ZONED["to_utc"]),
    "cdp_local_timestamp": zoned(_ZONED["utc"], _ZONED["local"]),
    "cdp_local_date": zoned(_ZONED["date"], _ZONED["local_date"]),
    "cdp_midnight": zoned(_ZONED["utc"], _ZONED["to_utc"]),
    "cdp_json_text": _json_text,
    "cdp_divide": _divide,
    "cdp_concat": chained(exp.DPipe),
    "cdp_greatest": _extreme("MAX"),
    "cdp_least": _extreme("MIN"),
    "cdp_median": filtering(_median),
}
_FUNCTIONS |= of_formats(_FUNCTIONS)


def _from_something(node: exp.Expr) -> exp.Expr:
    """A WHERE needs a FROM there: https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax"""
    if node.args.get("where") and not node.args.get("from_"):
        node.set("from_", fill("(SELECT 1 FROM UNNEST([1]) AS cdp_one)", _D).this.args["from_"])
    return node


def _split_part(node: exp.Expr) -> exp.Expr:
    """A part that is not there is empty, as everywhere else."""
    parts = (node.this, node.args["delimiter"], node.args["part_index"])
    return fill("CASE WHEN NOT _1 IS NULL THEN COALESCE(SPLIT(_1, _2)[SAFE_OFFSET(_3 - 1)], '') END", _D, *parts)


def _where_true(node: exp.Expr) -> exp.Expr:
    """DELETE and UPDATE need a WHERE: https://cloud.google.com/bigquery/docs/reference/standard-sql/dml-syntax"""
    if not node.args.get("where"):
        node.set("where", exp.Where(this=exp.true()))
    return node


def _whole_interval(node: exp.Expr) -> exp.Expr:
    """The number of an interval is one, no text: `INTERVAL 3 DAY`."""
    if isinstance(node.this, exp.Literal) and node.this.is_string and node.this.this.lstrip("-").isdecimal():
        node.set("this", exp.Literal.number(node.this.this))
    return node


def _any_value(node: exp.Expr) -> exp.Expr:
    """ANY_VALUE passes over NULL by itself and takes no IGNORE NULLS."""
    return node.this if isinstance(node.this, exp.AnyValue) else node


def _no_key(node: exp.Expr) -> exp.Expr:
    """Keys are not enforced there, and must be marked so; ours are kept by the statements that write."""
    kept = [
        item for item in node.args.get("constraints") or () if not isinstance(item.kind, exp.PrimaryKeyColumnConstraint)
    ]
    node.set("constraints", kept)
    return node


def _plain_decimal(node: exp.Expr) -> exp.Expr:
    """NUMERIC is decimal(38, 9) as it stands."""
    if node.args["to"].is_type("decimal"):
        node.set("to", exp.DataType.build("decimal"))
    return node


FACTS = Facts(
    name="bigquery",
    dialect=_D,
    functions=_FUNCTIONS,
    rewrites={
        exp.Filter: filtered,
        exp.SplitPart: _split_part,
        exp.Select: _from_something,
        exp.Delete: _where_true,
        exp.Update: _where_true,
        exp.Interval: _whole_interval,
        exp.IgnoreNulls: _any_value,
        exp.ColumnDef: _no_key,
        exp.TryCast: _plain_decimal,
    },
    reads_once=True,
    fold="none",
)
