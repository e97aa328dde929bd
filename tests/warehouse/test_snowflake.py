"""Snowflake through its real connector, against fakesnow: what only it promises or must survive."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from cdp.errors import StatementError, WarehouseError
from cdp.flow import build
from cdp.warehouse.snowflake import Snowflake
from cdp.warehouse.snowflake_login import SESSION
from tests.engines import Engines, connected
from tests.engines.snowflake import fault, seen
from tests.meaning.building import engine_for, fill, freeze, run_build, settings_of, write_project
from tests.meaning.world import worlds
from tests.sync.making import World, row

pytestmark = pytest.mark.engines


@dataclass(frozen=True)
class Account:
    """The stand-in's address, and what a profile says of a database of its own there."""

    address: str
    profile: dict[str, Any]
    folder: Path

    def warehouse(self, **more: Any) -> Snowflake:
        found = connected({**self.profile, **more}, self.folder)
        assert isinstance(found, Snowflake)
        return found

    def fault(self, **faults: Any) -> None:
        fault(self.address, **faults)

    def logins(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = seen(self.address)["logins"]
        return found

    def sent(self, word: str) -> list[str]:
        """The statements with that word in them, in the order in which they came."""
        return [item["sql"] for item in seen(self.address)["statements"] if word in item["sql"]]


@pytest.fixture
def account(engines: Engines, tmp_path: Path) -> Iterator[Account]:
    address = engines.address("snowflake")
    with engines.fresh("snowflake", tmp_path) as profile:
        fault(address, forget=True)
        yield Account(address, profile, tmp_path)
        fault(address)


@pytest.fixture
def snowflake(account: Account) -> Iterator[Snowflake]:
    """A warehouse with both schemas made."""
    warehouse = account.warehouse()
    warehouse.ensure_schemas()
    yield warehouse
    warehouse.close()


def lost(call: Callable[[], object]) -> WarehouseError:
    with pytest.raises(WarehouseError) as caught:
        call()
    assert not isinstance(caught.value, StatementError)
    assert (caught.value.code, caught.value.exit_code) == ("CDP302", 4)
    assert caught.value.__suppress_context__
    return caught.value


# the login


def test_the_session_is_pinned_and_tagged_at_the_login(account: Account) -> None:
    warehouse = account.warehouse(query_tag="team-crm", role="runner")
    assert warehouse.rows("SELECT 1 AS a") == [(1,)]
    warehouse.close()
    [login] = account.logins()
    parameters = {name: str(value).upper() for name, value in login["data"]["SESSION_PARAMETERS"].items()}
    for name, value in {**SESSION, "QUERY_TAG": "team-crm"}.items():
        assert parameters[name] == str(value).upper(), name
    assert login["query"]["warehouse"].upper() == "WH"
    assert login["query"]["roleName"].upper() == "RUNNER"
    assert login["data"]["LOGIN_NAME"] == "fake"


def test_a_wrong_password_is_told_and_never_shown(account: Account) -> None:
    error = lost(lambda: account.warehouse(password="hunter2-wrong").rows("SELECT 1"))
    assert "refuses the login" in error.message
    assert "Incorrect username or password" in error.message
    assert "check user and password" in str(error.hint)
    assert "hunter2" not in str(error)


def test_a_warehouse_that_is_not_there_is_told_at_the_login(account: Account) -> None:
    error = lost(lambda: account.warehouse(warehouse="nowhere").rows("SELECT 1"))
    assert "`warehouse`" in str(error.hint)


def test_a_key_pair_signs_the_login(account: Account) -> None:
    key = rsa.generate_private_key(65537, 2048)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(*form, serialization.BestAvailableEncryption(b"pass"))
    (account.folder / "key.p8").write_bytes(pem)
    profile = {"password": None, "private_key_path": "key.p8", "private_key_passphrase": "pass"}
    warehouse = account.warehouse(**profile)
    assert warehouse.rows("SELECT 1 AS a") == [(1,)]
    warehouse.close()
    [login] = account.logins()
    assert login["data"]["AUTHENTICATOR"] == "SNOWFLAKE_JWT"
    assert "PASSWORD" not in login["data"]
    signed, _, signature = login["data"]["TOKEN"].rpartition(".")
    key.public_key().verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    claims = json.loads(_decoded(signed.split(".")[1]))
    assert claims["sub"].upper() == "FAKESNOW.FAKE"


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize("authenticator", ["oauth", "programmatic_access_token"])
def test_a_token_logs_in(account: Account, authenticator: str) -> None:
    warehouse = account.warehouse(password=None, token="t0ken-abc", authenticator=authenticator)
    assert warehouse.rows("SELECT 1 AS a") == [(1,)]
    warehouse.close()
    [login] = account.logins()
    assert login["data"]["AUTHENTICATOR"].upper() == authenticator.upper()
    assert login["data"]["TOKEN"] == "t0ken-abc"
    assert "PASSWORD" not in login["data"]


def test_a_server_that_is_away_is_told_in_time(account: Account) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    began = time.monotonic()
    error = lost(lambda: account.warehouse(port=port, login_timeout=3).rows("SELECT 1"))
    assert time.monotonic() - began < 15
    assert "cannot be reached" in error.message
    assert "account" in str(error.hint)


def test_a_server_that_never_answers_is_given_up(account: Account) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        began = time.monotonic()
        error = lost(lambda: account.warehouse(port=deaf.getsockname()[1], login_timeout=2).rows("SELECT 1"))
    assert time.monotonic() - began < 15
    assert "cannot be reached" in error.message


# statements


def test_who_answers(snowflake: Snowflake) -> None:
    about = snowflake.about()
    assert about.version.startswith("Snowflake ")
    assert about.clock.tzinfo is None
    assert abs((datetime.now() - about.clock).total_seconds()) < 86_400


def test_a_statement_that_takes_too_long_is_stopped_and_the_connection_lives(account: Account) -> None:
    warehouse = account.warehouse(statement_timeout=1)
    with pytest.raises(StatementError) as caught:
        warehouse.rows("SELECT SYSTEM$WAIT(30)")
    assert caught.value.code == "CDP301"
    assert "timeout of 1 second" in caught.value.message
    assert "statement_timeout" in str(caught.value.hint)
    assert warehouse.rows("SELECT 1 AS a") == [(1,)]
    assert len(account.logins()) == 1
    warehouse.close()


def test_ctrl_c_stops_a_statement_in_the_engine_too(account: Account, snowflake: Snowflake) -> None:
    snowflake.rows("SELECT 1 AS a")
    held = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            snowflake.rows("SELECT SYSTEM$WAIT(30)")
    finally:
        timer.join()
        signal.signal(signal.SIGINT, held)
    assert time.monotonic() - began < 10
    assert len(account.sent("SYSTEM$CANCEL_ALL_QUERIES")) == 1
    assert snowflake.rows("SELECT 1 AS a") == [(1,)]


@pytest.mark.parametrize(
    ("refusal", "hint"),
    [
        (["000606", "No active warehouse selected in the current session.", "57P03"], "GRANT USAGE ON WAREHOUSE"),
        (["003001", "SQL access control error:\nInsufficient privileges to operate on schema 'CDP'", "42501"], "lacks"),
        (
            ["090073", "Warehouse 'WH' cannot be resumed because resource monitor has exceeded its quota.", "57014"],
            "credits",
        ),
    ],
)
def test_a_refusal_of_the_account_says_the_way_out(
    account: Account, snowflake: Snowflake, refusal: list[str], hint: str
) -> None:
    snowflake.make_table("cdp.t", "SELECT 'old' AS a")
    account.fault(refuse={"CREATE": refusal})
    with pytest.raises(StatementError) as caught:
        snowflake.make_table("cdp.t", "SELECT 'new' AS a")
    assert hint in str(caught.value.hint)
    account.fault()
    assert snowflake.rows("SELECT a FROM cdp.t") == [("old",)]


def test_an_answer_that_was_lost_does_not_run_a_statement_twice(account: Account, snowflake: Snowflake) -> None:
    snowflake.make_table("cdp.t", "SELECT 1 AS a")
    account.fault(lose="INSERT INTO cdp.t")
    assert snowflake.execute("INSERT INTO cdp.t SELECT 2") == 1
    assert snowflake.rows("SELECT a FROM cdp.t ORDER BY a") == [(1,), (2,)]


def test_a_session_that_ran_out_is_made_again_outside_of_a_transaction(account: Account, snowflake: Snowflake) -> None:
    snowflake.make_table("cdp.t", "SELECT 1 AS a")
    account.fault(expire=True)
    assert snowflake.rows("SELECT a FROM cdp.t") == [(1,)]
    assert len(account.logins()) == 2

    def work() -> None:
        with snowflake.transaction():
            snowflake.execute("INSERT INTO cdp.t SELECT 2")
            account.fault(expire=True)
            snowflake.execute("INSERT INTO cdp.t SELECT 3")

    lost(work)
    assert snowflake.rows("SELECT a FROM cdp.t") == [(1,)]


def test_a_network_that_is_lost_in_a_transaction_undoes_it(account: Account, snowflake: Snowflake) -> None:
    snowflake.make_table("cdp.t", "SELECT 1 AS a")
    account.fault(cut="SELECT 3")

    def work() -> None:
        with snowflake.transaction():
            snowflake.execute("INSERT INTO cdp.t SELECT 2")
            with pytest.raises(WarehouseError):
                snowflake.execute("INSERT INTO cdp.t SELECT 3")
            account.fault()  # it is back, but what was begun is gone
            snowflake.execute("INSERT INTO cdp.t SELECT 4")

    assert "lost in a transaction" in lost(work).message
    assert snowflake.rows("SELECT a FROM cdp.t") == [(1,)]
    with snowflake.transaction():
        snowflake.execute("INSERT INTO cdp.t SELECT 5")
    assert snowflake.rows("SELECT a FROM cdp.t ORDER BY a") == [(1,), (5,)]


def test_reading_begins_no_transaction_and_changing_begins_one(account: Account, snowflake: Snowflake) -> None:
    snowflake.make_table("cdp.t", "SELECT 1 AS a")
    with snowflake.transaction():
        snowflake.rows("SELECT a FROM cdp.t")
    assert account.sent("BEGIN") == account.sent("COMMIT") == []
    with snowflake.transaction():
        for number in (2, 3):
            snowflake.execute(f"-- why\n /* and what */ insert INTO cdp.t SELECT {number}")
    assert (len(account.sent("BEGIN")), len(account.sent("COMMIT"))) == (1, 1)


def test_ddl_in_a_transaction_ends_what_was_begun(account: Account, snowflake: Snowflake) -> None:
    """https://docs.snowflake.com/en/sql-reference/transactions: a DDL statement commits an active transaction."""
    snowflake.make_table("cdp.t", "SELECT 1 AS a")

    def work() -> None:
        with snowflake.transaction():
            snowflake.execute("INSERT INTO cdp.t SELECT 2")
            snowflake.make_table("cdp.u", "SELECT MAX(a) AS a FROM cdp.t")
            snowflake.execute("INSERT INTO cdp.t SELECT 3")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert snowflake.rows("SELECT a FROM cdp.u") == [(2,)]
    assert snowflake.rows("SELECT a FROM cdp.t ORDER BY a") == [(1,), (2,)]
    assert (len(account.sent("BEGIN")), len(account.sent("COMMIT")), len(account.sent("ROLLBACK"))) == (2, 1, 1)


def test_statements_are_counted(snowflake: Snowflake) -> None:
    before = snowflake.statements
    snowflake.rows("SELECT 1 AS a")
    list(snowflake.stream("SELECT 1 AS a"))
    snowflake.describe("SELECT 1 AS a")
    assert snowflake.statements - before == 3
    assert snowflake.bytes is None


def test_values_come_back_plain(snowflake: Snowflake) -> None:
    sql = (
        "SELECT CAST(1.50 AS NUMBER(38, 9)) AS d, CAST(7 AS NUMBER(38, 0)) AS i, CAST(0.5 AS DOUBLE) AS f, TRUE AS b,"
        " CAST('2026-03-01' AS DATE) AS day, CAST('2026-03-01 10:00:00.123456' AS TIMESTAMP_NTZ) AS t, NULL AS n"
    )
    [found] = snowflake.rows(sql)
    assert found == (
        Decimal("1.5"), 7, 0.5, True, datetime(2026, 3, 1).date(), datetime(2026, 3, 1, 10, 0, 0, 123456), None
    )  # fmt: skip
    assert [type(value) for value in found[:4]] == [Decimal, int, float, bool]
    described = [(item.name, item.type) for item in snowflake.describe(sql)]
    assert described[:6] == [
        ("D", "decimal"), ("I", "int"), ("F", "float"), ("B", "bool"), ("DAY", "date"), ("T", "timestamp")
    ]  # fmt: skip


# tables


def test_a_swap_that_died_before_its_last_step_can_be_run_again(account: Account, snowflake: Snowflake) -> None:
    snowflake.make_table("cdp.a", "SELECT 'old' AS x")
    for name in ("a", "b"):
        snowflake.make_table(f"cdp.{name}__new", "SELECT 'new' AS x")
    pairs = {"cdp.a__new": "cdp.a", "cdp.b__new": "cdp.b"}
    account.fault(cut="^DROP TABLE")
    lost(lambda: snowflake.swap(pairs))
    account.fault()
    assert snowflake.rows("SELECT x FROM cdp.a") == [("new",)]
    snowflake.swap(pairs)
    assert snowflake.tables("cdp") == ("a", "b")
    assert snowflake.rows("SELECT x FROM cdp.a") == snowflake.rows("SELECT x FROM cdp.b") == [("new",)]
    snowflake.swap(pairs)
    assert snowflake.rows("SELECT x FROM cdp.a") == [("new",)]


def test_rights_of_others_survive_that_a_table_is_replaced(snowflake: Snowflake) -> None:
    snowflake.make_table("cdp.customer", "SELECT 1 AS a")
    snowflake.execute("GRANT SELECT ON TABLE cdp.customer TO ROLE bi WITH GRANT OPTION")
    held = [("SELECT", "bi", "true")]
    assert rights(snowflake) == held
    snowflake.make_table("cdp.customer", "SELECT 2 AS a, 'x' AS more")
    assert rights(snowflake) == held
    snowflake.make_table("cdp.customer__new", "SELECT 3 AS other")
    snowflake.swap({"cdp.customer__new": "cdp.customer"})
    assert snowflake.rows("SELECT other FROM cdp.customer") == [(3,)]
    assert rights(snowflake) == held


def rights(warehouse: Snowflake) -> list[tuple[Any, ...]]:
    rows = warehouse.rows('SHOW GRANTS ON TABLE "CDP"."CUSTOMER"')
    return [(row[0], row[2], row[3]) for row in rows if row[0] != "OWNERSHIP"]


def test_where_the_owner_of_the_schema_grants_a_swap_goes_on_without(account: Account, snowflake: Snowflake) -> None:
    snowflake.make_table("cdp.a", "SELECT 'old' AS x")
    snowflake.execute("GRANT SELECT ON TABLE cdp.a TO ROLE bi")
    snowflake.make_table("cdp.a__new", "SELECT 'new' AS x")
    account.fault(refuse={"GRANT": ["003001", "SQL access control error:\nInsufficient privileges", "42501"]})
    snowflake.swap({"cdp.a__new": "cdp.a"})
    assert snowflake.rows("SELECT x FROM cdp.a") == [("new",)]


def test_a_reader_never_misses_a_table_that_is_replaced(account: Account, snowflake: Snowflake) -> None:
    snowflake.make_table("cdp.t", "SELECT 1 AS a")
    reader, stop, seen_ = account.warehouse(), threading.Event(), set[object]()

    def read() -> None:
        while not stop.is_set():
            try:
                seen_.add(len(reader.rows("SELECT * FROM cdp.t")))
            except WarehouseError as error:
                seen_.add(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(15):
        snowflake.make_table("cdp.t__new", f"SELECT {number} AS a, 'x' AS b{number}")
        snowflake.swap({"cdp.t__new": "cdp.t"})
    stop.set()
    thread.join()
    reader.close()
    assert {item for item in seen_ if isinstance(item, int)} == {1}
    # DuckDB, behind the stand-in, may refuse a reader whose catalogue changes under it; a missing table would be ours
    assert not [item for item in seen_ if isinstance(item, str) and "does not exist" in item]


def test_a_refill_keeps_the_table_and_takes_effect_at_once(account: Account, snowflake: Snowflake) -> None:
    snowflake.make_table("cdp.t", "SELECT 1 AS a UNION ALL SELECT 2")
    assert snowflake.refill("cdp.t", "SELECT 7 AS a") == 1
    assert snowflake.rows("SELECT a FROM cdp.t") == [(7,)]
    assert account.sent("INSERT OVERWRITE") == ['INSERT OVERWRITE INTO "CDP"."T" SELECT 7 AS a']


def test_schemas_that_are_there_are_not_made(account: Account, snowflake: Snowflake) -> None:
    assert [sql.split('"')[0] for sql in account.sent("CREATE")] == [
        "CREATE TRANSIENT SCHEMA IF NOT EXISTS ", "CREATE SCHEMA IF NOT EXISTS "
    ]  # fmt: skip
    account.fault(refuse={"CREATE": ["003001", "SQL access control error:\nInsufficient privileges", "42501"]})
    snowflake.ensure_schemas()


def test_a_users_names_keep_their_spelling(snowflake: Snowflake) -> None:
    snowflake.execute('CREATE TABLE cdp."Orders 2026" ("order" VARCHAR, "Paid At" TIMESTAMP_TZ, plain NUMBER(10, 2))')
    columns = snowflake.columns('cdp."Orders 2026"')
    assert columns is not None
    assert [(item.name, item.type, item.native) for item in columns] == [
        ("order", "text", "VARCHAR(16777216)"), ("Paid At", "timestamp", "TIMESTAMP_TZ(9)"),
        ("PLAIN", "decimal", "NUMBER(10,2)"),
    ]  # fmt: skip
    assert snowflake.tables("CDP") == ("Orders 2026",)
    assert snowflake.columns('cdp."ORDERS 2026"') == columns


def test_a_file_larger_than_one_statement_is_loaded_in_several(
    account: Account, snowflake: Snowflake, tmp_path: Path
) -> None:
    path = tmp_path / "in.jsonl"
    with path.open("w") as out:
        for number in range(3_000):
            out.write(json.dumps({"n": number, "text": f"{number} {'é' * 1_000}"}) + "\n")
    assert snowflake.load_json_lines("cdp.t", path, {"n": "int", "text": "text"}) == 3_000
    assert snowflake.rows("SELECT COUNT(*), SUM(n), MIN(LENGTH(text)) FROM cdp.t") == [(3_000, 4_498_500, 1_002)]
    assert len(account.sent("INSERT INTO")) == 4
    assert all("é" not in sql for sql in account.sent("INSERT INTO"))


def test_half_a_surrogate_pair_is_loaded_as_a_question_mark(snowflake: Snowflake, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"a": "x\\ud83d"}\n')
    assert snowflake.load_json_lines("cdp.t", path, {"a": "text"}) == 1
    assert snowflake.rows("SELECT a FROM cdp.t") == [("x?",)]


# the way of the data


def test_a_build_whose_network_is_lost_leaves_the_old_tables_and_is_right_when_run_again(
    engines: Engines, tmp_path: Path
) -> None:
    world = worlds()["spring"]
    address = engines.address("snowflake")
    with engine_for(engines, "snowflake", tmp_path) as engine:
        write_project(tmp_path, world.files(True), engine.profile)
        fill(engine, world.tables)
        freeze(tmp_path, world.as_of)
        run_build(tmp_path, world.as_of)
        members = "SELECT person_id FROM cdp.audience_a_month_of_days ORDER BY person_id"
        before = engine.warehouse.rows(members)
        assert len(before) == 3
        engine.raw.execute("DELETE FROM raw.people WHERE \"id\" = 'mar10'")
        for statement in ('AUDIENCE_A_MONTH_OF_DAYS__NEW" COPY', "CLONE"):
            fault(address, cut=statement)
            result = build(settings_of(tmp_path, world.as_of))
            fault(address)
            assert result.exit_code == 4
            assert {step.code for step in result.steps if step.code} == {"CDP302"}
            assert engine.warehouse.rows(members) == before
        run_build(tmp_path, world.as_of)
        assert engine.warehouse.rows(members) == [item for item in before if item != ("mar10",)]
        assert not [name for name in engine.warehouse.tables("cdp") if name.endswith("__new") or name[:4] == "tmp_"]


@pytest.mark.parametrize("place", ["DELETE FROM cdp_state.sent_s WHERE EXISTS", "COMMIT"])
def test_a_fold_whose_network_is_lost_is_done_by_the_next_run(account: Account, tmp_path: Path, place: str) -> None:
    world = World(account.warehouse(), tmp_path)
    world.run(*[row(f"k{number}", name="old") for number in range(5)])
    assert world.state("sent_s", "COUNT(*)") == [(5,)]
    world.fake.forget()
    world.rows(*[row(f"k{number}", name="new") for number in range(5)])
    asked = world.fake.answer

    def cut(batch: Any) -> None:  # once the destination has the rows, the warehouse is gone
        account.fault(cut=place)
        world.fake.answer = asked

    world.fake.answer = cut
    result = world.run()
    account.fault()
    assert result.exit_code == 4
    assert len(world.fake.sent) == 5
    world.fake.forget()
    assert world.run().status == "done"
    assert world.fake.sent == []
    assert sorted(world.state("sent_s", "row_key, f_name")) == [(f"k{number}", "new") for number in range(5)]
    world.warehouse.close()
