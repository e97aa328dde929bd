"""Values that must never be printed, and the mask over them."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote, quote_plus, unquote, urlsplit

_WORDS = re.compile(
    r"passw|passphrase|\bpwd\b|token|secret|credential|private|api_?key|access_?key|auth|bearer|signature|cookie"
    r"|(^|_)key(_|$)|(^|_)dsn$|^keyfile_json$"
)
_NO_SECRETS = {"authenticator", "private_key_path", "key_file", "token_url", "auth_url", "author", "key_column"}
_LIBPQ_PASSWORD = re.compile(r"password\s*=\s*('(?:[^'\\]|\\.)*'|\S+)", re.IGNORECASE)
_SHORTEST = 3  # a mask over shorter texts would tear every word apart


def looks_secret(key: str) -> bool:
    """Whether what stands under this key is nobody's business."""
    return key.lower() not in _NO_SECRETS and bool(_WORDS.search(key.lower().replace("-", "_")))


class Secrets:
    """The secrets of one run. Longer ones are masked first, in plain, URL-encoded, base64 and JSON-escaped form."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: object) -> None:
        """Mask this text from now on; of a URL or a dsn its password, too."""
        text = str(value)
        for secret in {text, *text.splitlines(), *passwords(text)}:
            if len(secret.strip()) >= _SHORTEST:
                self._forms |= _forms(secret.strip())
        self._pattern = None

    def mask(self, text: str, *, keep_length: bool = False) -> str:
        """The text with `***` (or as many stars as it takes to keep columns in place) for every secret."""
        if not self._forms:
            return text
        if self._pattern is None:
            self._pattern = re.compile("|".join(re.escape(form) for form in sorted(self._forms, key=len, reverse=True)))
        return self._pattern.sub(lambda match: "*" * len(match[0]) if keep_length else "***", text)


def passwords(text: str) -> set[str]:
    """The passwords inside a URL or a libpq dsn."""
    found = {match[1].strip("'") for match in _LIBPQ_PASSWORD.finditer(text)}
    if "://" in text and "@" in text:
        try:
            password = urlsplit(text).password
        except ValueError:  # no URL after all
            password = None
        if password:
            found |= {password, unquote(password)}
    return found


def _forms(secret: str) -> set[str]:
    forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), secret.replace("'", "''")}
    forms |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    if len(secret) >= 6:
        forms |= _base64_forms(secret.encode())
    return forms


def _base64_forms(secret: bytes) -> set[str]:
    """What a base64 text that holds the secret at some place (`user:secret`) must contain, for the three places it can
    have within a group of three bytes; the edge characters depend on the neighbours and are left off."""
    forms = {base64.b64encode(secret).decode(), base64.urlsafe_b64encode(secret).decode()}
    for before in range(3):
        padded = bytes(before) + secret
        start, end = -(-before * 4 // 3), len(padded) * 8 // 6
        forms |= {encode(padded).decode()[start:end] for encode in (base64.b64encode, base64.urlsafe_b64encode)}
    return {form.rstrip("=") for form in forms}
