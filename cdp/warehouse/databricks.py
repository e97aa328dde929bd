"""Databricks: Spark Connect of one of a workspace's clusters, with Unity Catalog's names and rights."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import quote

from pydantic import model_validator

from cdp.errors import WarehouseError
from cdp.warehouse.names import parts
from cdp.warehouse.settings import Number, Settings
from cdp.warehouse.spark import Spark
from cdp.warehouse.spark_session import Address
from cdp.warehouse.spark_values import quoted_name

_EARLY = 120.0  # seconds before its end at which a token is renewed


class Databricks(Spark):
    """A cluster of a workspace; `catalog` is Unity Catalog's, None: the workspace's own default."""

    called: ClassVar[str] = "Databricks"

    def grants(self, role: str, reads: Sequence[str]) -> tuple[str, ...]:
        """Unity Catalog: see its names, read `reads`, and a home in both schemas, which must be there.

        docs.databricks.com/aws/en/data-governance/unity-catalog/manage-privileges/privileges says what each right is for:
        CREATE TABLE covers views, and replacing somebody else's table takes MODIFY and SELECT on it.
        """
        who, own = quoted_name(role), self._address.catalog
        tables = [[*([own] if own and len(parts(table)) == 2 else []), *parts(table)] for table in reads]
        homes = [[*([own] if own else []), schema] for schema in (self.schema, self.state_schema)]
        catalogs = dict.fromkeys(path[0] for path in (*(t for t in tables if len(t) == 3), *homes) if len(path) > 1)
        schemas = dict.fromkeys(_dotted(table[:-1]) for table in tables if len(table) > 1)
        rights = "USE SCHEMA, CREATE TABLE, SELECT, MODIFY"
        return (
            *(f"GRANT USE CATALOG ON CATALOG {quoted_name(catalog)} TO {who}" for catalog in catalogs),
            *(f"GRANT USE SCHEMA ON SCHEMA {schema} TO {who}" for schema in schemas),
            *(f"GRANT SELECT ON TABLE {_dotted(table)} TO {who}" for table in tables),
            *(f"GRANT {rights} ON SCHEMA {_dotted(home)} TO {who}" for home in homes),
        )


def _dotted(path: Sequence[str]) -> str:
    return ".".join(map(quoted_name, path))


class ServicePrincipal:
    """Tokens of a service principal, each for an hour, renewed before it ends (OAuth 2 client credentials,
    docs.databricks.com/aws/en/dev-tools/auth/oauth-m2m). Raises WarehouseError CDP302."""

    def __init__(self, url: str, client_id: str, client_secret: str, timeout: float) -> None:
        self._url = url
        self._login = (client_id, client_secret)
        self._timeout = timeout
        self._token = ""
        self._until = 0.0

    def token(self) -> str:
        """One that is good for two minutes at least."""
        if time.monotonic() >= self._until - _EARLY:
            self._token, seconds = self._asked()
            self._until = time.monotonic() + seconds
        return self._token

    def _asked(self) -> tuple[str, float]:
        import httpx

        form = {"grant_type": "client_credentials", "scope": "all-apis"}
        try:
            answer = httpx.post(self._url, data=form, auth=self._login, timeout=self._timeout)
            if answer.status_code in (400, 401, 403):
                message = f"Databricks refuses the service principal ({answer.status_code})"
                raise WarehouseError("CDP302", message, hint="check `client_id` and `client_secret`")
            found = answer.raise_for_status().json()
            return str(found["access_token"]), float(found.get("expires_in", 3600))
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            message = f"Databricks gives no token: {type(error).__name__} at {self._url}"
            raise WarehouseError("CDP302", message, hint="is `host` the workspace's, and is there a network?") from None


class DatabricksSettings(Settings):
    """type: databricks. A workspace's `host`, a login (`token`, or `client_id` and `client_secret`), a cluster."""

    facts: ClassVar = Databricks.facts
    type: Literal["databricks"]
    host: str
    token: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    cluster_id: str
    catalog: str | None = None
    format: Literal["delta"] = "delta"
    config: dict[str, str] = {}  # settings of the session besides ours
    statement_timeout: Number | None = None  # seconds
    connect_timeout: Number = 60  # seconds

    @model_validator(mode="after")
    def _one_login(self) -> DatabricksSettings:
        pair = (self.client_id, self.client_secret)
        if (self.token is None) == (pair == (None, None)) or (self.token is None and None in pair):
            raise ValueError("needs `token`, or `client_id` with `client_secret` of a service principal")
        return self

    @property
    def _name(self) -> str:
        return self.host.removeprefix("https://").rstrip("/")

    def connect(self, project_dir: Path) -> Databricks:
        address = Address(
            f"sc://{self._name}:443/;use_ssl=true;x-databricks-cluster-id={quote(self.cluster_id, safe='')}",
            self._name,
            443,
            bearer=self._bearer,
            catalog=self.catalog,
            config=self.config,
            timeout=self.connect_timeout,
        )
        if self.token is None:
            principal = ServicePrincipal(
                f"https://{self._name}/oidc/v1/token",
                str(self.client_id),
                str(self.client_secret),
                self.connect_timeout,
            )
            address = replace(address, bearer=principal.token)
        timeout = self.statement_timeout
        return Databricks(self.schema_, self.state_schema, address, statement_timeout=timeout, format_=self.format)

    def _bearer(self) -> str:
        return str(self.token)


SETTINGS = DatabricksSettings
