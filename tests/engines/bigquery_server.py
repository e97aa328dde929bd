"""A BigQuery for tests: its REST interface over DuckDB, in a thread of the test's process, as far as cdp asks for it.

Jobs (query, load, dry run, cancel), pages of results, datasets, tables, sessions with transactions, resumable uploads. A
project is a database of its own, made when it is first named. `requests` keeps what was asked, `fault` makes requests go
wrong: an HTTP error before anything is done, a job that fails, a connection that is cut before or after the work, a slow
answer.
"""

from __future__ import annotations

import base64
import json
import math
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

import duckdb
from sqlglot import exp

from tests.engines import bigquery_sql as sql_of

_PREFIX = "/bigquery/v2/projects/"
_INTEGERS = {"tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint"}
_NAMES = {
    "varchar": "STRING",
    "double": "FLOAT",
    "float": "FLOAT",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "time": "TIME",
}
_NAMES |= {"timestamp": "DATETIME", "timestamp with time zone": "TIMESTAMP", "blob": "BYTES", "json": "JSON"}
_LOADED = {
    "STRING": "VARCHAR",
    "INT64": "BIGINT",
    "INTEGER": "BIGINT",
    "FLOAT64": "DOUBLE",
    "FLOAT": "DOUBLE",
    "BOOL": "BOOLEAN",
}
_LOADED |= {"BOOLEAN": "BOOLEAN", "NUMERIC": "DECIMAL(38, 9)", "DATE": "DATE", "DATETIME": "TIMESTAMP", "JSON": "JSON"}


class Error(Exception):
    """An answer that is an error."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    @property
    def item(self) -> dict[str, str]:
        return {"reason": self.reason, "message": self.message, "domain": "global"}


class Cut(Exception):
    """The connection is to be cut without an answer."""


@dataclass
class Request:
    """What was asked: `name` is the method in BigQuery's words (jobs.insert), `body` its JSON."""

    name: str
    project: str
    query: dict[str, str]
    body: dict[str, Any]
    login: str = ""

    @property
    def sql(self) -> str:
        return str(self.body.get("configuration", {}).get("query", {}).get("query", ""))


@dataclass
class Fault:
    """How the next `times` requests of that `name` whose SQL has `sql` in it go wrong."""

    name: str
    kind: str  # error: refused, job: the job fails, before/after: cut before or after the work, slow: after `seconds`
    sql: str = ""
    code: int = 503
    reason: str = "backendError"
    message: str = "no words for it"
    seconds: float = 0.0
    times: int = 1


@dataclass
class Project:
    """One project's database."""

    name: str
    connection: duckdb.DuckDBPyConnection
    location: str = "US"
    datasets: dict[str, str] = field(default_factory=dict)  # name -> location
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    results: dict[str, tuple[list[dict[str, Any]], list[Any]]] = field(default_factory=dict)
    layouts: dict[str, dict[str, Any]] = field(default_factory=dict)  # dataset.table -> partitioning, clustering, clone
    sessions: dict[str, duckdb.DuckDBPyConnection] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)  # sessions with a transaction
    lock: threading.RLock = field(default_factory=threading.RLock)


class Server:
    """Listens on a port of this machine until `close`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self._projects: dict[str, Project] = {}
        self._uploads: dict[str, tuple[Request, bytearray]] = {}
        server = self

        class Handler(_Handler):
            owner = server

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        for project in list(self._projects):
            self.forget(project)

    def forget(self, name: str) -> None:
        """Drop a project's database."""
        project = self._projects.pop(name, None)
        if project is not None:
            project.connection.close()

    def project(self, name: str) -> Project:
        if name not in self._projects:
            connection = duckdb.connect()
            connection.execute("SET TimeZone='UTC'")
            for macro in sql_of.MACROS:
                connection.execute(macro)
            self._projects[name] = Project(name, connection)
        return self._projects[name]

    def fault(self, name: str, kind: str, **more: Any) -> None:
        """From now on: see Fault."""
        self.faults.append(Fault(name, kind, **more))

    def asked(self, name: str, project: str) -> list[Request]:
        """The requests of that name to a project, in their order."""
        return [request for request in self.requests if (request.name, request.project) == (name, project)]

    # a request

    def answer(self, request: Request, more: tuple[str, ...]) -> dict[str, Any]:
        self.requests.append(request)
        fault = self._struck(request)
        if fault is not None and fault.kind == "error":
            raise Error(fault.code, fault.reason, fault.message)
        if fault is not None and fault.kind == "before":
            raise Cut
        project = self.project(request.project)
        with project.lock:
            found: dict[str, Any] = getattr(self, f"_{request.name.replace('.', '_')}")(
                project, request, *more, fault=fault
            )
        if fault is not None and fault.kind == "slow":
            time.sleep(fault.seconds)
        if fault is not None and fault.kind == "after":
            raise Cut
        return found

    def _struck(self, request: Request) -> Fault | None:
        for fault in self.faults:
            if fault.name == request.name and fault.sql in request.sql and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def _token(self, project: Project, request: Request, *, fault: Any) -> dict[str, Any]:
        """What a login is given."""
        return {"access_token": "not-to-be-seen", "expires_in": 3600, "token_type": "Bearer"}

    # datasets and tables

    def _datasets_list(self, project: Project, request: Request, *, fault: Any) -> dict[str, Any]:
        return {"datasets": [self._dataset(project, name) for name in project.datasets]}

    def _datasets_insert(self, project: Project, request: Request, *, fault: Any) -> dict[str, Any]:
        name = request.body["datasetReference"]["datasetId"]
        if name in project.datasets:
            raise Error(409, "duplicate", f"Already Exists: Dataset {project.name}:{name}")
        project.datasets[name] = request.body.get("location") or project.location
        project.connection.execute(f'CREATE SCHEMA "{name}"')
        return self._dataset(project, name)

    def _datasets_get(self, project: Project, request: Request, dataset: str, *, fault: Any) -> dict[str, Any]:
        self._there(project, dataset)
        return self._dataset(project, dataset)

    def _there(self, project: Project, dataset: str) -> None:
        if dataset not in project.datasets:
            raise Error(404, "notFound", f"Not found: Dataset {project.name}:{dataset}")

    def _dataset(self, project: Project, name: str) -> dict[str, Any]:
        return {"datasetReference": {"projectId": project.name, "datasetId": name}, "location": project.datasets[name]}

    def _tables_list(self, project: Project, request: Request, dataset: str, *, fault: Any) -> dict[str, Any]:
        self._there(project, dataset)
        rows = project.connection.execute(
            "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = ? ORDER BY 1", [dataset]
        ).fetchall()
        tables = [
            {"tableReference": self._reference(project, dataset, name), "type": _kind(kind)} for name, kind in rows
        ]
        return {"tables": tables, "totalItems": len(tables)}

    def _tables_get(
        self, project: Project, request: Request, dataset: str, table: str, *, fault: Any
    ) -> dict[str, Any]:
        self._there(project, dataset)
        kind = self._table_kind(project, dataset, table)
        name = f'"{dataset}"."{table}"'
        fields = _fields(project.connection.execute(f"SELECT * FROM {name} LIMIT 0").description)
        found = {"tableReference": self._reference(project, dataset, table), "type": kind, "schema": {"fields": fields}}
        if kind == "TABLE":
            [(rows,)] = project.connection.execute(f"SELECT COUNT(*) FROM {name}").fetchall()
            found |= {"numRows": str(rows), **project.layouts.get(f"{dataset}.{table}", {})}
        return found

    def _tables_delete(
        self, project: Project, request: Request, dataset: str, table: str, *, fault: Any
    ) -> dict[str, Any]:
        self._there(project, dataset)
        kind = self._table_kind(project, dataset, table)
        project.connection.execute(f'DROP {kind} "{dataset}"."{table}"')
        project.layouts.pop(f"{dataset}.{table}", None)
        return {}

    def _table_kind(self, project: Project, dataset: str, table: str) -> str:
        found = project.connection.execute(
            "SELECT table_type FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
            [dataset, table],
        ).fetchone()
        if found is None:
            raise Error(404, "notFound", f"Not found: Table {project.name}:{dataset}.{table}")
        return _kind(found[0])

    def _reference(self, project: Project, dataset: str, table: str) -> dict[str, str]:
        return {"projectId": project.name, "datasetId": dataset, "tableId": table}

    # jobs

    def _jobs_get(self, project: Project, request: Request, job: str, *, fault: Any) -> dict[str, Any]:
        if job not in project.jobs:
            raise Error(404, "notFound", f"Not found: Job {project.name}:{job}")
        return project.jobs[job]

    def _jobs_list(self, project: Project, request: Request, *, fault: Any) -> dict[str, Any]:
        return {"jobs": list(reversed(project.jobs.values()))[: int(request.query.get("maxResults") or 50)]}

    def _jobs_cancel(self, project: Project, request: Request, job: str, *, fault: Any) -> dict[str, Any]:
        return {"job": self._jobs_get(project, request, job, fault=fault)}

    def _jobs_insert(self, project: Project, request: Request, *, fault: Fault | None) -> dict[str, Any]:
        configuration = request.body["configuration"]
        if configuration.get("dryRun"):
            return self._dry_run(project, request)
        if configuration.get("labels") and not all(re.match(r"[a-z][a-z0-9_-]*\Z", k) for k in configuration["labels"]):
            raise Error(400, "invalid", "Invalid label")

        def work(job: dict[str, Any]) -> None:
            self._query(project, configuration, job)

        return self._job(project, request, fault, work)

    def _job(self, project: Project, request: Request, fault: Fault | None, work: Any) -> dict[str, Any]:
        reference = request.body.get("jobReference") or {}
        job_id = reference.get("jobId") or uuid4().hex
        if job_id in project.jobs:
            raise Error(409, "duplicate", f"Already Exists: Job {project.name}:{project.location}.{job_id}")
        where = {"projectId": project.name, "jobId": job_id, "location": reference.get("location") or project.location}
        job: dict[str, Any] = {"kind": "bigquery#job", "id": job_id, "jobReference": where, "statistics": {}}
        job |= {"configuration": request.body["configuration"], "status": {"state": "DONE"}}
        project.jobs[job_id] = job
        try:
            if fault is not None and fault.kind == "job":
                raise Error(fault.code, fault.reason, fault.message)
            work(job)
        except Error as error:
            job["status"] |= {"errorResult": error.item, "errors": [error.item]}
        job["statistics"]["endTime"] = str(int(time.time() * 1000))
        return job

    def _query(self, project: Project, configuration: dict[str, Any], job: dict[str, Any]) -> None:
        given = configuration["query"]
        properties = {item["key"]: item["value"] for item in given.get("connectionProperties") or ()}
        session = properties.get("session_id")
        if given.get("createSession"):
            session = f"session_{uuid4().hex}"
            project.sessions[session] = project.connection.cursor()
            project.sessions[session].execute("SET TimeZone='UTC'")
        if session is not None and session not in project.sessions:
            raise Error(400, "invalidQuery", f"Session {session} not found or has expired.")
        statistics: dict[str, Any] = {"query": {}}
        job["statistics"] = statistics
        if session is not None:
            statistics["sessionInfo"] = {"sessionId": session}
        sql = given["query"]
        if self._of_transaction(project, sql, session):
            return
        tree = self._parsed(sql)
        total = self._scanned(project, tree)
        most = int(given.get("maximumBytesBilled") or 0)
        if most and total > most:
            said = f"Query exceeded limit for bytes billed: {most}. {total} or higher required."
            raise Error(400, "bytesBilledLimitExceeded", said)
        cursor = project.sessions[session] if session in project.open else project.connection
        if isinstance(tree, exp.Create | exp.Drop) and session in project.open:
            raise Error(400, "invalidQuery", "DDL statements on permanent tables are not supported in a transaction.")
        statistics |= {"totalBytesProcessed": str(total)}
        statistics["query"] |= {"totalBytesProcessed": str(total), "totalBytesBilled": str(total)}
        self._ran(project, job, cursor, tree)

    def _of_transaction(self, project: Project, sql: str, session: str | None) -> bool:
        words = sql.split()
        if sql.startswith("CALL BQ.ABORT_SESSION("):
            gone = re.findall(r"'([^']*)'", sql)[0]
            if gone not in project.sessions:
                raise Error(400, "invalidQuery", f"Session {gone} not found or has expired.")
            project.sessions.pop(gone).close()
            project.open.discard(gone)
            return True
        if words[1:] != ["TRANSACTION"]:
            return False
        if session is None:
            raise Error(400, "invalidQuery", "Transaction control statements need a session or a script.")
        if (words[0] == "BEGIN") == (session in project.open):
            raise Error(400, "invalidQuery", "Transaction control: no transaction is open, or one is.")
        if words[0] == "BEGIN":
            project.sessions[session].execute("BEGIN")
            project.open.add(session)
            return True
        project.open.discard(session)
        self._duck(project, project.sessions[session], words[0])
        return True

    def _parsed(self, sql: str) -> exp.Expr:
        try:
            return sql_of.parsed(sql)
        except sql_of.Refused as refused:
            raise Error(400, "invalidQuery", str(refused)) from None

    def _duck(self, project: Project, cursor: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyConnection:
        try:
            return cursor.execute(sql)
        except duckdb.Error as error:
            code, reason, message = sql_of.refusal(str(error), project.name, project.location)
            raise Error(code, reason, message) from None

    def _ran(self, project: Project, job: dict[str, Any], cursor: duckdb.DuckDBPyConnection, tree: exp.Expr) -> None:
        statistics = job["statistics"]["query"]
        if isinstance(tree, exp.Query):
            statistics["statementType"] = "SELECT"
            project.results[job["id"]] = self._selected(project, cursor, sql_of.duckdb(tree))
            return
        if isinstance(tree, exp.Drop) and tree.args["kind"] == "SCHEMA":
            [named] = tree.find_all(exp.Table)
            project.datasets.pop(named.db or named.name, None)
        layout = self._layout(project, tree) if isinstance(tree, exp.Create) else None
        result = self._duck(project, cursor, sql_of.duckdb(tree))
        if isinstance(tree, exp.Insert | exp.Update | exp.Delete | exp.Merge):
            found = result.fetchone()
            statistics["numDmlAffectedRows"] = str(found[0] if found else 0)
            statistics["statementType"] = tree.key.upper()
        elif isinstance(tree, exp.Create):
            target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
            project.layouts[f"{target.db}.{target.name}"] = layout or {}
            statistics["statementType"] = "CREATE_TABLE_AS_SELECT" if tree.expression else f"CREATE_{tree.args['kind']}"

    def _layout(self, project: Project, tree: exp.Create) -> dict[str, Any]:
        """What the statement says of partitions, clusters and clones, taken off it for DuckDB."""
        found: dict[str, Any] = {}
        clone = tree.args.get("clone")
        if clone is not None:
            origin = clone.this
            found = dict(project.layouts.get(f"{origin.db}.{origin.name}", {}))
            reference = self._reference(project, origin.db, origin.name)
            found["cloneDefinition"] = {"baseTableReference": reference, "cloneTime": "2026-01-01T00:00:00Z"}
            tree.set("clone", None)
            tree.set("expression", exp.select("*").from_(origin.copy()))
            return found
        for item in list(tree.args["properties"].expressions if tree.args.get("properties") else ()):
            if isinstance(item, exp.PartitionedByProperty):
                found["timePartitioning"] = {"type": "MONTH", "field": next(item.find_all(exp.Column)).name}
            elif isinstance(item, exp.ClusterProperty):
                found["clustering"] = {"fields": [column.name for column in item.expressions]}
            else:
                continue
            item.pop()
        if found:
            self._fits(project, tree, found)
        return found

    def _fits(self, project: Project, tree: exp.Create, layout: dict[str, Any]) -> None:
        sql = sql_of.duckdb(tree.expression)
        types = {
            f["name"]: f["type"]
            for f in _fields(self._duck(project, project.connection, f"SELECT * FROM ({sql}) LIMIT 0").description)
        }
        for name in layout.get("clustering", {}).get("fields", ()):
            if types.get(name) not in sql_of.CLUSTERS:
                raise Error(400, "invalid", f"Clustering by {name} of type {types.get(name)} is not supported.")
        if len(layout.get("clustering", {}).get("fields", ())) > 4:
            raise Error(400, "invalid", "Clustering by more than 4 columns is not supported.")
        if "timePartitioning" in layout and types.get(layout["timePartitioning"]["field"]) != "DATETIME":
            raise Error(400, "invalid", "Partitioning by DATETIME_TRUNC needs a DATETIME.")

    def _selected(
        self, project: Project, cursor: duckdb.DuckDBPyConnection, sql: str
    ) -> tuple[list[dict[str, Any]], list[Any]]:
        """Fields and rows; moments with a zone come as microseconds, which need no package of time zones."""
        fields = _fields(self._duck(project, cursor, f"SELECT * FROM ({sql}) LIMIT 0").description)
        if any(item["type"] == "TIMESTAMP" for item in fields):
            names = [f"c{index}" for index, _ in enumerate(fields)]
            cells = [
                f"epoch_us({n}) AS {n}" if f["type"] == "TIMESTAMP" and f["mode"] != "REPEATED" else n
                for n, f in zip(names, fields, strict=True)
            ]
            sql = f"SELECT {', '.join(cells)} FROM ({sql}) AS t({', '.join(names)})"
        return fields, self._duck_all(project, cursor, sql)

    def _duck_all(self, project: Project, cursor: duckdb.DuckDBPyConnection, sql: str) -> list[Any]:
        self._duck(project, cursor, sql)
        try:
            return cursor.fetchall()
        except duckdb.Error as error:
            raise Error(*sql_of.refusal(str(error), project.name, project.location)) from None

    def _scanned(self, project: Project, tree: exp.Expr) -> int:
        """Eight bytes for each value of the tables that are read."""
        total = 0
        made = tree.this.this if isinstance(tree, exp.Create) and isinstance(tree.this, exp.Schema) else tree.this
        for table in sql_of.tables(tree):
            if table is made:
                continue
            found = project.connection.execute(
                "SELECT estimated_size * column_count * 8 FROM duckdb_tables() WHERE schema_name = ? AND table_name = ?",
                [table.db, table.name],
            ).fetchone()
            total += int(found[0]) if found else 0
        return total

    def _dry_run(self, project: Project, request: Request) -> dict[str, Any]:
        tree = self._parsed(request.sql)
        total = self._scanned(project, tree)
        query: dict[str, Any] = {"totalBytesProcessed": str(total)}
        inner = tree if isinstance(tree, exp.Query) else tree.find(exp.Query)
        if inner is not None:
            sql = f"SELECT * FROM ({sql_of.duckdb(inner)}) LIMIT 0"
            query["schema"] = {"fields": _fields(self._duck(project, project.connection, sql).description)}
        statistics = {"totalBytesProcessed": str(total), "query": query}
        return {"jobReference": {"projectId": project.name}, "configuration": request.body["configuration"],
                "status": {"state": "DONE"}, "statistics": statistics}  # fmt: skip

    # results

    def _queries_get(self, project: Project, request: Request, job: str, *, fault: Any) -> dict[str, Any]:
        found = self._jobs_get(project, request, job, fault=fault)
        if "errorResult" in found["status"]:
            item = found["status"]["errorResult"]
            raise Error(400, item["reason"], item["message"])
        answer: dict[str, Any] = {"jobReference": found["jobReference"], "jobComplete": True}
        query = found["statistics"].get("query", {})
        answer["totalBytesProcessed"] = query.get("totalBytesProcessed", "0")
        if "numDmlAffectedRows" in query:
            answer["numDmlAffectedRows"] = query["numDmlAffectedRows"]
        if job not in project.results:
            return answer
        fields, rows = project.results[job]
        start = int(request.query.get("pageToken") or request.query.get("startIndex") or 0)
        size = int(request.query.get("maxResults") or 10_000)
        page = rows[start : start + size]
        answer |= {
            "schema": {"fields": fields},
            "totalRows": str(len(rows)),
            "rows": [_row(row, fields) for row in page],
        }
        if start + size < len(rows):
            answer["pageToken"] = str(start + size)
        return answer

    # loads

    def upload_begins(self, request: Request) -> str:
        """The id of an upload, whose job is in the request."""
        self.requests.append(request)
        fault = self._struck(request)
        if fault is not None and fault.kind == "error":
            raise Error(fault.code, fault.reason, fault.message)
        project = self.project(request.project)
        job_id = (request.body.get("jobReference") or {}).get("jobId")
        if job_id in project.jobs:
            raise Error(409, "duplicate", f"Already Exists: Job {project.name}:{project.location}.{job_id}")
        upload = uuid4().hex
        self._uploads[upload] = (request, bytearray())
        return upload

    def upload_goes_on(self, upload: str, data: bytes, last: bool) -> dict[str, Any] | None:
        """The load job, once the last byte is there."""
        request, so_far = self._uploads[upload]
        so_far += data
        if not last:
            return None
        del self._uploads[upload]
        project = self.project(request.project)
        put = Request("uploads.put", request.project, {}, request.body)
        self.requests.append(put)
        fault = self._struck(put)
        with project.lock:
            job = self._job(project, request, fault, lambda job: self._load(project, job, bytes(so_far)))
        if fault is not None and fault.kind == "after":
            raise Cut
        return job

    def _load(self, project: Project, job: dict[str, Any], data: bytes) -> None:
        load = job["configuration"]["load"]
        target = load["destinationTable"]
        self._there(project, target["datasetId"])
        fields = load["schema"]["fields"]
        if load["sourceFormat"] != "NEWLINE_DELIMITED_JSON" or load["writeDisposition"] != "WRITE_TRUNCATE":
            raise Error(400, "invalid", "only what cdp loads")
        for item in fields:
            if re.search(r'[!"$()*,./;?@\[\\\]^`{}~]', item["name"]):
                raise Error(400, "invalid", f'Invalid field name "{item["name"]}".')
        if not data:
            raise Error(400, "invalid", "Empty content")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "rows.jsonl")
            file.write_bytes(data)
            read = ", ".join(f"{_identifier(f['name'])}: 'VARCHAR'" for f in fields)
            casts = ", ".join(
                f"CAST({_identifier(f['name'])} AS {_LOADED[f['type']]}) AS {_identifier(f['name'])}" for f in fields
            )
            for item in fields:
                if item["type"] == "DATETIME" and re.search(rb'"%s":"[^"]*Z"' % re.escape(item["name"].encode()), data):
                    raise _unloaded(item["name"], "a DATETIME with a zone")
            sql = (
                f"CREATE OR REPLACE TABLE {_identifier(target['datasetId'])}.{_identifier(target['tableId'])} AS SELECT {casts}"
                f" FROM read_json('{file}', format='newline_delimited', columns={{{read}}}, maximum_object_size=268435456)"
            )
            try:
                [(count,)] = project.connection.execute(sql).fetchall()
            except duckdb.Error as error:
                raise _unloaded(str(fields[0]["name"]), str(error)) from None
        project.layouts.pop(f"{target['datasetId']}.{target['tableId']}", None)
        job["statistics"]["load"] = {"outputRows": str(count)}


def _unloaded(name: str, value: str) -> Error:
    said = f"Error while reading data, error message: Could not convert value. Field: {name}; Value: {value}"
    return Error(400, "invalid", said)


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _kind(table_type: str) -> str:
    return "VIEW" if table_type == "VIEW" else "TABLE"


def _fields(description: Any) -> list[dict[str, Any]]:
    return [_field(name, kind) for name, kind, *_ in description or ()]


def _field(name: str, kind: Any) -> dict[str, Any]:
    identity = str(kind.id)
    if identity == "list":
        return {**_field(name, kind.children[0][1]), "mode": "REPEATED"}
    if identity == "struct":
        return {
            "name": name,
            "type": "RECORD",
            "mode": "NULLABLE",
            "fields": [_field(*child) for child in kind.children],
        }
    if identity == "decimal":
        (_, precision), (_, scale) = kind.children
        found = {"name": name, "type": "NUMERIC", "mode": "NULLABLE"}
        exact = (precision, scale) in ((38, 9),) or precision - scale > 29 or scale > 9
        return found if exact else {**found, "precision": str(precision), "scale": str(scale)}
    if str(kind) == "JSON":
        return {"name": name, "type": "JSON", "mode": "NULLABLE"}
    type_ = "INTEGER" if identity in _INTEGERS else _NAMES.get(identity, "STRING")
    return {"name": name, "type": type_, "mode": "NULLABLE"}


def _row(row: Any, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"f": [{"v": _value(value, item)} for value, item in zip(row, fields, strict=True)]}


def _value(value: Any, item: dict[str, Any]) -> Any:
    if item["mode"] == "REPEATED":
        one = {**item, "mode": "NULLABLE"}
        return [{"v": _value(part, one)} for part in value or ()]
    if value is None:
        return None
    if item["type"] == "RECORD":
        return _row(list(value.values()), item["fields"])
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Decimal):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


_ROUTES = [
    ("GET", r"datasets", "datasets.list"),
    ("POST", r"datasets", "datasets.insert"),
    ("GET", r"datasets/([^/]+)", "datasets.get"),
    ("GET", r"datasets/([^/]+)/tables", "tables.list"),
    ("GET", r"datasets/([^/]+)/tables/([^/]+)", "tables.get"),
    ("DELETE", r"datasets/([^/]+)/tables/([^/]+)", "tables.delete"),
    ("GET", r"jobs", "jobs.list"),
    ("POST", r"jobs", "jobs.insert"),
    ("GET", r"jobs/([^/]+)", "jobs.get"),
    ("POST", r"jobs/([^/]+)/cancel", "jobs.cancel"),
    ("GET", r"queries/([^/]+)", "queries.get"),
]


class _Handler(BaseHTTPRequestHandler):
    owner: Server
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_DELETE = do_PUT = do_GET

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            code, headers, answer = self._answered(body)
        except Error as error:
            code, headers = error.code, {}
            answer = {"error": {"code": error.code, "message": error.message, "errors": [error.item]}}
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # what this server was not written for
            code, headers, answer = 501, {}, {"error": {"code": 501, "message": f"not done here: {error!r}"}}
        except Cut:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        data = b"" if answer is None else json.dumps(answer).encode()
        try:
            self.send_response(code)
            for key, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(data))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(data)
        except OSError:  # nobody waits any more
            self.close_connection = True

    def _answered(self, body: bytes) -> tuple[int, dict[str, str], Any]:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path == "/token":
            return 200, {}, self.owner.answer(Request("token", "", {}, {}), ())
        if url.path.startswith("/upload/") or "upload_id" in query:
            return self._uploaded(url.path, query, body)
        if not url.path.startswith(_PREFIX):
            raise Error(404, "notFound", f"no such path: {url.path}")
        project, _, rest = url.path.removeprefix(_PREFIX).partition("/")
        for method, pattern, name in _ROUTES:
            match = re.fullmatch(pattern, rest)
            if match and method == self.command:
                login = str(self.headers.get("Authorization") or "")
                request = Request(name, unquote(project), query, json.loads(body) if body else {}, login)
                return 200, {}, self.owner.answer(request, tuple(unquote(part) for part in match.groups()))
        raise Error(404, "notFound", f"no such method: {self.command} {url.path}")

    def _uploaded(self, path: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, str], Any]:
        if "upload_id" not in query:
            project = path.split("/projects/")[1].split("/")[0]
            request = Request("uploads.begin", unquote(project), query, json.loads(body))
            upload = self.owner.upload_begins(request)
            return 200, {"Location": f"{self.owner.address}{path}?upload_id={upload}"}, {}
        total = (self.headers.get("Content-Range") or "").rpartition("/")[2]
        job = self.owner.upload_goes_on(query["upload_id"], body, last=total != "*")
        if job is None:
            size = len(self.owner._uploads[query["upload_id"]][1])
            return 308, {"Range": f"bytes=0-{size - 1}"}, None
        return 200, {}, job


@contextmanager
def serving() -> Iterator[Server]:
    """A server for the time of the block."""
    server = Server()
    try:
        yield server
    finally:
        server.close()
