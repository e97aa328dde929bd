"""The way of the data, top to bottom: what the commands do, as functions. Orchestrators call this.

They return frozen results and raise `cdp.errors.CdpError`s; nothing here prints or exits. Each name is imported when it is
first asked for: a sync with nothing to do pays for no compiler of previews.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cdp.flow.access import debug, grants
    from cdp.flow.artifacts import compile_project
    from cdp.flow.catalogue import sources_freeze, sources_freshness, sources_list
    from cdp.flow.estimating import estimate
    from cdp.flow.exposures import dbt_exposures
    from cdp.flow.loading import SECRETS
    from cdp.flow.looking import check, logs, preview
    from cdp.flow.results import (
        CheckResult,
        CompileResult,
        ConditionCount,
        DebugLine,
        Estimate,
        Event,
        ExposuresResult,
        FreezeResult,
        Freshness,
        GrantsResult,
        PreviewResult,
        RunResult,
        Settings,
        SourceLine,
        StepEstimate,
        StepResult,
    )
    from cdp.flow.running import build, run, sync

_HOMES = {
    "access": ("debug", "grants"),
    "artifacts": ("compile_project",),
    "catalogue": ("sources_freeze", "sources_freshness", "sources_list"),
    "estimating": ("estimate",),
    "exposures": ("dbt_exposures",),
    "loading": ("SECRETS",),
    "looking": ("check", "logs", "preview"),
    "results": (
        "CheckResult", "CompileResult", "ConditionCount", "DebugLine", "Estimate", "Event", "ExposuresResult", "FreezeResult", "Freshness",
        "GrantsResult", "PreviewResult", "RunResult", "Settings", "SourceLine", "StepEstimate", "StepResult",
    ),
    "running": ("build", "run", "sync"),
}  # fmt: skip
__all__ = [
    "SECRETS", "CheckResult", "CompileResult", "ConditionCount", "DebugLine", "Estimate", "Event", "ExposuresResult", "FreezeResult", "Freshness",
    "GrantsResult", "PreviewResult", "RunResult", "Settings", "SourceLine", "StepEstimate", "StepResult", "build", "check", "compile_project",
    "dbt_exposures", "debug", "estimate", "grants",
    "logs", "preview", "run", "sources_freeze", "sources_freshness", "sources_list", "sync",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"cdp.flow.{module}"), name)
    raise AttributeError(f"module 'cdp.flow' has no attribute {name!r}")
