"""The golden record: one row per profile, one rule per field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlglot import exp

from cdp.compile.identity.spec import Attribute
from cdp.compile.plan import Script
from cdp.compile.render import Renderer, call, column, text

AT_ONCE = 12  # attributes of one statement: each is a hash join, and engines plan long join lists badly


def golden(
    entity: str,
    ids_table: str,
    identifiers: Sequence[str],
    attributes: Sequence[Attribute],
    renderer: Renderer,
    target: str,
) -> Script:
    """Makes `target`: `<entity>_id`, each identifier (its value last seen) and attribute, for every id in `ids_table`.

    NULLs are skipped; a row without time is older than any; ties go by the order of `froms`, then time (the latest;
    for `earliest` the first), then the smallest value. An attribute named like an identifier replaces it. `any` is the
    smallest value, for booleans true where any is. More than AT_ONCE attributes go through scratch tables
    `golden_scratch` names.
    """
    named = {attribute.name for attribute in attributes}
    plain = [name for name in identifiers if name not in named]
    key = f"{entity}_id"
    tables = golden_scratch(target, attributes)
    parts = []
    for number, table in enumerate(tables):
        some = attributes[number * AT_ONCE : (number + 1) * AT_ONCE]
        values = _values(key, ids_table, [], some)
        yield renderer.statement("identity/golden", f"attributes {number + 1}", "table", table, **values)
        parts.append({"table": table, "number": number, "names": [attribute.name for attribute in some]})
    rest = [] if tables else attributes
    values = _values(key, ids_table, plain, rest) | {"parts": parts}
    yield renderer.statement("identity/golden", "golden record", "table", target, **values)


def golden_scratch(target: str, attributes: Sequence[Attribute]) -> tuple[str, ...]:
    """The scratch tables that `golden` makes: none for a dozen attributes."""
    if len(attributes) <= AT_ONCE:
        return ()
    schema, name = target.rsplit(".", 1)
    count = -(-len(attributes) // AT_ONCE)
    return tuple(f"{schema}.tmp_{name}_{number}" for number in range(count))


def _values(key: str, ids: str, identifiers: Sequence[str], attributes: Sequence[Attribute]) -> dict[str, Any]:
    return {
        "key": key,
        "ids": ids,
        "identifiers": list(identifiers),
        "identifier_values": [{"type": text(name), "name": name} for name in identifiers],
        "attributes": [_attribute(attribute) for attribute in attributes],
        "parts": [],
    }


def _attribute(attribute: Attribute) -> dict[str, Any]:
    whole = _whole(attribute)
    return {
        "name": attribute.name,
        "froms": [exp.Subquery(this=tree.copy()) for tree in attribute.froms],
        "whole": whole,
        "pick": attribute.pick,
        "per_source": attribute.pick in ("first", "latest", "earliest"),
        "value": _value(attribute),
    }


def _whole(attribute: Attribute) -> exp.Expr | None:
    """The aggregate over a profile's distinct values `v.value`, None where the pick looks at rows."""
    value = column("value", "v")
    if attribute.type == "bool" and attribute.pick in ("min", "max", "any"):
        number = exp.Case(ifs=[exp.If(this=value, true=exp.Literal.number(1))], default=exp.Literal.number(0))
        aggregate = exp.Min(this=number) if attribute.pick == "min" else exp.Max(this=number)
        return exp.EQ(this=aggregate, expression=exp.Literal.number(1))
    if attribute.pick in ("min", "any"):
        return exp.Min(this=_value(attribute))
    if attribute.pick == "max":
        return exp.Max(this=_value(attribute))
    if attribute.pick == "all":
        return _list(attribute)
    return None


def _list(attribute: Attribute) -> exp.Expr:
    """Distinct values as canonical JSON array text, in their order."""
    joined = call("cdp_string_agg", _json(attribute.type, column("value", "v")), text(","), _value(attribute))
    return exp.DPipe(this=exp.DPipe(this=text("["), expression=joined), expression=text("]"))


def _json(type_: str, value: exp.Expr) -> exp.Expr:
    if type_ == "int":
        return exp.cast(value, "TEXT")
    if type_ in ("decimal", "float", "bool"):
        return call(f"cdp_text_of_{type_}", value)
    if type_ in ("date", "timestamp"):
        return call("cdp_json_quote", call(f"cdp_text_of_{type_}", value))
    return call("cdp_json_quote", value)


def _value(attribute: Attribute) -> exp.Expr:
    """A value in the form it is ordered by."""
    value = column("value", "v")
    ordered_by_itself = attribute.type in ("int", "decimal", "float", "bool", "date", "timestamp")
    return value if ordered_by_itself else call("cdp_binary", value)
