"""`cdp_try_date_format` and `cdp_try_timestamp_format` for every engine: the text is turned into ISO by regular
expressions and read as such. The engines' own parsers differ in what they forgive (Postgres' to_date takes '31/02',
Snowflake's wants two digits), these do not: a field takes one or two digits, the value must exist.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sqlglot import exp

from cdp.errors import CompileError
from cdp.warehouse.facts import Build
from cdp.warehouse.functions.fragment import literal_text
from cdp.warehouse.functions.shapes import BLANKS

_FIELDS = {"Y": "([0-9]{4})", "y": "([0-9]{2})", "b": "([a-z]{3})"} | dict.fromkeys("mdHMS", "([0-9]{1,2})")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def of_formats(functions: Mapping[str, Build]) -> dict[str, Build]:
    """The two functions, made of an engine's cdp_matches, cdp_regex_replace, cdp_try_date and cdp_try_timestamp."""

    def date(arguments: Sequence[exp.Expr]) -> exp.Expr:
        text, format_ = arguments
        matched, iso = _iso(text, literal_text(format_, "a format"), functions)
        return _when(matched, functions["cdp_try_date"]([iso]))

    def timestamp(arguments: Sequence[exp.Expr]) -> exp.Expr:
        text, format_, zone = arguments
        matched, iso = _iso(text, literal_text(format_, "a format"), functions)
        return _when(matched, functions["cdp_try_timestamp"]([iso, zone]))

    return {"cdp_try_date_format": date, "cdp_try_timestamp_format": timestamp}


def _iso(text: exp.Expr, format_: str, functions: Mapping[str, Build]) -> tuple[exp.Expr, exp.Expr]:
    """(does the text have the format, the text as ISO timestamp)."""
    pattern, places = _parsed(format_)
    trimmed = exp.Trim(this=exp.Cast(this=text.copy(), to=exp.DataType.build("text")), expression=_text(BLANKS))
    lower = exp.Lower(this=trimmed)
    year = rf"\{places['Y']}" if "Y" in places else rf"y\{places['y']}"
    month = rf"\{places['b']}" if "b" in places else _padded(places, "m", "01")
    day = _padded(places, "d", "01")
    clock = ":".join(_padded(places, field, "00") for field in "HMS")
    iso = _replaced(functions, lower, pattern, f"{year}-{month}-{day}t{clock}")
    iso = _replaced(functions, iso, "([-t:])0([0-9]{2})", r"\1\2")  # a pad that was not needed
    if "y" in places and "Y" not in places:  # as POSIX has it: 69–99 are 1969–1999
        iso = _replaced(functions, iso, "^y(69|[7-9][0-9])", r"19\1")
        iso = _replaced(functions, iso, "^y", "20")
    if "b" in places:
        for number, name in enumerate(_MONTHS, 1):
            iso = exp.Anonymous(this="REPLACE", expressions=[iso, _text(f"-{name}-"), _text(f"-{number:02}-")])
    return functions["cdp_matches"]([lower, _text(pattern)]), iso


def _parsed(format_: str) -> tuple[str, dict[str, int]]:
    """The pattern of a format (for lower-cased text) and the group of each of its fields."""
    pattern, places = "^", dict[str, int]()
    for directive, plain in re.findall(r"%(.)|([^%])", format_, re.DOTALL):
        if directive in _FIELDS and directive not in places:
            places[directive] = len(places) + 1
            pattern += _FIELDS[directive]
        elif directive and directive != "%":
            raise CompileError("CDP312", f"the format `{format_}` has `%{directive}`", hint=_HINT)
        else:
            pattern += re.escape((plain or "%").lower())
    if not ({"Y", "y"} & places.keys() and {"m", "b"} & places.keys()):
        raise CompileError("CDP312", f"the format `{format_}` lacks a year or a month", hint=_HINT)
    return pattern + "$", places


_HINT = "formats are made of %Y %y %m %b %d %H %M %S, each at most once, with a year and a month"


def _padded(places: Mapping[str, int], field: str, default: str) -> str:
    return rf"0\{places[field]}" if field in places else default


def _replaced(functions: Mapping[str, Build], text: exp.Expr, pattern: str, replacement: str) -> exp.Expr:
    return functions["cdp_regex_replace"]([text, _text(pattern), _text(replacement)])


def _when(condition: exp.Expr, value: exp.Expr) -> exp.Expr:
    return exp.Case(ifs=[exp.If(this=condition, true=value)])


def _text(value: str) -> exp.Expr:
    return exp.Literal.string(value)
