"""The algorithms in plain numpy, one sample after the other: what the core must equal on one thread.

Nothing here is shared with the core, not even the losses, so that an error cannot hide in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["DERIVATIVES", "VALUES", "objective", "sgd"]

Array = NDArray[np.float64]


def _hinge_value(z: Array, y: Array) -> Array:
    return np.maximum(0, 1 - y * z)


def _hinge_derivative(z: Array, y: Array) -> Array:
    return np.where(y * z < 1, -y, 0.0)


def _logistic_value(z: Array, y: Array) -> Array:
    return np.logaddexp(0, -y * z)


def _logistic_derivative(z: Array, y: Array) -> Array:
    return -y * np.exp(-np.logaddexp(0, y * z))


def _squared_value(z: Array, y: Array) -> Array:
    return (z - y) ** 2 / 2


def _squared_derivative(z: Array, y: Array) -> Array:
    return z - y


VALUES: dict[str, Callable[[Array, Array], Array]] = {
    "hinge": _hinge_value,
    "logistic": _logistic_value,
    "squared": _squared_value,
}
"""l(z, y) by the name of the loss."""

DERIVATIVES: dict[str, Callable[[Array, Array], Array]] = {
    "hinge": _hinge_derivative,
    "logistic": _logistic_derivative,
    "squared": _squared_derivative,
}
"""dl/dz by the name of the loss."""


def objective(X: Array, y: Array, w: Array, b: float, *, loss: str, alpha: float) -> float:
    """Return F(w, b) = (1/n) sum_i l(w.x_i + b, y_i) + alpha/2 ||w||^2.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    w : ndarray of shape (n_features,)
    b : float
    loss : str
    alpha : float

    Returns
    -------
    float
    """
    return float(np.mean(VALUES[loss](X @ w + b, y)) + alpha / 2 * (w @ w))


def sgd(
    X: Array,
    y: Array,
    order: Iterable[int],
    steps: Iterable[float],
    *,
    loss: str,
    alpha: float,
    fit_intercept: bool,
    stored: NDArray[np.bool_] | None = None,
) -> tuple[Array, float]:
    """Return w and b after one step of stochastic gradient descent for every element of `order`.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    order : iterable of int
        The row of each step.
    steps : iterable of float
        The size of each step.
    loss : str
    alpha : float
        L2 strength.
    fit_intercept : bool
    stored : ndarray of bool, shape (n_samples, n_features), optional
        The entries that a sparse matrix stores; all by default (a dense matrix).

    Returns
    -------
    w : ndarray of shape (n_features,)
    b : float
    """
    support = np.ones(X.shape, bool) if stored is None else stored
    frequency = np.maximum(support.sum(axis=0), 1) / len(X)
    w, b = np.zeros(X.shape[1]), 0.0
    for i, step in zip(order, steps, strict=True):
        gradient = float(DERIVATIVES[loss](np.asarray(X[i] @ w + b), y[i]))
        visited = support[i]
        w[visited] -= step * gradient * X[i, visited]
        w[visited] /= 1 + step * alpha / frequency[visited]  # the degree split of L2
        if fit_intercept:
            b -= step * gradient
    return w, b
