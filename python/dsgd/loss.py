"""What a loss is: what `dsgd.fit` minimises the mean of, and what follows from it for the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsgd import _core
from dsgd.errors import ConfigError
from dsgd.objective import Objective
from dsgd.parameters import FeatureMajor, ParameterLayout

if TYPE_CHECKING:
    from dsgd.problem import Problem

__all__ = ["Loss"]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss l(z, y) of the decision value z = w.x + b and the target y; or that of another model, which says how."""

    name: ClassVar[str]
    model: ClassVar[str] = "linear"
    """The kind of model, by which algorithms say what they train, and which class of `dsgd.models` it is."""
    classification: ClassVar[bool]
    """Whether targets are classes, coded -1 and +1, rather than real numbers."""
    supervised: ClassVar[bool] = True
    """Whether there are targets."""
    penalised: ClassVar[bool] = True
    """Whether there are a penalty and an intercept."""
    joint: ClassVar[bool] = False
    """Whether all classes make one problem, whose targets are their numbers, rather than one each."""
    curvature: ClassVar[float] = 1.0
    """The greatest second derivative in z; 1 by convention for a loss with a kink."""
    smooth: ClassVar[bool] = True
    """Whether the derivative in z has no jump."""
    steep: ClassVar[bool] = False
    """Whether the slope grows without bound, so that a step too long for one sample makes its error grow."""
    scale_free: ClassVar[bool] = False
    """Whether weights of any length are as good, so that no step is too long and a loss says nothing of the step."""
    explodes: ClassVar[bool] = True
    """Whether steps that are too long can make the objective grow without bound."""

    def core(self, n_outputs: int = 1) -> _core.Loss:
        """Return the loss for the core, of so many decision values."""
        return _core.Loss(self.name, 0.0, n_outputs)

    def layout(self, n_features: int, n_classes: int, fit_intercept: bool) -> ParameterLayout:  # noqa: ARG002
        """Return where the parameters of one problem lie; `n_classes` is 0 for regression."""
        return FeatureMajor(n_features=n_features, fit_intercept=fit_intercept)

    def objective(self, problem: Problem, n_threads: int, inverse_frequency: NDArray[Any] | None) -> Objective:
        """Return the objective for the core; parameters as for `Problem.objective`."""
        return _core.LinearObjective(
            problem.matrix,
            problem.target,
            problem.sample_weight,
            loss=self.core(problem.layout.per_feature),
            alpha_l1=problem.alphas[0],
            alpha_l2=problem.alphas[1],
            fit_intercept=problem.fit_intercept,
            intercept_rate=problem.scale.intercept_rate,
            n_threads=n_threads,
            inverse_frequency=inverse_frequency,
        )

    def start(self, problem: Problem, weights: NDArray[Any], seed: int) -> None:  # noqa: ARG002
        """Set the weights that a problem is trained from where nobody gave any; they are zeros before."""
        if problem.fit_intercept:
            weights[-1] = self.best_constant(problem.target, problem.sample_weight)

    def first_step(self) -> float | None:
        """Return the step to start from where nobody chose one; None: it is searched for."""
        return None

    def trivial_losses(self, problem: Problem) -> tuple[float, float]:
        """Return the mean losses of the best model without any feature, and of one whose decision values are zeros."""
        if self.classification:  # either class costs as much
            even = problem.mean_weight * float(self.value(0.0, 1.0))
            return even, even
        importance = 1.0 if problem.sample_weight is None else problem.sample_weight
        constant = self.best_constant(problem.target, problem.sample_weight) if problem.fit_intercept else 0.0
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
        return np.asarray(self.core().value(z, y))

    def derivative(self, z: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return dl/dz at (z, y), a subgradient at a kink; parameters as for `value`."""
        return np.asarray(self.core().derivative(z, y))

    def best_constant(self, y: NDArray[Any], sample_weight: NDArray[Any] | None) -> float:
        """Return the decision value that predicts y best without any feature; 0 for a loss of classification.

        Parameters
        ----------
        y : ndarray of shape (n_samples,)
        sample_weight : ndarray of shape (n_samples,) or None

        Returns
        -------
        float
            The weighted mean for losses that are steep (best for the squared loss, near it where small errors cost
            nothing), the weighted median for the losses that are linear far out.
        """
        if self.classification:
            return 0.0
        if self.steep:
            with np.errstate(over="ignore", invalid="ignore"):  # of a constant that is refused later
                return float(np.average(y.astype(np.float64), weights=sample_weight))
        order = np.argsort(y)
        with np.errstate(over="ignore"):  # half of an infinite sum is reached where it becomes infinite
            below = np.cumsum(np.ones(len(y)) if sample_weight is None else sample_weight[order], dtype=np.float64)
        return float(y[order[np.searchsorted(below, below[-1] / 2)]])

    def probability(self, z: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: ARG002
        """Return the probability of the positive class at decision values z; `ConfigError` if the loss has none."""
        cure = "train with loss='logistic'" if self.classification else "predict gives what it has"
        raise ConfigError(f"loss {self.name!r} has no probabilities; {cure}")

    def probabilities(self, decision: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probabilities of all classes, shape (n_samples, n_classes), at the decision values of a model.

        For more than two classes those of each against all others, scaled to sum 1; `ConfigError` if there are none.
        """
        positive = self.probability(decision.astype(np.float64))
        if positive.ndim == 1:
            return np.stack([1 - positive, positive], axis=1)
        total = positive.sum(axis=1, keepdims=True)
        return np.asarray(np.where(total > 0, positive, 1) / np.where(total > 0, total, positive.shape[1]))
