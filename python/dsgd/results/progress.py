"""Live progress of a fit: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from dsgd.results.history import Record

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ProgressReport", "decimals"]

_LARGE = 1e9  # numbers from here on are shown with an exponent


def decimals(value: float, digits: int) -> str:
    """Return a number with `digits` decimals; a large number with `digits` significant digits.

    A large number could have 309 digits before the point.
    """
    return f"{value:.{digits}f}" if abs(value) < _LARGE else f"{value:.{digits}g}"


def _describe(record: Record) -> str:
    about = "" if record.exact else "~"
    parts = [] if record.objective is None else [f"objective {about}{decimals(record.objective, 5)}"]
    if record.score is not None:
        parts.append(f"score {decimals(record.score, 4)}")
    if record.clocks is not None:
        parts.append(_of_cluster(record))
    return "  ".join([*parts, f"step {record.step_size:.2g}"])


def _of_cluster(record: Record) -> str:
    """Return clocks, mean staleness, the longest waiting time and the megabytes of the nodes."""
    clocks, delays = record.clocks or (0,), record.staleness or (0,)
    first, last = min(clocks), max(clocks)
    behind = sum(delay * pulls for delay, pulls in enumerate(delays)) / max(sum(delays), 1)
    moved = (sum(record.bytes_sent or ()) + sum(record.bytes_received or ())) / 1e6
    clock = f"clock {first}" if first == last else f"clocks {first} to {last}"
    return f"{clock}  staleness {behind:.1f}  waiting {max(record.waiting or (0.0,)):.2f} s  {moved:.1f} MB"


class ProgressReport:
    """Shows each record on standard error when it is made.

    Parameters
    ----------
    max_epochs : int
        Epochs at the end of the bar.
    console : rich.console.Console, optional
        Console in place of standard error.
    """

    def __init__(self, max_epochs: int, console: Console | None = None) -> None:
        # Imported here, because rich is slow to import and worker processes do not need it.
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._max_epochs = max_epochs
        self._console = Console(stderr=True) if console is None else console
        self._bar = Progress(
            TextColumn("epoch"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=self._console,
        )
        self._task = self._bar.add_task("", total=max_epochs)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def show(self, record: Record) -> None:
        """Show one more epoch."""
        if self._console.is_terminal:
            self._bar.update(self._task, completed=record.epoch, description=_describe(record))
            return
        width = len(str(self._max_epochs))
        line = f"epoch {record.epoch:{width}}/{self._max_epochs}  {record.seconds:8.3f} s  {_describe(record)}"
        self._console.print(line, highlight=False, soft_wrap=True)
