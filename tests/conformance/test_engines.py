"""Every canonical function gives the answer worked out by hand, on every engine that runs here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlglot import exp, parse_one

from cdp.compile.render import Renderer
from cdp.warehouse.base import Warehouse
from cdp.warehouse.duckdb import DuckDB
from cdp.warehouse.functions import FACTS
from tests.conformance.cases import AGGREGATES, ROWS, SCALARS, Case
from tests.engines import PARAMS, Engines, connected

_TYPES = {"text": "TEXT", "int": "BIGINT", "decimal": "DECIMAL(38, 9)", "float": "DOUBLE", "bool": "BOOLEAN"}
_TYPES |= {"date": "DATE", "timestamp": "TIMESTAMP", "timestamptz": "TIMESTAMPTZ"}


@pytest.fixture(scope="module", params=PARAMS)
def engine(
    request: pytest.FixtureRequest, engines: Engines, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Warehouse]:
    folder = tmp_path_factory.mktemp(request.param)
    with engines.fresh(request.param, folder) as profile:
        warehouse = connected(profile, folder)
        warehouse.ensure_schemas()
        yield warehouse
        warehouse.close()


def table(engine: Warehouse, types: dict[str, str], rows: list[tuple[Any, ...]]) -> str:
    """A table of those rows, numbered in the column `id`: columns, lest the engine folds constants."""
    selects = []
    for number, row in enumerate(rows):
        cells = [
            exp.alias_(exp.cast(exp.convert(plain(value)), type_), name)
            for (name, type_), value in zip(types.items(), row, strict=True)
        ]
        selects.append(exp.select(exp.alias_(exp.convert(number), "id"), *cells).sql(dialect=engine.facts.dialect))
    engine.make_table(f"{engine.schema}.rows", " UNION ALL ".join(selects))
    return f"{engine.schema}.rows"


def plain(value: object) -> object:
    """Dates as text: a year below 1000 loses its zeros on sqlglot's way."""
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def same(answer: object, expected: object) -> bool:
    if isinstance(expected, bool) or isinstance(answer, bool):
        return answer is expected
    if isinstance(expected, float):
        return answer is not None and float(answer) == expected  # type: ignore[arg-type]
    return answer == expected


@pytest.mark.parametrize("case", SCALARS, ids=str)
def test_a_function_gives_the_same_answers_on_every_engine(engine: Warehouse, case: Case) -> None:
    names = dict(zip("abcd", (_TYPES[type_] for type_ in case.types), strict=False))
    nothing = (None,) * len(case.types)
    rows = [row[:-1] for row in case.rows] + ([nothing] if case.nulls else [])
    expected = [row[-1] for row in case.rows] + ([None] if case.nulls else [])
    source = table(engine, names, rows)
    tree = parse_one(f"SELECT id, {case.expression} AS answer FROM {source} ORDER BY id", dialect="duckdb")
    answers = [row[1] for row in engine.rows(Renderer(FACTS[engine.facts.name]).sql(tree))]
    wrong = [
        f"{row!r:.80} gave {answer!r}, not {right!r}"
        for row, answer, right in zip(rows, answers, expected, strict=True)
        if not same(answer, right)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("expression", "expected"), AGGREGATES, ids=[text for text, _ in AGGREGATES])
def test_an_aggregate_gives_the_same_answer_on_every_engine_in_any_order(
    engine: Warehouse, expression: str, expected: object
) -> None:
    types = {"value": "TEXT", "at": "TIMESTAMP", "key": "TEXT", "amount": "DECIMAL(38, 9)", "use": "BOOLEAN"}
    for rows in (ROWS, ROWS[::-1], ROWS[3:] + ROWS[:3]):
        source = table(engine, types, list(rows))
        tree = parse_one(f"SELECT {expression} AS answer FROM {source}", dialect="duckdb")
        [(answer,)] = engine.rows(Renderer(FACTS[engine.facts.name]).sql(tree))
        assert same(answer, expected), f"{answer!r} is not {expected!r}"


def test_a_json_key_cannot_break_out_of_its_place(engine: Warehouse, tmp_path: Path) -> None:
    for key in ("a'; DROP TABLE x; --", "}", '"', "a]", "$.b", "{b}", "b,c", "\\", "\\'", "%s", "{0}", "/b", "~1"):
        document = exp.convert(f'{{"b": 1, {exp_json(key)}: "found"}}')
        call = exp.Anonymous(this="cdp_json_text", expressions=[document, exp.convert(key)])
        [(answer,)] = engine.rows(Renderer(FACTS[engine.facts.name]).sql(exp.select(exp.alias_(call, "x"))))
        assert answer == "found", key


def exp_json(text: str) -> str:
    import json

    return json.dumps(text)


def test_json_lines_are_read_as_a_source(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1, "b": "x"}\n')
    warehouse = DuckDB(":memory:")
    call = exp.Anonymous(this="cdp_read_json", expressions=[exp.convert(str(tmp_path / "*.jsonl"))])
    sql = Renderer(FACTS["duckdb"]).sql(exp.select("a", "b").from_(exp.Table(this=call)))
    assert warehouse.rows(sql) == [(1, "x")]
