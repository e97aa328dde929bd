"""What is particular to DuckDB: one process per file."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from cdp.errors import StatementError, WarehouseError
from cdp.warehouse.duckdb import SETTINGS, DuckDB

HOLD = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("CREATE TABLE IF NOT EXISTS held AS SELECT 42 AS a")
print("open", flush=True)
time.sleep(float(sys.argv[2]))
connection.close()
"""


def holder(path: Path, seconds: float) -> subprocess.Popen[str]:
    """Another process that holds the file."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_a_file_held_by_another_process_is_an_error_that_names_the_process(tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    other = holder(path, 30)
    try:
        with pytest.raises(WarehouseError) as caught:
            DuckDB(path, patience=0.1).rows("SELECT 1")
    finally:
        other.kill()
        other.communicate()
    assert (caught.value.code, caught.value.exit_code) == ("CDP303", 4)
    assert str(path) in caught.value.message
    assert f"pid {other.pid}" in caught.value.message
    assert "close the other" in str(caught.value.hint)
    assert not isinstance(caught.value, StatementError)


def test_a_file_held_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    other = holder(path, 0.5)
    warehouse = DuckDB(path, patience=20)
    assert warehouse.rows("SELECT a FROM held") == [(42,)]
    other.communicate()
    warehouse.close()


def test_release_lets_another_process_write_and_its_rows_are_seen_after(tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    warehouse = DuckDB(path)
    warehouse.ensure_schemas()
    warehouse.release()
    holder(path, 0).communicate()
    assert warehouse.rows("SELECT a FROM held") == [(42,)]
    warehouse.close()


def test_release_inside_a_transaction_waits_for_its_end(duckdb: DuckDB) -> None:
    with duckdb.transaction():
        duckdb.execute("CREATE TABLE cdp.t AS SELECT 1 AS a")
        duckdb.release()
        duckdb.execute("INSERT INTO cdp.t VALUES (2)")
    assert duckdb.rows("SELECT COUNT(*) FROM cdp.t") == [(2,)]


def test_memory_is_not_lost_by_a_release() -> None:
    warehouse = DuckDB(":memory:")
    warehouse.ensure_schemas()
    warehouse.make_table("cdp.t", "SELECT 1 AS a")
    warehouse.release()
    assert warehouse.rows("SELECT a FROM cdp.t") == [(1,)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing/x.duckdb", "the folder of"),
        ("text.duckdb", "not a valid DuckDB database file"),
        ("folder", "cannot open"),
    ],
)
def test_a_path_that_cannot_be_opened_is_explained(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "text.duckdb").write_text("this is no database" * 1_000)
    (tmp_path / "folder").mkdir()
    started = time.monotonic()
    with pytest.raises(WarehouseError) as caught:
        DuckDB(name, project_dir=tmp_path).tables("cdp")
    assert caught.value.code == "CDP302"
    assert words in caught.value.message
    assert name in caught.value.message
    assert time.monotonic() - started < 1, "only a lock is waited for"


def test_a_database_named_like_a_schema_is_not_ambiguous(tmp_path: Path) -> None:
    for name in ("cdp.duckdb", "raw.duckdb"):
        warehouse = DuckDB(name, project_dir=tmp_path)
        warehouse.ensure_schemas()
        warehouse.execute("CREATE SCHEMA raw")
        warehouse.release()
        warehouse.make_table("raw.t", "SELECT 1 AS a")
        warehouse.make_table("cdp.t", "SELECT a FROM raw.t")
        warehouse.release()
        assert warehouse.rows("SELECT cdp.t.a FROM cdp.t JOIN raw.t USING (a)") == [(1,)]
        assert warehouse.tables("raw") == ("t",)
        warehouse.close()


def test_attached_files_are_read_and_never_written(tmp_path: Path) -> None:
    other = DuckDB("crm.duckdb", project_dir=tmp_path)
    other.execute("CREATE SCHEMA raw")
    other.execute("CREATE TABLE raw.contacts AS SELECT 'x' AS Name")
    other.close()
    warehouse = DuckDB("main.duckdb", project_dir=tmp_path, attach={"crm": "crm.duckdb"})
    warehouse.ensure_schemas()
    warehouse.make_table("cdp.t", "SELECT * FROM crm.raw.contacts")
    columns = warehouse.columns("CRM.raw.Contacts")
    assert columns is not None
    assert [column.name for column in columns] == ["Name"]
    assert warehouse.tables("crm.raw") == ("contacts",)
    warehouse.release()
    with pytest.raises(StatementError) as caught:
        warehouse.execute("DELETE FROM crm.raw.contacts")
    assert "read-only" in caught.value.message
    warehouse.close()


def test_an_attached_file_that_is_missing_is_named(tmp_path: Path) -> None:
    warehouse = DuckDB("main.duckdb", project_dir=tmp_path, attach={"crm": "nowhere.duckdb"})
    with pytest.raises(WarehouseError) as caught:
        warehouse.rows("SELECT 1")
    assert caught.value.code == "CDP302"
    assert "nowhere.duckdb" in caught.value.message


@pytest.mark.parametrize(
    "setting", ["autoinstall_known_extensions", "autoload_known_extensions", "allow_community_extensions"]
)
def test_no_code_is_fetched_from_elsewhere(duckdb: DuckDB, setting: str) -> None:
    assert duckdb.rows(f"SELECT current_setting('{setting}')") == [(False,)]
    with pytest.raises(StatementError) as caught:
        duckdb.rows("SELECT * FROM 'https://example.com/x.parquet'")
    assert "httpfs" in caught.value.message


def test_the_session_is_in_utc_after_every_opening(duckdb: DuckDB) -> None:
    for _ in range(2):
        assert duckdb.rows("SELECT current_setting('TimeZone')") == [("UTC",)]
        duckdb.release()


def test_relative_files_are_looked_for_in_the_project(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.csv").write_text("a\n7\n")
    warehouse = DuckDB(":memory:", project_dir=tmp_path)
    for file in ("data/rows.csv", "data/*.csv"):
        assert warehouse.rows(f"SELECT a FROM read_csv('{file}')") == [(7,)]


def test_text_with_nul_survives_the_way_through_a_file(duckdb: DuckDB, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    duckdb.unload_json_lines("SELECT 'a' || chr(0) || 'b' AS t", path)
    assert path.read_text() == '{"t":"a\\u0000b"}\n'
    duckdb.load_json_lines("cdp.t", path, {"t": "text"})
    assert duckdb.rows("SELECT t FROM cdp.t") == [("a\0b",)]


def test_structures_and_lists_are_unloaded_as_json_text(duckdb: DuckDB, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    duckdb.unload_json_lines("SELECT {'a': 1, 'b': ['x']} AS s, [1, NULL] AS l, uuid() IS NOT NULL AS u", path)
    assert path.read_text() == '{"s":"{\\"a\\":1,\\"b\\":[\\"x\\"]}","l":"[1,null]","u":true}\n'


# a runner in the background ignores SIGINT, and its children with it: a terminal's program does not
ENDLESS = """
import signal
from cdp.warehouse.duckdb import SETTINGS, DuckDB
signal.signal(signal.SIGINT, signal.default_int_handler)
warehouse = DuckDB(":memory:")
print("ready", flush=True)
try:
    warehouse.rows("SELECT COUNT(*) FROM range(100000000) AS a(i), range(100000) AS b(j) WHERE a.i * b.j % 7 = 3")
except KeyboardInterrupt:
    print("interrupted", warehouse.rows("SELECT 1"))
"""


def test_ctrl_c_stops_a_running_statement() -> None:
    process = subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    try:
        assert process.communicate(timeout=30)[0] == "interrupted [(1,)]\n"
    finally:
        process.kill()


def test_memory_and_threads_are_limited_as_the_profile_says(tmp_path: Path) -> None:
    keys = {"type": "duckdb", "path": "w.duckdb", "memory_limit": "500MB", "temp_directory": "spill", "threads": 1}
    warehouse = SETTINGS.model_validate(keys).connect(tmp_path)
    settings = "SELECT current_setting('memory_limit'), current_setting('threads'), current_setting('temp_directory')"
    assert warehouse.rows(settings) == [("476.8 MiB", 1, str(tmp_path / "spill"))]
    warehouse.close()


@pytest.mark.parametrize("limit", ["4 apples", "'; DROP TABLE x", "80%"])
def test_a_memory_limit_that_is_no_size_is_refused(limit: str) -> None:
    with pytest.raises(ValidationError, match="memory_limit"):
        SETTINGS.model_validate({"type": "duckdb", "path": "w.duckdb", "memory_limit": limit})
