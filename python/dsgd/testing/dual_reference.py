"""Dual coordinate ascent (Shalev-Shwartz and Zhang 2013), and the dual objective, in plain numpy.

It is slow and clear. The core must give the same on one thread in double precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from dsgd.testing.loss_reference import DERIVATIVES, VALUES, Array

__all__ = ["dual_objective", "dual_step", "sdca"]


def dual_objective(
    X: Array, y: Array, beta: Array, *, loss: str, alphas: tuple[float, float], sample_weight: Array | float = 1.0
) -> float:
    """Return D(beta) = (1/n) sum_i s_i min_z (l(z, y_i) + beta_i z) - max_w (u.w - alpha R(w)), u = X' s beta / n.

    Both extrema are found by bisection, of all samples and of all weights together. -inf where the second one is.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y, beta : ndarray of shape (n_samples,)
    loss : str
    alphas : tuple of two floats
        Strengths of ||w||_1 and of ||w||^2 / 2.
    sample_weight : ndarray of shape (n_samples,), optional
    """
    z = _rising_zero(lambda z: DERIVATIVES[loss](z, y) + beta, len(y))
    u = X.T @ (sample_weight * beta) / len(y)
    if alphas[1] == 0:
        return (
            float(np.mean(sample_weight * (VALUES[loss](z, y) + beta * z))) if np.abs(u).max() <= alphas[0] else -np.inf
        )
    w = _rising_zero(lambda w: alphas[1] * w + alphas[0] * np.sign(w) - u, len(u))
    conjugate = u @ w - alphas[0] * np.abs(w).sum() - alphas[1] / 2 * w @ w
    return float(np.mean(sample_weight * (VALUES[loss](z, y) + beta * z)) - conjugate)


def _rising_zero(f: Callable[[Array], Array], size: int) -> Array:
    """Return where every element of a function that rises with its own argument changes its sign, by bisection."""
    low, high = np.full(size, -1e4), np.full(size, 1e4)
    for _ in range(100):
        middle = (low + high) / 2
        below = f(middle) < 0
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return high


def dual_step(loss: str, z: float, beta: float, q: float, y: float) -> float:
    """Return the value b of one dual variable that maximises the dual objective, by bisection.

    b solves b = -l'(z + q (b - beta), y). The function b + l'(z + q (b - beta), y) grows with b,
    also where l' jumps, and changes its sign between beta and -l'(z, y).

    Parameters
    ----------
    loss : str
    z : float
        The decision before the step.
    beta : float
        The dual variable before the step.
    q : float
        Derivative of the decision by the dual variable.
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
    bound = round(high)  # the bounds of b are whole numbers but for huber
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
) -> Iterator[tuple[Array, float, Array, list[int], float]]:
    """Yield the state of dual coordinate ascent after every epoch.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    orders : iterable of iterables of int
        The rows of each epoch in their order, including rows that are left out.
    loss : str
    alpha : float
        L2 strength.
    fit_intercept : bool
    sample_weight : ndarray of shape (n_samples,), optional
    intercept_rate : float
        The square of the constant feature whose weight is the intercept.
    damping : float
        Factor of `q` in every step; above 1 steps are shorter.
    max_rest : int
        Most epochs for which a row is left out after steps that did not change its dual variable.
    sgd_first : bool
        Whether steps of the first epoch are made as if the problem had only the rows visited so
        far.

    Yields
    ------
    w : ndarray of shape (n_features,)
    b : float
    beta : ndarray of shape (n_samples,)
    visited : list of int
    loss : float
        The mean over all rows of the loss before the row's last step.
    """
    importance = np.ones(len(X)) if sample_weight is None else sample_weight
    constant = intercept_rate if fit_intercept else 0.0
    scale = importance / (alpha * len(X))
    curvature = scale * ((X**2).sum(axis=1) + constant)
    beta, centre, seen = np.zeros(len(X)), 0.0, np.zeros(len(X))
    # rest: epochs for which a row is still left out; idle: its last visits that changed nothing.
    rest, idle = np.zeros(len(X), int), np.zeros(len(X), int)
    for epoch, order in enumerate(orders):
        visited = [i for i in order if rest[i] == 0]
        rest = np.maximum(rest - 1, 0)
        for t, i in enumerate(visited, start=1):
            # The primal weights are computed anew from the dual variables; steps carry nothing
            # over.
            w, b = X.T @ (scale * beta), centre + constant * float(scale @ beta)
            before = beta[i]
            seen[i] = importance[i] * VALUES[loss](X[i] @ w + b, y[i])
            share = len(X) / t if sgd_first and epoch == 0 else 1.0  # weight in a mean over t rows, by that over n
            z = centre + share * float(X[i] @ w + b - centre)
            beta[i] = dual_step(loss, z, before, share * damping * curvature[i], y[i])
            idle[i] = 0 if beta[i] != before else idle[i] + 1
            rest[i] = min(2 ** idle[i] // 2, max_rest)
        moved = constant * float(scale @ beta)
        centre += moved
        yield X.T @ (scale * beta), centre + moved, beta.copy(), visited, float(seen.mean())
