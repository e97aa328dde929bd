"""Limits, level by level, strongest first; only components that break one are looked at.

Whatever closure without limits leaves within its limits is final: nothing in it could have been cut. The rest is taken
apart: shared identifiers lose their edges, then each type of identifier in turn joins what the stronger ones made.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cdp.compile.identity.components import components
from cdp.compile.identity.evidence import slots
from cdp.compile.identity.spec import IdentitySpec
from cdp.compile.plan import Statement
from cdp.compile.render import Renderer

_SHARED_AT_LEAST, _SHARED_TIMES, _SHARED_TIMES_ONE = 10, 3, 100


@dataclass(frozen=True)
class Limited:
    """A limited type: more than `shared` direct neighbours of it, and an identifier is nobody's."""

    number: int
    limit: int

    @property
    def shared(self) -> int:
        times = _SHARED_TIMES_ONE if self.limit == 1 else _SHARED_TIMES
        return max(_SHARED_AT_LEAST, times * self.limit)


@dataclass(frozen=True)
class Cuts:
    """What was set aside: `later` are tables of components that overrule `labels`, the last one most."""

    later: tuple[str, ...]
    pairs: bool


Looked = Generator[Statement, int, Cuts | None]


def limits(spec: IdentitySpec, renderer: Renderer) -> Looked:
    """Check the limits over `labels`; None where nothing is over. Makes cuts, cut_pairs, members and components."""
    if not any(identifier.limit is not None for identifier in spec.identifiers):
        return None
    return (yield from _Levels(spec, renderer).run())


@dataclass(frozen=True)
class _Levels:
    spec: IdentitySpec
    renderer: Renderer

    @cached_property
    def limited(self) -> list[Limited]:
        return [Limited(n, item.limit) for n, item in enumerate(self.spec.identifiers) if item.limit is not None]

    @cached_property
    def counted(self) -> list[Limited]:
        """Limited types that join nobody."""
        return [type_ for type_ in self.limited if not self.spec.identifiers[type_.number].joins]

    def run(self) -> Looked:
        bad = yield from self._over_closure()
        if not bad:
            return None
        yield self._table("no_cuts", "cuts", "cuts")
        yield self._table("no_cut_pairs", "cut pairs", "cut_pairs")
        joining = [n for n, item in enumerate(self.spec.identifiers) if item.joins]
        names = {"records": self._t("records"), "labels": self._t("labels"), "bad": self._t("bad")}
        yield self._table("members", "records over a limit", "members", joining=joining, width=self.spec.width, **names)
        members, later = yield from self._shared()
        if members is not None:
            later.append((yield from self._by_level(members)))
        return Cuts(tuple(later), self._with_pairs(range(len(self.spec.identifiers))) != [])

    def _over_closure(self) -> Generator[Statement, int, int]:
        counted = [type_.number for type_ in self.counted]
        return (
            yield self._table(
                "over_closure",
                "components over a limit",
                "bad",
                labels=self._t("labels"),
                records=self._t("records"),
                counted=[slot for slot in slots(self.spec) if slot.type in counted],
                limited=[type_ for type_ in self.limited if type_ not in self.counted] or [Limited(-1, 0)],
                counted_types=self.counted,
            )
        )

    def _shared(self) -> Generator[Statement, int, tuple[str | None, list[str]]]:
        """Cut what is shared until nothing is; the members of what is still over a limit, None where nothing is."""
        members, later = "members", list[str]()
        while (yield self._run("cut_shared", "shared identifiers", "cuts", members=self._t(members))):
            round_ = len(later) + 1
            links = self._t("links") if self.spec.always else None
            edges = yield self._table("edges_live", "edges without shared", "e0", members=self._t(members), links=links)
            labels = f"labels{round_}"
            yield from self._components("live_nodes", edges, labels, members=self._t(members))
            later.append(self._t(labels))
            names = {"members": self._t(members), "labels": self._t(labels)}
            if not (yield self._table("over_live", "components over a limit", "bad", counted=self.counted, **names)):
                return None, later
            left = f"members{round_ % 2}"
            yield self._table("members_left", "records over a limit", left, bad=self._t("bad"), **names)
            members = left
        return self._t(members), later

    def _by_level(self, members: str) -> Generator[Statement, int, str]:
        """The table of components after the last level."""
        prior, spare = self._t("level0"), self._t("level1")
        yield self._table("live_nodes", "identifiers that join", "level0", members=members)
        if self.spec.always:
            edges = yield self._table("edges_links", "linked always", "e0", links=self._t("links"))
            if edges:
                yield from self._components("joining_nodes", edges, spare.rsplit("_", 1)[1], prior=prior)
                prior, spare = spare, prior
        for level, identifier in enumerate(self.spec.identifiers):
            if not identifier.joins:
                continue
            scope: dict[str, Any] = {"level": level, "limit": identifier.limit, "members": members}
            scope |= {"counted": self.counted, "links": self._t("links") if self.spec.always else None}
            if level and (yield self._table("ties", "ties", "ties", **scope)):
                scope |= {"ties": self._t("ties"), "settled": level}
                yield self._run("cut_ties", "shared or too many", "cuts", **scope)
                yield self._run("cut_bridges", "bridges that join too much", "cuts", prior=prior, **scope)
                yield from self._level("ties", prior, spare, scope)
                prior, spare = spare, prior
            if self._with_pairs([level]) and (yield self._table("pairs", "pairs of one type", "pairs", **scope)):
                scope |= {"ties": None, "pairs": self._t("pairs"), "settled": level + 1}
                yield self._run("cut_pairs", "pairs that join too much", "cut_pairs", prior=prior, **scope)
                yield from self._level("pairs", prior, spare, scope)
                prior, spare = spare, prior
        return prior

    def _level(self, kind: str, prior: str, after: str, scope: dict[str, Any]) -> Generator[Statement, int, None]:
        """Components of this level, and once more where a chain of joins broke a limit."""
        made = after.rsplit("_", 1)[1]
        edges = yield self._table(f"edges_{kind}", "edges of this level", "e0", prior=prior, **scope)
        yield from self._components("joining_nodes", edges, made, prior=prior)
        over = yield self._table("over_parts", "components over a limit", "over", prior=prior, after=after, **scope)
        if over:
            chains, target = ("cut_chains", "cuts") if kind == "ties" else ("cut_pair_chains", "cut_pairs")
            names = {"prior": prior, "after": after, "over": self._t("over")}
            yield self._run(chains, "chains that join too much", target, **names, **scope)
            edges = yield self._table(f"edges_{kind}", "edges of this level", "e0", prior=prior, **scope)
            yield from self._components("joining_nodes", edges, made, prior=prior)

    def _components(self, base: str, edges: int, made: str, **values: Any) -> Generator[Statement, int, None]:
        chain = yield from components(self.renderer, self._t(""), edges)
        nodes = self.renderer.tree(f"identity/{base}", cuts=self._t("cuts"), **values)
        yield self._table("labels", "components", made, nodes=nodes, chain=chain, bridging=False)

    def _with_pairs(self, levels: Any) -> list[int]:
        """Types of which one row of some source can hold two; any, where something is always linked."""
        if self.spec.always:
            return list(levels)
        return [level for level in levels if any(slot.type == level and slot.same for slot in slots(self.spec))]

    def _t(self, name: str) -> str:
        return self.spec.scratch(name)

    def _values(self, values: dict[str, Any]) -> dict[str, Any]:
        return {"cuts": self._t("cuts"), "cut_pairs": self._t("cut_pairs"), "limited": self.limited} | values

    def _table(self, template: str, name: str, made: str, **values: Any) -> Statement:
        return self.renderer.statement(f"identity/{template}", name, "table", self._t(made), **self._values(values))

    def _run(self, template: str, name: str, changed: str, **values: Any) -> Statement:
        return self.renderer.statement(f"identity/{template}", name, "run", self._t(changed), **self._values(values))
