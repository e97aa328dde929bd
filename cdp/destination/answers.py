"""From an answer to verdicts: the rules of a description in their order, then what HTTP means anyway.

Success is judged by status *and* body. Where the answer is not understood, the rows are `unknown`, never accepted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from cdp.destination.description import AnswerRule, Check, Checks, RowsRule, Then, Verdict
from cdp.destination.outcome import Again, Answer, Batch, Change, Outcome, Rows, Split, Stop
from cdp.destination.rate import WAIT_HEADERS, wait_told

_REASONS = ("message", "reason", "error.message", "error", "errors.0.message", "errors.0.detail", "errors.0.reason",
            "errors.0", "meta.error", "meta.errors.0", "detail", "title")  # fmt: skip
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_GRAVITY: dict[Verdict, int] = {"accepted": 0, "retry": 1, "unknown": 2, "refused": 3}
_MISSING = object()
UNREADABLE = object()

CONNECTION, LOST, THROTTLED, SERVER = "CDP420", "CDP421", "CDP422", "CDP423"
LOGIN, GONE, UNCLEAR = "CDP424", "CDP425", "CDP428"


@dataclass(frozen=True)
class Response:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Judge:
    """The rules of one destination. `addressed` says whether a request's address holds a row's own value:
    then a 404 is about that row, else about the endpoint. `clean` takes secrets out of texts.
    `row_values` gives the templates by which a `row:` of a rule reads a change."""

    def __init__(
        self,
        rules: Sequence[AnswerRule],
        *,
        request_id: str = "x-request-id",
        clean: Callable[[str], str] = lambda text: text,
        row_value: Callable[[str, Change], Any] | None = None,
    ) -> None:
        self._rules = rules
        self._request_id = request_id.lower()
        self._clean = clean
        self._row_value = row_value

    def verdict(self, batch: Batch, response: Response, *, addressed: bool = False, request_bytes: int = 0) -> Answer:
        """The answer for a batch: exactly one outcome per row, or what to do with the whole."""
        return _Case(self, batch, response, addressed, request_bytes).answer()


@dataclass
class _Case:
    """One answer while it is judged."""

    judge: Judge
    batch: Batch
    response: Response
    addressed: bool
    request_bytes: int

    def __post_init__(self) -> None:
        self.body = _parsed(self.response.content)
        self.request_id = self.response.headers.get(self.judge._request_id)

    def answer(self) -> Answer:
        succeeded = 200 <= self.response.status < 300
        for rule in self.judge._rules:
            if not rule.fits_status(self.response.status):
                continue
            if rule.operations is not None and self.batch.operation not in rule.operations:
                continue
            if (rule.when is not None or rule.rows is not None) and self.body is UNREADABLE:
                if succeeded:
                    return self._all("unknown", UNCLEAR, "the answer's body is no JSON; its rules need it")
                continue
            if rule.when is None or _holds(rule.when, self.body):
                return self._by_rows(rule) if rule.rows is not None else self._whole(rule.then, rule)
        return self._by_default()

    def _by_default(self) -> Answer:
        """What the status means by HTTP alone."""
        status, nothing = self.response.status, AnswerRule()
        about_a_list_or_record = self.batch.operation in ("remove", "delete")
        if status == 207:
            return self._all("unknown", UNCLEAR, "207 says that rows differ, and no rule of `answers` reads them")
        if 200 <= status < 300:
            return self._whole("ok", nothing)
        if 300 <= status < 400:
            return self._stop(GONE, "it redirects to another address, and redirects are not followed")
        if status in (401, 402, 403, 407):
            return self._whole("refresh_auth", nothing)
        if status in (404, 410) and about_a_list_or_record:
            return self._whole("ok", nothing)  # what should be gone is gone
        if status in (404, 405, 410, 501) and not self.addressed:
            return self._stop(GONE, "there is no such endpoint")
        if status == 429 or (status == 503 and wait_told(self.response.headers) is not None):
            return self._whole("throttle", nothing)
        if status in (413, 414, 431):
            return self._whole("too_large", nothing)
        if status in (408, 425) or not 400 <= status < 500:
            return self._whole("retry", nothing)
        return self._whole("split", nothing)

    def _whole(self, then: Then, rule: AnswerRule) -> Answer:
        """The same for all rows."""
        status = self.response.status
        if then == "ok":
            return self._all("accepted")
        code, reason = self._said(rule)
        if then == "refused":
            return self._all("refused", code, reason)
        if then == "unknown":
            return self._all("unknown", UNCLEAR, reason)
        if then in ("split", "too_large"):
            return Split(code, reason, then == "too_large", self.request_bytes)
        if then in ("stop", "refresh_auth"):
            login = then == "refresh_auth" or status in (401, 403, 407)
            return self._stop(LOGIN if login else GONE, reason)
        names = [rule.after] if isinstance(rule.after, str) else rule.after
        after = wait_told(self.response.headers, names or WAIT_HEADERS)
        if then == "throttle":
            message = f"it asks to slow down ({status}): {reason}"
            return Again(THROTTLED, message, after, throttled=True, request_bytes=self.request_bytes)
        # A 5xx may come after the rows went in: only a rule may say that they did not.
        maybe = rule.applied == "maybe" or (rule.applied is None and (status >= 500 or status < 300))
        return Again(SERVER, f"it answered {status}: {reason}", after, unknown=maybe, request_bytes=self.request_bytes)

    def _stop(self, code: str, reason: str) -> Stop:
        return Stop(code, f"it answered {self.response.status}: {reason}", self.request_bytes)

    def _all(self, verdict: Verdict, code: str = "", reason: str = "") -> Rows:
        outcomes = [
            Outcome(change.row_key, verdict, code, reason, request_id=self.request_id) for change in self.batch.changes
        ]
        return Rows(outcomes, self.request_bytes)

    def _said(self, rule: AnswerRule) -> tuple[str, str]:
        """Code and reason of the whole answer: as the rule picks them, else where APIs usually put them."""
        code = _text(pick(self.body, rule.code)) if rule.code is not None else ""
        reason = _text(pick(self.body, rule.reason)) if rule.reason is not None else ""
        if not reason:
            reason = _usual_reason(self.body)
        if not reason and self.body is UNREADABLE:
            reason = self.response.content[:300].decode("utf-8", "replace")
        return code or f"HTTP {self.response.status}", self.judge._clean(reason) or "no reason given"

    def _by_rows(self, rule: AnswerRule) -> Rows:
        """One verdict per row; where an entry points nowhere, the rows that no entry named are unknown."""
        pickers = rule.rows if isinstance(rule.rows, list) else [rule.rows] if rule.rows else []
        named: dict[int, Outcome] = {}
        others: Verdict = "accepted"
        trouble = ""
        for picker in pickers:
            others = max(others, picker.others, key=_GRAVITY.__getitem__)
            entries = pick(self.body, picker.path)
            if picker.locator == "none" or (entries is _MISSING and picker.optional):
                continue
            if not isinstance(entries, list):
                return self._all("unknown", UNCLEAR, f"the answer has no list at `{picker.path}`")
            if picker.locator == "positional" and len(entries) != len(self.batch.changes):
                return self._all(
                    "unknown", UNCLEAR, f"{len(self.batch.changes)} rows were sent, {len(entries)} were answered"
                )
            trouble = self._note(picker, entries, named) or trouble
        rest = (
            ("unknown", UNCLEAR, trouble)
            if trouble
            else (others, *(("", "") if others == "accepted" else self._said(rule)))
        )
        outcomes = [
            named.get(index) or Outcome(change.row_key, *rest, request_id=self.request_id)  # type: ignore[arg-type]
            for index, change in enumerate(self.batch.changes)
        ]
        return Rows(outcomes, self.request_bytes)

    def _note(self, picker: RowsRule, entries: list[Any], named: dict[int, Outcome]) -> str:
        """Write the entries' verdicts down; what an entry that fits no row says about itself, or nothing."""
        rows_of = self._finder(picker)
        trouble = ""
        for position, entry in enumerate(entries):
            rows = rows_of(position, entry)
            if not rows:
                trouble = "the answer names a row that was not sent"
            for row in rows:
                outcome = self._outcome(picker, entry, self.batch.changes[row])
                before = named.get(row)
                if before is None or _GRAVITY[outcome.status] > _GRAVITY[before.status]:
                    named[row] = outcome
        return trouble

    def _outcome(self, picker: RowsRule, entry: Any, change: Change) -> Outcome:
        verdict: Verdict = picker.then
        for name, checks in (("accepted", picker.accepted), ("retry", picker.retry), ("unknown", picker.unknown)):
            if checks is not None and _holds(checks, entry):
                verdict = name  # type: ignore[assignment]
                break
        remote_id = _text(pick(entry, picker.remote_id)) if picker.remote_id is not None else ""
        if verdict == "accepted":
            return Outcome(change.row_key, verdict, remote_id=remote_id or None, request_id=self.request_id)
        code = _text(pick(entry, picker.code)) if picker.code is not None else ""
        reason = _text(pick(entry, picker.reason)) if picker.reason is not None else _usual_reason(entry)
        return Outcome(
            change.row_key,
            verdict,
            self.judge._clean(code) or f"HTTP {self.response.status}",
            self.judge._clean(reason) or "no reason given",
            remote_id or None,
            self.request_id,
        )

    def _finder(self, picker: RowsRule) -> Callable[[int, Any], Sequence[int]]:
        """How entries of this picker lead to rows of the batch: their indexes, none where they lead nowhere."""
        count = len(self.batch.changes)
        if picker.locator == "positional":
            return lambda position, entry: (position,)
        if picker.locator == "index_field":

            def by_index(position: int, entry: Any) -> Sequence[int]:
                index = _whole_number(pick(entry, picker.key))
                at = -1 if index is None else index - picker.index_from
                return (at,) if 0 <= at < count else ()

            return by_index
        rows = self._rows_by_value(picker)

        def by_value(position: int, entry: Any) -> Sequence[int]:
            value = entry if picker.locator == "id_list" else pick(entry, picker.key)
            text = _text(value)
            return rows.get(text) or rows.get(text.casefold()) or () if text else ()

        return by_value

    def _rows_by_value(self, picker: RowsRule) -> dict[str, list[int]]:
        """The batch's rows by the value that entries call them: `row:`, or any of their match ids."""
        rows: dict[str, list[int]] = {}
        for index, change in enumerate(self.batch.changes):
            if picker.row is not None and self.judge._row_value is not None:
                values = [self.judge._row_value(picker.row, change)]
            else:
                values = list(change.match.values())
            for text in {form for value in values for form in (_text(value), _text(value).casefold()) if form}:
                rows.setdefault(text, []).append(index)
        return rows


def pick(value: Any, path: str | None) -> Any:
    """The value at a dotted path (`errors.0.code`), or a mark that it is missing; an empty path is the whole."""
    for step in path.split(".") if path else ():
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return _MISSING
    return value


def cleaner(secrets: Sequence[str], limit: int = 500) -> Callable[[str], str]:
    """A function that takes secrets and control characters out of a text that came from outside, and cuts it."""
    known = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)

    def clean(text: str) -> str:
        for secret in known:
            text = text.replace(secret, "***")
        text = " ".join(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text).split())
        return text if len(text) <= limit else text[: limit - 1] + "…"

    return clean


def _holds(checks: Checks, body: Any) -> bool:
    return all(_check(check, body) for check in (checks if isinstance(checks, list) else [checks]))


def _check(check: Check, body: Any) -> bool:
    """One test; on a missing value only `exists: false` and `empty: true` hold."""
    value, test = pick(body, check.path), check.test
    if test == "exists":
        return (value is not _MISSING) == check.exists
    if test == "empty":
        return (value is _MISSING or value is None or value in ("", [], {})) == check.empty
    if value is _MISSING:
        return False
    if test in ("equals", "not_equals"):
        return _same(value, check.equals if test == "equals" else check.not_equals) == (test == "equals")
    if test == "one_of":
        return any(_same(value, wanted) for wanted in check.one_of or ())
    if test == "none_of":
        return not any(_same(value, wanted) for wanted in check.none_of or ())
    if test == "contains":
        return isinstance(value, str | list | dict) and check.contains in value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value > check.gt if check.gt is not None else check.lt is not None and value < check.lt


def _same(value: Any, wanted: Any) -> bool:
    """Equal, and no 1 for true."""
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _whole_number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else None


def _text(value: Any) -> str:
    """A picked value as text; nothing for what is missing."""
    if value is _MISSING or value is UNREADABLE or value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _usual_reason(body: Any) -> str:
    if isinstance(body, str):
        return body
    for path in _REASONS:
        said = pick(body, path)
        if said is not _MISSING and said not in (None, "", [], {}):
            return _text(said)
    return ""


def _parsed(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return UNREADABLE
