"""What a user's SQL is written in: the project's dialect, or the engine's own where it is said by engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cdp.errors import Mark
from cdp.project.part import Part
from cdp.project.reading import Reading, value_mark


@dataclass(frozen=True)
class Tongue:
    """`dialect`: the one that the project says. `engine`: what the target is called, None where no target is known."""

    dialect: str = "duckdb"
    engine: str | None = None


def picked(
    texts: str | Mapping[str, str] | None, option: str, part: Part, tongue: Tongue, reading: Reading
) -> tuple[str, Tongue, Mark | None] | None:
    """The text that counts of one text or of a map by engine, the tongue to read it in, and where it stands.

    The target's own entry wins over that of the project's dialect; None where there is neither (CDP113).
    """
    mark = part.at(option)
    if not isinstance(texts, Mapping):
        return texts or "", tongue, mark
    engine = next((name for name in (tongue.engine, tongue.dialect) if name in texts), None)
    if engine is None:
        names = " and ".join(f"`{name}`" for name in dict.fromkeys((tongue.engine, tongue.dialect)) if name)
        said = f"`{option}` has no entry for {names}"
        reading.problem("CDP113", said, mark, f"{option}: {{{tongue.engine or tongue.dialect}: …}}")
        return None
    if part.origin is not None:
        mark = value_mark(part.origin.get(option), engine) or mark
    return texts[engine], replace(tongue, dialect=engine), mark
