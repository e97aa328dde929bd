"""What good snippets mean: their canonical SQL by hand, and their values on real engines, by hand too."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from cdp.compile.render import Renderer
from cdp.errors import StatementError
from cdp.project.snippet import SnippetErrors, expression, safe_arithmetic, type_of
from cdp.warehouse.duckdb import DuckDB
from cdp.warehouse.functions import FACTS
from cdp.warehouse.postgres import Postgres

ENGINES = ("duckdb", "postgres", "snowflake", "bigquery", "spark", "redshift")
TYPES = {
    "a": "decimal", "n": "int", "z": "int", "t": "text", "nul": "text", "ts": "timestamp",
    "as_of": "timestamp", "d": "date",
    "b": "bool", "f": "float", "j": "json", "l": "list",
}  # fmt: skip
ROW = """
    SELECT CAST(12.5 AS DECIMAL(38, 9)) AS a, CAST(7 AS BIGINT) AS n, CAST(0 AS BIGINT) AS z, 'Zoë Müller' AS t,
           CAST(NULL AS TEXT) AS nul, CAST('2026-03-29 13:45:10.5' AS TIMESTAMP) AS ts, CAST('2026-03-01' AS DATE) AS d,
           CAST('2026-04-01' AS TIMESTAMP) AS as_of, TRUE AS b, CAST(2.5 AS DOUBLE) AS f,
           '{"a":{"b":"x","c.d":1.5},"k":null,"l":[1,"q"]}' AS j, '["fr","be"]' AS l
"""

# The tree before its types are known, in DuckDB's words
CANONICAL = [
    ("a > 1 and not b", "a > 1 AND NOT b"),
    ("a == 1 or a <> 2", "a = 1 OR a <> 2"),
    ("(a + 1) * 2", "(a + 1) * 2"),
    ("a % b", "a % NULLIF(b, 0)"),
    ("a % 2", "a % 2"),
    ("iF(a, 1, 2)", "CASE WHEN a THEN 1 ELSE 2 END"),
    ("ifnull(a, b)", "COALESCE(a, b)"),
    ("a::int", "TRY_CAST(a AS BIGINT)"),
    ("try_cast(a as decimal)", "TRY_CAST(a AS DECIMAL(38, 9))"),
    ("a::decimal(18, 3)", "ROUND(TRY_CAST(a AS DECIMAL(38, 9)), 3)"),
    ("cast(a as decimal(10, 2))", "ROUND(TRY_CAST(a AS DECIMAL(38, 9)), 2)"),
    ("a || b || c", "CDP_CONCAT(a, b, c)"),
    ("a is true", "COALESCE(a, FALSE)"),
    ("a is not false", "NOT NOT COALESCE(a, TRUE)"),
    ("a is not distinct from b", "COALESCE(a = b, a IS NULL AND b IS NULL)"),
    ("a is distinct from b", "NOT COALESCE(a = b, a IS NULL AND b IS NULL)"),
    ("a ilike 'X%'", "LOWER(a) LIKE 'x%'"),
    ("a not like 'x'", "NOT a LIKE 'x'"),
    ("trim(a)", "TRIM(a, ' ')"),
    ("starts_with(a, 'x')", "(LEFT(a, LENGTH('x')) = 'x')"),
    ("contains(a, 'x')", "(STRPOS(a, 'x') > 0)"),
    ("left(a, b)", "LEFT(a, CAST(CASE WHEN b < 0 THEN 0 ELSE b END AS INT))"),
    ("greatest(a, 1)", "CDP_GREATEST(a, 1)"),
    ("sqrt(a)", "CASE WHEN TRY_CAST(a AS DOUBLE) >= 0 THEN SQRT(TRY_CAST(a AS DOUBLE)) END"),
    ("md5(a)", "CDP_MD5(a)"),
    ("sha256(a)", "CDP_SHA256(a)"),
    ("a ~ '^x'", "CDP_MATCHES(a, '^x')"),
    ("regexp_replace(a, '[^0-9]', '', 'g')", "CDP_REGEX_REPLACE(a, '[^0-9]', '')"),
    ("j -> 'a' ->> 'b'", "CDP_JSON_TEXT(j, 'a', 'b')"),
    ("j ->> '$.a.\"b.c\"'", "CDP_JSON_TEXT(j, 'a', 'b.c')"),
    ("list_contains(l, 'x\"')", 'CDP_LIST_HAS(l, \'"x\\""\')'),
    ("list_contains(l, 5)", "CDP_LIST_HAS(l, '5')"),
    ("array_length(l)", "CDP_LIST_LENGTH(l)"),
    ("ts > as_of - interval '30 days'", "ts > CDP_ADD_US(TRY_CAST(as_of AS TIMESTAMP), (-2592000000000))"),
    ("ts + interval 2 years", "TRY_CAST(ts AS TIMESTAMP) + INTERVAL '24' MONTH"),
    ("date '2026-01-31'", "CAST('2026-01-31' AS DATE)"),
    ("timestamp '2026-01-31T10:00:00+02:00'", "CAST('2026-01-31 08:00:00.000000' AS TIMESTAMP)"),
    ("extract(year from d)", "CAST(EXTRACT(YEAR FROM TRY_CAST(d AS TIMESTAMP)) AS BIGINT)"),
    ("date_trunc('month', d)", "DATE_TRUNC('MONTH', TRY_CAST(d AS TIMESTAMP))"),
    ("a -- tail\n > 1 /* ; drop */", "a > 1"),
]


@pytest.mark.parametrize(("text", "sql"), CANONICAL)
def test_a_snippet_becomes_this_canonical_sql(text: str, sql: str) -> None:
    assert expression(text, "duckdb").tree.sql("duckdb", comments=True) == sql


# dialect, text, value
VALUES: list[tuple[str, str, Any]] = [
    ("duckdb", "a > 10 and n <= 7 or not b", True),
    ("duckdb", "a / n", Decimal("1.785714286")),
    ("duckdb", "n / z", None),
    ("duckdb", "n / 2", Decimal("3.5")),
    ("postgres", "n / 2", Decimal("3.5")),  # `/` never cuts off, whatever the dialect
    ("duckdb", "n % z", None),
    ("duckdb", "mod(n, 4)", 3),
    ("duckdb", "-n % 4", -3),
    ("duckdb", "f % 2", Decimal("0.5")),
    ("duckdb", "a * a", Decimal("156.25")),
    ("duckdb", "f * 2", 5.0),
    ("duckdb", "(n + 1) * 2 - (3 - (2 - 1))", 14),
    ("duckdb", "- - n", 7),
    ("duckdb", "case when n > 5 then 'big' else 'small' end", "big"),
    ("duckdb", "case n when 7 then 'seven' end", "seven"),
    ("duckdb", "coalesce(nul, t, 'x')", "Zoë Müller"),
    ("duckdb", "nullif(n, 7)", None),
    ("duckdb", "cast('5' as int) + n", 12),
    ("duckdb", "try_cast(t as int)", None),
    ("duckdb", "cast(t as decimal)", None),  # a failing cast is NULL
    ("duckdb", "a::int", 13),  # half away from zero
    ("duckdb", "f::int", 3),
    ("duckdb", "(a + 1)::text", "13.5"),
    ("duckdb", "'12.345'::decimal(10, 2)", Decimal("12.35")),
    ("duckdb", "b::int + n::bool::int", 2),
    ("duckdb", "d::timestamp", datetime(2026, 3, 1)),
    ("duckdb", "ts::date", date(2026, 3, 29)),
    ("duckdb", "b || '/' || n || '/' || a || '/' || d || '/' || ts",
    "true/7/12.5/2026-03-01/2026-03-29T13:45:10.500000Z"),
    ("duckdb", "t || nul", None),
    ("duckdb", "concat(t, nul, n)", "Zoë Müller7"),  # DuckDB's concat passes over NULL
    ("snowflake", "concat(t, nul)", None),  # Snowflake's does not
    ("duckdb", "n in (1, 7, null)", True),
    ("duckdb", "n not between 5 and 7", False),
    ("duckdb", "nul is not distinct from null", True),
    ("duckdb", "t like 'Zo%' and not t like 'zo%' and t ilike 'zo%'", True),
    ("duckdb", "ltrim('  x ') || '|' || rtrim(' x  ') || '|' || trim(' x ')", "x | x|x"),
    ("duckdb", "trim(both 'x' from 'xxaxx')", "a"),
    ("duckdb", "substring(t, position(' ' in t) + 1)", "Müller"),
    ("duckdb", "substring(t, n - 10, 3)", "Zoë"),
    ("duckdb", "left(t, 3) || right(t, 2) || left(t, n - 8)", "Zoëer"),
    ("duckdb", "length(t) + strpos(t, 'M')", 15),
    ("duckdb", "replace(upper(t), 'Ü', 'UE')", "ZOË MUELLER"),
    ("duckdb", "split_part('a,b,c', ',', 2)", "b"),
    ("duckdb", "lpad(n::text, 3, '0') || rpad('ab', 4, '.')", "007ab.."),
    ("duckdb", "starts_with(t, 'Z') and not starts_with(t, 'z') and ends_with(t, 'er') and contains(t, 'ë')", True),
    ("duckdb", "round(a / 3, 2)", Decimal("4.17")),
    ("duckdb", "round(f) + floor(f) + ceil(f)", Decimal(8)),
    ("duckdb", "abs(-n) + sign(-a)", 6),
    ("duckdb", "greatest(n, null, 3)", 7),
    ("snowflake", "greatest(n, null, 3)", None),
    ("duckdb", "least(a, n)", Decimal(7)),
    ("duckdb", "power(n, 2) + sqrt(n + 2) + exp(0)", 53.0),
    ("duckdb", "coalesce(ln(0), sqrt(-1), -1.5)", -1.5),
    ("duckdb", "date_trunc('week', ts)", datetime(2026, 3, 23)),  # Monday
    ("duckdb", "date_trunc('week', timestamp '1969-12-31 10:00:00')", datetime(1969, 12, 29)),
    ("duckdb", "date_trunc('quarter', ts)", datetime(2026, 1, 1)),
    ("duckdb", "date_trunc('hour', ts)", datetime(2026, 3, 29, 13)),
    ("duckdb", "date_diff('week', d, ts)", 4),
    ("duckdb", "date_diff('month', date '2025-12-31', d)", 3),  # boundaries, not elapsed
    ("duckdb", "date_diff('year', date '2025-12-31', d)", 1),
    ("duckdb", "date_diff('quarter', d, as_of)", 1),
    ("duckdb", "date_diff('hour', ts, timestamp '2026-03-29 15:00:00')", 2),
    ("snowflake", "datediff('day', d, ts)", 28),
    ("bigquery", "date_diff(ts, d, day)", 28),
    ("spark", "datediff(ts, d)", 28),
    ("duckdb", "d - date '2026-02-27'", 2),
    ("duckdb", "d + 3", date(2026, 3, 4)),
    ("duckdb", "d - n", date(2026, 2, 22)),
    ("duckdb", "extract(dow from ts) * 10 + isodow(ts)", 7),  # a Sunday: 0 and 7
    ("duckdb", "extract(epoch from ts)", Decimal("1774791910.5")),
    ("duckdb", "hour(ts) * 100 + minute(ts)", 1345),
    ("duckdb", "year(d) * 100 + quarter(d) * 10 + extract(month from d) - day(d)", 202612),
    ("duckdb", "date '2026-01-31' + interval 1 month", datetime(2026, 2, 28)),
    ("duckdb", "ts - interval 2 weeks", datetime(2026, 3, 15, 13, 45, 10, 500000)),
    ("snowflake", "dateadd(day, 7, d)", datetime(2026, 3, 8)),
    ("duckdb", "ts >= as_of - interval '30 days'", True),
    ("duckdb", "ts > '2026-03-29' and d = '2026-03-01'", True),
    ("duckdb", "timestamp '2026-03-29 15:45:10.5+02:00' = ts", True),
    ("duckdb", "regexp_matches(t, '^Z.*r$')", True),
    ("duckdb", "regexp_replace(t, '[^A-Z]', '', 'g')", "ZM"),
    ("bigquery", "regexp_replace(t, '[^A-Z]', '')", "ZM"),
    ("duckdb", "md5('a')", "0cc175b9c0f1b6a831c399e269772661"),
    ("bigquery", "to_hex(md5('a'))", "0cc175b9c0f1b6a831c399e269772661"),
    ("duckdb", "sha256('a')", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
    ("duckdb", "j ->> 'k'", None),
    ("duckdb", "j -> 'a' ->> 'b'", "x"),
    ("duckdb", "(j ->> '$.a.\"c.d\"')::decimal + 1", Decimal("2.5")),
    ("postgres", "j::jsonb -> 'a' ->> 'c.d'", "1.5"),
    ("snowflake", "j:a.b::string", "x"),
    ("duckdb", "list_contains(l, 'be') and not list_contains(l, 'b') and len(l) = 2", True),
    ("snowflake", "iff(n > 1, 'y', 'n')", "y"),
    ("bigquery", "safe_cast('5' as int64)", 5),
    ("duckdb", "'it''s; -- no /* comment' || '\\'", "it's; -- no /* comment\\"),
]  # fmt: skip


def select_of(dialect: str, text: str) -> exp.Select:
    """SELECT <the snippet, typed> AS v FROM r"""
    tree = safe_arithmetic(expression(text, dialect).tree, TYPES.get)
    row = sqlglot.parse_one(ROW, dialect="duckdb")
    assert isinstance(row, exp.Select)
    return exp.select(tree.as_("v")).from_(row.subquery("r"))


def same(found: Any, expected: Any) -> bool:
    """Equal, and of one kind: a float is no decimal, a truth value no number."""
    numbers = (int, Decimal)
    if isinstance(expected, bool) or not isinstance(expected, numbers):
        return type(found) is type(expected) and bool(found == expected)
    return isinstance(found, numbers) and not isinstance(found, bool) and Decimal(found) == Decimal(expected)


@pytest.mark.parametrize(("dialect", "text", "expected"), VALUES)
def test_a_snippet_has_this_value_on_duckdb(dialect: str, text: str, expected: Any) -> None:
    warehouse = DuckDB(":memory:")
    found = warehouse.rows(Renderer(FACTS["duckdb"]).sql(select_of(dialect, text)))[0][0]
    warehouse.close()
    assert same(found, expected), found


def test_every_snippet_has_the_same_value_on_postgres(postgres_database: str) -> None:
    warehouse = Postgres(dsn=postgres_database)
    warehouse.ensure_schemas()  # its functions in SQL, too
    renderer = Renderer(FACTS["postgres"])
    wrong = []
    for dialect, text, expected in VALUES:
        try:
            found = warehouse.rows(renderer.sql(select_of(dialect, text)))[0][0]
        except StatementError as error:
            found = error
        if not same(found, expected):
            wrong.append((text, found))
    warehouse.close()
    assert not wrong


@pytest.mark.parametrize("engine", ENGINES)
def test_every_good_snippet_is_one_statement_on_this_engine(engine: str) -> None:
    for dialect, text, _ in VALUES:
        sql = select_of(dialect, text).sql(engine)
        assert len(sqlglot.parse(sql, dialect=engine)) == 1, text


def test_the_type_told_is_the_type_that_comes_out() -> None:
    kinds: dict[str, tuple[type, ...]] = {
        "text": (str,), "int": (int,), "decimal": (Decimal,), "float": (float,), "bool": (bool,), "date": (date,),
        "timestamp": (datetime,),
    }  # fmt: skip
    for dialect, text, expected in VALUES:
        told = type_of(expression(text, dialect).tree, TYPES.get)
        assert told is not None, text
        if expected is not None and not (told == "decimal" and isinstance(expected, int)):
            assert isinstance(expected, kinds[told]), (text, told)


def test_a_snippet_of_unknown_types_reads_safely() -> None:
    tree = safe_arithmetic(
        expression("cast(x as int) > 3 and date_trunc('day', y) < as_of", "duckdb").tree, lambda _: None
    )
    sql = tree.sql("duckdb")
    assert sql.startswith("CDP_TRY_INT(CAST(x AS TEXT)) > 3")
    assert "CDP_TRY_TIMESTAMP(CAST(y AS TEXT), 'UTC')" in sql


def test_a_text_without_offset_is_meant_in_the_zone_given() -> None:
    tree = safe_arithmetic(expression("t::timestamp", "duckdb").tree, TYPES.get, zone="Europe/Paris")
    assert tree.sql("duckdb") == "CDP_TRY_TIMESTAMP(t, 'Europe/Paris')"


def test_what_a_dialect_means_otherwise_is_refused_in_that_dialect() -> None:
    for dialect, text in [
        ("postgres", "a::varchar(5)"),
        ("bigquery", "date_diff(a, b, week)"),
        ("bigquery", "extract(dayofweek from a)"),
        ("spark", "extract(dow from a)"),
        ("snowflake", "regexp_like(a, 'x')"),  # the whole text, not a part
        ("postgres", "regexp_replace(a, 'x', 'y')"),  # the first match only
    ]:
        with pytest.raises(SnippetErrors):
            expression(text, dialect)
