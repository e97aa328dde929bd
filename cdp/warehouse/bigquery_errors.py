"""What BigQuery says when it refuses something, fit to be printed: the reason it gives and its words, never a value.

Reasons: https://cloud.google.com/bigquery/docs/error-messages
"""

from __future__ import annotations

import re
from typing import Any

from cdp.errors import StatementError, WarehouseError

# the job, or the request, had no effect and may be sent again
TRANSIENT = frozenset(
    {
        "backendError",
        "internalError",
        "jobBackendError",
        "jobInternalError",
        "rateLimitExceeded",
        "jobRateLimitExceeded",
    }
)
_HINTS = {
    "accessDenied": "the account lacks a right; `cdp grants` prints what it needs, `cdp debug` says what is missing",
    "quotaExceeded": "a quota of the project is used up: wait until it is renewed, or have it raised",
    "bytesBilledLimitExceeded": "raise `maximum_bytes_billed` of the target, or read less (`--estimate` says how much)",
    "billingNotEnabled": "link the project to a billing account: without one BigQuery changes no rows",
    "resourcesExceeded": "the statement needs more memory than BigQuery gives one: split the source, or read less of it",
    "responseTooLarge": "the result is larger than BigQuery gives out: select fewer columns or rows",
    "stopped": "raise `job_timeout` of the target, or find out who cancelled the job",
    "timeout": "raise `job_timeout` of the target",
}
_DATA = frozenset({"invalidQuery", "invalid", "jsonParseError", ""})  # reasons whose words may quote people's rows
# words that speak of the statement; all others of those reasons are cut before what may be a value
_STRUCTURE = re.compile(
    r"Unrecognized name|Syntax error|No matching signature|Not found|Function not found|Name .* not found|Column "
    r"|Duplicate |Ambiguous |Aggregat|SELECT list|Query (column|without)|Table |Transaction|Subquery|Unsupported|Correlated"
    r"|Cannot (partition|cluster|access field)|Partitioning|Clustering|Inserted row|Value has type|Missing |Session|DML "
    r"|DELETE must|UPDATE must|LEFT OUTER|FULL OUTER|Expected type|Grouping|An expression|The argument|Job "
)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_NAME = re.compile(r"""['"][A-Za-z_][\w$]*['"]\Z""")


def reason_of(error: Any) -> str:
    """The reason that BigQuery gives for an API error, `""` where it gives none."""
    for item in getattr(error, "errors", None) or ():
        if isinstance(item, dict) and item.get("reason"):
            return str(item["reason"])
    return ""


def words(error: Any) -> str:
    """One line in the engine's own words, without what may be out of somebody's row."""
    reason = reason_of(error)
    texts = [
        str(item["message"])
        for item in getattr(error, "errors", None) or ()
        if isinstance(item, dict) and item.get("message")
    ]
    message = (texts[0] if texts else str(getattr(error, "message", "") or error)).strip()
    if reason in _DATA:
        message = _without_values(message)
    line = next((part.strip() for part in message.splitlines() if part.strip()), "no words for it")
    return f"{line[:600]}{f' ({reason})' if reason else ''}"


def _without_values(message: str) -> str:
    if not _STRUCTURE.match(message):
        head, colon, _ = message.partition(":")
        message = f"{head}: (value)" if colon else message
        return _QUOTED.sub("(value)", message)
    return _QUOTED.sub(lambda match: match[0] if _NAME.match(match[0]) else "(value)", message)


def refused(error: Any) -> WarehouseError:
    """An API error as one of ours: the login or the project (CDP302), or this statement only (CDP301)."""
    reason, said = reason_of(error), words(error)  # the driver gives a reason that it does not know the code 500
    code = getattr(error, "code", None)
    if code == 401:
        return unreachable(f"the login was refused: {said}", hint="check the credentials of the target")
    if "bigquery.jobs.create" in said or "bigquery.sessions" in said:
        return unreachable(said, hint="the account needs roles/bigquery.jobUser on the project; `cdp grants` prints it")
    if reason in TRANSIENT or (reason == "" and isinstance(code, int) and (code >= 500 or code == 429)):
        return unreachable(f"it kept failing: {said}", hint="BigQuery is overloaded or in trouble: run it again later")
    if "concurrent update" in said:
        return StatementError("CDP301", said, hint="another run wrote to the same table: run it again")
    if code == 404 and "ocation" in said:
        return StatementError(
            "CDP301",
            said,
            hint="is `location` of the target that of its datasets, and is the name written as it is there?",
        )
    return StatementError("CDP301", said, hint=_HINTS.get(reason))


def unreachable(said: str, *, hint: str) -> WarehouseError:
    """CDP302 with the words given."""
    return WarehouseError("CDP302", f"BigQuery cannot be reached: {said}", hint=hint)
