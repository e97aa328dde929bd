"""Files as a destination: `<path>/<sync>/<run_id>.jsonl` or `.csv`, one line per operation.

Lines are written as JSON to `<name>.part` and are on the disk (fsync) before their rows count as accepted; at the end
of the run the file gets its name, for CSV after a rewrite with one fixed header. A `.part` that a killed run left is
finished by the next run of the sync, its torn last line cut off: that row was never accepted. So every accepted row
stands in exactly one finished file.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, ClassVar

import orjson

from cdp.destination.base import Delivery, Destination, accepted
from cdp.destination.description import Description
from cdp.destination.outcome import Answer, Batch, Change, Operation, Rows, Split, Stop
from cdp.destination.shape import Shape
from cdp.errors import ProjectError, StopSync

BATCH = 5_000  # lines per fsync
_DISK, _UNSENDABLE = "CDP416", "CDP415"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_PART = ".part"


class FileDestination(Destination):
    """A folder of the project. It takes any object, list and mode."""

    type: ClassVar[str] = "file"
    concurrency = 1

    def __init__(self, name: str, description: Description, settings: Mapping[str, Any], project_dir: Path) -> None:
        """`settings`: path, format, formula. Raises ProjectError (CDP408) for a path outside the project."""
        self.name = name
        self._format = str(settings["format"])
        self._escape = settings["formula"] == "escape"
        self._home = _inside(project_dir, str(settings["path"]), name)
        self._project = project_dir.resolve()
        self._shape = Shape(description)
        self._delivery: Delivery | None = None
        self._part: Path | None = None
        self._open: FileIO | None = None

    def __repr__(self) -> str:
        return f"<file destination {self.name}>"

    @property
    def operations(self) -> frozenset[Operation]:
        """No `add`: a row's line says what became of the row; its list, if it has one, needs no line of its own."""
        return frozenset(("upsert", "remove", "delete", "append"))

    def account(self) -> str:
        """The folder, relative to the project: a checkout elsewhere is the same account."""
        return f"file:{self._home.relative_to(self._project).as_posix()}"

    def invalid(self, change: Change) -> str | None:
        return self._shape.unfit(change)

    def batches(self, operation: Operation, changes: Iterable[Change]) -> Iterator[Batch]:
        held: list[Change] = []
        number = 0
        for change in changes:
            held.append(change)
            if len(held) == BATCH:
                yield Batch(operation, tuple(held), number)
                held, number = [], number + 1
        if held:
            yield Batch(operation, tuple(held), number)

    async def open(self, delivery: Delivery) -> None:
        """Finish what a killed run left. Raises StopSync where the folder cannot be used."""
        self._delivery = delivery
        folder = self._folder(delivery)
        try:
            for part in sorted(folder.glob(f"*{_PART}")) if folder.is_dir() else ():
                _cut_torn_line(part)
                self._finish(part)
        except OSError as error:
            raise StopSync(_DISK, f"{self.name}: {folder}: {error.strerror}") from error

    async def send(self, batch: Batch) -> Answer:
        assert self._delivery is not None, "open() comes before send()"
        try:
            lines = b"".join(_line(change, self._delivery.as_of) for change in batch.changes)
        except TypeError as error:
            return Split(_UNSENDABLE, f"JSON cannot carry a value of the row: {error}")
        try:
            self._write(lines)
        except OSError as error:
            return Stop(_DISK, f"{self.name}: cannot write to {self._folder(self._delivery)}: {error.strerror}")
        return Rows([accepted(change) for change in batch.changes], len(lines))

    def _write(self, lines: bytes) -> None:
        """Append whole lines and wait for the disk; on an error nothing of them stays."""
        if self._open is None:
            self._open = self._new_part()
        file = self._open
        start = file.tell()
        try:
            left = memoryview(lines)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(start)
            file.seek(start)
            raise

    def _new_part(self) -> FileIO:
        assert self._delivery is not None
        folder = self._folder(self._delivery)
        folder.mkdir(parents=True, exist_ok=True)
        self._part = _free(folder, _plain_name(self._delivery.run_id), f".{self._format}")
        return FileIO(self._part, "xb")

    async def close(self, *, complete: bool) -> None:
        """Give the file its name, whether the sync is complete or not: what it holds was accepted."""
        part, file = self._part, self._open
        self._part = self._open = None
        if part is None:
            return
        try:
            if file is not None:
                file.close()
            self._finish(part)
        except OSError as error:
            raise StopSync(_DISK, f"{self.name}: cannot finish {part}: {error.strerror}") from error

    def _finish(self, part: Path) -> None:
        """Give a .part its name; an empty one goes away. Doing it twice leaves the same file."""
        final = part.with_suffix("")
        if part.stat().st_size == 0:
            part.unlink()
        elif final.suffix == ".csv":
            self._rewrite(part, final)
            part.unlink()
        else:
            part.replace(final)
        _sync_folder(part.parent)

    def _rewrite(self, part: Path, final: Path) -> None:
        """JSON lines to CSV; the columns are the mapping's, or where it is not told those that occur."""
        match, fields = self._columns(part)
        scratch = final.with_suffix(".csv.tmp")
        with open(scratch, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            header = [
                "op",
                "key",
                *(f"match.{name}" for name in match),
                *(f"fields.{name}" for name in fields),
                "as_of",
            ]
            writer.writerow(self._cell(name) for name in header)
            for line in _lines(part):
                cells = [line["op"], line["key"]]
                cells += [line["match"].get(name) for name in match]
                cells += [line["fields"].get(name) for name in fields]
                writer.writerow(self._cell(cell) for cell in [*cells, line["as_of"]])
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(final)

    def _columns(self, part: Path) -> tuple[list[str], list[str]]:
        assert self._delivery is not None
        match = dict.fromkeys(self._delivery.match_names)
        fields = dict.fromkeys(self._delivery.field_names)
        for line in _lines(part):
            match |= dict.fromkeys(line["match"])
            fields |= dict.fromkeys(line["fields"])
        return list(match), list(fields)

    def _cell(self, value: Any) -> str:
        """A value as a CSV cell: texts that a spreadsheet would run as a formula get a quote before them."""
        if value is None:
            return ""
        if isinstance(value, str):
            return f"'{value}" if self._escape and value.startswith(_FORMULA) else value
        return orjson.dumps(value).decode()

    def _folder(self, delivery: Delivery) -> Path:
        return self._home / _plain_name(delivery.sync)


def _inside(project_dir: Path, path: str, name: str) -> Path:
    """The folder, links followed; only inside the project, so that no profile writes elsewhere by accident."""
    project = project_dir.resolve()
    home = (project / path).resolve()
    if not home.is_relative_to(project):
        raise ProjectError.of(
            "CDP408",
            f"destination `{name}`: its path lies outside of the project folder",
            hint="a path such as out/, relative to the project",
        )
    return home


def _plain_name(name: str) -> str:
    """A sync's name or a run's id as a file name."""
    if not name or name in (".", "..") or any(c in name for c in "/\\\0") or name.endswith(_PART):
        raise ProjectError.of("CDP408", f"`{name}` cannot be the name of a file")
    return name


def _free(folder: Path, run_id: str, suffix: str) -> Path:
    """The .part of a run; a run that opens the sync a second time gets a second file."""
    number = 1
    while True:
        final = folder / f"{run_id}{'' if number == 1 else f'_{number}'}{suffix}"
        part = final.with_name(final.name + _PART)
        if not final.exists() and not part.exists():
            return part
        number += 1


def _line(change: Change, as_of: str) -> bytes:
    return orjson.dumps(
        {
            "op": change.kind,
            "key": change.row_key,
            "match": change.match if type(change.match) is dict else dict(change.match),
            "fields": change.fields if type(change.fields) is dict else dict(change.fields),
            "as_of": as_of,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def _lines(part: Path) -> Iterator[dict[str, Any]]:
    with open(part, "rb") as file:
        for line in file:
            yield orjson.loads(line)


def _cut_torn_line(part: Path) -> None:
    """Drop what stands behind the last line break: a write that a kill cut short."""
    with open(part, "r+b") as file:
        at = file.seek(0, os.SEEK_END)
        while at > 0:
            start = max(0, at - 65_536)
            file.seek(start)
            found = file.read(at - start).rfind(b"\n")
            if found >= 0:
                file.truncate(start + found + 1)
                return
            at = start
        file.truncate(0)


def _sync_folder(folder: Path) -> None:
    """A rename is only on the disk when its folder is; where folders cannot be opened (Windows) it must do."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
