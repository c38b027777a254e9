"""Stochastic gradient descent with delayed gradients that are tested, in plain numpy.

Algorithms 3 and 4 of Cheng, Li, Zhang, "Weighted parallel SGD for distributed unbalanced-workload
training system", as docs/algorithms/wpsgd-delay.md reconstructs them. All kept weights are stored.
The core must give the same in double precision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from dsgd.testing.loss_reference import DERIVATIVES, EPSILON, Array

__all__ = ["CURVATURES", "delayed_sgd"]

CURVATURES = {
    "squared_hinge": 2.0,
    "logistic": 0.25,
    "modified_huber": 2.0,
    "squared": 1.0,
    "huber": 1.0,
    "squared_epsilon_insensitive": 2.0,
}
"""The greatest second derivative of every smooth loss of one decision value."""

# A product of weights above minus so many times their square is not negative, but rounded.
_ROUNDING = 1000 * np.finfo(np.float64).eps


def delayed_sgd(
    X: Array,
    y: Array,
    order: Iterable[int],
    steps: Iterable[float],
    *,
    loss: str,
    alpha: float,
    fit_intercept: bool,
    delay: int,
    max_retries: int,
    strict: bool = False,
    sample_weight: Array | None = None,
    intercept_rate: float = 1.0,
    start: tuple[Array, float] | None = None,
) -> Iterator[tuple[Array, float, str]]:
    """Yield w, b and what has become of the sample, for every element of `order`.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    order : iterable of int
        The row of each sample.
    steps : iterable of float
        The step size of each sample.
    loss : str
    alpha : float
        L2 strength. L2 acts on the present weights.
    fit_intercept : bool
    delay : int
        Steps between the weights of a gradient and the step along it.
    max_retries : int
        After so many rejected samples in turn a step is made along the gradient of the present weights.
    strict : bool
        Whether a step must also keep the contraction rate 1 - step alpha.
    sample_weight : ndarray of shape (n_samples,), optional
    intercept_rate : float
        The intercept's step divided by the step of the weights.
    start : ndarray of shape (n_features,) and float, optional
        The first w and b; by default 0.

    Yields
    ------
    w : ndarray of shape (n_features,)
    b : float
    fate : {"accepted", "fresh", "both_sides", "crossing", "turned", "slower"}
    """
    importance = np.ones(len(X)) if sample_weight is None else sample_weight
    kept = [(np.zeros(X.shape[1]), 0.0) if start is None else start]  # the newest first
    rejections = 0
    for i, step in zip(order, steps, strict=True):
        w, b = kept[0]
        untested = len(kept) == 1 or rejections >= max_retries
        old_w, old_b = kept[0] if untested else kept[-1]
        gradient = importance[i] * float(DERIVATIVES[loss](X[i] @ old_w + old_b, y[i]))
        moved = (w - step * gradient * X[i]) / (1 + step * alpha)
        length = float(np.linalg.norm(X[i]))
        if untested:
            fate = "fresh" if rejections > 0 else "accepted"
        elif length == 0:
            fate = "accepted"
        else:
            line = np.array([X[i] @ weights for weights, _ in kept]) / length
            ends = _fixed_point(line, loss, alpha, importance[i] * length, length, b, y[i])
            fate = _judge(line, X[i] @ moved / length, ends)
            if fate == "accepted" and strict:
                fate = _judge_strictly(line, w, old_w, ends)
        if fate in ("accepted", "fresh"):
            moved_b = b - intercept_rate * step * gradient if fit_intercept else b
            kept = [(moved, moved_b), *kept][: delay + 1]
            rejections = 0
        else:
            rejections += 1
        yield kept[0][0].copy(), kept[0][1], fate


def _fixed_point(
    line: Array, loss: str, alpha: float, pull: float, length: float, b: float, y: float
) -> tuple[float, float]:
    """Return bounds of the root nearest to line[0] of g(p) = alpha p + pull l'(length p + b, y)."""
    now = float(line[0])
    slopes = alpha * line + pull * DERIVATIVES[loss](length * line + b, np.full(len(line), y))
    if slopes[0] == 0:
        return now, now
    if loss not in CURVATURES:  # l' is -1, 0 or 1, and 0 between two decision values
        margin = {"hinge": 1.0, "perceptron": 0.0}.get(loss)
        flat = [y - EPSILON, y + EPSILON] if margin is None else sorted((y * margin, y * np.inf))
        begin, end = (np.array(flat) - b) / length
        root = float(np.clip(now if alpha == 0 else 0.0, begin, end))
        if alpha > 0:
            root = float(np.clip(root, -pull / alpha, pull / alpha))
        return root, root
    # Without L2 one end is infinite. Where the slope is 0 the nearest root lies from there on towards now.
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.where(slopes == 0, np.copysign(np.inf, now - line), line - slopes / np.float64(alpha))
    near = line - slopes / (alpha + pull * CURVATURES[loss] * length)
    low, high = float(np.minimum(near, far).max()), float(np.maximum(near, far).min())
    return (low, high) if low <= high else ((low + high) / 2, (low + high) / 2)


def _judge(line: Array, after: float, ends: tuple[float, float]) -> str:
    """Return whether all kept weights lie on one side of the fixed point, and the step does not cross it."""
    low, high = ends
    above, below = (line >= high).all(), (line <= low).all()
    if not above and not below:
        return "both_sides"
    return "accepted" if (above and after >= high) or (below and after <= low) else "crossing"


def _judge_strictly(line: Array, w: Array, old_w: Array, ends: tuple[float, float]) -> str:
    """Return whether a step along the gradient at `old_w` brings w as near to its fixed point as one without delay."""
    if w @ old_w - line[0] * line[-1] < -_ROUNDING * (w @ w):
        return "turned"
    end = ends[1] if (line >= ends[1]).all() else ends[0]
    return "slower" if abs(line[-1] - end) < abs(line[0] - end) else "accepted"
