"""Logging in to Snowflake: what profiles.yml says as the driver's arguments, and the session that results rely on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from cdp.errors import WarehouseError
from cdp.warehouse.functions import FACTS
from cdp.warehouse.settings import Number, Settings, Truth

_DAY = 86_400  # seconds
# everything that an account, a user or a role may have set otherwise and that changes what a statement means
SESSION: Mapping[str, object] = {
    "TIMEZONE": "UTC",
    "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_NTZ",
    "WEEK_START": 1,
    "WEEK_OF_YEAR_POLICY": 0,
    "TWO_DIGIT_CENTURY_START": 1970,
    "DATE_INPUT_FORMAT": "AUTO",
    "TIME_INPUT_FORMAT": "AUTO",
    "TIMESTAMP_INPUT_FORMAT": "AUTO",
    "DATE_OUTPUT_FORMAT": "YYYY-MM-DD",
    "TIME_OUTPUT_FORMAT": "HH24:MI:SS.FF6",
    "TIMESTAMP_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF6 TZHTZM",
    "TIMESTAMP_NTZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF6",
    "TIMESTAMP_LTZ_OUTPUT_FORMAT": "",
    "TIMESTAMP_TZ_OUTPUT_FORMAT": "",
    "BINARY_INPUT_FORMAT": "HEX",
    "BINARY_OUTPUT_FORMAT": "HEX",
    "JSON_INDENT": 0,
    "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
    "ERROR_ON_NONDETERMINISTIC_MERGE": True,
    "ROWS_PER_RESULTSET": 0,
    "MULTI_STATEMENT_COUNT": 1,
    "AUTOCOMMIT": True,
    "TRANSACTION_ABORT_ON_ERROR": False,
    "LOCK_TIMEOUT": 600,  # seconds; the default of half a day would hide what a dead session left locked
    "ABORT_DETACHED_QUERY": True,  # a run that is gone does not go on being paid for
    "CLIENT_RESULT_CHUNK_SIZE": 48,  # MB; with the threads below, what a streamed result holds in memory
    "CLIENT_PREFETCH_THREADS": 2,
}


class SnowflakeLogin(Settings):
    """The keys of `type: snowflake`. One way to log in: `password`; `private_key_path` or `private_key` (PEM), with
    `private_key_passphrase` where it is encrypted; `token` (OAuth, or `authenticator: programmatic_access_token`);
    or `authenticator: externalbrowser`. Time-outs are in seconds."""

    facts: ClassVar = FACTS["snowflake"]
    type: Literal["snowflake"]
    account: str
    user: str
    password: str | None = None
    private_key_path: str | None = None
    private_key: str | None = None
    private_key_passphrase: str | None = None
    token: str | None = None
    authenticator: Literal["snowflake", "oauth", "programmatic_access_token", "externalbrowser"] | None = None
    role: str | None = None
    warehouse: str
    database: str
    query_tag: str = Field("cdp", max_length=2000)
    host: str | None = None
    port: Number | None = None
    protocol: Literal["https", "http"] | None = None
    login_timeout: Number = Field(60, ge=1)
    network_timeout: Number = Field(60, ge=1)  # one silence; a server answers within 45 seconds, be it "not yet"
    statement_timeout: Number | None = Field(None, ge=1)
    client_session_keep_alive: Truth = False

    @model_validator(mode="after")
    def _one_way_in(self) -> SnowflakeLogin:
        mistakes = list(self._mistakes())
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def _mistakes(self) -> list[str]:
        found = []
        if "://" in self.account or self.account.lower().endswith(".snowflakecomputing.com"):
            found.append("`account` is the identifier alone: no https:// and no .snowflakecomputing.com")
        browser = self.authenticator if self.authenticator == "externalbrowser" else None
        ways = {"password": self.password, "private_key_path": self.private_key_path, "private_key": self.private_key}
        ways |= {"token": self.token, "authenticator: externalbrowser": browser}
        given = [name for name, value in ways.items() if value is not None]
        if len(given) != 1:
            those = f" ({' and '.join(given)} are given)" if given else ""
            found.append(f"needs one of {', '.join(list(ways)[:-1])} or {list(ways)[-1]} to log in{those}")
        elif self.authenticator in ("oauth", "programmatic_access_token") and given != ["token"]:
            found.append(f"`authenticator: {self.authenticator}` goes with `token`, not with `{given[0]}`")
        elif self.authenticator == "snowflake" and given != ["password"]:
            found.append(f"`authenticator: snowflake` goes with `password`, not with `{given[0]}`")
        if self.private_key_passphrase is not None and not (self.private_key_path or self.private_key):
            found.append("`private_key_passphrase` goes with `private_key_path` or `private_key`")
        return found

    def arguments(self, project_dir: Path, version: int) -> dict[str, Any]:
        """What the driver's `connect` takes in its major `version`. Raises WarehouseError CDP302 for a key that cannot
        be read."""
        named = ("account", "user", "password", "token", "role", "warehouse", "database", "host", "port", "protocol")
        found = {name: value for name in named if (value := getattr(self, name)) is not None}
        if self.private_key_path is not None or self.private_key is not None:
            found["private_key"] = self._key(project_dir)
        authenticator = self.authenticator or ("oauth" if self.token is not None else None)
        if authenticator is not None:
            found["authenticator"] = authenticator
        session = {**SESSION, "QUERY_TAG": self.query_tag}
        if self.statement_timeout is not None:
            session["STATEMENT_TIMEOUT_IN_SECONDS"] = self.statement_timeout
        found |= {
            "application": "cdp",
            "paramstyle": "qmark",
            "session_parameters": session,
            "client_prefetch_threads": SESSION["CLIENT_PREFETCH_THREADS"],  # version 4 has its own idea otherwise
            "client_session_keep_alive": self.client_session_keep_alive,
            "validate_default_parameters": True,  # a warehouse that is not there is told now, not by the first statement
            "login_timeout": self.login_timeout,
        }
        return found | (self._patience() if version >= 5 else self._patience_of_4())

    def _patience(self) -> dict[str, Any]:
        """One silence and a statement's whole time are two time-outs."""
        whole = 0 if self.statement_timeout is None else self.statement_timeout + self.network_timeout
        return {
            "connect_timeout": self.network_timeout,
            "retry_timeout": self.network_timeout,
            "request_timeout": self.network_timeout,
            "retry_max_attempts": 3,
            "query_timeout": whole,
            "enable_server_session_keep_alive_auto_detection": False,  # nothing runs on behind a closed session
            "auto_cleanup": False,
        }

    def _patience_of_4(self) -> dict[str, Any]:
        """There `network_timeout` cancels a statement, however well the network does: a day where none is asked for."""
        whole = (self.statement_timeout or _DAY) + self.network_timeout
        return {"socket_timeout": self.network_timeout, "network_timeout": whole}

    def _key(self, project_dir: Path) -> bytes:
        """The private key as the driver wants it in every version: PKCS #8, DER, not encrypted."""
        from cryptography.hazmat.primitives import serialization

        if self.private_key_path is not None:
            path = project_dir / Path(self.private_key_path).expanduser()
            try:
                pem = path.read_bytes()
            except OSError as error:
                message = f"the private key {path} cannot be read: {error.strerror}"
                raise WarehouseError("CDP302", message, hint="mend `private_key_path` in profiles.yml") from None
        else:
            pem = (self.private_key or "").replace("\\n", "\n").encode()
        passphrase = self.private_key_passphrase.encode() if self.private_key_passphrase else None
        try:
            key = serialization.load_pem_private_key(pem, passphrase)
        except (ValueError, TypeError) as error:  # TypeError: a passphrase where none is needed, or none where one is
            needs = "password" in str(error).lower()
            hint = "check `private_key_passphrase`" if needs else "it must be PEM: -----BEGIN … PRIVATE KEY-----"
            raise WarehouseError("CDP302", "the private key for Snowflake cannot be read", hint=hint) from None
        form = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return key.private_bytes(*form)
