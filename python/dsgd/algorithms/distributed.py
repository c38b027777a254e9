"""What every distributed algorithm is: a worker program, and the tables that it shares."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dsgd.algorithms.base import Algorithm, EpochEnd, Task
from dsgd.cluster.commands import Command
from dsgd.errors import ConfigError
from dsgd.problem import Problem

if TYPE_CHECKING:
    from dsgd.cluster.worker_task import WorkerTask

__all__ = ["CoordinatedAlgorithm", "DistributedAlgorithm", "Program", "Table"]

Program = Generator[Command, Any, None]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the parameter server, of the length of the parameter vector.

    Parameters
    ----------
    name : str
        The one that is called ``"weights"`` begins with the weights to start from and ends with the result; others
        begin with zeros.
    rule : {"add", "add_scaled", "replace_mean", "average", "adagrad"}
        What a push does (docs/server.md).
    """

    name: str = "weights"
    rule: str = "add"


@dataclass(frozen=True, kw_only=True)
class DistributedAlgorithm(Algorithm):
    """The configuration of a distributed algorithm.

    Attributes
    ----------
    tables : tuple of Table
    """

    tables: ClassVar[tuple[Table, ...]] = (Table(),)

    @property
    def clock_bound(self) -> float:
        """Clocks that a worker may be ahead of the slowest: 0 is BSP, infinity is asynchronous."""
        return 0.0

    @abstractmethod
    def worker(self, task: WorkerTask) -> Program:
        """One that trains."""

    @property
    def has_coordinator(self) -> bool:
        """Whether rank 0 of the group is a coordinator, which has no data."""
        return isinstance(self, CoordinatedAlgorithm)

    @abstractmethod
    def clocks(self, max_epochs: int, n_rows: int) -> int:
        """Return how many clocks a run of `max_epochs` has, where a worker has at most `n_rows`."""

    def step_trial(self, n_workers: int) -> Algorithm | None:  # noqa: ARG002
        """Return the algorithm of one machine that a step size is tried with; None: `natural_step`."""
        return None

    def natural_step(self, problem: Problem) -> float:
        """Return the step size where nobody chose one and none is tried."""
        return 1 / (problem.loss.curvature * problem.scale.largest)

    def epochs(self, task: Task) -> Iterator[EpochEnd]:  # noqa: ARG002
        """Refuse to run without a cluster."""
        raise ConfigError(
            f"algo {self.name!r} is distributed: give dsgd.fit workers=4, or a cluster such as dsgd.Simulation(nodes=4)"
        )


@dataclass(frozen=True, kw_only=True)
class CoordinatedAlgorithm(DistributedAlgorithm):
    """A distributed algorithm whose rank 0 has a program of its own."""

    @abstractmethod
    def coordinator(self, task: WorkerTask) -> Program:
        """Rank 0."""


def check_staleness(staleness: Any) -> float:
    """Return the bound as a float; refuse what is neither an integer of at least 0 nor infinity."""
    number = isinstance(staleness, int | float) and not isinstance(staleness, bool)
    if not number or not (staleness == math.inf or (staleness >= 0 and staleness == int(staleness))):
        raise ConfigError(f"staleness must be an integer of at least 0, or math.inf, not {staleness!r}")
    return float(staleness)
