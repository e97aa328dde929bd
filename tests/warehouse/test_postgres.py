"""What is particular to Postgres: a server that may be away, rights, and views that read what is replaced."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cdp.errors import StatementError, WarehouseError
from cdp.warehouse.postgres import Postgres


def test_a_server_that_is_away_is_unreachable_and_no_password_is_shown() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for warehouse in (
        Postgres(host="127.0.0.1", port=port, user="u", password="hunter22", database="d"),
        Postgres(dsn=f"postgresql://u:hunter22@127.0.0.1:{port}/d"),
    ):
        with pytest.raises(WarehouseError) as caught:
            warehouse.rows("SELECT 1")
        assert (caught.value.code, caught.value.exit_code) == ("CDP302", 4)
        assert not isinstance(caught.value, StatementError)
        assert "refused" in caught.value.message
        assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize("dsn", ["postgres:/hunter22", "host", "hunter22=1", "host=x port=abc password=hunter22"])
def test_a_dsn_that_cannot_be_read_is_not_printed(dsn: str) -> None:
    with pytest.raises(WarehouseError) as caught:
        Postgres(dsn=dsn).rows("SELECT 1")
    assert caught.value.code == "CDP302"
    assert "hunter22" not in str(caught.value)


def test_an_unknown_database_or_user_is_said(postgres_dsn: str) -> None:
    with pytest.raises(WarehouseError) as caught:
        Postgres(dsn=postgres_dsn, database="no_such_database").rows("SELECT 1")
    assert caught.value.code == "CDP302"
    assert "no_such_database" in caught.value.message
    with pytest.raises(WarehouseError) as caught:
        Postgres(dsn=postgres_dsn, user="nobody_here").rows("SELECT 1")
    assert "nobody_here" in caught.value.message
    assert caught.value.hint == "check user and password"


def test_without_the_driver_the_way_to_it_is_said() -> None:
    script = """
import sys
sys.modules["psycopg"] = None
from cdp.errors import WarehouseError
from cdp.warehouse.postgres import Postgres
try:
    Postgres(dsn="x").rows("SELECT 1")
except WarehouseError as error:
    print(error.code, error.hint)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "CDP304 pip install 'composable-cdp[postgres]'\n"


def test_a_lost_connection_is_told_and_made_again(postgres: Postgres) -> None:
    postgres.make_table("cdp.t", "SELECT 1 AS a")
    with pytest.raises(WarehouseError) as caught, postgres.transaction():
        postgres.execute("INSERT INTO cdp.t VALUES (2)")
        postgres.rows("SELECT pg_terminate_backend(pg_backend_pid())")
    assert caught.value.code == "CDP302"
    assert not isinstance(caught.value, StatementError)
    assert postgres.rows("SELECT a FROM cdp.t") == [(1,)]
    assert postgres.rows("SELECT current_setting('TimeZone')") == [("UTC",)]


def test_a_statement_that_takes_too_long_is_stopped(postgres_database: str) -> None:
    warehouse = Postgres(dsn=postgres_database, statement_timeout=0.2)
    with pytest.raises(StatementError) as caught:
        warehouse.rows("SELECT pg_sleep(30)")
    assert caught.value.code == "CDP301"
    assert "statement_timeout" in str(caught.value.hint)
    assert warehouse.rows("SELECT 1") == [(1,)]
    warehouse.close()


def test_rights_survive_that_a_table_is_replaced(postgres: Postgres) -> None:
    postgres.execute("DROP ROLE IF EXISTS cdp_test_reader")
    postgres.execute("CREATE ROLE cdp_test_reader")
    try:
        postgres.make_table("cdp.customer", "SELECT 1 AS a")
        postgres.make_view("cdp.v", "SELECT 1 AS a")
        for name in ("cdp.customer", "cdp.v"):
            postgres.execute(f"GRANT SELECT ON {name} TO cdp_test_reader WITH GRANT OPTION")
            postgres.execute(f"GRANT SELECT ON {name} TO PUBLIC")
        postgres.make_table("cdp.customer__new", "SELECT 2 AS a, 'x' AS more")
        postgres.swap({"cdp.customer__new": "cdp.customer"})
        postgres.make_table("cdp.customer", "SELECT 3 AS other")
        postgres.make_view("cdp.v", "SELECT 'y' AS other")
        for name in ("cdp.customer", "cdp.v"):
            granted = postgres.rows(
                f"SELECT has_table_privilege('cdp_test_reader', '{name}', 'SELECT WITH GRANT OPTION'),"
                f" has_table_privilege('public', '{name}', 'SELECT')"
            )
            assert granted == [(True, True)]
    finally:
        postgres.execute("DROP OWNED BY cdp_test_reader")
        postgres.execute("DROP ROLE cdp_test_reader")


def test_views_of_others_over_a_replaced_table_go_on_reading_it(postgres: Postgres) -> None:
    postgres.make_table("cdp.customer", "SELECT 1 AS id, 'old' AS name")
    postgres.execute("CREATE SCHEMA report")
    postgres.execute("CREATE VIEW report.names AS SELECT name FROM cdp.customer")
    postgres.execute('CREATE VIEW report."Upper Names" AS SELECT upper(name) AS name FROM report.names')
    postgres.execute("GRANT SELECT ON report.names TO PUBLIC")
    postgres.make_table("cdp.customer__new", "SELECT 2 AS id, 'new' AS name, 9 AS ltv")
    postgres.swap({"cdp.customer__new": "cdp.customer"})
    assert postgres.rows('SELECT name FROM report."Upper Names"') == [("NEW",)]
    assert postgres.rows("SELECT has_table_privilege('public', 'report.names', 'SELECT')") == [(True,)]
    postgres.make_table("cdp.customer", "SELECT 'newest' AS name")
    assert postgres.rows('SELECT name FROM report."Upper Names"') == [("NEWEST",)]


def test_a_view_of_others_that_no_longer_fits_stops_the_swap_and_is_named(postgres: Postgres) -> None:
    postgres.make_table("cdp.customer", "SELECT 1 AS id, 'old' AS name")
    postgres.execute("CREATE SCHEMA report")
    postgres.execute("CREATE VIEW report.names AS SELECT name FROM cdp.customer")
    postgres.make_table("cdp.customer__new", "SELECT 2 AS id")
    with pytest.raises(StatementError) as caught:
        postgres.swap({"cdp.customer__new": "cdp.customer"})
    assert caught.value.code == "CDP311"
    assert "report.names" in caught.value.message
    assert postgres.rows("SELECT name FROM report.names") == [("old",)]


def test_a_view_of_our_own_that_no_longer_fits_does_not_stop_the_swap(postgres: Postgres) -> None:
    postgres.make_table("cdp.customer", "SELECT 1 AS id, 'old' AS name")
    postgres.make_view("cdp.customer_masked", "SELECT name FROM cdp.customer")
    postgres.make_view("cdp.fits", "SELECT id FROM cdp.customer")
    postgres.make_table("cdp.customer__new", "SELECT 2 AS id")
    postgres.swap({"cdp.customer__new": "cdp.customer"})
    assert postgres.tables("cdp") == ("customer", "fits")
    assert postgres.rows("SELECT id FROM cdp.fits") == [(2,)]


def test_a_swap_waits_for_nobody_longer_than_its_readers(postgres: Postgres, postgres_database: str) -> None:
    """A reader sees the old rows or the new ones, never none and never both."""
    postgres.make_table("cdp.t", "SELECT g AS a FROM generate_series(1, 1000) AS s(g)")
    reader, seen, stop = Postgres(dsn=postgres_database), set[object](), threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(reader.rows("SELECT COUNT(*) FROM cdp.t")[0][0])

    thread = threading.Thread(target=read)
    thread.start()
    for size in (2000, 1000) * 10:
        postgres.make_table("cdp.t__new", f"SELECT g AS a FROM generate_series(1, {size}) AS s(g)")
        postgres.swap({"cdp.t__new": "cdp.t"})
    stop.set()
    thread.join()
    reader.close()
    assert seen <= {1000, 2000}


def test_a_user_who_may_not_make_schemas_can_work_in_those_that_are_there(
    postgres: Postgres, postgres_database: str
) -> None:
    postgres.execute("DROP ROLE IF EXISTS cdp_test_worker")
    postgres.execute("CREATE ROLE cdp_test_worker LOGIN")
    try:
        postgres.execute("GRANT USAGE, CREATE ON SCHEMA cdp, cdp_state TO cdp_test_worker")
        worker = Postgres(dsn=postgres_database, user="cdp_test_worker")
        worker.ensure_schemas()
        assert worker.make_table("cdp.t", "SELECT 1 AS a") == 1
        worker.close()
        stranger = Postgres("other", "other_state", dsn=postgres_database, user="cdp_test_worker")
        with pytest.raises(StatementError) as caught:
            stranger.ensure_schemas()
        assert "lacks a right" in str(caught.value.hint)
        stranger.close()
    finally:
        postgres.execute("DROP OWNED BY cdp_test_worker")
        postgres.execute("DROP ROLE cdp_test_worker")


def test_the_exact_spelling_wins_where_two_tables_differ_by_case(postgres: Postgres) -> None:
    postgres.execute('CREATE TABLE cdp."Contacts" (mixed INT)')
    postgres.execute("CREATE TABLE cdp.contacts (plain INT)")
    for spelling, column in (("cdp.Contacts", "mixed"), ("cdp.contacts", "plain"), ("CDP.CONTACTS", "mixed")):
        columns = postgres.columns(spelling)
        assert columns is not None
        assert (spelling, columns[0].name) == (spelling, column)


def test_large_tables_are_analyzed(postgres: Postgres) -> None:
    postgres.make_table("cdp.small", "SELECT g FROM generate_series(1, 100) AS s(g)")
    postgres.make_table("cdp.large", "SELECT g FROM generate_series(1, 20000) AS s(g)")
    assert postgres.rows("SELECT relname, reltuples FROM pg_class WHERE relname IN ('small', 'large') ORDER BY 1") == [
        ("large", 20000.0),
        ("small", -1.0),
    ]


def test_nul_which_postgres_cannot_store_is_replaced_on_loading(postgres: Postgres, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"t": "a\0b", "j": {"k": "\0"}}) + "\n")
    postgres.load_json_lines("cdp.t", path, {"t": "text", "j": "json"})
    assert postgres.rows("SELECT t, j FROM cdp.t") == [("a\ufffdb", '{"k":"\ufffd"}')]


def test_a_table_name_of_63_bytes_can_be_replaced(postgres: Postgres) -> None:
    for name in ("x" * 63, "x" * 62 + "y"):
        for value in (1, 2):
            assert postgres.make_table(f"cdp.{name}", f"SELECT {value} AS a") == 1
    assert postgres.rows(f"SELECT a FROM cdp.{'x' * 63}") == [(2,)]
    assert len(postgres.tables("cdp")) == 2
