"""profiles.yml: what it may say, where it is looked for, and that nothing secret of it is ever shown."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from cdp.errors import ProjectError
from cdp.warehouse.duckdb import DuckDB
from cdp.warehouse.postgres import Postgres
from cdp.warehouse.profiles import Target, connect, facts_of, find_profiles, load_profile
from cdp.warehouse.secrets import Secrets, looks_secret

GOOD = """
shop:
  target: dev
  targets:
    dev:
      warehouse: {type: duckdb, path: data/shop.duckdb, schema: CDP}
      destinations: {crm: {type: file, path: out/}}
    prod:
      production: true
      warehouse:
        type: postgres
        host: "{{ env('PGHOST') }}"
        port: "{{ env('PGPORT', '5432') }}"
        user: cdp
        password: "{{ env('PGPASSWORD') }}"
        statement_timeout: 600
      destinations:
        hook:
          type: webhook
          url: "https://{{ env('HOOK_USER') }}:{{ env('HOOK_PASS') }}@hooks.example/{{ env('HOOK_PATH', 'in') }}"
          headers: {Authorization: "Bearer plain-bearer"}
          operations: {upsert: {body: {rows: "{{ rows }}", token: "{{ config.token }}"}}}
      vars: {currency: EUR}
    later:
      warehouse: {type: snowflake, account: acme, user: u, private_key_path: key.pem, warehouse: w, database: d}
    lake:
      warehouse: {type: redshift, host: h}
"""
ENVIRON = {"PGHOST": "db.internal", "PGPASSWORD": "pa\"ss' wörd/+", "HOOK_USER": "robot7", "HOOK_PASS": "s3cret%40x"}


def profile_in(folder: Path, text: str = GOOD) -> Path:
    (folder / "profiles.yml").write_text(text, encoding="utf-8")
    return folder


def target(folder: Path, name: str | None, environ: dict[str, str] | None = None) -> tuple[Target, Secrets]:
    secrets = Secrets()
    profile = load_profile(folder, "shop", environ=environ if environ is not None else ENVIRON)
    return profile.target(name, secrets), secrets


def mistakes(folder: Path, name: str | None, environ: dict[str, str] | None = None) -> ProjectError:
    with pytest.raises(ProjectError) as caught:
        target(folder, name, environ)
    assert caught.value.exit_code == 2
    return caught.value


def test_the_default_target_is_taken_where_none_is_named(tmp_path: Path) -> None:
    found, _ = target(profile_in(tmp_path), None, {})
    assert (found.name, found.type, found.production) == ("dev", "duckdb", False)
    assert (found.warehouse.schema_, found.warehouse.state_schema) == ("cdp", "cdp_state")
    assert found.destinations == {"crm": {"type": "file", "path": "out/"}}


def test_only_the_chosen_target_needs_its_variables(tmp_path: Path) -> None:
    target(profile_in(tmp_path), "dev", {})
    error = mistakes(tmp_path, "prod", {})
    assert [problem.code for problem in error.problems] == ["CDP310"] * 4
    assert str(error.problems[0]).startswith("profiles.yml:12:15: CDP310: environment variable `PGHOST` is not set")
    assert "export PGHOST=…" in str(error)


def test_variables_are_filled_in_and_numbers_among_them_are_numbers(tmp_path: Path) -> None:
    found, _ = target(profile_in(tmp_path), "prod")
    assert found.production is True
    assert found.warehouse.model_dump()["port"] == 5432
    assert found.warehouse.model_dump()["password"] == "pa\"ss' wörd/+"
    assert found.destinations["hook"]["url"] == "https://robot7:s3cret%40x@hooks.example/in"
    assert found.vars == {"currency": "EUR"}


def test_templates_of_a_destination_are_left_alone(tmp_path: Path) -> None:
    found, _ = target(profile_in(tmp_path), "prod")
    body = found.destinations["hook"]["operations"]["upsert"]["body"]
    assert body == {"rows": "{{ rows }}", "token": "{{ config.token }}"}


def test_secrets_are_masked_in_every_form(tmp_path: Path) -> None:
    _, secrets = target(profile_in(tmp_path), "prod")
    password = ENVIRON["PGPASSWORD"]
    for text in (
        password,
        quote(password, safe=""),
        json.dumps(password),
        json.dumps(password, ensure_ascii=False),
        "'" + password.replace("'", "''") + "'",
        f"https://robot7:{ENVIRON['HOOK_PASS']}@hooks.example",
        "s3cret@x",
        "Bearer plain-bearer",
        *(base64.b64encode((user + ":" + password).encode()).decode() for user in ("a", "ab", "abc")),
        *(base64.urlsafe_b64encode((user + ":" + password).encode()).decode() for user in ("a", "ab", "abc")),
    ):
        masked = secrets.mask(f"before {text} after")
        assert "***" in masked
        assert masked.startswith("before ")
        for part in ("pa%22ss", "pa\\u0022ss", "ss' w", "s3cret", "plain-bearer", "cGEi", "InNz"):
            assert part not in masked, masked


def test_what_is_no_secret_stays_readable(tmp_path: Path) -> None:
    _, secrets = target(profile_in(tmp_path), "prod")
    text = "postgres cdp.customer on port 5432, schema cdp_state, type webhook, currency EUR, in"
    assert secrets.mask(text) == text


def test_keys_that_look_secret_are_known() -> None:
    for key in (
        "password",
        "api_key",
        "API-Key",
        "token",
        "access_token",
        "client_secret",
        "private_key",
        "key",
        "dsn",
    ):
        assert looks_secret(key), key
    for key in ("path", "schema", "host", "monkey", "keyboard", "private_key_path", "key_file", "author", "type"):
        assert not looks_secret(key), key


def test_all_mistakes_of_a_target_are_told_at_once_with_places_and_without_secrets(tmp_path: Path) -> None:
    profile_in(
        tmp_path,
        """
shop:
  target: dev
  targets:
    dev:
      prodution: true
      warehouse: {type: postgres, host: h, prot: 5432, password: 12345678, port: "5432", schema: "my schema"}
      destinations: [x]
""",
    )
    error = mistakes(tmp_path, None)
    text = str(error)
    assert {problem.code for problem in error.problems} == {"CDP308"}
    assert "profiles.yml:6:7: CDP308: `shop.dev` has no key `prodution`" in text
    assert "did you mean `production`?" in text
    assert "profiles.yml:7:44: CDP308: `shop.dev.warehouse` has no key `prot`" in text
    assert "did you mean `port`?" in text
    assert "`shop.dev.warehouse.password` must be text" in text
    assert "`shop.dev.warehouse.port` must be a whole number" in text
    assert "must be a plain name" in text
    assert "`shop.dev.destinations` must be a map" in text
    assert "12345678" not in text
    assert all(problem.mark is not None for problem in error.problems)


@pytest.mark.parametrize(
    ("warehouse", "words"),
    [
        ("{type: duck, path: x}", "did you mean `duckdb`?"),
        ("{path: x}", "says no `type`"),
        ("{type: duckdb}", "`shop.dev.warehouse.path` is missing"),
        ("{type: postgres, user: me}", "needs `dsn`, or `host`"),
        ("{type: duckdb, path: x, schema: a, state_schema: A}", "needs two schemas"),
        ("{type: duckdb, path: x, schema: 'a; drop table b'}", "must be a plain name"),
        ("{type: duckdb, path: '{{ 7 * 7 }}'}", "only {{ env('NAME') }} has a meaning here"),
        ("""{type: duckdb, path: "{{ env('X', 'a').__class__.__mro__ }}"}""", "cannot be read"),
        ("""{type: duckdb, path: "{{ env('X', [].append) }}"}""", "gives no text or number"),
        ("""{type: duckdb, path: "{{ env( }}"}""", "cannot be read"),
        ("""{type: duckdb, path: "{{ env('X', 'a') ~ lipsum() }}"}""", "cannot be read"),
        ("[duckdb]", "must be a map"),
    ],
)
def test_a_wrong_warehouse_is_explained(tmp_path: Path, warehouse: str, words: str) -> None:
    profile_in(tmp_path, f"shop:\n  target: dev\n  targets:\n    dev:\n      warehouse: {warehouse}\n")
    error = mistakes(tmp_path, None, {})
    assert words in str(error)
    assert {problem.code for problem in error.problems} == {"CDP308"}
    assert "profiles.yml:5:" in str(error)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("shop:\n  target: dev\n", "`shop.targets` is missing"),
        ("shop:\n  target: dev\n  targets: []\n", "`shop.targets` must be a map"),
        ("shop:\n  target: prod\n  targets: {dev: {warehouse: {type: duckdb, path: x}}}\n", "no target `prod`"),
        ("shop:\n  target: dev\n  targets: {dev: }\n", "must be a map"),
        ("shopp: {}\n", "did you mean `shopp`?"),
        ("shop: 5\n", "no profile `shop`"),
        ("shop: {target: dev, targets: {}, more: 1}\n", "`shop.more`"),
        ("shop: [\n", "CDP102"),
        ("shop: {password: topsecret99, password: topsecret99}\n", "CDP103"),
    ],
)
def test_a_wrong_file_is_explained_without_a_traceback(tmp_path: Path, text: str, words: str) -> None:
    error = mistakes(profile_in(tmp_path, text), None, {})
    assert words in str(error)
    assert "topsecret" not in str(error)


def test_the_file_is_looked_for_in_the_order_of_the_paper(tmp_path: Path) -> None:
    project, flag, variable, home = (tmp_path / name for name in ("project", "flag", "variable", "home"))
    for folder in (project, flag, variable, home / ".cdp"):
        folder.mkdir(parents=True)
        profile_in(folder)
    environ = {"CDP_PROFILES_DIR": str(variable), "HOME": str(home)}
    assert find_profiles(project, flag, environ).parent == flag
    assert find_profiles(project, None, environ).parent == variable
    assert find_profiles(project, None, {"HOME": str(home)}).parent == project
    (project / "profiles.yml").unlink()
    assert find_profiles(project, None, {"HOME": str(home)}).parent == home / ".cdp"
    (flag / "profiles.yml").unlink()
    with pytest.raises(ProjectError) as caught:
        find_profiles(project, flag, environ)
    assert caught.value.code == "CDP307"
    assert str(flag) in caught.value.message


def test_a_target_is_connected_to_by_its_type(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    found, _ = target(profile_in(tmp_path), "dev", {})
    warehouse = connect(found, tmp_path)
    assert isinstance(warehouse, DuckDB)
    warehouse.ensure_schemas()
    assert (tmp_path / "data" / "shop.duckdb").is_file()
    warehouse.close()
    found, _ = target(tmp_path, "prod")
    assert isinstance(connect(found, tmp_path), Postgres)
    assert facts_of(found).name == "postgres"


def test_the_engine_of_a_target_is_known_before_it_is_connected_to(tmp_path: Path) -> None:
    profile_in(tmp_path)
    for name, engine in (("later", "snowflake"), ("lake", "redshift")):
        found, _ = target(tmp_path, name, {})
        assert facts_of(found).name == engine
        assert connect(found, tmp_path).facts.name == engine


def test_a_postgres_target_works_from_profile_to_rows(tmp_path: Path, postgres_database: str) -> None:
    text = "shop:\n  target: pg\n  targets:\n    pg: {warehouse: {type: postgres, dsn: \"{{ env('DSN') }}\"}}\n"
    found, secrets = target(profile_in(tmp_path, text), None, {"DSN": postgres_database})
    warehouse = connect(found, tmp_path)
    warehouse.ensure_schemas()
    assert warehouse.make_table("cdp.t", "SELECT 1 AS a") == 1
    assert secrets.mask(postgres_database) == "***"
    warehouse.close()
