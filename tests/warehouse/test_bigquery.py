"""What is particular to BigQuery: jobs and what is asked of them, logins, what passes and what does not, sessions, clones,
layouts. Its real driver, against a server of our own (tests/engines/bigquery_server.py)."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlglot import exp, parse_one

from cdp.compile.render import Renderer
from cdp.errors import StatementError, WarehouseError
from cdp.warehouse.bigquery import BigQuery, BigQuerySettings
from cdp.warehouse.bigquery_errors import words
from cdp.warehouse.bigquery_jobs import Patience
from cdp.warehouse.bigquery_layout import laid_out
from cdp.warehouse.bigquery_login import Login
from cdp.warehouse.functions import FACTS
from cdp.warehouse.secrets import looks_secret
from tests.engines import Engines, live
from tests.engines.bigquery import SERVERS
from tests.engines.bigquery_server import Request, Server

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(live.told("bigquery") is not None, reason="faults can be had on the server of the tests only"),
]
QUICK = Patience(request=5, pause=0.01)


@dataclass
class Service:
    """A project on the server of the tests, and ways to it."""

    server: Server
    project: str

    def open(self, **more: Any) -> BigQuery:
        more.setdefault("patience", QUICK)
        login = Login(endpoint=self.server.address)
        return BigQuery(self.project, more.pop("schema", "cdp"), "cdp_state", login=login, **more)

    def asked(self, name: str) -> list[Request]:
        return self.server.asked(name, self.project)

    def jobs(self, sql: str) -> list[Request]:
        """The requests for jobs whose statement begins so."""
        return [request for request in self.asked("jobs.insert") if request.sql.startswith(sql)]


@pytest.fixture
def service(engines: Engines, tmp_path: Path) -> Iterator[Service]:
    with engines.fresh("bigquery", tmp_path) as profile:
        server = SERVERS[profile["api_endpoint"]]
        server.faults.clear()
        yield Service(server, profile["project"])
        server.faults.clear()


@pytest.fixture
def bigquery(service: Service) -> Iterator[BigQuery]:
    warehouse = service.open()
    warehouse.ensure_schemas()
    yield warehouse
    warehouse.close()


def failed(call: Callable[[], object]) -> WarehouseError:
    with pytest.raises(WarehouseError) as caught:
        call()
    assert caught.value.__suppress_context__, "the driver's own error must not travel along"
    return caught.value


def job_id(request: Request) -> str:
    return str(request.body["jobReference"]["jobId"])


# settings and logins


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"keyfile": "a", "keyfile_json": "b"}, "takes `keyfile` or `keyfile_json`, not both"),
        ({"method": "service_account"}, "needs `keyfile` or `keyfile_json`"),
        ({"method": "adc", "keyfile": "a"}, "method adc takes no `keyfile`"),
        ({"method": "impersonate"}, "needs `impersonate_service_account`"),
        ({"method": "adc", "impersonate_service_account": "a@b"}, "takes no `impersonate_service_account`"),
        ({"api_endpoint": "http://bigquery.example.com"}, "must begin with https://"),
        ({"api_endpoint": "http://127.0.0.1:1", "keyfile": "a"}, None),
        ({"api_endpoint": "bigquery"}, "must be a URL"),
        ({"labels": {"Team": "x"}}, "lower-case letters"),
        ({"labels": {"team": "Data Team"}}, "lower-case letters"),
        ({"maximum_bytes_billed": 0}, "greater than 0"),
        ({"priority": "high"}, "'interactive' or 'batch'"),
        ({"schema": "my-data"}, "must be a plain name"),
        ({"schema": "x", "state_schema": "X"}, "needs two schemas"),
    ],
)
def test_keys_that_do_not_fit_are_said(keys: dict[str, Any], said: str | None) -> None:
    given = {"type": "bigquery", "project": "p", **keys}
    if said is None:
        BigQuerySettings.model_validate(given)
        return
    with pytest.raises(ValidationError, match=said):
        BigQuerySettings.model_validate(given)


def test_a_project_must_be_named() -> None:
    with pytest.raises(ValidationError, match="project"):
        BigQuerySettings.model_validate({"type": "bigquery"})


def test_the_text_of_a_key_file_is_a_secret_and_its_path_is_none() -> None:
    assert looks_secret("keyfile_json")
    assert not looks_secret("keyfile")


def test_without_the_driver_the_way_to_it_is_said() -> None:
    script = """
import sys
sys.modules["google.cloud.bigquery"] = None
from cdp.errors import WarehouseError
from cdp.warehouse.bigquery import BigQuery
try:
    BigQuery("p").rows("SELECT 1")
except WarehouseError as error:
    print(error.code, error.hint)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "CDP304 pip install 'composable-cdp[bigquery]'\n"


def test_the_driver_is_not_imported_before_it_is_needed() -> None:
    script = "import sys, cdp.warehouse.bigquery; print([m for m in sys.modules if m.startswith('google')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_machine_without_credentials_is_told_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    error = failed(lambda: BigQuery("p", login=Login()).rows("SELECT 1"))
    assert (error.code, error.exit_code) == ("CDP302", 4)
    assert "no credentials" in error.message
    assert "gcloud auth application-default login" in str(error.hint)


@pytest.mark.parametrize("text", ["", "hunter22", '{"private_key": "hunter22"}', '["hunter22"]', '"hunter22"'])
def test_a_key_that_is_none_is_refused_and_not_shown(text: str, tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(text)
    for login in (Login(keyfile=path), Login(keyfile_json=text)):
        error = failed(lambda login=login: BigQuery("p", login=login).rows("SELECT 1"))  # type: ignore[misc]
        assert error.code == "CDP302"
        assert "no key of a service account" in error.message
        assert "hunter22" not in str(error)
    error = failed(lambda: BigQuery("p", login=Login(keyfile=tmp_path / "none.json")).rows("SELECT 1"))
    assert "none.json cannot be read" in error.message


def service_key(token_uri: str) -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    who = {"client_email": "cdp@p.iam.gserviceaccount.com", "token_uri": token_uri, "private_key": pem.decode()}
    return json.dumps({"type": "service_account", "project_id": "p", "private_key_id": "1", **who})


def test_a_service_account_logs_in_and_a_refused_one_is_said(service: Service, tmp_path: Path) -> None:
    key = service_key(f"{service.server.address}/token")
    path = tmp_path / "key.json"
    path.write_text(key)
    given = {"type": "bigquery", "project": service.project, "api_endpoint": service.server.address, "retries": 0}
    for more in ({"keyfile": "key.json"}, {"keyfile_json": key, "method": "service_account"}):
        warehouse = BigQuerySettings.model_validate({**given, **more}).connect(tmp_path)
        assert warehouse.rows("SELECT 1 AS a") == [(1,)]
        assert service.asked("jobs.insert")[-1].login == "Bearer not-to-be-seen"
        warehouse.close()
    service.server.fault("token", "error", code=400, reason="invalid_grant", message="account not found")
    warehouse = BigQuerySettings.model_validate({**given, "keyfile": "key.json"}).connect(tmp_path)
    error = failed(lambda: warehouse.rows("SELECT 1"))
    assert (error.code, error.exit_code) == ("CDP302", 4)
    assert "the login was refused" in error.message
    assert "PRIVATE" not in str(error)


def test_another_account_is_impersonated_by_the_one_that_logs_in(tmp_path: Path) -> None:
    from google.auth import impersonated_credentials

    key = service_key("https://127.0.0.1:1/token")
    client = Login(keyfile_json=key, impersonate="robot@p.iam.gserviceaccount.com").client("p", None)
    credentials = client._credentials
    assert isinstance(credentials, impersonated_credentials.Credentials)
    assert credentials.service_account_email == "robot@p.iam.gserviceaccount.com"


def test_a_server_that_is_away_is_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    warehouse = BigQuery(
        "p", login=Login(endpoint=f"http://127.0.0.1:{port}"), patience=Patience(pause=0.01, attempts=3)
    )
    error = failed(lambda: warehouse.rows("SELECT 1"))
    assert (error.code, error.exit_code) == ("CDP302", 4)
    assert not isinstance(error, StatementError)
    assert "no connection" in error.message


# what is asked of a job


def test_every_job_says_who_asks_where_and_for_how_much(service: Service) -> None:
    keys = {"labels": {"team": "growth"}, "maximum_bytes_billed": 10**9, "job_timeout": 90, "priority": "batch"}
    given = {"type": "bigquery", "project": service.project, "api_endpoint": service.server.address, **keys}
    warehouse = BigQuerySettings.model_validate({**given, "location": "US"}).connect(Path())
    warehouse.ensure_schemas()
    assert warehouse.rows("SELECT 1 AS a") == [(1,)]
    [request] = service.jobs("SELECT 1")
    configuration = request.body["configuration"]
    assert configuration["labels"] == {"application": "cdp", "team": "growth"}
    assert configuration["jobTimeoutMs"] == "90000"
    query = configuration["query"]
    assert (query["maximumBytesBilled"], query["priority"], query["useLegacySql"]) == ("1000000000", "BATCH", False)
    assert query["connectionProperties"] == [{"key": "time_zone", "value": "UTC"}]
    assert request.body["jobReference"]["location"] == "US"
    assert job_id(request).startswith("cdp_")
    warehouse.rows("SELECT 1 AS a")
    assert len({job_id(request) for request in service.jobs("SELECT 1")}) == 2
    warehouse.close()


def test_bytes_and_statements_are_counted_and_told_beforehand(service: Service, bigquery: BigQuery) -> None:
    bigquery.make_table("cdp.t", "SELECT a, a AS b FROM UNNEST(GENERATE_ARRAY(1, 1000)) AS a")
    before, bytes_before = bigquery.statements, bigquery.bytes
    assert bigquery.estimate("SELECT a FROM cdp.t") == 16_000
    assert bigquery.estimate("SELECT a FROM cdp.not_there_yet") is None
    assert failed(lambda: bigquery.estimate("SELECT nope FROM cdp.t")).code == "CDP301"
    bigquery.rows("SELECT COUNT(*) FROM cdp.t")
    assert bigquery.statements == before + 4
    assert (bigquery.bytes or 0) - (bytes_before or 0) == 16_000
    poor = service.open(maximum_bytes_billed=100)
    error = failed(lambda: poor.rows("SELECT a FROM cdp.t"))
    assert (error.code, error.exit_code) == ("CDP301", 1)
    assert "raise `maximum_bytes_billed`" in str(error.hint)


def test_the_location_is_that_of_the_dataset_unless_it_is_said(service: Service) -> None:
    service.server.project(service.project).location = "europe-west1"
    abroad = service.open(location="europe-west1")
    abroad.ensure_schemas()
    found = service.open()
    found.rows("SELECT 7 AS a")
    [request] = service.jobs("SELECT 7")
    assert request.body["jobReference"]["location"] == "europe-west1"
    assert found.about().version == "BigQuery (europe-west1)"
    error = failed(service.open(location="US").ensure_schemas)
    assert error.code == "CDP302"
    assert "the dataset cdp lies in europe-west1, not in US" in error.message


def test_who_answers_is_told(bigquery: BigQuery) -> None:
    about = bigquery.about()
    assert about.role == "tester@example.com"
    assert about.clock.tzinfo is None
    assert abs((about.clock - datetime.now()).days) <= 1


# what passes and what does not


@pytest.mark.parametrize("reason", ["jobRateLimitExceeded", "rateLimitExceeded", "backendError", "internalError"])
def test_what_passes_is_sent_again_under_its_id(service: Service, bigquery: BigQuery, reason: str) -> None:
    bigquery.make_table("cdp.t", "SELECT 1 AS a")
    service.server.fault("jobs.insert", "error", sql="INSERT", code=403, reason=reason, times=2)
    assert bigquery.execute("INSERT INTO cdp.t SELECT 2") == 1
    assert len({job_id(request) for request in service.jobs("INSERT")}) == 1
    assert len(service.jobs("INSERT")) == 3


@pytest.mark.parametrize("reason", ["jobRateLimitExceeded", "backendError", "jobInternalError"])
def test_a_job_that_failed_for_a_passing_reason_is_done_by_a_new_one(
    service: Service, bigquery: BigQuery, reason: str
) -> None:
    bigquery.make_table("cdp.t", "SELECT 1 AS a")
    service.server.fault("jobs.insert", "job", sql="INSERT", reason=reason)
    assert bigquery.execute("INSERT INTO cdp.t SELECT 2") == 1
    first, second = service.jobs("INSERT")
    assert job_id(first) != job_id(second)
    assert bigquery.rows("SELECT COUNT(*) FROM cdp.t") == [(2,)]


@pytest.mark.parametrize("kind", ["before", "after"])
def test_a_lost_answer_is_asked_for_again_and_nothing_happens_twice(
    service: Service, bigquery: BigQuery, kind: str
) -> None:
    bigquery.make_table("cdp.t", "SELECT 1 AS a")
    service.server.fault("jobs.insert", kind, sql="INSERT")
    assert bigquery.execute("INSERT INTO cdp.t SELECT 2") == 1
    assert bigquery.rows("SELECT COUNT(*) FROM cdp.t") == [(2,)]
    assert len({job_id(request) for request in service.jobs("INSERT")}) == 1
    assert len(service.asked("jobs.get")) == (1 if kind == "after" else 0)


def test_an_answer_that_takes_too_long_is_asked_for_again(service: Service, bigquery: BigQuery) -> None:
    bigquery.make_table("cdp.t", "SELECT 1 AS a")
    hasty = service.open(patience=Patience(request=0.3, pause=0.01))
    service.server.fault("jobs.insert", "slow", sql="INSERT", seconds=0.6)
    assert hasty.execute("INSERT INTO cdp.t SELECT 2") == 1
    assert hasty.rows("SELECT COUNT(*) FROM cdp.t") == [(2,)]
    service.server.fault("jobs.insert", "slow", sql="SELECT 3", seconds=0.6, times=9)
    impatient = service.open(patience=Patience(request=0.1, pause=0.01, attempts=1))
    error = failed(lambda: impatient.rows("SELECT 3"))
    assert (error.code, error.exit_code) == ("CDP302", 4)
    assert "no answer in time" in error.message


def test_patience_has_an_end(service: Service, bigquery: BigQuery) -> None:
    service.server.fault("jobs.insert", "error", sql="SELECT 5", code=503, times=99)
    error = failed(lambda: bigquery.rows("SELECT 5"))
    assert (error.code, error.exit_code) == ("CDP302", 4)
    assert not isinstance(error, StatementError)
    assert len(service.jobs("SELECT 5")) == QUICK.attempts


@pytest.mark.parametrize(
    ("code", "reason", "message", "hint", "exit_code"),
    [
        (403, "quotaExceeded", "Quota exceeded: queries per day", "a quota of the project is used up", 1),
        (400, "bytesBilledLimitExceeded", "Query exceeded limit for bytes billed", "`maximum_bytes_billed`", 1),
        (403, "accessDenied", "Access Denied: Table p:raw.crm: User lacks bigquery.tables.getData", "lacks a right", 1),
        (403, "accessDenied", "User does not have bigquery.jobs.create permission in project p", "jobUser", 4),
        (404, "notFound", "Not found: Dataset p:cdp was not found in location EU", "is `location` of the target", 1),
        (403, "billingNotEnabled", "DML queries are not allowed in the free tier", "billing account", 1),
        (400, "resourcesExceeded", "Resources exceeded during query execution", "more memory", 1),
        (401, "authError", "Request had invalid authentication credentials", "check the credentials", 4),
        (400, "stopped", "Job execution was cancelled: Job timed out after 10s", "raise `job_timeout`", 1),
    ],
)
@pytest.mark.parametrize("kind", ["error", "job"])
def test_what_does_not_pass_is_told_at_once(
    service: Service, bigquery: BigQuery, kind: str, code: int, reason: str, message: str, hint: str, exit_code: int
) -> None:
    if kind == "job" and code == 401:
        return  # a request is refused the login, no job
    service.server.fault("jobs.insert", kind, sql="SELECT 5", code=code, reason=reason, message=message, times=9)
    error = failed(lambda: bigquery.rows("SELECT 5"))
    assert error.exit_code == exit_code
    assert hint in str(error.hint)
    assert message.split(":")[0] in error.message or code == 401
    assert len(service.jobs("SELECT 5")) == 1
    service.server.faults.clear()
    assert bigquery.rows("SELECT 6 AS a") == [(6,)]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Bad int64 value: ann@example.com", "Bad int64 value: (value)"),
        ("Bad double value: \nann@example.com", "Bad double value: (value)"),
        ("Invalid date: 'ann@example.com'", "Invalid date: (value)"),
        ('Could not cast literal "ann@example.com" to type INT64 at [1:8]', "Could not cast literal (value) to type"),
        ("Division by zero: 1 / ann", "Division by zero: (value)"),
        ('Syntax error: Unexpected string literal "ann@example.com" at [1:8]', "Unexpected string literal (value)"),
        ('Syntax error: Unexpected identifier "SELEC" at [1:1]', 'Unexpected identifier "SELEC"'),
        ("Unrecognized name: nope at [1:8]", "Unrecognized name: nope"),
        ("Scalar subquery produced more than one element", "Scalar subquery produced more than one element"),
    ],
)
def test_the_words_of_an_error_hold_no_value(message: str, said: str) -> None:
    class Refusal(Exception):
        errors = ({"reason": "invalidQuery", "message": message},)

    assert said in words(Refusal())
    assert "ann" not in words(Refusal())


def test_pages_that_are_lost_on_the_way_are_fetched_again(service: Service, bigquery: BigQuery) -> None:
    sql = "SELECT a FROM UNNEST(GENERATE_ARRAY(1, 1000)) AS a ORDER BY a"
    service.server.fault("queries.get", "before", times=1)
    batches = list(bigquery.stream(sql, size=300))
    assert [row for batch in batches for row in batch] == [(n,) for n in range(1, 1001)]
    assert [len(batch) for batch in batches] == [300, 300, 300, 100]
    stream = bigquery.stream(sql, size=300)
    assert len(next(stream)) == 300
    service.server.fault("queries.get", "before", times=99)
    assert failed(lambda: list(stream)).code == "CDP302"


@pytest.mark.parametrize("by", ["another thread", "a signal"])
def test_a_statement_that_nobody_waits_for_is_cancelled(
    service: Service, bigquery: BigQuery, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by == "a signal":

        def interrupted(*arguments: Any, **more: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(bigquery._jobs(), "_result", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bigquery.rows("SELECT 5")
    else:
        service.server.fault("jobs.insert", "slow", sql="SELECT 5", seconds=0.5)
        timer = threading.Timer(0.25, bigquery.interrupt)
        timer.start()
        bigquery.rows("SELECT 5")
        timer.join()
        bigquery.interrupt()  # nothing runs
    assert len(service.asked("jobs.cancel")) == 1


# transactions


def test_a_transaction_is_a_session_that_begins_with_the_first_change(service: Service, bigquery: BigQuery) -> None:
    bigquery.make_table("cdp.t", "SELECT 1 AS a")
    with bigquery.transaction():
        bigquery.rows("SELECT a FROM cdp.t")
        bigquery.make_table("cdp.u", "SELECT 9 AS a")
        assert not service.jobs("BEGIN")
        bigquery.execute("INSERT INTO cdp.t SELECT 2")
        assert bigquery.rows("SELECT COUNT(*) FROM cdp.t") == [(2,)]
        bigquery.make_view("cdp.v", "SELECT a FROM cdp.u")  # outside: BigQuery takes no DDL in a transaction
        assert service.open().rows("SELECT COUNT(*) FROM cdp.t") == [(1,)]
    assert bigquery.rows("SELECT COUNT(*) FROM cdp.t") == [(2,)]
    [begin] = service.jobs("BEGIN TRANSACTION")
    assert begin.body["configuration"]["query"]["createSession"] is True
    with bigquery.transaction():
        bigquery.execute("UPDATE cdp.t SET a = 5 WHERE TRUE")
    sessions = [
        item["value"]
        for request in service.asked("jobs.insert")
        for item in request.body["configuration"]["query"]["connectionProperties"]
        if item["key"] == "session_id"
    ]
    assert len(set(sessions)) == 1, "the session is used again"
    assert len(service.jobs("COMMIT TRANSACTION")) == 2


@pytest.mark.parametrize("kind", ["before", "after"])
def test_a_commit_whose_answer_is_lost_takes_effect_once(service: Service, bigquery: BigQuery, kind: str) -> None:
    bigquery.make_table("cdp.t", "SELECT 1 AS a")
    service.server.fault("jobs.insert", kind, sql="COMMIT")
    with bigquery.transaction():
        bigquery.execute("INSERT INTO cdp.t SELECT 2")
    assert bigquery.rows("SELECT COUNT(*) FROM cdp.t") == [(2,)]


def test_a_failed_statement_of_a_transaction_is_not_sent_anew(service: Service, bigquery: BigQuery) -> None:
    bigquery.make_table("cdp.t", "SELECT 1 AS a")
    service.server.fault("jobs.insert", "job", sql="INSERT INTO cdp.t SELECT 3", reason="backendError")

    def work() -> None:
        with bigquery.transaction():
            bigquery.execute("INSERT INTO cdp.t SELECT 2")
            bigquery.execute("INSERT INTO cdp.t SELECT 3")

    assert failed(work).exit_code == 4
    assert len(service.jobs("INSERT INTO cdp.t SELECT 3")) == 1
    assert bigquery.rows("SELECT a FROM cdp.t") == [(1,)]
    work()
    assert bigquery.rows("SELECT COUNT(*) FROM cdp.t") == [(3,)]


def test_a_session_that_is_gone_is_made_again(service: Service, bigquery: BigQuery) -> None:
    bigquery.make_table("cdp.t", "SELECT 1 AS a")
    for _ in range(2):
        with bigquery.transaction():
            bigquery.execute("INSERT INTO cdp.t SELECT 2")
        service.server.project(service.project).sessions.clear()
    assert bigquery.rows("SELECT COUNT(*) FROM cdp.t") == [(3,)]


def test_two_transactions_on_one_table_do_not_both_win(service: Service, bigquery: BigQuery) -> None:
    bigquery.make_table("cdp.t", "SELECT 1 AS a")
    other = service.open()

    def work() -> None:
        with bigquery.transaction():
            bigquery.execute("UPDATE cdp.t SET a = 2 WHERE TRUE")
            with other.transaction():
                other.execute("UPDATE cdp.t SET a = 3 WHERE TRUE")

    error = failed(work)
    assert error.code == "CDP301"
    assert "another run wrote to the same table" in str(error.hint)
    assert bigquery.rows("SELECT a FROM cdp.t") == [(1,)]


def test_what_a_killed_run_left_in_a_transaction_is_ended_by_the_next(service: Service, bigquery: BigQuery) -> None:
    bigquery.make_table("cdp.t", "SELECT 1 AS a")
    script = f"""
import os
from cdp.warehouse.bigquery import BigQuery
from cdp.warehouse.bigquery_login import Login
warehouse = BigQuery({service.project!r}, login=Login(endpoint={service.server.address!r}))
with warehouse.transaction():
    warehouse.execute("UPDATE cdp.t SET a = 2 WHERE TRUE")
    os._exit(9)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    sessions = service.server.project(service.project).sessions
    [orphan] = sessions
    with service.open().transaction():  # another one that is at work is left alone
        other = service.open()
        with other.transaction():
            other.execute("INSERT INTO cdp.t SELECT 5")
            assert orphan not in sessions
            service.open().make_table("cdp.u", "SELECT 1 AS a")
            bystander = service.open()
            bystander.execute("INSERT INTO cdp.u SELECT 2")
            assert len(sessions) == 1
    assert bigquery.rows("SELECT a FROM cdp.t ORDER BY a") == [(1,), (5,)]
    service.server.fault("jobs.list", "error", code=403, reason="accessDenied")
    assert service.open().execute("UPDATE cdp.t SET a = 7 WHERE a = 1") == 1


def test_closing_ends_the_session(service: Service, bigquery: BigQuery) -> None:
    bigquery.make_table("cdp.t", "SELECT 1 AS a")
    with bigquery.transaction():
        bigquery.execute("INSERT INTO cdp.t SELECT 2")
    bigquery.close()
    assert service.server.project(service.project).sessions == {}


# tables


def test_a_swap_clones_and_can_be_run_again_after_it_died_half_way(service: Service, bigquery: BigQuery) -> None:
    for name in ("a", "b"):
        bigquery.make_table(f"cdp.{name}", "SELECT 'old' AS x")
        bigquery.make_table(f"cdp.{name}__new", f"SELECT '{name}' AS x")
    pairs = {"cdp.a__new": "cdp.a", "cdp.b__new": "cdp.b"}
    service.server.fault("jobs.insert", "before", sql="TABLE `cdp`.`b` CLONE", times=QUICK.attempts)
    assert failed(lambda: bigquery.swap(pairs)).exit_code == 4
    assert [bigquery.rows(f"SELECT x FROM cdp.{name}") for name in ("a", "b")] == [[("a",)], [("old",)]]
    bigquery.swap(pairs)
    assert [bigquery.rows(f"SELECT x FROM cdp.{name}") for name in ("a", "b")] == [[("a",)], [("b",)]]
    assert bigquery.tables("cdp") == ("a", "b")
    service.server.fault("tables.delete", "before", times=0)
    bigquery.swap(pairs)  # all done already: known by what the tables are clones of
    bigquery.make_table("cdp.a", "SELECT 'by hand' AS x")
    assert failed(lambda: bigquery.swap(pairs)).code == "CDP301"


def test_a_reader_never_misses_a_table_that_is_swapped(service: Service, bigquery: BigQuery) -> None:
    bigquery.make_table("cdp.t", "SELECT 0 AS a")
    bigquery.make_view("cdp.v", "SELECT * FROM cdp.t")
    reader, seen, stop = service.open(), set[object](), threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add(len(reader.rows("SELECT a FROM cdp.v")))
            except WarehouseError as error:
                seen.add(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(10):
        bigquery.make_table("cdp.t__new", f"SELECT {number} AS a")
        bigquery.swap({"cdp.t__new": "cdp.t"})
    stop.set()
    thread.join()
    assert seen == {1}


def test_rows_of_a_source_are_partitioned_by_month_and_clustered_by_event_and_ids(
    service: Service, bigquery: BigQuery
) -> None:
    select = (
        "SELECT t.row_key, t.row_at, t.c_event, t.customer_id FROM"
        " (SELECT 'k' AS row_key, DATETIME '2026-01-01 00:00:00' AS row_at, 'buy' AS c_event, 'c1' AS customer_id) AS t"
        " ORDER BY t.c_event NULLS LAST"
    )
    assert bigquery.make_table("cdp.tmp_rows_web", select) == 1
    found = bigquery._table("cdp.tmp_rows_web")
    assert (found.time_partitioning.type_, found.time_partitioning.field) == ("MONTH", "row_at")
    assert found.clustering_fields == ["c_event", "customer_id"]
    [job] = service.jobs("CREATE OR REPLACE TABLE `cdp`.`tmp_rows_web`")
    assert "ORDER BY" not in job.sql
    bigquery.swap({"cdp.tmp_rows_web": "cdp.rows_kept"})
    assert bigquery._table("cdp.rows_kept").clustering_fields == ["c_event", "customer_id"]
    assert laid_out("cdp.customer", "SELECT 1 AS customer_id ORDER BY 1") == "AS SELECT 1 AS customer_id ORDER BY 1"
    five = ", ".join(f"e{n}_id" for n in range(5))
    assert laid_out("cdp.rows_x", f"SELECT {five} FROM t").startswith(
        "CLUSTER BY `e0_id`, `e1_id`, `e2_id`, `e3_id` AS"
    )


def test_a_file_with_a_value_out_of_range_is_refused_and_the_old_table_stays(
    service: Service, bigquery: BigQuery, tmp_path: Path
) -> None:
    bigquery.make_table("cdp.t", "SELECT 'old' AS a")
    path = tmp_path / "in.jsonl"
    for line, type_ in (('{"a": 99999999999999999999}', "int"), ('{"a": "ann@example.com"}', "decimal")):
        path.write_text(line + "\n")
        error = failed(lambda type_=type_: bigquery.load_json_lines("cdp.t", path, {"a": type_}))  # type: ignore[misc]
        assert error.code == "CDP306"
        assert "in.jsonl cannot be loaded" in error.message
        assert "ann@" not in str(error)
        assert "9999" not in str(error)
    assert bigquery.rows("SELECT a FROM cdp.t") == [("old",)]
    load = service.asked("uploads.begin")[0].body["configuration"]
    assert load["labels"] == {"application": "cdp"}
    assert load["load"]["schema"]["fields"][0]["type"] == "INT64"


@pytest.mark.parametrize(
    ("name", "kind"), [("uploads.begin", "error"), ("uploads.put", "after"), ("uploads.put", "job")]
)
def test_a_load_that_was_lost_on_the_way_is_done_once(
    service: Service, bigquery: BigQuery, tmp_path: Path, name: str, kind: str
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"a": 1, "d": "0.1", "at": "2026-03-01T10:00:00Z"}\n{"a": 2}\n')
    service.server.fault(name, kind, code=503)
    assert bigquery.load_json_lines("cdp.t", path, {"a": "int", "d": "decimal", "at": "timestamp"}) == 2
    rows = bigquery.rows("SELECT a, d, at FROM cdp.t ORDER BY a")
    assert rows == [(1, Decimal("0.1"), datetime(2026, 3, 1, 10)), (2, None, None)]


def test_lists_and_structs_come_back_as_text(bigquery: BigQuery) -> None:
    sql = "SELECT [1, 2] AS l, STRUCT('x' AS a, 1 AS b) AS s, CAST(NULL AS INT64) AS n, CAST('1.50' AS NUMERIC) AS d"
    assert bigquery.rows(sql) == [("[1,2]", '{"a":"x","b":1}', None, Decimal("1.5"))]
    columns = [(column.name, column.type, column.native) for column in bigquery.describe(sql)]
    assert columns[0] == ("l", "list", "ARRAY<INT64>")
    assert columns[1][:2] == ("s", "other")
    assert columns[1][2].startswith("STRUCT<a STRING")


def test_rights_are_granted_in_bigquerys_own_words() -> None:
    warehouse = BigQuery("my-project")
    assert warehouse.grants("cdp@my-project.iam.gserviceaccount.com", ["raw.crm", "other-project.raw.buys"]) == (
        "GRANT `roles/bigquery.jobUser` ON PROJECT `my-project`"
        " TO 'serviceAccount:cdp@my-project.iam.gserviceaccount.com'",
        "GRANT `roles/bigquery.dataViewer` ON TABLE `my-project`.`raw`.`crm`"
        " TO 'serviceAccount:cdp@my-project.iam.gserviceaccount.com'",
        "GRANT `roles/bigquery.dataViewer` ON TABLE `other-project`.`raw`.`buys`"
        " TO 'serviceAccount:cdp@my-project.iam.gserviceaccount.com'",
        "GRANT `roles/bigquery.dataEditor` ON SCHEMA `my-project`.`cdp`"
        " TO 'serviceAccount:cdp@my-project.iam.gserviceaccount.com'",
        "GRANT `roles/bigquery.dataEditor` ON SCHEMA `my-project`.`cdp_state`"
        " TO 'serviceAccount:cdp@my-project.iam.gserviceaccount.com'",
    )
    assert warehouse.grants("ann@example.com", [])[0].endswith("TO 'user:ann@example.com'")
    assert warehouse.grants("group:data@example.com' --", [])[0].endswith(r"TO 'group:data@example.com\' --'")


# the text that is generated, against what the documentation says


@pytest.mark.parametrize(
    ("canonical", "said"),
    [
        # a WHERE needs a FROM: https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax
        ("SELECT 1 AS a WHERE FALSE", "SELECT 1 AS a FROM UNNEST([1]) AS cdp_one WHERE FALSE"),
        # DELETE and UPDATE need a WHERE: https://cloud.google.com/bigquery/docs/reference/standard-sql/dml-syntax
        ("DELETE FROM cdp.t", "DELETE FROM cdp.t WHERE TRUE"),
        ("UPDATE cdp.t SET a = 1", "UPDATE cdp.t SET a = 1 WHERE TRUE"),
        # keys only NOT ENFORCED: https://cloud.google.com/bigquery/docs/primary-foreign-keys
        ("CREATE TABLE IF NOT EXISTS cdp.t (a TEXT PRIMARY KEY)", "CREATE TABLE IF NOT EXISTS cdp.t (a STRING)"),
        # INTERVAL int64: https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#interval_type
        ("SELECT a + INTERVAL '3' DAY FROM t", "SELECT a + INTERVAL 3 DAY FROM t"),
        # https://cloud.google.com/bigquery/docs/reference/standard-sql/aggregate_functions#any_value
        ("SELECT ANY_VALUE(a) FROM t", "SELECT ANY_VALUE(a) FROM t"),
        # NUMERIC is decimal(38, 9): https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#decimal_types
        ("SELECT TRY_CAST(a AS DECIMAL(38, 9)) FROM t", "SELECT SAFE_CAST(a AS NUMERIC) FROM t"),
    ],
)
def test_a_statement_is_written_as_the_documentation_wants_it(canonical: str, said: str) -> None:
    assert Renderer(FACTS["bigquery"]).sql(parse_one(canonical, dialect="duckdb"), pretty=False) == said


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-03-01 10:00", "2026-03-01 10:00:00"),
        ("2026-03-01T10:00Z", "2026-03-01T10:00:00Z"),
        ("2026-03-01 10:00:00 UTC", "2026-03-01 10:00:00Z"),
        ("2026-03-01 10:00:00 +01", "2026-03-01 10:00:00+01"),
        ("2026-03-01 10:00+0130", "2026-03-01 10:00:00+01:30"),
        ("2026-03-01 10:00:00.1234567-01:00", "2026-03-01 10:00:00.123456-01:00"),
        ("2026-03-01", "2026-03-01"),
    ],
)
def test_a_time_is_spelled_as_bigquery_reads_it(bigquery: BigQuery, text: str, read: str) -> None:
    """Seconds are not optional there, no blank stands before an offset, and an offset has a colon:
    https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#canonical_format_for_timestamp_literals"""
    call = exp.Anonymous(this="cdp_try_timestamp", expressions=[exp.convert(text), exp.convert("UTC")])
    tree = parse_one(Renderer(FACTS["bigquery"]).sql(exp.select(call)), dialect="bigquery")
    [spelled] = [
        node.this for node in tree.find_all(exp.Cast) if node.to.is_type("timestamptz") or node.args.get("safe")
    ]
    assert bigquery.rows(f"SELECT {spelled.sql(dialect='bigquery')} AS a") == [(read,)]
