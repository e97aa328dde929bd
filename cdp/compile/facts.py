"""The facts of an engine as the compiler sees them: `flow` hands them in, nothing here knows a warehouse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from sqlglot import exp


class Facts(Protocol):
    """See `cdp.warehouse.facts.Facts`, which is what a target hands over."""

    @property
    def name(self) -> str: ...
    @property
    def dialect(self) -> str: ...
    @property
    def functions(self) -> Mapping[str, Callable[[Sequence[exp.Expr]], exp.Expr]]: ...
    @property
    def rewrites(self) -> Mapping[type[exp.Expr], Callable[[exp.Expr], exp.Expr]]: ...
    @property
    def lacks(self) -> Mapping[str, str]: ...
    @property
    def reads_files(self) -> bool: ...
    @property
    def fold(self) -> str: ...
    @property
    def groups_by_window(self) -> bool: ...
    @property
    def aggregates_per_scan(self) -> int: ...
