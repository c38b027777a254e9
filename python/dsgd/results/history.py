"""The history of a fit: one record for each epoch."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, overload

from dsgd._common.checks import check_flag, check_integer, check_real, shown
from dsgd._common.files import replacing
from dsgd.errors import DataError, DivergedError

__all__ = ["History", "Record"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """The state of a fit after one epoch.

    Attributes
    ----------
    epoch : int
        Epochs finished.
    effective_passes : float
        Gradients of single samples evaluated, divided by the number of samples.
    seconds : float
        Wall time of the algorithm so far, with the search for a step size, without evaluations and without
        duality gaps that are measured beside the algorithm.
        On a `LocalCluster` it includes evaluations, because the processes go on during these.
    step_size : float
        The step size at the start of the epoch; with several classes that of the first class.
    objective : float or None
        The regularised training objective; None where it was not evaluated.
    loss : float or None
        The mean loss of the objective, without the penalty.
    exact : bool
        Whether `objective` and `loss` belong to the weights at the end of the epoch. If False, the loss is the mean of
        what the epoch saw: the loss of each sample at the weights before its last step. The last record is exact, and
        that of the model that `early_stopping` keeps; after Ctrl-C the last may be such a mean.
    score : float or None
        Accuracy (R2 for regression) on the evaluation set; None without one, or where it was not evaluated.
    gap : float or None
        The duality gap divided by the dual objective: an upper bound of the relative distance of
        the objective from the optimum; with several classes the greatest. Only with `gap_tol`,
        after epochs at which it was computed.
    delay : tuple of int or None
        Element d: the number of updates so far during which d other updates were made, if the
        algorithm was asked to count them; with several classes for the first class.
    virtual_seconds : float or None
        Time of a simulated cluster; None elsewhere.
    clocks, waiting, bytes_sent, bytes_received : tuple or None
        For every node of a cluster, by rank, so far: clocks finished, seconds waited for answers,
        bytes on the wire.
    staleness : tuple of int or None
        Element d: the number of pulls so far that were answered while the slowest worker was d
        clocks behind the worker that pulled.
    counts : dict of str to tuple of float, or None
        Further numbers that an algorithm counts, for every node of a cluster by rank, so far; None
        of a node that has told none. docs/algorithms has a page on each algorithm, which names them.
    """

    epoch: int
    effective_passes: float
    seconds: float
    step_size: float
    objective: float | None = None
    loss: float | None = None
    exact: bool = True
    score: float | None = None
    gap: float | None = None
    delay: tuple[int, ...] | None = None
    virtual_seconds: float | None = None
    clocks: tuple[int, ...] | None = None
    waiting: tuple[float, ...] | None = None
    staleness: tuple[int, ...] | None = None
    bytes_sent: tuple[int, ...] | None = None
    bytes_received: tuple[int, ...] | None = None
    counts: dict[str, tuple[float | None, ...]] | None = None


_OPTIONAL = ("objective", "loss", "score", "gap", "virtual_seconds")
_NUMBERS = ("step_size", *_OPTIONAL)
_COUNTS = ("delay", "clocks", "staleness", "bytes_sent", "bytes_received")


class History(Sequence[Record]):
    """The records of a fit, in order.

    Parameters
    ----------
    records : iterable of Record, optional
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._records = list(records)

    def append(self, record: Record) -> None:
        """Add the next record; `DivergedError` if it has a number that is not finite."""
        _check_finite(record)
        self._records.append(record)

    def replace(self, index: int, record: Record) -> None:
        """Put a record in the place of another; `DivergedError` as for `append`."""
        _check_finite(record)
        self._records[index] = record

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> History: ...
    def __getitem__(self, index: int | slice) -> Record | History:
        if isinstance(index, slice):
            return History(self._records[index])
        return self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self._records == other._records

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"History({len(self)} records{f', last {self[-1]}' if self else ''})"

    def passes_per_second(self) -> float:
        """Return the effective passes per second.

        The first epoch is left out, because its time includes the search for a step size.

        Returns
        -------
        float
            If there is only one epoch, the passes per second of this epoch.
        """
        first, last = self[0], self[-1]
        if len(self) == 1:
            first = Record(epoch=0, effective_passes=0.0, seconds=0.0, step_size=0.0)
        return (last.effective_passes - first.effective_passes) / max(last.seconds - first.seconds, 1e-9)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the records as a JSON array of objects, one per line.

        Parameters
        ----------
        path : path-like, optional
            Also write the text to this file, atomically.

        Returns
        -------
        str
        """
        lines = ",\n".join(json.dumps(asdict(record), allow_nan=False) for record in self)
        text = f"[\n{lines}\n]\n" if self else "[]\n"
        if path is not None:
            with replacing(path) as beside:
                beside.write_text(text, encoding="utf-8")
        return text

    def to_frame(self) -> Any:
        """Return the records as a table.

        Returns
        -------
        pandas.DataFrame
            A row per record, a column per field; a value that was not evaluated is NaN.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("History.to_frame needs pandas: pip install pandas") from error
        frame = pd.DataFrame([asdict(record) for record in self], columns=[field.name for field in fields(Record)])
        return frame.astype(dict.fromkeys(_OPTIONAL, float))

    @classmethod
    def from_json(cls, source: str | bytes | os.PathLike[str]) -> History:
        """Return the history that `to_json` wrote.

        Parameters
        ----------
        source : str, bytes or path-like
            The text, or the path of a file that holds it, as a `pathlib.Path`.

        Raises
        ------
        DataError
            If the text is not a history; the message names the file.
        OSError
            If the file cannot be read.
        """
        file = os.fsdecode(source) if isinstance(source, os.PathLike) else None
        text = Path(source).read_bytes() if isinstance(source, os.PathLike) else source
        try:
            return cls(_checked(Record(**record)) for record in json.loads(text))
        except (TypeError, ValueError, RecursionError) as error:
            raise DataError(f"not a history of dsgd: {error}", file=file) from error


def _check_finite(record: Record) -> None:
    """Raise `DivergedError` if a number of the record is not finite."""
    for name in _NUMBERS:
        value = getattr(record, name)
        if value is not None and not math.isfinite(value):
            raise DivergedError(
                f"{name} is {value} after epoch {record.epoch}, as numbers leave the range of their type: scale "
                "the data, or take another alpha"
            )


def _checked(record: Record) -> Record:
    """Return the record; `DataError` for a field that `to_json` would not have written."""
    check_flag("exact", record.exact)
    lists: dict[str, Any] = {}
    for name in _COUNTS:
        if (counts := getattr(record, name)) is not None:
            lists[name] = tuple(check_integer(name, count, 0) for count in counts)
    if record.waiting is not None:
        lists["waiting"] = tuple(check_real("waiting", seconds, 0) for seconds in record.waiting)
    if record.counts is not None:
        lists["counts"] = {
            name: tuple(
                None if each is None else check_real(f"counts {name}", each, -sys.float_info.max) for each in values
            )
            for name, values in record.counts.items()
        }
    for name, value in asdict(record).items():
        if name in (*_COUNTS, "waiting", "counts", "exact"):
            continue
        absent = value is None and name in _OPTIONAL
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not absent and not (number and abs(value) <= sys.float_info.max):
            raise DataError(f"{name} is {shown(value)}, not a finite number")
    return replace(record, **lists)
