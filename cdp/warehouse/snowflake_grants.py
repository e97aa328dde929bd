"""Rights on Snowflake: the least that cdp needs, and those of a table that is about to be replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cdp.warehouse.names import identifier
from cdp.warehouse.snowflake_names import full, stored

Ask = Callable[[str], list[dict[str, object]]]


def least(role: str, reads: Sequence[str], warehouse: str, database: str, *schemas: str) -> tuple[str, ...]:
    """GRANT statements: compute, read `reads`, and a home in each of `schemas` of `database`, which must be there.
    Snowflake tells tables from views in a GRANT; these say TABLE."""
    who = f"ROLE {full(role)}"
    home = stored(database)[-1]
    found = [f"GRANT USAGE ON WAREHOUSE {full(warehouse)} TO {who}"]
    tables = [_placed(table, home) for table in reads]
    for name in dict.fromkeys([home, *(parts[0] for parts in tables)]):
        found.append(f"GRANT USAGE ON DATABASE {identifier(name)} TO {who}")
    for scope in dict.fromkeys(parts[:2] for parts in tables if len(parts) == 3):
        found.append(f"GRANT USAGE ON SCHEMA {_joined(scope)} TO {who}")
    found += [f"GRANT SELECT ON TABLE {_joined(parts)} TO {who}" for parts in tables]
    for schema in schemas:
        target = _joined((home, *stored(schema)))
        found.append(f"GRANT USAGE, CREATE TABLE, CREATE VIEW ON SCHEMA {target} TO {who}")
    return tuple(found)


def _placed(table: str, database: str) -> tuple[str, ...]:
    parts = stored(table)
    return parts if len(parts) > 2 else (database, *parts)


def _joined(parts: Sequence[str]) -> str:
    return ".".join(identifier(part) for part in parts)


def carried(ask: Ask, old: str, new: str) -> list[str]:
    """GRANT statements that give table `new` the rights that others have on table `old` (full names)."""
    found = []
    for right in ask(f"SHOW GRANTS ON TABLE {old}"):
        privilege, kind = str(right["privilege"]), str(right["granted_to"])
        if privilege == "OWNERSHIP" or kind not in ("ROLE", "DATABASE_ROLE"):
            continue
        option = " WITH GRANT OPTION" if str(right["grant_option"]).lower() == "true" else ""
        grantee = str(right["grantee_name"])
        # a database role is told with its database, as database.role
        name = (
            ".".join(identifier(part) for part in grantee.split(".", 1)) if "DATABASE" in kind else identifier(grantee)
        )
        found.append(f"GRANT {privilege} ON TABLE {new} TO {kind.replace('_', ' ')} {name}{option}")
    return found
