"""fakesnow's server as a stand-in for Snowflake, run by the Python of its own virtual environment:
`python server.py PORT`. What it lacks or says in DuckDB's words is mended in `mended_sql.py`; here are the
login, the answers' form, and the faults that tests ask for at `/control`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import sys
from typing import Any

import fakesnow.server as server
import mended_sql
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

USER, PASSWORD = "FAKE", "snow"
WAREHOUSES = {"WH"}

logins: list[dict[str, Any]] = []
statements: list[dict[str, Any]] = []
answers: dict[str, JSONResponse] = {}  # by request id: a request that comes again is not run again
timeouts: dict[str, float] = {}  # session token ► seconds
waiting: dict[str, list[asyncio.Event]] = {}  # session token ► its statements that wait
faults: dict[str, Any] = {}


class Unanswered(Response):
    """A connection that breaks before the answer is whole."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        raise ConnectionError("cut")


async def control(request: Request) -> Response:
    """GET: what was seen. POST: faults as JSON; `{}` ends all of them."""
    if request.method == "GET":
        return JSONResponse({"logins": logins, "statements": statements})
    given = await request.json()
    if faults.get("away") or given.get("expire"):  # sessions that nobody will come back to: what they began is undone
        for session in server.sessions.values():
            session.close()
        server.sessions.clear()
    faults.clear()
    faults.update(given)
    if given.get("forget"):
        logins.clear()
        statements.clear()
    return JSONResponse({})


def _failed(code: str, message: str, state: str | None = None) -> JSONResponse:
    data = {"errorCode": code, "sqlState": state}
    return JSONResponse({"data": data, "code": code, "message": message, "success": False, "headers": None})


async def login(request: Request) -> Response:
    if faults.get("away"):
        return Unanswered()
    body = await _body(request)
    data = body["data"]
    logins.append({"query": dict(request.query_params), "data": data})
    if data.get("AUTHENTICATOR", "SNOWFLAKE") in ("SNOWFLAKE", None) and data.get("PASSWORD") != PASSWORD:
        return _failed("390100", "Incorrect username or password was specified.")
    wanted = request.query_params.get("warehouse")
    if wanted is not None and wanted.strip('"').upper() not in WAREHOUSES:
        return _failed("390201", "The requested warehouse does not exist or not authorized.")
    response = await server.login_request(request)
    answer = json.loads(bytes(response.body))
    answer["data"] |= {
        # what connector 5 asks of an answer beside what fakesnow gives
        "masterToken": "master", "validityInSeconds": 3600, "masterValidityInSeconds": 14400, "sessionId": 1,
        "displayUserName": USER, "firstLogin": False, "healthCheckInterval": 45,
    }  # fmt: skip
    answer["data"]["sessionInfo"] |= {"warehouseName": wanted, "roleName": request.query_params.get("roleName")}
    seconds = data.get("SESSION_PARAMETERS", {}).get("STATEMENT_TIMEOUT_IN_SECONDS")
    if seconds is not None:
        timeouts[answer["data"]["token"]] = float(seconds)
    return JSONResponse(answer)


async def query(request: Request) -> Response:
    if faults.get("away"):
        return Unanswered()
    body = await _body(request)
    sql, id_ = body["sqlText"], request.query_params.get("requestId", "")
    if server.to_token(request) not in server.sessions:
        return _failed("390112", "Your session has expired. Please login again.")
    if id_ in answers:
        return answers[id_]
    statements.append({"sql": sql, "id": id_, "bindings": len(body.get("bindings") or {})})
    cut = faults.get("cut")
    before, after = (re.search(faults[key], sql) if faults.get(key) else None for key in ("cut", "lose"))
    if cut and before:  # the network goes before the statement comes, and stays away
        faults["away"] = True
        return Unanswered()
    if faults.get("refuse") and (said := faults["refuse"].get(_verb(sql))):
        return _failed(*said)
    answer = await _answered(request, sql)
    answers[id_] = answer
    if after:  # the statement is run, its answer lost once
        del faults["lose"]
        return Response(status_code=503)
    return answer


async def _answered(request: Request, sql: str) -> JSONResponse:
    token = server.to_token(request)
    if re.search(r"SYSTEM\$CANCEL_ALL_QUERIES\(\d+\)", sql, re.IGNORECASE):
        for event in waiting.get(token, ()):
            event.set()
    waits = re.search(r"SYSTEM\$WAIT\((\d+)\)", sql, re.IGNORECASE)
    if waits:
        limit = timeouts.get(token, float("inf"))
        cancelled = asyncio.Event()
        waiting.setdefault(token, []).append(cancelled)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(cancelled.wait(), min(float(waits[1]), limit))
        if cancelled.is_set():
            return _failed("000604", "SQL execution canceled", "57014")
        if float(waits[1]) > limit:
            text = f"Statement reached its statement or warehouse timeout of {limit:.0f} second(s) and was canceled."
            return _failed("000630", text, "57014")
    try:
        response = await server.query_request(request)
    except (AssertionError, KeyError, ValueError, TypeError) as error:  # a gap of fakesnow's
        return _failed("000603", f"SQL execution internal error: {type(error).__name__} {error}", "XX000")
    answer = json.loads(bytes(response.body))
    if answer.get("success"):
        return response
    if response.status_code == 401:
        return JSONResponse(answer, status_code=200)
    code, state, message = mended_sql.told(str(answer["code"]), str(answer.get("message")), sql)
    return _failed(code, message, state or (answer.get("data") or {}).get("sqlState"))


def _verb(sql: str) -> str:
    words = sql.split(None, 1)
    return words[0].upper() if words else ""


async def _body(request: Request) -> Any:
    body = await request.body()
    return json.loads(gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body)


async def renew(request: Request) -> Response:
    message = "Authentication token has expired. The user must authenticate again."
    return JSONResponse({"data": None, "code": "390114", "message": message, "success": False})


async def beat(request: Request) -> Response:
    if faults.get("away"):
        return Unanswered()
    return await server.session(request)


routes = [
    Route("/control", control, methods=["GET", "POST"]),
    Route("/session/v1/login-request", login, methods=["POST"]),
    Route("/session", beat, methods=["POST"]),
    Route("/session/token-request", renew, methods=["POST"]),
    Route("/session/heartbeat", beat, methods=["POST"]),
    Route("/queries/v1/query-request", query, methods=["POST"]),
    Route("/queries/v1/abort-request", lambda _: JSONResponse({"success": True}), methods=["POST"]),
    Route("/telemetry/send", lambda _: JSONResponse({"success": True}), methods=["POST"]),
]


if __name__ == "__main__":
    mended_sql.install()
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=int(sys.argv[1]), log_level="critical")
