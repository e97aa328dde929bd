"""What a run is doing, on stderr: moving bars on a terminal, one line per finished step elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from cdp.cli.output import Output, clean

if TYPE_CHECKING:
    from cdp.flow.results import Event

STATUS_COLOUR = {"failed": "error", "held": "warning", "skipped": "warning", "interrupted": "warning"}


class Progress:
    """Called with every event of a run. A context manager: bars are taken away at its end."""

    def __init__(self, out: Output) -> None:
        self.out = out
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Progress:
        if self.out.live:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
            )
            self._bars = Bars(*columns, console=Console(file=self.out.stderr), transient=True)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "warn":
            self._say(event.message, "warning")
        elif event.kind == "end":
            self._drop(event.id)
            self._say(_line(event), "info")
        elif self._bars is not None:
            self._move(event)
        elif event.kind == "start":
            self._say(f"start   {event.id}", "debug")

    def _say(self, text: str, level: str) -> None:
        if self._bars is None:
            self.out.log(text, level)
            return
        self._bars.print(clean(self.out.mask(text)), markup=False, highlight=False, soft_wrap=True)

    def _move(self, event: Event) -> None:
        task = self._tasks.get(event.id)
        name = clean(self.out.mask(event.id))
        if task is None:
            self._tasks[event.id] = self._bars.add_task(name, total=event.total)
        else:
            self._bars.update(task, completed=event.done, total=event.total)

    def _drop(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            self._bars.remove_task(task)


def _line(event: Event) -> str:
    rows = f"  {event.rows:,} rows" if event.rows is not None else ""
    said = f"  {event.message}" if event.message else ""
    return f"{event.seconds:7.2f} s  {event.id}{rows}{said}"
