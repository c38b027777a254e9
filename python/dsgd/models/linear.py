"""Linear models: losses of one decision value w.x + b, and what a trained model predicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.checks import check_flag, check_real
from dsgd.data.inputs import real_dtype
from dsgd.errors import DataError
from dsgd.models.base import Loss
from dsgd.models.trained import Model

__all__ = [
    "EpsilonInsensitive",
    "Hinge",
    "Huber",
    "LinearModel",
    "Logistic",
    "ModifiedHuber",
    "Perceptron",
    "Squared",
    "SquaredEpsilonInsensitive",
    "SquaredHinge",
]


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
        """Return (1 + z) / 2, cut to [0, 1]: the probability at which z has the least expected loss."""
        return (1 + np.clip(z, -1, 1)) / 2


@dataclass(frozen=True, kw_only=True)
class Squared(Loss):
    """(z - y)^2 / 2: least squares."""

    name = "squared"
    classification = False
    steep = True


@dataclass(frozen=True)
class Huber(Loss):
    """Least squares for small errors, linear for large ones: robust against outliers.

    Parameters
    ----------
    epsilon : float, default=0.1
        The error |z - y| from which on the loss is linear, in units of y; above 0.
    """

    name = "huber"
    classification = False
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", check_real("epsilon", self.epsilon, 0, low_open=True))

    def to_core(self, n_outputs: int = 1) -> _core.Loss:
        """Return the loss for the core, with `n_outputs` decision values."""
        return _core.Loss(self.name, self.epsilon, n_outputs)


@dataclass(frozen=True)
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

    def to_core(self, n_outputs: int = 1) -> _core.Loss:
        """Return the loss for the core, with `n_outputs` decision values."""
        return _core.Loss(self.name, self.epsilon, n_outputs)


@dataclass(frozen=True)
class SquaredEpsilonInsensitive(EpsilonInsensitive):
    """max(0, |z - y| - epsilon)^2; parameters as for `EpsilonInsensitive`."""

    name = "squared_epsilon_insensitive"
    smooth = True
    curvature = 2.0
    steep = True


@dataclass(frozen=True, kw_only=True)
class LinearModel(Model):
    """A trained linear model.

    Attributes
    ----------
    weights : ndarray of shape (n_problems, n_parameters)
        A row for each problem: one for a regression or two classes, otherwise one for each class
        against all others. A row has the weights of the features, then the intercept if there is one.
    fit_intercept : bool
    loss : Loss
    classes : ndarray of shape (n_classes,) or None
        Sorted; of two classes the first is the negative one. None for regression.
    """

    fit_intercept: bool

    @property
    def n_features(self) -> int:
        """Number of features it was trained on."""
        return int(self.weights.shape[1]) - int(self.fit_intercept)

    @property
    def coef(self) -> NDArray[Any]:
        """The weights of the features, shape (n_features,), or (n_classes, n_features) for more than two classes."""
        coef = self.weights[:, : self.n_features]
        return coef[0] if len(coef) == 1 else coef

    @property
    def intercept(self) -> Any:
        """The intercept: a float, or shape (n_classes,) for more than two classes; 0 without an intercept."""
        intercept = self.weights[:, -1] if self.fit_intercept else np.zeros(len(self.weights), self.weights.dtype)
        return float(intercept[0]) if len(intercept) == 1 else intercept

    def decide(self, matrix: _core.Matrix, threads: int) -> NDArray[Any]:
        """Return the decision values of a matrix that is already checked."""
        weights = np.ascontiguousarray(self.weights, dtype=real_dtype(matrix))
        out = np.empty((len(weights), matrix.n_rows), weights.dtype)
        for w, z in zip(weights, out, strict=True):
            matrix.decision_function(w, self.fit_intercept, z, threads)
        return out[0] if len(out) == 1 else out.T

    @classmethod
    def untrained(cls, weights: NDArray[Any], loss: Loss, classes: NDArray[Any] | None, fit_intercept: bool) -> Self:
        """Return the model that a fit trains in place; `weights` are the initial ones."""
        return cls(weights=weights, fit_intercept=fit_intercept, loss=loss, classes=classes)

    def description(self) -> dict[str, Any]:
        """Return what `from_description` needs in addition to weights, loss and classes."""
        return {"fit_intercept": self.fit_intercept}

    @classmethod
    def from_description(
        cls, description: dict[str, Any], weights: NDArray[Any], loss: Loss, classes: NDArray[Any] | None
    ) -> LinearModel:
        """Return the model of a description and its weights; `DataError` if they do not fit."""
        fit_intercept = description["fit_intercept"]
        check_flag("fit_intercept", fit_intercept)
        model = cls(weights=weights, fit_intercept=fit_intercept, loss=loss, classes=classes)
        n_problems, per_feature = model._counts()
        if len(weights) != n_problems:
            raise DataError(f"its weights are those of {len(weights)} problems; loss and classes make {n_problems}")
        width, rest = divmod(weights.shape[1], per_feature)
        if width <= fit_intercept or rest:
            raise DataError(f"its weights have shape {weights.shape}, with {per_feature} for every feature")
        return model

    def _counts(self) -> tuple[int, int]:
        """Return the number of problems, and the number of weights per feature in each problem."""
        return 1 if self.classes is None or len(self.classes) == 2 else len(self.classes), 1
