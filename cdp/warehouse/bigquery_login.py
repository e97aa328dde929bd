"""How BigQuery is reached: who logs in, and where."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from cdp.errors import WarehouseError
from cdp.warehouse.bigquery_errors import unreachable

Method = Literal["adc", "service_account", "impersonate"]
_SCOPES = ("https://www.googleapis.com/auth/bigquery", "https://www.googleapis.com/auth/drive.readonly")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, repr=False)
class Login:
    """Application default credentials, unless a key file (a path, or its text) is named; `impersonate` is the service
    account whose name the work is done in. An endpoint on this machine is asked without credentials where none are named.
    """

    method: Method | None = None
    keyfile: Path | None = None
    keyfile_json: str | None = None
    impersonate: str | None = None
    endpoint: str | None = None

    @property
    def anonymous(self) -> bool:
        """Whether nobody logs in: a server on this machine, and no word of credentials."""
        local = self.endpoint is not None and urlsplit(self.endpoint).hostname in _LOOPBACK
        return local and not (self.method or self.keyfile or self.keyfile_json or self.impersonate)

    def client(self, project: str, location: str | None) -> Any:
        """A client of that billing project; no request is made yet, but where credentials must be asked for.

        Raises WarehouseError CDP302 (no credentials, a key file that cannot be used), CDP304 (no driver).
        """
        bigquery = driver()
        options = {"api_endpoint": self.endpoint} if self.endpoint else None
        return bigquery.Client(
            project=project, credentials=self._credentials(), location=location, client_options=options
        )

    def _credentials(self) -> Any:
        if self.anonymous:
            from google.auth.credentials import AnonymousCredentials

            return AnonymousCredentials()  # type: ignore[no-untyped-call]
        found = self._own()
        if self.impersonate is None:
            return found
        from google.auth import impersonated_credentials

        return impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
            source_credentials=found, target_principal=self.impersonate, target_scopes=list(_SCOPES)
        )

    def _own(self) -> Any:
        if self.keyfile is not None or self.keyfile_json is not None:
            return self._of_key()
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError

        try:
            found, _ = google.auth.default(scopes=_SCOPES)
        except DefaultCredentialsError:
            raise unreachable("there are no credentials on this machine", hint=_NO_CREDENTIALS) from None
        return found

    def _of_key(self) -> Any:
        from google.oauth2 import service_account

        try:
            text = self.keyfile.read_text(encoding="utf-8") if self.keyfile is not None else self.keyfile_json or ""
            return service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
                json.loads(text), scopes=list(_SCOPES)
            )
        except OSError as error:
            said = f"the key file {self.keyfile} cannot be read: {error.strerror}"
            raise unreachable(said, hint="mend `keyfile` of the target") from None
        except (ValueError, TypeError, AttributeError):  # its message may repeat the key
            what = "`keyfile_json`" if self.keyfile is None else f"the key file {self.keyfile}"
            raise unreachable(f"{what} is no key of a service account", hint=_A_KEY) from None


_NO_CREDENTIALS = "run `gcloud auth application-default login`, or name `keyfile` in the target"
_A_KEY = (
    "it is the JSON file that Google gives out for a service account, with `type`, `client_email` and `private_key`"
)


def driver() -> Any:
    """The module google.cloud.bigquery; raises WarehouseError CDP304 where it is not installed."""
    try:
        from google.cloud import bigquery
    except ImportError:
        hint = "pip install 'composable-cdp[bigquery]'"
        raise WarehouseError("CDP304", "the driver for BigQuery is not installed", hint=hint) from None
    return bigquery


_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}\Z")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}\Z")


def fit_labels(value: dict[str, str]) -> dict[str, str]:
    """https://cloud.google.com/bigquery/docs/labels-intro#requirements"""
    for key, text in value.items():
        if not (_LABEL.match(key) and _LABEL_VALUE.match(text)):
            raise ValueError(
                "must be made of lower-case letters, digits, _ and -, at most 63, a key beginning with a letter"
            )
    if len(value) > 60:
        raise ValueError("holds more than 60 labels")
    return value


def fit_endpoint(value: str) -> str:
    """A token must not travel in the clear."""
    url = urlsplit(value)
    if not url.hostname or url.scheme not in ("https", "http"):
        raise ValueError("must be a URL: https://host")
    if url.scheme == "http" and not Login(endpoint=value).anonymous:
        raise ValueError("must begin with https://")
    return value
