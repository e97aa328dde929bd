"""What every adapter promises, on every engine that runs here. Statements are written in the canonical dialect."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from sqlglot import parse_one

from cdp.errors import StatementError, WarehouseError
from cdp.warehouse.base import Column, Warehouse
from cdp.warehouse.postgres import Postgres

# what the name of a column cannot hold, by the engine's own rules
FORBIDDEN = {"bigquery": '!"$()*,./;?@[\\]^`{}~', "spark": " ,;{}()\n\t=."}
WITHOUT_JSON = {"spark": "text"}  # what a column for JSON is there


@pytest.fixture
def warehouse(every_warehouse: Warehouse) -> Warehouse:
    """Every engine in turn."""
    return every_warehouse


def said(warehouse: Warehouse, sql: str) -> str:
    """A statement of the canonical dialect in the engine's own."""
    return parse_one(sql, dialect="duckdb").sql(dialect=warehouse.facts.dialect)


def numbers(warehouse: Warehouse) -> str:
    """A SELECT of g from 1 to 100,000 that every engine takes as it is."""
    warehouse.make_table("cdp.digits", " UNION ALL ".join(f"SELECT {digit} AS d" for digit in range(10)))
    total = " + ".join(f"{10**place} * t{place}.d" for place in range(5))
    return f"SELECT 1 + {total} AS g FROM " + " CROSS JOIN ".join(f"cdp.digits AS t{place}" for place in range(5))


def refused(call: Callable[[], object]) -> StatementError:
    with pytest.raises(StatementError) as caught:
        call()
    assert caught.value.exit_code == 1
    assert caught.value.__cause__ is None, "the driver's own error must not travel along"
    assert caught.value.__suppress_context__
    return caught.value


def test_a_table_is_made_with_the_rows_of_a_select_and_replaced_whatever_it_was(warehouse: Warehouse) -> None:
    assert warehouse.make_table("cdp.t", "SELECT 1 AS a UNION ALL SELECT 2") == 2
    assert warehouse.make_table("cdp.t", "SELECT a + 1 AS b FROM cdp.t") == 2
    warehouse.make_view("cdp.v", "SELECT 1 AS a")
    warehouse.make_view("cdp.v", "SELECT 'x' AS other, 2 AS a")
    assert warehouse.make_table("cdp.v", "SELECT 3 AS a") == 1
    warehouse.make_view("cdp.t", "SELECT 4 AS a")
    assert warehouse.rows("SELECT * FROM cdp.v") == [(3,)]
    assert warehouse.rows("SELECT * FROM cdp.t") == [(4,)]


def test_counts_of_changed_rows_are_told(warehouse: Warehouse) -> None:
    warehouse.make_table("cdp.t", "SELECT 1 AS a")
    assert warehouse.execute("INSERT INTO cdp.t SELECT 2 UNION ALL SELECT 3") == 2
    assert warehouse.execute("UPDATE cdp.t SET a = 0 WHERE a > 1") == 2
    assert warehouse.execute("DELETE FROM cdp.t WHERE a < 100") == 3
    assert warehouse.execute("DROP TABLE cdp.t") == 0
    assert warehouse.execute("SELECT 5") == 0


def test_a_swap_replaces_tables_and_views_together(warehouse: Warehouse) -> None:
    warehouse.make_table("cdp.a", "SELECT 'old' AS x")
    warehouse.make_view("cdp.b", "SELECT 'old' AS x")
    for name in ("a", "b", "c"):
        warehouse.make_table(f"cdp.{name}__new", f"SELECT '{name}' AS y, 1 AS more")
    warehouse.swap({f"cdp.{name}__new": f"cdp.{name}" for name in ("a", "b", "c")})
    assert warehouse.tables("cdp") == ("a", "b", "c")
    assert [warehouse.rows(f"SELECT y FROM cdp.{name}") for name in ("a", "b", "c")] == [[("a",)], [("b",)], [("c",)]]


def test_a_swap_that_fails_half_way_changes_nothing_or_can_be_run_again(warehouse: Warehouse) -> None:
    warehouse.make_table("cdp.a", "SELECT 'old' AS x")
    warehouse.make_table("cdp.a__new", "SELECT 'new' AS x")
    pairs = {"cdp.a__new": "cdp.a", "cdp.b__new": "cdp.b"}
    error = refused(lambda: warehouse.swap(pairs))
    assert error.code == "CDP301"
    if warehouse.transactional_ddl:
        assert warehouse.rows("SELECT x FROM cdp.a") == [("old",)]
        assert warehouse.tables("cdp") == ("a", "a__new")
    warehouse.make_table("cdp.b__new", "SELECT 'b' AS x")
    warehouse.swap(pairs)
    assert warehouse.tables("cdp") == ("a", "b")
    assert [warehouse.rows(f"SELECT x FROM cdp.{name}") for name in ("a", "b")] == [[("new",)], [("b",)]]


def test_a_failed_transaction_leaves_nothing_and_the_connection_lives(warehouse: Warehouse) -> None:
    warehouse.make_table("cdp.t", "SELECT 1 AS a")

    def work() -> None:
        with warehouse.transaction():
            warehouse.execute("INSERT INTO cdp.t VALUES (2)")
            with warehouse.transaction():
                warehouse.execute("INSERT INTO cdp.t VALUES (3)")
            warehouse.execute("INSERT INTO cdp.nowhere VALUES (4)")

    assert refused(work).code == "CDP301"
    left = [(1,)] if warehouse.transactions else [(1,), (2,), (3,)]
    assert warehouse.rows("SELECT a FROM cdp.t ORDER BY a") == left
    with warehouse.transaction(), warehouse.transaction():
        warehouse.execute("INSERT INTO cdp.t VALUES (5)")
    assert warehouse.rows("SELECT a FROM cdp.t ORDER BY a") == [*left, (5,)]


def test_an_interrupted_transaction_is_rolled_back(warehouse: Warehouse) -> None:
    warehouse.make_table("cdp.t", "SELECT 1 AS a")
    with pytest.raises(KeyboardInterrupt), warehouse.transaction():
        warehouse.execute("DELETE FROM cdp.t WHERE a = 1")
        raise KeyboardInterrupt
    assert warehouse.rows("SELECT a FROM cdp.t") == ([(1,)] if warehouse.transactions else [])


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT CAST(x AS INT) FROM (SELECT 'ann.o''hara@example.com' AS x) AS t",
        "SELECT CAST(x AS DATE) FROM (SELECT 'ann.o''hara@example.com' AS x) AS t",
        "SELECT CAST(x AS TIMESTAMP) FROM (SELECT 'LINE 1: ann.o''hara@example.com' AS x) AS t",
        "SELECT CAST(x AS INT) FROM (SELECT '\nLINE 1: ann.o''hara@example.com' AS x) AS t",
        "INSERT INTO cdp.unique_mail SELECT 'ann.o''hara@example.com'",
    ],
)
def test_an_error_never_shows_a_value_out_of_somebodys_row(warehouse: Warehouse, sql: str) -> None:
    if sql.startswith("INSERT"):
        if warehouse.facts.name not in ("duckdb", "postgres"):
            return  # keys are not enforced elsewhere
        warehouse.execute("CREATE TABLE cdp.unique_mail (mail TEXT PRIMARY KEY)")
        warehouse.execute("INSERT INTO cdp.unique_mail VALUES ('ann.o''hara@example.com')")
    text = said(warehouse, sql)
    error = refused(lambda: warehouse.rows(text) if sql.startswith("SELECT") else warehouse.execute(text))
    assert error.code == "CDP301"
    assert "hara" not in str(error)
    assert "example" not in str(error)
    assert len(str(error)) > 20


def test_an_unknown_column_is_named(warehouse: Warehouse) -> None:
    warehouse.make_table("cdp.t", "SELECT 1 AS a")
    assert "nope" in refused(lambda: warehouse.rows("SELECT nope FROM cdp.t")).message.lower()
    assert "cdp" not in refused(lambda: warehouse.rows("SELEC 1")).message


def test_a_hundred_thousand_rows_are_streamed_in_batches_and_in_order(warehouse: Warehouse) -> None:
    sql = said(warehouse, f"SELECT g, 'row ' || CAST(g AS TEXT) FROM ({numbers(warehouse)}) AS s ORDER BY g")
    batches = list(warehouse.stream(sql, size=7_000))
    assert [len(batch) for batch in batches] == [7_000] * 14 + [2_000]
    assert [row for batch in batches for row in batch] == [(n, f"row {n}") for n in range(1, 100_001)]


def test_a_stream_that_is_left_early_does_not_hold_the_connection(warehouse: Warehouse) -> None:
    stream = warehouse.stream(numbers(warehouse), size=10)
    assert len(next(stream)) == 10
    stream.close()  # type: ignore[attr-defined]
    assert warehouse.make_table("cdp.t", "SELECT 1 AS a") == 1


def test_a_stream_of_nothing_gives_no_batch(warehouse: Warehouse) -> None:
    assert list(warehouse.stream("SELECT x FROM (SELECT 1 AS x) AS t WHERE x = 0")) == []


def test_a_streams_mistake_is_a_statement_error(warehouse: Warehouse) -> None:
    assert refused(lambda: list(warehouse.stream("SELECT nope"))).code == "CDP301"


def test_times_with_a_zone_come_back_as_naive_utc(warehouse: Warehouse) -> None:
    sql = said(
        warehouse,
        "SELECT CAST('2026-03-29 03:30:00+02:00' AS TIMESTAMPTZ) AS a, CAST(NULL AS TIMESTAMPTZ) AS b, 7 AS c",
    )
    expected = [(datetime(2026, 3, 29, 1, 30), None, 7)]
    assert warehouse.rows(sql) == expected
    assert list(warehouse.stream(sql)) == [expected]


def test_json_columns_come_back_as_text(warehouse: Warehouse) -> None:
    [(answer,)] = warehouse.rows(said(warehouse, """SELECT JSON('{"a":1}') AS j"""))
    assert isinstance(answer, str)
    assert json.loads(answer) == {"a": 1}


def test_columns_are_found_without_regard_to_case_and_typed_in_our_words(warehouse: Warehouse) -> None:
    types = {"Key": "BIGINT", "mail": "TEXT", "Paid_At": "TIMESTAMPTZ", "amount": "DECIMAL(10, 2)", "ratio": "DOUBLE"}
    types |= {"ok": "BOOLEAN", "born": "DATE", "doc": "JSON", "tags": "TEXT[]", "bin": "BLOB", "small": "SMALLINT"}
    types |= {"seen": "TIMESTAMP"}
    fields = ", ".join(f'"{name}" {type_}' for name, type_ in types.items())
    warehouse.execute(said(warehouse, f'CREATE TABLE cdp."Odd_Name" ({fields})'))
    columns = warehouse.columns('CDP."ODD_NAME"')
    assert columns is not None
    assert [(column.name, column.type) for column in columns] == [
        ("Key", "int"),
        ("mail", "text"),
        ("Paid_At", "timestamp"),
        ("amount", "decimal"),
        ("ratio", "float"),
        ("ok", "bool"),
        ("born", "date"),
        ("doc", WITHOUT_JSON.get(warehouse.facts.name, "json")),
        ("tags", "list"),
        ("bin", "other"),
        ("small", "int"),
        ("seen", "timestamp"),
    ]
    assert re.sub("NUMBER|NUMERIC", "DECIMAL", columns[3].native.upper()).replace(" ", "") == "DECIMAL(10,2)"
    assert warehouse.columns("cdp.nothing") is None
    assert warehouse.columns("nowhere.nothing") is None
    assert warehouse.columns("a.b.c.d") is None


def test_a_select_is_described_without_being_run(warehouse: Warehouse) -> None:
    warehouse.make_table("cdp.t", "SELECT 0 AS zero")
    sql = "WITH x AS (SELECT 1 % zero AS boom, 'a' AS b FROM cdp.t) SELECT b, boom FROM x"
    columns = warehouse.describe(said(warehouse, sql))
    assert [column.name.lower() for column in columns] == ["b", "boom"]
    assert isinstance(columns[0], Column)
    assert columns[0].type == "text"


def test_tables_of_a_schema_are_listed_with_its_views(warehouse: Warehouse) -> None:
    warehouse.make_table("cdp.b", "SELECT 1 AS x")
    warehouse.make_view("cdp.a", "SELECT 1 AS x")
    assert warehouse.tables("cdp") == ("a", "b")
    assert warehouse.tables("cdp_state") == ()
    assert warehouse.tables("nowhere") == ()


def test_what_is_not_there_may_be_dropped_and_schemas_made_twice(warehouse: Warehouse) -> None:
    warehouse.make_table("cdp.t", "SELECT 1 AS a")
    warehouse.make_view("cdp.v", "SELECT 1 AS a")
    warehouse.drop("cdp.t", "cdp.v", "cdp.never", "nowhere.never")
    assert warehouse.tables("cdp") == ()
    warehouse.ensure_schemas()


HOSTILE = [
    "",
    "plain",
    'O\'Brien "quoted" \\ back\\slash',
    "line\nbreak\r\ttab\x01\x1f\x7f",
    "é😀\u2028\ufeff",
    "x" * 65_536,
    "'; DROP TABLE t; --",
    "%s {0} {{ x }} ${y}",
    '{"is_admin": true}',
    "\\N",
    "\\.",
    "NULL",
    " blanks ",
]


def test_hostile_values_survive_the_way_through_a_file_and_back(warehouse: Warehouse, tmp_path: Path) -> None:
    columns = {"id": "int", "t": "text", "n": "int", "d": "decimal", "f": "float", "b": "bool", "day": "date"}
    columns |= {"stamp": "timestamp", "l": "list", "j": "json"}
    lines = [
        {
            "id": number,
            "t": text,
            "n": -(2**63) + number,
            "d": "12345678901234567890.123456789",
            "f": 0.1,
            "b": number % 2 == 0,
            "day": "2024-02-29",
            "stamp": "2026-03-01T10:00:00.123456Z",
            "l": json.dumps([text], ensure_ascii=False),
            "j": json.dumps({"k": text}, ensure_ascii=False),
        }
        for number, text in enumerate(HOSTILE)
    ]
    lines.append({"id": len(HOSTILE), "stamp": "2026-03-01T12:00:00+02:00", "extra": "ignored"})  # type: ignore[dict-item]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    assert warehouse.load_json_lines("cdp_state.loaded", path, columns) == len(lines)
    rows = warehouse.rows("SELECT id, t, n, d, f, b, day, stamp, l, j FROM cdp_state.loaded ORDER BY id")
    for number, text in enumerate(HOSTILE):
        assert rows[number][:2] == (number, text)
        assert rows[number][2:6] == (-(2**63) + number, Decimal("12345678901234567890.123456789"), 0.1, number % 2 == 0)
        assert rows[number][6:8] == (date(2024, 2, 29), datetime(2026, 3, 1, 10, 0, 0, 123456))
        assert [json.loads(str(value)) for value in rows[number][8:]] == [[text], {"k": text}]
    assert rows[-1][1:] == (None, None, None, None, None, None, datetime(2026, 3, 1, 10, 0), None, None)

    out = tmp_path / "out.jsonl"
    assert warehouse.unload_json_lines("SELECT * FROM cdp_state.loaded ORDER BY id", out) == len(lines)
    written = [json.loads(line) for line in out.read_text(encoding="utf-8").split("\n")[:-1]]
    assert written[:-1] == lines[:-1]
    assert written[-1]["stamp"] == "2026-03-01T10:00:00.000000Z"
    assert set(written[-1]) == set(columns)
    assert warehouse.load_json_lines("cdp_state.again", out, columns) == len(lines)
    assert warehouse.rows("SELECT * FROM cdp_state.again ORDER BY id") == warehouse.rows(
        "SELECT * FROM cdp_state.loaded ORDER BY id"
    )


def test_numbers_in_a_file_keep_every_digit_and_nested_values_become_their_text(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"n": 9007199254740993, "d": "0.100000001", "l": [1, "a b"], "j": {"k": {"x": null}}, "t": true}\n'
    )
    types = {"n": "int", "d": "decimal", "l": "list", "j": "json", "t": "text"}
    warehouse.load_json_lines("cdp.t", path, types)
    [row] = warehouse.rows("SELECT x.n, x.d, x.l, x.j, x.t FROM cdp.t AS x")
    assert row == (9007199254740993, Decimal("0.100000001"), '[1,"a b"]', '{"k":{"x":null}}', "true")


def test_floats_without_a_json_form_are_written_as_null(warehouse: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sql = "SELECT CAST('NaN' AS DOUBLE PRECISION) AS a, CAST('-Infinity' AS DOUBLE PRECISION) AS b, 0.5 AS c"
    assert warehouse.unload_json_lines(said(warehouse, sql), path) == 1
    assert json.loads(path.read_text())["a"] is None
    assert json.loads(path.read_text())["b"] is None


@pytest.mark.parametrize("broken", ['{"a": "ann@example.com"', "[1]x", '{"a": "ann@example.com"}\n{"a": "b'])
def test_a_cut_file_is_refused_and_the_old_table_stays(warehouse: Warehouse, tmp_path: Path, broken: str) -> None:
    warehouse.make_table("cdp.t", "SELECT 'old' AS a")
    path = tmp_path / "in.jsonl"
    path.write_text(broken)
    error = refused(lambda: warehouse.load_json_lines("cdp.t", path, {"a": "text"}))
    assert error.code == "CDP306"
    assert "in.jsonl" in error.message
    assert "ann@" not in str(error)
    assert warehouse.rows("SELECT a FROM cdp.t") == [("old",)]
    assert warehouse.tables("cdp") == ("t",)


def test_an_empty_file_makes_an_empty_table(warehouse: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("")
    assert warehouse.load_json_lines("cdp.t", path, {"a": "text", "at": "timestamp"}) == 0
    columns = warehouse.columns("cdp.t")
    assert columns is not None
    assert [(column.name.lower(), column.type) for column in columns] == [("a", "text"), ("at", "timestamp")]


def test_a_released_warehouse_opens_again_by_itself(warehouse: Warehouse) -> None:
    warehouse.make_table("cdp.t", "SELECT 1 AS a")
    warehouse.release()
    warehouse.release()
    assert warehouse.rows("SELECT a FROM cdp.t") == [(1,)]
    warehouse.close()
    assert warehouse.rows("SELECT a FROM cdp.t") == [(1,)]


def test_a_file_name_with_quotes_is_only_a_name(warehouse: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / 'it\'s "odd".jsonl'
    assert warehouse.unload_json_lines("SELECT 1 AS a", path) == 1
    assert warehouse.load_json_lines("cdp.t", path, {"a": "int"}) == 1


def test_a_column_with_an_odd_name_keeps_it(warehouse: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    odd = ["Mixed Case", "Mixed_Case", 'quo"te', "a.b", "%s", "é", "select"]
    names = [name for name in odd if not set(name) & set(FORBIDDEN.get(warehouse.facts.name, ""))]
    sql = "SELECT " + ", ".join(f"{n} AS " + '"' + name.replace('"', '""') + '"' for n, name in enumerate(names))
    warehouse.unload_json_lines(said(warehouse, sql), path)
    assert json.loads(path.read_text(encoding="utf-8")) == {name: n for n, name in enumerate(names)}
    assert warehouse.load_json_lines("cdp.t", path, dict.fromkeys(names, "int")) == 1


def test_a_view_that_is_made_again_is_never_missed_by_a_reader(postgres: Postgres, postgres_database: str) -> None:
    postgres.make_view("cdp.v", "SELECT 1 AS a")
    reader = Postgres(dsn=postgres_database)
    stop, seen = threading.Event(), list[object]()

    def read() -> None:
        while not stop.is_set():
            try:
                seen.append(len(reader.rows("SELECT * FROM cdp.v")))
            except WarehouseError as error:
                seen.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(30):
        postgres.make_view("cdp.v", f"SELECT {number} AS a, 'x' AS b{number}")
    stop.set()
    thread.join()
    reader.close()
    assert set(seen) <= {1}, set(seen)
