"""The least rights that cdp needs on Postgres."""

from __future__ import annotations

from collections.abc import Sequence

from cdp.warehouse.names import identifier, parts, quoted


def least(role: str, reads: Sequence[str], *schemas: str) -> tuple[str, ...]:
    """Read `reads`, and have a home in each of `schemas`, which are made where they are missing."""
    who = identifier(role)
    scopes = dict.fromkeys(parts(table)[-2] for table in reads if len(parts(table)) > 1)
    usage = [f"GRANT USAGE ON SCHEMA {identifier(scope)} TO {who}" for scope in scopes]
    select = [f"GRANT SELECT ON TABLE {quoted(table)} TO {who}" for table in reads]
    homes = [
        statement
        for schema in map(identifier, schemas)
        for statement in (f"CREATE SCHEMA IF NOT EXISTS {schema}", f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {who}")
    ]
    return (*usage, *select, *homes)
