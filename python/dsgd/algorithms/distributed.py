"""The interface of distributed algorithms: worker programs, tables of the parameter server, mailboxes."""

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


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the parameter server, of the length of the parameter vector.

    Parameters
    ----------
    name : str
        The table ``"weights"`` starts with the initial weights and ends with the result. All other
        tables start with zeros.
    rule : {"add", "add_scaled", "blend", "replace_mean", "average", "adagrad"}
        How the server applies a push; docs/server.md defines the rules.
    """

    name: str = "weights"
    rule: str = "add"


@dataclass(frozen=True, kw_only=True)
class Mailbox:
    """Where letters to a worker, sent by its peers, wait until the worker reads them.

    Parameters
    ----------
    slots : int, optional
        A letter from rank r goes into slot r mod `slots`. A slot has one place for each letter name.
        None: every letter is kept.
    on_full : {"overwrite", "sum"}, default="overwrite"
        What happens if the place of a letter holds an unread one. ``"overwrite"``: the new letter
        replaces it. ``"sum"``: the new letter is added to it. With ``"sum"`` the sender also adds up
        letters to a peer while earlier ones are still on the link to that peer. A slow link then
        carries fewer letters, and nothing is dropped. Between processes of one machine a mailbox with
        `slots` and ``"overwrite"`` lies in shared memory, and its letters are no bytes sent.
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
        """Most clocks that a worker may be ahead of the slowest one: 0 is BSP, infinity is asynchronous."""
        return 0.0

    @abstractmethod
    def worker(self, task: WorkerTask) -> Program:
        """Run one worker that trains: a generator that yields commands and receives their answers."""

    @property
    def has_coordinator(self) -> bool:
        """Whether rank 0 of the group is a coordinator, which has no data."""
        return isinstance(self, CoordinatedAlgorithm)

    @abstractmethod
    def clocks(self, max_epochs: int, n_rows: int) -> int:
        """Return the number of clocks in a run of `max_epochs`; a worker has `n_rows` rows on average."""

    def step_trial(self, n_workers: int) -> Algorithm | None:  # noqa: ARG002
        """Return the algorithm that the step search runs on one machine; None: `natural_step` is used instead."""
        return None

    def natural_step(self, problem: Problem) -> float:
        """Return the default step size where no step search takes place, 1 / (c max ||x||^2)."""
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
        """Run rank 0: a generator that yields commands and receives their answers."""


@dataclass(frozen=True, kw_only=True)
class StaleSynchronousAlgorithm(DistributedAlgorithm):
    """A distributed algorithm whose workers push changes of the weights, and may be `staleness` clocks apart."""

    staleness: float = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "staleness", _check_staleness(self.staleness))

    @property
    def clock_bound(self) -> float:
        """Most clocks that a worker may be ahead of the slowest one."""
        return self.staleness

    @property
    def tables(self) -> tuple[Table, ...]:
        """The weights. The server adds each worker's change, divided by the number of workers.

        In BSP (`staleness` 0) all workers start a clock from the same weights w. They push their end
        weights, and the server takes the difference. With one worker the result is then the worker's
        end weights bit for bit; w + (end - w) can differ from them by rounding.
        """
        return (Table(rule="blend" if self.staleness == 0 else "add_scaled"),)

    def push(self, task: WorkerTask, start: NDArray[Any], end: NDArray[Any]) -> Push:
        """Return the push of a clock: the change of the weights, or in BSP the end weights.

        Only the weights that changed are pushed if that message is shorter.

        Parameters
        ----------
        task : WorkerTask
        start, end : ndarray of shape (n_parameters,)
            The weights that the worker pulled, and its weights after the steps of the clock.
        """
        keys = task.differing(start, end)
        if keys is not None:
            start, end = start[keys], end[keys]
        return Push(end if self.staleness == 0 else end - start, keys)


def _check_staleness(staleness: Any) -> float:
    """Return `staleness` as a float; raise `ConfigError` unless it is an integer of at least 0 or infinity."""
    number = isinstance(staleness, int | float) and not isinstance(staleness, bool)
    if not number or not (staleness == math.inf or (staleness >= 0 and staleness == int(staleness))):
        raise ConfigError(f"staleness must be an integer of at least 0, or math.inf, not {staleness!r}")
    return float(staleness)


class BatchPerClock:
    """Shared by algorithms in which a clock is one step on `batch_size` rows of every worker."""

    batch_size: int

    def clocks(self, max_epochs: int, n_rows: int) -> int:
        """Return the number of clocks in a run of `max_epochs`; a worker has `n_rows` rows on average."""
        return -(-max_epochs * n_rows // self.batch_size)

    def step_trial(self, n_workers: int) -> Minibatch:
        """Return mini-batch SGD for the step search, with as many rows a step as all workers use together."""
        return Minibatch(batch_size=self.batch_size * n_workers)
