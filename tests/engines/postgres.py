"""A throw-away Postgres cluster for the tests: found on the machine, started once, shared by all xdist workers."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo

from tests.engines import Unavailable

_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "60"}
_SETTINGS |= {"listen_addresses": "127.0.0.1", "shared_buffers": "256MB", "autovacuum": "off", "jit": "off"}


@contextmanager
def start(base: Path) -> Iterator[str]:
    """The dsn of this run's cluster: $CDP_TEST_PG_DSN, or one that the first worker starts and the last stops.

    `base` is pytest's base folder of this worker; under xdist the workers' common folder is its parent.
    """
    given = os.environ.get("CDP_TEST_PG_DSN")
    if given:
        yield given
        return
    home = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    state = home / "cdp_postgres"
    state.mkdir(exist_ok=True)
    with _locked(state):
        folder = _joined(state)
    try:
        yield (folder / "dsn").read_text()
    finally:
        with _locked(state):
            _left(state, folder)


@contextmanager
def fresh_database(dsn: str) -> Iterator[str]:
    """The dsn of a new, empty database in that cluster, dropped at the end."""
    name = f"cdp_test_{uuid4().hex[:12]}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'UTF8'")
        try:
            yield make_conninfo(dsn, dbname=name)
        finally:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def fresh(address: str, folder: Path) -> Iterator[dict[str, Any]]:
    """A database of its own in the cluster."""
    with fresh_database(address) as dsn:
        yield {"type": "postgres", "dsn": dsn}


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _joined(state: Path) -> Path:
    """The folder of the running cluster, started if this is the first worker; counts the workers."""
    users = state / "users"
    if users.exists() and int(users.read_text()) > 0:
        users.write_text(str(int(users.read_text()) + 1))
        return Path((state / "folder").read_text())
    folder = _started()
    (state / "folder").write_text(str(folder))
    users.write_text("1")
    return folder


def _left(state: Path, folder: Path) -> None:
    users = state / "users"
    left = int(users.read_text()) - 1
    users.write_text(str(left))
    if left == 0:
        _run([_binary("pg_ctl"), "-D", str(folder / "data"), "-m", "immediate", "-w", "stop"])
        shutil.rmtree(folder, ignore_errors=True)


def _started() -> Path:
    # a short path outside of pytest's: a unix socket's name has at most 107 bytes, and user postgres must reach it
    folder = Path(tempfile.mkdtemp(prefix="cdp-pg-"))
    if os.geteuid() == 0:
        owner = _unprivileged()
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data, port = str(folder / "data"), _free_port()
    # a linguistic collation, as production servers have: what relies on the order of bytes must say so
    icu = ["--locale-provider=icu", "--icu-locale=en-US"] if _has_icu() else []
    initdb = [_binary("initdb"), "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "-N"]
    _run([*initdb, "--locale=C.UTF-8", *icu])
    options = " ".join(f"-c {key}={value}" for key, value in _SETTINGS.items()) + f" -p {port} -k {folder}"
    _run([_binary("pg_ctl"), "-D", data, "-l", str(folder / "log"), "-o", options, "-w", "-t", "60", "start"])
    (folder / "dsn").write_text(f"host=127.0.0.1 port={port} user=postgres dbname=postgres")
    return folder


def _run(command: Sequence[str]) -> None:
    if os.geteuid() == 0:  # initdb and the server refuse to run as root
        command = ["runuser", "-u", _unprivileged().pw_name, "--", *command]
    # the server inherits stdout: a pipe would keep us waiting until it ends
    with tempfile.TemporaryFile("w+") as output:
        try:
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, cwd="/", check=False)
        except OSError as error:
            raise Unavailable(f"{command[0]}: {error.strerror}") from None
        output.seek(0)
        if done.returncode != 0:
            raise Unavailable(f"{' '.join(command[:5])} … failed: {output.read()[-400:]}")


def _unprivileged() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        raise Unavailable("running as root, and there is no user `postgres` to run the server as") from None


def _has_icu() -> bool:
    help_text = subprocess.run([_binary("initdb"), "--help"], capture_output=True, text=True, check=False).stdout
    return "--icu-locale" in help_text


def _binary(name: str) -> str:
    found = shutil.which(name)
    if found:
        return found
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True):
        if (folder / name).is_file():
            return str(folder / name)
    raise Unavailable(f"{name} is neither in PATH nor in /usr/lib/postgresql/*/bin; set CDP_TEST_PG_DSN or install it")


def _version(folder: Path) -> float:
    try:
        return float(folder.parent.name)
    except ValueError:
        return 0.0


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
