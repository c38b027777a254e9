"""Dual coordinate ascent in plain numpy, slow and clear: what the core must equal on one thread in double precision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from dsgd.testing.loss_reference import DERIVATIVES, Array

__all__ = ["dual_step", "sdca"]


def dual_step(loss: str, z: float, beta: float, q: float, y: float) -> float:
    """Return the b that maximises the dual along one variable: b = -l'(z + q (b - beta), y), by halving.

    b + l'(z + q (b - beta), y) grows with b, also where l' jumps, and changes its sign between beta and -l'(z, y).

    Parameters
    ----------
    loss : str
    z : float
        The decision before the step.
    beta : float
        The dual variable before the step.
    q : float
        By how much the decision grows with the dual variable.
    y : float

    Returns
    -------
    float
    """

    def slope(at: float) -> float:
        return float(DERIVATIVES[loss](np.asarray(at), np.asarray(y)))

    low, high = sorted((beta, -slope(z)))
    while high - low > 1e-17 and low < (middle := (low + high) / 2) < high:
        below = middle + slope(z + q * (middle - beta)) < 0
        low, high = (middle, high) if below else (low, middle)
    bound = round(high)  # the bounds of every loss but huber are whole numbers
    return float(bound) if abs(high - bound) < 1e-15 else high


def sdca(
    X: Array,
    y: Array,
    orders: Iterable[Iterable[int]],
    *,
    loss: str,
    alpha: float,
    fit_intercept: bool,
    sample_weight: Array | None = None,
    intercept_rate: float = 1.0,
    damping: float = 1.0,
    max_rest: int = 0,
    sgd_first: bool = False,
) -> Iterator[tuple[Array, float, Array, list[int]]]:
    """Yield w, b, the dual variables and the rows visited after every epoch of dual coordinate ascent.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    orders : iterable of iterables of int
        The rows of each epoch, those at rest among them.
    loss : str
    alpha : float
        L2 strength.
    fit_intercept : bool
    sample_weight : ndarray of shape (n_samples,), optional
    intercept_rate : float
        The square of the constant feature that the intercept is the weight of.
    damping : float
    max_rest : int
        Epochs, at most, that a row whose step changed nothing is left out.
    sgd_first : bool
        Whether the steps of the first epoch are those on a problem that has only the rows visited so far.

    Yields
    ------
    w : ndarray of shape (n_features,)
    b : float
    beta : ndarray of shape (n_samples,)
    visited : list of int
    """
    importance = np.ones(len(X)) if sample_weight is None else sample_weight
    constant = intercept_rate if fit_intercept else 0.0
    scale = importance / (alpha * len(X))
    curvature = scale * ((X**2).sum(axis=1) + constant)
    beta, centre = np.zeros(len(X)), 0.0
    rest, idle = np.zeros(len(X), int), np.zeros(len(X), int)  # epochs still left out; visits in vain in a row
    for epoch, order in enumerate(orders):
        visited = [i for i in order if rest[i] == 0]
        rest = np.maximum(rest - 1, 0)
        for t, i in enumerate(visited, start=1):
            # Primal weights afresh from the dual ones: nothing is carried from step to step.
            w, b = X.T @ (scale * beta), centre + constant * float(scale @ beta)
            before = beta[i]
            share = len(X) / t if sgd_first and epoch == 0 else 1.0  # of a row in a mean over t rows, in that over n
            z = centre + share * float(X[i] @ w + b - centre)
            beta[i] = dual_step(loss, z, before, share * damping * curvature[i], y[i])
            idle[i] = 0 if beta[i] != before else idle[i] + 1
            rest[i] = min(2 ** idle[i] // 2, max_rest)
        moved = constant * float(scale @ beta)
        centre += moved
        yield X.T @ (scale * beta), centre + moved, beta.copy(), visited
