"""Every statement of identity resolution is SQL of every engine, and knows its columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlglot import exp, parse_one
from sqlglot.optimizer.qualify import qualify

from cdp.compile.identity import Attribute, Identifier, IdentitySpec, Link, golden, owner, step
from cdp.compile.plan import Statement
from cdp.compile.render import Renderer
from cdp.warehouse.functions import FACTS
from tests.compile.identity.people import AS_OF, customer, records

STATE = {
    "customer_ids": "entity_id id_type id_value first_seen_at last_seen_at row_count sources bridging anchor"
    " created_at created_run",
    "customer_changes": "run_id changed_at kind old_id new_id because",
}


def spec() -> IdentitySpec:
    """Everything at once: limits, two of a type in a row, a type that joins nobody, links, every normal form."""
    identifiers = (
        Identifier("user_id", 1),
        Identifier("email", 5, normalize="email", gmail_dots=True, gmail_plus=True, block=("/^qa/", "x@y.fr")),
        Identifier("phone", 5, normalize="phone", region="FR"),
        Identifier("card", None, normalize="digits"),
        Identifier("birth", 1, joins=False, normalize="lower"),
    )
    links = "SELECT l.left_type, l.left_value, l.right_type, l.right_value FROM raw.links AS l"
    crm = records("cdp.crm", ["user_id", "email", "email", "phone", "birth"])
    return customer(identifiers, crm, records("cdp.web", ["card", "birth"], 1), always=(Link(parse_one(links)),))


class Answers:
    """Counts that lead a script through all it can do: something is over a limit in every round, once."""

    def __init__(self) -> None:
        self.times: dict[str, int] = {}

    def to(self, statement: Statement) -> int:
        name = f"{statement.name} {statement.target.rsplit('_', 1)[-1][:1]}"
        self.times[name] = self.times.get(name, 0) + 1
        if statement.name == "contract":
            return 9 if self.times[name] % 11 else 0
        if statement.name in ("chains left", "shared identifiers"):
            return int(self.times[name] == 1)
        return 0 if statement.name == "guard max_changed" else 9


def statements(renderer: Renderer) -> Iterator[Statement]:
    made = step(spec(), renderer, "run'1", AS_OF)
    answers, script = Answers(), made.script()
    answer: int | None = None
    while True:
        try:
            statement = script.send(answer) if answer is not None else next(script)
        except StopIteration:
            break
        yield statement
        answer = answers.to(statement)
    yield from made.after_swap
    yield from made.views
    rows = spec().records[0]
    yield renderer.of_tree(owner(spec(), renderer, rows.relation, rows.slots), "owner", "table", "cdp.rows_crm")
    froms = (parse_one("SELECT r.entity_id, r.row_at, r.row_key, r.i1 AS value FROM cdp.rows_crm AS r"),)
    picks = ("first", "latest", "earliest", "most_frequent", "longest", "min", "max", "any", "all")
    attributes = [Attribute(f"a_{pick}", pick, "text", froms) for pick in picks]
    attributes.append(Attribute("b_any", "any", "bool", froms))
    yield from golden("customer", "cdp.customer_ids", ["user_id", "email"], attributes, renderer, "cdp.customer_base")


@pytest.mark.parametrize("engine", sorted(FACTS))
def test_every_statement_is_sql_of_the_engine_with_known_columns(engine: str) -> None:
    renderer = Renderer(FACTS[engine])
    known: dict[str, dict[str, dict[str, str]]] = {"cdp": {}, "cdp_state": {}, "raw": {}}
    for table, columns in STATE.items():
        known["cdp_state"][table] = dict.fromkeys(columns.split(), "text")
    known["raw"]["links"] = dict.fromkeys(("left_type", "left_value", "right_type", "right_value"), "text")
    for table, width in (("crm", 5), ("web", 2)):
        known["cdp"][table] = dict.fromkeys(("row_key", "row_at", *(f"i{i}" for i in range(width))), "text")
    names, seen = set[str](), set[str]()
    for statement in statements(renderer):
        names.add(statement.name)
        if statement.sql in seen:
            continue
        seen.add(statement.sql)
        tree = parse_one(statement.sql, dialect=renderer.facts.dialect)
        query = tree if isinstance(tree, exp.Query) else tree.args.get("expression")
        if not isinstance(query, exp.Query):
            assert isinstance(tree, exp.Create | exp.Delete)
            continue
        found = qualify(query.copy(), schema=known, dialect=renderer.facts.dialect, validate_qualify_columns=True)
        if statement.action in ("table", "view"):
            schema, table = statement.target.split(".")
            columns = [column for column in found.named_selects if column != "*"]  # type: ignore[attr-defined]
            known[schema][table] = dict.fromkeys(columns, "text")
    assert {
        "pairs of one type",
        "chains that join too much",
        "attached",
        "finish the jumping",
        "levels so far",
    } <= names


def test_a_script_ends_when_nothing_is_counted() -> None:
    script = step(spec(), Renderer(FACTS["duckdb"]), "run1", AS_OF).script()
    count = 1
    next(script)
    with pytest.raises(StopIteration):
        while True:
            script.send(0)
            count += 1
    assert count < 30


def test_the_step_names_every_table_that_it_makes() -> None:
    made = step(spec(), Renderer(FACTS["duckdb"]), "run1", AS_OF)
    tables = {s.target for s in statements(Renderer(FACTS["duckdb"])) if s.action == "table" and ".tmp_" in s.target}
    assert tables <= set(made.scratch)


def test_an_entity_without_a_source_is_refused() -> None:
    from cdp.errors import CompileError

    with pytest.raises(CompileError, match="no source carries ids of `customer`") as caught:
        step(replace(spec(), records=()), Renderer(FACTS["duckdb"]), "run1", AS_OF)
    assert caught.value.code == "CDP220"
