"""SVRG: stochastic steps whose noise vanishes, by an exact gradient now and then; DisSVRG on one machine."""

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
from dsgd.algorithms.inner_loop import average_of_ends, equal_parts, last_end, parts_until_standstill
from dsgd.algorithms.variance_reduction import AcceleratedFactor, gradient_norm, longest_safe_step
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
        Steps of all threads together between two full gradients, m in the paper; by default twice the number of
        rows. ``"window"`` ends the inner loop when the objective on a thousand rows, looked at ten times a pass, no
        longer falls by a thousandth from one half of ten looks to the other; after five passes at the latest.
    anchor : {"last", "average"}, default="last"
        Where the next full gradient is taken, and what an epoch results in: the last weights, or the mean of the
        weights at the ends of ten equal parts of the inner loop.
    mean_gradient : {"reweighted", "scalar"}, default="reweighted"
        How a step on sparse data brings the mean gradient, which is dense. ``"reweighted"``: on the features of the
        sample, by their inverse frequency. ``"scalar"``: on all features by way of two numbers, as if the data were
        dense; with L2 or no penalty, and not with ``accelerated="sample"``. The same for dense data without a penalty.
    accelerated : {None, "anchor", "sample"}, default=None
        The accelerated factor of DisSVRG: steps of step_size (1 + sigma). ``"anchor"``: sigma is the norm of the full
        gradient over that of the first one; ``"sample"``: the norm of the sample's own gradient over its mean so far.
    max_sigma : float, default=1.0
        Most that sigma may be; above 0.
    safe : bool, default=True
        Whether no accelerated step is longer than 0.9 / (4 L), L being the largest curvature of one sample's loss. If
        not, a warning says that it may be.
    sgd_first : bool, default=True
        Whether the first epoch is one pass of plain stochastic gradient descent, which costs a third of the others and
        comes as far.
    block_size : int, optional
        Rows that are visited together, as for `Sgd`.

    Notes
    -----
    The loop is ``cpp/src/solver/svrg.cpp``. The penalty is in the proximal step. A schedule has its say once an epoch;
    ``schedule="auto"`` is ``"constant"``. An epoch makes 1 + inner_steps / n_samples effective passes; looking at the
    objective is not counted. Steps found by trials may be longer than 1 / L where few rows are large. On one thread the
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
            raise ConfigError("accelerated='sample' needs mean_gradient='reweighted': two numbers keep one step size")

    def regularises_unseen(self, problem: Problem) -> bool:  # noqa: ARG002
        """Return True: what no row holds is regularised by the steps of the inner loop."""
        return True

    def on_share(self, share: float) -> Svrg:
        """Return the algorithm for a share of the rows: numbers of samples among its options shrink with it."""
        if not isinstance(self.inner_steps, int):
            return self
        return dataclasses.replace(self, inner_steps=max(1, round(share * self.inner_steps)))

    def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:
        """Train `task.weights` from `task.start_epoch` on, and yield after every epoch (Algorithm 1)."""
        if self.mean_gradient == "scalar" and task.problem.alphas[0] > 0:
            raise ConfigError("mean_gradient='scalar' needs penalty 'l2' or 'none': a soft threshold is no multiplier")
        longest = self._longest_step(task)
        solver = _core.Svrg(
            task.linear,
            n_threads=task.n_threads,
            mean_gradient=self.mean_gradient,
            max_sigma=self.max_sigma if self.accelerated == "sample" else 0.0,
            longest_step=longest,
        )
        factor = AcceleratedFactor(self.max_sigma) if self.accelerated == "anchor" else None
        for index in range(task.start_epoch, task.max_epochs):
            step = task.step_size_at(index)
            solver.begin(task.epoch(index, self.block_size))
            if self.sgd_first and index == 0:
                taken = task.n_samples
                solver.descend(task.weights, step, taken)
            else:
                solver.take_anchor(task.weights)
                task.passes += 1
                if factor is not None:
                    norm = gradient_norm(task.problem, task.weights, solver.mean_gradient, step)
                    step = min(step * factor.at(norm), longest)
                taken = self._inner_loop(task, functools.partial(solver.descend, task.weights, step))
            if self.mean_gradient == "reweighted":
                task.shrink_unseen_by(taken * step)
            task.passes += taken / task.n_samples
            yield EpochEnd(task.passes, step)

    def _inner_loop(self, task: LocalTask, descend: Callable[[int], None]) -> int:
        """Run an inner loop, and return its number of steps, m."""
        steps = self.inner_steps if isinstance(self.inner_steps, int) else 2 * task.n_samples
        if self.inner_steps == "window":
            parts = parts_until_standstill(task)
        else:
            parts = equal_parts(steps) if self.anchor == "average" else iter([steps])
        run = average_of_ends if self.anchor == "average" else last_end
        return run(descend, parts, task.weights)

    def _longest_step(self, task: LocalTask) -> float:
        """Return the longest step that the accelerated factor may make."""
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
    """Return the number of inner steps, "window", or None for twice the rows; refuse anything else."""
    if value is None or (isinstance(value, str) and value == "window"):
        return None if value is None else "window"
    return check_integer("inner_steps", value, 1, 2**63 - 1)
