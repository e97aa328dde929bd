"""Windows and durations ► instants, all counted from one `as_of`. Half-open [from, to), UTC, naive."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlglot import exp

from cdp.project.condition import Duration, Window


@dataclass(frozen=True)
class Clock:
    """The instant that a run is about (UTC, naive) and the zone in which its calendar is read."""

    as_of: datetime
    zone: ZoneInfo

    @classmethod
    def at(cls, moment: datetime, zone: ZoneInfo) -> Clock:
        """A clock that stands at an aware moment."""
        return cls(moment.astimezone(UTC).replace(tzinfo=None), zone)

    def literal(self) -> exp.Expr:
        """`as_of` as SQL."""
        return timestamp(self.as_of)

    def back(self, duration: Duration) -> datetime:
        """`as_of` minus a duration; months step back in the project's zone, to the last day where a month is short."""
        return self.shift(duration, -1)

    def shift(self, duration: Duration, sign: int) -> datetime:
        """`as_of` moved by a duration."""
        if not duration.months:
            return self.as_of + sign * timedelta(microseconds=duration.microseconds)
        local = self.as_of.replace(tzinfo=UTC).astimezone(self.zone)
        index = local.year * 12 + local.month - 1 + sign * duration.months
        year, month = divmod(index, 12)
        day = min(local.day, calendar.monthrange(year, month + 1)[1])
        return self.utc(local.replace(tzinfo=None, year=year, month=month + 1, day=day))

    def utc(self, local: datetime) -> datetime:
        """Wall time in the project's zone as UTC."""
        return local.replace(tzinfo=self.zone).astimezone(UTC).replace(tzinfo=None)

    def local_date(self, moment: datetime | None = None) -> date:
        """Today (or the day of a UTC moment), in the project's zone."""
        return (moment or self.as_of).replace(tzinfo=UTC).astimezone(self.zone).date()

    def moment(self, text: str) -> datetime | None:
        """A date (midnight) or a time as UTC; without an offset it is meant in the project's zone. None: neither."""
        try:
            if len(text) == 10:
                return self.utc(datetime.combine(date.fromisoformat(text), time()))
            found = datetime.fromisoformat(text.replace("Z", "+00:00"))
            return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else self.utc(found)
        except (ValueError, OverflowError):
            return None

    def bounds(self, window: Window) -> tuple[datetime | None, datetime | None] | None:
        """[from, to) of a window; None where a time in it is no time."""
        if window.kind == "last" and window.duration is not None:
            return self.back(window.duration), self.as_of
        if window.kind in ("this", "previous"):
            start = self._start(window.unit or "day", 0)
            if window.kind == "this":
                return start, self.as_of
            return self._start(window.unit or "day", -1), start
        ends: list[datetime | None] = []
        for end in (window.start, window.end):
            if isinstance(end, Duration):
                ends.append(self.back(end))
            elif end is None:
                ends.append(None)
            else:
                found = self.moment(end)
                if found is None:
                    return None
                ends.append(found)
        return ends[0], ends[1]

    def _start(self, unit: str, steps: int) -> datetime:
        """The beginning of this calendar unit, or of the one `steps` away, as UTC."""
        local = self.as_of.replace(tzinfo=UTC).astimezone(self.zone)
        today = local.date()
        if unit == "hour":
            return self.as_of.replace(minute=0, second=0, microsecond=0) + timedelta(hours=steps)
        if unit == "day":
            day = today + timedelta(days=steps)
        elif unit == "week":
            day = today - timedelta(days=today.weekday()) + timedelta(weeks=steps)
        else:
            months = {"month": 1, "quarter": 3, "year": 12}[unit]
            index = (today.year * 12 + today.month - 1) // months * months + steps * months
            day = date(index // 12, index % 12 + 1, 1)
        return self.utc(datetime.combine(day, time()))


def timestamp(moment: datetime) -> exp.Expr:
    """A UTC instant as a canonical TIMESTAMP literal."""
    return exp.cast(exp.Literal.string(moment.isoformat(sep=" ")), "TIMESTAMP")


def date_literal(day: date) -> exp.Expr:
    """A calendar day as a canonical DATE literal."""
    return exp.cast(exp.Literal.string(day.isoformat()), "DATE")
