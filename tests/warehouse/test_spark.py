"""What is particular to Spark: Delta's limits, sessions that are lost, logins, and what may be tried again."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from pydantic import ValidationError
from pyspark.errors.exceptions.connect import SparkConnectGrpcException
from sqlglot import exp, parse_one

from cdp.errors import StatementError, WarehouseError
from cdp.warehouse import spark_session
from cdp.warehouse.base import Column
from cdp.warehouse.databricks import DatabricksSettings, ServicePrincipal
from cdp.warehouse.duckdb import DuckDB
from cdp.warehouse.spark import Spark, SparkSettings
from cdp.warehouse.spark_changes import fitted
from cdp.warehouse.spark_errors import way_out, words
from cdp.warehouse.spark_session import _channel_builder
from tests.engines import Engines, connected
from tests.engines.spark import free_port
from tests.meaning.building import engine_for, fill, freeze, run_build, write_project
from tests.meaning.world import worlds

pytestmark = pytest.mark.engines


@pytest.fixture
def spark(engines: Engines, tmp_path: Path) -> Iterator[Spark]:
    """A Spark warehouse on a fresh catalogue, both schemas made."""
    with engines.fresh("spark", tmp_path) as profile:
        warehouse = connected(profile, tmp_path)
        assert isinstance(warehouse, Spark)
        warehouse.ensure_schemas()
        yield warehouse
        warehouse.close()


def settings(**keys: Any) -> Spark:
    return SparkSettings.model_validate({"type": "spark", **keys}).connect(Path("."))


# ------------------------------------------------------------------------------------------------ the connection


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({}, "needs `remote`"),
        ({"remote": "sc://h", "host": "h"}, "needs `remote`"),
        ({"remote": "http://h:1"}, "`remote` reads sc://host:port"),
        ({"remote": "sc://h:1/;oops"}, "`remote` reads sc://host:port"),
        ({"remote": "sc://h:1/;token=hunter22"}, "say it as `token`"),
    ],
)
def test_where_to_connect_is_said_once_and_without_a_token(keys: dict[str, str], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**keys)
    assert says in caught.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    "keys",
    [{}, {"token": "t", "client_id": "c", "client_secret": "s"}, {"client_id": "c"}, {"client_secret": "s"}],
)
def test_databricks_wants_one_kind_of_login(keys: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        DatabricksSettings.model_validate({"type": "databricks", "host": "h", "cluster_id": "c", **keys})
    assert "needs `token`, or `client_id` with `client_secret`" in caught.value.errors()[0]["msg"]


def test_databricks_is_told_the_cluster_and_the_token_with_each_call() -> None:
    profile = {"type": "databricks", "host": "https://w.cloud.databricks.com/", "cluster_id": "0-1 a", "token": "dapi1"}
    address = DatabricksSettings.model_validate(profile).connect(Path("."))._address
    assert (address.host, address.port) == ("w.cloud.databricks.com", 443)
    builder = _channel_builder(address)
    assert builder.secure
    assert dict(builder.metadata()) == {"x-databricks-cluster-id": "0-1 a", "authorization": "Bearer dapi1"}
    assert "dapi1" not in repr(address)


def test_a_server_that_is_away_is_unreachable() -> None:
    for keys in ({"remote": f"sc://127.0.0.1:{free_port()}"}, {"host": "127.0.0.1", "port": free_port()}):
        with pytest.raises(WarehouseError) as caught:
            settings(**keys).rows("SELECT 1")
        assert (caught.value.code, caught.value.exit_code) == ("CDP302", 4)
        assert not isinstance(caught.value, StatementError)
        assert "connection refused" in caught.value.message


def test_a_server_that_does_not_speak_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(WarehouseError) as caught:
            settings(host="127.0.0.1", port=silent.getsockname()[1], connect_timeout=1).rows("SELECT 1")
    assert time.monotonic() - started < 5
    assert "does not answer as a Spark Connect server does" in caught.value.message


class _Refusing(grpc.GenericRpcHandler):
    """Answers every call with one status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self.seen: list[dict[str, str]] = []
        self._code, self._details = code, details

    def service(self, handler_call_details: Any) -> Any:
        self.seen.append({key: str(value) for key, value in handler_call_details.invocation_metadata})

        def refuse(request: Any, context: Any) -> Any:
            context.abort(self._code, self._details)

        return grpc.unary_unary_rpc_method_handler(refuse)


def test_a_refused_login_is_told_without_the_token() -> None:
    handler = _Refusing(grpc.StatusCode.UNAUTHENTICATED, "Invalid access token")
    server = grpc.server(ThreadPoolExecutor(2), handlers=(handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(WarehouseError) as caught:
            settings(host="127.0.0.1", port=port).rows("SELECT 1")
    finally:
        server.stop(None)
    assert caught.value.code == "CDP302"
    assert "Invalid access token" in caught.value.message
    assert caught.value.hint == "check `token`, and what the token may do"
    assert len(handler.seen) == 1, "a refused login is not tried again"


def test_without_the_driver_the_way_to_it_is_said() -> None:
    script = """
import sys
sys.modules["pyspark"] = None
from pathlib import Path
from cdp.errors import WarehouseError
from cdp.warehouse.spark import SparkSettings
try:
    SparkSettings.model_validate({"type": "spark", "host": "h"}).connect(Path(".")).rows("SELECT 1")
except WarehouseError as error:
    print(error.code, error.hint)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "CDP304 pip install 'composable-cdp[spark]'\n"


@contextmanager
def token_server(status: int, answer: bytes) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    seen: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            seen.append((str(self.headers["Authorization"]), body))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/oidc/v1/token", seen
    server.shutdown()
    server.server_close()


def test_a_service_principals_token_is_asked_for_once_and_again_before_it_ends() -> None:
    with token_server(200, b'{"access_token": "t1", "expires_in": 3600}') as (url, seen):
        principal = ServicePrincipal(url, "id", "secret", 5)
        assert [principal.token(), principal.token()] == ["t1", "t1"]
        assert seen == [("Basic aWQ6c2VjcmV0", "grant_type=client_credentials&scope=all-apis")]
    with token_server(200, b'{"access_token": "t2", "expires_in": 60}') as (url, seen):
        principal = ServicePrincipal(url, "id", "secret", 5)
        assert [principal.token(), principal.token()] == ["t2", "t2"]
        assert len(seen) == 2


@pytest.mark.parametrize(
    ("status", "answer", "says"), [(401, b"{}", "refuses the service principal"), (200, b"[]", "no token")]
)
def test_a_service_principal_that_gets_no_token_is_told(status: int, answer: bytes, says: str) -> None:
    with token_server(status, answer) as (url, _), pytest.raises(WarehouseError) as caught:
        ServicePrincipal(url, "id", "hunter22", 5).token()
    assert says in caught.value.message
    assert "hunter22" not in str(caught.value)


# ------------------------------------------------------------------------------------------------ what is told

HARA = "ann.o'hara@example.com"


def raised(text: str, named: str | None = None, state: str | None = None) -> SparkConnectGrpcException:
    """An error as Spark 4.3 sent it."""
    error = SparkConnectGrpcException(message=text)
    error.getCondition = lambda: named  # type: ignore[method-assign]
    error.getSqlState = lambda: state  # type: ignore[method-assign]
    return error


@pytest.mark.parametrize(
    ("text", "named", "state", "expected"),
    [
        (
            f'[CAST_INVALID_INPUT] The value \'{HARA}\' of the type "STRING" cannot be cast to "INT" because it is'
            " malformed. SQLSTATE: 22018\n== SQL (line 1, position 8) ==\nSELECT CAST(x AS INT)",
            "CAST_INVALID_INPUT",
            "22018",
            "The value (value) (CAST_INVALID_INPUT)",
        ),
        (
            "[NUMERIC_VALUE_OUT_OF_RANGE] The 1234567.89 rounded half up from 1234567.89 cannot be represented as"
            " Decimal(3, 1). SQLSTATE: 22003",
            "NUMERIC_VALUE_OUT_OF_RANGE",
            "22003",
            "The (number) rounded half up from (number) cannot be represented as Decimal((number) (number)).",
        ),
        (
            "[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column with name `nope` cannot be resolved. Did you mean [`a`]?"
            " SQLSTATE: 42703; line 1 pos 7;\n'Project ['nope]",
            "UNRESOLVED_COLUMN.WITH_SUGGESTION",
            "42703",
            "A column with name `nope` cannot be resolved. Did you mean [`a`]? (UNRESOLVED_COLUMN.WITH_SUGGESTION)",
        ),
        (
            "\n[PARSE_SYNTAX_ERROR] Syntax error at or near 'SELEC'. SQLSTATE: 42601 (line 1, pos 0)\n\n== SQL ==\nSELEC",
            "PARSE_SYNTAX_ERROR",
            "42601",
            "Syntax error at or near (value).",
        ),
        (f"Cast error: Cannot cast string '\n{HARA}", None, None, "Cast error: Cannot cast string (value)"),
    ],
)
def test_an_error_keeps_names_and_loses_values_and_the_statement(
    text: str, named: str | None, state: str | None, expected: str
) -> None:
    said = words(raised(text, named, state))
    assert said.startswith(expected)
    assert "hara" not in said
    assert "SELECT" not in said


def test_errors_whose_way_out_is_known_tell_it() -> None:
    assert "lacks a right" in str(way_out(raised("no", "INSUFFICIENT_PERMISSIONS", "42501")))
    assert "another writer" in str(way_out(raised("no", "DELTA_CONCURRENT_APPEND", "2D521")))
    text = "Table `t` does not support REPLACE TABLE AS SELECT."
    assert "Delta" in str(way_out(raised(text, "UNSUPPORTED_FEATURE.TABLE_OPERATION", "0A000")))
    assert way_out(raised("no", "UNRESOLVED_COLUMN", "42703")) is None


def test_the_driver_writes_no_values_to_stderr(spark: Spark, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StatementError):
        spark.rows("SELECT CAST(x AS INT) FROM (SELECT 'ann@example.com' AS x) AS t")
    assert "ann@" not in "".join(capfd.readouterr())


# ------------------------------------------------------------------------------------------------ what is tried again


def test_a_statement_that_delta_undid_is_tried_again_and_then_told(spark: Spark) -> None:
    tried = []

    def work(session: Any) -> str:
        tried.append(session)
        if len(tried) < 3:
            raise raised("a concurrent update", "DELTA_CONCURRENT_APPEND", "2D521")
        return "done"

    assert spark._run(work) == "done"
    assert len(tried) == 3

    def never(session: Any) -> None:
        raise raised("a concurrent update", "DELTA_CONCURRENT_APPEND", "2D521")

    with pytest.raises(StatementError) as caught:
        spark._run(never)
    assert "another writer" in str(caught.value.hint)


def test_a_session_that_the_server_forgot_is_made_anew(spark: Spark) -> None:
    sessions = []

    def work(session: Any) -> int:
        sessions.append(session)
        if len(sessions) == 1:
            raise raised("gone", "INVALID_HANDLE.SESSION_CLOSED", "HY000")
        return len(session.sql("SELECT 1 AS a").collect())

    assert spark._run(work) == 1
    assert sessions[0] is not sessions[1]


def test_a_refused_statement_is_not_tried_again(spark: Spark) -> None:
    tried = []

    def work(session: Any) -> None:
        tried.append(1)
        raise raised("no", "UNRESOLVED_COLUMN", "42703")

    with pytest.raises(StatementError):
        spark._run(work)
    assert len(tried) == 1


def test_a_statement_that_takes_too_long_is_stopped(engines: Engines, tmp_path: Path) -> None:
    with engines.fresh("spark", tmp_path) as profile:
        warehouse = connected(profile, tmp_path, statement_timeout=1)
        endless = "SELECT COUNT(*) AS n FROM RANGE(0, 100000000) AS a CROSS JOIN RANGE(0, 10000) AS b WHERE a.id % 7 = b.id % 5"
        started = time.monotonic()
        with pytest.raises(StatementError) as caught:
            warehouse.rows(endless)
        assert time.monotonic() - started < 8
        assert "statement_timeout" in str(caught.value.hint)
        assert warehouse.rows("SELECT 1 AS a") == [(1,)]
        warehouse.close()


class Proxy:
    """A port before the server's; once it is cut it stays silent, until it is healed."""

    def __init__(self, target: int) -> None:
        self.marker: bytes | None = None  # what the client sends when it is to be cut
        self.times = -1  # how often
        self.cuts = 0
        self._target, self._pairs, self._down = target, list[socket.socket](), False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                if self._down:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._target))
                self._pairs += [client, server]
                for ends in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, outward: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if outward and self.marker is not None and self.marker in data and self.times != 0:
                    self.times -= 1
                    self._cut(stays=self.times < 0)
                    return
                sink.sendall(data)

    def _cut(self, *, stays: bool) -> None:
        self.cuts += 1
        self._down = stays
        for end in self._pairs:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._pairs.clear()

    def heal(self) -> None:
        self.marker, self._down = None, False

    def close(self) -> None:
        self._server.close()
        self._cut(stays=True)


@pytest.fixture
def proxy(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setitem(spark_session._RETRY, "max_retries", 2)  # ten seconds are long here
    found = Proxy(int(engines.address("spark").rpartition(":")[2]))
    yield found
    found.close()


def through(profile: dict[str, Any], proxy: Proxy) -> dict[str, Any]:
    return {**profile, "remote": re.sub(r":\d+/", f":{proxy.port}/", profile["remote"])}


def test_a_connection_that_breaks_once_is_made_again_by_itself(engines: Engines, tmp_path: Path, proxy: Proxy) -> None:
    with engines.fresh("spark", tmp_path) as profile:
        warehouse = connected(through(profile, proxy), tmp_path)
        warehouse.ensure_schemas()
        warehouse.make_table("cdp.seventeen", "SELECT 17 AS n")
        proxy.marker, proxy.times = b"`seventeen`", 1
        assert warehouse.columns("cdp.seventeen") == (Column("n", "int", "int"),)
        assert proxy.cuts == 1
        warehouse.close()


def test_a_connection_lost_between_two_changes_leaves_the_first_and_running_both_again_is_right(
    engines: Engines, tmp_path: Path, proxy: Proxy
) -> None:
    with engines.fresh("spark", tmp_path) as profile:
        warehouse = connected(through(profile, proxy), tmp_path)
        warehouse.ensure_schemas()
        warehouse.make_table("cdp.ledger", "SELECT 'a' AS row_key, 1 AS version UNION ALL SELECT 'b', 1")
        warehouse.make_table("cdp.stage", "SELECT 'a' AS row_key, 2 AS version")

        def fold() -> None:
            with warehouse.transaction():
                warehouse.execute("DELETE FROM cdp.ledger WHERE row_key IN (SELECT s.row_key FROM cdp.stage AS s)")
                warehouse.execute("INSERT INTO cdp.ledger SELECT s.row_key, s.version FROM cdp.stage AS s")

        proxy.marker = b"INSERT INTO cdp.ledger"
        with pytest.raises(WarehouseError) as caught:
            fold()
        assert (caught.value.code, caught.value.exit_code) == ("CDP302", 4)
        assert not isinstance(caught.value, StatementError)
        proxy.heal()
        assert warehouse.rows("SELECT * FROM cdp.ledger") == [("b", 1)]
        fold()
        assert sorted(warehouse.rows("SELECT * FROM cdp.ledger")) == [("a", 2), ("b", 1)]
        warehouse.close()


def test_a_build_that_loses_the_warehouse_leaves_the_old_tables_and_the_next_one_is_right(
    engines: Engines, tmp_path: Path, proxy: Proxy
) -> None:
    from cdp.flow import build
    from tests.meaning.building import settings_of

    world = worlds()["leap_year"]
    with engine_for(engines, "spark", tmp_path) as engine:
        write_project(tmp_path, world.files(True), engine.profile)
        fill(engine, world.tables)
        freeze(tmp_path, world.as_of)
        run_build(tmp_path, world.as_of)
        names = engine.warehouse.tables("cdp")
        before = {name: sorted(engine.warehouse.rows(f"SELECT * FROM cdp.{name}"), key=str) for name in names}
        write_project(tmp_path, world.files(True), through(dict(engine.profile), proxy))
        proxy.marker = b"TABLE `cdp`.`person`"
        result = build(settings_of(tmp_path, world.as_of))
        assert proxy.cuts == 1
        assert result.exit_code == 4
        after = {name: sorted(engine.warehouse.rows(f"SELECT * FROM cdp.{name}"), key=str) for name in names}
        assert after == before
        proxy.heal()
        run_build(tmp_path, world.as_of)
        assert set(engine.warehouse.tables("cdp")) == set(names), "what the lost build left behind is gone"


def test_a_swap_that_died_half_way_can_be_run_again(spark: Spark) -> None:
    for name in ("a", "b"):
        spark.make_table(f"cdp.{name}", "SELECT 'old' AS x")
        spark.make_table(f"cdp.{name}__new", f"SELECT '{name}' AS y")
    spark._replace("TABLE", "cdp.a", "SELECT * FROM cdp.a__new")  # as far as it came
    spark.swap({"cdp.a__new": "cdp.a", "cdp.b__new": "cdp.b"})
    assert spark.tables("cdp") == ("a", "b")
    assert [spark.rows(f"SELECT y FROM cdp.{name}") for name in ("a", "b")] == [[("a",)], [("b",)]]


# ------------------------------------------------------------------------------------------------ Delta's limits

CHANGES = [
    "DELETE FROM cdp.t WHERE k IN (SELECT s.k FROM cdp.s AS s)",
    "DELETE FROM cdp.t WHERE NOT done AND k IN (SELECT s.k FROM cdp.s AS s WHERE s.ok)",
    "DELETE FROM cdp.t WHERE kind <> 'x' AND k NOT IN (SELECT s.k FROM cdp.s AS s WHERE s.k IS NOT NULL)",
    "DELETE FROM cdp.t WHERE k NOT IN (SELECT s.k FROM cdp.s AS s)",
    "DELETE FROM cdp.t WHERE EXISTS (SELECT 1 FROM cdp.s AS s JOIN cdp.s AS o ON o.k = s.k WHERE s.k = t.k AND s.n <> t.n)",
    "DELETE FROM cdp.t WHERE n < (SELECT MAX(s.n) FROM cdp.s AS s)",
    "DELETE FROM cdp.t WHERE kind = 'x' OR k IN (SELECT s.k FROM cdp.s AS s WHERE NOT EXISTS (SELECT 1 FROM cdp.s AS o WHERE o.n > s.n))",
    "DELETE FROM cdp.t WHERE n = 3",
    "UPDATE cdp.t SET done = TRUE WHERE k IN (SELECT s.k FROM cdp.s AS s)",
    "UPDATE cdp.t SET done = TRUE, n = n + 1 WHERE NOT EXISTS (SELECT 1 FROM cdp.s AS s WHERE s.k = t.k)",
    "UPDATE cdp.t SET n = (SELECT COUNT(*) FROM cdp.s AS s) WHERE kind = 'x'",
    "UPDATE cdp.t SET k = m.kind FROM cdp.s AS m WHERE m.k = t.k AND m.n = 7",
]
ROWS = (
    "SELECT 'a' AS k, 1 AS n, 'x' AS kind, FALSE AS done UNION ALL SELECT 'a', 1, 'x', FALSE UNION ALL SELECT 'b', 2, 'y', TRUE"
    " UNION ALL SELECT NULL, 3, 'y', FALSE UNION ALL SELECT 'c', NULL, 'x', FALSE UNION ALL SELECT 'd', 9, NULL, NULL"
)
OTHERS = "SELECT 'a' AS k, 7 AS n, TRUE AS ok, 'aa' AS kind UNION ALL SELECT 'd', 8, FALSE, 'dd' UNION ALL SELECT NULL, 5, TRUE, 'nn'"


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_delta_does_not_take_as_it_is_changes_the_same_rows(
    change: str, spark: Spark, duckdb: DuckDB
) -> None:
    found = []
    for warehouse, dialect in ((spark, "spark"), (duckdb, "duckdb")):
        for name, rows in (("t", ROWS), ("s", OTHERS)):
            warehouse.make_table(f"cdp.{name}", rows)
        warehouse.execute(parse_one(change, dialect="duckdb").sql(dialect=dialect))
        found.append(sorted(warehouse.rows("SELECT k, n, kind, done FROM cdp.t"), key=str))
    assert found[0] == found[1]


@pytest.mark.parametrize("change", CHANGES)
def test_no_delete_or_update_reaches_delta_with_a_subquery(change: str) -> None:
    """Open Delta Lake refuses them: github.com/delta-io/delta/issues/826; Databricks those within another one:
    learn.microsoft.com/azure/databricks/sql/language-manual/delta-delete-from."""
    columns = tuple(Column(name, "text", "string") for name in ("k", "n", "kind", "done"))
    sent = parse_one(
        fitted(parse_one(change, dialect="duckdb").sql(dialect="spark"), lambda _: columns, "delta"), dialect="spark"
    )
    if isinstance(sent, exp.Merge):
        assert not any(part.find(exp.Select) for part in (sent.args["on"], sent.args["whens"]))
    else:
        assert not sent.find(exp.Select)
        assert not sent.args.get("from_")


def test_an_insert_names_every_column_in_its_place(spark: Spark) -> None:
    spark.execute("CREATE TABLE IF NOT EXISTS cdp.t (k STRING PRIMARY KEY, n BIGINT, at TIMESTAMP_NTZ)")
    spark.execute("INSERT INTO cdp.t (n, k) SELECT 1, 'a'")
    spark.execute("INSERT INTO cdp.t (at, k) VALUES (CAST('2026-01-01' AS TIMESTAMP_NTZ), 'b')")
    rows = sorted(spark.rows("SELECT k, n, CAST(at AS STRING) AS at FROM cdp.t"))
    assert [row[:2] for row in rows] == [("a", 1), ("b", None)]
    assert str(rows[1][2]).startswith("2026-01-01 00:00:00")
    with pytest.raises(StatementError):
        spark.execute("INSERT INTO cdp.t (nope) SELECT 1")


def test_our_tables_are_delta_and_map_names_only_where_they_must(spark: Spark) -> None:
    created = fitted("CREATE TABLE cdp.t (k STRING PRIMARY KEY, doc JSON)", lambda _: None, "delta")
    assert created == "CREATE TABLE cdp.t (k STRING, doc STRING) USING DELTA"
    assert "columnMapping" not in spark._creation("TABLE", "cdp.t", "SELECT 1 AS a")
    odd = spark._creation("TABLE", "cdp.t", "SELECT 1 AS `a b`", odd=True)
    assert "TBLPROPERTIES ('delta.columnMapping.mode' = 'name')" in odd
    assert spark.make_table("cdp.t", "SELECT 1 AS `a b`") == 1
    assert spark.columns("cdp.t") == (Column("a b", "int", "int"),)


def test_a_refill_takes_the_place_of_all_rows(spark: Spark) -> None:
    spark.make_table("cdp.t", "SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, 'y'")
    assert spark.refill("cdp.t", "SELECT 3 AS a, 'z' AS b") == 1
    assert spark.rows("SELECT * FROM cdp.t") == [(3, "z")]
    assert spark.refill("cdp.t", "SELECT a, b FROM cdp.t WHERE a > 5") == 0
    assert spark.rows("SELECT * FROM cdp.t") == []


def test_a_long_file_comes_in_chunks_and_a_broken_end_leaves_the_old_table(spark: Spark, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    rows = [json.dumps({"n": n, "t": f"row {n}"}) for n in range(45_000)]
    path.write_text("\n".join(rows) + "\n")
    assert spark.load_json_lines("cdp.t", path, {"n": "int", "t": "text"}) == 45_000
    assert spark.rows("SELECT COUNT(DISTINCT n) AS a, MAX(t) AS b, SUM(n) AS c FROM cdp.t") == [
        (45_000, "row 9999", 45_000 * 44_999 // 2)
    ]
    path.write_text("\n".join(rows) + '\n{"n": 1')
    with pytest.raises(StatementError) as caught:
        spark.load_json_lines("cdp.t", path, {"n": "int", "t": "text"})
    assert caught.value.code == "CDP306"
    assert "line 45001" in caught.value.message
    assert spark.rows("SELECT COUNT(*) AS n FROM cdp.t") == [(45_000,)]
    assert spark.tables("cdp") == ("t",)


# ------------------------------------------------------------------------------------------------ rights


def test_databricks_grants_are_the_least_and_open_spark_has_none(tmp_path: Path) -> None:
    keys = {"type": "databricks", "host": "h", "cluster_id": "c", "token": "t", "catalog": "main"}
    warehouse = DatabricksSettings.model_validate(keys).connect(tmp_path)
    assert warehouse.grants("the `app`", ["raw.orders", 'lake.raw."Odd.Name"']) == (
        "GRANT USE CATALOG ON CATALOG `main` TO `the ``app```",
        "GRANT USE CATALOG ON CATALOG `lake` TO `the ``app```",
        "GRANT USE SCHEMA ON SCHEMA `main`.`raw` TO `the ``app```",
        "GRANT USE SCHEMA ON SCHEMA `lake`.`raw` TO `the ``app```",
        "GRANT SELECT ON TABLE `main`.`raw`.`orders` TO `the ``app```",
        "GRANT SELECT ON TABLE `lake`.`raw`.`Odd.Name` TO `the ``app```",
        "GRANT USE SCHEMA, CREATE TABLE, SELECT, MODIFY ON SCHEMA `main`.`cdp` TO `the ``app```",
        "GRANT USE SCHEMA, CREATE TABLE, SELECT, MODIFY ON SCHEMA `main`.`cdp_state` TO `the ``app```",
    )
    assert settings(host="h").grants("app", ["raw.orders"]) == ()
