"""Raw identifiers ► normal forms, or why they identify nobody. Answers by hand."""

from __future__ import annotations

import pytest
from sqlglot import exp, parse_one

from cdp.compile.identity import Identifier, normalised
from cdp.compile.identity.normalise import reason, shaped, trimmed
from cdp.compile.render import Renderer
from cdp.errors import CompileError
from cdp.warehouse.base import Warehouse


def answers(warehouse: Warehouse, identifier: Identifier, values: list[str | None]) -> list[str | None]:
    """The normalised form of each value; `!reason` for what is set aside."""
    raw = exp.column("raw")
    trim = trimmed(raw)
    why = reason(identifier, trim, shaped(identifier, trim))
    rows = " UNION ALL ".join(f"SELECT {n} AS n, CAST(NULL AS TEXT) AS raw" for n in range(len(values)))
    tree = parse_one(f"SELECT t.n, t.raw FROM ({rows}) AS t", dialect="duckdb")
    given = exp.Case(ifs=[_when(n, value) for n, value in enumerate(values)])
    named = exp.select("t.n", given.as_("raw")).from_(exp.Subquery(this=tree, alias=exp.to_identifier("t")))
    query = (
        exp.select("n", normalised(identifier, raw).as_("v"), why.as_("why")).from_(named.subquery("s")).order_by("n")
    )
    found = warehouse.rows(Renderer(warehouse.facts).sql(query))
    return [
        None if raw is None else str(v) if v is not None else f"!{w}"
        for raw, (_, v, w) in zip(values, found, strict=True)
    ]


def _when(number: int, value: str | None) -> exp.If:
    then = exp.null() if value is None else exp.Literal.string(value)
    return exp.If(this=exp.EQ(this=exp.column("n", table="t"), expression=exp.Literal.number(number)), true=then)


def check(warehouse: Warehouse, identifier: Identifier, expected: dict[str, str]) -> None:
    assert answers(warehouse, identifier, list(expected)) == list(expected.values())


def test_null_stays_null(warehouse: Warehouse) -> None:
    tree = normalised(Identifier("x", normalize="email"), exp.cast(exp.null(), "TEXT"))
    assert warehouse.rows(Renderer(warehouse.facts).sql(exp.select(tree))) == [(None,)]


def test_plain_ids_are_trimmed_and_only_whole_junk_words_are_dropped(warehouse: Warehouse) -> None:
    expected = {"7": "7", " 0 ": "0", "1111": "1111", "\tab\u00a0\n": "ab", "Null": "!junk_word", " N/A ": "!junk_word"}
    expected |= {
        "nullable": "nullable",
        "guest": "!junk_word",
        "guest7": "guest7",
        "  ": "!empty",
        'Anna\'s "x" 100%': 'Anna\'s "x" 100%',
    }
    expected |= {"00000000-0000-0000-0000-000000000000": "!zero_uuid", "A": "A", "undefined": "!junk_word"}
    check(warehouse, Identifier("user_id"), expected)


def test_mails_are_lower_case_and_placeholders_are_dropped(warehouse: Warehouse) -> None:
    expected = {" Ann@X.fr": "ann@x.fr", "a.b+c@gmail.com": "a.b+c@gmail.com", "NoReply@shop.fr": "!placeholder"}
    expected |= {
        "test@test.com": "!placeholder",
        "testa@test.com": "testa@test.com",
        "0000000": "!one_digit",
        "a@b": "!too_short",
    }
    check(warehouse, Identifier("email", normalize="email"), expected)


def test_gmail_dots_and_plus_are_left_out_when_asked(warehouse: Warehouse) -> None:
    expected = {"A.b+c@Gmail.com": "ab@gmail.com", "ab@googlemail.com": "ab@gmail.com", "a.b+c@x.fr": "a.b+c@x.fr"}
    check(warehouse, Identifier("email", normalize="email", gmail_dots=True, gmail_plus=True), expected)


def test_blocked_values_are_dropped_exactly_or_by_expression(warehouse: Warehouse) -> None:
    identifier = Identifier("email", normalize="email", block=("Desk@bluefin.fr", "/^qa-[0-9]+@/"))
    expected = {
        "desk@bluefin.fr": "!blocked",
        "helpdesk@bluefin.fr": "helpdesk@bluefin.fr",
        "QA-7@x.fr": "!blocked",
        "qa-x@x.fr": "qa-x@x.fr",
    }
    check(warehouse, identifier, expected)


def test_digits_lower_and_expressions(warehouse: Warehouse) -> None:
    check(warehouse, Identifier("card", normalize="digits"), {"N° 12-34": "1234", "none of it": "!empty", "0": "0"})
    check(warehouse, Identifier("login", normalize="lower"), {" AnnA ": "anna"})
    tree = parse_one("SUBSTRING(value, 1, 3) || '!'", dialect="duckdb")
    check(warehouse, Identifier("code", normalize=tree), {"abcdef": "abc!"})


# as the library phonenumbers 9.0 has them, but for what is junk to us: repeated digits and vanity numbers
PHONES = {
    "FR": {
        "06 12 34 56 78": "+33612345678", "+33 6 12 34 56 78": "+33612345678", "0033612345678": "+33612345678",
        "+33 (0)6.12.34.56.78": "+33612345678", "33612345678": "+33612345678", "612345678": "+33612345678",
        "+44 20 7946 0958": "+442079460958", "0612345": "!no_phone", "call me": "!too_short",
        "0000000000": "!one_digit",
        "12": "!too_short", "+1 (415) 555-2671": "+14155552671", "0612345678 ext 12": "+33612345678",
    },
    "US": {"(415) 555-2671": "+14155552671", "1-415-555-2671": "+14155552671", "011 33 6 12 34 56 78": "+33612345678",
           "415-CALL-NOW": "!too_short", "415-555-HELP": "!no_phone"},
    "GB": {"020 7946 0958": "+442079460958", "07400 123456": "+447400123456"},
    "DE": {"030 123456": "+4930123456", "0049 (0)30 123456": "+4930123456"},
    "IT": {"06 6982": "+39066982", "+39 06 698 8332": "+39066988332", "312 345 6789": "+393123456789"},
    "CH": {"044 668 18 00": "+41446681800"},
    "ES": {"912 34 56 78": "+34912345678"},
}  # fmt: skip


@pytest.mark.parametrize("region", sorted(PHONES))
def test_phones_become_e164_by_the_rules_of_their_region(warehouse: Warehouse, region: str) -> None:
    check(warehouse, Identifier("phone", normalize="phone", region=region), PHONES[region])


def test_without_a_region_only_international_numbers_are_phones(warehouse: Warehouse) -> None:
    expected = {"+33612345678": "+33612345678", "0033612345678": "+33612345678", "0612345678": "!no_phone"}
    check(warehouse, Identifier("phone", normalize="phone"), expected)


def test_a_region_without_rules_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(CompileError, match="no phone rules for the region `XX`") as caught:
        normalised(Identifier("phone", normalize="phone", region="XX"), exp.column("raw"))
    assert caught.value.code == "CDP222"
