"""The door for a user's SQL: what is refused, and where; what is let in, and as what."""

from __future__ import annotations

import time

import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from cdp.project.snippet import (
    ColumnUse,
    SnippetError,
    SnippetErrors,
    expression,
    query,
    resolve,
    safe_arithmetic,
)

ENGINES = ("duckdb", "postgres", "snowflake", "bigquery", "spark", "redshift")


def refused(text: str, dialect: str = "duckdb", **options: bool) -> SnippetError:
    """The first mistake in a text that must be refused."""
    with pytest.raises(SnippetErrors) as caught:
        expression(text, dialect, **options)
    return caught.value.problems[0]


# text, code, the characters that the mistake points to
HOSTILE = [
    # more than one expression
    ("a; drop table t", "CDP121", ";"),
    ("a;", "CDP121", ";"),
    (";", "CDP121", ";"),
    ("a; select 1", "CDP121", ";"),
    ("a > 1 /* ; */; delete from t", "CDP121", ";"),
    ("1) or (1=1", "CDP120", ")"),
    ("1 = 1) union select (1", "CDP120", ")"),
    ("a b", "CDP120", "b"),
    ("a, b", "CDP120", ","),
    ("a as b", "CDP120", "as"),
    ("a from t", "CDP120", "from"),
    ("a where 1 = 1", "CDP120", "where"),
    ("a union select 1", "CDP120", "union"),
    ("drop table t", "CDP121", "drop"),
    ("insert into t values (1)", "CDP121", "insert"),
    ("select 1", "CDP121", "select"),
    ("with x as (select 1) select 1", "CDP121", "with"),
    ("attach 'x.db'", "CDP120", "'x.db'"),
    ("copy t to 'x'", "CDP120", "t"),
    ("pragma version", "CDP120", "version"),
    ("set x = 1", "CDP120", "x"),
    # nothing, or not closed
    ("", "CDP120", ""),
    ("  \n ", "CDP120", ""),
    ("-- a > 1", "CDP120", ""),
    ("a > 'x", "CDP120", "'"),
    ("a > 1 /* and", "CDP120", "/*"),
    ('a > "x', "CDP120", '"'),
    ("a >", "CDP120", ">"),
    ("a > 1 -- and\n or", "CDP120", "or"),
    ("lower(", "CDP120", "("),
    ("1e", "CDP120", "1e"),
    # queries inside
    ("(select 1)", "CDP122", "1"),
    ("a in (select b from t)", "CDP122", "b from t"),
    ("exists (select 1)", "CDP122", "exists"),
    ("not exists (from t)", "CDP122", "exists"),
    ("a > (select max(b) from t)", "CDP122", "b) from t"),
    ("coalesce(a, (table t))", "CDP122", "t"),
    ("a = any(select 1)", "CDP122", "any"),
    # the clock and the dice
    ("ts > now()", "CDP124", "now"),
    ("ts > current_date", "CDP124", ""),
    ("ts > current_timestamp", "CDP124", ""),
    ("ts > localtimestamp", "CDP124", ""),
    ("ts > today()", "CDP124", "today"),
    ("ts > get_current_timestamp()", "CDP124", "get_current_timestamp"),
    ("ts > clock_timestamp()", "CDP124", "clock_timestamp"),
    ("random() < 0.5", "CDP124", "random"),
    ("uuid()", "CDP124", "uuid"),
    ("gen_random_uuid()", "CDP124", "gen_random_uuid"),
    ("nextval('s')", "CDP124", "nextval"),
    # what reads, writes, waits or tells
    ("read_csv('/etc/passwd')", "CDP123", "read_csv"),
    ("a = read_text('/etc/passwd')", "CDP123", "read_text"),
    ("glob('*')", "CDP123", "glob"),
    ("getenv('HOME')", "CDP123", "getenv"),
    ("current_setting('x')", "CDP123", "current_setting"),
    ("pg_read_file('/etc/passwd')", "CDP123", "pg_read_file"),
    ("pg_sleep(10)", "CDP123", "pg_sleep"),
    ("query('select 1')", "CDP123", "query"),
    ("pragma_version()", "CDP123", "pragma_version"),
    ("system('ls')", "CDP123", "system"),
    ("cdp_md5(a)", "CDP123", "cdp_md5"),
    ("a.lower()", "CDP122", "a.lower"),
    ("version()", "CDP123", "version"),
    ("current_user", "CDP123", ""),
    ("session_user", "CDP123", ""),
    # over many rows
    ("sum(a) > 1", "CDP122", "sum"),
    ("count(*)", "CDP122", "count"),
    ("row_number() over (order by a)", "CDP122", "row_number"),
    ("lag(a) over (order by b)", "CDP122", "lag"),
    ("unnest([1, 2])", "CDP123", "unnest"),
    ("a.*", "CDP122", "*"),
    ("*", "CDP122", ""),
    ("columns('a')", "CDP123", "columns"),
    # parameters, odd texts, Jinja
    ("a = ?", "CDP122", "?"),
    ("a = $1", "CDP122", "$"),
    ("a = :x", "CDP122", ""),
    ("a = $$x$$", "CDP122", "$$x$$"),
    ("a = $tag$x$tag$", "CDP122", "$tag$x$tag$"),
    ("a = e'\\n'", "CDP122", "e'\\n'"),
    ("a = '{{ x }}' or {{ x }}", "CDP122", "{{"),
    ("{% if x %} a {% endif %}", "CDP122", "{%"),
    ("a {# hidden #}", "CDP122", "{#"),
    ("a = 'x\0'", "CDP122", "'x\0'"),
    # characters that look like others
    ("a\u200b = 1", "CDP120", "\u200b"),
    ("a = ‘x’", "CDP120", "‘"),
    ("a\u00a0= 1", "CDP120", "\u00a0"),
    ("a = 1；drop table t", "CDP120", "；"),
    ("a = \u202e1", "CDP120", "\u202e"),
    ('"a\\b" = 1', "CDP122", '"a\\b"'),
    ("a$b = 1", "CDP122", "a$b"),
    # types and constructs that engines do not share
    ("cast(a as struct(b int))", "CDP122", "b"),
    ("a::integer[]", "CDP125", "::"),
    ("a::timestamptz", "CDP125", "::"),
    ("a::blob", "CDP125", "::"),
    ("a::decimal(38, 12)", "CDP125", "::"),
    ("a::json", "CDP125", "::"),
    ("a[1]", "CDP122", "["),
    ("{'a': 1}", "CDP122", "{"),
    ("a // 2", "CDP122", "//"),
    ("a & 1", "CDP122", "&"),
    ("a collate nocase = 'x'", "CDP122", "collate"),
    ("a at time zone 'UTC'", "CDP122", "at"),
    ("a similar to 'x'", "CDP122", "a"),
    ("a like 'x!%' escape '!'", "CDP122", "escape"),
    ("a like b", "CDP125", "b"),
    ("a like 'x\\%'", "CDP125", "'x\\%'"),
    ("regexp_matches(a, b)", "CDP125", "b"),
    ("regexp_matches(a, '(?=x)')", "CDP125", "'(?=x)'"),
    ("regexp_matches(a, '(a)\\1')", "CDP125", "'(a)\\1'"),
    ("regexp_matches(a, '[')", "CDP126", "'['"),
    ("regexp_replace(a, 'x', 'y')", "CDP125", "regexp_replace"),
    ("a between symmetric 1 and 2", "CDP122", "between"),
    ("a -> 'x'", "CDP125", "->"),
    ("a ->> 'x.y'", "CDP125", "->>"),
    ("a ->> '$.x[0]'", "CDP125", "a"),
    ("a ->> b", "CDP125", "->>"),
    ("substring(a, 0)", "CDP125", "0"),
    ("left(a, -1)", "CDP125", "1"),
    ("ts + interval '1 month 2 days'", "CDP125", "interval"),
    ("ts + interval (b) day", "CDP125", "b"),
    ("interval '1 day' > ts", "CDP125", "interval"),
    ("date '2026-02-30'", "CDP126", "'2026-02-30'"),
    ("timestamp 'yesterday'", "CDP126", "'yesterday'"),
    ("date_trunc('decade', ts)", "CDP125", "date_trunc"),
    ("extract(week from ts)", "CDP125", "extract"),
    ("99999999999999999999", "CDP126", "99999999999999999999"),
    ("1e999", "CDP126", "1e999"),
]


@pytest.mark.parametrize(("text", "code", "pointed"), HOSTILE)
def test_what_is_no_plain_expression_is_refused_with_its_place(text: str, code: str, pointed: str) -> None:
    problem = refused(text)
    assert problem.code == code
    if pointed:
        assert text[problem.offset :].startswith(pointed), (text[problem.offset :], problem)
    line = text.split("\n")[problem.line - 1]
    assert line[problem.col - 1 : problem.col] == text[problem.offset : problem.offset + 1]


def test_nested_brackets_are_refused_before_the_parser_recurses() -> None:
    for text in (
        "(" * 10_000 + "a" + ")" * 10_000,
        "not " * 3_000 + "a",
        "lower(" * 500 + "a" + ")" * 500,
        "[" * 5_000,
    ):
        started = time.perf_counter()
        assert refused(text).code == "CDP127"
        assert time.perf_counter() - started < 2


def test_a_megabyte_is_refused_at_once() -> None:
    started = time.perf_counter()
    assert refused("a + " * 250_000 + "1").message == "the text has 1,000,001 characters; 20,000 is the limit"
    assert time.perf_counter() - started < 0.1


def test_a_long_row_of_operators_or_casts_is_bounded() -> None:
    assert refused("a" + " or a" * 400).code == "CDP127"
    assert refused("a" + "::int::bool" * 60).code == "CDP127"
    assert expression("a" + " or a" * 150, "duckdb").columns[150].offset == 750


def test_what_writes_its_argument_twice_cannot_grow_without_bound() -> None:
    text = "a"
    for _ in range(20):
        text = f"date_trunc('week', {text})"
    assert refused(text).message == "this grows too large"


def test_all_mistakes_of_a_text_are_told_in_order() -> None:
    with pytest.raises(SnippetErrors) as caught:
        expression("now() > ts\n  and lowr(a) = 'x'\n  and random() > 1", "duckdb")
    told = [(problem.line, problem.col, problem.length, problem.code) for problem in caught.value.problems]
    assert told == [(1, 1, 3, "CDP124"), (2, 7, 4, "CDP123"), (3, 7, 6, "CDP124")]
    assert caught.value.problems[1].hint == "did you mean `lower`?"
    assert caught.value.problems[0].hint == "`as_of` is the time of the run"


def test_a_condition_must_be_true_or_false() -> None:
    assert refused("lower(a)", boolean=True).message == "this is text, not true or false"
    assert expression("a", "duckdb", boolean=True).columns[0].name == "a"


def test_aggregates_are_let_in_where_asked() -> None:
    snippet = expression("sum(a) filter (where b) / count(*)", "duckdb", aggregates=True)
    assert snippet.tree.sql("duckdb") == "SUM(a) FILTER(WHERE b) / NULLIF(COUNT(*), 0)"
    assert refused("sum(sum(a))", aggregates=True).message == "an aggregate inside an aggregate"
    assert refused("coalesce(*)", aggregates=True).message == "a `*`"


def test_columns_are_told_with_path_and_place() -> None:
    snippet = expression('"Full Name" = plan.price\n and a.b.c.d.e > as_of', "duckdb")
    assert snippet.columns == (
        ColumnUse(("Full Name",), True, 0, 1, 1),
        ColumnUse(("plan", "price"), False, 14, 1, 15),
        ColumnUse(("a", "b", "c", "d", "e"), False, 30, 2, 6),
        ColumnUse(("as_of",), False, 42, 2, 18),
    )
    assert (snippet.columns[1].name, snippet.columns[1].table, str(snippet.columns[2])) == (
        "price",
        "plan",
        "a.b.c.d.e",
    )


@pytest.mark.parametrize(
    ("text", "put", "expected"),
    [
        ("a * 2", "x + 1", "(x + 1) * 2"),
        ("a and b", "x or y", "(x OR y) AND (x OR y)"),
        ("not a", "x or y", "NOT (x OR y)"),
        ("lower(a)", "x || y", "LOWER(x || y)"),
        ("a is null", "x = y", "(x = y) IS NULL"),
        ("a in (1, 2)", "-x", "(-x) IN (1, 2)"),
        ("a", "x or y", "x OR y"),
        ("case when a then 1 end", "x or y", "CASE WHEN x OR y THEN 1 END"),
        ("mod(a, 2)", "x + 1", "(x + 1) % 2"),
    ],
)
def test_a_column_is_replaced_by_a_tree_in_brackets_where_it_needs_them(text: str, put: str, expected: str) -> None:
    snippet = expression(text, "duckdb")
    before = snippet.tree.sql("duckdb")
    assert resolve(snippet, lambda use: sqlglot.parse_one(put, dialect="duckdb")).sql("duckdb") == expected
    assert snippet.tree.sql("duckdb") == before


def test_a_column_is_replaced_wherever_it_was_written_out_again() -> None:
    snippet = expression("a is not distinct from b", "duckdb")
    tree = resolve(snippet, lambda use: exp.column(f"c_{use.name}", "r"))
    assert tree.sql("duckdb") == "COALESCE(r.c_a = r.c_b, r.c_a IS NULL AND r.c_b IS NULL)"


def test_only_as_of_stays_when_the_rest_is_replaced() -> None:
    snippet = expression("at <= as_of", "duckdb")
    tree = resolve(snippet, lambda use: exp.column("t_at") if use.name == "at" else None)
    assert tree.sql("duckdb") == "t_at <= as_of"


QUERIES = [
    ("select id, a from orders", ["orders"], ("id", "a")),
    ("with x as (select * from orders) select x.id from x join plans p on p.id = x.id", ["plans", "orders"], ("id",)),
    ("select id from a union all select id from b", ["a", "b"], ("id",)),
    ("select id from Orders where id in (select id from lines) order by id limit 5;", ["orders", "lines"], ("id",)),
    ("with orders as (select * from orders) select id from orders", ["orders"], ("id",)),
    ("select id, row_number() over (partition by a order by b desc) as n from o qualify n = 1", ["o"], ("id", "n")),
    ("select id, sum(a) as s, count(distinct b) as n from o group by id having sum(a) > 1", ["o"], ("id", "s", "n")),
    (
        "select * from (select id from o) as q where exists (select 1 as one from p where p.id = q.id)",
        ["p", "o"],
        ("*",),
    ),
]


@pytest.mark.parametrize(("text", "tables", "outputs"), QUERIES)
def test_a_query_tells_its_sources_and_columns(text: str, tables: list[str], outputs: tuple[str, ...]) -> None:
    found = query(text, "duckdb")
    assert sorted(use.name for use in found.tables) == sorted(tables)
    assert found.outputs == outputs
    for engine in ENGINES:
        assert len(sqlglot.parse(found.tree.sql(engine), dialect=engine)) == 1


def test_the_tables_of_a_query_that_are_sources_are_marked() -> None:
    found = query("with orders as (select * from Orders) select id from orders join lines using (id)", "duckdb")
    marked = [table.meta.get("source") for table in found.tree.copy().find_all(exp.Table)]
    assert sorted(str(name) for name in marked) == ["None", "lines", "orders"]


def test_casts_and_divisions_of_a_query_are_made_safe() -> None:
    found = query(
        "select cast(a as int) / b as x from o where exists (select 1 as one from p where try_cast(c as date) > as_of)",
        "duckdb",
    )
    sql = safe_arithmetic(found.tree, lambda path: None).sql("postgres")
    assert sql == (
        "SELECT CAST(CDP_DIVIDE(CDP_TRY_INT(CAST(a AS TEXT)), b) AS DECIMAL(38, 9)) AS x FROM o "
        "WHERE EXISTS(SELECT 1 AS one FROM p WHERE CAST(CDP_TRY_DATE(CAST(c AS TEXT)) AS TIMESTAMP) > as_of)"
    )


@pytest.mark.parametrize(
    ("text", "code", "pointed"),
    [
        ("select 1 as x; drop table t", "CDP121", ";"),
        ("drop table t", "CDP121", "drop"),
        ("create table x as select 1 as y", "CDP121", "create"),
        ("from t", "CDP121", "from"),
        ("select * from read_csv('/etc/passwd')", "CDP128", "read_csv"),
        ("select * from raw.orders", "CDP128", "raw"),
        ("select * from db.raw.orders", "CDP128", "db"),
        ("select * from 'x.parquet'", "CDP128", "'x.parquet'"),
        ('select * from "../x.csv"', "CDP128", '"../x.csv"'),
        ("select now() as t from o", "CDP124", "now"),
        ("select random() as r from o", "CDP124", "random"),
        ("select a from o for update", "CDP122", ""),
        ("select a into x from o", "CDP122", "into"),
        ("select a + 1 from o", "CDP122", "a"),
        ("select a, b as a from o", "CDP122", "b"),
        ("select * exclude (a) from o", "CDP122", ""),
        ("select a from o, lateral (select 1 as b) l", "CDP122", ""),
        ("select a from o positional join p", "CDP122", ""),
        ("with recursive r as (select 1 as n) select n from r", "CDP122", ""),
        ("select a from o using sample 10", "CDP122", ""),
        ("select a, lower(select b) as x from o", "CDP122", "select"),
        ("select getenv('HOME') as h from o", "CDP123", "getenv"),
        ("(" * 3_000 + "select 1 as x" + ")" * 3_000, "CDP127", "("),
        ("select a from o where ?", "CDP122", "?"),
    ],
)
def test_a_query_is_one_select_over_sources(text: str, code: str, pointed: str) -> None:
    with pytest.raises(SnippetErrors) as caught:
        query(text, "duckdb")
    problem = caught.value.problems[0]
    assert problem.code == code
    assert text[problem.offset :].startswith(pointed)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("a1'\"()[]{}.,;:-+*/%|&^~<>=!?@#$\\ \n\té\u200b") | st.characters(), max_size=40))
def test_no_text_makes_the_door_stumble(text: str) -> None:
    for dialect in ("duckdb", "bigquery"):
        try:
            expression(text, dialect)
        except SnippetErrors as errors:
            assert errors.problems


PIECES = [
    "a", "1", "'x'", "(", ")", ",", "+", "-", "/", "||", "and", "not", "case when", "then", "end", "in (", "is null",
    "lower(", "cast(", "as int)", "::date", "interval '1 day'", "->>", "date_trunc('week',", "select", "from t",
    "distinct", "order by", "between", "over (", "[", "]", "extract(", "year from", "like", "filter (where",
]  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from(ENGINES))
def test_whatever_is_let_in_comes_out_as_one_statement_on_every_engine(pieces: list[str], dialect: str) -> None:
    try:
        snippet = expression(" ".join(pieces), dialect)
        tree = safe_arithmetic(snippet.tree, lambda path: None)
    except SnippetErrors:
        return
    for engine in ENGINES:
        assert len(sqlglot.parse(exp.select(tree.as_("v")).from_("t").sql(engine), dialect=engine)) == 1
