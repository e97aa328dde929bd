"""Dates and times in canonical trees: microseconds since 1970 and whole-number arithmetic wherever engines disagree.

Weeks begin on Monday, differences count the boundaries between two times, and all is in UTC, as stored times are.
"""

from __future__ import annotations

import datetime
import re

from sqlglot import exp

from cdp.project.snippet_build import CALENDAR, US, Canon, call, cast, closed, number, text, to_kind, whole
from cdp.project.snippet_nodes import Refused


def unit_of(node: exp.Expr | None, canon: Canon, *, week: bool = True) -> str:
    """The unit of a date function: one that is the same everywhere."""
    name = (node.name if isinstance(node, exp.Var | exp.Literal | exp.Column) else "").lower()
    name = {"weeks": "week", "isoweek": "week"}.get(name, name.removesuffix("s"))
    if name in US or name in CALENDAR:
        if name == "week" and canon.dialect == "bigquery" and not week:
            raise Refused("CDP125", "a week begins on Sunday in BigQuery and on Monday elsewhere", "count days")
        return name
    if isinstance(node, exp.WeekStart):
        raise Refused("CDP125", "a week begins on Monday here", "count days")
    raise Refused("CDP125", f"the unit `{name or node}` is not one of {', '.join((*US, *CALENDAR))}")


def epoch(node: exp.Expr) -> exp.Expr:
    """Microseconds since 1970 of a date or timestamp."""
    return call("cdp_epoch_us", to_kind(node, "timestamp"))


def _past(node: exp.Expr, size: int, shift: int = 0) -> exp.Expr:
    """How far `node` (microseconds) lies above a multiple of `size`, also before 1970: ((n + shift) % s + s) % s."""
    shifted = exp.Paren(this=exp.Add(this=node.copy(), expression=number(shift))) if shift else node.copy()
    once = exp.Mod(this=shifted, expression=number(size))
    return exp.Mod(this=exp.Paren(this=exp.Add(this=once, expression=number(size))), expression=number(size))


_MONDAY = 3 * US["day"]  # 1970-01-01 was a Thursday


def _floor(node: exp.Expr, unit: str) -> exp.Expr:
    """Microseconds of the beginning of the second … week in which `node` lies."""
    micros = epoch(node)
    return exp.Sub(this=micros, expression=exp.Paren(this=_past(micros, US[unit], _MONDAY if unit == "week" else 0)))


def part(unit: str, node: exp.Expr) -> exp.Expr:
    """EXTRACT as a bigint: it is NUMERIC on Postgres."""
    value: exp.Expr
    if unit in ("year", "month", "day"):
        value = exp.Extract(this=exp.var(unit.upper()), expression=to_kind(node, "timestamp"))
        return cast(value, "int")
    if unit == "quarter":
        month = part("month", node)
        return cast(exp.Floor(this=call("cdp_divide", exp.Add(this=month, expression=number(2)), number(3))), "int")
    if unit in ("hour", "minute"):
        within = _past(epoch(node), US["day" if unit == "hour" else "hour"])
        return _count(
            exp.Sub(this=exp.Paren(this=within), expression=exp.Paren(this=_past(epoch(node), US[unit]))), US[unit]
        )
    if unit in ("isodow", "dow"):
        days = _past(_floor(node, "day"), US["week"], _MONDAY if unit == "isodow" else _MONDAY + US["day"])
        counted = _count(days, US["day"])
        return exp.Add(this=counted, expression=number(1)) if unit == "isodow" else counted
    if unit == "epoch":
        return call("cdp_divide", epoch(node), number(US["second"]))
    raise Refused(
        "CDP125", f"`{unit}` of a date differs by engine", "year, quarter, month, day, hour, minute, isodow, epoch"
    )


def extract(node: exp.Expr, canon: Canon) -> exp.Expr:
    unit = node.name.lower()
    if unit == "dow" and canon.dialect not in ("duckdb", "postgres", "redshift"):
        raise Refused("CDP125", "the number of a weekday differs by engine", "isodow(x)")
    return closed(part(unit, node.expression))


def _count(micros: exp.Expr, size: int) -> exp.Expr:
    """How often `size` goes into a multiple of it."""
    return cast(call("cdp_divide", micros, number(size)), "int")


def difference(unit: str, later: exp.Expr, earlier: exp.Expr) -> exp.Expr:
    """How many boundaries of `unit` lie between two times."""
    if unit in US:
        minus = exp.Sub(this=exp.Paren(this=_floor(later, unit)), expression=exp.Paren(this=_floor(earlier, unit)))
        return _count(minus, US[unit])
    years = exp.Paren(this=exp.Sub(this=part("year", later), expression=part("year", earlier)))
    if unit == "year":
        return years
    finer = exp.Sub(this=part(unit, later), expression=part(unit, earlier))
    twelfths = exp.Mul(this=years, expression=number(12 if unit == "month" else 4))
    return exp.Add(this=twelfths, expression=exp.Paren(this=finer))


def date_diff(node: exp.Expr, canon: Canon) -> exp.Expr:
    unit = unit_of(node.args.get("unit") or exp.var("day"), canon, week=False)
    if unit not in ("day", "week", *CALENDAR) and canon.dialect in ("spark", "databricks"):
        raise Refused("CDP125", "Spark counts full hours, others the full hours that began", "write it in `duckdb`")
    return difference(unit, node.this, node.expression)


def trunc(node: exp.Expr, canon: Canon) -> exp.Expr:
    unit = unit_of(node.args.get("unit"), canon, week=False)
    if unit in US:  # weeks begin on Sunday in BigQuery
        return exp.Anonymous(this="cdp_of_epoch_us", expressions=[_floor(node.this, unit)])
    return exp.TimestampTrunc(this=to_kind(node.this, "timestamp"), unit=exp.var(unit.upper()))


_ONE_UNIT = "an interval must be a whole number of one unit"


def shifted(node: exp.Expr, amount: exp.Expr, unit: str, sign: int, canon: Canon | None = None) -> exp.Expr:
    """A time moved by a literal number of units; up to weeks exact, months keep the day or take the month's last."""
    written = amount.name if isinstance(amount, exp.Literal) else None
    count = int(written) if written and re.fullmatch(r"[+-]?\d{1,6}", written.strip()) else whole(amount)
    if count is None:
        raise Refused("CDP125", _ONE_UNIT, "write interval '7 days'", amount)
    moved = to_kind(node, "timestamp")
    if unit in US:
        return call("cdp_add_us", moved, number(sign * count * US[unit]))
    months = count * {"month": 1, "quarter": 3, "year": 12}[unit] * sign
    interval = exp.Interval(this=exp.Literal.string(str(abs(months))), unit=exp.var("MONTH"))
    return (exp.Sub if months < 0 else exp.Add)(this=moved, expression=interval)


def add(node: exp.Expr, canon: Canon) -> exp.Expr:
    sign = -1 if isinstance(node, exp.Sub) else 1
    left, right = node.this, node.expression
    if isinstance(left, exp.Interval) and sign > 0:
        left, right = right, left
    if not isinstance(right, exp.Interval):
        return node
    if right.args.get("unit") is None:
        raise Refused("CDP125", _ONE_UNIT, "write interval '7 days'", right)
    if isinstance(left, exp.Interval):
        raise Refused("CDP125", "an interval plus an interval", "x + interval '1 day' + interval '2 days'")
    return shifted(left, right.this, unit_of(right.args.get("unit"), canon), sign, canon)


def date_add(node: exp.Expr, canon: Canon) -> exp.Expr:
    sign = -1 if type(node).__name__.endswith("Sub") else 1
    amount, unit = node.expression, node.args.get("unit")
    if isinstance(amount, exp.Interval):
        amount, unit = amount.this, amount.args.get("unit")
    return shifted(node.this, amount, unit_of(unit or exp.var("day"), canon), sign, canon)


def interval(node: exp.Expr, canon: Canon) -> exp.Expr:
    if not isinstance(
        node.parent,
        exp.Add
        | exp.Sub
        | exp.DateAdd
        | exp.DateSub
        | exp.TimestampAdd
        | exp.TimestampSub
        | exp.DatetimeAdd
        | exp.DatetimeSub,
    ):
        raise Refused("CDP125", "an interval stands only behind + and -", "x > as_of - interval '30 days'")
    return node


def moment(written: str, kind: str) -> exp.Expr:
    """A literal date or time; a time with an offset becomes UTC."""
    written = written.strip()
    shape = r"\d{4}-\d\d-\d\d" + (
        "" if kind == "date" else r"([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?\s*(Z|[+-]\d\d(:?\d\d)?)?)?"
    )
    try:
        if not re.fullmatch(shape, written):
            raise ValueError
        if kind == "date":
            return cast(text(datetime.date.fromisoformat(written).isoformat()), "date")
        when_ = datetime.datetime.fromisoformat(written.replace(" +", "+").replace(" -", "-"))
    except ValueError:
        raise Refused("CDP126", f"`{written[:40]}` is no {kind}", "write 2026-01-31 or 2026-01-31 09:30:00") from None
    if when_.tzinfo:
        when_ = when_.astimezone(datetime.UTC).replace(tzinfo=None)
    return cast(text(when_.isoformat(sep=" ", timespec="microseconds")), "timestamp")
