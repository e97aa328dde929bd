"""What Postgres says when it refuses a statement, fit to be printed."""

from __future__ import annotations

import re
from typing import Any


def words(error: Any) -> str:
    """The engine's words without values out of people's rows: the detail (`Key (email)=(…)`) is never shown."""
    message = str(error.diag.message_primary or str(error)).strip()
    state = error.sqlstate or ""
    if state[:2] in ("22", "23", "P0", ""):
        for quote in "'\"":
            message = re.sub(f"{quote}.*{quote}|{quote}.*\\Z", "(value)", message, flags=re.DOTALL)
    return f"{message.splitlines()[0][:600]}{f' ({state})' if state else ''}"


def way_out(error: Any) -> str | None:
    """The hint for an error whose way out is known."""
    state = error.sqlstate or ""
    if state == "57014":
        return "raise `statement_timeout` of the target, or give the server more memory"
    if state == "42501":
        return "the target's user lacks a right; `cdp debug` says what is missing"
    if state == "2BP01":
        return f"{error.diag.message_detail}".replace("\n", "; ") if error.diag.message_detail else None
    return str(error.diag.message_hint) if error.diag.message_hint and state[:2] == "42" else None
