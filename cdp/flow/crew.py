"""The connections of a build and the threads that use them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Condition

from cdp.errors import CdpError, WarehouseError
from cdp.warehouse.base import Warehouse


@dataclass(frozen=True)
class Spent:
    """What a piece of work answered, the statements that it sent, the bytes that they scanned where the engine tells."""

    answer: int
    statements: int
    bytes: int | None


class Crew:
    """Works in one warehouse through up to `threads` connections, each of them used by one thread at a time.

    With one thread everything runs in the caller's, on the connection that was given. A server that lets no more of us
    in is worked with through those connections that there are.
    """

    def __init__(self, warehouse: Warehouse, another: Callable[[], Warehouse] | None = None, threads: int = 1) -> None:
        self.threads = threads if another is not None else 1
        self._another = another
        self._idle = [warehouse]
        self._all = [warehouse]
        self._change = Condition()
        self._pool = ThreadPoolExecutor(self.threads, "cdp-build") if self.threads > 1 else None

    def submit(self, work: Callable[[Warehouse], int]) -> Future[Spent]:
        """Have a piece of work done; with one thread it is, when this returns."""
        if self._pool is not None:
            return self._pool.submit(self._do, work)
        done: Future[Spent] = Future()
        try:
            done.set_result(self._do(work))
        except CdpError as error:
            done.set_exception(error)
        return done

    def _do(self, work: Callable[[Warehouse], int]) -> Spent:
        warehouse = self._take()
        try:
            statements, scanned = warehouse.statements, warehouse.bytes
            answer = work(warehouse)
            told = None if warehouse.bytes is None else warehouse.bytes - (scanned or 0)
            return Spent(answer, warehouse.statements - statements, told)
        finally:
            with self._change:
                self._idle.append(warehouse)
                self._change.notify()

    def _take(self) -> Warehouse:
        with self._change:
            if not self._idle and self._another is not None and len(self._all) < self.threads:
                try:
                    warehouse = self._another()
                    warehouse.rows("SELECT 1")
                    self._all.append(warehouse)
                    return warehouse
                except WarehouseError:
                    self._another = None
            self._change.wait_for(lambda: self._idle)
            return self._idle.pop()

    def close(self) -> None:
        """Stop what still runs; close all connections but the first."""
        if self._pool is not None:
            if len(self._idle) < len(self._all):
                for warehouse in self._all:
                    warehouse.interrupt()
            self._pool.shutdown(cancel_futures=True)
        for warehouse in self._all[1:]:
            warehouse.close()
