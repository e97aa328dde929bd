"""The text of a snippet before it is a tree: its tokens, its bounds, and the places of what is wrong with it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from sqlglot import exp, parse_one
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from cdp.project.snippet_nodes import STRINGS_REFUSED, Refused, SnippetError, SnippetErrors

MAX_TEXT = 20_000  # characters of an expression; a query may have ten times as many
MAX_TOKENS = 4_000
MAX_NESTING = 24  # brackets in brackets: the parser recurses about 20 frames for each
MAX_DEPTH = 200  # levels of the tree, so that whoever walks it later can do so by recursion
MAX_CALLS = 60  # levels apart from operators in a row: the generator recurses about 6 frames for each

_JINJA = re.compile(r"\{\{|\{%|\{#")
_OPEN = frozenset({TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE})
_CLOSE = frozenset({TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END})
_PREFIX = frozenset({TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.TILDE})


_SIGNS: dict[type[exp.Expr], set[str]] = {
    exp.Star: {"*"},
    exp.Placeholder: {"?", ":", "$"},
    exp.Select: {"select", "from", "table"},
    exp.IntDiv: {"//"},
    exp.Bracket: {"["},
    exp.Array: {"["},
    exp.Struct: {"{"},
    exp.BitwiseAnd: {"&"},
    exp.SimilarTo: {"similar"},
    exp.AtTimeZone: {"at"},
    exp.JSONExtract: {"->"},
    exp.JSONExtractScalar: {"->>"},
    exp.Cast: {"::"},
}


class Source:
    """One text while it is being read: its tokens, and the places of what is found in it."""

    def __init__(self, text: str, dialect: str, limit: int) -> None:
        self.text = text
        self.dialect = Dialect.get_or_raise(dialect)
        if len(text) > limit:
            message = f"the text has {len(text):,} characters; {limit:,} is the limit"
            raise SnippetErrors([SnippetError("CDP127", message)])
        try:
            self.tokens: list[Token] = self.dialect.tokenize(text)
        except SqlglotError:
            raise SnippetErrors([self._unclosed()]) from None
        if not self.tokens:
            raise SnippetErrors([SnippetError("CDP120", "there is no SQL in this text")])
        self._scan()

    def at(self, offset: int, length: int = 1) -> dict[str, Any]:
        """The place of a character, as keywords of SnippetError."""
        before = self.text[:offset]
        line = before.count("\n") + 1
        return {"offset": offset, "line": line, "col": offset - (before.rfind("\n") + 1) + 1, "length": max(1, length)}

    def error(self, code: str, message: str, token: Token | None, hint: str | None = None) -> SnippetError:
        """A SnippetError at a token; None means the beginning."""
        place = self.at(token.start, token.end - token.start + 1) if token else self.at(0)
        return SnippetError(code, message, hint=hint, **place)

    def _unclosed(self) -> SnippetError:
        for mark, what in (("/*", "a comment"), ("'", "a text"), ('"', "a quoted name"), ("$", "a `$` text")):
            offset = self.text.rfind(mark)
            if offset >= 0:
                return SnippetError("CDP120", f"{what} is opened and not closed", **self.at(offset, len(mark)))
        return SnippetError("CDP120", "this cannot be read as SQL")

    def _scan(self) -> None:
        """What must be refused before the parser sees it: its recursion, and what it reads over."""
        errors: list[SnippetError] = []
        if len(self.tokens) > MAX_TOKENS:
            errors.append(SnippetError("CDP127", f"{len(self.tokens):,} words and signs; {MAX_TOKENS:,} is the limit"))
        depth = prefixes = 0
        for token in self.tokens:
            kind = token.token_type
            depth += (kind in _OPEN) - (kind in _CLOSE)
            prefixes = prefixes + 1 if kind in _PREFIX else 0
            if depth > MAX_NESTING or prefixes > MAX_NESTING:
                errors.append(
                    self.error("CDP127", f"nested deeper than {MAX_NESTING}", token, "split it into two traits")
                )
                break
            if kind in STRINGS_REFUSED or (kind is TokenType.STRING and "\0" in token.text):
                errors.append(self.error("CDP122", "a text or parameter of an odd kind", token, "write 'text'"))
        errors += self._odd_characters()
        if errors:
            raise SnippetErrors(errors)

    def _odd_characters(self) -> Iterator[SnippetError]:
        """Characters outside of texts and quoted names that look like others, or like nothing; and Jinja."""
        plain = list(self.text)
        for token in self.tokens:
            if token.token_type in (TokenType.STRING, TokenType.IDENTIFIER):
                plain[token.start : token.end + 1] = " " * (token.end - token.start + 1)
        rest = "".join(plain)
        found = _JINJA.search(rest)
        if found:
            hint = "Jinja is filled in before this, in YAML values only"
            yield SnippetError("CDP122", "Jinja in SQL", hint=hint, **self.at(found.start(), 2))
        for offset, character in enumerate(rest):
            odd = character not in "\t\r\n" and (
                unicodedata.category(character)[0] == "C" or (character > "~" and not character.isalnum())
            )
            if odd:
                name = unicodedata.name(character, f"U+{ord(character):04X}")
                hint = "put it in quotes where it belongs to a text"
                yield SnippetError("CDP120", f"a character that is no SQL: {name}", hint=hint, **self.at(offset))
                return

    def parsed(self, into: type[exp.Expr] | None) -> exp.Expr:
        """The tree of the whole text."""
        try:
            tree = (
                parse_one(self.text, dialect=self.dialect, into=into)
                if into
                else parse_one(self.text, dialect=self.dialect)
            )
        except RecursionError:
            raise SnippetErrors([SnippetError("CDP127", "nested too deep")]) from None
        except ParseError as error:
            raise SnippetErrors([self._unread(error)]) from None
        except (SqlglotError, IndexError, AttributeError, ValueError, TypeError, KeyError):
            # the parser's own slips: it looks for arguments that broken text does not have
            raise SnippetErrors([self.error("CDP120", "this cannot be read as SQL", self.tokens[0])]) from None
        self.bound(tree, 1)
        return tree

    @staticmethod
    def bound(tree: exp.Expr, factor: int) -> None:
        """Refuse a tree that is too deep, without recursion."""
        stack = [(tree, 1, 1)]
        while stack:
            node, level, calls = stack.pop()
            if level > factor * MAX_DEPTH:
                hint = "use IN (…), or split it"
                raise SnippetErrors([SnippetError("CDP127", f"more than {MAX_DEPTH} operations in a row", hint=hint)])
            if calls > factor * MAX_CALLS:
                raise SnippetErrors([SnippetError("CDP127", "nested too deep", hint="split it into two traits")])
            row = isinstance(node, exp.Binary)
            for child in node.iter_expressions():
                stack.append((child, level + 1, calls + (not (row and isinstance(child, exp.Binary)))))

    def _unread(self, error: ParseError) -> SnippetError:
        for found in error.errors:
            for token in self.tokens:
                if (token.line, token.col) == (found.get("line"), found.get("col")):
                    first = token is self.tokens[0]
                    said = (
                        f"`{token.text}` is not expected here"
                        if not first
                        else f"an expression cannot begin with `{token.text}`"
                    )
                    return self.error("CDP121" if first else "CDP120", said, token)
        return self.error("CDP120", "this SQL ends too early", self.tokens[-1])

    def locate(self, root: exp.Expr) -> None:
        """Give literals their places: the parser keeps those of names and functions only."""
        tokens: dict[tuple[bool, str], list[Token]] = {}
        for token in reversed(self.tokens):
            if token.token_type in (TokenType.STRING, TokenType.NUMBER):
                tokens.setdefault((token.token_type is TokenType.STRING, token.text), []).append(token)
        for node in root.find_all(exp.Literal, bfs=False):
            found = tokens.get((bool(node.is_string), str(node.this)))
            if found:
                token = found.pop() if len(found) > 1 else found[0]
                node.meta["start"], node.meta["end"] = token.start, token.end

    def _word_of(self, node: exp.Expr) -> tuple[int, int] | None:
        """The first word or sign of the text that makes a node of this type."""
        names = {type(node).__name__.lower()}
        if isinstance(node, exp.Func):
            names |= {name.lower() for name in node.sql_names()}
        names |= _SIGNS.get(type(node), set())
        for token in self.tokens:
            if token.text.lower() in names and token.token_type not in (TokenType.STRING, TokenType.IDENTIFIER):
                return token.start, token.end
        return None

    def place(self, fault: Refused, node: exp.Expr) -> SnippetError:
        """A refusal with its place: the node's own, else that of the first thing below it, else of what holds it."""
        node = fault.node or node
        spot = spot_of(node) if "start" in node.meta else self._word_of(node) or spot_of(node)
        above = node.parent
        while spot is None and above is not None:
            spot, above = spot_of(above), above.parent
        start, end = spot or (0, 0)
        return SnippetError(fault.code, fault.message, hint=fault.hint, **self.at(start, end - start + 1))


def spot_of(node: exp.Expr) -> tuple[int, int] | None:
    """First and last character of a node that knows, or of all below it that do."""
    own = node.meta
    if "start" in own:
        return own["start"], own["end"]
    spots = [child.meta for child in node.find_all(exp.Expr) if "start" in child.meta]
    return (min(spot["start"] for spot in spots), max(spot["end"] for spot in spots)) if spots else None
