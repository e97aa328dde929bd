"""Snowflake without a server: what a profile may say, what the driver is told, what errors become, rights."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import ValidationError
from sqlglot import exp, parse_one

from cdp.compile.render import Renderer
from cdp.errors import WarehouseError
from cdp.warehouse.functions import FACTS
from cdp.warehouse.secrets import looks_secret
from cdp.warehouse.snowflake import SnowflakeSettings
from cdp.warehouse.snowflake_errors import has_expired, is_lost, refused, unreachable, words
from cdp.warehouse.snowflake_grants import carried
from cdp.warehouse.snowflake_login import SESSION
from cdp.warehouse.snowflake_names import column, full, shown, stored
from cdp.warehouse.snowflake_values import type_of

BASE = {"type": "snowflake", "account": "acme-eu", "user": "cdp", "warehouse": "wh", "database": "analytics"}
PEM = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


def settings(**more: Any) -> SnowflakeSettings:
    return SnowflakeSettings.model_validate({**BASE, **({"password": "s3cret"} if not more else {}), **more})


def key_pem(passphrase: bytes | None = None) -> bytes:
    key = rsa.generate_private_key(65537, 2048)
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(*PEM, how)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "needs one of password, private_key_path, private_key, token or authenticator: externalbrowser to log in"),
        ({"password": "p", "token": "t"}, "(password and token are given)"),
        ({"password": "p", "authenticator": "oauth"}, "`authenticator: oauth` goes with `token`, not with `password`"),
        ({"token": "t", "authenticator": "snowflake"}, "goes with `password`, not with `token`"),
        ({"password": "p", "private_key_passphrase": "x"}, "`private_key_passphrase` goes with `private_key_path`"),
        ({"password": "p", "account": "https://acme.snowflakecomputing.com"}, "`account` is the identifier alone"),
        ({"password": "p", "login_timeout": 0}, "greater than or equal to 1"),
        ({"password": "p", "authenticator": "okta"}, "'externalbrowser'"),
        ({"password": "p", "warehouse": None}, "valid string"),
    ],
)
def test_what_a_profile_says_wrong_is_told(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SnowflakeSettings.model_validate({**BASE, **given})
    assert said in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        SnowflakeSettings.model_validate({**BASE, "account": "x.snowflakecomputing.com", "private_key_passphrase": "x"})
    for said in ("identifier alone", "needs one of", "goes with `private_key_path`"):
        assert said in str(caught.value)


def test_every_secret_is_masked_and_the_kind_of_login_is_not() -> None:
    for key in ("password", "private_key", "private_key_passphrase", "token"):
        assert looks_secret(key)
    assert not looks_secret("authenticator")
    assert not looks_secret("private_key_path")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"password": "p"}, {"password": "p"}),
        ({"token": "t"}, {"token": "t", "authenticator": "oauth"}),
        (
            {"token": "t", "authenticator": "programmatic_access_token"},
            {"token": "t", "authenticator": "programmatic_access_token"},
        ),
        ({"authenticator": "externalbrowser"}, {"authenticator": "externalbrowser"}),
    ],
)
def test_the_driver_is_told_one_way_to_log_in(given: dict[str, Any], told: dict[str, Any], tmp_path: Path) -> None:
    arguments = settings(**given).arguments(tmp_path, 5)
    ways = ("password", "token", "authenticator", "private_key")
    assert {name: value for name, value in arguments.items() if name in ways} == told
    assert (arguments["account"], arguments["user"], arguments["warehouse"]) == ("acme-eu", "cdp", "wh")


@pytest.mark.parametrize("passphrase", [None, "pass phrase"])
@pytest.mark.parametrize("inline", [False, True])
def test_a_key_is_handed_over_as_plain_der(passphrase: str | None, inline: bool, tmp_path: Path) -> None:
    pem = key_pem(passphrase.encode() if passphrase else None)
    (tmp_path / "key.pem").write_bytes(pem)
    given = {"private_key": pem.decode().replace("\n", "\\n")} if inline else {"private_key_path": "key.pem"}
    if passphrase:
        given["private_key_passphrase"] = passphrase
    handed = settings(**given).arguments(tmp_path, 5)["private_key"]
    assert serialization.load_der_private_key(handed, None).private_bytes(*PEM, serialization.NoEncryption())


@pytest.mark.parametrize(
    ("given", "said", "hint"),
    [
        ({"private_key_path": "nowhere.pem"}, "nowhere.pem cannot be read: No such file", "mend `private_key_path`"),
        ({"private_key": "hunter2"}, "cannot be read", "must be PEM"),
        ({"private_key_path": "locked.pem"}, "cannot be read", "`private_key_passphrase`"),
        ({"private_key_path": "locked.pem", "private_key_passphrase": "hunter2"}, "cannot be read", "passphrase"),
    ],
)
def test_a_key_that_cannot_be_read_is_told(given: dict[str, str], said: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / "locked.pem").write_bytes(key_pem(b"right"))
    with pytest.raises(WarehouseError) as caught:
        settings(**given).connect(tmp_path).rows("SELECT 1")
    assert (caught.value.code, caught.value.exit_code) == ("CDP302", 4)
    assert said in caught.value.message
    assert hint in str(caught.value.hint)
    assert "hunter2" not in str(caught.value)


def test_time_outs_are_always_set_and_a_long_statement_is_no_silent_network(tmp_path: Path) -> None:
    five = settings(password="p", network_timeout=20).arguments(tmp_path, 5)
    assert (five["login_timeout"], five["request_timeout"], five["retry_timeout"], five["query_timeout"]) == (
        60,
        20,
        20,
        0,
    )
    four = settings(password="p", network_timeout=20).arguments(tmp_path, 4)
    assert (four["login_timeout"], four["socket_timeout"], four["network_timeout"]) == (60, 20, 86_420)
    both = settings(password="p", network_timeout=20, statement_timeout=600)
    assert both.arguments(tmp_path, 5)["query_timeout"] == both.arguments(tmp_path, 4)["network_timeout"] == 620
    assert both.arguments(tmp_path, 5)["session_parameters"]["STATEMENT_TIMEOUT_IN_SECONDS"] == 600


def test_the_session_says_everything_that_a_statement_relies_on(tmp_path: Path) -> None:
    session = settings(password="p", query_tag="team-crm").arguments(tmp_path, 5)["session_parameters"]
    assert session == {**SESSION, "QUERY_TAG": "team-crm"}
    assert (session["TIMEZONE"], session["WEEK_START"], session["QUOTED_IDENTIFIERS_IGNORE_CASE"]) == ("UTC", 1, False)


def test_without_the_driver_the_way_to_it_is_said() -> None:
    script = """
import sys
sys.modules["snowflake.connector"] = None
from pathlib import Path
from cdp.errors import WarehouseError
from cdp.warehouse.snowflake import SETTINGS
profile = dict(type="snowflake", account="a", user="u", password="p", warehouse="w", database="d")
try:
    SETTINGS.model_validate(profile).connect(Path()).rows("SELECT 1")
except WarehouseError as error:
    print(error.code, error.hint)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "CDP304 pip install 'composable-cdp[snowflake]'\n"


def test_the_driver_is_not_imported_for_the_profile_or_the_compiler() -> None:
    script = "import sys, cdp.warehouse.snowflake; print(any(name.startswith('snowflake.') for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def error(errno: int, raw: str, state: str | None = None, kind: str = "ProgrammingError") -> Exception:
    """An error as the driver raises it."""
    return type(kind, (Exception,), {"errno": errno, "raw_msg": raw, "msg": raw, "sqlstate": state})(raw)


# texts of errors as Snowflake's documentation and forums quote them
@pytest.mark.parametrize(
    ("errno", "state", "raw", "told"),
    [
        (904, "42000", "SQL compilation error: error line 1 at position 7\ninvalid identifier 'NOPE'",
         "error line 1 at position 7 invalid identifier 'NOPE' (000904)"),
        (2003, "02000", "SQL compilation error:\nObject 'A.B.T' does not exist or not authorized.",
         "Object 'A.B.T' does not exist or not authorized. (002003)"),
        (1003, "42000", "001003 (42000): 01b2-x: SQL compilation error:\nsyntax error line 1 at position 9 unexpected "
         "'ann@example.com'.", "syntax error line 1 at position 9 unexpected (value). (001003)"),
        (1003, "42000", "SQL compilation error:\nsyntax error line 1 at position 0 unexpected 'SELEC'.",
         "syntax error line 1 at position 0 unexpected 'SELEC'. (001003)"),
        (100038, "22018", "Numeric value 'ann@example.com' is not recognized",
         "Numeric value (value) is not recognized (100038)"),
        (100071, "22000", 'Failed to cast variant value "ann@example.com" to FIXED',
         "Failed to cast variant value (value) to FIXED (100071)"),
        (100090, "42P18", 'Duplicate row detected during DML action\nRow Values: ["ann@example.com", 5]',
         "Duplicate row detected during DML action (100090)"),
        (100078, "22000", "String 'it''s ann@example.com' is too long and would be truncated",
         "String (value) is too long and would be truncated (100078)"),
        (100035, "22007", "Timestamp '\nann@example.com' is not recognized",
         "Timestamp (value) is not recognized (100035)"),
    ],
)  # fmt: skip
def test_an_error_is_told_without_values(errno: int, state: str, raw: str, told: str) -> None:
    said = words(error(errno, raw.replace("01b2-x", "01b2c3d4-0000-0000-0000-000000000000"), state))
    assert said == told
    assert "ann@" not in said


@pytest.mark.parametrize(
    ("errno", "hint"),
    [
        (606, "GRANT USAGE ON WAREHOUSE"),
        (630, "statement_timeout"),
        (604, "statement_timeout"),
        (3001, "lacks a right"),
        (2003, "cdp debug"),
        (625, "SHOW LOCKS"),
        (90073, "resource monitor"),
        (90105, "database"),
        (90106, "schema.table"),
    ],
)
def test_a_refused_statement_says_the_way_out(errno: int, hint: str) -> None:
    found = refused(error(errno, "no"))
    assert (found.code, found.exit_code, found.number) == ("CDP301", 1, errno)
    assert hint in str(found.hint)


# (class, number, state, words) of errors that both major versions of the driver raised when the network was cut
LOST = [
    ("OperationalError", 4, None, "HTTP request failed after retries: query request. operation timed out"),
    ("OperationalError", 250003, "n/a", "Failed to execute request: HTTPConnectionPool(host='127.0.0.1', port=1)"),
    ("InternalServerError", 580500, "n/a", "290500: HTTP 500: Internal Server Error"),
    ("DatabaseError", 250002, "08003", "Connection is closed."),
]


@pytest.mark.parametrize(("kind", "errno", "state", "raw"), LOST)
def test_a_lost_network_is_told_from_a_refusal(kind: str, errno: int, state: str | None, raw: str) -> None:
    assert is_lost(error(errno, raw, state, kind))


@pytest.mark.parametrize(
    ("errno", "state"), [(904, "42000"), (630, "57014"), (606, "57P03"), (100038, "22018"), (625, "57014")]
)
def test_a_refusal_is_no_lost_network(errno: int, state: str) -> None:
    for kind in ("ProgrammingError", "OperationalError"):
        assert not is_lost(error(errno, "no", state, kind))


def test_a_session_that_ran_out_is_known_in_both_versions() -> None:
    assert has_expired(error(390114, "Authentication token has expired."))
    assert has_expired(error(1, "session", kind="ReauthenticationRequest"))
    assert not has_expired(error(2003, "no"))


@pytest.mark.parametrize(
    ("errno", "raw", "said", "hint"),
    [
        (
            250001,
            "Failed to login: 390100: Incorrect username or password was specified.",
            "refuses the login",
            "password",
        ),
        (250001, "Incorrect username or password was specified.", "refuses the login", "password"),
        (390144, "JWT token is invalid.", "refuses the login", "public key"),
        (
            390189,
            "Role 'X' specified in the connect string is not granted to this user.",
            "refuses the login",
            "GRANT ROLE",
        ),
        (390422, "Incoming request with IP/Token 1.2.3.4 is not allowed", "refuses the login", "network policy"),
        (290404, "404 Not Found: post nowhere", "cannot be reached", "an account `nowhere`"),
        (
            250001,
            "Could not connect to Snowflake backend after 2 attempt(s).Aborting",
            "cannot be reached",
            "`account`",
        ),
    ],
)
def test_a_login_that_failed_says_why(errno: int, raw: str, said: str, hint: str) -> None:
    found = unreachable(error(errno, raw, kind="DatabaseError"), "nowhere")
    assert (found.code, found.exit_code) == ("CDP302", 4)
    assert said in found.message
    assert hint in str(found.hint)


def test_names_are_stored_as_snowflake_folds_them() -> None:
    """https://docs.snowflake.com/en/sql-reference/identifiers-syntax: unquoted ones in upper case, quoted ones exactly."""
    assert stored("raw.Contacts") == ("RAW", "CONTACTS")
    assert stored('db."Odd.Name"."it""s"') == ("DB", "Odd.Name", 'it"s')
    assert full("cdp.audience_x") == '"CDP"."AUDIENCE_X"'
    assert [column(name) for name in ("select", "Mixed Case", 'q"')] == ['"SELECT"', '"Mixed Case"', '"q"""']
    assert [shown(name) for name in ("AUDIENCE_X", "Mixed", "WITH SPACE")] == ["audience_x", "Mixed", "WITH SPACE"]


@pytest.mark.parametrize(
    ("native", "type_"),
    [
        ("NUMBER(38,0)", "int"),
        ("NUMBER(10, 2)", "decimal"),
        ("DECFLOAT(38)", "decimal"),
        ("VARCHAR(16777216)", "text"),
        ("FLOAT", "float"),
        ("BOOLEAN", "bool"),
        ("DATE", "date"),
        ("TIMESTAMP_NTZ(9)", "timestamp"),
        ("TIMESTAMP_LTZ(9)", "timestamp"),
        ("VARIANT", "json"),
        ("OBJECT", "json"),
        ("ARRAY", "list"),
        ("ARRAY(VARCHAR)", "list"),
        ("BINARY(8388608)", "other"),
        ("TIME(9)", "other"),
        ("GEOGRAPHY", "other"),
    ],
)
def test_types_become_our_words(native: str, type_: str) -> None:
    assert type_of(native) == type_


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01", "2026-03-01 10:00", "2026-03-01T10:00:00", "2026-03-01T10:00:00Z", "2026-03-01t10:00z",
        "2026-03-01 10:00:00 UTC", "2026-03-01 10:00:00 +01", "2026-03-01T10:00:00+0530", "2026-03-01 10:00 -05:30",
        "2026-03-01T10:00:00.5-0530", "2026-03-01T10:00:00.123456789012345Z",
    ],
)  # fmt: skip
def test_a_time_is_spelled_in_a_way_that_snowflake_detects(text: str) -> None:
    """The formats under "Supported formats for AUTO detection" of
    https://docs.snowflake.com/en/sql-reference/date-time-input-output have offsets as TZH:TZM without a blank."""
    call = exp.Anonymous(this="cdp_try_timestamp", expressions=[exp.convert(text), exp.convert("UTC")])
    sql = Renderer(FACTS["snowflake"]).sql(exp.select(exp.alias_(call, "x")))
    handed = parse_one(sql, dialect="snowflake").find(exp.Anonymous)
    assert handed is not None
    assert handed.name == "TRY_TO_TIMESTAMP_TZ"
    spelled = exp.select(exp.alias_(handed.expressions[0].copy(), "x")).sql(dialect="duckdb")
    [(found,)] = duckdb.sql(spelled).fetchall()
    assert re.fullmatch(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9:]{5}(:[0-9]{2}([.][0-9]{1,9})?)?([+-][0-9]{2}:[0-9]{2})?)?", found
    )


def test_the_least_rights_are_granted(tmp_path: Path) -> None:
    warehouse = settings(password="p").connect(tmp_path)
    assert warehouse.grants("cdp_runner", ["raw.orders", 'crm.public."People"', "raw.events"]) == (
        'GRANT USAGE ON WAREHOUSE "WH" TO ROLE "CDP_RUNNER"',
        'GRANT USAGE ON DATABASE "ANALYTICS" TO ROLE "CDP_RUNNER"',
        'GRANT USAGE ON DATABASE "CRM" TO ROLE "CDP_RUNNER"',
        'GRANT USAGE ON SCHEMA "ANALYTICS"."RAW" TO ROLE "CDP_RUNNER"',
        'GRANT USAGE ON SCHEMA "CRM"."PUBLIC" TO ROLE "CDP_RUNNER"',
        'GRANT SELECT ON TABLE "ANALYTICS"."RAW"."ORDERS" TO ROLE "CDP_RUNNER"',
        'GRANT SELECT ON TABLE "CRM"."PUBLIC"."People" TO ROLE "CDP_RUNNER"',
        'GRANT SELECT ON TABLE "ANALYTICS"."RAW"."EVENTS" TO ROLE "CDP_RUNNER"',
        'GRANT USAGE, CREATE TABLE, CREATE VIEW ON SCHEMA "ANALYTICS"."CDP" TO ROLE "CDP_RUNNER"',
        'GRANT USAGE, CREATE TABLE, CREATE VIEW ON SCHEMA "ANALYTICS"."CDP_STATE" TO ROLE "CDP_RUNNER"',
    )


def test_the_rights_of_others_are_carried_over_and_ownership_is_not() -> None:
    """Columns as https://docs.snowflake.com/en/sql-reference/sql/show-grants describes them."""
    rows = [
        {"privilege": "OWNERSHIP", "granted_to": "ROLE", "grantee_name": "CDP", "grant_option": "true"},
        {"privilege": "SELECT", "granted_to": "ROLE", "grantee_name": "BI Readers", "grant_option": "false"},
        {"privilege": "SELECT", "granted_to": "DATABASE_ROLE", "grantee_name": "D.READ", "grant_option": "true"},
        {"privilege": "SELECT", "granted_to": "SHARE", "grantee_name": "S", "grant_option": "false"},
    ]
    assert carried(lambda sql: list(rows), '"A"."OLD"', '"A"."NEW"') == [
        'GRANT SELECT ON TABLE "A"."NEW" TO ROLE "BI Readers"',
        'GRANT SELECT ON TABLE "A"."NEW" TO DATABASE ROLE "D"."READ" WITH GRANT OPTION',
    ]
