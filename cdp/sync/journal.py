"""The local memory of what was confirmed: one line per batch, on disk before the next fold, gone after the last one.

The lines refer to rows of the stage by number. A line that was cut off by a crash is trimmed: its batch is in doubt.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from cdp.errors import DeliveryError
from cdp.sync.fault import point

FOLD: Mapping[str, str] = {
    "n": "int", "status": "text", "code": "text", "message": "text", "remote_id": "text", "request_id": "text",
    "at": "timestamp", "batch": "int",
}  # fmt: skip
"""The columns of a verdict as the warehouse reads it: `n` numbers the row of the stage."""


@dataclass(frozen=True)
class Portion:
    """What was read out of the journal for one fold: verdicts, whether all of them are acceptances, how far it reaches."""

    verdicts: int
    plain: bool
    end: int
    batches: int


class Journal:
    """The journal of one sync in one run.

    A line: `{run, sync, version, batch, operation, at, rows: [[n, key, status, code, message, remote id, request id], …]}`;
    a row that was accepted without a word more is `[n, key]`.
    """

    def __init__(self, path: Path, *, sync: str, run_id: str, version: int) -> None:
        self.path = path
        self._head = {"run": run_id, "sync": sync, "version": version}
        self._file: int | None = None
        self._end = 0  # bytes that are whole lines
        self._folded = 0
        self.unfolded = 0  # batches since the last fold

    def append(self, batch: int, operation: str, at: str, rows: Sequence[Sequence[Any]]) -> None:
        """Write one batch; in the hands of the system when this returns, on the disk after `sync`.

        Raises DeliveryError CDP439 where the disk does not take it.
        """
        point("journal")
        line = orjson.dumps({**self._head, "batch": batch, "operation": operation, "at": at, "rows": rows}) + b"\n"
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            left = line
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            raise self._unwritable(error) from None
        self._end += len(line)
        self.unfolded += 1
        point("journaled")

    def sync(self) -> None:
        """Wait until what was appended is on the disk; raises DeliveryError CDP439 where the disk fails."""
        try:
            if self._file is not None:
                os.fsync(self._file)
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> DeliveryError:
        said = f"the journal {self.path} cannot be written: {error.strerror}"
        return DeliveryError(
            "CDP439", said, hint="make room on that disk; what was sent since is in doubt and goes again"
        )

    def expand(self, target: Path) -> Portion:
        """Write the verdicts that are not folded yet to `target`, one JSON object a line."""
        end, batches = self._end, self.unfolded
        data = b""
        if end:
            with self.path.open("rb") as lines:
                lines.seek(self._folded)
                data = lines.read(end - self._folded)
        verdicts, plain = _expand(data, target)
        return Portion(verdicts, plain, end, batches)

    def folded(self, portion: Portion) -> None:
        """The warehouse has it: it is not read again."""
        self._folded = portion.end
        self.unfolded -= portion.batches

    def close(self, *, delete: bool) -> None:
        """Let go of the file; `delete` it where everything is folded."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if delete:
            self.path.unlink(missing_ok=True)


def read_journal(path: Path, run_id: str, target: Path) -> int:
    """Expand the journal that a dead run left behind; the number of verdicts, 0 where there is no such journal.

    A torn last line is left out. A file that speaks of another run is moved aside (`….other`).
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0
    whole = data[: data.rfind(b"\n") + 1]
    first = whole.split(b"\n", 1)[0]
    try:
        ours = not first or orjson.loads(first)["run"] == run_id
    except (orjson.JSONDecodeError, KeyError, TypeError):
        ours = False
    if not ours:
        path.replace(path.with_name(path.name + ".other"))
        return 0
    return _expand(whole, target)[0]


def _expand(data: bytes, target: Path) -> tuple[int, bool]:
    """Write one line per verdict; how many, and whether all of them are acceptances."""
    count, plain = 0, True
    with target.open("wb") as out:
        for line in data.splitlines():
            try:
                told = orjson.loads(line)
                pieces = _verdicts(told)
                plain = plain and all(len(row) == 2 or row[2] == "accepted" for row in told["rows"])
            except (orjson.JSONDecodeError, KeyError, TypeError, IndexError, ValueError):
                continue  # a line damaged on the disk: its batch is in doubt
            out.write(b"".join(pieces))
            count += len(pieces)
    return count, plain


def _verdicts(told: Mapping[str, Any]) -> list[bytes]:
    tail = b',"at":%b,"batch":%d}\n' % (orjson.dumps(told["at"]), told["batch"])
    lines = []
    for row in told["rows"]:
        if len(row) == 2:
            lines.append(b'{"n":%d,"status":"accepted"%b' % (row[0], tail))
        else:
            n, _, status, code, message, remote_id, request_id = row
            verdict = {"n": n, "status": status, "code": code, "message": message}
            verdict |= {"remote_id": remote_id, "request_id": request_id}
            lines.append(orjson.dumps(verdict)[:-1] + tail)
    return lines
