"""SVRG: stochastic steps that a full gradient, taken once an epoch, corrects; DisSVRG on one machine."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from dsgd import _core
from dsgd._common.checks import check_choice, check_flag, check_integer, check_real
from dsgd._common.warn import warn
from dsgd.algorithms.base import Algorithm, Capabilities, check_block_size
from dsgd.algorithms.inner_loop import equal_parts, parts_until_standstill, run_parts
from dsgd.algorithms.variance_reduction import AcceleratedFactor, gradient_norm, longest_safe_step, lower_bound
from dsgd.errors import ConfigError
from dsgd.problems.problem import Problem
from dsgd.problems.task import EpochEnd, LocalTask

__all__ = ["Svrg"]


@dataclass(frozen=True, kw_only=True)
class Svrg(Algorithm):
    """Stochastic variance reduced gradient, lock-free on several threads: converges linearly to the optimum.

    Parameters
    ----------
    inner_steps : int or "window", optional
        Steps between two full gradients, of all threads together; m in the paper. By default twice the
        number of rows. ``"window"`` evaluates the objective on 1,000 rows, ten times a pass. The inner
        loop ends when the mean of the newer five of ten values is less than a thousandth below that of
        the older five, or when the least value rises; after five passes at the latest.
    anchor : {"last", "average"}, default="last"
        The weights at which an epoch ends, and at which the next full gradient is taken. ``"last"``: the
        last iterate. ``"average"``: the mean of the iterates at the ends of ten equal parts of the
        inner loop.
    mean_gradient : {"reweighted", "scalar"}, default="reweighted"
        How a step on a sparse row applies the mean gradient mu, which is dense. ``"reweighted"``: only
        on the features of the row, divided by the frequency of each feature. ``"scalar"``: on all
        features, exactly as for dense data. The weights are then kept as a v + c mu with two scalars a
        and c. ``"scalar"`` needs L2 or no penalty, and excludes ``accelerated="sample"``. For dense
        data without a penalty both are the same.
    accelerated : {None, "anchor", "sample"}, default=None
        The accelerated factor of DisSVRG (section 5.1): the step size is step_size (1 + sigma).
        ``"anchor"``: sigma is the norm of the full gradient, divided by the norm of the first one.
        ``"sample"``: sigma is the norm of the sample's own gradient, divided by the mean of these
        norms so far.
    max_sigma : float, default=1.0
        The largest sigma; above 0.
    safe : bool, default=True
        Whether accelerated steps are cut to 0.9 / (4 L), where L is the largest curvature of one
        sample's loss. If False, a warning says when steps may be longer.
    sgd_first : bool, default=True
        Whether the first epoch is one pass of plain stochastic gradient descent. It costs a third of
        another epoch and makes as much progress.
    block_size : int, optional
        Number of neighbouring rows that are visited together, as for `Sgd`.

    Notes
    -----
    The loop is ``cpp/src/solver/svrg.cpp``. The proximal step applies the penalty. The schedule sets
    the step size once an epoch; ``schedule="auto"`` is ``"constant"``. An epoch makes
    1 + inner_steps / n_samples effective passes; evaluations of the objective by ``"window"`` are not
    counted. If only few rows are large, the step search may find steps above 1 / L. On one thread the
    result repeats bit for bit.

    References
    ----------
    Ming, Zhao, Guo, Yin, "Accelerate distributed stochastic gradient descent with asynchronous communication protocol"
    (DisSVRG), Algorithm 1 and section 5.1; Johnson, Zhang (2013), "Accelerating stochastic gradient descent using
    predictive variance reduction"; Mania, Pan, Papailiopoulos, Recht, Ramchandran, Jordan (2015), "Perturbed iterate
    analysis for asynchronous stochastic optimization" (``"reweighted"``); Reddi, Hefny, Sra, Poczos, Smola (2015), "On
    variance reduction in stochastic gradient descent and its asynchronous variants" (`sgd_first`).
    """

    name = "svrg"
    summary = "variance reduced SGD, lock-free on several threads"
    capabilities = Capabilities(
        threads=True, deterministic=False, schedule="constant", models=frozenset({"linear", "softmax"})
    )

    inner_steps: int | Literal["window"] | None = None
    anchor: str = "last"
    mean_gradient: str = "reweighted"
    accelerated: str | None = None
    max_sigma: float = 1.0
    safe: bool = True
    sgd_first: bool = True
    block_size: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "inner_steps", _check_inner_steps(self.inner_steps))
        check_choice("anchor", self.anchor, ("last", "average"))
        check_choice("mean_gradient", self.mean_gradient, ("reweighted", "scalar"))
        if self.accelerated is not None:
            check_choice("accelerated", self.accelerated, ("anchor", "sample"))
        object.__setattr__(self, "max_sigma", check_real("max_sigma", self.max_sigma, 0, low_open=True))
        object.__setattr__(self, "safe", check_flag("safe", self.safe))
        object.__setattr__(self, "sgd_first", check_flag("sgd_first", self.sgd_first))
        object.__setattr__(self, "block_size", check_block_size(self.block_size))
        if self.mean_gradient == "scalar" and self.accelerated == "sample":
            raise ConfigError("accelerated='sample' needs mean_gradient='reweighted': 'scalar' has one step size")

    def regularises_unseen(self, problem: Problem) -> bool:  # noqa: ARG002
        """Return True: an epoch also regularises the weights of features that occur in no row."""
        return True

    def on_share(self, share: float) -> Svrg:
        """Return the algorithm for a `share` of the rows: `inner_steps` is multiplied by it."""
        if not isinstance(self.inner_steps, int):
            return self
        return dataclasses.replace(self, inner_steps=max(1, round(share * self.inner_steps)))

    def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:
        """Train `task.weights` from `task.start_epoch` on, and yield after every epoch (Algorithm 1)."""
        if self.mean_gradient == "scalar" and task.problem.alphas[0] > 0:
            raise ConfigError("mean_gradient='scalar' needs penalty 'l2' or 'none': l1 is not a scaling of w")
        longest = self._longest_step(task)
        solver = _core.Svrg(
            task.linear,
            n_threads=task.n_threads,
            mean_gradient=self.mean_gradient,
            max_sigma=self.max_sigma if self.accelerated == "sample" else 0.0,
            longest_step=longest,
        )
        factor = AcceleratedFactor(self.max_sigma) if self.accelerated == "anchor" else None
        anchored = False  # whether the anchor of the next epoch is taken
        for index in range(task.start_epoch, task.max_epochs):
            step = task.step_size_at(index)
            solver.begin(task.epoch(index, self.block_size))
            if self.sgd_first and index == 0:
                taken = task.n_samples
                solver.descend(task.weights, step, taken)
            else:
                if not anchored:
                    solver.take_anchor(task.weights)
                task.passes += 1
                if factor is not None:
                    norm = gradient_norm(task.problem, task.weights, solver.mean_gradient, step)
                    step = min(step * factor.at(norm), longest)
                taken = self._inner_loop(task, functools.partial(solver.descend, task.weights, step))
            if self.mean_gradient == "reweighted":
                task.shrink_unseen_by(taken * step)
            task.passes += taken / task.n_samples
            # The full gradient of the next epoch, taken here, gives the loss at the end of this one, and how far the
            # optimum may be.
            anchored = (task.sum_loss or task.gap_tol is not None) and index + 1 < task.max_epochs
            loss = solver.take_anchor(task.weights, with_loss=True) if anchored else None
            bound = None
            if loss is not None and task.gap_tol is not None:
                bound = lower_bound(task.problem, task.weights, loss, solver.mean_gradient)
            yield EpochEnd(task.passes, step, loss, exact=True, bound=bound)

    def _inner_loop(self, task: LocalTask, descend: Callable[[int], None]) -> int:
        """Run an inner loop, and return its number of steps, m."""
        steps = self.inner_steps if isinstance(self.inner_steps, int) else 2 * task.n_samples
        if self.inner_steps == "window":
            parts = parts_until_standstill(task)
        else:
            parts = equal_parts(steps) if self.anchor == "average" else iter([steps])
        return run_parts(descend, parts, task.weights, average=self.anchor == "average")

    def _longest_step(self, task: LocalTask) -> float:
        """Return the longest step that the accelerated factor may lead to; infinity if there is no bound."""
        if self.accelerated is None:
            return math.inf
        bound = longest_safe_step(task.problem)
        if self.safe:
            return bound
        step = task.step_size_at(task.start_epoch)
        if step * (1 + self.max_sigma) > bound:
            warn(
                f"accelerated steps of up to {step * (1 + self.max_sigma):.3g} may diverge: above {bound:.3g} nothing "
                "is proved; use a smaller step_size, or safe=True",
            )
        return math.inf


def _check_inner_steps(value: Any) -> int | Literal["window"] | None:
    """Return a valid `inner_steps` (None: twice the number of rows); raise `ConfigError` for others."""
    if value is None or (isinstance(value, str) and value == "window"):
        return None if value is None else "window"
    return check_integer("inner_steps", value, 1, 2**63 - 1)
