"""Phone numbers to E.164 by SQL rules alone, so that tests and warehouses agree.

Lengths are those of the national significant number (ITU-T E.164 and the national numbering plans).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from cdp.compile.render import call, text


@dataclass(frozen=True)
class Region:
    """A country's calling code, the prefix of its national numbers, the prefix that dials abroad, and lengths."""

    code: str
    trunk: str
    shortest: int
    longest: int
    abroad: str = "00"


REGIONS = {
    "AE": Region("971", "0", 8, 9), "AR": Region("54", "0", 10, 11), "AT": Region("43", "0", 7, 13),
    "AU": Region("61", "0", 9, 9, "0011"), "BE": Region("32", "0", 8, 9), "BG": Region("359", "0", 7, 9),
    "BR": Region("55", "0", 10, 11), "CA": Region("1", "1", 10, 10, "011"), "CH": Region("41", "0", 9, 9),
    "CL": Region("56", "", 9, 9), "CN": Region("86", "0", 9, 11), "CO": Region("57", "", 10, 10),
    "CZ": Region("420", "", 9, 9), "DE": Region("49", "0", 6, 11), "DK": Region("45", "", 8, 8),
    "DZ": Region("213", "0", 8, 9), "EE": Region("372", "", 7, 8), "EG": Region("20", "0", 8, 10),
    "ES": Region("34", "", 9, 9), "FI": Region("358", "0", 5, 12), "FR": Region("33", "0", 9, 9),
    "GB": Region("44", "0", 9, 10), "GR": Region("30", "", 10, 10), "HK": Region("852", "", 8, 8, "001"),
    "HR": Region("385", "0", 8, 9), "HU": Region("36", "06", 8, 9), "IE": Region("353", "0", 7, 9),
    "IL": Region("972", "0", 8, 9), "IN": Region("91", "0", 10, 10), "IT": Region("39", "", 6, 11),
    "JP": Region("81", "0", 9, 10, "010"), "KE": Region("254", "0", 9, 9, "000"), "KR": Region("82", "0", 8, 10),
    "LT": Region("370", "0", 8, 8), "LU": Region("352", "", 6, 9), "LV": Region("371", "", 8, 8),
    "MA": Region("212", "0", 9, 9), "MX": Region("52", "", 10, 10), "NG": Region("234", "0", 8, 10, "009"),
    "NL": Region("31", "0", 9, 9), "NO": Region("47", "", 8, 8), "NZ": Region("64", "0", 8, 10),
    "PL": Region("48", "", 9, 9), "PT": Region("351", "", 9, 9), "RO": Region("40", "0", 9, 9),
    "RU": Region("7", "8", 10, 10, "810"), "SA": Region("966", "0", 8, 9), "SE": Region("46", "0", 7, 9),
    "SG": Region("65", "", 8, 8), "SI": Region("386", "0", 8, 8), "SK": Region("421", "0", 9, 9),
    "TN": Region("216", "", 8, 8), "TR": Region("90", "0", 10, 10), "UA": Region("380", "0", 9, 9),
    "US": Region("1", "1", 10, 10, "011"), "ZA": Region("27", "0", 9, 9),
}  # fmt: skip

_EXTENSION = "[ ,;]*(ext|extension|x|#|poste)[.: ]*[0-9]{1,6}$"
_LETTERS = "[a-z]"
_Whens = list[tuple[exp.Expr, exp.Expr]]
_FEWEST, _MOST = 8, 15  # digits of an international number of a country that is not in the table


def e164(value: exp.Expr, region: str | None) -> exp.Expr:
    """`+` and digits, or NULL for what is no phone number. `value` is trimmed text.

    A number with `+` (or the region's prefix for calls abroad, or 00) is international; any other is of `region`, and
    without a region it is none. `(0)`, the trunk prefix after a country code, and extensions are left out.
    """
    plain = call("cdp_regex_replace", exp.Lower(this=value), text(_EXTENSION), text(""))
    digits = call("cdp_digits", call("cdp_regex_replace", plain.copy(), text("[(]0[)]"), text("")))
    whens: _Whens = [(call("cdp_matches", plain.copy(), text(_LETTERS)), exp.null())]
    whens.append((_begins(value.copy(), "+"), _international(digits)))
    here = REGIONS.get(region.upper()) if region else None
    for prefix in dict.fromkeys([here.abroad, "00"] if here else ["00"]):
        rest = _after(digits, len(prefix))
        whens.append((_begins(digits, prefix), _international(rest)))
    if here:
        whens += _national(digits, here)
    return _case(whens)


def _national(digits: exp.Expr, region: Region) -> _Whens:
    whens: _Whens = []
    if region.trunk:
        rest = _after(digits, len(region.trunk))
        found = exp.and_(_begins(digits, region.trunk), _between(rest, region.shortest, region.longest))
        whens.append((found, _plus(region.code, rest)))
    whens.append((_between(digits, region.shortest, region.longest), _plus(region.code, digits)))
    rest = _after(digits, len(region.code))  # written with the country code but without the plus
    found = exp.and_(_begins(digits, region.code), _between(rest, region.shortest, region.longest))
    whens.append((found, _plus(region.code, rest)))
    return whens


def _international(digits: exp.Expr) -> exp.Expr:
    """Country code and national number, by patterns over all countries at once: a branch per country would be a
    statement that takes an engine longer to plan than to run."""
    regions = {region.code: region for region in REGIONS.values()}
    codes = sorted(regions, key=lambda code: (-len(code), code))
    bare = digits
    for trunk in sorted({region.trunk for region in regions.values()} - {""}):
        bare = call("cdp_regex_replace", bare.copy(), text(_with_trunk(regions, trunk)), text("\\1\\2"))
    whole = "|".join(f"{code}[0-9]{{{regions[code].shortest},{regions[code].longest}}}" for code in codes)
    known = call("cdp_matches", digits.copy(), text(f"^(?:{'|'.join(codes)})"))
    fits = call("cdp_matches", bare.copy(), text(f"^(?:{whole})$"))
    return _case([(known, _case([(fits, _plus("", bare))])), (_between(digits, _FEWEST, _MOST), _plus("", digits))])


def _with_trunk(regions: dict[str, Region], trunk: str) -> str:
    """Numbers in which the trunk prefix stands behind the country code. National numbers never begin with 0; any other
    prefix is one only where the rest is as long as a number must be."""
    own = [region for region in regions.values() if region.trunk == trunk]
    if trunk == "0":
        return f"^({'|'.join(sorted(region.code for region in own))})0([0-9]+)$"
    shortest, longest = min(region.shortest for region in own), max(region.longest for region in own)
    return f"^({'|'.join(sorted(region.code for region in own))}){trunk}([0-9]{{{shortest},{longest}}})$"


def _begins(value: exp.Expr, prefix: str) -> exp.Expr:
    start = exp.Substring(this=value.copy(), start=exp.Literal.number(1), length=exp.Literal.number(len(prefix)))
    return exp.EQ(this=start, expression=text(prefix))


def _after(value: exp.Expr, count: int) -> exp.Expr:
    return exp.Substring(this=value.copy(), start=exp.Literal.number(count + 1))


def _between(value: exp.Expr, low: int, high: int) -> exp.Expr:
    length = exp.Length(this=value.copy())
    return exp.Between(this=length, low=exp.Literal.number(low), high=exp.Literal.number(high))


def _plus(code: str, digits: exp.Expr) -> exp.Expr:
    return exp.DPipe(this=text(f"+{code}"), expression=digits.copy())


def _case(whens: _Whens) -> exp.Expr:
    return exp.Case(ifs=[exp.If(this=when.copy(), true=then.copy()) for when, then in whens])
