"""What Postgres says when it refuses a statement, fit to be printed."""

from __future__ import annotations

import re
from typing import Any


def words(error: Any, values_in: tuple[str, ...] = ("22", "23", "P0", "")) -> str:
    """The engine's words without values out of people's rows: the detail (`Key (email)=(…)`) is never shown, and
    messages of the classes `values_in` lose what they quote."""
    message = str(error.diag.message_primary or str(error)).strip()
    state = error.sqlstate or ""
    if state[:2] in values_in:
        for quote in "'\"":
            message = re.sub(f"{quote}.*{quote}|{quote}.*\\Z", "(value)", message, flags=re.DOTALL)
    return f"{message.splitlines()[0][:600]}{f' ({state})' if state else ''}"


def way_out(error: Any) -> str | None:
    """The hint for an error whose way out is known."""
    state = error.sqlstate or ""
    if state == "57014" and "timeout" in str(error.diag.message_primary):
        return "raise `statement_timeout` of the target, or give the server more memory"
    if state == "55P03":
        return (
            "somebody else holds a lock on it: wait for them, end their session, or raise `lock_timeout` of the target"
        )
    if state == "42501":
        return "the target's user lacks a right; `cdp debug` says what is missing, `cdp grants` what to run"
    if state == "2BP01":
        return f"{error.diag.message_detail}".replace("\n", "; ") if error.diag.message_detail else None
    return str(error.diag.message_hint) if error.diag.message_hint and state[:2] == "42" else None
