"""`cdp grants` prints enough, and no more; `cdp debug` says what of it is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from cdp.flow import build, debug, grants, run
from cdp.warehouse.postgres import Postgres
from tests.cli.conftest import Call
from tests.dialects.projects import on_tables
from tests.warehouse import little


@dataclass(frozen=True)
class Least:
    """A project whose target logs in as a role that was given what `cdp grants` prints."""

    admin: str
    role: str
    folder: Path
    statements: tuple[str, ...]

    def sql(self, *statements: str) -> None:
        """As the administrator."""
        with psycopg.connect(self.admin, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@pytest.fixture
def least(postgres_database: str, tmp_path: Path) -> Iterator[Least]:
    role = f"cdp_test_least_{uuid4().hex[:8]}"
    dsn = make_conninfo(postgres_database, user=role)
    folder = little.project(tmp_path / "p", {"type": "postgres", "dsn": dsn})
    made = Least(postgres_database, role, folder, grants(little.settings(folder), role).statements)
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        little.tables(lambda sql: connection.execute(sql))
    made.sql(f"CREATE ROLE {role} LOGIN", *made.statements)
    yield made
    made.sql(f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


def test_a_role_with_the_printed_rights_builds_sends_and_rebuilds(least: Least) -> None:
    for _ in range(2):
        result = run(little.settings(least.folder))
        assert [(step.id, step.message) for step in result.steps if step.status != "done"] == []
        assert result.exit_code == 0
    assert build(little.settings(least.folder), full_refresh=True).exit_code == 0
    assert [row["fields"]["email"] for row in little.sent(least.folder)] == ["ann@example.com"]
    assert all(line.ok for line in debug(little.settings(least.folder)))


@pytest.mark.parametrize(
    ("revoked", "missing"),
    [
        ("SELECT ON TABLE raw.orders", "source orders"),
        ("USAGE ON SCHEMA raw", "source contacts"),
        ("CREATE ON SCHEMA cdp", "schema cdp"),
        ("USAGE ON SCHEMA cdp_state", "schemas"),
        ("CREATE ON SCHEMA cdp_state", "schemas"),
    ],
)
def test_one_right_less_fails_and_debug_says_which(
    least: Least,
    revoked: str,
    missing: str,
    cdp: Call,
) -> None:
    least.sql(f"REVOKE {revoked} FROM {least.role}")
    said = cdp("build", "--project-dir", str(least.folder), "--profiles-dir", str(least.folder))
    assert said.code == 1
    assert "permission denied" in said.out + said.err
    assert "Traceback" not in said.err
    looked = cdp("debug", "--project-dir", str(least.folder), "--profiles-dir", str(least.folder), "--output", "json")
    assert looked.code == 1
    failing = {check["name"]: check for check in looked.document["checks"] if not check["ok"]}
    assert missing in failing
    assert "permission denied" in failing[missing]["detail"]
    assert "cdp grants" in failing[missing]["hint"]


def test_the_printed_rights_are_these(least: Least, cdp: Call) -> None:
    said = cdp("grants", "--role", "Loader", "--project-dir", str(least.folder), "--profiles-dir", str(least.folder))
    assert said.code == 0
    assert said.out.splitlines() == [
        'GRANT USAGE ON SCHEMA "raw" TO "Loader";',
        'GRANT SELECT ON TABLE "raw"."contacts" TO "Loader";',
        'GRANT SELECT ON TABLE "raw"."orders" TO "Loader";',
        'CREATE SCHEMA IF NOT EXISTS "cdp";',
        'GRANT USAGE, CREATE ON SCHEMA "cdp" TO "Loader";',
        'CREATE SCHEMA IF NOT EXISTS "cdp_state";',
        'GRANT USAGE, CREATE ON SCHEMA "cdp_state" TO "Loader";',
    ]


def test_who_gets_them_is_the_targets_own_user_unless_it_is_said(tmp_path: Path) -> None:
    profile = {"type": "postgres", "host": "nowhere.invalid", "user": "loader", "database": "d"}
    folder = little.project(tmp_path / "p", profile)
    assert grants(little.settings(folder)).role == "loader"
    assert grants(little.settings(folder), "other").role == "other"


def test_the_rights_of_every_source_are_printed_also_of_queries_and_odd_names(tmp_path: Path) -> None:
    folder = on_tables("everything", tmp_path / "p")
    profile = {"type": "postgres", "host": "nowhere.invalid", "user": "loader", "database": "d"}
    name = (folder / "cdp_project.yml").read_text().split("name: ")[1].split()[0]
    target = {"warehouse": profile, "destinations": {}}
    text = (folder / "profiles.yml").read_text()
    assert name in text
    import yaml

    profiles = yaml.safe_load(text)
    for one in profiles[name]["targets"].values():
        one["warehouse"] = target["warehouse"]
    (folder / "profiles.yml").write_text(json.dumps(profiles))
    found = grants(little.settings(folder))
    assert "raw.people" in found.reads
    assert len(found.reads) == len(set(found.reads)) > 3
    assert all('"cdp' not in table for table in found.reads)


def test_a_warehouse_without_roles_has_nothing_to_grant(tmp_path: Path, cdp: Call) -> None:
    folder = little.project(tmp_path / "p", {"type": "duckdb", "path": "w.duckdb"})
    said = cdp("grants", "--project-dir", str(folder), "--profiles-dir", str(folder))
    assert (said.code, said.out) == (0, "")
    assert "no roles" in said.err
    document = cdp("grants", "--project-dir", str(folder), "--profiles-dir", str(folder), "--output", "json").document
    assert document["grants"] == {"role": "cdp", "reads": ["raw.contacts", "raw.orders"], "statements": []}


def test_debug_tells_version_role_clock_and_latency(postgres_database: str, tmp_path: Path) -> None:
    folder = little.project(tmp_path / "p", {"type": "postgres", "dsn": postgres_database})
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        little.tables(lambda sql: connection.execute(sql))
    lines = {line.name: line for line in debug(little.settings(folder))}
    assert all(line.ok and not line.warning for line in lines.values())
    assert lines["version"].detail.startswith("Postgres 1")
    assert lines["role"].detail == "postgres"
    assert "against this machine" in lines["clock"].detail
    assert "median of 3" in lines["latency"].detail
    assert "5 columns" in lines["source contacts"].detail
    assert {"schema cdp", "schema cdp_state", "destination crm"} <= set(lines)
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("ALTER TABLE raw.orders ADD COLUMN more TEXT")
        connection.execute("DROP TABLE raw.contacts")
    lines = {line.name: line for line in debug(little.settings(folder))}
    assert not lines["source contacts"].ok and "CDP320" in lines["source contacts"].detail
    assert lines["drift"].warning and "more" in lines["drift"].detail


def test_a_clock_that_is_wrong_is_a_warning(postgres_database: str, tmp_path: Path, cdp: Call) -> None:
    """The server's clock cannot be set here; a function of the same name, first in the path, can stand before it."""
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        little.tables(lambda sql: connection.execute(sql))
        connection.execute("CREATE SCHEMA late")
        connection.execute(
            "CREATE FUNCTION late.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
            " $$ SELECT pg_catalog.clock_timestamp() - interval '5 minutes' $$"
        )
    options = "-c search_path=late,pg_catalog,public"
    dsn = make_conninfo(postgres_database, options=options)
    folder = little.project(tmp_path / "p", {"type": "postgres", "dsn": dsn})
    said = cdp("debug", "--project-dir", str(folder), "--profiles-dir", str(folder))
    assert said.code == 0
    assert "!!  clock: -300" in said.out
    assert "as_of" in said.out
    assert cdp("debug", "--strict", "--project-dir", str(folder), "--profiles-dir", str(folder)).code == 1


def test_a_name_of_a_role_is_quoted(postgres: Postgres) -> None:
    statements = postgres.grants('x"; DROP TABLE y; --', ["raw.t"])
    assert all('"x""; DROP TABLE y; --"' in one or one.startswith("CREATE SCHEMA") for one in statements)
