"""SQL and Jinja where a value is meant: an expression that could do more than compute is refused, a text stays a text."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlglot import exp, parse

from cdp.compile.compiler import Compiler
from cdp.compile.lower import lower_project
from cdp.compile.steps import Names
from cdp.errors import CdpError
from cdp.flow.artifacts import statements
from cdp.project import load
from cdp.warehouse.functions import FACTS
from tests.hostile.shop import Spoiled

SQL = [
    "1; drop table x", "1; select 2", "ltv > 1; --", "(select 1) = 1", "exists (select 1)", "1 in (select 1)",
    "ltv > (select max(ltv) from customer)", "drop table x", "delete from customer", "insert into x values (1)", "update x set a = 1",
    "create table x (a int)", "attach 'x.db'", "copy customer to 'x.csv'", "pragma database_list", "call pragma_version()", "set x = 1",
    "install httpfs", "load httpfs", "export database 'x'", "vacuum", "select 1", "values (1)", "with x as (select 1) select 1",
    "read_csv('/etc/passwd') is null", "read_text('/etc/passwd') = ''", "glob('/*') is null", "read_parquet('x') is null",
    "getenv('HOME') = ''", "current_setting('x') = ''", "query('select 1') is null", "query_table('x') is null",
    "pg_read_file('/etc/passwd') = ''", "pg_sleep(10) is null", "lo_import('x') is null", "dblink('x', 'y') is null",
    "system$typeof(1) = ''", "sys_context('x') = ''", "reflect('java.lang.System', 'exit') is null", "java_method('x', 'y') is null",
    "now() > as_of", "current_timestamp > as_of", "current_date > '2026-01-01'", "random() > 0.5", "uuid() = ''", "nextval('x') = 1",
    "count(*) > 1", "sum(ltv) > 1", "row_number() over () = 1", "ltv > 1 limit 1", "ltv > 1 order by 1", "ltv > 1 union select true",
    "case when (select 1) = 1 then true end", "coalesce((select true), false)", "ltv > any (select 1)", "(table customer) is null",
    "* is null", "customer.* is null", "columns('x') is null", "list_transform([1], lambda x: x) is null", "$1 = 1", "? = 1", ":x = 1",
    "@x = 1", "ltv::regclass is null", "x'00' is null", "$$a$$ = ''", "e'\\x' = ''", "U&'x' = ''", "ltv > 1 /* ", "'", '"', "`ltv` > 1", ")",
    "ltv > 1)", "(ltv > 1", "", " ", "--", "/* */", ";", "\\", "ltv > 1\n; drop table x", "ltv > 1 \0", "é(", "1 = 1 " + "or 1 = 1 " * 3_000,
    "(" * 500 + "1 = 1" + ")" * 500, "not " * 1_000 + "true", "'a' || " * 2_000 + "'b' = ''", "{{ ltv }} > 1", "{% if true %}", "${ltv} > 1",
]  # fmt: skip
JINJA = [
    "{{ ''.__class__ }}", "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ self }}", "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}", "{{ lipsum.__globals__ }}", "{{ config }}", "{{ request }}",
    "{{ var.__globals__ }}", "{{ var.__code__ }}", "{{ env('HOME') }}", "{{ target.__class__ }}", "{{ var('nix') }}", "{{ nix }}",
    "{{ nix.a.b }}", "{{ 'a' * 10000000000 }}", "{{ [1] * 10000000000 }}", "{{ 9 ** 9 ** 9 }}", "{{ range(10000000000) | list }}",
    "{{ 1 / 0 }}", "{{ 1 + 'a' }}", "{{ [].pop() }}", "{{ {}['a'] }}", "{% for x in range(1000000000) %}x{% endfor %}", "{% set x = 1 %}",
    "{% include '/etc/passwd' %}", "{% import 'os' as os %}", "{% extends 'x' %}", "{{ '{{ 1 }}' }", "{{ }}", "{{", "{{ 1 ", "{{ a | nix }}",
    "{{ '%s' | format(nix) }}", "{{ '{0.__class__}'.format('') }}", "{{ ('a' * 1000) * 1000 }}", "{{ 'a' | center(1000000000) }}",
    "{{ ['a'] | join('b' * 1000000000) }}", "{{ () | attr('__class__') }}", "{{ (1, 2) }}", "{{ {'a': 1} }}", "{{ none }}x",
    "{{ 'x'.join(['y'] * 100000) }}", "{{ dict(a=1).__class__ }}", "{{ namespace() }}", "{{ joiner() }}",
    "{{ 'a'.encode().__class__ }}", "{{ '%0999999999d' % 1 }}", "{{ '{:>999999999}'.format(1) }}", "{{ 'a'.ljust(999999999) }}",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("where", ["sql", "formula", "where", "ids", "column", "normalize"])
def test_sql_that_does_more_than_compute_is_refused_with_its_place(where: str, shop: Spoiled) -> None:
    file, old, new = {
        "sql": ("audiences.yml", "sql: \"ltv >= {{ var('vip_from') }} and 2 * biggest_order < ltv\"", "sql: {}"),
        "formula": ("traits.yml", "\"ltv >= {{ var('vip_from') }} and orders_90d >= 2\"", "{}, type: bool"),
        "where": ("sources.yml", 'where: "deleted_at is null"', "where: {}"),
        "ids": ("sources.yml", "\"traits ->> '$.email'\"", "{}"),
        "column": ("sources.yml", "sql: \"first_name || ' ' || last_name\"", "sql: {}"),
        "normalize": ("entities/customer.yml", "normalize: email", "normalize: {}"),
    }[where]
    for payload in SQL:
        line = shop.replace(file, old, new.format(json.dumps(payload)))
        errors = shop.errors()
        assert any(p.mark and (p.mark.file, p.mark.line) == (file, line) for p in errors), (
            payload[:60],
            [str(p) for p in errors],
        )
        shop.restore(file)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["title", "sql", "constant", "name of a table"])
def test_jinja_that_reaches_out_or_grows_is_refused_with_its_place(where: str, shop: Spoiled) -> None:
    file, old, new = {
        "title": ("audiences.yml", "title: Regulars", "title: {}"),
        "sql": ("audiences.yml", "sql: \"ltv >= {{ var('vip_from') }} and 2 * biggest_order < ltv\"", "sql: {}"),
        "constant": ("syncs.yml", "{constant: cdp}", "{{constant: {}}}"),
        "name of a table": ("sources.yml", "file: data/plans.csv", "table: {}"),
    }[where]
    for payload in JINJA:
        line = shop.replace(file, old, new.format(json.dumps(payload)))
        errors = shop.errors()
        assert any(p.mark and (p.mark.file, p.mark.line) == (file, line) for p in errors), (
            payload[:60],
            [str(p) for p in errors],
        )
        assert not any(len(problem.message) > 2_000 for problem in errors), payload
        shop.restore(file)


TABLES = [
    "plans; drop table x", "(select 1)", "read_csv('/etc/passwd')", "'/etc/passwd'", '"/etc/passwd.csv"', '"../../x.parquet"', "plans p", "a.b.c.d.e",
    "plans, customer", "plans join x", "plans -- x", "plans /* x */", "values (1)", "", " ", ".", "a..b", "unnest([1])", "generate_series(1, 9)",
    "plans where 1", "lateral x", "$x", "?", "plans\0", "http://x/y.csv", "'s3://x/y.parquet'", '"s3://x/y.parquet"',
]  # fmt: skip
FILES = [
    "/etc/passwd.csv", "../x.csv", "data/../../x.csv", "data/x", "data/x.csv; drop", "data/\0.csv", "data/a\nb.csv", "~/x.csv.exe", "", ".csv.", "data\\..\\..\\x.txt",
]  # fmt: skip


@pytest.mark.parametrize("payload", TABLES)
@pytest.mark.parametrize("where", ["source", "link"])
def test_what_is_no_plain_table_name_is_refused(where: str, payload: str, shop: Spoiled) -> None:
    table = json.dumps(payload)
    if where == "source":
        line = shop.replace("sources.yml", "file: data/plans.csv", f"table: {table}")
        file = "sources.yml"
    else:
        line = 1 + shop.replace(
            "entities/customer.yml", "    identity:\n", f"    identity:\n      always_link: {{table: {table}}}\n"
        )
        file = "entities/customer.yml"
    assert any(p.mark and (p.mark.file, p.mark.line) == (file, line) for p in shop.errors())


@pytest.mark.parametrize("payload", FILES)
@pytest.mark.parametrize("key", ["file", "query"])
def test_a_file_outside_or_of_no_kind_is_refused(key: str, payload: str, shop: Spoiled) -> None:
    line = shop.replace("sources.yml", "file: data/plans.csv", f"{key}: {json.dumps(payload)}")
    assert any(p.mark and (p.mark.file, p.mark.line) == ("sources.yml", line) for p in shop.errors())


QUERIES = [
    "drop table x", "select 1; select 2", "select * from read_csv('/etc/passwd')", "select * from raw.plans", "select * from '/etc/passwd'",
    "select * from nowhere", "insert into plans values (1)", "copy plans to 'x'", "attach 'x'", "select now() as a", "select random() as a",
    "select code as a from plans; drop table x", "with x as (delete from plans returning *) select * from x", "select", "", "-- nothing",
    "select getenv('HOME') as a", "select * from plans for update", "select code as a into x from plans", "pragma x", "\0",
]  # fmt: skip


@pytest.mark.parametrize("payload", QUERIES)
def test_a_query_that_does_more_than_read_sources_is_refused(payload: str, shop: Spoiled) -> None:
    shop.write("models/q.sql", payload)
    line = (
        shop.replace("sources.yml", "  plans:\n    file: data/plans.csv\n", "  plans:\n    query: models/q.sql\n") + 1
    )
    shop.replace("sources.lock.yml", "  plans:\n    code: text\n    monthly_price: text\n    tier: text\n", "")
    assert any(p.mark and (p.mark.file, p.mark.line) == ("sources.yml", line) for p in shop.errors())


TEXTS = [
    "'; DROP TABLE customer; --", "\\'; DROP TABLE customer; --", "' OR '1'='1", '" OR ""="', "`; x", "$$; x $$", "\\", "\\\\'", "''", "%", "_", "{ {7*7} }",
    "${jndi:ldap://x}", "é\u0301😀\u202e", "a\nb\r\n\tc", "/* */ --", "E'\\x41'", "x" * 65_536, "NULL", "\x01\x02", "cdp_slot_0", "?", ":a", "$1", "@a",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("engine", FACTS)
def test_a_text_stays_one_literal_in_every_statement_of_every_engine(engine: str, tmp_path: Path) -> None:
    """As a value of a test, an event, a constant, a template, a block, a word for nothing, a prefix, a JSON key."""
    literals: set[str] = set()
    text = json.dumps(TEXTS, ensure_ascii=False)
    shop = Spoiled(tmp_path / "shop")
    shop.replace("audiences.yml", "country: [FR, BE, CH]", f"country: {text}")
    shop.replace("audiences.yml", "did: Order Completed ", f"did: {text} ")
    shop.replace("syncs.yml", "{constant: cdp}", f"{{constant: {json.dumps(TEXTS[0])}}}")
    shop.replace("syncs.yml", '"Bonjour ${first_name}"', json.dumps(TEXTS[1] + " ${first_name}"))
    shop.replace("entities/customer.yml", 'block: ["/^till', f'block: [{text[1:-1]}, "/^till')
    project = load(shop.folder)
    assert not project.reading.errors, project.reading.errors
    if not FACTS[engine].reads_files:
        for source in project.sources.values():
            object.__setattr__(source, "table", f"raw.{source.name}")
            object.__setattr__(source, "file", None)
    lowered = lower_project(project, project.reading, datetime(2026, 1, 10, 12, tzinfo=UTC), "cdp")
    assert not project.reading.errors, project.reading.errors
    plan = Compiler(lowered, FACTS[engine], Names("cdp", "cdp_state"), "r1").plan()
    for step in plan.steps:
        for statement in statements(step):
            trees = parse(statement.sql, dialect=FACTS[engine].dialect)
            assert len(trees) == 1 and not isinstance(trees[0], exp.Drop | exp.Command | None), statement.sql[:500]
            literals |= {node.this for node in trees[0].find_all(exp.Literal) if node.is_string}
    assert set(TEXTS) <= literals, [text for text in TEXTS if text not in literals]


def test_a_problem_is_a_cdp_error_with_a_printable_excerpt(shop: Spoiled) -> None:
    shop.replace("audiences.yml", "of: household", 'of: "\\u001b[31mhouse\\u202ehold\\u0007"')
    [problem] = shop.errors()
    assert issubclass(CdpError, Exception)
    assert problem.code == "CDP112"
    assert "\x1b" not in (problem.line or "")
