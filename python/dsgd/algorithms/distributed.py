"""The interface of distributed algorithms: worker programs, tables of the parameter server, mailboxes."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from numpy.typing import NDArray

from dsgd._common.checks import check_choice, check_flag, check_integer, check_real
from dsgd.algorithms.base import Algorithm
from dsgd.algorithms.minibatch import Minibatch
from dsgd.cluster.program.commands import Program, Push
from dsgd.cluster.program.task import WorkerTask
from dsgd.errors import ConfigError
from dsgd.models.base import Loss
from dsgd.privacy.config import Plan
from dsgd.problems.problem import Problem
from dsgd.problems.task import EpochEnd, LocalTask

__all__ = [
    "BatchPerClock",
    "CoordinatedAlgorithm",
    "DistributedAlgorithm",
    "Mailbox",
    "Observes",
    "Program",
    "StaleSynchronousAlgorithm",
    "Table",
]

Observes = Literal["server", "first", "mean"]
"""Whose weights are the model of a run; see `DistributedAlgorithm.observes`."""


# Rows of a step of all workers, from which on a run of 40 passes makes too few steps.
_MOST_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the parameter server.

    Parameters
    ----------
    name : str
        The table ``"weights"`` starts with the initial weights and ends with the result. All other
        tables start with zeros.
    rule : {"add", "add_scaled", "blend", "replace_mean", "average", "adagrad"}
        How the server applies a push; docs/server.md defines the rules.
    size : int or {"parameters", "gradient"}
        Number of values. ``"parameters"``: that of the parameter vector, which the table
        ``"weights"`` always has. ``"gradient"``: `WorkerTask.gradient_size`.
    width : int
        Number of values that one key stands for; it divides the size. Keys are then the numbers of
        rows of so many values.
    step_size : float, optional
        Step size of the rule ``"adagrad"``; other rules have none. None: that of the run,
        `WorkerTask.step_size`.
    sparse : bool
        Whether workers must name the keys in every pull and push. A table that is much larger than
        what a worker needs of it is then never sent whole by mistake. The server keeps such a table
        like any other.
    """

    name: str = "weights"
    rule: str = "add"
    size: int | Literal["parameters", "gradient"] = "parameters"
    width: int = 1
    step_size: float | None = None
    sparse: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.size, str):
            check_choice("size", self.size, ("parameters", "gradient"))
        else:
            check_integer("size", self.size, 1)
        if self.name == "weights" and self.size != "parameters":
            raise ConfigError(f"the table 'weights' has the size 'parameters', not {self.size!r}; take another name")
        check_integer("width", self.width, 1)
        check_flag("sparse", self.sparse)
        if self.step_size is not None:
            check_real("step_size", self.step_size, 0, low_open=True)
            if self.rule != "adagrad":
                raise ConfigError(
                    f"step_size is for the rule 'adagrad'; table {self.name!r} has the rule {self.rule!r}"
                )


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
    torn : {"detect", "accept"}, default="detect"
        What happens to a letter in shared memory that a later letter overwrites while it is read:
        it is read again, or taken as it is.
    """

    slots: int | None = None
    on_full: str = "overwrite"
    torn: str = "detect"

    def __post_init__(self) -> None:
        if self.slots is not None:
            check_integer("slots", self.slots, 1, 2**31 - 1)
        check_choice("on_full", self.on_full, ("overwrite", "sum"))
        check_choice("torn", self.torn, ("detect", "accept"))


@dataclass(frozen=True, kw_only=True)
class DistributedAlgorithm(Algorithm):
    """The configuration of a distributed algorithm.

    Attributes
    ----------
    held_out_curves : bool
        Whether ``counts["held_out"]`` of a record has the objective on `eval_set` of what each worker observed.
    """

    held_out_curves: ClassVar[bool] = False

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables of the parameter server."""
        return (Table(),)

    @property
    def mailbox(self) -> Mailbox:
        """The mailbox of every worker in every group."""
        return Mailbox()

    @property
    def observes(self) -> Observes:
        """Whose weights the history records, and the run returns.

        ``"server"``: the table ``"weights"``. ``"first"`` and ``"mean"``: vectors that the workers
        observe (`dsgd.cluster.program.commands.Observe`), that of the lowest rank or the mean of
        all. Ranks that are lost, or have observed nothing in their present life, do not count.
        While no rank counts, the model is the initial weights.
        """
        return "server"

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

    def n_clients(self, n_workers: int) -> int:
        """Return the number of parts that the rows are dealt into: one a worker, unless a worker holds many clients."""
        return n_workers

    def private_plan(self, sizes: Sequence[int], n_clocks: int, seed: int) -> Plan:  # noqa: ARG002
        """Return the rate of every round of every client that `privacy` is to be paid for; none without it.

        Parameters
        ----------
        sizes : sequence of int
            Rows of every client.
        n_clocks : int
        seed : int
        """
        return {}

    @abstractmethod
    def clocks(self, max_epochs: int, n_samples: int, n_workers: int) -> int:
        """Return the number of clocks in a run of `max_epochs` on `n_samples` rows of all workers together."""

    def step_trial(self, n_samples: int, n_workers: int) -> Algorithm | None:  # noqa: ARG002
        """Return the algorithm that the step search runs on one machine; None: `natural_step` is used instead."""
        return None

    def prepared(self, task: LocalTask, n_workers: int) -> Self:  # noqa: ARG002
        """Return the algorithm with what it must find out from the data, before a run on `n_workers` workers."""
        return self

    def first_step(self, loss: Loss) -> float | None:
        """Return the step that a run with this loss starts from; None: it is searched for. There is no momentum."""
        return loss.first_step(momentum=0.0)

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
    """Shared by algorithms in which a clock is one step on `batch_size` rows of every worker.

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
        """Return the number of clocks in a run of `max_epochs` on `n_samples` rows of all workers together."""
        return -(-max_epochs * -(-n_samples // n_workers) // self.rows_of_batch(n_samples, n_workers))

    def step_trial(self, n_samples: int, n_workers: int) -> Algorithm | None:
        """Return mini-batch SGD for the step search, with as many rows a step as all workers use together."""
        return Minibatch(batch_size=n_workers * self.rows_of_batch(n_samples, n_workers))
