"""Multinomial logistic regression: one decision value a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsgd import _core
from dsgd.data.inputs import real_dtype
from dsgd.models.base import Loss
from dsgd.models.feature_major import FeatureMajor
from dsgd.models.linear import LinearModel
from dsgd.models.protocols import ParameterLayout, Samples

__all__ = ["Softmax", "SoftmaxModel"]


@dataclass(frozen=True, kw_only=True)
class Softmax(Loss):
    """log(sum_c exp(z_c)) - z_y: multinomial logistic regression, one decision value z_c = w_c.x + b_c a class.

    All classes are trained together, even if there are only two. The weights of all classes are
    regularised.
    """

    name = "softmax"
    model = "softmax"
    classification = True
    joint = True
    curvature = 0.5  # the greatest eigenvalue of diag(p) - p p' is at most 1/2

    def layout(self, n_features: int, n_classes: int, fit_intercept: bool) -> ParameterLayout:
        """Return the parameter layout: feature by feature, one weight for each class."""
        return FeatureMajor(n_features=n_features, n_outputs=n_classes, fit_intercept=fit_intercept)

    def start(self, problem: Samples, weights: NDArray[Any], seed: int) -> None:
        """Leave the initial weights at zeros."""

    def trivial_losses(self, problem: Samples) -> tuple[float, float]:
        """Return the mean loss of equal probabilities for all classes, for both models."""
        even = problem.mean_weight * float(np.log(problem.layout.per_feature))
        return even, even

    def value(self, z: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return l(z, y).

        Parameters
        ----------
        z : array-like of shape (n_samples, n_classes)
        y : array-like of int, shape (n_samples,)
            Numbers of classes.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
        """
        decision, target = np.asarray(z, np.float64), np.asarray(y, np.intp)
        of_target = np.take_along_axis(decision, target[:, None], axis=1)[:, 0]
        from scipy.special import logsumexp  # slow to import

        with np.errstate(over="ignore"):  # a difference may be -inf: its exponential is 0
            return np.asarray(logsumexp(decision, axis=1) - of_target)

    def derivative(self, z: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return dl/dz at (z, y), of the shape of z; parameters as for `value`."""
        decision, target = np.asarray(z, np.float64), np.asarray(y, np.intp)
        return np.asarray(self.probabilities(decision) - (target[:, None] == np.arange(decision.shape[1])))

    def probabilities(self, decision: NDArray[Any]) -> NDArray[np.float64]:
        """Return exp(z_c) / sum_c exp(z_c)."""
        from scipy.special import softmax  # slow to import

        with np.errstate(over="ignore"):
            return np.asarray(softmax(decision.astype(np.float64), axis=1))


@dataclass(frozen=True, kw_only=True)
class SoftmaxModel(LinearModel):
    """Multinomial logistic regression: one decision value a class, even for two classes.

    Attributes
    ----------
    weights : ndarray of shape (1, n_parameters)
        Feature by feature the weights of all classes, then the intercepts if there are any.
    fit_intercept, loss
        As for `LinearModel`.
    classes : ndarray of shape (n_classes,)
        Sorted.
    """

    @property
    def _by_feature(self) -> NDArray[Any]:
        return self.weights.reshape(-1, self._counts()[1])

    @property
    def n_features(self) -> int:
        """Number of features it was trained on."""
        return len(self._by_feature) - int(self.fit_intercept)

    @property
    def coef(self) -> NDArray[Any]:
        """The weights of the features, shape (n_classes, n_features)."""
        return self._by_feature[: self.n_features].T

    @property
    def intercept(self) -> Any:
        """The intercepts, shape (n_classes,); zeros without intercepts."""
        return self._by_feature[-1] if self.fit_intercept else np.zeros(self._counts()[1], self.weights.dtype)

    def decide(self, matrix: _core.Matrix, threads: int) -> NDArray[Any]:
        """Return the decision values of a matrix that is already checked, shape (n_rows, n_classes)."""
        weights = np.ascontiguousarray(self.weights[0], dtype=real_dtype(matrix))
        out = np.empty((matrix.n_rows, self._counts()[1]), weights.dtype)
        matrix.decision_function(weights, self.fit_intercept, out, threads)
        return out

    def _counts(self) -> tuple[int, int]:
        return 1, 0 if self.classes is None else len(self.classes)
