"""What the workers of a run have to do, and what a run has left: the same for every kind of cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.algorithms.distributed import CoordinatedAlgorithm, DistributedAlgorithm
from dsgd.cluster.program.commands import EVERYONE, Program
from dsgd.cluster.program.kernels import Kernels
from dsgd.cluster.program.partition import part
from dsgd.cluster.program.task import WorkerTask
from dsgd.cluster.runtime.trace import Trace
from dsgd.problems.problem import Problem
from dsgd.schedules import Schedule

__all__ = ["ClusterRecord", "OnClock", "Outcome", "Plan", "RunSpec", "table_specs"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What every node of a run is told, whatever its data.

    Attributes
    ----------
    algorithm : DistributedAlgorithm
    max_clocks : int
    passes_per_clock : float
    schedule : Schedule
    step_size : float
    seed : int
    n_total : int
        Samples of all workers.
    """

    algorithm: DistributedAlgorithm
    max_clocks: int
    passes_per_clock: float
    schedule: Schedule
    step_size: float
    seed: int
    n_total: int

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
        """Return the task of a node's life; parameters as of `WorkerTask`."""
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
        """Return the program of a node: the coordinator's on rank 0, where the algorithm has one."""
        if isinstance(self.algorithm, CoordinatedAlgorithm) and task.rank == 0:
            return self.algorithm.coordinator(task)
        return self.algorithm.worker(task)


@dataclass(frozen=True, kw_only=True)
class RunSpec(Plan):
    """What the workers of a run have to do, and on which rows.

    Attributes
    ----------
    problem : Problem
        On all rows.
    rows : list of ndarray
        Those of each node, by rank. A coordinator has one, which it does not use.
    inverse_frequency : ndarray of shape (n_features,) or None
        As of `Kernels`.
    n_threads : int
        For the arithmetic of a node where nodes take turns; of all nodes where they work at the same time.
    start : ndarray of shape (n_parameters,)
        Weights to start from.
    partition : str
        How the rows were dealt, as a checkpoint names it.
    """

    problem: Problem
    rows: list[NDArray[np.intp]]
    inverse_frequency: NDArray[Any] | None
    n_threads: int
    start: NDArray[Any]
    partition: str = "equal"

    @property
    def n_nodes(self) -> int:
        """Nodes with a program."""
        return len(self.rows)

    def part(self, node: int) -> Problem:
        """Return the problem on the rows of a node: copied, but for a node that has all of them."""
        rows = self.rows[node]
        return self.problem if len(rows) == self.problem.matrix.n_rows else part(self.problem, rows)

    def kernels(self, node: int) -> Kernels:
        """Return the kernels of a node of this process."""
        return Kernels(self.part(node), self.inverse_frequency, self.n_threads)

    def table_specs(self) -> list[_core.TableSpec]:
        """Return the tables of the parameter server."""
        return table_specs(self.algorithm, len(self.start), self.start.dtype)


def table_specs(algorithm: DistributedAlgorithm, size: int, dtype: np.dtype[Any]) -> list[_core.TableSpec]:
    """Return the tables of an algorithm whose parameter vector has this size and dtype."""
    return [_core.TableSpec(table.name, size, dtype=str(dtype), rule=table.rule) for table in algorithm.tables]


@dataclass(frozen=True, kw_only=True)
class ClusterRecord:
    """The state of a cluster at one moment.

    Attributes
    ----------
    clock : int
        Finished by the slowest worker.
    virtual_seconds : float or None
        None where time is real.
    moment : float or None
        When it was like this, by `time.perf_counter`; None where the cluster stands still meanwhile.
    clocks : tuple of int
        Finished by each node.
    waiting : tuple of float
        Seconds that each node has spent waiting for answers.
    staleness : tuple of int
        Element d: pulls that were answered while the slowest worker was d clocks behind the one that pulled.
    bytes_sent, bytes_received : tuple of int
        Of each node.
    samples : int
        Gradients of single samples evaluated by all.
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


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run has left.

    Attributes
    ----------
    weights : ndarray
        The table of that name.
    tables : dict of str to ndarray
        All of them.
    record : ClusterRecord
        At the end.
    reports : list of tuple (rank, seconds, bytes)
    trace : Trace or None
    """

    weights: NDArray[Any]
    tables: dict[str, NDArray[Any]]
    record: ClusterRecord
    reports: list[tuple[int, float, bytes]]
    trace: Trace | None


OnClock = Callable[[ClusterRecord, NDArray[Any]], bool]
"""Sees the state of a cluster and the weights of its server; True ends the run."""
