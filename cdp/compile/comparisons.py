"""Tests ► SQL. Every leaf is TRUE or FALSE, never NULL: the positive form is wrapped, a negative test is NOT of that."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from sqlglot import exp

from cdp.compile.render import call, text
from cdp.compile.typed import NUMBERS, TIMES, Typed, either, literal, read_as, true_or_false
from cdp.compile.windows import Clock, date_literal, timestamp
from cdp.errors import Mark
from cdp.project.condition import Comparison, Duration, Ref, Test, Value
from cdp.project.reading import Reading

ORDER = {"gt": exp.GT, "gte": exp.GTE, "lt": exp.LT, "lte": exp.LTE, "after": exp.GTE, "before": exp.LT, "eq": exp.EQ}
_NEGATIVE = {"ne": "eq", "not_in": "in", "not_contains": "contains"}
_TEXTUAL = ("contains", "starts_with", "ends_with", "matches")


class Unfit(Exception):
    """A test that does not fit the type of what it is asked of."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True)
class Comparer:
    """Lowers tests. `ref` gives the value of a reference in the row at hand."""

    clock: Clock
    reading: Reading
    ref: Callable[[Ref], Typed | None]

    @property
    def zone(self) -> str:
        """The project's time zone."""
        return self.clock.zone.key

    def test(self, value: Typed, test: Test, subject: str, mark: Mark | None) -> exp.Expr:
        """Whether all comparisons hold of a value; mistakes are noted, and then nothing holds."""
        parts = []
        for comparison in test:
            try:
                parts.append(self.comparison(value, comparison))
            except Unfit as unfit:
                self.reading.problem(
                    "CDP115", f"`{comparison.operator}` on `{subject}`: {unfit.message}", comparison.mark or mark, unfit.hint,
                    length=len(comparison.operator),
                )  # fmt: skip
                parts.append(exp.false())
        return parts[0] if len(parts) == 1 else exp.and_(*parts)

    def comparison(self, value: Typed, comparison: Comparison) -> exp.Expr:
        """Whether one comparison holds; raises Unfit."""
        operator = comparison.operator
        if operator in _NEGATIVE:
            return exp.not_(self.comparison(value, Comparison(_NEGATIVE[operator], comparison.value)))
        if operator == "exists":
            known = exp.Is(this=value.tree.copy(), expression=exp.null())
            return exp.not_(known) if comparison.value else known
        if operator == "empty":
            empty = self._empty(value)
            return empty if comparison.value else exp.not_(empty)
        return true_or_false(self._positive(value, operator, comparison.value))

    def _empty(self, value: Typed) -> exp.Expr:
        parts: list[exp.Expr] = [exp.Is(this=value.tree.copy(), expression=exp.null())]
        if value.type in ("text", "json", None):
            parts.append(true_or_false(read_as(value, "text", self.zone).eq(text(""))))
        if value.type in ("list", "json"):
            parts.append(true_or_false(value.tree.eq(text("[]"))))
        return either(parts)

    def _positive(self, value: Typed, operator: str, asked: object) -> exp.Expr:
        if operator == "between":
            assert isinstance(asked, tuple)
            kind = self._kind(value, list(asked), "between")
            if kind in TIMES:
                raise Unfit("a closed interval of times", "write {gte: from, lt: to}: windows are half-open")
            if kind not in NUMBERS:
                raise Unfit(f"it is {kind}, not a number", "texts have no order that is the same on every engine")
            low, high = (self._operand(end, kind) for end in asked)
            return exp.Between(this=read_as(value, kind, self.zone), low=low, high=high)
        if operator in ("in", "contains_any", "contains_all"):
            assert isinstance(asked, tuple)
            return self._list(value, operator, asked)
        if operator in _TEXTUAL:
            return self._textual(value, operator, asked)
        if operator in ("within_last", "within_next", "older_than"):
            assert isinstance(asked, Duration)
            return self._near(value, operator, asked)
        if operator == "anniversary_within_next":
            assert isinstance(asked, Duration)
            return self._anniversary(value, asked)
        return self._ordered(value, operator, asked)

    # ------------------------------------------------------------------------------------------ kinds
    def _kind(self, value: Typed, asked: list[Value], operator: str) -> str:
        """The type in which a value and its operands are compared."""
        kinds = {self._kind_of(item) for item in asked} - {None}
        numbers, others = kinds & set(NUMBERS), kinds - set(NUMBERS)
        if len(others) > 1 or (others and numbers):
            raise Unfit(f"the values are of several types ({', '.join(sorted(str(kind) for kind in kinds))})")
        operand = (
            others.pop()
            if others
            else ("decimal" if "decimal" in numbers or "float" in numbers else "int" if numbers else None)
        )
        if value.loose:
            if operand == "int":
                return "decimal"
            return operand or "text"
        kind = value.type or "text"
        if operand is None or kind == operand:
            return kind
        if kind in NUMBERS and operand in NUMBERS:
            return "float" if "float" in (kind, operand) else "decimal" if "decimal" in (kind, operand) else "int"
        if kind in TIMES and operand in ("text", *TIMES):
            return kind
        if operator == "eq" and kind == "json" and operand == "text":
            return "text"
        hint = None
        if kind == "text" and operand in NUMBERS:
            hint = (
                'put the value in quotes: "…"'
                if operator in ("eq", "in")
                else "give the column a number type under `columns:`"
            )
        elif kind in NUMBERS and operand == "text":
            hint = "take the quotes away"
        elif kind == "bool":
            hint = "true or false"
        raise Unfit(f"it is {kind}, the value is {operand}", hint)

    def _kind_of(self, value: Value) -> str | None:
        if isinstance(value, Ref):
            found = self.ref(value)
            return None if found is None or found.loose else found.type
        return literal(value).type

    def _operand(self, value: Value, kind: str) -> exp.Expr:
        """An operand in the type of the comparison; raises Unfit for a text that is no time."""
        if isinstance(value, Ref):
            found = self.ref(value)
            return exp.null() if found is None else read_as(found, kind, self.zone)
        if kind in TIMES and isinstance(value, str):
            moment = self.clock.moment(value)
            if moment is None:
                raise Unfit(f"`{value[:40]}` is no time", "such as 2026-01-31, 2026-01-31T12:00:00Z or 30 days ago")
            if kind == "date":
                return date_literal(date.fromisoformat(value[:10]))
            return timestamp(moment)
        found = literal(value)
        return found.tree if found.type in NUMBERS and kind in NUMBERS else read_as(found, kind, self.zone)

    # ------------------------------------------------------------------------------------------ operators
    def _ordered(self, value: Typed, operator: str, asked: object) -> exp.Expr:
        build = ORDER[operator]
        if isinstance(asked, Duration):
            return build(this=self._moment(value, operator), expression=timestamp(self.clock.back(asked)))
        assert isinstance(asked, str | int | float | bool | Ref)
        if value.loose and (operator in ("before", "after") or (operator != "eq" and isinstance(asked, str))):
            value = Typed(read_as(value, "timestamp", self.zone), "timestamp")
        if value.type == "date" and isinstance(asked, str) and len(asked) > 10:
            value = Typed(read_as(value, "timestamp", self.zone), "timestamp")
        kind = self._kind(value, [asked], operator)
        if operator in ("before", "after") and kind not in TIMES:
            raise Unfit(f"it is {kind}, not a time")
        if operator != "eq" and kind in ("text", "bool", "list", "json"):
            raise Unfit(
                f"values of type {kind} have no order that is the same on every engine", "compare numbers or times"
            )
        return build(this=read_as(value, kind, self.zone), expression=self._operand(asked, kind))

    def _moment(self, value: Typed, operator: str) -> exp.Expr:
        if not value.loose and value.type not in TIMES:
            raise Unfit(f"it is {value.type}, not a time")
        return read_as(value, "timestamp", self.zone)

    def _near(self, value: Typed, operator: str, length: Duration) -> exp.Expr:
        moment, now = self._moment(value, operator), self.clock.literal()
        if operator == "older_than":
            return exp.LT(this=moment, expression=timestamp(self.clock.back(length)))
        start, end = (timestamp(self.clock.back(length)), now)
        if operator == "within_next":
            start, end = now, timestamp(self.clock.shift(length, 1))
        return exp.and_(exp.GTE(this=moment, expression=start), exp.LT(this=moment.copy(), expression=end))

    def _list(self, value: Typed, operator: str, asked: tuple[Value, ...]) -> exp.Expr:
        if operator == "in":
            if not asked:
                return exp.false()
            kind = self._kind(value, list(asked), "in")
            return exp.In(
                this=read_as(value, kind, self.zone), expressions=[self._operand(item, kind) for item in asked]
            )
        parts = [self._holds(value, item) for item in asked]
        if not parts:
            return exp.false()
        return exp.or_(*parts) if operator == "contains_any" else exp.and_(*parts)

    def _holds(self, value: Typed, item: Value) -> exp.Expr:
        """Whether a list has an element, or a text contains another one."""
        if value.type in ("list", "json"):
            if isinstance(item, Ref):
                raise Unfit("a ref in a list of elements")
            return true_or_false(call("cdp_list_has", value.tree, text(json.dumps(item, ensure_ascii=False))))
        return true_or_false(self._textual(value, "contains", item))

    def _textual(self, value: Typed, operator: str, asked: object) -> exp.Expr:
        if value.type == "list" and operator == "contains":
            assert isinstance(asked, str | int | float | bool | Ref)
            return self._holds(value, asked)
        if not value.loose and value.type != "text":
            raise Unfit(f"it is {value.type}, not text")
        if isinstance(asked, Ref):
            found = self.ref(asked)
            needle = exp.null() if found is None else read_as(found, "text", self.zone)
        elif isinstance(asked, str):
            needle = text(asked)
        else:
            raise Unfit("the value is no text", 'put it in quotes: "…"')
        return call(f"cdp_{operator}", read_as(value, "text", self.zone), needle)

    def _anniversary(self, value: Typed, length: Duration) -> exp.Expr:
        """Month and day lie within the next days; 29 February is kept on the 28th where the year has none."""
        if not value.loose and value.type not in TIMES:
            raise Unfit(f"it is {value.type}, not a date")
        if value.loose:  # the day of a time is that of the project's zone
            value = Typed(read_as(value, "timestamp", self.zone), "timestamp")
        day_of = read_as(value, "date", self.zone)
        today, end = self.clock.local_date(), self.clock.shift(length, 1)
        days = (self.clock.local_date(end) - today).days if length.months else (end - self.clock.as_of).days
        if days >= 365:
            return exp.not_(exp.Is(this=day_of, expression=exp.null()))
        wanted: list[int] = []
        for step in range(days):
            day = today + timedelta(days=step)
            wanted.append(day.month * 100 + day.day)
            leap = day.year % 4 == 0 and (day.year % 100 != 0 or day.year % 400 == 0)
            if (day.month, day.day) == (2, 28) and not leap:
                wanted.append(229)
        month = exp.Extract(this=exp.var("MONTH"), expression=day_of)
        of_month = exp.Extract(this=exp.var("DAY"), expression=day_of.copy())
        code = exp.Add(this=exp.Mul(this=month, expression=exp.Literal.number(100)), expression=of_month)
        return (
            exp.In(this=exp.Paren(this=code), expressions=[exp.Literal.number(item) for item in wanted])
            if wanted
            else exp.false()
        )


def answer(value: Decimal | None, test: Test) -> bool | None:
    """What a test says of a plain number or of nothing; None where that depends on the row (a ref)."""
    results = [_answer(value, comparison) for comparison in test]
    if any(result is None for result in results):
        return None
    return all(results)


def _answer(value: Decimal | None, comparison: Comparison) -> bool | None:
    operator, asked = comparison.operator, comparison.value
    if operator in _NEGATIVE:
        positive = _answer(value, Comparison(_NEGATIVE[operator], asked))
        return None if positive is None else not positive
    if operator == "exists":
        return (value is not None) == bool(asked)
    if operator == "empty":
        return (value is None) == bool(asked)
    if value is None:
        return False
    operands = asked if isinstance(asked, tuple) else (asked,)
    if any(isinstance(item, Ref) for item in operands):
        return None
    if not all(isinstance(item, int | float) and not isinstance(item, bool) for item in operands):
        return False
    numbers = [Decimal(str(item)) for item in operands]
    if operator == "between":
        return numbers[0] <= value <= numbers[1]
    if operator == "in":
        return value in numbers
    only = numbers[0]
    verdicts = {"eq": value == only, "gt": value > only, "gte": value >= only, "lt": value < only, "lte": value <= only}
    return verdicts.get(operator, False)
