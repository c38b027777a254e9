"""WP-SGD with delay SGD inside a node: gradients of earlier weights, used where they pass a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dsgd._common.checks import check_flag, check_integer
from dsgd.algorithms.base import Capabilities
from dsgd.algorithms.wpsgd import WpSgd
from dsgd.cluster.program.descent import FATES, GradientTest, TestedDescent
from dsgd.cluster.program.replica import Replica
from dsgd.cluster.program.task import WorkerTask
from dsgd.errors import ConfigError
from dsgd.models.base import Loss
from dsgd.problems.problem import Problem

__all__ = ["WpSgdDelay"]


@dataclass(frozen=True, kw_only=True)
class WpSgdDelay(WpSgd):
    """WP-SGD whose nodes step along the gradients of weights of `delay` steps before.

    A step on a sample moves the weights along its row. On that line the sample has a fixed point. The
    step is made only if the weights that are kept lie on one side of it, and the step does not cross
    it; otherwise the next sample is taken. The lags T_i count the steps that were made.

    Parameters
    ----------
    averaging_span : int, optional
        Samples of the fastest node from one average to the next; all nodes go on from it. By default
        the models are averaged once, at the end.
    deadline : float, optional
        Seconds after which all nodes stop, even if none has made all its steps.
    contraction : float or "data", optional
        The rate r of `WpSgd`. By default 1 - eta alpha, which holds with `strict`.
    delay : int, default=1
        Steps between the weights of a gradient and the step along it. 0: `WpSgd`.
    max_retries : int, default=10
        After so many rejected samples in turn a step is made along the gradient of the present
        weights, without a test.
    strict : bool, default=False
        Whether a step must also keep the rate 1 - eta alpha: the older weights must not be nearer to
        the fixed point than the present ones, nor turned away by more than a right angle across the row.
    batch_size : int, optional
        Not to be given, or 1.

    Notes
    -----
    The default step is the one at which weights along one sample never cross its fixed point,
    tau^tau / ((tau + 1)^(tau + 1) (alpha + c max ||x||^2)) with the delay tau and the curvature c of
    the loss. L2 acts on the present weights. For two classes or a regression, without L1.

    References
    ----------
    Cheng, Li, Zhang, "Weighted parallel SGD for distributed unbalanced-workload training system",
    Algorithms 3 and 4, whose listings are not printed: docs/algorithms/wpsgd-delay.md has the
    reconstruction. Langford, Smola, Zinkevich (2009), "Slow learners are fast".
    """

    name = "wpsgd-delay"
    summary = "WP-SGD whose nodes use delayed gradients that pass a test"
    capabilities = Capabilities(threads=True, deterministic=False, distributed=True, one_vs_all=False)

    delay: int = 1
    max_retries: int = 10
    strict: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "delay", check_integer("delay", self.delay, 0, 1024))
        object.__setattr__(self, "max_retries", check_integer("max_retries", self.max_retries, 1, 2**31 - 1))
        check_flag("strict", self.strict)
        if self.batch_size not in (None, 1):
            raise ConfigError(f"algo {self.name!r} steps on one row at a time; leave out batch_size={self.batch_size}")

    def check(self, loss: Loss, alphas: tuple[float, float]) -> None:  # noqa: ARG002
        """Raise `ConfigError` for L1: a sample has no fixed point on its line then."""
        if alphas[0] > 0:
            raise ConfigError(f"algo {self.name!r} knows penalty='l2' or 'none'; with L1 use algo='wpsgd'")

    def replica(self, task: WorkerTask, weights: NDArray[Any]) -> Replica:
        """Return the model of a node, which starts from `weights`."""
        test = GradientTest(self.max_retries, self.strict)
        return Replica(task, weights, task.kernels.descent(1, self.delay, test), rate=self.rate)

    def report(self, node: Replica) -> dict[str, float]:
        """Return what a node tells of itself: also what has become of its samples."""
        descent = node.descent
        fates = descent.fates if isinstance(descent, TestedDescent) else [node.samples, *[0] * (len(FATES) - 1)]
        return super().report(node) | dict(zip(FATES, map(int, fates), strict=True))

    def step_trial(self, n_samples: int, n_workers: int) -> None:
        """Return None: `natural_step` is used."""

    def natural_step(self, problem: Problem) -> float:
        """Return the longest step that crosses no fixed point along one sample."""
        tau = self.delay
        bound: float = tau**tau / (tau + 1) ** (tau + 1)
        return bound / (sum(problem.alphas) + problem.loss.curvature * problem.scale.largest)
