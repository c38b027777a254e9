"""Shared by algorithms in which every node trains a model of its own, and the models are averaged."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd._common.checks import check_integer, check_real
from dsgd.algorithms.base import Algorithm
from dsgd.algorithms.distributed import DistributedAlgorithm, Observes, Table
from dsgd.algorithms.minibatch import Minibatch
from dsgd.algorithms.sgd import Sgd
from dsgd.cluster.program.commands import AllReduce, Clock, Command, Observe, Poll, Pull, Push, Report, Signal
from dsgd.cluster.program.replica import Replica
from dsgd.cluster.program.task import WorkerTask

__all__ = ["ModelAveraging", "UnevenNodes"]

# The smallest weight of a node in an average: the others may be lost before it is made.
_LEAST_WEIGHT = 1e-300
# Pieces of a clock. After each a node looks whether another one is done.
_PIECES = 16
# Names of the signals that end a clock. The server knows 1024 names at most, and a run may have more clocks.
_SIGNALS = 512


@dataclass(frozen=True, kw_only=True)
class ModelAveraging(DistributedAlgorithm):
    """Every node makes steps on its own rows, as `sgd` does on one machine; the models are averaged."""

    averaging_span: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        for option in ("averaging_span", "batch_size"):
            if getattr(self, option) is not None:
                object.__setattr__(self, option, check_integer(option, getattr(self, option), 1, 2**31 - 1))

    @property
    def rate(self) -> float | None:
        """The rate r of r^T_i, what a node with T_i steps less counts for; 1: as much. None: 1 - eta alpha."""
        return 1.0

    @property
    def tables(self) -> tuple[Table, ...]:
        """The weights that nodes start from; with `averaging_span` every average takes their place."""
        return (Table(rule="average"),)

    @property
    def observes(self) -> Observes:
        """Without `averaging_span` a record is what an average would be then; with it, the last average."""
        return "mean" if self.averaging_span is None else "server"

    def clocks(self, max_epochs: int, n_samples: int, n_workers: int) -> int:
        """Return the number of clocks: one a pass over as many rows as nodes have in the mean, or one an average."""
        samples = -(-n_samples // n_workers)
        return max_epochs if self.averaging_span is None else -(-max_epochs * samples // self.averaging_span)

    def step_trial(self, n_samples: int, n_workers: int) -> Algorithm | None:  # noqa: ARG002
        """Return the algorithm of one machine that makes the same steps."""
        return Sgd() if self.batch_size in (None, 1) else Minibatch(batch_size=self.batch_size or 1)

    def span(self, task: WorkerTask) -> int:
        """Return the samples of a node in a clock in which it makes all its steps."""
        return self.averaging_span or task.mean_samples

    def mark(self, task: WorkerTask, clock: int) -> int:
        """Return the samples of a node that makes all its steps, at the end of a clock."""
        return min((clock + 1) * self.span(task), task.max_epochs * task.mean_samples)

    def pieces(self, task: WorkerTask, node: Replica, clock: int) -> Iterator[int]:
        """Yield the sizes of the pieces that are left of a clock; each must be trained on."""
        return node.pieces(self.mark(task, clock), self.span(task) // _PIECES)

    def rows_of_step(self, task: WorkerTask) -> int:
        """Return the rows of a step: by default 1, or those of `minibatch` for a model that `sgd` does not train."""
        single = task.kernels.problem.loss.model in Sgd.capabilities.models
        return self.batch_size or (1 if single else Minibatch().batch_size)

    def begin(self, task: WorkerTask) -> Generator[Command, Any, Replica]:
        """Return the model of a node: at the initial weights, or at the last average in a later life of the node."""
        # One that was started again after its last clock must not wait for the others: they would wait for it.
        if self.averaging_span is None or task.start_clock in (0, task.max_clocks):
            return self.replica(task, task.start)
        node = self.replica(task, (yield Pull(task.start_clock)))
        node.resume(self.mark(task, task.start_clock - 1))
        return node

    def replica(self, task: WorkerTask, weights: NDArray[Any]) -> Replica:
        """Return the model of a node, which starts from `weights`."""
        size = self.rows_of_step(task)
        return Replica(task, weights, task.kernels.descent(size), batch_size=size, rate=self.rate)

    def ends(self, task: WorkerTask, clock: int) -> bool:
        """Return whether a clock is the last one."""
        return clock + 1 == task.max_clocks

    def end_clock(
        self, task: WorkerTask, node: Replica, clock: int, last: bool, weight: float = 1.0
    ) -> Generator[Command, Any, None]:
        """End a clock: with an average of all models, which is a barrier, if one is due.

        Parameters
        ----------
        task : WorkerTask
        node : Replica
            The model of this node. With `averaging_span` it goes on from the average.
        clock : int
        last : bool
            Whether the clock is the last one.
        weight : float
            What the model of this node counts for in the average, above 0.
        """
        if last:
            yield Report({"weight": weight, **self.report(node)})
        if self.averaging_span is not None:
            yield Push(node.weights(), weight=weight)
            yield Clock()
            if not last:
                node.restart((yield Pull(clock + 1)), self.mark(task, clock))
            return
        if last:
            yield Observe((yield AllReduce(node.weights(), mean=True, weight=weight)))
        else:
            yield Observe(node.weights(), node.progress)
        yield Clock()

    def report(self, node: Replica) -> dict[str, float]:
        """Return what a node tells of itself when the last average is made (`dsgd.results.averaging.Averaging`)."""
        return {
            "samples": node.samples,
            "updates": node.updates,
            "progress": node.progress,
            "certain_progress": node.certain_progress,
        }


@dataclass(frozen=True, kw_only=True)
class UnevenNodes(ModelAveraging):
    """Model averaging in which no node waits for slower ones: a clock ends when the fastest node has made its steps."""

    deadline: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.deadline is not None:
            check_real("deadline", self.deadline, 0, low_open=True)

    def train(self, task: WorkerTask, node: Replica, clock: int) -> Generator[Command, Any, None]:
        """Train until the first node has made the steps of a clock, or until the deadline."""
        signal = f"clock {clock % _SIGNALS}"
        if self.averaging_span is not None or clock == 0:
            # All begin together: the lags tell how fast the nodes are, not who was sent the average first.
            yield AllReduce(np.zeros(task.n_workers))
        if self._is_late(task):
            return
        for count in self.pieces(task, node, clock):
            node.train(count)
            if self._is_late(task) or (yield Poll(signal)).clock >= clock:
                return
        yield Signal(signal)  # this node is the fastest

    def all_end(self, task: WorkerTask, clock: int) -> Generator[Command, Any, bool]:
        """Return whether a clock is the last one: because all clocks are done, or one node is past the deadline."""
        last = self.ends(task, clock) or self._is_late(task)
        if self.averaging_span is None or self.deadline is None:
            return last
        # An average is the last one for all nodes or for none, and some may come to it before the deadline.
        return bool((yield AllReduce(np.array([float(last)])))[0])

    def share(self, task: WorkerTask, node: Replica) -> Generator[Command, Any, float]:
        """Return r^T_i: what the model of this node counts for beside that of the node which is farthest."""
        own = task.rank - task.workers.start
        progress = np.zeros(task.n_workers)
        progress[own] = 1 + node.progress  # above 0: a node that is lost has 0
        progress = yield AllReduce(progress)
        # In logarithms: r^T_i may be too small for a number, and then so are all r^T_j.
        return max(math.exp(progress[own] - progress.max()), _LEAST_WEIGHT)

    def _is_late(self, task: WorkerTask) -> bool:
        return self.deadline is not None and task.now() >= self.deadline
