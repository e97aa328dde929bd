"""The functions on Spark itself, not a stand-in: with CDP_TEST_PYSPARK=1, or the path of a Python that has
`pyspark[connect]` 4, and a Java. Its tables are Parquet, since Delta Lake is no Python package: what is asked are SELECTs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlglot import parse_one

from cdp.compile.render import Renderer
from cdp.errors import StatementError
from cdp.warehouse.functions import FACTS
from cdp.warehouse.spark import Spark, SparkSettings
from tests.conformance.cases import AGGREGATES, ROWS, SCALARS, Case
from tests.conformance.test_engines import _TYPES, same, table
from tests.engines.spark import free_port

GIVEN = os.environ.get("CDP_TEST_PYSPARK", "")
pytestmark = [
    pytest.mark.spark_jvm,
    pytest.mark.skipif(
        not GIVEN, reason="set CDP_TEST_PYSPARK=1 (or a Python with pyspark[connect]) to ask a real Spark"
    ),
]


class _OnParquet(Spark):
    """Replaces a table by dropping it: Parquet tables know no better."""

    def make_table(self, table: str, select: str) -> int:
        self.drop(table)
        self._sent(f"CREATE TABLE {table} USING PARQUET AS {select}")
        return self._count(table)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    """A Spark Connect server of this machine."""
    python = sys.executable if GIVEN == "1" else GIVEN
    where = subprocess.run([python, "-c", "import pyspark; print(pyspark.__path__[0])"], capture_output=True, text=True)
    home = Path(where.stdout.strip() or "/nowhere")
    if not (home / "bin" / "spark-submit").is_file() or shutil.which("java") is None:
        pytest.skip(f"{python} has no pyspark with a Spark in it, or there is no Java")
    folder, port = tmp_path_factory.mktemp("real_spark"), free_port()
    confs = {
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.connect.grpc.binding.port": str(port),
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.warehouse.dir": str(folder / "tables"),
    }
    options = [part for key, value in confs.items() for part in ("--conf", f"{key}={value}")]
    server_class = ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [str(home / "bin" / "spark-submit"), *server_class, "--master", "local[2]", *options, "spark-internal"],
            stdout=log, stderr=subprocess.STDOUT, cwd=folder, env={**os.environ, "SPARK_HOME": str(home)},
        )  # fmt: skip
    try:
        _wait(port)
        given = SparkSettings.model_validate({"type": "spark", "remote": f"sc://127.0.0.1:{port}"}).connect(folder)
        warehouse = _OnParquet("cdp", "cdp_state", given._address)
        warehouse.ensure_schemas()
        yield warehouse
        warehouse.close()
    finally:
        server.terminate()
        server.wait(30)


def _wait(port: int) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("Spark did not start within 90 s")


@pytest.mark.parametrize("case", SCALARS, ids=str)
def test_a_function_gives_on_spark_itself_what_it_gives_elsewhere(real: Spark, case: Case) -> None:
    names = dict(zip("abcd", (_TYPES[type_] for type_ in case.types), strict=False))
    rows = [row[:-1] for row in case.rows] + ([(None,) * len(case.types)] if case.nulls else [])
    expected = [row[-1] for row in case.rows] + ([None] if case.nulls else [])
    source = table(real, names, rows)
    tree = parse_one(f"SELECT id, {case.expression} AS answer FROM {source} ORDER BY id", dialect="duckdb")
    answers = [row[1] for row in real.rows(Renderer(FACTS["spark"]).sql(tree))]
    wrong = [
        (row, answer, right)
        for row, answer, right in zip(rows, answers, expected, strict=True)
        if not same(answer, right)
    ]
    assert not wrong


@pytest.mark.parametrize(("expression", "expected"), AGGREGATES, ids=[text for text, _ in AGGREGATES])
def test_an_aggregate_gives_on_spark_itself_what_it_gives_elsewhere(
    real: Spark, expression: str, expected: object
) -> None:
    types = {"value": "TEXT", "at": "TIMESTAMP", "key": "TEXT", "amount": "DECIMAL(38, 9)", "use": "BOOLEAN"}
    source = table(real, types, list(ROWS))
    tree = parse_one(f"SELECT {expression} AS answer FROM {source}", dialect="duckdb")
    [(answer,)] = real.rows(Renderer(FACTS["spark"]).sql(tree))
    assert same(answer, expected), f"{answer!r} is not {expected!r}"


def test_errors_of_spark_itself_hold_names_and_no_values(real: Spark) -> None:
    with pytest.raises(StatementError) as caught:
        real.rows("SELECT CAST(x AS INT) FROM (SELECT 'ann@example.com' AS x) AS t")
    assert "CAST_INVALID_INPUT" in caught.value.message
    assert "ann@" not in str(caught.value)
    with pytest.raises(StatementError) as caught:
        real.rows("SELECT nope FROM (SELECT 'ann@example.com' AS x) AS t")
    assert "`nope`" in caught.value.message
    assert real.columns("cdp.nothing") is None
    assert real.columns("nowhere.nothing") is None
    assert real.tables("nowhere") == ()


def test_a_view_takes_the_name_of_a_table_on_spark_itself(real: Spark) -> None:
    name = f"cdp.t{uuid4().hex[:8]}"
    real.make_table(name, "SELECT 1 AS a")
    real.make_view(name, "SELECT 2 AS b")
    assert real.rows(f"SELECT b FROM {name}") == [(2,)]
    real.drop(name)
    assert real.columns(name) is None


def test_json_lines_come_into_spark_itself_as_they_are(real: Spark, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(
        '{"n": 9007199254740993, "d": "0.100000001", "t": "é\\n\\"", "at": "2026-03-01T10:00:00.123456+02:00"}\n'
    )
    from cdp.warehouse.spark_values import ROWS as CHUNK
    from cdp.warehouse.spark_values import cells, chunks

    columns = {"n": "int", "d": "decimal", "t": "text", "at": "timestamp"}
    [(count, document)] = chunks(path, columns)
    select = f"SELECT {cells(columns)} FROM {CHUNK}"
    found = real._run(
        lambda session: [tuple(map(str, row)) for row in session.sql(select, args={"document": document}).collect()]
    )
    assert count == 1
    assert found == [("9007199254740993", "0.100000001", 'é\n"', "2026-03-01 08:00:00.123456")]
