"""Connected components in SQL: contract, jump, contract, until no edge is left.

Every vertex moves along real edges to a smaller one, so paths map to paths and the smallest number of a component,
which never moves, is its label. With full compression at most 2·log2(n) rounds are needed; with a fixed number of
jumps, chains numbered in order would only shift, so where the parents shrink by less than half the jumping is
finished first (see the design paper on identity; the contraction is that of Borůvka's algorithm).
"""

from __future__ import annotations

from collections.abc import Generator

from cdp.compile.plan import Statement
from cdp.compile.render import Renderer
from cdp.errors import CompileError

CHAIN = 8  # levels that are kept apart before they are composed into one
_MOST_LEVELS = 256

Chain = Generator[Statement, int, tuple[str, ...]]


def scratch(prefix: str) -> tuple[str, ...]:
    """All tables that `components` may make."""
    parents = [f"{prefix}{name}" for name in ("e0", "e1", "j", "q0", "q1")]
    return (*parents, *(f"{prefix}p{level}" for level in range(CHAIN)))


def components(renderer: Renderer, prefix: str, edges: int) -> Chain:
    """Contract the `edges` many pairs (a < b) of `<prefix>e0`; returns tables (v, p) to follow one after the other.

    A vertex that stands in none of them is its own label. Raises CompileError CDP221 where the answers to the
    statements cannot be true (a warehouse that does not count rows).
    """
    chain: list[str] = []
    current, other, packed = f"{prefix}e0", f"{prefix}e1", f"{prefix}q0"
    before = None
    for _ in range(_MOST_LEVELS):
        if not edges:
            return tuple(chain)
        if len(chain) == CHAIN:
            yield renderer.statement("identity/composed", "levels so far", "table", packed, chain=chain)
            chain = [packed]
            packed = f"{prefix}q1" if packed.endswith("q0") else f"{prefix}q0"
        parents = f"{prefix}p{len(chain)}"
        count = yield renderer.statement("identity/parents", "smallest neighbours", "table", parents, edges=current)
        if before is not None and count > 1 and 2 * count > before:
            parents = yield from _finish(renderer, prefix, parents)
        before = count
        chain.append(parents)
        names = {"edges": current, "parents": parents}
        edges = yield renderer.statement("identity/contracted", "contract", "table", other, **names)
        current, other = other, current
    raise CompileError("CDP221", f"components did not come to an end in {_MOST_LEVELS} rounds")


def _finish(renderer: Renderer, prefix: str, parents: str) -> Generator[Statement, int, str]:
    """Jump until every parent is a root; the jumps go back and forth between two tables."""
    spare = f"{prefix}j"
    original = parents
    for _ in range(_MOST_LEVELS):
        left = yield renderer.statement("identity/unfinished", "chains left", "probe", "", parents=parents)
        if not left:
            break
        yield renderer.statement("identity/jump", "finish the jumping", "table", spare, parents=parents)
        parents, spare = spare, parents
    if parents != original:  # `j` is used again by the next level
        yield renderer.statement("identity/jump", "finish the jumping", "table", original, parents=parents)
    return original
