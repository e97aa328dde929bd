"""One table of cases for the canonical functions: what goes in, and what must come out on every engine.

Every answer was worked out by hand (or by Python's hashlib for digests), none was copied from an engine. A row of
nothing but NULLs is added to each scalar function by the runner: it must give NULL.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

T, N = True, None
D = Decimal
ts = datetime.fromisoformat
day = date.fromisoformat


@dataclass(frozen=True)
class Case:
    """`expression` over the columns a, b, c … of `types`; each row is the arguments and then the answer."""

    expression: str
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    nulls: bool = True  # all NULL gives NULL

    def __str__(self) -> str:
        return self.expression


def case(expression: str, types: str, *rows: tuple[Any, ...], nulls: bool = True) -> Case:
    return Case(expression, tuple(types.split()), rows, nulls)


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


HOSTILE = ("", "a", 'O\'Brien "x" \\ %_', "é😀ß", "line\nbreak\ttab", "x" * 65_536, "'; DROP TABLE t; --")

TEXTS = [
    case("cdp_text_of_bool(a)", "bool", (True, "true"), (False, "false")),
    case(
        "cdp_text_of_decimal(a)",
        "decimal",
        (D("12.5"), "12.5"),
        (D("3"), "3"),
        (D("-0.25"), "-0.25"),
        (D("0"), "0"),
        (D("100"), "100"),
        (D("1200.010"), "1200.01"),
        (D("0.000000001"), "0.000000001"),
        (D("99999999999999999999999999999.999999999"), "99999999999999999999999999999.999999999"),
        (D("-10"), "-10"),
    ),
    case("cdp_text_of_decimal(a)", "int", (100, "100"), (0, "0"), (-7, "-7")),
    case(
        "cdp_text_of_timestamp(a)",
        "timestamp",
        (ts("2026-03-01 10:00:00"), "2026-03-01T10:00:00.000000Z"),
        (ts("0044-01-02 03:04:05.1"), "0044-01-02T03:04:05.100000Z"),
        (ts("9999-12-31 23:59:59.999999"), "9999-12-31T23:59:59.999999Z"),
        (ts("1969-12-31 23:59:59.000001"), "1969-12-31T23:59:59.000001Z"),
    ),
    case(
        "cdp_text_of_date(a)",
        "date",
        (day("2024-02-29"), "2024-02-29"),
        (day("0001-01-01"), "0001-01-01"),
        (day("9999-12-31"), "9999-12-31"),
    ),
    case(
        "cdp_text_of_float(a)",
        "float",
        (1.0, "1"),
        (0.1, "0.1"),
        (-2.5, "-2.5"),
        (1e300, "1e+300"),
        (1e-7, "1e-07"),
        (-0.0, "0"),
        (123456789012.25, "123456789012.25"),
    ),
]

TRIES = [
    case(
        "cdp_try_int(a)",
        "text",
        ("12", 12),
        ("  -7\t", -7),
        ("+5", 5),
        ("007", 7),
        ("12.0", 12),
        ("12.", 12),
        ("9223372036854775807", 9223372036854775807),
        ("-9223372036854775808", -9223372036854775808),
        *(
            (bad, N)
            for bad in ("9223372036854775808", "12.7", "1e3", "0x1f", "1_000", "", " ", "-", "1 2", "é", "１２")
        ),
        ("9" * 500, N),
        ("0" * 150 + "7", 7),
    ),
    case(
        "cdp_try_decimal(a)",
        "text",
        ("12.50", D("12.5")),
        (" .5 ", D("0.5")),
        ("5.", D("5")),
        ("-1.5E-3", D("-0.0015")),
        ("1e5", D("100000")),
        ("0.0000000005", D("0.000000001")),
        ("-0.0000000005", D("-0.000000001")),
        ("0.00000000049", D("0")),
        ("99999999999999999999999999999.999999999", D("99999999999999999999999999999.999999999")),
        ("1e-999", D("0")),
        *((bad, N) for bad in ("1e29", "1e999", "1e9999", "NaN", "inf", "Infinity", "1,5", "$5", "", ".", "e5", "--1")),
        ("99999999999999999999999999999.9999999999", N),
    ),
    case(
        "cdp_try_float(a)",
        "text",
        ("12.5", 12.5),
        ("1e300", 1e300),
        ("1e-400", 0.0),
        ("-.5", -0.5),
        ("0.1", 0.1),
        *((bad, N) for bad in ("1e999", "-1e309", "nan", "inf", "abc", "")),
    ),
    case(
        "cdp_try_bool(a)",
        "text",
        *((yes, True) for yes in ("true", "T", " yes ", "1", "TRUE")),
        *((no, False) for no in ("false", "F", "no", "0", "No")),
        *((bad, N) for bad in ("", "2", "on", "vrai", "y")),
    ),
    case(
        "cdp_try_date(a)",
        "text",
        ("2026-03-01", day("2026-03-01")),
        (" 2024-02-29 ", day("2024-02-29")),
        ("2000-02-29", day("2000-02-29")),
        ("2026-03-01T23:59:59+02:00", day("2026-03-01")),
        ("2026-03-01 10:00", day("2026-03-01")),
        ("0001-01-01", day("0001-01-01")),
        ("9999-12-31", day("9999-12-31")),
        *((bad, N) for bad in ("2026-02-29", "1900-02-29", "2026-02-30", "2026-13-01", "2026-00-10", "2026-04-31")),
        *(
            (bad, N)
            for bad in (
                "2026-1-1",
                "01/03/2026",
                "today",
                "infinity",
                "0000-01-01",
                "0000-02-29",
                "",
                "2026-03-01x",
                "20260301",
            )
        ),
    ),
]

_STAMPS = (
    ("2026-03-01T10:00:00Z", ts("2026-03-01 10:00:00")),
    ("2026-03-01 10:00:00+02:00", ts("2026-03-01 08:00:00")),
    ("2026-03-01T10:00:00.123456-0530", ts("2026-03-01 15:30:00.123456")),
    ("2026-03-01T10:00:00.1234569Z", ts("2026-03-01 10:00:00.123456")),
    ("2026-03-01T10:00:00.123456789012345Z", ts("2026-03-01 10:00:00.123456")),
    ("2026-03-01 10:00:00 UTC", ts("2026-03-01 10:00:00")),
    ("2026-03-01 10:00:00 +01", ts("2026-03-01 09:00:00")),
    ("2026-03-01t10:00z", ts("2026-03-01 10:00:00")),
    *(
        (bad, N)
        for bad in ("", "now", "infinity", "2026-03-01T24:00:00Z", "2026-03-01T23:59:60Z", "2026-02-30T10:00:00Z")
    ),
    *((bad, N) for bad in ("2026-03-01T10", "1772359200", "2026-03-01T10:00:00+25:00", "2026-03-01T1:00Z", "é")),
)
TIMES = [
    case(
        "cdp_try_timestamp(a, 'UTC')",
        "text",
        *_STAMPS,
        ("2026-03-01T10:00:00", ts("2026-03-01 10:00:00")),
        ("2026-03-01", ts("2026-03-01 00:00:00")),
        ("1969-12-31 23:59:59.5", ts("1969-12-31 23:59:59.5")),
        ("0001-01-01T00:00:00Z", ts("0001-01-01 00:00:00")),
        ("9999-12-31T23:59:59.999999Z", ts("9999-12-31 23:59:59.999999")),
    ),
    case(
        "cdp_try_timestamp(a, 'Europe/Paris')",
        "text",
        *_STAMPS,
        ("2026-03-29T01:59:59", ts("2026-03-29 00:59:59")),  # CET, the last second before the jump
        ("2026-03-29T03:00:00", ts("2026-03-29 01:00:00")),  # CEST, the first one after it
        ("2026-03-29T02:30:00", ts("2026-03-29 01:30:00")),  # does not exist: read by the offset before
        ("2026-10-25T01:59:59", ts("2026-10-24 23:59:59")),
        ("2026-10-25T02:30:00", ts("2026-10-25 01:30:00")),  # exists twice: the second one, CET
        ("2026-10-25T03:00:00", ts("2026-10-25 02:00:00")),
        ("2026-07-01", ts("2026-06-30 22:00:00")),
        ("2026-01-01", ts("2025-12-31 23:00:00")),
    ),
    case(
        "cdp_try_date_format(a, '%d/%m/%Y')",
        "text",
        ("31/01/2026", day("2026-01-31")),
        (" 1/2/2026 ", day("2026-02-01")),
        ("29/02/2024", day("2024-02-29")),
        *(
            (bad, N)
            for bad in ("29/02/2026", "2026-01-31", "31-01-2026", "31/01/26", "01/31/2026", "", "x", "031/01/2026")
        ),
    ),
    case(
        "cdp_try_date_format(a, '%d %b %y')",
        "text",
        ("5 Jan 26", day("2026-01-05")),
        ("05 DEC 69", day("1969-12-05")),
        ("28 feb 68", day("2068-02-28")),
        ("5 Foo 26", N),
        ("30 feb 26", N),
    ),
    case("cdp_try_date_format(a, '%Y%m')", "text", ("202603", day("2026-03-01")), ("202613", N), ("2026", N)),
    case(
        "cdp_try_timestamp_format(a, '%m/%d/%Y %H:%M', 'Europe/Paris')",
        "text",
        ("07/04/2026 9:05", ts("2026-07-04 07:05:00")),
        ("12/31/2026 23:59", ts("2026-12-31 22:59:00")),
        ("12/31/2026 24:00", N),
        ("12/31/2026", N),
    ),
    case(
        "cdp_try_timestamp_format(a, '%Y.%m.%d-%H%M%S', 'UTC')",
        "text",
        ("2026.07.04-090507", ts("2026-07-04 09:05:07")),
        ("2026x07x04-090507", N),
    ),
    case(
        "cdp_epoch_us(a)",
        "timestamp",
        (ts("1970-01-01"), 0),
        (ts("1969-12-31 23:59:59.999999"), -1),
        (ts("2026-03-01 00:00:00.000001"), 1772323200000001),
        (ts("0001-01-01"), -62135596800000000),
        (ts("9999-12-31 23:59:59.999999"), 253402300799999999),
    ),
    case(
        "cdp_of_epoch_us(a)",
        "int",
        (0, ts("1970-01-01")),
        (-1, ts("1969-12-31 23:59:59.999999")),
        (1772323200000001, ts("2026-03-01 00:00:00.000001")),
        (-62135596800000000, ts("0001-01-01")),
        (253402300799999999, ts("9999-12-31 23:59:59.999999")),
    ),
    case(
        "cdp_add_us(a, b)",
        "timestamp int",
        (ts("2026-03-01"), 1, ts("2026-03-01 00:00:00.000001")),
        (ts("2026-03-01"), -2592000000000, ts("2026-01-30")),
        (ts("2024-02-28"), 86400000000, ts("2024-02-29")),
        (ts("0001-01-01"), 315537897599999999, ts("9999-12-31 23:59:59.999999")),
        (ts("2026-03-01"), N, N),
    ),
    case(
        "cdp_utc(a, 'Europe/Paris')",
        "timestamp",
        (ts("2026-03-29 01:59:59"), ts("2026-03-29 00:59:59")),
        (ts("2026-03-29 03:00:00"), ts("2026-03-29 01:00:00")),
        (ts("2026-03-29 02:30:00"), ts("2026-03-29 01:30:00")),
        (ts("2026-10-25 02:30:00"), ts("2026-10-25 01:30:00")),
    ),
    case("cdp_utc(a, 'UTC')", "timestamp", (ts("2026-03-29 02:30:00.5"), ts("2026-03-29 02:30:00.5"))),
    case("cdp_utc_of_tz(a)", "timestamptz", ("2026-03-29 02:30:00+02:00", ts("2026-03-29 00:30:00"))),
    case(
        "cdp_local_timestamp(a, 'Europe/Paris')",
        "timestamp",
        (ts("2026-03-29 00:59:59"), ts("2026-03-29 01:59:59")),
        (ts("2026-03-29 01:00:00"), ts("2026-03-29 03:00:00")),
        (ts("2026-10-25 00:30:00"), ts("2026-10-25 02:30:00")),
        (ts("2026-10-25 01:30:00"), ts("2026-10-25 02:30:00")),
    ),
    case(
        "cdp_local_date(a, 'Europe/Paris')",
        "timestamp",
        (ts("2026-03-28 22:59:59"), day("2026-03-28")),
        (ts("2026-03-28 23:00:00"), day("2026-03-29")),
        (ts("2026-03-29 22:00:00"), day("2026-03-30")),
        (ts("2026-10-25 22:59:59"), day("2026-10-25")),
    ),
    case("cdp_local_date(a, 'UTC')", "timestamp", (ts("2024-02-29 23:59:59.999999"), day("2024-02-29"))),
    case(
        "cdp_midnight(a, 'Europe/Paris')",
        "date",
        (day("2026-03-29"), ts("2026-03-28 23:00:00")),
        (day("2026-03-30"), ts("2026-03-29 22:00:00")),
        (day("2026-10-25"), ts("2026-10-24 22:00:00")),
        (day("2026-10-26"), ts("2026-10-25 23:00:00")),
    ),
    # midnight of that day did not exist in Sao Paulo: clocks went from 23:59:59 (-03) to 01:00 (-02)
    case("cdp_midnight(a, 'America/Sao_Paulo')", "date", (day("2018-11-04"), ts("2018-11-04 03:00:00"))),
]

_DOC = (
    '{"s": "text", "n": 12, "f": 12.50, "t": true, "no": false, "z": null, "o": {"k": [1, "a b", {"x": "y : z"}]},'
    ' "l": [], "a.b": {"c d": "dots"}, "quo\\"te": "q", "back\\\\slash": "b", "é😀": "u", "": "empty", "*": "star",'
    ' "tilde~/slash": "p", "big": 123456789012345678901234567890, "esc": "\\u00e9\\n\\"", "e": 1e2, "whole": 3.0,'
    ' "str": "12.50", "$": "dollar", "brace": "{\\"a\\": 1}", "small": 1e-7}'
)
JSON = [
    case(f"cdp_json_text(a, {keys})", "text", (_DOC, answer))
    for keys, answer in (
        ("'s'", "text"),
        ("'n'", "12"),
        ("'f'", "12.5"),
        ("'t'", "true"),
        ("'no'", "false"),
        ("'z'", N),
        ("'missing'", N),
        ("'s', 'deeper'", N),
        ("'o'", '{"k":[1,"a b",{"x":"y : z"}]}'),
        ("'o', 'k'", '[1,"a b",{"x":"y : z"}]'),
        ("'l'", "[]"),
        ("'a.b', 'c d'", "dots"),
        ("'quo\"te'", "q"),
        ("'back\\slash'", "b"),
        ("'é😀'", "u"),
        ("''", "empty"),
        ("'*'", "star"),
        ("'$'", "dollar"),
        ("'tilde~/slash'", "p"),
        ("'big'", "123456789012345678901234567890"),
        ("'esc'", 'é\n"'),
        ("'e'", "100.0"),
        ("'whole'", "3.0"),
        ("'small'", "1e-7"),
        ("'str'", "12.50"),
        ("'brace'", '{"a": 1}'),
        ("'it''s'", N),
    )
] + [
    case(
        "cdp_json_text(a, 'k')",
        "text",
        *(
            (bad, N)
            for bad in ("", "{", "not json", '{"k": }', "[1]", "5", "null", '"k"', '{"k": "unclosed}', "{'k': 1}")
        ),
        ('{"k":"v"}', "v"),
        ('  {"k" : "v"} ', "v"),
    ),
    case("cdp_json_text(CAST(a AS JSON), 'k', 'l')", "text", ('{"k":{"l":-0.5}}', "-0.5"), ('{"k":[1]}', N)),
    case(
        "cdp_json_quote(a)",
        "text",
        ("a", '"a"'),
        ("", '""'),
        ('q"\\/', '"q\\"\\\\/"'),
        ("\b\f\n\r\t", '"\\b\\f\\n\\r\\t"'),
        ("\x01\x0b\x1f\x7f", '"\\u0001\\u000b\\u001f\x7f"'),
        ("é😀\u2028", '"é😀\u2028"'),
        ("\\u000B \x1f", '"\\\\u000B \\u001f"'),
    ),
    case(
        "cdp_list_has(a, b)",
        "text text",
        ('["a","b"]', '"a"', True),
        ('["a","b"]', '"c"', False),
        ('["1"]', "1", False),
        ("[1,2]", "2", True),
        ("[]", '"a"', False),
        ("[null]", '"a"', False),
        ("[[1]]", "1", False),
        ('["it\'s \\"x\\" %"]', '"it\'s \\"x\\" %"', True),
        ("[true]", "true", True),
        (N, '"a"', N),
        ("not json", '"a"', N),
    ),
    case(
        "cdp_list_length(a)",
        "text",
        ("[]", 0),
        ('["a",null,{}]', 3),
        ("[[1,2,3]]", 1),
        *((bad, N) for bad in ("{}", "null", "5", '"[1]"', "not json", "")),
    ),
]

WORDS = [
    case("cdp_md5(a)", "text", *((text, md5(text)) for text in HOSTILE)),
    case("cdp_sha256(a)", "text", *((text, hashlib.sha256(text.encode()).hexdigest()) for text in HOSTILE)),
    case(
        "cdp_bucket(a)", "text", *((text, int(md5(text)[:8], 16) % 10_000) for text in (*HOSTILE, "salt:1", "salt:2"))
    ),
    case(
        "cdp_contains(a, b)",
        "text text",
        ("Hello World", "WORLD", True),
        ("Hello", "x", False),
        ("100%", "%", True),
        ("100", "%", False),
        ("a_b", "_", True),
        ("ab", "a_", False),
        ("ÉCOLE", "école", True),
        ("O'Brien\\", "'brien\\", True),
        ("abc", "", True),
        ("abc", N, N),
        ("😀x", "😀", True),
    ),
    case(
        "cdp_starts_with(a, b)",
        "text text",
        ("Hello", "HE", True),
        ("Hello", "lo", False),
        ("%x", "%", True),
        ("x", "%", False),
        ("Élan", "é", True),
        ("a", "abc", False),
        ("a", "", True),
        (N, "a", N),
    ),
    case(
        "split_part(a, '-', 2)",
        "text",
        ("a-b-c", "b"),
        ("a--c", ""),
        ("a", ""),
        ("", ""),
        ("-é", "é"),
    ),
    case(
        "cdp_ends_with(a, b)",
        "text text",
        ("Hello", "LO", True),
        ("Hello", "he", False),
        ("50%", "%", True),
        ("50", "_", False),
        ("café", "FÉ", True),
        ("a", "", True),
        ("a", "ba", False),
        (N, "a", N),
    ),
    case(
        r"cdp_matches(a, '^a\d+\b')",
        "text",
        ("a12 x", True),
        ("ab12", False),
        ("a1", True),
        ("xa1", False),
        ("a1é", True),
    ),
    case(r"cdp_matches(a, 'a.c')", "text", ("xabcx", True), ("a\nc", False), ("a😀c", True), ("ac", False)),
    case(
        r"cdp_matches(a, '(?i)^(foo|bar)$')", "text", ("FOO", True), ("bar", True), ("foobar", False), ("foo\n", False)
    ),
    case(
        r"cdp_matches(a, '[\w.]+@[^\s@]+\.com\z')", "text", ("x.y@z.com", True), ("@z.com", False), ("x@z.comx", False)
    ),
    case(r"cdp_matches(a, '(?:ab){2,3}?c')", "text", ("ababc", True), ("abc", False)),
    case(
        r"cdp_matches(a, 'it''s \\ "
        ""  # a quote, a backslash and a double quote in the pattern
        r"""\"')""",
        "text",
        ("it's \\ \"", True),
        ("its", False),
    ),
    case(
        r"cdp_regex_replace(a, '([a-z]+)@([a-z]+)', '\2 at \1')",
        "text",
        ("me@here you@there", "here at me there at you"),
        ("none", "none"),
    ),
    case(r"cdp_regex_replace(a, '\d', '<\0>')", "text", ("a1b2", "a<1>b<2>"), ("", "")),
    case(r"cdp_regex_replace(a, '\s+', ' ')", "text", ("a \t\n b", "a b")),
    case("cdp_digits(a)", "text", ("+33 (0)6-12", "330612"), ("", ""), ("é１２", ""), ("abc", "")),
    case(
        "cdp_concat(a, b, a)",
        "text text",
        ("x", "y", "xyx"),
        ("x", N, N),
        ("", "", ""),
        ("'", '"\\', "'\"\\'"),
    ),
    case("cdp_binary(a)", "text", ("É", "É")),
]

NUMBERS = [
    case("cdp_greatest(a, b, c)", "int int int", (1, N, 3, 3), (N, N, -1, -1), (5, 4, 3, 5)),
    case("cdp_least(a, b, c)", "int int int", (1, N, 3, 1), (N, N, -1, -1), (5, 4, 3, 3)),
    case(
        "cdp_greatest(a, b)",
        "timestamp timestamp",
        (ts("2026-01-01"), N, ts("2026-01-01")),
        (N, ts("2026-01-02"), ts("2026-01-02")),
    ),
    case(
        "cdp_divide(a, b)",
        "decimal decimal",
        (D(1), D(3), D("0.333333333")),
        (D(2), D(3), D("0.666666667")),
        (D(-2), D(3), D("-0.666666667")),
        (D(1), D(0), N),
        (D(0), D(5), D(0)),
        (D("123456789.123456789"), D(1), D("123456789.123456789")),
        (D("0.000000001"), D(2), D("0.000000001")),
        (D("0.000000001"), D(3), D(0)),
        (D("1000000000000000000"), D(7), D("142857142857142857.142857143")),
        (N, D(1), N),
        (D(1), N, N),
    ),
    case(
        "cdp_divide(a, b)",
        "int int",
        (7, 2, D("3.5")),
        (1, 0, N),
        (-7, 2, D("-3.5")),
        (-1, 3, D("-0.333333333")),
        (-2, -3, D("0.666666667")),
        (253402214400000000, 86400000000, D(2932896)),
        (-62135596800000000, 3600000000, D("-17259888")),
    ),
    case(
        "cdp_divide(a, b)",
        "decimal decimal",
        (D("0.000000001"), D("-2"), D("-0.000000001")),
        (D("0.000000003"), D("2"), D("0.000000002")),
        (D("-0.000000001"), D("2.1"), D(0)),
        (D("80000000000000000000"), D("0.8"), D("100000000000000000000")),
    ),
    case("cdp_divide(CAST(a AS DOUBLE), b)", "float int", (7.0, 2, 3.5), (1.0, 0, N)),
    case("cdp_bitand(a, 4)", "int", (5, 4), (3, 0), (2**60 + 4, 4), (-1, 4)),
    case("cdp_bitand(a, b)", "int int", (2**59 + 1, 2**59, 2**59), (2**59, 1, 0)),
]

PLAIN = [
    case("a / b", "int int", (5, 2, 2.5)),
    case("ROUND(a, 2)", "float", (1.239, 1.24), (-1.239, -1.24)),
    case("EXTRACT(hour FROM a)", "timestamp", (ts("2026-03-01 22:10:00"), 22)),
    case("EXTRACT(year FROM a)", "date", (day("2026-03-01"), 2026)),
    case("SUBSTRING(a, 2, 3)", "text", ("héllo", "éll")),
    case("LENGTH(a)", "text", ("é😀", 2)),
    case("UPPER(a)", "text", ("éa", "ÉA")),
    case("TRIM(a)", "text", ("  x ", "x")),
    case("NULLIF(a, '')", "text", ("", N), ("x", "x")),
    case("COALESCE(a IN ('x', 'it''s'), FALSE)", "text", ("it's", True), ("y", False), (N, False), nulls=False),
    case("CASE WHEN a BETWEEN 1 AND 3 THEN 'in' ELSE 'out' END", "int", (3, "in"), (4, "out"), nulls=False),
    case("a IS DISTINCT FROM b", "int int", (1, N, True), (N, N, False), (1, 1, False), nulls=False),
    case("CAST(a AS DECIMAL(38,9)) * 2", "int", (3, D(6))),
    case("ABS(a) + FLOOR(b) + CEIL(b)", "int decimal", (-3, D("1.5"), D(6))),
    case("a % 7", "int", (23, 2), (-23, -2)),
    case("POSITION('l' IN a)", "text", ("hello", 3), ("x", 0)),
]

SCALARS = [*TEXTS, *TRIES, *TIMES, *JSON, *WORDS, *NUMBERS, *PLAIN]

# value, at, key, amount, use
ROWS = (
    ("old", ts("2026-01-01"), "k1", D("1.5"), True),
    ("new", ts("2026-03-01"), "k2", D("2.5"), True),
    ("tie-b", ts("2026-03-01"), "k3", D("10"), True),
    ("never", ts("2026-04-01"), "k9", D("99"), False),
    (N, ts("2026-05-01"), "k8", N, True),
    ("undated-b", N, "u2", D("-3"), True),
    ("undated-a", N, "u1", D("4"), N),
)
AGGREGATES: list[tuple[str, Any]] = [
    ("cdp_first(value, at, key, use AND value IS NOT NULL)", "undated-b"),
    ("cdp_first(value, at, key, at IS NOT NULL AND use AND value IS NOT NULL)", "old"),
    ("cdp_first(value, at, key, at IS NULL AND value IS NOT NULL)", "undated-a"),
    ("cdp_last(value, at, key, use AND value IS NOT NULL)", "tie-b"),
    ("cdp_last(value, at, key, at IS NULL AND value IS NOT NULL)", "undated-b"),
    ("cdp_last(CAST(amount AS DECIMAL(38, 9)), at, key, amount IS NOT NULL)", D("99")),
    ("cdp_last(CAST(use AS BOOLEAN), at, key, NOT use IS NULL AND NOT at IS NULL)", True),
    ("cdp_first(CAST(at AS TIMESTAMP), at, key, NOT at IS NULL)", ts("2026-01-01")),
    ("cdp_last(value, at, key, FALSE)", N),
    ("cdp_first(key, at, cdp_binary(key), TRUE)", "u1"),
    ("cdp_median(amount)", 3.25),
    ("cdp_median(amount) FILTER (WHERE use)", 2.0),
    ("cdp_median(amount) FILTER (WHERE value = 'nobody')", N),
    ("cdp_string_agg(value, ', ', cdp_binary(key))", "old, new, tie-b, never, undated-a, undated-b"),
    ("cdp_string_agg(value, '''|', cdp_binary(key)) FILTER (WHERE use)", "old'|new'|tie-b'|undated-b"),
    ("cdp_string_agg(value, ',', key) FILTER (WHERE key = 'none')", N),
    ("COUNT(*) FILTER (WHERE use)", 5),
    ("SUM(amount) FILTER (WHERE use)", D("11")),
    ("CAST(SUM(CASE WHEN use THEN 2 ELSE 1 END) AS BIGINT)", 12),
    ("MIN(at)", ts("2026-01-01")),
    ("COUNT(DISTINCT at)", 4),
    ("MAX(amount) - MIN(amount)", D("102")),
]
