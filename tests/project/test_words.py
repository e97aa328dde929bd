"""Names: their shape, our own words, the words of engines."""

from __future__ import annotations

import duckdb
import pytest

from cdp.project.words import GRAMMAR_WORDS, NAME, RESERVED, name_problem

BARE = ("entity", "source", "identifier", "attribute", "trait")


@pytest.mark.parametrize(
    "name",
    ["account", "plans", "events", "email", "name", "date", "orders", "customer", "web", "ltv", "orders_90d", "a" * 40],
)
def test_plain_names_are_free(name: str) -> None:
    assert [name_problem(name, kind) for kind in BARE] == [None] * 5


@pytest.mark.parametrize("name", ["user", "order", "group", "table", "select", "from", "where", "primary", "end"])
def test_words_of_sql_are_reserved_everywhere(name: str) -> None:
    assert all(name_problem(name, kind) for kind in BARE)


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("qualify", "DuckDB"),
        ("row", "Snowflake"),
        ("hash", "BigQuery"),
        ("timestamp", "Redshift"),
        ("system_user", "Postgres"),
    ],
)
def test_a_word_of_one_engine_is_refused_for_all(name: str, engine: str) -> None:
    assert name in RESERVED[engine]
    said = name_problem(name, "trait")
    assert said is not None and "is a reserved word of" in said


def test_the_message_says_what_to_write() -> None:
    expected = (
        "`order` is a reserved word of SQL and cannot name a source: write `order_` and something, say `order_rows`"
    )
    assert name_problem("order", "source") == expected
    expected = "`count` is a word of the project language and cannot name an attribute: "
    assert name_problem("count", "attribute") == expected + "write `count_` and something, say `count_value`"


def test_operators_cannot_be_told_from_fields_and_are_no_names() -> None:
    for word in ("all", "has", "did_not", "within_last", "as_of", "in", "ref", "arm"):
        assert word in GRAMMAR_WORDS
        assert name_problem(word, "trait") is not None


def test_what_only_stands_behind_a_prefix_is_free() -> None:
    assert name_problem("order", "audience") is None
    assert name_problem("has", "sync") is None
    assert name_problem("Order", "sync") is not None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("OrderLines", "write `order_lines`"),
        ("order-lines", "write `order_lines`"),
        ("1st", "write `trait_1st`"),
        ("_x", "write `x`"),
        ("", "a name is lower case letters"),
        ("x" * 41, "the name of a trait has 41 characters; 40 is the limit"),
        ("prix_été", "a name is lower case letters"),
        ("a\n", "write `a`"),
        ("../x", "write `x`"),
        ("a b; drop table t", "write `a_b_drop_table_t`"),
        ("cdp_x", "begins with `cdp_`"),
        ("ctid", "a column that engines make themselves"),
    ],
)
def test_odd_names_are_refused_with_a_way_out(name: str, message: str) -> None:
    said = name_problem(name, "trait")
    assert said is not None and message in said


def test_the_list_covers_what_this_duckdb_reserves() -> None:
    """Every word that DuckDB takes neither as a table's nor as a column's name is on some list."""
    words = duckdb.sql(
        "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'type_function')"
    )
    listed = frozenset().union(*RESERVED.values())
    for (word,) in words.fetchall():
        connection = duckdb.connect()
        try:
            connection.execute(f"CREATE TABLE {word} AS SELECT 1 AS {word}")
            connection.execute(f"SELECT {word} FROM {word}")
        except duckdb.Error:
            assert word in listed, word
        finally:
            connection.close()


def test_all_lists_hold_plain_words() -> None:
    for words in (GRAMMAR_WORDS, *RESERVED.values()):
        assert words
        assert all(NAME.match(word) for word in words)
