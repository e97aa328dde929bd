"""Regular expressions of the RE2 subset, said in another engine's language.

A pattern is walked token by token; what an engine cannot say raises CompileError CDP313 instead of meaning something
else there (`\\b` is a backspace to Postgres, `.` matches a newline there, `$` matches before a last newline in Java).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cdp.errors import CompileError

_TOKEN = re.compile(
    r"(?P<escape>\\(?:x\{[0-9A-Fa-f]+\}|x[0-9A-Fa-f]{2}|[pP](?:\{\^?\w+\}|[A-Z])|.))"
    r"|(?P<open>\(\?(?:P?<[A-Za-z_]\w*>|[a-zA-Z-]*[:)]|.))"
    r"|(?P<class>\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\])"
    r"|(?P<other>.)",
    re.DOTALL,
)
_ASCII = {"d": "0-9", "w": "0-9A-Za-z_", "s": r" \t\n\f\r"}


@dataclass(frozen=True)
class Tongue:
    """How an engine's regular expressions differ from RE2."""

    name: str
    escapes: Mapping[str, str] = field(default_factory=dict)  # b -> \y
    dot: str = "."
    dollar: str = "$"
    flags_inline: str = "is"  # leading (?…) flags that it takes
    capture: str = "("  # for (?P<name>
    group: str = "(?:"
    unicode_classes: bool = True  # \pL
    spells_classes: bool = False  # \d \w \s must be written out as ASCII
    flag_prefix: str = ""


_W = "[0-9A-Za-z_]"
POSTGRES = Tongue(
    "postgres",
    escapes={  # its own \y takes é for a letter of a word
        "b": f"(?:(?<={_W})(?!{_W})|(?<!{_W})(?={_W}))",
        "B": f"(?:(?<={_W})(?={_W})|(?<!{_W})(?!{_W}))",
        "z": r"\Z",
    },
    dot=r"[^\n]",
    unicode_classes=False,
    spells_classes=True,
)
SPARK = Tongue(
    "spark",
    escapes={  # before Java 19, its own \b takes é for a letter of a word
        "b": f"(?:(?<={_W})(?!{_W})|(?<!{_W})(?={_W}))",
        "B": f"(?:(?<={_W})(?={_W})|(?<!{_W})(?!{_W}))",
    },
    dot=r"[^\n]",
    dollar=r"\z",
    capture="(?<",
)
REDSHIFT = Tongue("redshift", dollar=r"\z", unicode_classes=False)  # PCRE, where the parameter p asks for it
SNOWFLAKE = Tongue(
    "snowflake", escapes={"A": "^", "z": "$"}, flags_inline="", group="(", unicode_classes=False, spells_classes=True
)


def translated(pattern: str, tongue: Tongue) -> tuple[str, str]:
    """(pattern, flags) in the engine's language; the flags are letters of `is`.

    Raises CompileError CDP313 where the engine has no word for a part of it.
    """
    flags, rest = _leading_flags(pattern, tongue)
    out = []
    for match in _TOKEN.finditer(rest):
        kind, token = str(match.lastgroup), match[0]
        if kind == "escape":
            out.append(_escape(token, tongue, inside=False))
        elif kind == "class":
            out.append(_class(token, tongue))
        elif kind == "open":
            out.append(_group(token, tongue))
        elif token == ".":
            out.append("." if "s" in flags else tongue.dot)
        else:
            out.append(tongue.dollar if token == "$" else token)
    inline = "".join(flag for flag in flags if flag in tongue.flags_inline)
    if tongue is POSTGRES:
        inline = inline.replace("s", "")  # its dot matches newlines by itself
    return tongue.flag_prefix + (f"(?{inline})" if inline else "") + "".join(out), flags


def _leading_flags(pattern: str, tongue: Tongue) -> tuple[str, str]:
    match = re.match(r"\(\?([a-zA-Z]+)\)", pattern)
    if not match:
        return "", pattern
    if set(match[1]) - set("is"):
        raise _cannot(match[0], tongue)
    return match[1], pattern[match.end() :]


def _escape(token: str, tongue: Tongue, *, inside: bool) -> str:
    letter = token[1:2]
    if not inside and letter in tongue.escapes:
        return tongue.escapes[letter]
    if letter in "pP" and not tongue.unicode_classes:
        raise _cannot(token, tongue)
    if letter in "QEC" or (token.startswith("\\x") and tongue.spells_classes):
        raise _cannot(token, tongue)
    if tongue.spells_classes and letter.lower() in _ASCII:
        chars = _ASCII[letter.lower()]
        if inside:
            if letter.isupper():
                raise _cannot(f"{token} inside […]", tongue)
            return chars
        return f"[^{chars}]" if letter.isupper() else f"[{chars}]"
    return token


def _class(token: str, tongue: Tongue) -> str:
    return re.sub(r"\\.", lambda match: _escape(match[0], tongue, inside=True), token)


def _group(token: str, tongue: Tongue) -> str:
    if token == "(?:":
        return tongue.group
    named = re.match(r"\(\?P?<([A-Za-z_]\w*)>", token)
    if named:
        return "(" if tongue.capture == "(" else f"{tongue.capture}{named[1].replace('_', '')}>"
    raise _cannot(token, tongue)


def _cannot(part: str, tongue: Tongue) -> CompileError:
    hint = "write the pattern with plain classes, groups and quantifiers; flags only as (?i) or (?s) at its start"
    return CompileError("CDP313", f"the pattern's `{part}` cannot be said on {tongue.name}", hint=hint)
