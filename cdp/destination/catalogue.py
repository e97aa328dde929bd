"""Which destinations there are: one folder each, found by its name. No registration."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cdp.destination import template
from cdp.destination.description import Description, Endpoint, RowsRule
from cdp.destination.problems import mark, problems
from cdp.errors import Problem, ProjectError, suggestion
from cdp.project.reader import read
from cdp.shipped import shipped

FILE = "destination.yml"
_RUN = template.RUN_NAMES
_ROW = (*template.ROW_NAMES, *template.RUN_NAMES)


def folders(project_dir: Path | None = None) -> dict[str, Path]:
    """Name to folder of every destination: the shipped ones, and the project's own, which come first."""
    found: dict[str, Path] = {}
    for home in (shipped("destinations"), *((project_dir / "destinations",) if project_dir is not None else ())):
        if home.is_dir():
            found |= {folder.name: folder for folder in sorted(home.iterdir()) if (folder / FILE).is_file()}
    return dict(sorted(found.items()))


def catalogue(project_dir: Path | None = None) -> list[Description]:
    """The descriptions of all destinations, by name. Raises ProjectError for one that is wrong."""
    return [load(folder) for folder in folders(project_dir).values()]


def find(kind: str, project_dir: Path | None = None) -> Description:
    """The description of a type. Raises ProjectError (CDP401) where there is none."""
    known = folders(project_dir)
    if kind not in known:
        raise ProjectError.of(
            "CDP401", f"there is no destination type `{kind}`", hint=suggestion(kind, list(known), "types")
        )
    return load(known[kind])


def load(folder: Path) -> Description:
    """Read and check `<folder>/destination.yml`. Raises ProjectError with every mistake and its place (CDP41x)."""
    path = folder / FILE
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _load(path: Path, changed_at: int) -> Description:
    document = read(path, root=path.parent.parent.parent)
    if document.problems:
        raise ProjectError(document.problems)
    found = _described(document.data, path.parent.name)
    if isinstance(found, Description):
        return found
    raise ProjectError([_with_line(problem, document.lines) for problem in found])


def _described(data: dict[str, Any], folder: str) -> Description | list[Problem]:
    try:
        description = Description.model_validate(data)
    except ValidationError as error:
        return problems(error, data, Description, where=f"destination `{folder}`", unknown="CDP411", wrong="CDP412")
    wrong = consistency(description, data, where=f"destination `{folder}`")
    if description.name != folder:
        message = f"destination `{folder}`: its name is `{description.name}`; the folder's name is the type"
        wrong.append(Problem("CDP414", message, mark(data, ["name"])))
    return wrong or description


def _with_line(problem: Problem, lines: Sequence[str]) -> Problem:
    if problem.mark is None or not 0 < problem.mark.line <= len(lines):
        return problem
    line = lines[problem.mark.line - 1]
    return Problem(problem.code, problem.message, problem.mark, problem.hint, line, problem.length)


def consistency(description: Description, data: Any, *, where: str) -> list[Problem]:
    """What no single value shows: holes that name nothing, rows that would be lost (CDP413, CDP414)."""
    found: list[Problem] = []
    settings = list(description.config)

    def holes(value: Any, known: Sequence[str], path: Sequence[str]) -> None:
        try:
            template.check(value, known, settings)
        except template.TemplateError as error:
            secret = path[0] in ("auth", "headers")  # their text may hold a secret: not repeated
            said = "a hole that names nothing known here" if secret else str(error)
            found.append(Problem("CDP413", f"{where}: `{'.'.join(path)}`: {said}", mark(data, path), error.hint))

    holes(description.base_url, ["config"], ["base_url"])
    holes(description.account, ["config"], ["account"])
    holes(description.auth.model_dump(), ["config"], ["auth"])
    holes(description.headers, _RUN, ["headers"])
    for operation, point in description.operations.items():
        path = ["operations", operation]
        single = _ROW if point.batch.items == 1 else _RUN
        for part in ("path", "query", "headers"):
            holes(getattr(point, part), single, [*path, part])
        holes(point.row, _ROW, [*path, "row"])
        holes(point.body, (*single, "rows", *(("row",) if point.batch.items == 1 else ())), [*path, "body"])
        found += [Problem("CDP414", f"{where}: `{'.'.join(path)}`: {said}", mark(data, path)) for said in _slips(point)]
    for number, rule in enumerate(description.answers):
        for picker in [rule.rows] if isinstance(rule.rows, RowsRule) else rule.rows or []:
            holes(picker.row, _ROW, ["answers", str(number), "rows", "row"])
    return found


def _slips(point: Endpoint) -> list[str]:
    """Requests that would lose rows or their meaning."""
    said: list[str] = []
    used = set(template.names(point.body))
    if point.body is not None and point.batch.items > 1 and "rows" not in used:
        said.append('the body of a batch needs `"{{ rows }}"`, or its rows would be lost')
    if point.body is None and point.method in ("GET", "DELETE") and point.batch.items > 1:
        said.append(f"a {point.method} of a batch needs a `body`, or its rows would be lost")
    if point.encoding == "ndjson" and point.body not in (None, "{{ rows }}"):
        said.append('with `encoding: ndjson` the body is `"{{ rows }}"`, one row a line')
    if point.row is not None and point.body is not None and not used & {"rows", "row"}:
        said.append("`row` is never used: the body names neither `rows` nor `row`")
    return said
