"""One run at a time per resource: a row in `locks`, taken by compare-and-set, with an expiry and a fencing token.

The token grows with every holder. Every fold renews the row *where the token is still ours*, in its own transaction: a
holder that slept through its expiry cannot write any more. On DuckDB, whose file a second process cannot open, a side
file `<database>.lock` names the holder as well.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdp.compile.render import text
from cdp.errors import LeaseError, StatementError, WarehouseError
from cdp.sync.state import State, number, released
from cdp.warehouse.base import Warehouse

EXPIRES_US = 600_000_000  # longer than any one statement should take: a beat cannot pass while one runs
_active: set[str] = set()  # nonces of the leases that this process holds
_POLL = 0.5  # seconds between two looks at a lease that somebody else holds


@dataclass(frozen=True)
class Holder:
    """Who holds a lease: `nonce` is unique, the rest is for people and for telling whether the process still lives."""

    run_id: str
    nonce: str
    host: str
    pid: int

    @classmethod
    def here(cls, run_id: str) -> Holder:
        """This process, for one run."""
        return cls(run_id, uuid.uuid4().hex, socket.gethostname(), os.getpid())


class Lease:
    """A lease that is held: `renew` inside a transaction both proves and extends it."""

    def __init__(self, state: State, resource: str, holder: Holder, token: int) -> None:
        self.resource = resource
        self.holder = holder
        self.token = token
        self.abandoned = False  # the warehouse cannot be written now: the lease is seen to be nobody's by the next run
        self._warehouse = state.warehouse
        self._renew = state.sql(
            "renew_lease",
            locks=state.table("locks"),
            resource=text(resource),
            holder=text(holder.nonce),
            token=number(token),
            expires_us=number(EXPIRES_US),
        )

    def renew(self) -> None:
        """Raises LeaseError CDP434 where somebody else has taken over."""
        if self._warehouse.execute(self._renew) < 1:
            raise LeaseError(
                "CDP434",
                f"the lease of {self.resource} was taken over by another run while this one was away",
                hint="nothing was written by this run since; what it sent is in doubt and goes again",
            )


@contextmanager
def lease(warehouse: Warehouse, resource: str, holder: Holder, wait: float = 0.0) -> Iterator[Lease]:
    """Hold `resource` (`sync:crm`, `identity:customer`) for as long as the block runs.

    Waits up to `wait` seconds; raises LeaseError CDP433 that says who holds it and since when. The lease of a process
    that has died on this machine is taken over at once, any other one when it expires (10 minutes without a beat).
    """
    state = State(warehouse)
    _active.add(holder.nonce)
    try:
        taken = _waited(state, resource, holder, wait)
        side = _mark(warehouse, resource, holder)
        try:
            yield taken
        finally:
            _give_back(state, taken, side)
    finally:
        _active.discard(holder.nonce)


def _waited(state: State, resource: str, holder: Holder, wait: float) -> Lease:
    until = time.monotonic() + wait
    while True:
        try:
            taken = _take(state, resource, holder)
        except WarehouseError as error:
            blocker = side_holder(state.warehouse) if error.exit_code == 4 else None
            if blocker is None:
                raise
            taken = blocker
        if isinstance(taken, Lease):
            return taken
        if time.monotonic() >= until:
            raise taken
        state.warehouse.release()
        time.sleep(min(_POLL, max(0.01, until - time.monotonic())))


def unlock(warehouse: Warehouse, resource: str) -> bool:
    """Take a lease away from whoever holds it (`cdp state unlock`); False where nobody did."""
    state = State(warehouse)
    freed = state.execute("free_lease", locks=state.table("locks"), resource=text(resource), holder=None, token=None)
    return freed == 1


def side_holder(warehouse: Warehouse) -> LeaseError | None:
    """Who holds a DuckDB file that cannot be opened, if it is a run of ours; else None."""
    file = _side_file(warehouse)
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file else None
    except (OSError, ValueError):
        return None
    if not found or (found["host"] == socket.gethostname() and not _holds(found["pid"], found["nonce"])):
        return None
    return _held(found["resource"], found["run_id"], found["host"], found["pid"], found["since"])


def _take(state: State, resource: str, holder: Holder) -> Lease | LeaseError:
    names = {"locks": state.table("locks"), "resource": text(resource)}
    # a server may see two first runs at once: the unique key lets one in
    with suppress(StatementError):
        state.execute("first_lease", **names)
    found = state.rows("read_lease", **names)[0]
    dead = found[0] is not None and found[3] == socket.gethostname() and not _holds(int(found[4]), str(found[0]))
    taken = state.execute(
        "take_lease",
        **names,
        holder=text(holder.nonce),
        run_id=text(holder.run_id),
        host=text(holder.host),
        pid=holder.pid,
        dead=text(found[0]) if dead else None,
        expires_us=number(EXPIRES_US),
    )
    now = state.rows("read_lease", **names)[0]
    # where no key is enforced, a race of two first runs leaves two rows, which are held as one
    if taken >= 1 and now[0] == holder.nonce:
        return Lease(state, resource, holder, int(now[1]))
    return _held(resource, now[2], now[3], now[4], f"{now[5]} UTC")


def _held(resource: str, run_id: Any, host: Any, pid: Any, since: Any) -> LeaseError:
    return LeaseError(
        "CDP433",
        f"{resource} is held by run {run_id} (pid {pid} on {host}) since {since}",
        hint=f"wait for it (--wait 10m), or, if that process is gone for good: cdp state unlock {resource}",
    )


def _give_back(state: State, held: Lease, side: Path | None) -> None:
    if side:
        _unmark(side, held)
    if held.abandoned:
        return
    # a file that cannot be opened now, or a lost server: the lease expires, or is seen to be a dead process's
    with suppress(WarehouseError), released(state.warehouse):
        state.execute(
            "free_lease",
            locks=state.table("locks"),
            resource=text(held.resource),
            holder=text(held.holder.nonce),
            token=number(held.token),
        )


def _side_file(warehouse: Warehouse) -> Path | None:
    path = getattr(warehouse, "path", None)
    return Path(f"{path}.lock") if path and path != ":memory:" else None


def _mark(warehouse: Warehouse, resource: str, holder: Holder) -> Path | None:
    file = _side_file(warehouse)
    if file:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        told = {"resource": resource, "run_id": holder.run_id, "host": holder.host, "pid": holder.pid}
        file.write_text(json.dumps({**told, "since": since, "nonce": holder.nonce}), encoding="utf-8")
    return file


def _unmark(file: Path, held: Lease) -> None:
    with suppress(OSError, ValueError):
        if json.loads(file.read_text(encoding="utf-8"))["nonce"] == held.holder.nonce:
            file.unlink()


def _holds(pid: int, nonce: str) -> bool:
    """Whether a process of this machine may still hold a lease; of this very process it is known."""
    return nonce in _active if pid == os.getpid() else _alive(pid)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
