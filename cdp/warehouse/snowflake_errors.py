"""What Snowflake says when it refuses a login or a statement, fit to be printed. Numbers are those of Snowflake's own
errors; below 100,000 they are about the statement, from there on about its values.
"""

from __future__ import annotations

import re
from typing import Any

from cdp.errors import StatementError, WarehouseError

NOWHERE = frozenset({2003, 2043, 90105, 90106})  # there is no such object, or this role may not know of it
OTHER_KIND = frozenset({1998, 2002, 2203})  # a view where a table is meant, or the other way round
_EXPIRED = frozenset({390103, 390104, 390110, 390111, 390112, 390113, 390114, 390115, 390195, 390318})
_LOST = frozenset({250001, 250002, 250003, 250005, 250007, 250008, 261000})
_PREFIX = re.compile(r"(?:\d{6}: )?(?:\d{6} \([0-9A-Z]{5}\): )?(?:[0-9a-f]{8}-[0-9a-f-]{27}: )?")
_COMPILING = re.compile(r"SQL compilation error:\s*")
_STATEMENT_HINTS = {
    604: "somebody cancelled it, or its time ran out: see `statement_timeout` of the target",
    606: "name a `warehouse` in the target and let the role use it: GRANT USAGE ON WAREHOUSE … TO ROLE …",
    607: "the warehouse is suspended: let it resume by itself (AUTO_RESUME), or the role OPERATE it",
    608: "the warehouse cannot be resumed now: try again, or look at it in Snowflake",
    610: "somebody cancelled it in Snowflake",
    625: "another session holds the rows: SHOW LOCKS names it, SYSTEM$ABORT_TRANSACTION ends what a dead one left open",
    630: "raise `statement_timeout` of the target, or take a larger warehouse",
    2003: "is the name right, and may the role use it? `cdp debug` says what is missing",
    2043: "is the name right, and may the role use it? `cdp debug` says what is missing",
    3001: "the target's role lacks a right; `cdp debug` says what is missing",
    3041: "the schema has managed access: its owner must grant that right",
    90073: "a resource monitor has used up its credits: raise its quota, or wait for its next period",
    90105: "does the `database` of the target exist, and may the role use it? GRANT USAGE ON DATABASE … TO ROLE …",
    90106: "write the table as schema.table",
}
_LOGIN_HINTS = {
    390100: "check user and password",
    390101: "check the user: it is disabled",
    390102: "the user is locked: wait 15 minutes, or have it unlocked",
    390144: "does the private key fit the public key of the user (DESC USER … : RSA_PUBLIC_KEY_FP), and is this machine's"
    " clock right?",
    390186: "GRANT ROLE … TO USER …, or name another `role`",
    390189: "GRANT ROLE … TO USER …, or name another `role`",
    390195: "fetch a new token",
    390201: "check `warehouse` and `database`: they are misspelled, or the role may not use them",
    390303: "fetch a new token",
    390318: "fetch a new token",
    390422: "a network policy of the account shuts this machine's address out",
    394508: "this user must log in with a second factor: give an unattended run a key pair",
}


class Refused(StatementError):
    """A refused statement with Snowflake's number for why."""

    def __init__(self, number: int, message: str, *, hint: str | None = None) -> None:
        super().__init__("CDP301", message, hint=hint)
        self.number = number


def number_of(error: Any) -> int:
    """Snowflake's number of an error, 0 where the driver gave none."""
    number = getattr(error, "errno", None)
    return number if isinstance(number, int) and number > 0 else 0


def has_expired(error: Any) -> bool:
    """Whether the session was over before the statement came: nothing was run."""
    renewing = str(getattr(error, "raw_msg", None) or error).startswith("Failed to refresh session")
    return renewing or number_of(error) in _EXPIRED or type(error).__name__ == "ReauthenticationRequest"


def is_lost(error: Any) -> bool:
    """Whether nobody knows what became of the statement: the network, not the engine, ended it."""
    number, state = number_of(error), str(getattr(error, "sqlstate", "") or "")
    if isinstance(error, OSError):  # version 4 lets some of its HTTP client's through
        return True
    if number in _LOST or number in _EXPIRED or state.startswith("08"):
        return True
    # what the driver says of itself has no number of the engine's, or one beyond them
    return type(error).__name__ in _NETWORK and (number < 100 or 250_000 <= number < 600_000)


_NETWORK = frozenset(
    {
        "OperationalError", "InterfaceError", "InternalServerError", "ServiceUnavailableError", "GatewayTimeoutError",
        "BadGatewayError", "ForbiddenError", "BadRequest", "TooManyRequests", "OtherHTTPRetryableError", "HttpError",
        "RequestTimeoutError", "InternalError",
    }
)  # fmt: skip


def words(error: Any) -> str:
    """The engine's words without values out of people's rows and without the statement."""
    number = number_of(error)
    text = str(getattr(error, "raw_msg", None) or getattr(error, "msg", None) or error).strip()
    text = _PREFIX.sub("", _PREFIX.sub("", text, count=1), count=1)
    compiling = bool(_COMPILING.match(text))
    text = _COMPILING.sub("", text, count=1)
    state = str(getattr(error, "sqlstate", "") or "")
    if number >= 100_000 or state[:2] in ("22", "23") or number == 0:
        text = _without_values(text)
    elif number == 1003:  # a syntax error quotes what it stumbled over, be that a name or a text
        text = re.sub(r"'(?!\w+')[^\n]*'", "(value)", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = " ".join(lines[: 3 if compiling else 1])
    return f"{kept[:600]}{f' ({number:06})' if number else ''}" or "no reason was given"


def _without_values(text: str) -> str:
    for opening, closing in (("'", "'"), ('"', '"'), (r"\[", r"\]")):
        text = re.sub(f"{opening}.*{closing}|{opening}.*\\Z", "(value)", text, flags=re.DOTALL)
    return text


def refused(error: Any) -> Refused:
    """The error of a statement that the engine did not take; the connection lives on."""
    number = number_of(error)
    return Refused(number, words(error), hint=_STATEMENT_HINTS.get(number))


def lost(error: Any) -> WarehouseError:
    """The error of a connection that broke in mid-statement."""
    return WarehouseError("CDP302", f"the connection to Snowflake was lost: {_short(error)}", hint="run it again")


def unreachable(error: Any, account: str) -> WarehouseError:
    """The error of a login that came to nothing."""
    number, text = number_of(error), _short(error)
    # the driver wraps what the server said in its own number
    told = next((known for known in _LOGIN_HINTS if number == known or str(known) in text), None)
    if told is None and re.search(r"incorrect username or password", text, re.IGNORECASE):
        told = 390100
    if told is not None:
        return WarehouseError("CDP302", f"Snowflake refuses the login: {text}", hint=_LOGIN_HINTS[told])
    if re.search(r"\b(403|404)\b", text):
        hint = f"is there an account `{account}`? its identifier reads like organisation-account"
    else:
        hint = "is `account` right (it reads like organisation-account), and does this network let you out?"
    return WarehouseError("CDP302", f"Snowflake cannot be reached: {text}", hint=hint)


def _short(error: Any) -> str:
    """One line of the driver's words, without addresses of requests."""
    text = str(getattr(error, "raw_msg", None) or getattr(error, "msg", None) or error).strip()
    text = _PREFIX.sub("", text, count=1)
    line = next((line.strip() for line in text.splitlines() if line.strip()), "no answer")
    return re.sub(r"\S*/(?:session|queries)/\S*", "…", line)[:300]
