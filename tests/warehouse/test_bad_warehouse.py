"""What goes wrong with a warehouse: exit code, code, cause and way out are told, and the tables are as they were."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from cdp.errors import StatementError
from cdp.flow import build, sources_freeze
from cdp.warehouse.postgres import Postgres
from tests.cli.conftest import Call
from tests.engines import Unavailable
from tests.engines import postgres as server
from tests.warehouse import little

Cli = Callable[..., tuple[int, str]]


@pytest.fixture
def said(cdp: Call) -> Cli:
    """A command on a project: (exit code, everything that it printed); never a traceback, never the password."""

    def call(folder: Path, *argv: str) -> tuple[int, str]:
        found = cdp(*argv, "--project-dir", str(folder), "--profiles-dir", str(folder))
        printed = found.out + found.err
        assert "Traceback" not in printed
        assert "hunter22" not in printed
        return found.code, printed

    return call


@pytest.fixture
def ready(postgres_database: str, tmp_path: Path) -> Path:
    """The little project on Postgres, built once; its profile is `ready/profiles.yml`."""
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        little.tables(lambda sql: connection.execute(sql))
    folder = little.project(tmp_path / "p", {"type": "postgres", "dsn": postgres_database})
    assert build(little.settings(folder)).exit_code == 0
    return folder


def members(dsn: str) -> list[tuple[Any, ...]]:
    """The rows of the audience."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute("SELECT * FROM cdp.audience_good_customers").fetchall()


def change(folder: Path, **more: Any) -> None:
    """Other keys of the warehouse in the profile."""
    path = folder / "profiles.yml"
    profiles = json.loads(path.read_text())
    profiles["starter"]["targets"]["dev"]["warehouse"] |= more
    path.write_text(json.dumps(profiles))


@contextmanager
def locked(dsn: str, table: str) -> Iterator[None]:
    """Somebody else reads the table in a transaction that they forgot to end."""
    with psycopg.connect(dsn) as other:
        other.execute(f"LOCK TABLE {table} IN ACCESS SHARE MODE")
        yield
        other.rollback()


# ------------------------------------------------------------------------------------------------ logins and networks
@pytest.fixture(scope="module")
def with_password() -> Iterator[str]:
    """A Postgres that asks for a password, which is `right`."""
    folder = Path(tempfile.mkdtemp(prefix="cdp-pw-"))
    try:
        if server.os.geteuid() == 0:
            owner = server._unprivileged()
            server.os.chown(folder, owner.pw_uid, owner.pw_gid)
        word = folder / "word"
        word.write_text("right")
        word.chmod(0o644)
        port, data = server._free_port(), str(folder / "data")
        server._run([server._binary("initdb"), "-D", data, "-A", "scram-sha-256", "-U", "u", "-N", f"--pwfile={word}"])
        options = f"-c listen_addresses=127.0.0.1 -c fsync=off -p {port} -k {folder}"
        server._run([server._binary("pg_ctl"), "-D", data, "-l", str(folder / "log"), "-o", options, "-w", "start"])
    except Unavailable as reason:
        pytest.skip(f"no postgres: {reason}")
    try:
        yield f"host=127.0.0.1 port={port} user=u dbname=postgres"
    finally:
        server._run([server._binary("pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop"])
        shutil.rmtree(folder, ignore_errors=True)


def test_a_wrong_password_is_refused_and_not_shown(with_password: str, tmp_path: Path, said: Cli) -> None:
    port = int(with_password.split("port=")[1].split()[0])
    parts = {"type": "postgres", "host": "127.0.0.1", "port": port, "user": "u", "database": "postgres"}
    folder = little.project(tmp_path / "p", {**parts, "password": "hunter22"})
    code, printed = said(folder, "build")
    assert code == 4
    assert "CDP302" in printed
    assert "password authentication failed" in printed
    assert "check user and password" in printed
    change(folder, password="right")
    with psycopg.connect(f"{with_password} password=right", autocommit=True) as connection:
        little.tables(lambda sql: connection.execute(sql))
    assert said(folder, "build")[0] == 0


def test_no_network_is_exit_4_soon(tmp_path: Path, said: Cli) -> None:
    parts = {"type": "postgres", "user": "u", "password": "hunter22", "database": "d"}
    folder = little.project(tmp_path / "p", {**parts, "host": "nowhere.invalid"})
    code, printed = said(folder, "build")
    assert code == 4
    assert "CDP302" in printed and "nowhere.invalid" in printed and "host and port" in printed


def test_a_server_that_never_answers_is_given_up_after_the_time_out(tmp_path: Path, said: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        parts = {"type": "postgres", "host": "127.0.0.1", "port": silent.getsockname()[1], "connect_timeout": 2}
        folder = little.project(tmp_path / "p", {**parts, "user": "u", "password": "hunter22", "database": "d"})
        code, printed = said(folder, "build")
    assert code == 4
    assert "CDP302" in printed and "timeout" in printed


# ------------------------------------------------------------------------------------------------ locks and time-outs
def test_a_lock_of_somebody_else_is_not_waited_for_for_ever(ready: Path, postgres_database: str, said: Cli) -> None:
    before = members(postgres_database)
    change(ready, lock_timeout=1)
    with locked(postgres_database, "cdp.audience_good_customers"):
        code, printed = said(ready, "build")
        assert members(postgres_database) == before
    assert code == 1
    assert "lock timeout" in printed and "55P03" in printed
    assert "somebody else holds a lock" in printed and "`lock_timeout`" in printed
    assert said(ready, "build")[0] == 0


def test_a_lock_that_is_soon_let_go_is_waited_for(ready: Path, postgres_database: str, said: Cli) -> None:
    other = psycopg.connect(postgres_database)
    other.execute("LOCK TABLE cdp.audience_good_customers IN ACCESS SHARE MODE")
    timer = threading.Timer(2.0, other.close)
    timer.start()
    assert said(ready, "build")[0] == 0
    timer.join()


def test_a_statement_can_be_stopped_from_another_thread(postgres: Postgres) -> None:
    timer = threading.Timer(0.5, postgres.interrupt)
    timer.start()
    with pytest.raises(StatementError) as caught:
        postgres.rows("SELECT pg_sleep(60)")
    timer.join()
    assert "user request" in caught.value.message
    assert caught.value.hint is None
    assert postgres.rows("SELECT 1") == [(1,)]
    Postgres(dsn="host=nowhere.invalid").interrupt()  # nothing runs


def test_locks_are_waited_for_for_five_minutes_unless_it_is_said(postgres_database: str) -> None:
    for given, shown in (({}, "5min"), ({"lock_timeout": 7}, "7s")):
        warehouse = Postgres(dsn=postgres_database, **given)
        assert warehouse.rows("SHOW lock_timeout") == [(shown,)]
        warehouse.close()


def test_a_statement_that_takes_too_long_fails_and_leaves_the_old_tables(
    ready: Path, postgres_database: str, said: Cli
) -> None:
    before = members(postgres_database)
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("ALTER TABLE raw.orders RENAME TO orders_real")
        slow = "CASE WHEN pg_sleep(3) IS NULL THEN NULL ELSE amount END AS amount"
        connection.execute(f"CREATE VIEW raw.orders AS SELECT order_id, email, {slow}, ordered_at FROM raw.orders_real")
    change(ready, statement_timeout=1)
    code, printed = said(ready, "build")
    assert code == 1
    assert "57014" in printed and "`statement_timeout`" in printed
    assert members(postgres_database) == before
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("DROP VIEW raw.orders")
        connection.execute("ALTER TABLE raw.orders_real RENAME TO orders")
    assert said(ready, "build")[0] == 0


# ------------------------------------------------------------------------------------------------ odd sources
@pytest.fixture(params=["duckdb", "postgres"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Callable[[str], Any]]]:
    """The little project, not built, and a way to run SQL in its warehouse."""
    if request.param == "duckdb":
        folder = little.project(tmp_path / "p", {"type": "duckdb", "path": "w.duckdb"})

        def execute(sql: str) -> Any:
            with duckdb.connect(str(folder / "w.duckdb")) as connection:
                return connection.execute(sql).fetchall()

    else:
        dsn = request.getfixturevalue("postgres_database")
        folder = little.project(tmp_path / "p", {"type": "postgres", "dsn": dsn})

        def execute(sql: str) -> Any:
            with psycopg.connect(dsn, autocommit=True) as connection:
                cursor = connection.execute(sql)
                return cursor.fetchall() if cursor.description else []

    little.tables(execute)
    yield folder, execute


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def built(folder: Path) -> None:
    result = build(little.settings(folder))
    assert [(step.id, step.message) for step in result.steps if step.status != "done"] == []


@pytest.mark.parametrize("name", ["select", "Mixed Case", "Order", "user", 'quo"te'])
def test_a_column_of_any_name_can_be_read(odd: tuple[Path, Callable[[str], Any]], name: str) -> None:
    folder, execute = odd
    quoted = '"' + name.replace('"', '""') + '"'
    execute(f"ALTER TABLE raw.contacts RENAME COLUMN contact_id TO {quoted}")
    edit(folder / "sources.yml", "key: contact_id", f"key: {json.dumps(name)}")
    edit(folder / "sources.yml", "{contact_id: contact_id,", f"{{contact_id: {json.dumps(quoted)},")
    sources_freeze(little.settings(folder))
    built(folder)
    assert execute("SELECT id_value FROM cdp.customer_ids WHERE id_type = 'contact_id' ORDER BY 1") == [
        ("c1",),
        ("c2",),
    ]


def test_a_source_can_be_a_view(odd: tuple[Path, Callable[[str], Any]]) -> None:
    folder, execute = odd
    execute("ALTER TABLE raw.orders RENAME TO orders_real")
    execute("CREATE VIEW raw.orders AS SELECT * FROM raw.orders_real WHERE order_id <> 'o2'")
    built(folder)
    assert execute("SELECT spent FROM cdp.customer ORDER BY 1") == [(150,), (900,)]


def test_a_table_of_very_many_columns_can_be_a_source(odd: tuple[Path, Callable[[str], Any]]) -> None:
    folder, execute = odd
    many = 2000 if (folder / "w.duckdb").exists() else 1500  # Postgres allows 1,600
    execute("ALTER TABLE raw.contacts RENAME TO narrow")
    more = ", ".join(f"'{number}' AS column_{number}" for number in range(many - 5))
    execute(f"CREATE TABLE raw.contacts AS SELECT *, {more} FROM raw.narrow")
    frozen = sources_freeze(little.settings(folder))
    assert frozen.columns == many + 4
    built(folder)
    assert execute("SELECT first_name FROM cdp.customer ORDER BY 1") == [("Ann",), ("Ben",)]


def test_a_table_of_no_rows_makes_empty_tables(odd: tuple[Path, Callable[[str], Any]]) -> None:
    folder, execute = odd
    execute("DELETE FROM raw.contacts")
    execute("DELETE FROM raw.orders")
    built(folder)
    assert execute("SELECT * FROM cdp.customer") == []
    assert execute("SELECT * FROM cdp.audience_good_customers") == []


def test_a_missing_source_names_the_table_and_leaves_the_rest(
    odd: tuple[Path, Callable[[str], Any]], said: Cli
) -> None:
    folder, execute = odd
    built(folder)
    before = execute("SELECT * FROM cdp.customer ORDER BY 1")
    execute("ALTER TABLE raw.orders RENAME TO elsewhere")
    code, printed = said(folder, "build")
    assert code == 1
    assert "CDP320" in printed and "raw.orders" in printed and "is it loaded?" in printed
    assert execute("SELECT * FROM cdp.customer ORDER BY 1") == before


def test_a_broken_value_in_a_row_is_not_printed(ready: Path, postgres_database: str, said: Cli) -> None:
    before = members(postgres_database)
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("ALTER TABLE raw.orders RENAME TO orders_real")
        connection.execute(
            "CREATE VIEW raw.orders AS SELECT order_id, email, CAST(CAST(email AS INT) AS VARCHAR) AS amount, ordered_at"
            " FROM raw.orders_real"
        )
    code, printed = said(ready, "build")
    assert code == 1
    assert "CDP301" in printed or "22P02" in printed
    assert "ann@" not in printed and "example" not in printed
    assert members(postgres_database) == before


def test_a_connection_that_is_cut_in_the_middle_of_a_build_leaves_the_old_tables(
    ready: Path, postgres_database: str, said: Cli
) -> None:
    before = members(postgres_database)
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("ALTER TABLE raw.orders RENAME TO orders_real")
        cut = "CASE WHEN pg_terminate_backend(pg_backend_pid()) THEN amount END AS amount"
        connection.execute(f"CREATE VIEW raw.orders AS SELECT order_id, email, {cut}, ordered_at FROM raw.orders_real")
    code, printed = said(ready, "build")
    assert code == 4
    assert "CDP302" in printed or "was lost" in printed
    assert members(postgres_database) == before
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("DROP VIEW raw.orders")
        connection.execute("ALTER TABLE raw.orders_real RENAME TO orders")
    assert said(ready, "build")[0] == 0
    dsn = make_conninfo(postgres_database)
    with psycopg.connect(dsn) as connection:
        left = connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE '%\\_\\_new'").fetchall()
    assert left == []
