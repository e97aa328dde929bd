"""Records ► profiles with stable ids: the step of a resolved entity."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlglot import exp

from cdp.compile.identity import components
from cdp.compile.identity.evidence import closure, evidence, slots
from cdp.compile.identity.limits import Cuts, limits
from cdp.compile.identity.spec import IdentitySpec
from cdp.compile.plan import Script, Statement, Step
from cdp.compile.render import Renderer, text
from cdp.errors import CompileError, GuardError

_SCRATCH = (
    "tuples", "link_values", "identifiers", "records", "links", "nodes", "labels", "bad", "cuts", "cut_pairs",
    "members", "members0", "members1", "level0", "level1", "ties", "pairs", "over", "final", "final_counted",
    "rows", "redrawn", "moved", "evidence", "claims", "profiles", "ids_new", "changes_new",
)  # fmt: skip


def step(spec: IdentitySpec, renderer: Renderer, run_id: str, as_of: datetime) -> Step:
    """The step that resolves an entity: `<entity>_edges` and `<entity>_dropped` are swapped in, the masters of ids and
    changes are written in the same transaction, and views of the masters stand in `schema`.

    `as_of` is naive UTC. Raises CompileError CDP220 where no source carries identifiers; the script raises GuardError
    CDP506 before anything was changed where the run would change too many ids.
    """
    if not spec.records:
        raise CompileError("CDP220", f"no source carries ids of `{spec.entity}`", hint="give a source `ids:` for it")
    names = {name: spec.scratch(name) for name in ("ids_new", "changes_new")}
    return Step(
        id=f"identity:{spec.entity}",
        resource=f"entity:{spec.entity}",
        script=lambda: resolve(spec, renderer, run_id, as_of),
        publishes=(f"{spec.schema}.{spec.entity}_edges", f"{spec.schema}.{spec.entity}_dropped"),
        views=(_view(spec, renderer, "ids"), _view(spec, renderer, "changes")),
        scratch=_scratch(spec),
        after_swap=(
            renderer.statement(
                "identity/keep_changes", "changes", "run", spec.changes, changes=spec.changes, made=names["changes_new"]
            ),
            # last: as long as the former ids stand, a run finds the same changes again
            renderer.statement("identity/keep_ids", "ids", "refill", spec.ids, made=names["ids_new"]),
        ),
    )


def _scratch(spec: IdentitySpec) -> tuple[str, ...]:
    rounds = len(spec.identifiers) + spec.width  # of shared identifiers: each uncovers weaker ones only
    labels = [f"labels{number + 1}" for number in range(rounds)]
    return (*(spec.scratch(name) for name in (*_SCRATCH, *labels)), *components.scratch(spec.scratch("")))


def resolve(spec: IdentitySpec, renderer: Renderer, run_id: str, as_of: datetime) -> Script:
    """All statements of the step but the swap."""
    make = _Maker(spec, renderer)
    yield make.run("make_ids", "master of ids", spec.ids, ids=spec.ids)
    yield make.run("make_changes", "master of changes", spec.changes, changes=spec.changes)
    yield from evidence(spec, renderer)
    yield from closure(spec, renderer)
    cuts = yield from limits(spec, renderer)
    final = yield from _final(make, cuts)
    yield from _published(make, cuts)
    yield from _stable_ids(make, final, run_id, as_of)


@dataclass(frozen=True)
class _Maker:
    spec: IdentitySpec
    renderer: Renderer

    def table(self, template: str, name: str, made: str, **values: Any) -> Statement:
        return self.renderer.statement(f"identity/{template}", name, "table", self.t(made), **values)

    def run(self, template: str, name: str, target: str, **values: Any) -> Statement:
        return self.renderer.statement(f"identity/{template}", name, "run", target, **values)

    def t(self, name: str) -> str:
        return self.spec.scratch(name)

    @property
    def types(self) -> list[dict[str, Any]]:
        """Numbers of the identifier types, their names, and names as they stand before a value."""
        found = enumerate(self.spec.identifiers)
        return [{"number": number, "name": text(item.name), "prefix": text(f"{item.name}:")} for number, item in found]


def _final(make: _Maker, cuts: Cuts | None) -> Generator[Statement, int, str]:
    """The table of components after all limits, with what belongs to them without joining."""
    final = make.t("labels")
    if cuts:
        yield make.table("final", "components", "final", labels=final, later=list(cuts.later), cuts=make.t("cuts"))
        final = make.t("final")
    counted = [number for number, item in enumerate(make.spec.identifiers) if not item.joins]
    if counted:
        all_slots = slots(make.spec)
        joining = {
            number: [slot.column for slot in all_slots if slot.source == number and slot.joins]
            for number in range(len(make.spec.records))
        }
        places = [
            {"source": slot.source, "column": slot.column, "joining": joining[slot.source]}
            for slot in all_slots
            if not slot.joins
        ]
        if places:
            names = {"records": make.t("records"), "labels": final, "cuts": bool(cuts)}
            yield make.table("final_counted", "attached", "final_counted", counted=places, types=counted, **names)
            final = make.t("final_counted")
    return final


def _published(make: _Maker, cuts: Cuts | None) -> Script:
    spec = make.spec
    cut = make.t("cuts") if cuts else None
    names: dict[str, Any] = {name: make.t(name) for name in ("records", "identifiers", "nodes", "redrawn", "moved")}
    sources = [{"number": number, "name": text(records.source)} for number, records in enumerate(spec.records)]
    links = make.t("links") if spec.always else None
    joining = [slot for slot in slots(spec) if slot.joins]
    values = {
        "slots": joining,
        "sources": sources,
        "links": links,
        "final": make.t("final"),
        "cuts": cut,
        "types": make.types,
    }
    edges, dropped = (f"{spec.schema}.{spec.entity}_{name}__new" for name in ("edges", "dropped"))
    if cut:
        yield make.table("redrawn", "stars drawn again", "redrawn", members=make.t("members"), cuts=cut)
        yield make.table("moved", "what limits touched", "moved", final=make.t("final"), cuts=cut)
    yield make.table("evidence", "evidence", "evidence", **values, **names)  # text apart: half the memory
    values = {"evidence": make.t("evidence"), "sources": sources, "types": make.types, "nodes": make.t("nodes")}
    yield make.renderer.statement("identity/edges", "edges told", "table", edges, **values)
    names |= {"types": make.types}
    yield make.renderer.statement("identity/dropped", "set aside", "table", dropped, cuts=cut, **names)


def _stable_ids(make: _Maker, final: str, run_id: str, as_of: datetime) -> Script:
    spec = make.spec
    run = {"run_id": text(run_id), "as_of": _timestamp(as_of), "types": make.types}
    names = {"ids": spec.ids, "members": make.t("rows"), "claims": make.t("claims"), "profiles": make.t("profiles")}
    yield make.table("members_of", "identifiers of profiles", "rows", final=final, nodes=make.t("nodes"))
    yield make.table("claims", "former ids", "claims", **names, types=make.types)
    hashed = {"prefix": text(f"{spec.project}:{spec.entity}:"), "run_suffix": text(f":{run_id}")}
    yield make.table("profiles", "profiles", "profiles", **names, **run, **hashed)
    yield make.table("ids_new", "ids", "ids_new", **names, **run)
    yield make.table("changes_new", "changes of ids", "changes_new", **names, **run)
    if not spec.forced:
        share = round(spec.max_changed * 10_000)
        changed = yield make.renderer.statement(
            "identity/changed_share", "guard max_changed", "probe", "",
            ids=spec.ids, changes=make.t("changes_new"), floor=spec.max_changed_floor, share=share,
        )  # fmt: skip
        if changed:
            share_text = f"more than {spec.max_changed:.0%}; nothing was changed"
            message = f"this run would merge, split or retire {changed} ids of `{spec.entity}`, {share_text}"
            hint = "look at what changed in the sources or the rules; force max_changed to let it pass"
            raise GuardError("CDP506", message, hint=hint)


def _view(spec: IdentitySpec, renderer: Renderer, name: str) -> Statement:
    values = {"entity": spec.entity, "ids": spec.ids, "changes": spec.changes}
    return renderer.statement(f"identity/{name}_view", name, "view", f"{spec.schema}.{spec.entity}_{name}", **values)


def _timestamp(at: datetime) -> exp.Expr:
    return exp.cast(text(at.isoformat(sep=" ", timespec="microseconds")), "TIMESTAMP")
