"""A DuckDB that remembers which canonical trees it was asked to run, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlglot import exp

from cdp.compile.plan import Action
from cdp.compile.render import Renderer
from cdp.warehouse.duckdb import DuckDB
from cdp.warehouse.functions import FACTS


@dataclass(frozen=True)
class Ran:
    """A statement as it ran: what it makes or changes, its tree, and the columns of what it made."""

    action: Action
    target: str
    tree: exp.Expr


@dataclass(frozen=True)
class Appeared:
    """A table that came from elsewhere (rows that were loaded), with its columns."""

    target: str
    columns: tuple[str, ...]


class Recorder(Renderer):
    """Renders for DuckDB, and keeps the tree of every text, and the names of the templates."""

    def __init__(self) -> None:
        super().__init__(FACTS["duckdb"])
        self.trees: dict[str, exp.Expr] = {}
        self.templates: set[str] = set()

    def tree(self, template: str, **values: Any) -> exp.Expr:
        self.templates.add(template)
        return super().tree(template, **values)

    def sql(self, tree: exp.Expr, *, pretty: bool = True) -> str:
        text = super().sql(tree, pretty=pretty)
        self.trees[text] = tree.copy()
        return text


class Recording(DuckDB):
    """A warehouse whose statements can be read again as trees."""

    def __init__(self, path: Path, recorder: Recorder) -> None:
        super().__init__(path)
        self.recorder = recorder
        self.log: list[Ran | Appeared] = []

    def _ran(self, action: Action, sql: str, target: str = "") -> None:
        tree = self.recorder.trees.get(sql)
        if tree is not None:
            self.log.append(Ran(action, target, tree))

    def execute(self, sql: str) -> int:
        self._ran("run", sql)
        return super().execute(sql)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        self._ran("probe", sql)
        return super().rows(sql)

    def make_table(self, table: str, select: str) -> int:
        made = super().make_table(table, select)
        if select in self.recorder.trees:
            self._ran("table", select, table)
        else:
            self._appeared(table)
        return made

    def make_view(self, view: str, select: str) -> None:
        self._ran("view", select, view)
        super().make_view(view, select)

    def unload_json_lines(self, select: str, path: Path) -> int:
        self._ran("probe", select)
        return super().unload_json_lines(select, path)

    def load_json_lines(self, table: str, path: Path, columns: Any) -> int:
        count = super().load_json_lines(table, path, columns)
        self._appeared(table)
        return count

    def swap(self, pairs: Any) -> None:
        super().swap(pairs)
        for name in pairs.values():
            self._appeared(name)

    def _appeared(self, table: str) -> None:
        self.log.append(Appeared(table, tuple(column.name for column in self.columns(table) or ())))
