"""The engines that do not run here: every function's statement generates, reads back and names only what they have."""

from __future__ import annotations

import pytest
from sqlglot import exp, parse, parse_one
from sqlglot.optimizer.qualify import qualify

from cdp.compile.render import Renderer
from cdp.errors import CompileError
from cdp.warehouse.functions import FACTS
from tests.conformance.cases import AGGREGATES, SCALARS

_TYPES = {"text": "TEXT", "int": "BIGINT", "decimal": "DECIMAL(38, 9)", "float": "DOUBLE", "bool": "BOOLEAN"}
_TYPES |= {"date": "DATE", "timestamp": "TIMESTAMP", "timestamptz": "TIMESTAMPTZ"}
_ROW_TYPES = {"value": "TEXT", "at": "TIMESTAMP", "key": "TEXT", "amount": "DECIMAL(38, 9)", "use": "BOOLEAN"}

# functions that sqlglot has no class for; each was looked up in the engine's own reference
REVIEWED = {
    "duckdb": {"EPOCH_US", "TO_MICROSECONDS", "JSON_VALID", "JSON_ARRAY_LENGTH", "TO_JSON", "ROW"},
    "postgres": {"CDP_JSON_VALID", "JSON_TYPEOF", "CONVERT_TO", "JSON_ARRAY_LENGTH", "TO_JSON"},
    "snowflake": {"TRY_TO_TIMESTAMP_TZ", "TRY_TO_TIMESTAMP_NTZ", "GET", "TO_VARIANT", "AS_ARRAY", "TO_JSON"},
    "bigquery": {"PARSE_JSON"},
    "spark": {"CONV", "TIMESTAMP_MICROS", "FORMAT_NUMBER", "JSON_ARRAY_LENGTH", "TRY_ELEMENT_AT"},
    "redshift": {
        "ARRAY",
        "ARRAY_CONTAINS",
        "CAN_JSON_PARSE",
        "IS_VALID_JSON_ARRAY",
        "JSON_ARRAY_LENGTH",
        "JSON_EXTRACT_PATH_TEXT",
        "JSON_PARSE",
        "JSON_SERIALIZE",
        "CHR",
        "REPLACE",
        "REGEXP_INSTR",
        "REGEXP_REPLACE",
        "STRTOL",
        "SUBSTRING",
        "TO_CHAR",
        "TO_HEX",
        "GREATEST",
        "LEAST",
        "TRANSLATE",
    },
}
_STATEMENTS = [
    *((case.expression, {name: _TYPES[t] for name, t in zip("abcd", case.types, strict=False)}) for case in SCALARS),
    *((text, _ROW_TYPES) for text, _ in AGGREGATES),
]


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize(("expression", "columns"), _STATEMENTS, ids=[text for text, _ in _STATEMENTS])
def test_a_function_reads_back_and_names_only_what_the_engine_has(
    name: str, expression: str, columns: dict[str, str]
) -> None:
    facts = FACTS[name]
    sql = Renderer(facts).sql(parse_one(f"SELECT {expression} AS answer FROM rows", dialect="duckdb"))
    [tree] = parse(sql, dialect=facts.dialect)
    assert tree is not None
    own = {node.name.upper() for node in tree.find_all(exp.Anonymous)}
    assert own <= REVIEWED[name], f"{own - REVIEWED[name]} in {sql}"
    assert "CDP_" not in sql.upper().replace("CDP_JSON_VALID", "").replace("CDP_V", ""), sql
    qualify(tree.copy(), schema={"rows": columns}, dialect=facts.dialect, validate_qualify_columns=True)


def test_every_engine_has_every_function() -> None:
    readers = {"cdp_read_json"}
    names = set(FACTS["duckdb"].functions) - readers
    for name, facts in FACTS.items():
        assert set(facts.functions) == names | (readers if facts.reads_files else set()), name
    tried = {node.name for text, _ in _STATEMENTS for node in parse_one(text, dialect="duckdb").find_all(exp.Anonymous)}
    assert names == {name for name in tried if name.startswith("cdp_")}


@pytest.mark.parametrize("name", FACTS)
def test_a_value_with_quotes_stays_one_literal(name: str) -> None:
    hostile = "x' || (SELECT 1) || '\\' --\n\"`"
    call = exp.Anonymous(this="cdp_contains", expressions=[exp.column("a"), exp.Literal.string(hostile)])
    sql = Renderer(FACTS[name]).sql(exp.select(exp.alias_(call, "x")).from_("rows"))
    literals = [node.this for node in parse_one(sql, dialect=FACTS[name].dialect).find_all(exp.Literal)]
    assert hostile in literals


@pytest.mark.parametrize(
    ("engine", "pattern", "part"),
    [
        ("postgres", r"\pL", r"\pL"),
        ("postgres", r"[\D]", r"\D inside"),
        ("postgres", "(?m)^a", "(?m)"),
        ("postgres", "a(?=b)", "(?="),
        ("snowflake", r"\p{Greek}", r"\p{Greek}"),
        ("spark", "(?-i:a)", "(?-i:"),
    ],
)
def test_a_pattern_that_an_engine_cannot_say_is_refused(engine: str, pattern: str, part: str) -> None:
    call = exp.Anonymous(this="cdp_matches", expressions=[exp.column("a"), exp.Literal.string(pattern)])
    with pytest.raises(CompileError) as refused:
        Renderer(FACTS[engine]).sql(exp.select(call))
    assert refused.value.code == "CDP313"
    assert part in refused.value.message


@pytest.mark.parametrize("format_", ["%d/%m", "%Y-%m-%d %Z", "%Y-%Y-%m", "%H:%M"])
def test_a_format_without_meaning_is_refused(format_: str) -> None:
    call = exp.Anonymous(this="cdp_try_date_format", expressions=[exp.column("a"), exp.Literal.string(format_)])
    with pytest.raises(CompileError) as refused:
        Renderer(FACTS["duckdb"]).sql(exp.select(call))
    assert refused.value.code == "CDP312"
