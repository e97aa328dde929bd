"""`{{ env('X') }}` in profiles.yml: sandboxed Jinja that knows this one function.

Other `{{ … }}` are left as they stand below `destinations:` (a connection may carry its own operations, whose
`{{ rows }}` are filled per batch) and are a mistake elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cdp.errors import Mark
from cdp.project.reader import Map, Seq
from cdp.project.reading import Reading
from cdp.warehouse.secrets import Secrets, looks_secret, passwords

_BLOCK = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_ENV = re.compile(r"\benv\s*\(")
_HARMLESS = {"type", "schema", "state_schema", "path", "port", "database"}  # a mask over these would hide table names
_LONG = 6  # shorter values from the environment are masked only under a key that looks secret


class FromEnvironment(str):
    """A text that came out of an environment variable: it may mean a number."""


class _Default(FromEnvironment):
    """The text that stands in the file for want of a variable: no secret."""


class _Unset(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def resolve(data: Any, environ: Mapping[str, str], reading: Reading, secrets: Secrets) -> Any:
    """A copy of the tree with its variables filled in and its secrets made known; mistakes go to `reading`.

    CDP310: a variable that is not set and has no default. CDP308: anything but env() in braces.
    """

    def env(name: str, default: object = None) -> object:
        if name in environ:
            return FromEnvironment(environ[name])
        if default is None:
            raise _Unset(name)
        return _Default(default) if isinstance(default, str) else default

    jinja = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    jinja.globals = {"env": env}
    return _Resolver(jinja, reading, secrets).tree(data, "", None, in_destinations=False)


class _Resolver:
    def __init__(self, jinja: jinja2.Environment, reading: Reading, secrets: Secrets) -> None:
        self.jinja, self.reading, self.secrets = jinja, reading, secrets

    def tree(self, data: Any, key: str, mark: Mark | None, *, in_destinations: bool) -> Any:
        """Depth is bounded by the reader."""
        if isinstance(data, Map):
            result = Map()
            result.at, result.keys_at, result.values_at = data.at, data.keys_at, data.values_at
            for name, value in data.items():
                below = in_destinations or name == "destinations"
                inherited = name if not looks_secret(key) else key  # headers: {…} below a secret key stay secret
                result[name] = self.tree(value, inherited, data.values_at[name], in_destinations=below)
            return result
        if isinstance(data, Seq):
            items = Seq()
            items.at, items.values_at = data.at, data.values_at
            items += [
                self.tree(item, key, place, in_destinations=in_destinations)
                for item, place in zip(data, data.values_at, strict=True)
            ]
            return items
        if isinstance(data, str):
            data = self.text(data, key, mark, in_destinations=in_destinations)
        self.note(data, key, whole=not isinstance(data, FromEnvironment))
        return data

    def text(self, text: str, key: str, mark: Mark | None, *, in_destinations: bool) -> Any:
        blocks = list(_BLOCK.finditer(text))
        ours = [block for block in blocks if _ENV.search(block[1])]
        if len(ours) < len(blocks) and not in_destinations:
            self.reading.problem("CDP308", "only {{ env('NAME') }} has a meaning here", mark)
            return text
        values = {block[0]: self.value(block[1], mark) for block in ours}
        for value in values.values():
            self.note(value, key, whole=True)
        if len(ours) == 1 and ours[0][0] == text.strip():
            return values[ours[0][0]]
        filled = _BLOCK.sub(lambda block: str(values.get(block[0], block[0])), text)
        return FromEnvironment(filled) if ours else text

    def value(self, expression: str, mark: Mark | None) -> Any:
        try:
            value = self.jinja.compile_expression(expression.strip(), undefined_to_none=False)()
        except _Unset as unset:
            hint = f"export {unset.name}=…, or give a default: env('{unset.name}', '…')"
            self.reading.problem("CDP310", f"environment variable `{unset.name}` is not set", mark, hint)
            return ""
        except (jinja2.TemplateError, SecurityError, TypeError, ValueError) as error:
            self.reading.problem("CDP308", f"`{{{{{expression}}}}}` cannot be read: {error}", mark)
            return ""
        if isinstance(value, jinja2.Undefined) or not isinstance(value, str | int | float | bool):
            self.reading.problem("CDP308", f"`{{{{{expression}}}}}` gives no text or number", mark)
            return ""
        return value

    def note(self, value: Any, key: str, *, whole: bool) -> None:
        """Remember a secret; a text with variables inside is noted by its variables, not as a whole."""
        if value is None or isinstance(value, bool):
            return
        text = str(value)
        from_outside = isinstance(value, FromEnvironment) and not isinstance(value, _Default)
        from_outside = from_outside and len(text) >= _LONG and not text.isdecimal()
        if looks_secret(key) or (whole and from_outside and key not in _HARMLESS):
            self.secrets.add(text)
        for password in passwords(text):
            self.secrets.add(password)
