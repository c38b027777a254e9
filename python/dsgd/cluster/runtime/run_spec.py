"""The specification and the outcome of a run, the same for every kind of cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.algorithms.distributed import CoordinatedAlgorithm, DistributedAlgorithm, Table
from dsgd.cluster.program.commands import EVERYONE, Program
from dsgd.cluster.program.kernels import Kernels
from dsgd.cluster.program.partition import part
from dsgd.cluster.program.task import WorkerTask
from dsgd.cluster.runtime.observed import Observation
from dsgd.cluster.runtime.trace import Trace
from dsgd.errors import ConfigError
from dsgd.problems.problem import Problem
from dsgd.schedules import Schedule

__all__ = ["ClusterRecord", "OnClock", "Outcome", "Plan", "Run", "RunSpec"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The part of a run's specification that is the same for all nodes: all but the data.

    Attributes
    ----------
    algorithm : DistributedAlgorithm
    max_clocks, passes_per_clock, schedule, step_size, seed, n_total
        See `WorkerTask`.
    """

    algorithm: DistributedAlgorithm
    max_clocks: int
    passes_per_clock: float
    schedule: Schedule
    step_size: float
    seed: int
    n_total: int

    @property
    def sparse_tables(self) -> frozenset[str]:
        """Names of the tables of which workers must name keys."""
        return frozenset(table.name for table in self.algorithm.tables if table.sparse)

    def task(
        self,
        kernels: Kernels,
        rank: int,
        *,
        start_clock: int,
        saved: bytes,
        now: Callable[[], float],
        chunk_rows: int,
        groups: Mapping[str, tuple[int, ...]],
    ) -> WorkerTask:
        """Return the task of one life of a node; for the parameters see `WorkerTask`."""
        return WorkerTask(
            kernels=kernels,
            rank=rank,
            workers=range(int(self.algorithm.has_coordinator), len(groups[EVERYONE])),
            max_clocks=self.max_clocks,
            passes_per_clock=self.passes_per_clock,
            schedule=self.schedule,
            step_size=self.step_size,
            seed=self.seed,
            n_total=self.n_total,
            start_clock=start_clock,
            saved=saved,
            now=now,
            chunk_rows=chunk_rows,
            groups=dict(groups),
        )

    def program(self, task: WorkerTask) -> Program:
        """Return the program of a node; on rank 0 the coordinator's, if the algorithm has one."""
        if isinstance(self.algorithm, CoordinatedAlgorithm) and task.rank == 0:
            return self.algorithm.coordinator(task)
        return self.algorithm.worker(task)


@dataclass(frozen=True, kw_only=True)
class RunSpec(Plan):
    """The complete specification of a run: its plan and its data.

    Attributes
    ----------
    problem : Problem
        The problem on all rows.
    rows : list of ndarray
        Those of each node, by rank. A coordinator has one, which it does not use.
    of_whole : mapping of str to ndarray
        As of `Kernels`.
    n_threads : int
        Number of threads for arithmetic. In a simulation, where nodes take turns, each node uses
        all of them; processes that work at the same time share them.
    start : ndarray of shape (n_parameters,)
        Initial weights.
    partition : str
        How the rows were dealt, as a checkpoint names it.
    client_of : ndarray of int64, shape (n_samples,), optional
        The client of every row, where a node holds several.
    """

    problem: Problem
    rows: list[NDArray[np.intp]]
    of_whole: Mapping[str, NDArray[Any]]
    n_threads: int
    start: NDArray[Any]
    partition: str = "equal"
    client_of: NDArray[np.int64] | None = None

    @property
    def n_nodes(self) -> int:
        """Number of nodes that run a program."""
        return len(self.rows)

    def part(self, node: int) -> Problem:
        """Return the problem on the rows of a node, copied unless the node has all rows."""
        rows = self.rows[node]
        return self.problem if len(rows) == self.problem.matrix.n_rows else part(self.problem, rows)

    def kernels(self, node: int) -> Kernels:
        """Return the kernels of a node of this process."""
        return Kernels(self.part(node), self.of_whole, self.n_threads, self.start, self.clients(node))

    def clients(self, node: int) -> NDArray[np.int64] | None:
        """Return the client of every row of a node; None if the node is one client, or a coordinator."""
        return None if self.client_of is None else self.client_of[self.rows[node]]

    def client_sizes(self) -> list[int]:
        """Return the number of rows of every client; a worker is one where workers do not hold several."""
        first = int(self.algorithm.has_coordinator)
        if self.client_of is None:
            return [len(rows) for rows in self.rows[first:]]
        n_clients = self.algorithm.n_clients(self.n_nodes - first)
        return [int(size) for size in np.bincount(self.client_of, minlength=n_clients)]

    def table_specs(self) -> list[_core.TableSpec]:
        """Return the tables of the parameter server."""
        return [
            _core.TableSpec(
                table.name,
                self._rows_of(table),
                dtype=str(self.start.dtype),
                rule=table.rule,
                width=table.width,
                # The rules that have no step size ignore it.
                step_size=1.0 if table.rule != "adagrad" else table.step_size or self.step_size,
            )
            for table in self.algorithm.tables
        ]

    def _rows_of(self, table: Table) -> int:
        """Return the number of rows of a table; `ConfigError` if its width does not divide its size."""
        size = len(self.start) if table.size == "parameters" else table.size
        if size == "gradient":
            size = self.problem.loss.row_steps(self.problem, self.of_whole, self.n_threads).gradient_size
        if size % table.width:
            raise ConfigError(f"table {table.name!r} has {size} values, which width={table.width} does not divide")
        return size // table.width


@dataclass(frozen=True, kw_only=True)
class ClusterRecord:
    """The state of a cluster at one moment.

    Attributes
    ----------
    clock : int
        Number of clocks that the slowest worker has finished.
    virtual_seconds : float or None
        Virtual time of the record; None on real processes.
    moment : float or None
        Real time of the record, in seconds of `time.perf_counter`. None in a simulation, whose
        virtual clock stands still while the record is made.
    clocks : tuple of int
        Number of clocks that each node has finished.
    waiting : tuple of float
        Seconds that each node has spent waiting for answers.
    staleness : tuple of int
        Element d is the number of pulls that were answered while the slowest worker was d clocks
        behind the worker that pulled.
    bytes_sent, bytes_received : tuple of int
        Bytes that each node has sent and received.
    samples : int
        Gradients of single samples that all nodes have evaluated.
    observed : dict of int to Observation
        By rank: what the node observed last before it finished the clock of the record
        (command `Observe`). Nodes that are lost, or have observed nothing, are not in it.
    """

    clock: int
    virtual_seconds: float | None
    moment: float | None = None
    clocks: tuple[int, ...]
    waiting: tuple[float, ...]
    staleness: tuple[int, ...]
    bytes_sent: tuple[int, ...]
    bytes_received: tuple[int, ...]
    samples: int
    observed: dict[int, Observation] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a run.

    Attributes
    ----------
    weights : ndarray
        The weights that `DistributedAlgorithm.observes` names. Those of the server are the table
        ``"weights"``, or the initial weights if `tables` does not have it.
    tables : dict of str to ndarray
        The tables of the parameter server by name. Empty if processes ended before all shards had
        sent their tables.
    record : ClusterRecord
        State of the cluster at the end.
    reports : list of tuple (rank, seconds, bytes)
        For every `Report`: the rank of its node, its time, and its numbers in JSON.
    trace : Trace or None
    taken_back : tuple of int
        The clocks that lost servers went back to, where reports of the time after them may be lost.
    """

    weights: NDArray[Any]
    tables: dict[str, NDArray[Any]]
    record: ClusterRecord
    reports: list[tuple[int, float, bytes]]
    trace: Trace | None
    taken_back: tuple[int, ...] = ()


class Run(Protocol):
    """A run of worker programs, from its start to its end."""

    def run(self) -> Outcome:
        """Run the workers until all of them have left, or the observer ends the run."""

    def outcome(self) -> Outcome:
        """Return the outcome as it is now."""


OnClock = Callable[[ClusterRecord, NDArray[Any]], bool]
"""Called with the state of a cluster and the weights of its model. True ends the run."""
