"""A raw identifier ► its normalised value, or the reason why it identifies nobody: canonical trees."""

from __future__ import annotations

from sqlglot import exp

from cdp.compile.identity import junk
from cdp.compile.identity.phone import REGIONS, e164
from cdp.compile.identity.spec import Identifier
from cdp.compile.render import call, text
from cdp.errors import CompileError, suggestion

_BLANKS = " \t\n\r\N{NO-BREAK SPACE}"


def normalised(identifier: Identifier, raw: exp.Expr) -> exp.Expr:
    """The normalised value of a raw text value; NULL for NULL, junk and what is blocked."""
    trim = trimmed(raw)
    value = shaped(identifier, trim)
    return exp.Case(ifs=[exp.If(this=exp.Is(this=reason(identifier, trim, value), expression=exp.null()), true=value)])


def trimmed(raw: exp.Expr) -> exp.Expr:
    """A raw value without the blanks around it."""
    return exp.Trim(this=raw.copy(), expression=text(_BLANKS))


def shaped(identifier: Identifier, trim: exp.Expr) -> exp.Expr:
    """The value in its normal form, junk or not. Raises CompileError CDP222 for a region that has no rules."""
    how = identifier.normalize
    if isinstance(how, exp.Expr):
        return exp.cast(_over_value(how, trim), "TEXT")
    if how == "email":
        return _email(identifier, exp.Lower(this=trim.copy()))
    if how == "phone":
        if identifier.region and identifier.region.upper() not in REGIONS:
            hint = suggestion(identifier.region, sorted(REGIONS), "regions")
            raise CompileError("CDP222", f"no phone rules for the region `{identifier.region}`", hint=hint)
        return e164(trim, identifier.region)
    if how == "lower":
        return exp.Lower(this=trim.copy())
    if how == "digits":
        return call("cdp_digits", trim.copy())
    return trim.copy()


def reason(identifier: Identifier, trim: exp.Expr, value: exp.Expr) -> exp.Expr:
    """Why a value is set aside (a word of `junk`), NULL where it is a good one."""
    lower = exp.Lower(this=trim.copy())
    whens: list[tuple[exp.Expr, str]] = [(_equals_any(trim, ("",)), junk.EMPTY)]
    whens.append((_equals_any(lower, junk.WORDS), junk.WORD))
    whens.append((_equals_any(lower, junk.ZERO_UUIDS), junk.ZERO_UUID))
    if identifier.normalize == "email":
        mailbox = call("cdp_regex_replace", value.copy(), text("@.*$"), text(""))
        at = call("cdp_matches", value.copy(), text("@"))
        whens.append((exp.and_(at, _equals_any(mailbox, junk.MAILBOXES)), junk.PLACEHOLDER))
        whens.append((_equals_any(value, junk.ADDRESSES), junk.PLACEHOLDER))
        whens.append((call("cdp_matches", trim.copy(), text(junk.ONE_DIGIT)), junk.REPEATED))
        whens.append((_shorter(trim, junk.SHORTEST_EMAIL), junk.SHORT))
    if identifier.normalize == "phone":
        digits = call("cdp_digits", trim.copy())
        whens.append((call("cdp_matches", digits, text(junk.ONE_DIGIT)), junk.REPEATED))
        whens.append((_shorter(digits, junk.SHORTEST_PHONE), junk.SHORT))
    whens += [(_blocks(identifier, rule, trim, value), junk.BLOCKED) for rule in identifier.block]
    missing = exp.or_(exp.Is(this=value.copy(), expression=exp.null()), _equals_any(value, ("",)))
    whens.append((missing, junk.NO_PHONE if identifier.normalize == "phone" else junk.EMPTY))
    return exp.Case(ifs=[exp.If(this=when, true=text(word)) for when, word in whens])


def _email(identifier: Identifier, lower: exp.Expr) -> exp.Expr:
    if not (identifier.gmail_dots or identifier.gmail_plus):
        return lower
    mailbox = call("cdp_regex_replace", lower.copy(), text("@.*$"), text(""))
    if identifier.gmail_plus:
        mailbox = call("cdp_regex_replace", mailbox, text("[+].*$"), text(""))
    if identifier.gmail_dots:
        mailbox = call("cdp_regex_replace", mailbox, text("[.]"), text(""))
    gmail = call("cdp_matches", lower.copy(), text("^[^@]+@(gmail|googlemail)[.]com$"))
    address = exp.DPipe(this=mailbox, expression=text("@gmail.com"))
    return exp.Case(ifs=[exp.If(this=gmail, true=address)], default=lower)


def _blocks(identifier: Identifier, rule: str, trim: exp.Expr, value: exp.Expr) -> exp.Expr:
    if len(rule) > 2 and rule.startswith("/") and rule.endswith("/"):
        return call("cdp_matches", value.copy(), text(rule[1:-1]))
    same = exp.EQ(this=value.copy(), expression=shaped(identifier, text(rule)))
    return exp.or_(exp.EQ(this=trim.copy(), expression=text(rule)), same)


def _over_value(tree: exp.Expr, value: exp.Expr) -> exp.Expr:
    """The user's expression with its column `value` filled in."""
    root = exp.Paren(this=tree.copy())
    for found in list(root.find_all(exp.Column)):
        if found.name.lower() == "value" and not found.table:
            found.replace(value.copy())
    inner = root.this
    assert isinstance(inner, exp.Expr)
    return exp.Paren(this=inner.pop())


def _equals_any(value: exp.Expr, words: tuple[str, ...]) -> exp.Expr:
    return exp.In(this=value.copy(), expressions=[text(word) for word in words])


def _shorter(value: exp.Expr, length: int) -> exp.Expr:
    return exp.LT(this=exp.Length(this=value.copy()), expression=exp.Literal.number(length))
