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
    """Mini-batch SGD on a parameter server whose workers may be `staleness` clocks apart; a clock is one mini-batch.

    Parameters
    ----------
    staleness : int or inf, default=3
        How many clocks a worker may be ahead of the slowest: 0 is BSP, ``math.inf`` is asynchronous.
    batch_size : int, optional
        Rows of a worker's step. The server adds the steps of P workers divided by P, so that a clock of all is a step
        on P * `batch_size` rows. By default those are 2 sqrt(n) of n rows, at most 256.

    Notes
    -----
    The regret bound of the paper wants a step that falls as 1/sqrt(t): ``schedule="inverse-sqrt"``, t in passes. The
    default, ``"linear"``, ends nearer to the optimum in the same passes.
    The penalty falls on the features of the mini-batch, by the degree split with the frequencies of the whole data.

    References
    ----------
    Ho, Cipar, Cui, Lee, Kim, Gibbons, Gibson, Ganger, Xing (2013), "More effective distributed ML via a stale
    synchronous parallel parameter server". "PetuumSGD" of Ming, Zhao, Guo, Yin is this.
    """

    name = "ssp"
    summary = "mini-batch SGD on a parameter server, workers a few clocks apart"
    capabilities = Capabilities(threads=True, deterministic=True, distributed=True)

    staleness: float = 3
    batch_size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size is not None:
            object.__setattr__(self, "batch_size", check_integer("batch_size", self.batch_size, 1, 2**31 - 1))

    def worker(self, task: WorkerTask) -> Program:
        """One that trains."""
        size = self.rows_of_batch(task.n_total, task.n_workers)
        for clock in range(task.start_clock, task.max_clocks):
            weights = yield Pull(clock)  # answered when clock - slowest <= staleness
            rows, index = task.draw(clock, size), task.pass_of(clock, size)
            moved = task.minibatch_step(weights, rows, task.step_size_at(clock), size, index)
            yield self.push(task, weights, moved)
            yield Clock()
