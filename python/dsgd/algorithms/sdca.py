"""Stochastic dual coordinate ascent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dsgd import _core
from dsgd._common.checks import check_flag, check_integer, check_real
from dsgd.algorithms.base import Algorithm, Capabilities, check_block_size
from dsgd.algorithms.duality_gap import DualityGap
from dsgd.errors import ConfigError
from dsgd.losses import Loss
from dsgd.problems.problem import Problem
from dsgd.problems.task import EpochEnd, LocalTask

__all__ = ["Sdca"]


@dataclass(frozen=True, kw_only=True)
class Sdca(Algorithm):
    """Stochastic dual coordinate ascent (SDCA): one dual variable a sample, exact steps, no step size.

    Needs ``penalty="l2"`` with alpha above 0, and any loss but the perceptron's. Converges linearly for
    smooth losses. It is fast if ||x||^2 is below alpha n, or not much above it. The algorithm keeps the
    primal weights beside the dual variables. The duality gap therefore bounds the distance of the
    objective from its minimum: see `gap_tol` of `dsgd.fit`.

    Parameters
    ----------
    max_rest : int, default=16
        A sample whose step changes nothing is left out for 1 epoch. If its next steps change nothing
        either, it is left out for 2, then 4, ... and at most `max_rest` epochs. 0: every epoch visits
        every sample. At most 128.
    merge_every : int, default=2
        On several threads, visits of a weight after which a thread merges it. A merge adds the changes
        in the thread's copy to the shared weight and takes over the changes of the other threads.
    damping : float, optional
        Factor on the curvature that a step assumes, at least 1; larger values give shorter steps. A
        thread does not see the latest steps of the others, so that several exact steps together would
        be too long. By default the number of threads: on one thread steps are exact.
    sgd_first : bool, optional
        Whether the first epoch is the procedure Modified-SGD of the paper: its t-th step is exact for
        the problem of the t samples seen so far. Ignored if the run starts from given weights. By
        default True where it is faster: for smooth losses, or if the mean ||x||^2 is at most alpha n.
    block_size : int, optional
        Number of neighbouring rows that are visited together, in memory order. Every epoch visits
        the blocks in a new random order. 1 shuffles single rows. Larger blocks are faster, but need
        data that is not sorted. By default n_samples / 1024, at most 256; 1 if neighbouring rows
        have similar targets.

    Notes
    -----
    The loop is ``cpp/src/solver/sdca.cpp``. An intercept is not regularised. In each epoch it is the
    weight of a constant feature, regularised towards its last value (proximal point method).
    `effective_passes` counts the samples visited, and not those that were left out. With weights to
    start from (`init`) the dual variables start at -loss'(w.x + b). These are close to the best dual
    variables only near the optimum of a smooth loss.

    References
    ----------
    Shalev-Shwartz, Zhang (2013), "Stochastic dual coordinate ascent methods for regularized loss minimization",
    arXiv:1209.1873, section 3 and, for `sgd_first`, procedure Modified-SGD; Hsieh, Chang, Lin, Keerthi, Sundararajan
    (2008), "A dual coordinate descent method for large-scale linear SVM"; Hsieh, Yu, Dhillon (2015), "PASSCoDe",
    arXiv:1504.01365.
    """

    name = "sdca"
    summary = "stochastic dual coordinate ascent, with a duality gap (Shalev-Shwartz, Zhang 2013)"
    capabilities = Capabilities(threads=True, deterministic=False, stochastic=False, dual=True)

    max_rest: int = 16
    merge_every: int = 2
    damping: float | None = None
    sgd_first: bool | None = None
    block_size: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_rest", check_integer("max_rest", self.max_rest, 0, 128))
        object.__setattr__(self, "merge_every", check_integer("merge_every", self.merge_every, 1, 2**31 - 1))
        if self.damping is not None:
            object.__setattr__(self, "damping", check_real("damping", self.damping, 1))
        if self.sgd_first is not None:
            object.__setattr__(self, "sgd_first", check_flag("sgd_first", self.sgd_first))
        object.__setattr__(self, "block_size", check_block_size(self.block_size))

    def check(self, loss: Loss, alphas: tuple[float, float]) -> None:
        """Raise `ConfigError` for a loss or a penalty without a dual problem."""
        if loss.scale_free:
            raise ConfigError(f"algo 'sdca' has no dual of loss {loss.name!r}; use loss='hinge', or algo='sgd'")
        alpha_l1, alpha_l2 = alphas
        if alpha_l1 > 0 or not alpha_l2 > 0:
            raise ConfigError("algo 'sdca' needs penalty='l2' and alpha above 0; use algo='sgd' or 'svrg' otherwise")

    def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:
        """Train `task.weights` from `task.start_epoch` on, and yield after every epoch."""
        damping = float(task.n_threads) if self.damping is None else self.damping
        solver = _core.Sdca(
            task.linear,
            n_threads=task.n_threads,
            merge_visits=self.merge_every,
            damping=damping,
            max_rest=self.max_rest,
            sgd_first=self._sgd_first(task.problem) and task.start_epoch == 0,
            sum_loss=task.sum_loss,
        )
        if task.weights[: task.problem.matrix.n_features].any():
            solver.begin(task.weights)
        else:
            solver.rebuild(task.weights)
        step = 1 / (sum(task.problem.alphas) * task.n_samples)
        gap = DualityGap(task, solver)
        passes = 0.0
        for index in range(task.start_epoch, task.max_epochs):
            done = solver.epoch(task.weights, task.epoch(index, self.block_size), task.gap_tol is not None)
            passes += done.visits / task.n_samples
            proven = gap.after_epoch(done.gap, last=index + 1 == task.max_epochs)
            yield EpochEnd(passes, step, done.loss if task.sum_loss else None, gap=proven)

    def _sgd_first(self, problem: Problem) -> bool:
        if self.sgd_first is not None:
            return self.sgd_first
        return problem.loss.smooth or problem.scale.mean <= problem.alphas[1] * problem.matrix.n_rows
