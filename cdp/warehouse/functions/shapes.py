"""What text may look like to be read as a value: one set of patterns, so that every engine reads the same texts.

Engines differ wildly in what their own casts take (DuckDB reads '0x1f' and '1_000' as numbers and rounds '12.7' to an
integer; Postgres reads 'yesterday' as a date). Only ASCII classes and counted groups: RE2, POSIX ARE and Java agree.
"""

from __future__ import annotations

BLANKS = " \t\n\r"
INT = r"^[+-]?[0-9]+([.]0*)?$"
NUMBER = r"^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,3})?$"
TRUE = ("true", "t", "yes", "1")
FALSE = ("false", "f", "no", "0")

_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]+)?)?"
_OFFSET = r" ?(Z|UTC|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)"
_DAY = r"([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
# every month with its days, for an engine whose cast raises on 30 February
_YEAR = r"([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_LEAP = r"([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
_REAL_DAY = (
    rf"({_YEAR}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    rf"|{_LEAP}-02-29)"
)

# upper-cased and trimmed text; a date alone is its midnight
TIMESTAMP = rf"^{_DAY}([T ]{_TIME}({_OFFSET})?)?$"
REAL_TIMESTAMP = rf"^{_REAL_DAY}([T ]{_TIME}({_OFFSET})?)?$"
WITH_OFFSET = r":[0-9:.]* ?(Z|UTC|[+-][0-9:]+)$"
"""Within a text of the shape TIMESTAMP: it names its offset."""
