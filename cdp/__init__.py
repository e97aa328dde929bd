"""cdp: a warehouse-native composable customer data platform.

>>> from cdp import Project, build, sync, run
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cdp.flow import build, run, sync
    from cdp.project import Project

__all__ = ["Project", "__version__", "build", "run", "sync"]

_HOMES = {"Project": "cdp.project", "build": "cdp.flow", "run": "cdp.flow", "sync": "cdp.flow"}


def __getattr__(name: str) -> object:
    """The public names, imported when first asked for: `cdp --version` pays for none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'cdp' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
