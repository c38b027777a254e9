"""Losses of a linear model, as objects that `dsgd.fit` takes in place of a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsgd import _core
from dsgd.checks import check_real, shown, unknown_name
from dsgd.errors import ConfigError

__all__ = [
    "EpsilonInsensitive",
    "Hinge",
    "Huber",
    "Logistic",
    "Loss",
    "ModifiedHuber",
    "Perceptron",
    "Squared",
    "SquaredEpsilonInsensitive",
    "SquaredHinge",
    "resolve_loss",
]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss l(z, y) of the decision value z = w.x + b and the target y."""

    name: ClassVar[str]
    classification: ClassVar[bool]
    """Whether targets are classes, coded -1 and +1, rather than real numbers."""
    curvature: ClassVar[float] = 1.0
    """The greatest second derivative in z; 1 by convention for a loss with a kink."""
    smooth: ClassVar[bool] = True
    """Whether the derivative in z has no jump."""
    steep: ClassVar[bool] = False
    """Whether the slope grows without bound, so that a step too long for one sample makes its error grow."""
    scale_free: ClassVar[bool] = False
    """Whether weights of any length are as good, so that no step is too long and a loss says nothing of the step."""

    def core(self) -> _core.Loss:
        """Return the loss for the core."""
        return _core.Loss(self.name, 0.0)

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
            return float(np.average(y.astype(np.float64), weights=sample_weight))
        order = np.argsort(y)
        below = np.cumsum(np.ones(len(y)) if sample_weight is None else sample_weight[order], dtype=np.float64)
        return float(y[order[np.searchsorted(below, below[-1] / 2)]])

    def probability(self, z: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: ARG002
        """Return the probability of the positive class at decision values z; `ConfigError` if the loss has none."""
        raise ConfigError(f"loss {self.name!r} has no probabilities; train with loss='logistic'")

    def probabilities(self, decision: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probabilities of all classes, shape (n_samples, n_classes), at the decision values of a model.

        For more than two classes those of each against all others, scaled to sum 1; `ConfigError` if there are none.
        """
        positive = self.probability(decision.astype(np.float64))
        if positive.ndim == 1:
            return np.stack([1 - positive, positive], axis=1)
        total = positive.sum(axis=1, keepdims=True)
        return np.asarray(np.where(total > 0, positive, 1) / np.where(total > 0, total, positive.shape[1]))


@dataclass(frozen=True, kw_only=True)
class Hinge(Loss):
    """max(0, 1 - y z): the linear support vector machine."""

    name = "hinge"
    smooth = False
    classification = True


@dataclass(frozen=True, kw_only=True)
class SquaredHinge(Loss):
    """max(0, 1 - y z)^2."""

    name = "squared_hinge"
    classification = True
    curvature = 2.0
    steep = True


@dataclass(frozen=True, kw_only=True)
class Perceptron(Loss):
    """max(0, -y z): only samples on the wrong side count, and weights of zero cost nothing."""

    name = "perceptron"
    smooth = False
    classification = True
    scale_free = True


@dataclass(frozen=True, kw_only=True)
class Logistic(Loss):
    """ln(1 + exp(-y z)): logistic regression, with probabilities."""

    name = "logistic"
    classification = True
    curvature = 0.25

    def probability(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return 1 / (1 + exp(-z))."""
        from scipy.special import expit  # slow to import

        return np.asarray(expit(z))


@dataclass(frozen=True, kw_only=True)
class ModifiedHuber(Loss):
    """The squared hinge, linear where y z < -1: robust, and with probabilities (Zhang 2004)."""

    name = "modified_huber"
    classification = True
    curvature = 2.0

    def probability(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (1 + z) / 2, cut to [0, 1]: where the expected loss is least at z."""
        return (1 + np.clip(z, -1, 1)) / 2


@dataclass(frozen=True, kw_only=True)
class Squared(Loss):
    """(z - y)^2 / 2: least squares."""

    name = "squared"
    classification = False
    steep = True


@dataclass(frozen=True, kw_only=True)
class Huber(Loss):
    """Least squares up to a distance, then linear: robust against outliers.

    Parameters
    ----------
    epsilon : float, default=0.1
        That distance, in units of y; above 0.
    """

    name = "huber"
    classification = False
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", check_real("epsilon", self.epsilon, 0, low_open=True))

    def core(self) -> _core.Loss:
        """Return the loss for the core."""
        return _core.Loss(self.name, self.epsilon)


@dataclass(frozen=True, kw_only=True)
class EpsilonInsensitive(Loss):
    """max(0, |z - y| - epsilon): linear support vector regression.

    Parameters
    ----------
    epsilon : float, default=0.1
        Errors up to this, in units of y, cost nothing; at least 0.
    """

    name = "epsilon_insensitive"
    smooth = False
    classification = False
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", check_real("epsilon", self.epsilon, 0))

    def core(self) -> _core.Loss:
        """Return the loss for the core."""
        return _core.Loss(self.name, self.epsilon)


@dataclass(frozen=True, kw_only=True)
class SquaredEpsilonInsensitive(EpsilonInsensitive):
    """max(0, |z - y| - epsilon)^2; parameters as for `EpsilonInsensitive`."""

    name = "squared_epsilon_insensitive"
    smooth = True
    curvature = 2.0
    steep = True


_CLASSIFICATION: tuple[type[Loss], ...] = (Hinge, SquaredHinge, Perceptron, Logistic, ModifiedHuber)
_REGRESSION: tuple[type[Loss], ...] = (Squared, Huber, EpsilonInsensitive, SquaredEpsilonInsensitive)

LOSSES: dict[str, type[Loss]] = {loss.name: loss for loss in (*_CLASSIFICATION, *_REGRESSION)}

SKLEARN_NAMES = {"logistic": "log_loss", "squared": "squared_error"}
"""What scikit-learn calls the losses that have another name there; their parameters are the same."""


def resolve_loss(loss: Any) -> Loss:
    """Return the loss of that name, or the object itself; `ConfigError` for anything else."""
    if isinstance(loss, Loss) and isinstance(loss, tuple(LOSSES.values())):  # the base class has no name
        return loss
    if not isinstance(loss, str):
        raise ConfigError(f"loss must be a name or an object of dsgd.losses, not {shown(loss)}")
    if loss not in LOSSES:
        raise unknown_name("loss", loss, LOSSES)
    return LOSSES[loss]()
