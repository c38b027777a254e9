"""Downpour SGD: replicas that pull from and push to a parameter server without waiting for each other."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dsgd._common.checks import check_choice, check_flag, check_integer
from dsgd.algorithms.base import Algorithm, Capabilities
from dsgd.algorithms.distributed import BatchPerClock, DistributedAlgorithm, Program, Table
from dsgd.cluster.program.commands import AllReduce, Clock, Command, Pull, Push, Ticket, Wait
from dsgd.cluster.program.task import WorkerTask
from dsgd.models.base import Loss
from dsgd.problems.problem import Problem
from dsgd.problems.task import LocalTask

__all__ = ["Downpour"]

Array = NDArray[Any]

# Step of Adagrad: about what a coordinate moves at its first push.
_NETWORK_STEP = 0.03


@dataclass(frozen=True, kw_only=True)
class Downpour(BatchPerClock, DistributedAlgorithm):
    """Asynchronous SGD on a parameter server: a replica pulls weights and pushes changes when it likes.

    No replica waits for another one. Every shard of the server applies pushes as they come, whatever
    the other shards have.

    Parameters
    ----------
    n_fetch : int, default=1
        Steps of a worker from one pull of the weights to the next.
    n_push : int, default=1
        Steps whose changes a worker pushes together. A clock is so many steps.
    server_step : {"plain", "adagrad"}, default="plain"
        ``"plain"``: workers step between pulls, and the server adds their changes, divided by the
        number of workers. ``"adagrad"``: workers push sums of gradients, and make no steps of their own.
        The server has a step size for every weight: the run's `step_size`, divided by the root of the
        sum of the squares of all that was pushed for this weight. `schedule` has then no part in it.
    ahead : bool, default=False
        Send a pull before the last step that goes before it, so that the values travel while the worker
        computes. They then lack what the worker pushes after that step.
    warm_start : int, default=0
        Steps that the first worker makes alone, before all others begin.
    batch_size : int, optional
        Rows of a worker's step. By default those of all workers are 2 sqrt(n) of n rows, at most 256.

    Notes
    -----
    A step regularises only the features of its mini-batch, by the degree split (docs/design/penalties.md).
    A worker with r times as many rows as the average counts r times as much. A worker that is started
    again pulls the weights and goes on at the clock that it had not finished. If the first worker is lost
    before it has made its steps alone, the others begin without them.

    References
    ----------
    Dean, Corrado, Monga, Chen, Devin, Le, Mao, Ranzato, Senior, Tucker, Yang, Ng (2012), "Large scale
    distributed deep networks", section 4.1 and its listing.
    """

    name = "downpour"
    summary = "asynchronous replicas of a parameter server, with Adagrad on it if wanted (Downpour SGD)"
    capabilities = Capabilities(
        threads=True, deterministic=False, distributed=True, models=frozenset({"linear", "softmax", "kmeans", "mlp"})
    )

    n_fetch: int = 1
    n_push: int = 1
    server_step: str = "plain"
    ahead: bool = False
    warm_start: int = 0
    batch_size: int | None = None
    _alone: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for option in ("n_fetch", "n_push", "batch_size"):
            if getattr(self, option) is not None:
                object.__setattr__(self, option, check_integer(option, getattr(self, option), 1, 2**31 - 1))
        object.__setattr__(self, "warm_start", check_integer("warm_start", self.warm_start, 0, 2**31 - 1))
        check_choice("server_step", self.server_step, ("plain", "adagrad"))
        check_flag("ahead", self.ahead)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The weights. With Adagrad a shard also keeps the sums of squares of its own part, and needs no other.

        A worker alone pushes its weights rather than changes, whose sum would be rounded.
        """
        return (Table(rule="blend" if self._alone else "add" if self.server_step == "plain" else "adagrad"),)

    @property
    def clock_bound(self) -> float:
        """Nobody waits."""
        return math.inf

    def prepared(self, task: LocalTask, n_workers: int) -> Self:  # noqa: ARG002
        """Return the algorithm that knows whether its table is that of one worker."""
        prepared = dataclasses.replace(self)
        object.__setattr__(prepared, "_alone", self._is_sequential(n_workers))
        return prepared

    def _is_sequential(self, n_workers: int) -> bool:
        """Return whether a step goes on from the one before, as on one machine."""
        return n_workers == self.n_push == 1 and self.server_step == "plain"

    def worker(self, task: WorkerTask) -> Program:
        """Run one worker."""
        if self.warm_start > 0 and task.start_clock == 0 and task.n_workers > 1:
            if task.rank == task.workers.start:
                yield from self._steps(task, 0, self.warm_start, alone=True)
            # The others wait here. The server takes a first worker that is lost out of this sum.
            yield AllReduce(np.zeros(1))
        yield from self._steps(task, task.start_clock * self.n_push, task.max_clocks * self.n_push)

    def _steps(self, task: WorkerTask, begin: int, end: int, *, alone: bool = False) -> Generator[Command, Any, None]:
        """Make steps; a replica that is `alone` counts as all, and finishes no clock."""
        w, ticket = task.start, None
        accrued = np.zeros_like(w)
        for step in range(begin, end):
            clock = step // self.n_push
            if step == begin or step % self.n_fetch == 0:
                w = yield from self._fetched(clock, ticket)
                ticket = None
            if self.ahead and (step + 1) % self.n_fetch == 0 and step + 1 < end:
                ticket = yield Pull(clock, ahead=True)
            w, change = self._step(task, w, step)
            accrued += change
            if (step + 1) % self.n_push == 0 or step + 1 == end:
                yield self._push(task, w, accrued, self._share(task, alone))
                accrued = np.zeros_like(w)
                if not alone:
                    yield Clock()

    def _fetched(self, clock: int, ticket: Ticket | None) -> Generator[Command, Any, Array]:
        """Return the weights of the server, which may have been asked for before."""
        w: Array = yield (Pull(clock) if ticket is None else Wait(ticket))
        return w

    def _step(self, task: WorkerTask, w: Array, step: int) -> tuple[Array, Array]:
        """Return the weights of the replica after a step, and what the step adds to its next push."""
        size = self.rows_of_batch(task.n_total, task.n_workers)
        rows, index = task.draw(step, size), task.pass_of(step, size)
        if self.server_step == "plain":
            moved = task.minibatch_step(w, rows, task.step_size_at(step / self.n_push), size, index)
            return moved, moved - w
        moved = task.minibatch_step(w, rows, task.step_size, size, index)
        # In float64: a step may be beyond the range of the weights' type.
        return w, ((w - moved) / np.float64(task.step_size)).astype(w.dtype)

    def _share(self, task: WorkerTask, alone: bool) -> float:
        """Return the factor of a push. Adagrad takes gradients as they are: a common factor would change nothing."""
        of_all = 1 if alone or self.server_step == "adagrad" else task.n_workers
        return 1.0 if alone else task.weight / of_all

    def _push(self, task: WorkerTask, w: Array, accrued: Array, share: float) -> Push:
        """Return the push of the accrued changes or gradients: of those that are not zero if that is shorter."""
        keys = task.differing(accrued, np.zeros_like(accrued))
        values = w if self._is_sequential(task.n_workers) else accrued
        return Push(values if keys is None else values[keys], keys, weight=share)

    def clocks(self, max_epochs: int, n_samples: int, n_workers: int) -> int:
        """Return the number of clocks in a run of `max_epochs` on `n_samples` rows of all workers together."""
        return -(-super().clocks(max_epochs, n_samples, n_workers) // self.n_push)

    def step_trial(self, n_samples: int, n_workers: int) -> Algorithm | None:
        """Return mini-batch SGD with as many rows a step as all workers use together; None for Adagrad."""
        return super().step_trial(n_samples, n_workers) if self.server_step == "plain" else None

    def first_step(self, loss: Loss) -> float | None:
        """Return the step that a run with this loss starts from."""
        if self.server_step == "plain":
            return super().first_step(loss)
        return _NETWORK_STEP if loss.model == "mlp" else None

    def natural_step(self, problem: Problem) -> float:
        """Return the step of Adagrad: a coordinate's share of a change of a margin by one, on the longest row."""
        return 1 / math.sqrt(problem.scale.largest)
