"""BigQuery, through google-cloud-bigquery, which is imported when the first request is made."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import AfterValidator, Field, model_validator

from cdp.errors import StatementError, WarehouseError
from cdp.warehouse.base import About, Column, Warehouse
from cdp.warehouse.bigquery_errors import unreachable
from cdp.warehouse.bigquery_grants import least
from cdp.warehouse.bigquery_jobs import Jobs, Patience
from cdp.warehouse.bigquery_layout import identifier, laid_out, quoted
from cdp.warehouse.bigquery_login import Login, Method, driver, fit_endpoint, fit_labels
from cdp.warehouse.bigquery_types import NATIVE, as_json, column, copied, naive, tuples
from cdp.warehouse.functions import FACTS
from cdp.warehouse.names import parts
from cdp.warehouse.settings import Number, Settings

_DDL = ("CREATE", "DROP", "ALTER", "GRANT", "REVOKE")
_PAGE = 10_000


class BigQuery(Warehouse):
    """One client; statements are jobs in the billing project `project`, `schema` and `state_schema` its datasets.

    `location` None: where the dataset `schema` lies, else BigQuery's default. Inside `transaction` statements that change
    rows run in a session of BigQuery's, from the first of them on; those that make, replace and drop tables run outside of
    it and take effect at once (BigQuery takes none of them in a transaction). Raises WarehouseError CDP302 (unreachable,
    refused login), CDP304 (no driver).
    """

    facts: ClassVar = FACTS["bigquery"]
    fold_interval: ClassVar[float] = 120.0  # a fold is some ten jobs, each of a second at least
    fold_batches: ClassVar[int] = 500
    transactional_ddl: ClassVar[bool] = False

    def __init__(
        self,
        project: str,
        schema: str = "cdp",
        state_schema: str = "cdp_state",
        *,
        location: str | None = None,
        login: Login | None = None,
        labels: Mapping[str, str] | None = None,
        maximum_bytes_billed: int | None = None,
        priority: str = "interactive",
        patience: Patience | None = None,
    ) -> None:
        self.project = project
        self.schema = schema
        self.state_schema = state_schema
        self.bytes = 0
        self._location = location
        self._login = login or Login()
        self._labels = {"application": "cdp", **(labels or {})}
        self._bytes_billed = maximum_bytes_billed
        self._priority = priority.upper()
        self._patience = patience or Patience()
        self._opened: Jobs | None = None
        self._depth = 0
        self._session: str | None = None  # kept from one transaction to the next
        self._begun = False
        self._alone = False  # no killed run holds a table, as far as is known

    # the connection

    def _jobs(self) -> Jobs:
        if self._opened is None:
            client = self._login.client(self.project, self._location)
            self._opened = Jobs(
                client, self._patience, self._labels, self._bytes_billed, self._priority, self._location
            )
            if self._location is None:  # a job outside of the US and the EU is found by its location only
                found = self._dataset(self.schema)
                self._opened.location = found.location if found is not None else None
        return self._opened

    def _dataset(self, name: str) -> Any:
        """The dataset, None where there is none."""
        jobs = self._jobs()
        return jobs.found(lambda: jobs.client.get_dataset(self._reference(name), **self._once))

    @property
    def _once(self) -> dict[str, Any]:
        """For a request that `Jobs.asked` repeats by itself."""
        return {"retry": None, "timeout": self._patience.request}

    def _reference(self, dataset: str) -> Any:
        *project, name = parts(dataset)
        return driver().DatasetReference(".".join(project) or self.project, name)

    def _table_reference(self, table: str) -> Any:
        *scope, name = parts(table)
        dataset = ".".join(f'"{part}"' for part in scope) if scope else self.schema
        return self._reference(dataset).table(name)

    def interrupt(self) -> None:
        if self._opened is not None:
            self._opened.interrupt()

    def release(self) -> None:
        """A service lets everybody in; nothing to do."""

    def close(self) -> None:
        if self._opened is not None:
            self._abort_session()
            self._opened.client.close()
            self._opened = None

    # statements

    def _run(self, sql: str, *, page_size: int | None = None) -> tuple[Any, Any]:
        """(the finished job, its rows); in the session of the transaction that has begun."""
        jobs = self._jobs()
        self.statements += 1
        session = self._session if self._begun else None
        # in a transaction a failed statement may have ended it: sent again it would stand alone
        job, rows = jobs.query(sql, jobs.config(session=session), again=session is None, page_size=page_size)
        self.bytes = (self.bytes or 0) + int(job.total_bytes_processed or 0)
        return job, rows

    def execute(self, sql: str) -> int:
        if _first_word(sql) not in (*_DDL, "SELECT", "WITH"):
            if not self._alone:
                self._alone = True
                self._jobs().end_orphans()
            if self._depth:
                self._begin()
        with self._outside(when=_first_word(sql) in _DDL):
            job, _ = self._run(sql, page_size=1)
        return int(job.num_dml_affected_rows or 0)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        return [row for batch in self.stream(sql) for row in batch]

    def stream(self, sql: str, size: int = _PAGE) -> Iterator[list[tuple[object, ...]]]:
        jobs = self._jobs()
        _, result = self._run(sql, page_size=size)
        found = iter(tuples(result, result.schema or ()))
        while True:
            with jobs.reading():
                batch = list(islice(found, size))
            if not batch:
                return
            yield batch

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or none; inside another transaction it joins that one. Nothing is sent until a statement changes rows."""
        self._depth += 1
        done = False
        try:
            yield
            done = True
        finally:
            self._depth -= 1
            if self._depth == 0 and self._begun:
                self._end(done)

    def _begin(self) -> None:
        if self._begun:
            return
        jobs, sql = self._jobs(), "BEGIN TRANSACTION"
        self.statements += 1
        if self._session is not None:
            try:
                jobs.query(sql, jobs.config(session=self._session), again=True)
                self._begun = True
                return
            except StatementError:  # a session ends by itself after a day
                self._abort_session()
                self.statements += 1
        job, _ = jobs.query(sql, jobs.config(new_session=True), again=True)
        self._session, self._begun = str(job.session_info.session_id), True

    def _end(self, done: bool) -> None:
        ended = False
        try:
            if done:
                self._run("COMMIT TRANSACTION")
            else:
                with suppress(WarehouseError):
                    self._run("ROLLBACK TRANSACTION")
                    ended = True
            ended = ended or done
        finally:
            self._begun = False
            if not ended:
                self._abort_session()  # its transaction goes with it

    def _abort_session(self) -> None:
        session, self._session, self._begun = self._session, None, False
        if session is not None and self._opened is not None:
            self._opened.abort_session(session)

    @contextmanager
    def _outside(self, *, when: bool = True) -> Iterator[None]:
        """Inside, statements are none of the transaction's."""
        begun = self._begun
        self._begun = begun and not when
        try:
            yield
        finally:
            self._begun = begun

    # tables

    def make_table(self, table: str, select: str) -> int:
        self._replaced(table, f"CREATE OR REPLACE TABLE {quoted(table)} {laid_out(table, select)}")
        found = self._table(table)
        return int(found.num_rows or 0) if found is not None else 0

    def make_view(self, view: str, select: str) -> None:
        self._replaced(view, f"CREATE OR REPLACE VIEW {quoted(view)} AS {select}")

    def _replaced(self, name: str, statement: str) -> None:
        """Run a CREATE OR REPLACE, which is one step for a thing of the same kind; one of another kind goes first."""
        with self._outside():
            try:
                self._run(statement)
            except StatementError:
                found = self._table(name)
                if found is None or (found.table_type == "VIEW") == statement.startswith("CREATE OR REPLACE VIEW"):
                    raise
                self.drop(name)
                self._run(statement)

    def swap(self, pairs: Mapping[str, str]) -> None:
        """Each final table becomes a clone of the finished one (one step, no copy of the data, a reader sees the old rows
        or the new ones); the finished ones are dropped after the last. Run again, what is cloned already is known by the
        name of its origin."""
        waiting = [(new, final) for new, final in pairs.items() if not self._is_done(new, final)]
        for new, final in waiting:
            self._replaced(final, f"CREATE OR REPLACE TABLE {quoted(final)} CLONE {quoted(new)}")
        self.drop(*(new for new, _ in waiting))

    def _is_done(self, new: str, final: str) -> bool:
        if self._table(new) is not None:
            return False
        found = self._table(final)
        clone = found.to_api_repr().get("cloneDefinition", {}) if found is not None else {}
        if clone.get("baseTableReference", {}).get("tableId") != parts(new)[-1]:
            raise StatementError(
                "CDP301", f"there is no table {new} for the name {final}", hint="run it again"
            ) from None
        return True

    def drop(self, *tables: str) -> None:
        jobs = self._jobs()
        for table in tables:  # no job: dropping costs nothing and waits for nothing
            reference = self._table_reference(table)
            jobs.asked(lambda name=reference: jobs.client.delete_table(name, not_found_ok=True, **self._once))  # type: ignore[misc]

    def about(self) -> About:
        [(role, clock)] = self.rows("SELECT SESSION_USER(), CURRENT_DATETIME('UTC')")
        where = self._jobs().location
        return About(f"BigQuery{f' ({where})' if where else ''}", str(role), naive(cast(Any, clock)))

    def grants(self, role: str, reads: Sequence[str]) -> tuple[str, ...]:
        return least(role, reads, self.project, self.schema, self.state_schema)

    def estimate(self, sql: str) -> int | None:
        self.statements += 1
        try:
            return int(self._jobs().dry_run(sql).total_bytes_processed or 0)
        except StatementError as error:
            if "notFound" in error.message:  # what it reads is made by a statement before it
                return None
            raise

    def ensure_schemas(self) -> None:
        jobs = self._jobs()
        for schema in (self.schema, self.state_schema):
            found = self._dataset(schema)  # asked for first: making one needs a right that a run does not
            if found is None:
                dataset = driver().Dataset(self._reference(schema))
                dataset.location = jobs.location
                found = jobs.asked(lambda made=dataset: jobs.client.create_dataset(made, exists_ok=True, **self._once))  # type: ignore[misc]
            jobs.location = jobs.location or found.location
            if found.location and found.location.upper() != str(jobs.location).upper():
                said = f"the dataset {schema} lies in {found.location}, not in {jobs.location}"
                raise unreachable(
                    said, hint="both datasets and what is read must lie in one place: mend `location`"
                ) from None

    # the catalogue

    def _table(self, table: str) -> Any:
        """The table or view of exactly that name, None where there is none."""
        jobs, reference = self._jobs(), self._table_reference(table)
        return jobs.found(lambda: jobs.client.get_table(reference, **self._once))

    def columns(self, table: str) -> tuple[Column, ...] | None:
        if not 1 <= len(parts(table)) <= 3:
            return None
        found = self._table(table) or self._in_any_case(table)
        return None if found is None else tuple(column(field) for field in found.schema)

    def _in_any_case(self, table: str) -> Any:
        """Names of datasets and tables count by case there; ours are lower case and need no second look."""
        *scope, name = parts(table)
        if name == name.lower() and (not scope or scope[-1] in (self.schema, self.state_schema)):
            return None
        jobs, project = self._jobs(), scope[0] if len(scope) > 1 else self.project
        wanted = (scope[-1] if scope else self.schema).lower()
        listed = jobs.asked(lambda: list(jobs.client.list_datasets(project, **self._once)))
        for dataset in (item for item in listed if item.dataset_id.lower() == wanted):
            tables = jobs.asked(lambda at=dataset: list(jobs.client.list_tables(at.reference, **self._once)))  # type: ignore[misc]
            for item in tables:
                if item.table_id.lower() == name.lower():
                    return jobs.found(lambda at=item: jobs.client.get_table(at.reference, **self._once))  # type: ignore[misc]
        return None

    def tables(self, schema: str) -> tuple[str, ...]:
        jobs, reference = self._jobs(), self._reference(schema)
        found = jobs.found(lambda: list(jobs.client.list_tables(reference, **self._once)))
        return tuple(sorted(item.table_id for item in found or ()))

    def describe(self, select: str) -> tuple[Column, ...]:
        self.statements += 1
        return tuple(column(field) for field in self._jobs().dry_run(select).schema)

    # files

    def load_json_lines(self, table: str, path: Path, columns: Mapping[str, str]) -> int:
        """A load job that replaces the table, schema and all, if it can read every line, and changes nothing else."""
        fields = ", ".join(f"{identifier(name)} {NATIVE[type_]}" for name, type_ in columns.items())
        with tempfile.TemporaryFile() as file:
            try:
                if copied(path, columns, file):
                    return self._loaded(table, file, columns)
                self._replaced(table, f"CREATE OR REPLACE TABLE {quoted(table)} ({fields})")  # a load wants a line
            except StatementError as error:
                message = f"{path.name} cannot be loaded: {error.message}"
                raise StatementError("CDP306", message, hint=error.hint) from None
        return 0

    def _loaded(self, table: str, file: Any, columns: Mapping[str, str]) -> int:
        bigquery, jobs, reference = driver(), self._jobs(), self._table_reference(table)
        config = bigquery.LoadJobConfig(
            source_format="NEWLINE_DELIMITED_JSON", write_disposition="WRITE_TRUNCATE", labels=self._labels,
            schema=[bigquery.SchemaField(name, NATIVE[type_]) for name, type_ in columns.items()],
        )  # fmt: skip

        def start(job_id: str) -> Any:
            return jobs.client.load_table_from_file(
                file, reference, rewind=True, job_id=job_id, job_config=config, location=jobs.location,
                num_retries=0, timeout=self._patience.request,
            )  # fmt: skip

        self.statements += 1
        return int(jobs.load(start).output_rows or 0)

    def unload_json_lines(self, select: str, path: Path) -> int:
        jobs, count = self._jobs(), 0
        _, result = self._run(select, page_size=_PAGE)
        names = [field.name for field in result.schema]
        with path.open("w", encoding="utf-8", newline="\n") as out, jobs.reading():
            for row in tuples(result, result.schema):
                count += 1
                line = dict(zip(names, map(as_json, row), strict=True))
                out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
        return count


def _first_word(sql: str) -> str:
    return sql.split(maxsplit=1)[0].upper() if sql.strip() else ""


class BigQuerySettings(Settings):
    """type: bigquery. Who logs in: `keyfile` or `keyfile_json`, else application default credentials; in the name of
    `impersonate_service_account`, if that is named. `method` says it outright and is checked against the keys."""

    facts: ClassVar = BigQuery.facts
    type: Literal["bigquery"]
    project: Annotated[str, Field(min_length=1)]  # whom the jobs are billed to, and where the datasets lie
    location: str | None = None
    method: Method | None = None
    keyfile: str | None = None  # a path, from the project's folder
    keyfile_json: str | None = None  # what such a file holds
    impersonate_service_account: str | None = None
    api_endpoint: Annotated[str, AfterValidator(fit_endpoint)] | None = None
    labels: Annotated[dict[str, str], AfterValidator(fit_labels)] = {}
    maximum_bytes_billed: Annotated[Number, Field(gt=0)] | None = None  # bytes of one statement
    job_timeout: Annotated[Number, Field(gt=0)] | None = None  # seconds of one statement
    request_timeout: Annotated[Number, Field(gt=0)] = 60  # seconds of one request
    retries: Annotated[Number, Field(ge=0, le=20)] = 5  # of a request or job that failed for a passing reason
    priority: Literal["interactive", "batch"] = "interactive"

    @model_validator(mode="after")
    def _one_login(self) -> BigQuerySettings:
        keys = [name for name in ("keyfile", "keyfile_json") if getattr(self, name) is not None]
        if len(keys) > 1:
            raise ValueError("takes `keyfile` or `keyfile_json`, not both")
        if self.method == "service_account" and not keys:
            raise ValueError("method service_account needs `keyfile` or `keyfile_json`")
        if self.method == "adc" and keys:
            raise ValueError(f"method adc takes no `{keys[0]}`")
        if self.method == "impersonate" and self.impersonate_service_account is None:
            raise ValueError("method impersonate needs `impersonate_service_account`")
        if self.method in ("adc", "service_account") and self.impersonate_service_account is not None:
            raise ValueError(f"method {self.method} takes no `impersonate_service_account`")
        return self

    def connect(self, project_dir: Path) -> BigQuery:
        keyfile = None if self.keyfile is None else project_dir / Path(self.keyfile).expanduser()
        login = Login(self.method, keyfile, self.keyfile_json, self.impersonate_service_account, self.api_endpoint)
        return BigQuery(
            self.project, self.schema_, self.state_schema, location=self.location, login=login, labels=self.labels,
            maximum_bytes_billed=self.maximum_bytes_billed, priority=self.priority,
            patience=Patience(request=self.request_timeout, job=self.job_timeout, attempts=self.retries + 1),
        )  # fmt: skip


SETTINGS = BigQuerySettings
