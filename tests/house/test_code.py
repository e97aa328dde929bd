"""What every file of the house keeps to."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 450


def sources() -> Iterator[Path]:
    """All Python files of the package and of the destinations."""
    for folder in (ROOT / "cdp", ROOT / "destinations"):
        yield from sorted(path for path in folder.rglob("*.py") if "_shipped" not in path.parts)


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_a_file_fits_in_the_head() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in sources()}
    assert not [place(path, length) for path, length in lengths.items() if length > MAX_LINES]


def test_nobody_asks_for_the_dialect_outside_of_the_warehouses() -> None:
    """The target's, that is: what reads a user's snippet must know in which dialect it was written."""
    asking = re.compile(r"""dialect\s*(==|!=|in\s*[(\[{])|(==|!=)\s*\S*dialect\b""")
    found = [
        place(path, number)
        for path in sources()
        if ROOT / "cdp" / "warehouse" not in path.parents and not path.name.startswith("snippet")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if asking.search(line)
    ]
    assert not found


def test_only_the_command_line_catches_everything() -> None:
    found = [
        place(path, handler.lineno)
        for path in sources()
        if ROOT / "cdp" / "cli" not in path.parents
        for handler in ast.walk(ast.parse(path.read_text()))
        if isinstance(handler, ast.ExceptHandler) and _broad(handler.type)
    ]
    assert not found


def _broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(isinstance(name, ast.Name) and name.id in ("Exception", "BaseException") for name in names)


def test_every_file_says_what_it_holds() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources()
        if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert not silent


def test_nobody_names_things_helpers() -> None:
    vague = re.compile(r"(^|_)(utils?|helpers?|managers?|misc|common)$")
    assert not [str(path.relative_to(ROOT)) for path in sources() if vague.search(path.stem)]
