"""BigQuery's SQL as DuckDB understands it: what sqlglot makes of it, and what it makes of it wrongly.

What BigQuery would refuse by a rule of its documentation is refused here too (`Refused`): statements that only DuckDB
takes must not pass for good ones. All else proves the wiring, not the dialect: sqlglot stands on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlglot import exp, parse
from sqlglot.errors import SqlglotError

from cdp.warehouse.functions import FACTS

_DUCK = FACTS["duckdb"].functions
_STATEMENTS = (exp.Query, exp.Create, exp.Drop, exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable)
# a table can be clustered by these: https://cloud.google.com/bigquery/docs/clustered-tables#cluster_column_types
CLUSTERS = {"STRING", "INTEGER", "NUMERIC", "BIGNUMERIC", "BOOLEAN", "DATE", "DATETIME", "TIMESTAMP", "BYTES"}


class Refused(Exception):
    """A statement that BigQuery does not take; the message as it would say it."""


def parsed(sql: str) -> exp.Expr:
    """The one statement that the text is."""
    try:
        trees = [tree for tree in parse(sql, dialect="bigquery") if tree is not None]
    except SqlglotError:
        trees = []
    if len(trees) != 1 or not isinstance(trees[0], _STATEMENTS):
        word = sql.split(maxsplit=1)[0] if sql.split() else ""
        raise Refused(f'Syntax error: Unexpected identifier "{word}" at [1:1]')
    _checked(trees[0])
    return trees[0]


def _checked(tree: exp.Expr) -> None:
    for select in tree.find_all(exp.Select):
        _shadowed(select)
        if select.args.get("where") and not select.args.get("from_"):
            raise Refused("Query without FROM clause cannot have a WHERE clause at [1:1]")
        for join in select.args.get("joins") or ():
            on = join.args.get("on")
            outer = join.side in ("LEFT", "RIGHT", "FULL")
            if outer and on is not None and any(query.find(exp.Table) for query in on.find_all(exp.Query)):
                raise Refused("Unsupported subquery with table in join predicate.")
            if outer and on is not None and not any(_links(part) for part in _parts(on)):
                raise Refused(
                    f"{join.side} OUTER JOIN cannot be used without a condition that is an equality of fields from both"
                    " sides of the join."
                )
        _decorrelated(select)
    for node in tree.find_all(exp.Delete, exp.Update):
        if not node.args.get("where"):
            raise Refused(f"{node.key.upper()} must have a WHERE clause at [1:1]")
    for interval in tree.find_all(exp.Interval):
        if isinstance(interval.this, exp.Literal) and interval.this.is_string:
            raise Refused("Interval value must be coercible to INT64 type")
    for nulls in tree.find_all(exp.IgnoreNulls):
        if isinstance(nulls.this, exp.AnyValue):
            raise Refused("Syntax error: IGNORE NULLS is not allowed for function ANY_VALUE")
    for key in tree.find_all(exp.PrimaryKeyColumnConstraint):
        if "NOT ENFORCED" not in key.parent.parent.sql(dialect="bigquery"):  # type: ignore[union-attr]
            raise Refused("Enforced primary keys are not supported: write NOT ENFORCED")
    for function in tree.find_all(exp.Anonymous):
        if function.name.upper() in ("GENERATE_SERIES", "WEEK", "CONCAT_WS", "SPLIT_PART"):
            raise Refused(f"Function not found: {function.name} at [1:8]")


def _shadowed(select: exp.Select) -> None:
    """An alias of a table hides the column of that name: as a value it is the whole row."""
    sources = [select.args.get("from_"), *(select.args.get("joins") or ())]
    names = {source.this.alias_or_name.lower() for source in sources if source is not None}
    for column in select.find_all(exp.Column):
        if not column.table and column.name.lower() in names and column.parent_select is select:
            unnested = any(isinstance(s.this, exp.Unnest) for s in sources if s is not None)
            if not unnested:
                raise Refused(f"Column {column.name} is hidden by a table of that name: it is a STRUCT")


def _parts(condition: exp.Expr) -> list[exp.Expr]:
    """What must hold together."""
    condition = condition.unnest()
    if isinstance(condition, exp.And):
        return [*_parts(condition.this), *_parts(condition.expression)]
    return [condition]


def _links(part: exp.Expr | None) -> bool:
    """Whether this is an equality between columns of two tables."""
    if not isinstance(part, exp.EQ):
        return False
    sides = [{column.table for column in side.find_all(exp.Column)} for side in (part.this, part.expression)]
    return bool(sides[0] and sides[1]) and sides[0] != sides[1]


def _decorrelated(select: exp.Select) -> None:
    """A subquery that reads a table and names columns from outside must be one that can become a join.

    https://cloud.google.com/bigquery/docs/reference/standard-sql/subqueries#correlated_subquery_concepts
    """
    if isinstance(select.parent, exp.From | exp.Join | exp.CTE) or select.find_ancestor(exp.Select) is None:
        return
    own = {table.alias_or_name for table in select.find_all(exp.Table)} | {
        q.alias for q in select.find_all(exp.Subquery)
    }
    own |= {cte.alias for cte in select.find_all(exp.CTE)} | {unnest.alias for unnest in select.find_all(exp.Unnest)}
    outside = {column.table for column in select.find_all(exp.Column) if column.table} - own
    where = select.args.get("where")
    linked = where is not None and any(_links(part) for part in _parts(where.this))
    if outside and not linked and select.find(exp.Table) is not None:
        raise Refused(
            "Correlated subqueries that reference other tables are not supported unless they can be de-correlated,"
            " such as by transforming them into an efficient JOIN."
        )


def tables(tree: exp.Expr) -> Iterator[exp.Table]:
    """The tables that a statement names, but for those that it makes with WITH."""
    made = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and (table.db or table.name.lower() not in made):
            yield table


def duckdb(tree: exp.Expr) -> str:
    """The statement for DuckDB."""
    tree = tree.copy()
    for table in tree.find_all(exp.Table):
        if table.args.get("catalog"):
            table.set("catalog", None)
    holder = exp.Paren(this=tree)
    _bottom_up(holder)
    return str(holder.this.sql(dialect="duckdb"))


def _bottom_up(node: exp.Expr) -> None:
    for child in list(node.iter_expressions()):
        _bottom_up(child)
        new = _changed(child)
        if new is not child:
            child.replace(new)


def _changed(node: exp.Expr) -> exp.Expr:
    change = _CHANGES.get(type(node))
    return change(node) if change else node


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=[argument.copy() for argument in arguments])


def _decimal(node: exp.Expr) -> exp.Expr:
    if node.this in (exp.DType.DECIMAL, exp.DType.BIGDECIMAL) and not node.expressions:
        return exp.DataType.build("DECIMAL(38, 9)")
    return node


def _bracket(node: Any) -> exp.Expr:
    [key] = node.expressions
    inside = node.this
    if isinstance(key, exp.Literal) and key.is_string:  # a JSON subscript
        pointer = exp.Literal.string("/" + key.this.replace("~", "~0").replace("/", "~1"))
        return exp.Case(
            ifs=[
                exp.If(
                    this=exp.EQ(this=_call("JSON_TYPE", inside), expression=exp.Literal.string("OBJECT")),
                    true=_call("JSON_EXTRACT", inside, pointer),
                )
            ]
        )
    if isinstance(inside, exp.Anonymous) and inside.name == "CDP_LIST":
        return _call("LIST_EXTRACT", *inside.expressions, exp.Paren(this=key.copy() + 1))
    return node


def _array_agg(node: Any) -> exp.Expr:
    """ARRAY_AGG(x IGNORE NULLS ORDER BY … LIMIT n); a subscript takes one value of it, so that the limit does not matter."""
    value, order, ignores = node.this, None, isinstance(node.parent, exp.IgnoreNulls)
    while isinstance(value, exp.Limit | exp.Order):
        order = value if isinstance(value, exp.Order) else order
        value = value.this
    by = [item.sql(dialect="duckdb") for item in order.expressions] if order is not None else []
    text = f"LIST({value.sql(dialect='duckdb')}{' ORDER BY ' + ', '.join(_nulls(i) for i in by) if by else ''})"
    if ignores:
        text += f" FILTER (WHERE {value.sql(dialect='duckdb')} IS NOT NULL)"
    return _call("CDP_LIST", exp.Var(this=text))


def _nulls(item: str) -> str:
    """NULLs are the smallest."""
    return item if " NULLS " in item else f"{item} NULLS {'LAST' if item.endswith(' DESC') else 'FIRST'}"


def _ignore_nulls(node: Any) -> exp.Expr:
    if isinstance(node.this, exp.Anonymous) and node.this.name == "CDP_LIST":
        return node.this  # type: ignore[no-any-return]
    return node  # type: ignore[no-any-return]


def _dot(node: Any) -> exp.Expr:
    """SAFE.PARSE_JSON(…)."""
    if node.this.name.upper() == "SAFE" and isinstance(node.expression, exp.ParseJSON | exp.Cast | exp.Anonymous):
        inside = node.expression
        value = inside.expressions[0] if isinstance(inside, exp.Anonymous) else inside.this
        return exp.TryCast(this=value.copy(), to=exp.DataType.build("JSON"))
    return node  # type: ignore[no-any-return]


def _parse_json(node: Any) -> exp.Expr:
    if isinstance(node.parent, exp.Dot):
        return node  # type: ignore[no-any-return]
    return exp.Cast(this=node.this.copy(), to=exp.DataType.build("JSON"))


def _json_value(node: Any) -> exp.Expr:
    value = node.this
    scalar = exp.Not(
        this=exp.In(this=_call("JSON_TYPE", value), expressions=[exp.convert(t) for t in ("OBJECT", "ARRAY", "NULL")])
    )
    return exp.Case(ifs=[exp.If(this=scalar, true=_call("JSON_EXTRACT_STRING", value, exp.convert("$")))])


def _safe_divide(node: Any) -> exp.Expr:
    return exp.Paren(this=_DUCK["cdp_divide"]([node.this, node.expression]))


def _in(node: Any) -> exp.Expr:
    unnest = node.args.get("unnest")
    if unnest is None:
        return node  # type: ignore[no-any-return]
    inside = unnest.expressions[0] if isinstance(unnest, exp.Unnest) else unnest
    return _call("LIST_CONTAINS", inside, node.this)


def _json_array(node: Any) -> exp.Expr:
    return _call("CDP_ELEMENTS", node.this)


def _int_div(node: Any) -> exp.Expr:
    return exp.Paren(
        this=exp.IntDiv(this=exp.Paren(this=node.this.copy()), expression=exp.Paren(this=node.expression.copy()))
    )


def _anonymous(node: Any) -> exp.Expr:
    name = node.name.upper()
    if name == "TO_JSON_STRING":
        return _call("CDP_JSON_STRING", node.expressions[0])
    if name == "JSON_QUERY_ARRAY":
        return _call("CDP_ELEMENTS", node.expressions[0])
    return node  # type: ignore[no-any-return]


def _unnest(node: Any) -> exp.Expr:
    """Rows of structs, which come as columns there."""
    [array, *_] = node.expressions or [None]
    if not isinstance(array, exp.Array) or not array.expressions:
        return node  # type: ignore[no-any-return]
    if not all(isinstance(item, exp.Struct) for item in array.expressions):
        return node  # type: ignore[no-any-return]
    rows = []
    for item in array.expressions:
        cells = [
            exp.alias_(cell.expression.copy(), cell.this.name) if isinstance(cell, exp.PropertyEQ) else cell.copy()
            for cell in item.expressions
        ]
        rows.append(exp.select(*cells))
    union = rows[0]
    for row in rows[1:]:
        union = exp.union(union, row, distinct=False)  # type: ignore[assignment]
    return exp.Subquery(this=union, alias=node.args.get("alias"))


def _now(node: exp.Expr) -> exp.Expr:
    return exp.Cast(this=exp.CurrentTimestamp(), to=exp.DataType.build("TIMESTAMP", dialect="duckdb"))


def _cast(node: Any) -> exp.Expr:
    return _call("CDP_STRING", node.this) if node.to.is_type("text") else node  # type: ignore[no-any-return]


_CHANGES: dict[type[exp.Expr], Any] = {
    exp.DataType: _decimal,
    exp.Bracket: _bracket,
    exp.ArrayAgg: _array_agg,
    exp.IgnoreNulls: _ignore_nulls,
    exp.Dot: _dot,
    exp.ParseJSON: _parse_json,
    exp.JSONValue: _json_value,
    exp.SafeDivide: _safe_divide,
    exp.In: _in,
    exp.JSONExtractArray: _json_array,
    exp.IntDiv: _int_div,
    exp.Anonymous: _anonymous,
    exp.Cast: _cast,
    exp.JSONFormat: lambda node: _call("CDP_JSON_STRING", node.this),
    exp.Unnest: _unnest,
    exp.CurrentDatetime: _now,
    exp.SessionUser: lambda node: exp.convert("tester@example.com"),
}
_RESPELLED = (
    "REPLACE(" * 9
    + "{}"
    + "".join(f", '\\u{code:04X}', '\\u{code:04x}')" for code in (0x0B, 0x0E, 0x0F, *range(0x1A, 0x20)))
)
_PLAIN = "REPLACE(CAST(TO_JSON(x) AS VARCHAR), chr(92) || chr(92), chr(1))"
MACROS = (
    f"CREATE MACRO cdp_json_string(x) AS COALESCE(REPLACE({_RESPELLED.format(_PLAIN)}, chr(1), chr(92) || chr(92)), 'null')",
    "CREATE MACRO cdp_elements(x) AS CASE WHEN JSON_VALID(x) THEN CASE WHEN JSON_TYPE(x) = 'ARRAY'"
    " THEN CAST(FROM_JSON(x, '[\"JSON\"]') AS VARCHAR[]) END END",
    "CREATE MACRO cdp_list(x) AS x",
    "CREATE MACRO cdp_string(x) AS CASE WHEN TYPEOF(x) LIKE 'DECIMAL%'"
    r" THEN RTRIM(REGEXP_REPLACE(CAST(x AS VARCHAR), '(\.[0-9]*?)0+$', '\1'), '.') ELSE CAST(x AS VARCHAR) END",
)


def refusal(message: str, project: str, location: str) -> tuple[int, str, str]:
    """(HTTP code, reason, message) as BigQuery words what DuckDB says."""
    table = re.search(r"(?:Table|View) with name \"?([^\s\"!]+)\"? does not exist", message)
    if table:
        return 404, "notFound", f"Not found: Table {project}:{table[1]} was not found in location {location}"
    schema = re.search(
        r"schema \"?([^\s\"]+)\"? does not exist|Schema with name \"?(\w+)\"? does not exist", message, re.IGNORECASE
    )
    if schema:
        return (
            404,
            "notFound",
            f"Not found: Dataset {project}:{schema[1] or schema[2]} was not found in location {location}",
        )
    column = re.search(r'Referenced (?:column|table) "([^"]+)" not found', message)
    if column:
        return 400, "invalidQuery", f"Unrecognized name: {column[1]} at [1:8]"
    kind = re.search(r"Existing object (\S+) is of type (\w+)", message)
    if kind:
        said = f"{project}:{kind[1]} is not allowed for this operation because it is currently a {kind[2].upper()}."
        return 400, "invalid", said
    value = re.search(
        r"Could not convert string ['\"](.*)['\"] to INT|invalid (?:date|timestamp) field format: \"(.*)\",",
        message,
        re.DOTALL,
    )
    if value and value[1] is not None:
        return 400, "invalidQuery", f"Bad int64 value: {value[1]}"
    if value:
        return 400, "invalidQuery", f"Invalid date: '{value[2]}'"
    if "conflict" in message.lower() or "transaction is aborted" in message.lower():
        return (
            400,
            "invalidQuery",
            f"Transaction is aborted due to concurrent update against table {project}:x. Transaction ID: 1",
        )
    return 400, "invalidQuery", f"Query error: {message}"
