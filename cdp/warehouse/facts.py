"""What the compiler may know of an engine: its dialect, its functions, how finely to group scans. No connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

Build = Callable[[Sequence[exp.Expr]], exp.Expr]


@dataclass(frozen=True)
class Facts:
    """Facts of one engine.

    `functions` turns each of our canonical functions (`cdp_…`) into this engine's tree, `rewrites` each node class
    that sqlglot would carry over wrongly. A user may call only what every engine has, with one meaning.
    """

    name: str  # duckdb, postgres, snowflake, bigquery, spark, redshift
    dialect: str  # sqlglot's name
    functions: Mapping[str, Build]
    rewrites: Mapping[type[exp.Expr], Callable[[exp.Expr], exp.Expr]] = field(default_factory=dict)
    reads_files: bool = False
    fold: str = "lower"  # how an unquoted name is stored: lower, upper, or none (kept, case-insensitive)
    groups_by_window: bool = True  # split a scan by window class: cheap on DuckDB, a loss on Postgres
    aggregates_per_scan: int = 30
    one_order_per_scan: bool = False  # aggregates that sort (a median) must all sort by the same in one query
    reads_once: bool = False  # a scan of a source is paid for: look for duplicates in the copy, not in the source
    skips_blocks: bool = True  # a table in the order of a column is read only where that column fits
