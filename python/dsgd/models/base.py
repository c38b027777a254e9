"""The loss: it names a model, and says where its parameters start, which objective it has, and how rows step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsgd import _core
from dsgd.data.row_sample import SAMPLE_ROWS
from dsgd.data.statistics import TargetMoments
from dsgd.data.totals import Average
from dsgd.errors import ConfigError
from dsgd.models.feature_major import FeatureMajor, LinearSteps
from dsgd.models.protocols import Objective, ParameterLayout, RowSteps, Samples

__all__ = ["Loss", "weighted_mean"]


def weighted_mean(problem: Samples) -> float:
    """Return the weighted mean of the targets of all rows of a regression; infinite if its sum is."""
    if problem.summary is not None:
        assert isinstance(problem.summary.targets, TargetMoments)
        return float(problem.summary.targets.weighted.mean)
    return Average.of(problem.target, problem.sample_weight).mean


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss, whose mean over the samples a fit minimises.

    The loss of a linear model is l(z, y), with the decision value z = w.x + b and the target y. A loss
    also defines its model: parameter layout, initial weights and objective.
    """

    name: ClassVar[str]
    model: ClassVar[str] = "linear"
    """The kind of model: a key of `dsgd.models.MODELS`, and a name in `Capabilities.models` of algorithms."""
    classification: ClassVar[bool]
    """Whether targets are classes, coded -1 and +1, rather than real numbers."""
    supervised: ClassVar[bool] = True
    """Whether there are targets."""
    penalised: ClassVar[bool] = True
    """Whether there are a penalty and an intercept."""
    joint: ClassVar[bool] = False
    """Whether all classes make one problem, with class numbers as targets. Otherwise each class makes one."""
    curvature: ClassVar[float] = 1.0
    """The greatest second derivative in z; 1 by convention for a loss with a kink."""
    smooth: ClassVar[bool] = True
    """Whether the derivative in z has no jump."""
    steep: ClassVar[bool] = False
    """Whether the derivative in z is unbounded. Too long a step on a sample then increases its own error."""
    scale_free: ClassVar[bool] = False
    """Whether weights w and c w (c > 0) are equally good, so that no step is too long.

    The value of the loss then cannot tell a good step size from a bad one.
    """
    explodes: ClassVar[bool] = True
    """Whether steps that are too long can make the objective grow without bound."""

    starts_from_moments: ClassVar[bool] = False
    """Whether `start` needs the moments of the features."""

    @property
    def start_rows(self) -> int:
        """Rows of the sample that `start` chooses from."""
        return SAMPLE_ROWS

    def to_core(self, n_outputs: int = 1) -> _core.Loss:
        """Return the loss for the core, with `n_outputs` decision values."""
        return _core.Loss(self.name, 0.0, n_outputs)

    def layout(self, n_features: int, n_classes: int, fit_intercept: bool) -> ParameterLayout:  # noqa: ARG002
        """Return the parameter layout of one problem; `n_classes` is 0 for regression."""
        return FeatureMajor(n_features=n_features, fit_intercept=fit_intercept)

    def objective(self, problem: Samples, n_threads: int, inverse_frequency: NDArray[Any] | None) -> Objective:
        """Return the objective of a problem; parameters as for `Problem.objective`."""
        return _core.LinearObjective(
            problem.matrix,
            problem.target,
            problem.sample_weight,
            loss=self.to_core(problem.layout.per_feature),
            alpha_l1=problem.alphas[0],
            alpha_l2=problem.alphas[1],
            fit_intercept=problem.fit_intercept,
            intercept_rate=problem.scale.intercept_rate,
            n_threads=n_threads,
            inverse_frequency=inverse_frequency,
        )

    def of_whole(self, problem: Samples, objective: Objective) -> dict[str, NDArray[Any]]:  # noqa: ARG002
        """Return the arrays that `row_steps` on a part of the rows needs to know of all rows."""
        inverse = objective.inverse_frequency if isinstance(objective, _core.LinearObjective) else None
        return {} if inverse is None else {"inverse_frequency": inverse}

    def row_steps(self, problem: Samples, of_whole: Mapping[str, NDArray[Any]], n_threads: int) -> RowSteps:
        """Return the gradients and steps on named rows.

        Parameters
        ----------
        problem : Samples
            The rows of one worker, with the `scale` of all rows.
        of_whole : mapping of str to ndarray
            What `of_whole` returned for all rows.
        n_threads : int
        """
        return LinearSteps(problem, of_whole.get("inverse_frequency"), n_threads)

    def start(self, problem: Samples, weights: NDArray[Any], seed: int) -> None:  # noqa: ARG002
        """Set the initial weights of a problem in place, if the user gave none; they are zeros before."""
        if problem.fit_intercept and not problem.blind:
            weights[-1] = self._constant_of(problem)

    def first_step(self, momentum: float = 0.9) -> float | None:  # noqa: ARG002
        """Return the step to start from where nobody chose one; None: it is searched for."""
        return None

    def trivial_losses(self, problem: Samples) -> tuple[float, float]:
        """Return the mean loss of the best constant model, and that of a model with all decision values 0."""
        if self.classification:  # at z = 0 both classes have the same loss
            even = problem.mean_weight * float(self.value(0.0, 1.0))
            return even, even
        importance = 1.0 if problem.sample_weight is None else problem.sample_weight
        constant = self._constant_of(problem) if problem.fit_intercept else 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            best, zero = (float(np.mean(importance * self.value(each, problem.target))) for each in (constant, 0.0))
        return best, zero

    def value(self, z: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return l(z, y).

        Parameters
        ----------
        z, y : array-like of float
            Decision values and targets; broadcast against each other.

        Returns
        -------
        ndarray of float64
        """
        return np.asarray(self.to_core().value(z, y))

    def derivative(self, z: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return dl/dz at (z, y), a subgradient at a kink; parameters as for `value`."""
        return np.asarray(self.to_core().derivative(z, y))

    def best_constant(self, y: NDArray[Any], sample_weight: NDArray[Any] | None) -> float:
        """Return the constant decision value that predicts y best; 0 for a classification loss.

        Parameters
        ----------
        y : ndarray of shape (n_samples,)
        sample_weight : ndarray of shape (n_samples,) or None

        Returns
        -------
        float
            For `steep` losses the weighted mean. It is best for the squared loss, and nearly so for
            the squared epsilon-insensitive loss. For losses that are linear far out, the weighted
            median.
        """
        if self.classification:
            return 0.0
        if self.steep:
            return Average.of(y, sample_weight).mean  # an infinite mean is refused later
        order = np.argsort(y)
        with np.errstate(over="ignore"):  # an infinite sum has its half where it overflows
            below = np.cumsum(np.ones(len(y)) if sample_weight is None else sample_weight[order], dtype=np.float64)
        return float(y[order[np.searchsorted(below, below[-1] / 2)]])

    def _constant_of(self, problem: Samples) -> float:
        """Return `best_constant` of all rows of a problem; a median is that of its sample, if it has only that."""
        if problem.summary is not None and self.steep and not self.classification:
            return weighted_mean(problem)
        return self.best_constant(problem.target, problem.sample_weight)

    def probability(self, z: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: ARG002
        """Return the probability of the positive class at decision values z; `ConfigError` if the loss has none."""
        cure = "train with loss='logistic'" if self.classification else "use predict for the predicted numbers"
        raise ConfigError(f"loss {self.name!r} has no probabilities; {cure}")

    def probabilities(self, decision: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probabilities of all classes, shape (n_samples, n_classes), at the decision values of a model.

        For more than two classes, the probabilities of each class against all others are scaled to
        sum 1. `ConfigError` if the loss has no probabilities.
        """
        positive = self.probability(decision.astype(np.float64))
        if positive.ndim == 1:
            return np.stack([1 - positive, positive], axis=1)
        total = positive.sum(axis=1, keepdims=True)
        return np.asarray(np.where(total > 0, positive, 1) / np.where(total > 0, total, positive.shape[1]))
