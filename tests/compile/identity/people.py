"""A small world for identity tests: sources filled by hand, a step carried out on a warehouse, people read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlglot import exp, parse_one

from cdp.compile.identity import Identifier, IdentitySpec, Link, Records, step
from cdp.compile.plan import Script, Statement, Step
from cdp.compile.render import Renderer
from cdp.flow.building import run_statement
from cdp.warehouse.base import Warehouse

Row = tuple[object, ...]
AS_OF = datetime(2026, 1, 10, 12)
EPOCH = datetime(2025, 1, 1)


def at(day: int | None) -> datetime | None:
    """A time: so many days after the first one."""
    return None if day is None else EPOCH + timedelta(days=day)


def fill(warehouse: Warehouse, table: str, width: int, rows: Iterable[Row]) -> None:
    """Make `table` (row_key, row_at, i0 …) of rows (day or None, identifier or None, …)."""
    columns = [exp.cast(exp.null(), "TEXT").as_("row_key"), exp.cast(exp.null(), "TIMESTAMP").as_("row_at")]
    columns += [exp.cast(exp.null(), "TEXT").as_(f"i{i}") for i in range(width)]
    dialect = warehouse.facts.dialect
    warehouse.make_table(table, exp.select(*columns).limit(0).sql(dialect=dialect))
    tuples = []
    for number, (day, *identifiers) in enumerate(rows):
        time = at(day)  # type: ignore[arg-type]
        values = [str(number), None if time is None else time.isoformat(sep=" "), *identifiers]
        tuples.append(exp.Tuple(expressions=[exp.null() if value is None else _text(str(value)) for value in values]))
    for start in range(0, len(tuples), 2000):
        insert = exp.Insert(this=exp.to_table(table), expression=exp.Values(expressions=tuples[start : start + 2000]))
        warehouse.execute(insert.sql(dialect=dialect))


def _text(value: str) -> exp.Expr:
    return exp.Literal.string(value)


def records(table: str, slots: Sequence[str], order: int = 0) -> Records:
    """Records of a table that `fill` made."""
    columns = ", ".join(["row_key", "row_at", *(f"i{i}" for i in range(len(slots)))])
    return Records(
        table.split(".")[-1], order, parse_one(f"SELECT {columns} FROM {table}", dialect="duckdb"), tuple(slots)
    )


def customer(identifiers: Sequence[Identifier], *sources: Records, always: tuple[Link, ...] = ()) -> IdentitySpec:
    """The spec of an entity `customer`."""
    return IdentitySpec("shop", "customer", tuple(identifiers), sources, always)


def carry_out(warehouse: Warehouse, script: Script) -> list[Statement]:
    """Run a script; the statements that it gave."""
    ran: list[Statement] = []
    answer: int | None = None
    while True:
        try:
            statement = script.send(answer) if answer is not None else next(script)
        except StopIteration:
            return ran
        ran.append(statement)
        answer = run_statement(warehouse, statement)


def build(warehouse: Warehouse, spec: IdentitySpec, run_id: str = "run1", as_of: datetime = AS_OF) -> list[Statement]:
    """Carry out the identity step as a build does; the statements of its script."""
    made = step(spec, Renderer(warehouse.facts), run_id, as_of)
    ran = carry_out(warehouse, made.script())
    publish(warehouse, made)
    return ran


def publish(warehouse: Warehouse, made: Step) -> None:
    """Swap, write the masters in the same transaction, then the views; drop what was scratch."""
    with warehouse.transaction():
        warehouse.swap({f"{table}__new": table for table in made.publishes})
        for statement in made.after_swap:
            run_statement(warehouse, statement)
    for view in made.views:
        warehouse.make_view(view.target, view.sql)
    warehouse.drop(*made.scratch)


def ids(warehouse: Warehouse) -> dict[str, str]:
    """`type:value` ► entity id."""
    rows = warehouse.rows("SELECT id_type, id_value, customer_id FROM cdp.customer_ids")
    return {f"{kind}:{value}": str(entity) for kind, value, entity in rows}


def people(warehouse: Warehouse) -> set[frozenset[str]]:
    """The identifiers of each profile."""
    found: dict[str, set[str]] = {}
    for identifier, entity in ids(warehouse).items():
        found.setdefault(entity, set()).add(identifier)
    return {frozenset(members) for members in found.values()}


def attached(warehouse: Warehouse) -> set[str]:
    """Identifiers that belong to a profile without joining."""
    rows = warehouse.rows("SELECT id_type, id_value FROM cdp.customer_ids WHERE NOT bridging")
    return {f"{kind}:{value}" for kind, value in rows}


def dropped(warehouse: Warehouse) -> dict[str, tuple[str, int]]:
    """`type:value` ► (reason, rows)."""
    rows = warehouse.rows("SELECT id_type, id_value, reason, row_count FROM cdp.customer_dropped")
    return {f"{kind}:{value}": (str(reason), int(str(count))) for kind, value, reason, count in rows}


def edges(warehouse: Warehouse) -> dict[tuple[str, str], str | None]:
    """(left, right) ► why it is not used, None where it is."""
    rows = warehouse.rows("SELECT left_type, left_value, right_type, right_value, used, reason FROM cdp.customer_edges")
    assert all(used == (reason is None) for *_, used, reason in rows)
    return {(f"{lt}:{lv}", f"{rt}:{rv}"): reason for lt, lv, rt, rv, _, reason in rows}  # type: ignore[misc]


def changes(warehouse: Warehouse, run_id: str) -> set[tuple[str, str | None, str | None]]:
    """(kind, old id, new id) of a run."""
    rows = warehouse.rows(f"SELECT kind, old_id, new_id FROM cdp.customer_changes WHERE run_id = '{run_id}'")
    return {(str(kind), old, new) for kind, old, new in rows}  # type: ignore[misc]


def limited(limits: Mapping[str, int | None]) -> list[Identifier]:
    """Identifiers by name and limit, strongest first."""
    return [Identifier(name, limit) for name, limit in limits.items()]
