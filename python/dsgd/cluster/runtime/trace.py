"""Traces: when each node of a run computed, waited and sent, to be saved, checked and drawn."""

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
    """The kind of a row of a trace, and the meaning of its columns.

    `begin` and `end` are seconds since the run began, virtual seconds in a simulation.

    COMPUTE: `node` ran a kernel on `a` entries and `b` elements (see `Work`).
    WAIT: `node` waited for an answer; `a` is the index of its command in `Trace.COMMANDS`.
    TRANSFER: a frame of `a` bytes went from `node` to `peer`.
    PULL: a pull of `node` at clock `a` was answered; the slowest worker had finished clock `b`.
    CLOCK: `node` finished clock `a`; the slowest worker had finished clock `b`.
    DOWN: `node` was down, or stood still.
    """

    COMPUTE = 0
    WAIT = 1
    TRANSFER = 2
    PULL = 3
    CLOCK = 4
    DOWN = 5


# Largest number of nodes, and of servers, that a trace file may state.
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
    """The events of a run, one row for each, in their order.

    Parameters
    ----------
    about : mapping
        Facts of the run that JSON can hold: number of nodes, staleness bound, seed and so on.

    Attributes
    ----------
    answers : dict of int to list of (str, array)
        By node: its commands with their answers, if they were recorded
        (see `dsgd.cluster.runtime.replay`).
    orders : dict of int to array of int
        By shard: the ranks of the nodes whose operations (pushes, clocks, leaves and so on) the
        shard performed, in the order in which it performed them. The operations of one node are in
        the order of its program. Only of real processes, and only if answers were recorded.
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
        """Add a time in which a node was down, or stood still."""
        self._cells.extend((Kind.DOWN, node, node, begin, end, 0, 0))

    def __len__(self) -> int:
        return len(self._cells) // len(_COLUMNS)

    def drain(self) -> Trace:
        """Move the rows and answers so far into a new trace, and return it."""
        taken = Trace(self.about)
        taken.answers.update(self.answers)
        self.answers.clear()
        taken._cells, self._cells = self._cells, taken._cells
        return taken

    def extend(self, later: Trace, shift: float = 0.0) -> None:
        """Append the rows and answers of another trace, of a later time or of another node.

        Parameters
        ----------
        later : Trace
        shift : float
            Seconds from the zero of the times of this trace to that of the other.
        """
        for node, answers in later.answers.items():
            self.answers.setdefault(node, []).extend(answers)
        rows = np.array(later._cells).reshape(-1, len(_COLUMNS))
        names = list(_COLUMNS)
        rows[:, [names.index("begin"), names.index("end")]] += shift
        self._cells.extend(array("d", rows.tobytes()))

    def sort(self) -> None:
        """Bring the rows into the order of their ends."""
        rows = np.frombuffer(self._cells, np.float64).reshape(-1, len(_COLUMNS))
        order = np.argsort(rows[:, list(_COLUMNS).index("end")], kind="stable")
        self._cells = array("d", rows[order].tobytes())

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return one array for each column: kind, node, peer, begin, end, a, b (see `Kind`)."""
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
            Bound to check; by default the bound of the run.

        Raises
        ------
        ClusterError
            If a pull at clock c was answered while c - slowest > staleness, if finished clocks
            differ by more than staleness + 1, or if a node computed two things at once. The message
            names the first such worker.
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
        """Return the content of a trace file; the same run in virtual time gives the same bytes."""
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
        """Write the trace to a file: under another name beside `path`, which is then renamed."""
        with replacing(path) as beside:
            beside.write_bytes(self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trace:
        """Read a file that `save` wrote; `DataError` for any other file, or a damaged one."""
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
        """Return the trace that `to_bytes` encoded; `DataError` for other or damaged bytes."""
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
        raise DataError("it has rows that no run writes")


def _check_about(about: dict[str, Any]) -> None:
    """Refuse facts of a run from which `Trace.check` or `draw_gantt` could not work."""
    for name in ("nodes", "servers"):
        check_integer(name, about[name], 0, _MAX_NODES)
    staleness = about["staleness"]
    if staleness is not None:
        check_real("staleness", staleness, 0)
