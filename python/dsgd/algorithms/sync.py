"""Synchronous distributed SGD with a coordinator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dsgd._common.checks import check_integer, check_real
from dsgd.algorithms.base import Capabilities
from dsgd.algorithms.distributed import BatchPerClock, CoordinatedAlgorithm, Program, Table
from dsgd.cluster.program.commands import AllReduce, Clock, Observe, Poll, Pull, Push, Signal
from dsgd.cluster.program.task import WorkerTask

__all__ = ["Sync"]


@dataclass(frozen=True, kw_only=True)
class Sync(BatchPerClock, CoordinatedAlgorithm):
    """Synchronous SGD: in every round a coordinator averages the workers' gradients and makes one step.

    Parameters
    ----------
    batch_size : int, optional
        Rows of a worker's gradient. By default those of all workers are 2 sqrt(n) of n rows, at most 256.
    stop_change : float or None, default=None
        End the run when two evaluations in a row changed the objective on a fixed sample of the rows
        by less than this. None: never. The report uses 1.6e-4 (100 for the sum over its 625,012 rows).
    check_every : int, default=10
        Rounds between two evaluations of that objective.

    Notes
    -----
    The coordinator is rank 0. It has no rows: ``workers=4`` are five nodes. A round is a barrier, and
    the same run gives the same weights on any cluster. The coordinator applies the penalty, in
    proximal form. A gradient counts in the mean by the rows of its worker, so that all rows count
    alike. With `stop_change`, ``history[k].counts`` has the objective of every worker on its sample and,
    with `eval_set`, the objective there, ``"held_out"``.

    References
    ----------
    Declety, Gauchoux, Abouzaid, "Distributed Synchronous and Asynchronous SGD" (EPFL), the synchronous
    version. The report gives neither the step size nor the batch size. The project that it
    continues has ``schedule="inverse-sqrt"`` and ``batch_size=100``.
    """

    name = "sync"
    held_out_curves = True
    summary = "synchronous SGD: a coordinator averages the workers' gradients"
    capabilities = Capabilities(
        threads=True,
        deterministic=True,
        distributed=True,
        models=frozenset({"linear", "softmax", "kmeans", "mlp"}),
    )

    batch_size: int | None = None
    stop_change: float | None = None
    check_every: int = 10

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            object.__setattr__(self, "batch_size", check_integer("batch_size", self.batch_size, 1, 2**31 - 1))
        object.__setattr__(self, "check_every", check_integer("check_every", self.check_every, 1))
        if self.stop_change is not None:
            check_real("stop_change", self.stop_change, 0)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The weights. Only the coordinator pushes, and the mean of one push is that push, bit for bit."""
        return (Table(rule="average"),)

    def worker(self, task: WorkerTask) -> Program:
        """Run one worker, which computes gradients."""
        size = self.rows_of_batch(task.n_total, task.n_workers)
        for clock in range(task.start_clock, task.max_clocks):
            weights = yield Pull(clock)
            if (yield Poll("stop")):
                return
            gradient = task.gradient(weights, task.draw(clock, size))
            loss = 0.0
            if self._checks(clock):
                loss = task.sample_loss(weights)
                yield Observe(weights, counts={"objective": loss + task.penalty(weights)})
            # The loss travels in the same all-reduce as the gradient: a worker that is started again repeats its
            # clock, and the server keeps the result of one all-reduce only.
            yield AllReduce(np.append(gradient, gradient.dtype.type(loss)), mean=True, weight=task.weight)
            yield Clock()

    def coordinator(self, task: WorkerTask) -> Program:
        """Run rank 0, which makes the steps and decides when to stop."""
        state = task.state(objective=math.inf, standstills=0)
        for clock in range(task.start_clock, task.max_clocks):
            weights = yield Pull(clock)
            # It counts nothing in the mean.
            mean = yield AllReduce(np.zeros(task.gradient_size + 1, weights.dtype), mean=True, weight=0.0)
            yield Push(task.proximal_step(weights, mean[:-1], task.step_size_at(clock)))
            if self._checks(clock):
                objective = float(mean[-1]) + task.penalty(weights)
                still = abs(objective - state.objective) < (self.stop_change or 0.0)
                state.standstills = state.standstills + 1 if still else 0
                state.objective = objective
                if state.standstills == 2:
                    yield Signal("stop")
                    yield Clock()
                    return
            yield Clock()

    def _checks(self, clock: int) -> bool:
        return self.stop_change is not None and clock % self.check_every == 0
