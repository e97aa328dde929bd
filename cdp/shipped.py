"""Where the files that travel with the package lie: `models/`, `destinations/`, `examples/`.

In a checkout they stand beside the package, where people read them; in a wheel they lie inside it.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """The folder `name` (`models`, `destinations`, `examples`); raises FileNotFoundError in a broken install."""
    for folder in (_PACKAGE / "_shipped" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"this installation of cdp lacks its folder {name!r}; reinstall composable-cdp")
