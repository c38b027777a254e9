"""Mini-batch SGD under stale synchronous parallel: PetuumSGD."""

from __future__ import annotations

from dataclasses import dataclass

from dsgd._common.checks import check_integer
from dsgd.algorithms.base import Capabilities
from dsgd.algorithms.distributed import BatchPerClock, Program, StaleSynchronousAlgorithm
from dsgd.cluster.program.commands import Clock, Pull
from dsgd.cluster.program.task import WorkerTask

__all__ = ["Ssp"]


@dataclass(frozen=True, kw_only=True)
class Ssp(BatchPerClock, StaleSynchronousAlgorithm):
    """Mini-batch SGD on a parameter server; workers may be up to `staleness` clocks apart.

    A clock is one mini-batch of every worker.

    Parameters
    ----------
    staleness : int or inf, default=3
        How many clocks a worker may be ahead of the slowest one. 0 is bulk synchronous (BSP),
        ``math.inf`` is asynchronous.
    batch_size : int, optional
        Rows of a worker's step. The server divides every step by the number P of workers before it
        adds it. A clock of all workers is thus one step on P * `batch_size` rows. By default
        these are 2 sqrt(n) of n rows, at most 256.

    Notes
    -----
    The regret bound of the paper requires a step that falls as 1/sqrt(t): ``schedule="inverse-sqrt"``,
    t in passes. The default, ``"linear"``, ends nearer to the optimum in the same passes. A step
    regularises only the features of its mini-batch, by the degree split (docs/design/penalties.md) with
    the feature frequencies of the whole data.
    A worker with r times as many rows as the average makes steps r times as long, so that all rows
    count alike.

    References
    ----------
    Ho, Cipar, Cui, Lee, Kim, Gibbons, Gibson, Ganger, Xing (2013), "More effective distributed ML via a stale
    synchronous parallel parameter server". Ming, Zhao, Guo, Yin call it "PetuumSGD".
    """

    name = "ssp"
    summary = "mini-batch SGD on a parameter server, workers a few clocks apart"
    capabilities = Capabilities(
        threads=True,
        deterministic=True,
        distributed=True,
        models=frozenset({"linear", "softmax", "kmeans", "mlp"}),
    )

    staleness: float = 3
    batch_size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size is not None:
            object.__setattr__(self, "batch_size", check_integer("batch_size", self.batch_size, 1, 2**31 - 1))

    def worker(self, task: WorkerTask) -> Program:
        """Run one worker."""
        size = self.rows_of_batch(task.n_total, task.n_workers)
        for clock in range(task.start_clock, task.max_clocks):
            weights = yield Pull(clock)  # answered when clock - slowest <= staleness
            rows, index = task.draw(clock, size), task.pass_of(clock, size)
            step = task.weight * task.step_size_at(clock)  # workers with more rows make longer ones
            moved = task.minibatch_step(weights, rows, step, size, index)
            yield self.push(task, weights, moved)
            yield Clock()
