"""What happened in a run: who computed, waited and sent what, when; kept in one file, checked, drawn."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from dsgd._common.checks import check_integer, check_real
from dsgd._common.checksum import checked, with_checksum
from dsgd._common.files import as_path, replacing
from dsgd.errors import ClusterError, ConfigError, DataError

__all__ = ["Kind", "Trace"]


class Kind(IntEnum):
    """What a row of a trace says; `begin` and `end` are virtual seconds.

    COMPUTE: `node` computed; a entries, b elements. WAIT: it waited for an answer; a the place of the command's name in
    `Trace.COMMANDS`. TRANSFER: a frame of a bytes from `node` to `peer`. PULL: a pull at clock a was answered, the
    slowest worker having finished clock b. CLOCK: clock a was finished, the slowest having finished b. DOWN: a node was
    down, or stood still.
    """

    COMPUTE = 0
    WAIT = 1
    TRANSFER = 2
    PULL = 3
    CLOCK = 4
    DOWN = 5


_MAX_NODES = 10**6
_COLUMNS: dict[str, Any] = {
    "kind": np.uint8,
    "node": np.int32,
    "peer": np.int32,
    "begin": np.float64,
    "end": np.float64,
    "a": np.int64,
    "b": np.int64,
}


class Trace:
    """The rows of a run, in the order of their events.

    Parameters
    ----------
    about : mapping
        What JSON can hold: number of nodes, staleness, seed and so on.

    Attributes
    ----------
    answers : dict of list of (str, array)
        What the commands of each node were answered, where that was recorded (see `dsgd.cluster.runtime.replay`).
    orders : dict of array of int
        The nodes whose operations (pushes, clocks, leaves and so on) each shard of a server of processes performed, in
        their order, where answers were recorded. Those of one node are in the order of its program.
    """

    COMMANDS = ("Pull", "Wait", "Clock", "AllReduce", "Receive")

    def __init__(self, about: Mapping[str, Any]) -> None:
        self.about = dict(about)
        self.answers: dict[int, list[tuple[str, Any]]] = {}
        self.orders: dict[int, NDArray[np.int64]] = {}
        self._cells = array("d")

    def compute(self, node: int, begin: float, end: float, entries: int, elements: int) -> None:
        """Add a kernel."""
        self._cells.extend((Kind.COMPUTE, node, node, begin, end, entries, elements))

    def wait(self, node: int, begin: float, end: float, command: str) -> None:
        """Add a wait."""
        self._cells.extend((Kind.WAIT, node, node, begin, end, self.COMMANDS.index(command), 0))

    def transfer(self, source: int, target: int, begin: float, end: float, size: int) -> None:
        """Add a frame."""
        self._cells.extend((Kind.TRANSFER, source, target, begin, end, size, 0))

    def pull(self, node: int, begin: float, end: float, clock: int, slowest: int) -> None:
        """Add an answered pull."""
        self._cells.extend((Kind.PULL, node, node, begin, end, clock, slowest))

    def clock(self, node: int, now: float, own: int, slowest: int) -> None:
        """Add a finished clock."""
        self._cells.extend((Kind.CLOCK, node, node, now, now, own, slowest))

    def down(self, node: int, begin: float, end: float) -> None:
        """Add a time in which a node did nothing."""
        self._cells.extend((Kind.DOWN, node, node, begin, end, 0, 0))

    def __len__(self) -> int:
        return len(self._cells) // len(_COLUMNS)

    def drain(self) -> Trace:
        """Return what there is as a trace of its own, and begin anew."""
        taken = Trace(self.about)
        taken.answers.update(self.answers)
        self.answers.clear()
        taken._cells, self._cells = self._cells, taken._cells
        return taken

    def extend(self, later: Trace) -> None:
        """Add what happened later, or elsewhere."""
        for node, answers in later.answers.items():
            self.answers.setdefault(node, []).extend(answers)
        self._cells.extend(later._cells)

    def sort(self) -> None:
        """Bring the rows into the order of their ends."""
        rows = np.frombuffer(self._cells, np.float64).reshape(-1, len(_COLUMNS))
        order = np.argsort(rows[:, list(_COLUMNS).index("end")], kind="stable")
        self._cells = array("d", rows[order].tobytes())

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the rows as one array a column: kind, node, peer, begin, end, a, b (see `Kind`)."""
        cells = np.frombuffer(self._cells, np.float64).reshape(-1, len(_COLUMNS))
        return {name: cells[:, index].astype(dtype) for index, (name, dtype) in enumerate(_COLUMNS.items())}

    def of(self, kind: Kind) -> dict[str, NDArray[Any]]:
        """Return the rows of one kind."""
        columns = self.columns()
        chosen = columns["kind"] == kind
        return {name: column[chosen] for name, column in columns.items()}

    def check(self, staleness: float | None = None) -> None:
        """Check the rows against the rules of the parameter server.

        Parameters
        ----------
        staleness : float, optional
            By default that of the run.

        Raises
        ------
        ClusterError
            If a pull at clock c was answered while c - slowest > staleness, finished clocks differ by more than
            staleness + 1, or a node computes two things at once. It names the row.
        """
        bound = self.about["staleness"] if staleness is None else staleness
        bound = np.inf if bound is None else bound
        pulls, clocks, computed = self.of(Kind.PULL), self.of(Kind.CLOCK), self.of(Kind.COMPUTE)
        for name, rows, limit in (("pull", pulls, bound), ("clock", clocks, bound + 1)):
            late = np.flatnonzero(rows["a"] - rows["b"] > limit)
            if len(late):
                node, at, own, slowest = (rows[column][late[0]] for column in ("node", "end", "a", "b"))
                raise ClusterError(
                    f"{name} of worker {node} at clock {own}, answered at {at:.6g} s, while the slowest had finished "
                    f"{slowest}: more than {limit} behind"
                )
        for node in np.unique(computed["node"]):
            mine = computed["node"] == node
            if (computed["begin"][mine][1:] < computed["end"][mine][:-1] - 1e-12).any():
                raise ClusterError(f"worker {node} computes two things at once")

    def to_bytes(self) -> bytes:
        """Return the trace as the content of a file: the same run gives the same bytes."""
        tensors = self.columns()
        names: list[Any] = []
        for node, answers in sorted(self.answers.items()):
            for index, (command, answer) in enumerate(answers):
                names.append([node, command])
                tensors[f"answer/{node}/{index}"] = answer
        tensors |= {f"order/{shard}": order for shard, order in self.orders.items()}
        about = json.dumps({**self.about, "answers": names, "shards": len(self.orders)}, sort_keys=True)
        metadata = {"dsgd-trace": about}
        return safetensors.numpy.save(with_checksum(tensors, metadata), metadata)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trace to a file (beside it, then renamed)."""
        with replacing(path) as beside:
            beside.write_bytes(self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trace:
        """Read a file that `save` wrote; `DataError` for another or a damaged one."""
        try:
            trace = cls.from_bytes(as_path(path).read_bytes())
            _check_about(trace.about)
        except KeyError as error:
            raise DataError(f"not a trace of dsgd: it lacks {error}", file=os.fsdecode(path)) from error
        except (ConfigError, DataError) as error:
            raise DataError(str(error), file=os.fsdecode(path)) from error
        return trace

    @classmethod
    def from_bytes(cls, data: bytes) -> Trace:
        """Read what `to_bytes` returned; `DataError` for anything else, or where it is damaged."""
        try:
            tensors = safetensors.numpy.load(data)
            metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
            tensors = checked(tensors, metadata)
            about = json.loads(metadata["dsgd-trace"])
            columns = [np.asarray(tensors[name], np.float64) for name in _COLUMNS]
            names, shards = about.pop("answers"), about.pop("shards")
            trace = cls(about)
            trace.orders.update((shard, tensors[f"order/{shard}"]) for shard in range(shards))
            rows = np.column_stack(columns)
            _check_rows(rows)
            trace._cells = array("d", rows.tobytes())
            counts: dict[int, int] = {}
            for node, command in names:
                index = counts.setdefault(node, 0)
                trace.answers.setdefault(node, []).append((command, tensors[f"answer/{node}/{index}"]))
                counts[node] = index + 1
        except (
            AttributeError,
            KeyError,
            OverflowError,
            RecursionError,
            TypeError,
            ValueError,
            safetensors.SafetensorError,
        ) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise DataError(f"not a trace of dsgd: {reason}") from error
        return trace


def _check_rows(rows: NDArray[np.float64]) -> None:
    """Refuse rows that no run writes."""
    cells = dict(zip(_COLUMNS, rows.T, strict=True))
    integers = (cells[name] for name, dtype in _COLUMNS.items() if np.dtype(dtype).kind in "iu")
    known = np.isin(cells["kind"], [int(kind) for kind in Kind])
    waits = cells["kind"] == Kind.WAIT
    named = (cells["a"] >= 0) & (cells["a"] < len(Trace.COMMANDS))
    right = np.isfinite(rows).all() and known.all() and named[waits].all()
    if not (right and all((column % 1 == 0).all() and (np.abs(column) < 2.0**63).all() for column in integers)):
        raise DataError("it has rows that are none")


def _check_about(about: dict[str, Any]) -> None:
    """Refuse a file that does not say what `check` and a drawing ask for."""
    for name in ("nodes", "servers"):
        check_integer(name, about[name], 0, _MAX_NODES)
    staleness = about["staleness"]
    if staleness is not None:
        check_real("staleness", staleness, 0)
