"""Statements that change rows, said as Delta takes them.

Open Delta Lake refuses every subquery in DELETE and UPDATE (github.com/delta-io/delta/issues/730 and 826), Databricks
those within another one and NOT IN beneath OR (docs.databricks.com/sql/language-manual/delta-delete-from.html), and
UPDATE knows no FROM. MERGE, whose source is any SELECT, takes them all. Equal rows cannot be told apart by a condition,
so that the whole row can stand in for the key that Delta does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from sqlglot import exp, parse_one

from cdp.warehouse.base import Column

_D = "spark"
_OLD, _NEW = "cdp_old", "cdp_new"
Columns = Callable[[str], Sequence[Column] | None]  # of a table, as `schema.table`


def fitted(sql: str, columns: Columns, format_: str) -> str:
    """The statement as the engine takes it: INSERT with all columns in their order, DELETE and UPDATE with subqueries as
    MERGE, CREATE TABLE in the format and without keys. All others as they are."""
    verb = sql.lstrip()[:6].upper()
    if verb not in ("INSERT", "DELETE", "UPDATE", "CREATE"):
        return sql
    tree = parse_one(sql, dialect=_D)
    new: exp.Expr | None = None
    if isinstance(tree, exp.Create) and tree.kind == "TABLE":
        new = _created(tree, format_)
    elif isinstance(tree, exp.Insert) and isinstance(tree.this, exp.Schema):
        new = _inserted(tree, columns)
    elif isinstance(tree, exp.Delete | exp.Update) and (tree.find(exp.Select) or tree.args.get("from_")):
        new = _by_keys(tree) or _by_rows(tree, columns)
    return sql if new is None else new.sql(dialect=_D)


def _created(tree: exp.Create, format_: str) -> exp.Expr:
    for definition in tree.find_all(exp.ColumnDef):
        kept = [c for c in definition.constraints if not isinstance(c.kind, exp.PrimaryKeyColumnConstraint)]
        definition.set("constraints", kept)
        if definition.kind is not None and definition.kind.is_type("json", "jsonb"):
            definition.set("kind", exp.DataType.build("text"))  # Spark has no such type
    if not tree.find(exp.FileFormatProperty):
        properties = tree.args.get("properties") or exp.Properties(expressions=[])
        properties.append("expressions", exp.FileFormatProperty(this=exp.var(format_.upper())))
        tree.set("properties", properties)
    return tree


def _inserted(tree: exp.Insert, columns: Columns) -> exp.Expr | None:
    """By position: what is not named becomes NULL, which not every version does by itself."""
    target = tree.this.this
    named = [identifier.name for identifier in tree.this.expressions]
    every = [column.name for column in columns(_path(target)) or ()]
    places = {name.lower(): name for name in named}
    if not every or not set(places) <= {name.lower() for name in every}:
        return None  # the engine says what it thinks of it
    if [name.lower() for name in named] != [name.lower() for name in every]:
        rows: exp.Expr = exp.Subquery(this=tree.expression, alias=_alias(_NEW, named))
        cells = [
            exp.alias_(
                exp.column(places[name.lower()], table=_NEW, quoted=True) if name.lower() in places else exp.null(),
                name,
                quoted=True,
            )
            for name in every
        ]
        if isinstance(tree.expression, exp.Values):
            rows = exp.Values(expressions=tree.expression.expressions, alias=_alias(_NEW, named))
        tree.set("expression", exp.select(*cells).from_(rows))
    tree.set("this", target)
    return tree


def _by_keys(tree: exp.Delete | exp.Update) -> exp.Expr | None:
    """`WHERE … AND k IN (SELECT x FROM …)`: the keys alone are joined; None where the statement is not of that form."""
    where = tree.args.get("where")
    if where is None or tree.args.get("from_") or any(set_.find(exp.Select) for set_ in _settings(tree)):
        return None
    parts = list(where.this.flatten()) if isinstance(where.this, exp.And) else [where.this]
    asking = [part for part in parts if part.find(exp.Select)]
    plain = [part for part in parts if not part.find(exp.Select)]
    if len(asking) != 1 or not isinstance(asking[0], exp.In) or not isinstance(asking[0].this, exp.Column):
        return None
    query = asking[0].args.get("query")
    select = query.this if isinstance(query, exp.Subquery) else query
    if not isinstance(select, exp.Select) or len(select.selects) != 1 or not _stands_alone(select):
        return None
    name = _name(tree.this)
    keys = exp.select(exp.column("cdp_key", table="k")).distinct()
    keys = keys.from_(exp.Subquery(this=select.copy(), alias=_alias("k", ["cdp_key"])))
    on = exp.EQ(this=_of(asking[0].this, name), expression=exp.column("cdp_key", table=_NEW))
    joined = exp.and_(on, *(_qualified(part, name) for part in plain), copy=False)
    sets = [(set_.this, _qualified(set_.expression, name)) for set_ in _settings(tree)]
    return _merge(tree, exp.to_identifier(name), keys, joined, sets)


def _by_rows(tree: exp.Delete | exp.Update, columns: Columns) -> exp.Expr | None:
    """The rows that the condition holds for, each once and whole, with their new values beside them."""
    target = tree.this
    every = columns(_path(target))
    if not every:
        return None
    name = _name(target)
    cells: list[exp.Expr] = [exp.column(column.name, table=name, quoted=True) for column in every]
    sets = []
    for number, set_ in enumerate(_settings(tree)):
        cells.append(exp.alias_(set_.expression.copy(), f"cdp_set_{number}"))
        sets.append((set_.this, cast(exp.Expr, exp.column(f"cdp_set_{number}", table=_NEW))))
    table = exp.alias_(
        exp.Table(this=target.this.copy(), db=_copied(target, "db"), catalog=_copied(target, "catalog")), name
    )
    rows = exp.select(*cells).distinct().from_(table)
    from_ = tree.args.get("from_")
    if from_ is not None:
        rows = rows.join(from_.this.copy(), join_type="cross")
        for join in from_.this.args.get("joins") or ():
            rows.append("joins", join.copy())
    where = tree.args.get("where")
    if where is not None:
        rows = rows.where(where.this.copy())
    same = [
        exp.NullSafeEQ(
            this=exp.column(column.name, table=_OLD, quoted=True),
            expression=exp.column(column.name, table=_NEW, quoted=True),
        )
        for column in every
    ]
    return _merge(tree, exp.to_identifier(_OLD), rows, exp.and_(*same, copy=False), sets)


def _merge(
    tree: exp.Delete | exp.Update,
    alias: exp.Identifier,
    source: exp.Select,
    on: exp.Expr,
    sets: Sequence[tuple[exp.Expr, exp.Expr]],
) -> exp.Expr:
    target = tree.this
    into = exp.Table(this=target.this.copy(), db=_copied(target, "db"), catalog=_copied(target, "catalog"))
    then: exp.Expr = exp.var("DELETE")
    if isinstance(tree, exp.Update):
        changes = [exp.EQ(this=exp.column(field.name, quoted=True), expression=value) for field, value in sets]
        then = exp.Update(expressions=changes)
    return exp.Merge(
        this=exp.alias_(into, alias.name),
        using=exp.Subquery(this=source, alias=_alias(_NEW)),
        on=on,
        whens=exp.Whens(expressions=[exp.When(matched=True, then=then)]),
    )


def _settings(tree: exp.Expr) -> list[exp.EQ]:
    return list(tree.expressions) if isinstance(tree, exp.Update) else []


def _stands_alone(select: exp.Select) -> bool:
    """Whether each column in the query is one of its own tables', for certain."""
    own = {source.alias_or_name for source in select.find_all(exp.Table, exp.Subquery)}
    return all(column.table in own for column in select.find_all(exp.Column))


def _qualified(tree: exp.Expr, name: str) -> exp.Expr:
    """A copy in which each bare column is the target's."""
    holder = exp.Paren(this=tree.copy())
    for column in list(holder.find_all(exp.Column)):
        column.replace(_of(column, name))
    return cast(exp.Expr, holder if isinstance(tree, exp.Connector) else holder.this)


def _of(column: exp.Expr, name: str) -> exp.Expr:
    assert isinstance(column, exp.Column)
    return exp.column(column.this.copy(), table=name)


def _name(target: exp.Expr) -> str:
    return str(target.alias_or_name)


def _path(target: exp.Expr) -> str:
    assert isinstance(target, exp.Table)
    return ".".join('"' + part.name.replace('"', '""') + '"' for part in target.parts)


def _copied(target: exp.Expr, key: str) -> exp.Expr | None:
    part = target.args.get(key)
    return part.copy() if part is not None else None


def _alias(name: str, columns: Sequence[str] = ()) -> exp.TableAlias:
    named = [exp.to_identifier(column, quoted=True) for column in columns]
    return exp.TableAlias(this=exp.to_identifier(name), columns=named)
