"""What every distributed algorithm is: a worker program, and the tables that it shares."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dsgd._common.checks import check_choice, check_integer
from dsgd.algorithms.base import Algorithm
from dsgd.algorithms.minibatch import Minibatch
from dsgd.cluster.program.commands import Program, Push
from dsgd.cluster.program.task import WorkerTask
from dsgd.errors import ConfigError
from dsgd.problems.problem import Problem
from dsgd.problems.task import EpochEnd, LocalTask

__all__ = [
    "BatchPerClock",
    "CoordinatedAlgorithm",
    "DistributedAlgorithm",
    "Mailbox",
    "Program",
    "StaleSynchronousAlgorithm",
    "Table",
]


# Rows of a step of all workers, from which on a run of 40 passes makes too few steps.
_MOST_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the parameter server, of the length of the parameter vector.

    Parameters
    ----------
    name : str
        The one that is called ``"weights"`` begins with the weights to start from and ends with the result; others
        begin with zeros.
    rule : {"add", "add_scaled", "blend", "replace_mean", "average", "adagrad"}
        What a push does (docs/server.md).
    """

    name: str = "weights"
    rule: str = "add"


@dataclass(frozen=True, kw_only=True)
class Mailbox:
    """How the letters of a worker wait to be read.

    Parameters
    ----------
    slots : int, optional
        A letter of rank r goes into slot r mod `slots`, where every name has a place of its own. None: as many as there
        are letters.
    on_full : {"overwrite", "sum"}, default="overwrite"
        What becomes of a letter whose place holds an unread one. ``"overwrite"``: it takes its place. ``"sum"``: it is
        added to it; the sender, too, adds up what cannot go yet because earlier letters to that peer are still on its
        link, so that a slow link carries fewer letters and nothing is dropped.
    """

    slots: int | None = None
    on_full: str = "overwrite"

    def __post_init__(self) -> None:
        if self.slots is not None:
            check_integer("slots", self.slots, 1, 2**31 - 1)
        check_choice("on_full", self.on_full, ("overwrite", "sum"))


@dataclass(frozen=True, kw_only=True)
class DistributedAlgorithm(Algorithm):
    """The configuration of a distributed algorithm."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables of the parameter server."""
        return (Table(),)

    @property
    def mailbox(self) -> Mailbox:
        """The mailbox of every worker in every group."""
        return Mailbox()

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
    def clocks(self, max_epochs: int, n_samples: int, n_workers: int) -> int:
        """Return how many clocks a run of `max_epochs` has, where the workers share `n_samples` rows evenly."""

    def step_trial(self, n_samples: int, n_workers: int) -> Algorithm | None:  # noqa: ARG002
        """Return the algorithm of one machine that a step size is tried with; None: `natural_step`."""
        return None

    def natural_step(self, problem: Problem) -> float:
        """Return the step size where nobody chose one and none is tried."""
        return 1 / (problem.loss.curvature * problem.scale.largest)

    def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:  # noqa: ARG002
        """Refuse to run without a cluster."""
        raise ConfigError(
            f"algo {self.name!r} is distributed: give dsgd.fit workers=4, or a cluster such as "
            "dsgd.Simulation(workers=4)"
        )


@dataclass(frozen=True, kw_only=True)
class CoordinatedAlgorithm(DistributedAlgorithm):
    """A distributed algorithm whose rank 0 has a program of its own."""

    @abstractmethod
    def coordinator(self, task: WorkerTask) -> Program:
        """Rank 0."""


@dataclass(frozen=True, kw_only=True)
class StaleSynchronousAlgorithm(DistributedAlgorithm):
    """A distributed algorithm whose workers push how far they have come, and may be `staleness` clocks apart."""

    staleness: float = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "staleness", _check_staleness(self.staleness))

    @property
    def clock_bound(self) -> float:
        """Clocks that a worker may be ahead of the slowest."""
        return self.staleness

    @property
    def tables(self) -> tuple[Table, ...]:
        """The weights, to which a worker's way is added, divided by the number of workers.

        In BSP all set out from the same weights, and the server can take the difference itself: with one worker the
        weights are then where that one has come to, to the bit, which w + (end - w) is not.
        """
        return (Table(rule="blend" if self.staleness == 0 else "add_scaled"),)

    def push(self, task: WorkerTask, start: NDArray[Any], end: NDArray[Any]) -> Push:
        """Return the push of the way from the weights that were pulled; only of those that moved where that is shorter.

        Parameters
        ----------
        task : WorkerTask
        start, end : ndarray of shape (n_parameters,)
        """
        keys = task.differing(start, end)
        if keys is not None:
            start, end = start[keys], end[keys]
        return Push(end if self.staleness == 0 else end - start, keys)


def _check_staleness(staleness: Any) -> float:
    """Return the bound as a float; refuse what is neither an integer of at least 0 nor infinity."""
    number = isinstance(staleness, int | float) and not isinstance(staleness, bool)
    if not number or not (staleness == math.inf or (staleness >= 0 and staleness == int(staleness))):
        raise ConfigError(f"staleness must be an integer of at least 0, or math.inf, not {staleness!r}")
    return float(staleness)


class BatchPerClock:
    """What algorithms share whose clock is a step on `batch_size` rows of every worker.

    Notes
    -----
    A run of as many passes makes fewer steps where a step takes more rows. Up to about sqrt(n) rows of n that costs
    nothing (Dekel, Gilad-Bachrach, Shamir, Xiao 2012, "Optimal distributed online prediction using mini-batches").
    docs/design/step-sizes.md measures how much it costs from which number on.
    """

    batch_size: int | None

    def rows_of_batch(self, n_samples: int, n_workers: int) -> int:
        """Return the rows of a worker's step: by default those of all are 2 sqrt(n_samples), and at most 256."""
        return self.batch_size or max(1, round(min(2 * math.sqrt(n_samples), _MOST_ROWS) / n_workers))

    def clocks(self, max_epochs: int, n_samples: int, n_workers: int) -> int:
        """Return how many clocks a run of `max_epochs` has, where the workers share `n_samples` rows evenly."""
        return -(-max_epochs * -(-n_samples // n_workers) // self.rows_of_batch(n_samples, n_workers))

    def step_trial(self, n_samples: int, n_workers: int) -> Minibatch:
        """Return the algorithm of one machine that a step size is tried with: the same rows make a step."""
        return Minibatch(batch_size=n_workers * self.rows_of_batch(n_samples, n_workers))
