"""The canonical functions on Spark 3.5 and later (and Databricks), whose session time zone must be UTC. Checked offline
only: parsed back and qualified in its dialect, each function of its own reviewed against Spark's reference."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from cdp.warehouse.facts import Build, Facts
from cdp.warehouse.functions.duckdb import is_double, is_json
from cdp.warehouse.functions.formats import of_formats
from cdp.warehouse.functions.fragment import called, chained, fill, filtered, filtering, fragments, literal_text, zoned
from cdp.warehouse.functions.patterns import SPARK, translated
from cdp.warehouse.functions.shapes import FALSE, INT, NUMBER, TIMESTAMP, TRUE, WITH_OFFSET

_D = "spark"
_T = r"TRIM(BOTH ' \t\n\r' FROM CAST(_1 AS STRING))"
# where a zone follows, its cast wants seconds
_STAMP = f"REGEXP_REPLACE(REPLACE(UPPER({_T}), ' UTC', 'Z'), '^(.{{16}})([^:]|$)', '$1:00$2')"
_NTZ = "CAST({} AS TIMESTAMP_NTZ)"
_LOCAL_OF = "FROM_UTC_TIMESTAMP(CAST(_1 AS TIMESTAMP), _2)"
_HOURS = "INTERVAL '3' HOUR"
# of an hour that there is twice Spark takes the first, we the second: the one by the offset three hours on, if that is
# a reading of the clock at all
_UTC_OF = (
    f"CASE WHEN FROM_UTC_TIMESTAMP(TO_UTC_TIMESTAMP(CAST(_1 AS TIMESTAMP) + {_HOURS}, _2) - {_HOURS}, _2)"
    f" = CAST(_1 AS TIMESTAMP) THEN TO_UTC_TIMESTAMP(CAST(_1 AS TIMESTAMP) + {_HOURS}, _2) - {_HOURS}"
    " ELSE TO_UTC_TIMESTAMP(CAST(_1 AS TIMESTAMP), _2) END"
)


def _json_text(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """Key by key through maps of text: Spark's JSONPath cannot name a key with a quote in it."""
    tree, *keys = arguments
    tree = fill("CAST(_1 AS STRING)", _D, tree.this if is_json(tree) else tree)
    for key in keys:
        literal_text(key, "a JSON key")
        tree = fill(f"TRY_ELEMENT_AT(FROM_JSON(_1, 'MAP<STRING, STRING>', {_STRICT}), _2)", _D, tree, key)
    return fill(_NUMBER_OF_JSON, _D, tree)


_STRICT = "MAP('allowSingleQuotes', 'false')"
_PLAIN = "'0.#####################'"  # 21 places: the smallest number that is written without exponent, whole
# Java writes 1.0E-7
_NUMBER_OF_JSON = (
    "REGEXP_REPLACE(REGEXP_REPLACE(_1, '^(-?[0-9])[.]0E(-?[0-9]+)$', '$1e$2'),"
    " '^(-?[0-9][.][0-9]+)E(-?[0-9]+)$', '$1e$2')"
)
# the shortest digits that mean the number, with an exponent below 1e-4 and from 1e16 on
_FLOAT = (
    "CASE WHEN ABS(_1) < 1e15 AND _1 = CAST(_1 AS BIGINT) THEN CAST(CAST(_1 AS BIGINT) AS STRING)"
    f" WHEN ABS(_1) >= 1e-4 AND ABS(_1) < 1e16 THEN FORMAT_NUMBER(CAST(CAST(_1 AS STRING) AS DECIMAL(38, 21)), {_PLAIN})"
    " ELSE REGEXP_REPLACE(REGEXP_REPLACE(REGEXP_REPLACE(REGEXP_REPLACE(CAST(_1 AS STRING), '([.]0)?E', 'e'),"
    " 'e([0-9])', 'e+$1'), 'e[+]([0-9])$', 'e+0$1'), 'e-([0-9])$', 'e-0$1') END"
)
# strings are marked, lest "1" and 1 be the same; within them a backslash takes the next character along
_MARKED = r"""REGEXP_REPLACE({}, '"((?:[^"\\\\]|\\\\.)*)"', '"s$1"')"""
_ITEMS = "FROM_JSON({}, 'ARRAY<STRING>', " + _STRICT + ")"
_LIST = _ITEMS.format(_MARKED.format("_1"))
_ITEM = _ITEMS.format(_MARKED.format("('[' || _2 || ']')"))


def _json_quote(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """Minimal escaping; control characters are respelled as the other engines write them: Jackson's hex is in capitals.

    A JSON literal holds no raw control character, so chr(1) can stand for an escaped backslash meanwhile.
    """
    quoted = fill("SUBSTRING(TO_JSON(ARRAY(_1)), 2, LENGTH(TO_JSON(ARRAY(_1))) - 2)", _D, arguments[0])
    slow = _replaced(quoted, "\\\\", "\1")
    for code in (0x0B, 0x0E, 0x0F, *range(0x1A, 0x20)):
        slow = _replaced(slow, f"\\u{code:04X}", f"\\u{code:04x}")
    slow = _replaced(slow, "\1", "\\\\")
    controls = exp.Literal.string(r"[\x0b\x0e\x0f\x1a-\x1f]")
    choice = "CASE WHEN _1 RLIKE _4 THEN _2 WHEN NOT _1 IS NULL THEN _3 END"
    return fill(choice, _D, arguments[0], slow, quoted, controls)


def _replaced(text: exp.Expr, old: str, new: str) -> exp.Expr:
    words = [exp.Literal.string(old), exp.Literal.string(new)]
    return exp.Anonymous(this="REPLACE", expressions=[text.copy(), *words])


def _matches(arguments: Sequence[exp.Expr]) -> exp.Expr:
    pattern = _pattern(arguments[1])
    return fill("_1 RLIKE _2", _D, arguments[0], exp.Literal.string(pattern))


def _regex_replace(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """`\\1` is `$1` to Java, and a dollar sign must be escaped."""
    replacement = literal_text(arguments[2], "a replacement").replace("$", r"\$")
    for group in range(10):
        replacement = replacement.replace(f"\\{group}", f"${group}")
    texts = [exp.Literal.string(_pattern(arguments[1])), exp.Literal.string(replacement)]
    return fill("REGEXP_REPLACE(_1, _2, _3)", _D, arguments[0], *texts)


def _pattern(tree: exp.Expr) -> str:
    return translated(literal_text(tree, "a pattern"), SPARK)[0]


def _divide(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """decimal(29,9) on both sides is what makes Spark give nine places."""
    type_ = "DOUBLE" if any(is_double(argument) for argument in arguments) else "DECIMAL(29, 9)"
    return fill(f"CAST(_1 AS {type_}) / NULLIF(CAST(_2 AS {type_}), 0)", _D, *arguments)


def _string_agg(arguments: Sequence[exp.Expr]) -> exp.Expr:
    """LISTAGG came with Spark 4."""
    pairs = "COLLECT_LIST(CASE WHEN NOT _1 IS NULL THEN STRUCT(_3 AS o, _1 AS x) END)"
    return fill(
        f"CASE WHEN COUNT(_1) > 0 THEN ARRAY_JOIN(TRANSFORM(SORT_ARRAY({pairs}), p -> p.x), _2) END", _D, *arguments
    )


_ROW = "STRUCT(NOT _2 IS NULL AS dated, _2 AS at, _3 AS key)"
_FUNCTIONS: dict[str, Build] = fragments(
    _D,
    cdp_text_of_bool="CAST(_1 AS STRING)",
    cdp_text_of_decimal="FORMAT_NUMBER(CAST(_1 AS DECIMAL(38, 9)), '0.#########')",
    cdp_text_of_timestamp="DATE_FORMAT(CAST(_1 AS TIMESTAMP), \"yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'\")",
    cdp_text_of_date="DATE_FORMAT(CAST(_1 AS DATE), 'yyyy-MM-dd')",
    cdp_text_of_float=_FLOAT,
    cdp_try_int=f"CASE WHEN {_T} RLIKE '{INT}' THEN TRY_CAST(SUBSTRING_INDEX({_T}, '.', 1) AS BIGINT) END",
    cdp_try_decimal=f"CASE WHEN {_T} RLIKE '{NUMBER}' THEN TRY_CAST({_T} AS DECIMAL(38, 9)) END",
    cdp_try_float=(
        f"CASE WHEN {_T} RLIKE '{NUMBER}' AND ABS(TRY_CAST({_T} AS DOUBLE)) <= 1.7976931348623157e308"
        f" THEN TRY_CAST({_T} AS DOUBLE) END"
    ),
    cdp_try_bool=f"CASE WHEN LOWER({_T}) IN {TRUE} THEN TRUE WHEN LOWER({_T}) IN {FALSE} THEN FALSE END",
    cdp_try_date=f"CASE WHEN UPPER({_T}) RLIKE '{TIMESTAMP}' THEN TRY_CAST(LEFT({_T}, 10) AS DATE) END",
    cdp_md5="MD5(_1)",
    cdp_sha256="SHA2(_1, 256)",
    cdp_bucket="CAST(CONV(SUBSTRING(MD5(_1), 1, 8), 16, 10) AS BIGINT) % 10000",
    cdp_epoch_us="UNIX_MICROS(CAST(_1 AS TIMESTAMP))",
    cdp_of_epoch_us=_NTZ.format("TIMESTAMP_MICROS(_1)"),
    cdp_add_us=_NTZ.format("TIMESTAMP_MICROS(UNIX_MICROS(CAST(_1 AS TIMESTAMP)) + _2)"),
    cdp_utc_of_tz="CAST(_1 AS TIMESTAMP_NTZ)",
    cdp_list_has=(
        f"CASE WHEN NOT {_LIST} IS NULL AND NOT _2 IS NULL"
        f" THEN COALESCE(ARRAY_CONTAINS({_LIST}, {_ITEM}[0]), FALSE) END"
    ),
    cdp_list_length="JSON_ARRAY_LENGTH(_1)",
    cdp_contains="CONTAINS(LOWER(_1), LOWER(_2))",
    cdp_starts_with="STARTSWITH(LOWER(_1), LOWER(_2))",
    cdp_ends_with="ENDSWITH(LOWER(_1), LOWER(_2))",
    cdp_digits="REGEXP_REPLACE(_1, '[^0-9]', '')",
    cdp_bitand="_1 & _2",
    cdp_binary="_1",
    cdp_first=f"MIN_BY(_1, {_ROW}) FILTER (WHERE _4)",
    cdp_last=f"MAX_BY(_1, {_ROW}) FILTER (WHERE _4)",
    cdp_median="PERCENTILE(CAST(_1 AS DOUBLE), 0.5)",
)
_ZONED = fragments(
    _D,
    utc="CAST(_1 AS TIMESTAMP_NTZ)",
    to_utc=_NTZ.format(_UTC_OF),
    local=_NTZ.format(_LOCAL_OF),
    date="CAST(_1 AS DATE)",
    local_date=f"CAST({_LOCAL_OF} AS DATE)",
    stamp=f"CASE WHEN UPPER({_T}) RLIKE '{TIMESTAMP}' THEN {_NTZ.format(f'TRY_CAST({_STAMP} AS TIMESTAMP)')} END",
    local_stamp=(
        f"CASE WHEN UPPER({_T}) RLIKE '{TIMESTAMP}' THEN CASE WHEN UPPER({_T}) RLIKE '{WITH_OFFSET}'"
        f" THEN {_NTZ.format(f'TRY_CAST({_STAMP} AS TIMESTAMP)')}"
        f" ELSE {_NTZ.format(_UTC_OF.replace('_1', f'TRY_CAST({_STAMP} AS TIMESTAMP)'))} END END"
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
    "cdp_matches": _matches,
    "cdp_regex_replace": _regex_replace,
    "cdp_concat": chained(exp.DPipe),
    "cdp_greatest": called("GREATEST"),
    "cdp_least": called("LEAST"),
    "cdp_string_agg": filtering(_string_agg),
}
_FUNCTIONS |= of_formats(_FUNCTIONS)

FACTS = Facts(
    name="spark",
    dialect=_D,
    functions=_FUNCTIONS,
    rewrites={exp.Filter: filtered},
    reads_once=True,
    fold="none",
)
