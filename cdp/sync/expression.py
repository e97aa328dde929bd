"""The expressions of the diff, as canonical trees: what differs, what identifies, what a value looks like as text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

from sqlglot import exp

from cdp.compile.plan import SyncField, SyncMatch
from cdp.compile.render import call, column, text
from cdp.sync.state import native

STORED = {"list": "text", "json": "text"}  # how structures are kept: as canonical text
_NUMBERS = frozenset({"int", "decimal", "float"})


@dataclass(frozen=True)
class Known:
    """A mapped field beside what the ledger knows of it.

    `sent_type` is the type of the ledger's column, None where it has none; `mapping` is the number of the mapping that
    the field came in with: ledger rows of an older mapping never carried it (`fresh`: there are such rows).
    """

    field: SyncField
    sent_type: str | None
    mapping: int
    fresh: bool

    @property
    def column(self) -> str:
        """Its column, in the mapped table and in the ledger."""
        return self.field.column

    @property
    def type(self) -> str:
        """The type as it is stored."""
        return STORED.get(self.field.type, self.field.type)

    @property
    def same_type(self) -> bool:
        """Whether the ledger's column can take the values as they are."""
        return self.sent_type == self.type


def text_of(value: exp.Expr, type_: str) -> exp.Expr:
    """The canonical text of a value, NULL of NULL."""
    if type_ in ("text", "list", "json"):
        return value
    if type_ == "int":
        return exp.cast(value, native("text"))
    return call(f"cdp_text_of_{type_}", value)


def of_text(value: exp.Expr, type_: str) -> exp.Expr:
    """The value that a canonical text stands for, NULL where it stands for none."""
    if type_ == "text":
        return value
    arguments = [text("UTC")] if type_ == "timestamp" else []
    return call(f"cdp_try_{type_}", value, *arguments)


def differs(known: Known) -> exp.Expr:
    """Whether the current row `c` says something else than the ledger's row `s`: null-safe, within the tolerance,
    never a change to NULL where NULLs are omitted, by canonical text where the type has changed."""
    field, current = known.field, column(known.column, "c")
    if known.sent_type is None:
        apart: exp.Expr = exp.true()
    else:
        apart = _apart(known, current, column(known.column, "s"))
        if known.fresh:
            never = exp.LT(this=column("mapping", "s"), expression=exp.Literal.number(known.mapping))
            apart = exp.or_(apart, never)
    if field.nulls == "omit":
        apart = exp.and_(exp.Not(this=exp.Is(this=current.copy(), expression=exp.null())), apart)
    return apart


def _apart(known: Known, current: exp.Expr, sent: exp.Expr) -> exp.Expr:
    numbers = {known.type, known.sent_type} <= _NUMBERS
    if known.same_type or numbers:
        left, right = current, sent
        if not known.same_type and "float" in (known.type, known.sent_type):
            left, right = (exp.cast(side.copy(), native("float")) for side in (left, right))
    else:
        assert known.sent_type is not None
        left, right = text_of(current, known.type), text_of(sent, known.sent_type)
    apart: exp.Expr = exp.NullSafeNEQ(this=left.copy(), expression=right.copy())
    if known.field.tolerance is not None and numbers:
        gap = exp.Abs(this=exp.Paren(this=exp.Sub(this=left.copy(), expression=right.copy())))
        near = exp.LTE(this=gap, expression=exp.Literal.number(str(known.field.tolerance)))
        apart = exp.and_(apart, exp.Not(this=exp.Coalesce(this=exp.Paren(this=near), expressions=[exp.false()])))
    return apart


def any_differs(fields: Iterable[Known]) -> exp.Expr:
    """Whether a field differs that is not ignored."""
    verdicts = [differs(known) for known in fields if not known.field.ignored]
    return exp.or_(*verdicts) if verdicts else exp.false()


def changed_bits(fields: Sequence[Known]) -> exp.Expr:
    """One character per field, in the plan's order: 1 where it differs."""
    return joined([exp.Case().when(differs(known), text("1")).else_(text("0")) for known in fields])


def match_ids(match: Sequence[SyncMatch], table: str = "r") -> exp.Expr:
    """The match ids of a mapped row as JSON text, an absent one left out; NULL where the row has none at all."""
    if not match:
        return exp.cast(exp.null(), native("text"))
    parts: list[exp.Expr] = []
    for one in match:
        pair = exp.DPipe(this=text(f",{json.dumps(one.name)}:"), expression=_match_value(one, table))
        parts.append(pair if len(match) == 1 else exp.Coalesce(this=exp.Paren(this=pair), expressions=[text("")]))
    if len(match) == 1:
        opening = text("{" + f"{json.dumps(match[0].name)}:")
        return joined([opening, _match_value(match[0], table), text("}")])
    inner = exp.Substring(this=exp.Paren(this=joined(parts)), start=exp.Literal.number(2))
    whole = joined([text("{"), inner, text("}")])
    return exp.Case().when(has_match(match, table), whole)


def _match_value(match: SyncMatch, table: str) -> exp.Expr:
    """One match id as JSON: a text, or a list that is JSON already."""
    value = _present(column(match.column, table))
    return value if match.many else call("cdp_json_quote", value)


def match_differs(match: Sequence[SyncMatch]) -> exp.Expr:
    """Whether the current row `c` has other match ids than the ledger's row `s`.

    Quoting a million ids costs as much as the join: the plain spelling is compared first, and equals the quoted one
    unless an id is missing or holds a character that JSON escapes.
    """
    pieces: list[exp.Expr] = []
    for position, one in enumerate(match):
        opening = ("{" if position == 0 else '",') + f'{json.dumps(one.name)}:"'
        pieces += [text(opening), column(one.column, "c")]
    plain = joined([*pieces, text('"}')])
    sent = column("match_ids", "s")
    apart = exp.NullSafeNEQ(this=match_ids(match, "c"), expression=sent.copy())
    return exp.Case().when(exp.EQ(this=exp.Paren(this=plain), expression=sent), exp.false()).else_(apart)


def has_match(match: Sequence[SyncMatch], table: str = "r") -> exp.Expr:
    """Whether a mapped row has any match id; true where the sync has none to ask for."""
    tests = [exp.Not(this=exp.Is(this=_present(column(m.column, table)), expression=exp.null())) for m in match]
    return exp.or_(*tests) if tests else exp.true()


def digest(fields: Sequence[SyncField], table: str) -> exp.Expr:
    """A fingerprint of what a row would be sent: tells a refused value from a mended one. Never compared with a ledger."""
    parts: list[exp.Expr] = [exp.Coalesce(this=column("match_ids", table), expressions=[text("")])]
    for field in fields:
        value = call("cdp_json_quote", text_of(column(field.column, table), field.type))
        parts.append(exp.Coalesce(this=value, expressions=[text("~")]))
    return call("cdp_md5", joined([piece for part in parts for piece in (part, text(","))]))


def log_entry(fields: Sequence[Known]) -> exp.Expr:
    """JSON text of the changed fields of stage row `t`, old (ledger row `s`) and new; personal data is masked."""
    pieces: list[exp.Expr] = []
    for position, known in enumerate(fields, start=1):
        name = json.dumps(known.field.name, ensure_ascii=False)
        if known.field.pii:
            pair: exp.Expr = text(f",{name}:" + '{"old":"***","new":"***"}')
        else:
            old = text_of(column(known.column, "s"), known.type)
            new = text_of(column(known.column, "t"), known.type)
            pair = joined([text(f",{name}:" + '{"old":'), _json(old), text(',"new":'), _json(new), text("}")])
        bit = exp.Substring(
            this=column("changed", "t"), start=exp.Literal.number(position), length=exp.Literal.number(1)
        )
        pieces.append(exp.Case().when(exp.EQ(this=bit, expression=text("1")), pair).else_(text("")))
    inner = exp.Substring(this=exp.Paren(this=joined(pieces)), start=exp.Literal.number(2))
    return joined([text("{"), inner, text("}")])


def joined(parts: Sequence[exp.Expr]) -> exp.Expr:
    """Texts one after the other; NULL if one is."""
    if not parts:
        return text("")
    return reduce(lambda left, right: exp.DPipe(this=left, expression=right), parts)


def _json(value: exp.Expr) -> exp.Expr:
    return exp.Coalesce(this=call("cdp_json_quote", value), expressions=[text("null")])


def _present(value: exp.Expr) -> exp.Expr:
    """An empty identifier is none."""
    return exp.Nullif(this=value, expression=text(""))
