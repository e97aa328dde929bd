"""The way of the data, top to bottom: what the commands do, as functions. Orchestrators call this.

They return frozen results and raise `cdp.errors.CdpError`s; nothing here prints or exits.
"""

from __future__ import annotations

from cdp.flow.artifacts import compile_project
from cdp.flow.catalogue import sources_freeze, sources_freshness, sources_list
from cdp.flow.loading import SECRETS
from cdp.flow.looking import check, debug, logs, preview
from cdp.flow.results import (
    CheckResult,
    CompileResult,
    ConditionCount,
    DebugLine,
    Event,
    FreezeResult,
    Freshness,
    PreviewResult,
    RunResult,
    Settings,
    SourceLine,
    StepResult,
)
from cdp.flow.running import build, run, sync

__all__ = [
    "SECRETS", "CheckResult", "CompileResult", "ConditionCount", "DebugLine", "Event", "FreezeResult", "Freshness",
    "PreviewResult", "RunResult", "Settings", "SourceLine", "StepResult", "build", "check", "compile_project", "debug", "logs",
    "preview", "run", "sources_freeze", "sources_freshness", "sources_list", "sync",
]  # fmt: skip
