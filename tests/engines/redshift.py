"""A stand-in for Redshift: the adapter's own connection to a small server that speaks Postgres' protocol as Redshift does,
says each statement in Postgres' SQL (`redshift_sql.py`) and refuses what Redshift lacks. Behind it is the tests' Postgres."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.engines import postgres
from tests.engines.redshift_sql import SHIMS, Refused, to_postgres

# part of a test's id ► what the stand-in cannot do
_SPELLING = "JSON spells this number as Postgres would"
GAPS = {f"redshift-cdp_json_text(a, '{key}')": _SPELLING for key in ("e", "whole", "small")}
# worlds of tests/meaning that are built here too: all hold, and the others would take longer than they tell
WORLDS = ("operators", "rows", "relations", "traits")
GAPS |= {
    f"[{path.stem}-redshift-": "this world is left out for the time that it takes"
    for path in sorted(Path(__file__).resolve().parents[1].glob("meaning/cases/*.yml"))
    if path.stem not in WORLDS
}
_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102


@contextmanager
def start(base: Path) -> Iterator[str]:
    """A Postgres, and in front of it the server of this worker."""
    with postgres.start(base) as dsn, socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server, dsn), daemon=True).start()
        yield json.dumps({"behind": dsn, "port": server.getsockname()[1]})


@contextmanager
def fresh(address: str, folder: Path) -> Iterator[dict[str, Any]]:
    """A database of its own, whose texts are compared by bytes as Redshift does."""
    told = json.loads(address)
    name = f"cdp_test_{uuid4().hex[:12]}"
    with psycopg.connect(told["behind"], autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"
            " LOCALE_PROVIDER libc"
        )
        connection.execute(f"ALTER DATABASE {name} SET search_path = public, rs")
        try:
            with psycopg.connect(make_conninfo(told["behind"], dbname=name), autocommit=True) as made:
                made.execute(SHIMS)
            user = conninfo_to_dict(told["behind"]).get("user") or "postgres"
            dsn = f"host=127.0.0.1 port={told['port']} user={user} dbname={name} sslmode=disable gssencmode=disable"
            yield {"type": "redshift", "dsn": dsn}
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _serve(server: socket.socket, dsn: str) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_Session(client, dsn).run, daemon=True).start()


class _Session:
    """One connection: messages of the client are said anew, those of the server a little changed."""

    def __init__(self, client: socket.socket, dsn: str) -> None:
        self.client = client
        told = conninfo_to_dict(dsn)
        self.upstream = socket.create_connection((str(told["host"]), int(str(told["port"]))))
        for one in (self.client, self.upstream):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unicode = "UNICODE"
        self.making = False  # a table, of whose rows Redshift says nothing
        self.renaming = False

    def run(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._start()
            threading.Thread(target=self._back, daemon=True).start()
            while True:
                kind, body = _message(self.client)
                self.upstream.sendall(self._said(kind, body))
        for one in (self.client, self.upstream):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _start(self) -> None:
        while True:
            size, code = struct.unpack("!II", _exactly(self.client, 8))
            body = _exactly(self.client, size - 8)
            if code not in (_SSL, _GSS):
                break
            self.client.sendall(b"N")
        if b"client_encoding\0UTF8\0" in body:
            self.unicode = "UTF8"
        self.upstream.sendall(struct.pack("!II", size, code) + body)

    def _said(self, kind: bytes, body: bytes) -> bytes:
        if kind not in (b"Q", b"P"):
            return kind + struct.pack("!I", len(body) + 4) + body
        name, query, rest = (b"", *body.split(b"\0", 1)) if kind == b"Q" else body.split(b"\0", 2)
        sql = query.decode()
        self.making = sql.startswith("CREATE TABLE") and " AS " in sql
        self.renaming = sql.startswith("ALTER")
        try:
            said = to_postgres(sql)
        except Refused as refused:
            text = re.sub("['%]", "", str(refused))
            said = f"DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = '{text}', ERRCODE = '42601'; END $$"
        body = said.encode() + b"\0" + rest
        body = body if kind == b"Q" else name + b"\0" + body
        return kind + struct.pack("!I", len(body) + 4) + body

    def _back(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            rows = False  # those of `SELECT rs.…` do not belong to the client's statement
            while True:
                kind, body = _message(self.upstream)
                if kind == b"S":
                    name, _, _ = body.split(b"\0")
                    if name == b"standard_conforming_strings":
                        continue
                    if name == b"client_encoding":
                        body = name + b"\0" + self.unicode.encode() + b"\0"
                if kind == b"T":
                    rows = body[2:].split(b"\0")[0] in (b"bind", b"drop_bound")
                if rows and kind in (b"T", b"D"):
                    continue
                if kind == b"C" and rows:
                    rows = False
                    if body.startswith(b"SELECT"):
                        if self.making or self.renaming:
                            continue
                        body = b"DROP TABLE\0"
                if kind == b"C" and self.making and body.startswith(b"SELECT"):
                    body = b"SELECT\0"
                self.client.sendall(kind + struct.pack("!I", len(body) + 4) + body)
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_RDWR)


def _message(source: socket.socket) -> tuple[bytes, bytes]:
    kind = _exactly(source, 1)
    return kind, _exactly(source, struct.unpack("!I", _exactly(source, 4))[0] - 4)


def _exactly(source: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        more = source.recv(min(size - len(found), 1 << 16))
        if not more:
            raise EOFError
        found += more
    return bytes(found)
