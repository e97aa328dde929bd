"""Snowflake: the real connector against fakesnow's server, which runs in a virtual environment of its own.

fakesnow is DuckDB behind a translation by sqlglot: it shows that the adapter's statements, values and errors go the
right way, not what the dialect means. What it cannot do is in `GAPS`.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.engines import Unavailable

_HERE = Path(__file__).resolve().parent
_PYTHON = _HERE.parents[1] / ".venv-fakesnow" / "bin" / "python"
_PATIENCE = 60.0  # seconds for the server to come up on a busy machine

# part of a test's id ► why
GAPS = {
    "engine[snowflake-cdp_divide(a, b)0]": "DuckDB divides decimals as doubles",
    "engine[snowflake-cdp_divide(a, b)2]": "DuckDB divides decimals as doubles",
    "engine[snowflake-cdp_of_epoch_us(a)]": "the driver reads the last microseconds of the year 9999 as the year 10000",
    "engine[snowflake-cdp_add_us(a, b)]": "the driver reads the last microseconds of the year 9999 as the year 10000",
    "test_columns_are_found_without_regard_to_case_and_typed": "its catalogue takes an ARRAY for a VARIANT",
}
# worlds of tests/meaning that are built here too: the others would take longer than they tell
WORLDS = frozenset({"relations", "traits", "spring"})
for _world in Path(__file__).resolve().parents[1].glob("meaning/cases/*.yml"):
    if _world.stem not in WORLDS:
        GAPS[f"[{_world.stem}-snowflake-"] = "this world is left out for the time that it takes"


@contextmanager
def start(base: Path) -> Iterator[str]:
    """The port of a server of this worker's own."""
    if not _PYTHON.exists():
        raise Unavailable("fakesnow is not installed: bash tests/engines/ensure_fakesnow.sh")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = base / "fakesnow.log"
    with log.open("wb") as output:
        command = [str(_PYTHON), str(_HERE / "fakesnow_standin" / "server.py"), str(port)]
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=base)
    try:
        until = time.monotonic() + _PATIENCE
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > until:
                raise Unavailable(f"fakesnow does not start: {log.read_text()[-400:]}")
            time.sleep(0.1)
        yield str(port)
    finally:
        server.terminate()
        server.wait(10)


@contextmanager
def fresh(address: str, folder: Path) -> Iterator[dict[str, Any]]:
    """A database of its own on that server."""
    yield {
        "type": "snowflake",
        "account": "fakesnow",
        "user": "fake",
        "password": "snow",
        "warehouse": "wh",
        "database": f"t_{uuid4().hex[:12]}",
        "host": "127.0.0.1",
        "port": int(address),
        "protocol": "http",
        "login_timeout": 8,
        "network_timeout": 8,
    }


def _answers(port: int) -> bool:
    try:
        seen(str(port))
    except OSError:
        return False
    return True


def seen(address: str) -> dict[str, Any]:
    """The logins and statements that the server saw."""
    with urllib.request.urlopen(f"http://127.0.0.1:{address}/control", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def fault(address: str, **faults: Any) -> None:
    """Faults from now on, instead of those before: `cut` and `lose` (patterns of a statement), `refuse` (verb ►
    number, message, SQL state), `away`, `expire`, `forget` (what was seen)."""
    body = json.dumps(faults).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{address}/control", body, method="POST")
    urllib.request.urlopen(request, timeout=5).close()
