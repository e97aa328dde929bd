"""What Spark says when it refuses a statement, fit to be printed; and whether it was the statement at all."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from cdp.errors import StatementError

_LOST = {"UNAVAILABLE", "UNAUTHENTICATED", "PERMISSION_DENIED", "DEADLINE_EXCEEDED", "CANCELLED", "ABORTED"}
_LOGIN = {"UNAUTHENTICATED", "PERMISSION_DENIED"}
_ABSENT = re.compile(r"\b(TABLE_OR_VIEW|SCHEMA|CATALOG|DATABASE)_NOT_FOUND|NO_SUCH_CATALOG|PATH_NOT_FOUND")
_CONFLICT = re.compile(r"DELTA_(CONCURRENT_\w+|METADATA_CHANGED|PROTOCOL_CHANGED)|CONCURRENT_WRITE")
_CUTS = ("JVM stacktrace:", "== SQL", "SQLSTATE:", "\n\n")
_SAIL_NAME = re.compile(r'ObjectName\(\[Identifier\("(\w+)"\)\]\)')
_DETAIL = re.compile(r'details = "(.*)"\n')
_NUMBER = re.compile(r"(?<![\w`])-?\d[\d.,:eE+-]*")
_DIGITS_TOO = ("22", "23", "P0", "KD", "XX")


class Absent(StatementError):
    """A table, schema or catalogue is not there."""


def raised_by_driver() -> tuple[type[Exception], ...]:
    """What pyspark and the gRPC below it raise. The driver must be there."""
    return (import_module("pyspark.errors").PySparkException, import_module("grpc").RpcError)


def raised_when_cut() -> tuple[type[Exception], ...]:
    """The same, and what gRPC raises on a channel that was closed meanwhile."""
    return (*raised_by_driver(), ValueError)


def condition(error: Any) -> str:
    """Spark's name of the error (`UNRESOLVED_COLUMN.WITH_SUGGESTION`); empty where it has none."""
    found = getattr(error, "getCondition", None)
    named = str(found() or "") if found else ""
    if not named:  # a name that came without its structure
        match = re.match(r"\s*\[([A-Z0-9_.]{4,})\]", str(error))
        named = match[1] if match else ""
    return named


def status(error: Any) -> str:
    """The gRPC status by name: UNAVAILABLE, UNAUTHENTICATED …; empty where there is none."""
    found = getattr(error, "getGrpcStatusCode", None) or getattr(error, "code", None)
    code = found() if callable(found) else None
    return str(getattr(code, "name", "") or "")


def is_lost(error: Any) -> bool:
    """Whether it was the connection or the login, and not the statement."""
    if type(error).__name__ == "RetriesExceeded":
        return True
    named = condition(error)
    if not named and "operation not found" in str(error):  # Sail's way to say that it has no answer any more
        return True
    return named.startswith(("NO_ACTIVE_SESSION", "INVALID_HANDLE.OPERATION")) or (not named and status(error) in _LOST)


def is_session_gone(error: Any) -> bool:
    """Whether the server forgot the session (idle for too long, started anew): the statement was not begun."""
    return condition(error).startswith("INVALID_HANDLE.SESSION")


def is_absent(error: Any) -> bool:
    """Whether a table, schema or catalogue is not there."""
    return bool(_ABSENT.search(condition(error) or str(error).upper().replace(" ", "_")[:400]))


def is_conflict(error: Any) -> bool:
    """Whether another writer was faster: Delta undid the whole statement."""
    return bool(_CONFLICT.match(condition(error)))


def is_login(error: Any) -> bool:
    return status(error) in _LOGIN


def words(error: Any) -> str:
    """The engine's words without values out of people's rows and without the statement.

    Names stand in backticks and stay; texts and expressions stand in quotes and go; where a value was the trouble,
    numbers go, too.
    """
    named, text = condition(error), str(error)
    state = (error.getSqlState() if hasattr(error, "getSqlState") else None) or ""
    text = text.lstrip()
    if named and text.startswith(f"[{named}]"):
        text = text[len(named) + 2 :].lstrip()
    detail = _DETAIL.search(text)
    text = detail[1] if detail else text
    for cut in _CUTS:
        text = text.split(cut)[0]
    text = _SAIL_NAME.sub(r"`\1`", text)
    for quote in "'\"":
        # in a value there may be quotes, too: nobody knows where it ends
        names_only = state[:2] == "42" and text.count(quote) % 2 == 0
        end = f"{quote}.*{quote}" if names_only else f"{quote}.*"
        text = re.sub(end, "(value)", text, flags=re.DOTALL)
    if state[:2] in _DIGITS_TOO or not named:
        text = _NUMBER.sub("(number)", text)
    line = next((line.strip() for line in text.splitlines() if line.strip()), "the statement was refused")
    return f"{line[:600]}{f' ({named})' if named else ''}"


def way_out(error: Any) -> str | None:
    """The hint for an error whose way out is known."""
    named = condition(error)
    state = (error.getSqlState() if hasattr(error, "getSqlState") else None) or ""
    if state == "42501" or named.startswith(("INSUFFICIENT_PERMISSIONS", "PERMISSION_DENIED")):
        return "the target's user lacks a right; `cdp debug` says what is missing"
    if is_conflict(error):
        return "another writer changes the same table; run it again when it is done"
    if named.startswith("OPERATION_CANCELED"):
        return "somebody cancelled the statement on the cluster, or it ran into a limit there"
    if "REPLACE TABLE" in str(error) and named.startswith("UNSUPPORTED_FEATURE"):
        return "cdp needs Delta tables: give the cluster Delta Lake's session extension and catalogue"
    if named == "DATA_SOURCE_NOT_FOUND":
        return "the cluster lacks Delta Lake: add it to its packages"
    return None
