"""Rows ► distinct tuples ► identifiers as numbers ► records, stars, components without limits."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from cdp.compile.identity import normalise
from cdp.compile.identity.components import components
from cdp.compile.identity.spec import IdentitySpec
from cdp.compile.plan import Statement
from cdp.compile.render import Renderer, column, text


@dataclass(frozen=True)
class Slot:
    """An identifier column of a source: `same`: earlier columns of the source that hold the same type."""

    source: int
    column: int
    type: int
    joins: bool
    same: tuple[int, ...]


def slots(spec: IdentitySpec) -> tuple[Slot, ...]:
    """All identifier columns, source by source."""
    found = []
    for number, records in enumerate(spec.records):
        for place, name in enumerate(records.slots):
            same = tuple(other for other in range(place) if records.slots[other] == name)
            kind = spec.type_of(name)
            found.append(Slot(number, place, kind, spec.identifiers[kind].joins, same))
    return tuple(found)


def evidence(spec: IdentitySpec, renderer: Renderer) -> Generator[Statement, int, None]:
    """Scratch tables tuples, identifiers, records, links, nodes."""

    def table(template: str, name: str, made: str, **values: Any) -> Statement:
        return renderer.statement(f"identity/{template}", name, "table", spec.scratch(made), **values)

    all_slots = slots(spec)
    names = {name: spec.scratch(name) for name in ("tuples", "identifiers", "records")}
    links = spec.scratch("link_values") if spec.always else None
    sources = [
        {
            "number": number,
            "relation": exp.Subquery(this=records.relation.copy()),
            "width": len(records.slots),
            "slots": [slot for slot in all_slots if slot.source == number],
            "centre": _centre(slot for slot in all_slots if slot.source == number),
        }
        for number, records in enumerate(spec.records)
    ]
    yield table("tuples", "distinct tuples", "tuples", sources=sources, width=spec.width)
    if links:
        types = [{"number": number, "name": text(item.name)} for number, item in enumerate(spec.identifiers)]
        relations = [exp.Subquery(this=link.relation.copy()) for link in spec.always]
        yield table("link_values", "always linked", "link_values", relations=relations, types=types)
    yield table("identifiers", "identifiers", "identifiers", types=_types(spec), tuples=names["tuples"], links=links)
    yield table("records", "records", "records", sources=sources, width=spec.width, **names)
    if links:
        yield table("links", "links", "links", links=links, identifiers=names["identifiers"])
    quoted = sorted((records.source, number) for number, records in enumerate(spec.records))
    labels = [{"number": number, "quoted": text(f',"{source}"')} for source, number in quoted]
    yield table("nodes", "identifiers seen", "nodes", sources=labels, width=spec.width, **names)


def closure(spec: IdentitySpec, renderer: Renderer) -> Generator[Statement, int, None]:
    """Scratch table labels: every identifier's component if there were no limits."""
    joining = [slot for slot in slots(spec) if slot.joins]
    prefix = spec.scratch("")
    names = {"records": spec.scratch("records"), "links": spec.scratch("links") if spec.always else None}
    edges = yield renderer.statement("identity/edges_all", "edges", "table", f"{prefix}e0", slots=joining, **names)
    chain = yield from components(renderer, prefix, edges)
    nodes = exp.select("n.node", "n.t", "n.node AS label").from_(f"{spec.scratch('nodes')} AS n").subquery()
    yield renderer.statement(
        "identity/labels", "components", "table", spec.scratch("labels"), nodes=nodes, chain=chain, bridging=True
    )


def _centre(of_source: Iterable[Slot]) -> exp.Expr:
    """The strongest identifier of a record that joins."""
    columns = [column(f"c{slot.column}", "z") for slot in of_source if slot.joins]
    if not columns:
        return exp.cast(exp.null(), "BIGINT")
    return columns[0] if len(columns) == 1 else exp.Coalesce(this=columns[0], expressions=list(columns[1:]))


def _types(spec: IdentitySpec) -> list[dict[str, Any]]:
    raw, trim, value = column("raw", "w"), column("trim_v", "s"), column("v", "s")
    return [
        {
            "number": number,
            "slots": [slot for slot in slots(spec) if slot.type == number],
            "trim": normalise.trimmed(raw),
            "value": normalise.shaped(identifier, column("trim_v", "x")),
            "reason": normalise.reason(identifier, trim, value),
        }
        for number, identifier in enumerate(spec.identifiers)
    ]
