"""What is particular to Redshift: its text against AWS's guide, and its connection against a stand-in (see
tests/engines/redshift.py for what that can show). Pages of https://docs.aws.amazon.com/redshift/latest/dg/ are named."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlglot import exp, parse_one

from cdp.compile.render import Renderer
from cdp.errors import CompileError, StatementError, WarehouseError
from cdp.flow import build, debug, run
from cdp.flow.artifacts import statements
from cdp.warehouse.functions import FACTS
from cdp.warehouse.redshift import Redshift, RedshiftSettings
from tests.conformance.cases import AGGREGATES, SCALARS
from tests.dialects.projects import lowered, on_tables, plan_of
from tests.engines import Engines, connected
from tests.engines.redshift_sql import Refused, to_postgres
from tests.warehouse import little

# every function of the guide that generated text may call, by the chapter that lists them
DOCUMENTED = {
    "c_Aggregate_Functions": "AVG COUNT LISTAGG MAX MEDIAN MIN SUM STDDEV_SAMP STDDEV_POP VAR_SAMP VAR_POP PERCENTILE_CONT",
    "c_bitwise_aggregate_functions": "BIT_AND BIT_OR BOOL_AND BOOL_OR",
    "c_Window_functions": "DENSE_RANK FIRST_VALUE LAG LAST_VALUE LEAD RANK ROW_NUMBER OVER",
    "c_conditional_expressions": "COALESCE DECODE GREATEST LEAST NULLIF NVL",
    "Date_functions_header": "CONVERT_TIMEZONE DATEADD DATEDIFF DATE_TRUNC EXTRACT GETDATE",
    "Math_functions": "ABS CEIL CEILING EXP FLOOR LN LOG MOD POWER ROUND SIGN SQRT STRTOL TRUNC",
    "String_functions_header": "BTRIM CHR LEFT LEN LENGTH LOWER LPAD LTRIM POSITION REGEXP_INSTR REGEXP_REPLACE REGEXP_SUBSTR"
    " REPLACE RIGHT RTRIM SPLIT_PART STRPOS SUBSTRING TRANSLATE TRIM UPPER",
    "hash-functions": "MD5 SHA2",
    "json-functions": "CAN_JSON_PARSE IS_VALID_JSON IS_VALID_JSON_ARRAY JSON_ARRAY_LENGTH JSON_EXTRACT_PATH_TEXT JSON_PARSE"
    " JSON_SERIALIZE",
    "Array_Functions": "ARRAY ARRAY_CONTAINS",
    "varbyte-functions": "TO_HEX",
    "r_Data_type_formatting": "CAST TRY_CAST TO_CHAR",
    "c_Character_types": "VARCHAR",
    "r_Numeric_types201": "DECIMAL",
}
KNOWN = {name for names in DOCUMENTED.values() for name in names.split()}
# no functions, but words that brackets follow
WORDS = {
    "AS",
    "IN",
    "AND",
    "OR",
    "NOT",
    "WHEN",
    "THEN",
    "ELSE",
    "ON",
    "FROM",
    "JOIN",
    "WHERE",
    "VALUES",
    "SELECT",
    "BY",
}
WORDS |= {"EXISTS", "UNION", "ALL", "GROUP", "WITHIN", "CASE", "BETWEEN", "DISTINCT", "HAVING", "INTO", "IS", "SET"}
EXPRESSIONS = [*(case.expression for case in SCALARS), *(text for text, _ in AGGREGATES)]


def text_of(expression: str) -> str:
    tree = parse_one(f"SELECT {expression} AS answer FROM rows", dialect="duckdb")
    return Renderer(FACTS["redshift"]).sql(tree, pretty=False)


def functions_in(sql: str) -> set[str]:
    """The names before brackets, outside of literals and quoted names."""
    bare = re.sub(r"'(?:[^'\\]|\\.|'')*'|\"[^\"]*\"", "''", sql)
    bare = re.sub(r"INSERT INTO \S+ \(|\bAS \(|WITH (RECURSIVE )?\w+\(", "(", bare)
    return set(re.findall(r"\b([A-Z_0-9]+) ?\(", bare)) - WORDS


# ------------------------------------------------------------------------------------------------ text
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_only_documented_functions_are_called(expression: str) -> None:
    assert functions_in(text_of(expression)) <= KNOWN


def test_a_build_calls_only_documented_functions_and_uses_nothing_that_is_missing(tmp_path: Path) -> None:
    plan = plan_of(lowered(on_tables("everything", tmp_path / "p"), "redshift"), "redshift")
    texts = [statement.sql for step in plan.steps for statement in statements(step)]
    assert len(texts) > 100
    for sql in texts:
        assert functions_in(sql) <= KNOWN, sql[:2000]
        assert not re.search(r"\bFILTER ?\(|\bDISTINCT FROM\b|\bLATERAL\b|\bCOLLATE\b|\bDISTINCT ON\b|::", sql), sql[
            :2000
        ]
        assert len(set(re.findall(r"MEDIAN\(.*", sql))) <= 1  # r_MEDIAN
        assert len(sql.encode()) < 16_000_000  # c_redshift-sql


def test_what_the_guide_says_is_missing_is_never_written() -> None:
    """c_unsupported-postgresql-functions, r_CREATE_TABLE_AS, r_MEDIAN."""
    for sql in (
        "SELECT COUNT(*) FILTER (WHERE a) FROM t",
        "SELECT 1 WHERE a IS DISTINCT FROM b",
        "SELECT MEDIAN(a), MEDIAN(b) FROM t",
        "SAVEPOINT x",
        "COPY t FROM STDIN",
        "SET standard_conforming_strings TO on",
        "FETCH FORWARD 5000 FROM c",
    ):
        with pytest.raises(Refused):
            to_postgres(sql)


def test_text_of_any_length_is_no_bare_varchar() -> None:
    """A VARCHAR without a length holds 256 bytes (r_Character_types)."""
    for expression in EXPRESSIONS:
        assert not re.search(r"AS (VARCHAR|TEXT)\)", text_of(expression)), expression
    column = parse_one("CREATE TABLE cdp.t (a TEXT, b VARCHAR)", dialect="duckdb").sql(dialect="redshift")
    assert column == "CREATE TABLE cdp.t (a VARCHAR(MAX), b VARCHAR(MAX))"


def test_a_backslash_in_a_literal_is_doubled() -> None:
    """There is no standard_conforming_strings: `\\'` would end nothing (r_Character_types, r_QUOTE_LITERAL)."""
    call = exp.Anonymous(this="cdp_contains", expressions=[exp.column("a"), exp.Literal.string("\\' OR TRUE --")])
    assert "'\\\\\\' or true --'" in Renderer(FACTS["redshift"]).sql(exp.select(call), pretty=False).lower()


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("COUNT(*) FILTER (WHERE a)", "COUNT(CASE WHEN a THEN 1 END)"),
        ("COUNT(DISTINCT b) FILTER (WHERE a)", "COUNT(DISTINCT CASE WHEN a THEN b END)"),
        ("SUM(b) FILTER (WHERE a)", "SUM(CASE WHEN a THEN b END)"),
        ("cdp_median(b)", "MEDIAN(CAST(b AS DOUBLE PRECISION))"),
        ("cdp_matches(b, 'x$')", r"REGEXP_INSTR(b, 'x\\z', 1, 1, 0, 'p') > 0"),
        ("cdp_regex_replace(b, '(x)', '<\\1>')", "REGEXP_REPLACE(b, '(x)', '<$1>', 1, 'p')"),
        ("cdp_bucket(b)", "STRTOL(LEFT(MD5(CAST(b AS VARCHAR(MAX))), 8), 16) % 10000"),
        ("cdp_sha256(b)", "SHA2(CAST(b AS VARCHAR(MAX)), 256)"),
        ("cdp_utc(b, 'Europe/Paris')", "CONVERT_TIMEZONE('Europe/Paris', 'UTC', CAST(b AS TIMESTAMP))"),
        ("cdp_greatest(a, b)", "GREATEST(a, b)"),
        ("CAST(CAST(b AS JSON) AS TEXT)", "CASE WHEN NOT b IS NULL THEN JSON_SERIALIZE(b) END"),
        ("cdp_utc_of_tz(CURRENT_TIMESTAMP)", "CAST(GETDATE() AS TIMESTAMP)"),
    ],
)
def test_the_text_is_that_of_the_guide(expression: str, text: str) -> None:
    assert text_of(expression) == f"SELECT {text} AS answer FROM rows"


def test_a_path_goes_five_keys_deep_at_a_time() -> None:
    """JSON_EXTRACT_PATH_TEXT."""
    sql = text_of("cdp_json_text(a, '1', '2', '3', '4', '5', '6')")
    assert "'1', '2', '3', '4', '5', TRUE), '6', TRUE)" in sql


def test_a_recursive_query_names_its_columns() -> None:
    """r_WITH_clause."""
    sql = "WITH RECURSIVE s AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM s WHERE a < 3) SELECT a FROM s"
    assert (
        Renderer(FACTS["redshift"])
        .sql(parse_one(sql, dialect="duckdb"), pretty=False)
        .startswith("WITH RECURSIVE s(a) AS (SELECT 1 AS a")
    )


def test_a_replacement_that_cannot_be_said_is_refused() -> None:
    with pytest.raises(CompileError) as refused:
        text_of("cdp_regex_replace(a, 'x', '$1')")
    assert refused.value.code == "CDP313"


def test_two_medians_are_two_scans(tmp_path: Path) -> None:
    """Aggregates that sort must all sort by the same in one query (r_MEDIAN)."""
    folder = on_tables("starter", tmp_path / "p")
    more = "    middle: {median: orders.amount}\n    middle_fr: {median: orders.amount, where: {order_id: {ne: x}}}\n"
    path = folder / "customer.yml"
    path.write_text(path.read_text(encoding="utf-8").rstrip() + "\n" + more, encoding="utf-8")
    for engine, scans in (("redshift", 2), ("postgres", 1)):
        plan = plan_of(lowered(folder, engine), engine)
        texts = [statement.sql for step in plan.steps for statement in statements(step)]
        word = "MEDIAN" if engine == "redshift" else "PERCENTILE_CONT"
        assert sum(word in sql for sql in texts) == scans


# ------------------------------------------------------------------------------------------------ settings
def test_without_the_driver_the_way_to_it_is_said() -> None:
    script = """
import sys
sys.modules["psycopg"] = None
from cdp.errors import WarehouseError
from cdp.warehouse.redshift import Redshift
try:
    Redshift(dsn="x").rows("SELECT 1")
except WarehouseError as error:
    print(error.code, error.hint)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "CDP304 pip install 'composable-cdp[redshift]'\n"


def test_a_cluster_is_reached_on_its_own_port_and_with_encryption(tmp_path: Path) -> None:
    parts = {"type": "redshift", "host": "x.redshift.amazonaws.com", "user": "u", "password": "p", "database": "d"}
    warehouse = RedshiftSettings.model_validate(parts).connect(tmp_path)
    told = warehouse._parameters
    assert (told["port"], told["sslmode"], told["client_encoding"]) == (5439, "require", "UTF8")
    by_dsn = RedshiftSettings.model_validate({"type": "redshift", "dsn": "host=x sslmode=verify-full"}).connect(
        tmp_path
    )
    assert not {"port", "sslmode"} & set(by_dsn._parameters)


def test_a_cluster_that_is_away_is_unreachable_and_no_password_is_shown() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(WarehouseError) as caught:
        Redshift(host="127.0.0.1", port=port, user="u", password="hunter22", database="d").rows("SELECT 1")
    assert (caught.value.code, caught.value.exit_code) == ("CDP302", 4)
    assert "Redshift cannot be reached" in caught.value.message
    assert "hunter22" not in str(caught.value)


# ------------------------------------------------------------------------------------------------ the connection
@pytest.fixture
def profile(engines: Engines, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """An empty database of the stand-in."""
    with engines.fresh("redshift", tmp_path) as found:
        yield found


@pytest.fixture
def redshift(profile: dict[str, Any], tmp_path: Path) -> Iterator[Redshift]:
    warehouse = connected(profile, tmp_path)
    assert isinstance(warehouse, Redshift)
    warehouse.ensure_schemas()
    yield warehouse
    warehouse.close()


@pytest.mark.engines
def test_the_little_project_is_built_sent_and_built_again(profile: dict[str, Any], tmp_path: Path) -> None:
    folder = little.project(tmp_path / "p", profile)
    warehouse = connected(profile, folder)
    little.tables(warehouse.execute)
    for _ in range(2):
        result = run(little.settings(folder))
        assert [(step.id, step.message) for step in result.steps if step.status != "done"] == []
    assert [row["fields"]["email"] for row in little.sent(folder)] == ["ann@example.com"]
    assert warehouse.rows("SELECT COUNT(*) FROM cdp.deliveries") == [(1,)]
    warehouse.close()
    lines = {line.name: line for line in debug(little.settings(folder))}
    assert all(line.ok for line in lines.values())
    assert lines["version"].detail == "Redshift 1.0.0"


@pytest.mark.engines
def test_rights_survive_that_a_table_is_replaced(redshift: Redshift) -> None:
    """By SVV_RELATION_PRIVILEGES."""
    redshift.make_table("cdp.t", "SELECT 1 AS a")
    redshift.execute("GRANT SELECT ON cdp.t TO PUBLIC")
    redshift.make_table("cdp.t", "SELECT 2 AS a, 3 AS b")
    found = redshift.rows("SELECT identity_type FROM svv_relation_privileges WHERE relation_name = 't'")
    assert ("public",) in found


def test_rights_are_granted_again_to_users_groups_and_roles() -> None:
    from cdp.warehouse.redshift import _grant

    assert _grant('"cdp"."t"', "SELECT", "user", "Ann", True) == 'GRANT SELECT ON "cdp"."t" TO "Ann" WITH GRANT OPTION'
    assert _grant('"cdp"."t"', "SELECT", "role", "r", True) == 'GRANT SELECT ON "cdp"."t" TO ROLE "r"'
    assert _grant('"cdp"."t"', "SELECT", "group", "g", False) == 'GRANT SELECT ON "cdp"."t" TO GROUP "g"'
    assert _grant('"cdp"."t"', "SELECT", "public", "public", False) == 'GRANT SELECT ON "cdp"."t" TO PUBLIC'


@pytest.mark.engines
def test_a_view_outlives_the_table_that_it_reads(redshift: Redshift) -> None:
    """WITH NO SCHEMA BINDING (r_CREATE_VIEW)."""
    redshift.make_table("cdp.t", "SELECT 1 AS a")
    redshift.make_view("cdp.v", "SELECT a FROM cdp.t")
    redshift.make_table("cdp.t", "SELECT 2 AS a, 'x' AS b")
    assert redshift.rows("SELECT a FROM cdp.v") == [(2,)]
    columns = redshift.columns("cdp.v")
    assert columns is not None and [column.name for column in columns] == ["a"]


@pytest.mark.engines
def test_more_rows_than_one_fetch_takes_come_in_whole_batches(redshift: Redshift) -> None:
    """At most 1,000 in a FETCH of a single-node cluster (fetch)."""
    redshift.make_table("cdp.d", " UNION ALL ".join(f"SELECT {digit} AS d" for digit in range(10)))
    sql = "SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d AS g FROM cdp.d AS a, cdp.d AS b, cdp.d AS c, cdp.d AS e"
    before = redshift.statements
    assert [len(batch) for batch in redshift.stream(sql, size=2_500)] == [2_500] * 4
    assert redshift.statements - before < 25


@pytest.mark.engines
def test_an_error_of_loading_shows_no_value(redshift: Redshift, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": "ann@example.com"}\n')
    with pytest.raises(StatementError) as caught:
        redshift.load_json_lines("cdp.t", path, {"a": "int"})
    assert caught.value.code == "CDP306"
    assert "example" not in str(caught.value)


@pytest.mark.engines
def test_a_load_of_many_rows_is_a_few_statements(redshift: Redshift, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("".join(f'{{"a": {number}, "b": "it\'s \\\\\\\\ {number}"}}\n' for number in range(1_200)))
    before = redshift.statements
    assert redshift.load_json_lines("cdp.t", path, {"a": "int", "b": "text"}) == 1_200
    assert redshift.statements - before < 15
    assert redshift.rows("SELECT b FROM cdp.t WHERE a = 7") == [("it's \\\\ 7",)]


@pytest.mark.engines
def test_a_connection_lost_in_the_middle_of_a_build_leaves_the_old_tables(
    profile: dict[str, Any], engines: Engines, tmp_path: Path
) -> None:
    folder = little.project(tmp_path / "p", profile)
    warehouse = connected(profile, folder)
    little.tables(warehouse.execute)
    assert build(little.settings(folder)).exit_code == 0
    before = warehouse.rows("SELECT * FROM cdp.customer")
    name = profile["dsn"].split("dbname=")[1].split()[0]
    behind = json.loads(engines.address("redshift"))["behind"]
    with psycopg.connect(behind, dbname=name, autocommit=True) as connection:
        connection.execute("ALTER TABLE raw.orders RENAME TO orders_real")
        cut = "CASE WHEN pg_terminate_backend(pg_backend_pid()) THEN amount END AS amount"
        connection.execute(f"CREATE VIEW raw.orders AS SELECT order_id, email, {cut}, ordered_at FROM raw.orders_real")
        result = build(little.settings(folder))
        assert result.exit_code == 4
        assert "CDP302" in {step.code for step in result.steps}
        assert warehouse.rows("SELECT * FROM cdp.customer") == before
        connection.execute("DROP VIEW raw.orders")
        connection.execute("ALTER TABLE raw.orders_real RENAME TO orders")
    assert build(little.settings(folder)).exit_code == 0
    assert warehouse.rows("SELECT * FROM cdp.customer") == before
    warehouse.close()


@pytest.mark.engines
def test_a_connection_lost_in_the_middle_of_a_fold_is_made_again_and_nothing_is_forgotten(
    profile: dict[str, Any], engines: Engines, tmp_path: Path
) -> None:
    folder = little.project(tmp_path / "p", profile)
    warehouse = connected(profile, folder)
    little.tables(warehouse.execute)
    assert run(little.settings(folder)).exit_code == 0
    warehouse.execute("UPDATE raw.contacts SET country = 'FR' WHERE contact_id = 'c2'")
    name = profile["dsn"].split("dbname=")[1].split()[0]
    behind = json.loads(engines.address("redshift"))["behind"]
    with psycopg.connect(behind, dbname=name, autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE cdp_state.cuts")  # whose numbers outlive the transaction
        connection.execute(
            "CREATE FUNCTION cdp_state.cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF nextval('cdp_state.cuts') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;"
            " RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER cut BEFORE INSERT OR UPDATE ON cdp_state.sent_crm_good_customers"
            " FOR EACH ROW EXECUTE FUNCTION cdp_state.cut()"
        )
        assert run(little.settings(folder)).exit_code == 0
        assert connection.execute("SELECT last_value > 1 FROM cdp_state.cuts").fetchall() == [(True,)]
        connection.execute("DROP FUNCTION cdp_state.cut() CASCADE")
    assert warehouse.rows("SELECT COUNT(*) FROM cdp_state.sent_crm_good_customers") == [(2,)]
    emails = sorted(row["fields"]["email"] for row in little.sent(folder))
    assert emails == ["ann@example.com", "ben@example.com"]
    assert run(little.settings(folder)).exit_code == 0
    assert warehouse.rows("SELECT COUNT(*) FROM cdp.deliveries") == [(2,)]
    warehouse.close()


@pytest.mark.engines
def test_a_statement_that_takes_too_long_is_stopped(profile: dict[str, Any], tmp_path: Path) -> None:
    warehouse = connected(profile, tmp_path, statement_timeout=1)
    with pytest.raises(StatementError) as caught:
        warehouse.rows("SELECT pg_sleep(30)")
    assert "statement_timeout" in str(caught.value.hint)
    assert warehouse.rows("SELECT 1") == [(1,)]
    warehouse.close()


@pytest.mark.engines
def test_a_refused_login_is_told(profile: dict[str, Any], tmp_path: Path) -> None:
    dsn = profile["dsn"].replace("user=postgres", "user=nobody_here")
    with pytest.raises(WarehouseError) as caught:
        connected({**profile, "dsn": dsn}, tmp_path).rows("SELECT 1")
    assert caught.value.code == "CDP302"
    assert "nobody_here" in caught.value.message
    assert caught.value.hint == "check user and password"
