"""The least objective of a small linear problem, by scipy's solvers, beside which duality gaps are tested."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from dsgd.testing import reference

__all__ = ["LABELS", "NUMBERS", "least"]

Array = NDArray[np.float64]
LABELS = ["hinge", "squared_hinge", "modified_huber", "logistic"]
NUMBERS = ["squared", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"]
KINKED = ["hinge", "epsilon_insensitive"]


def least(
    X: Array, y: Array, *, loss: str, alphas: tuple[float, float], fit_intercept: bool, importance: Array
) -> float:
    """Return the least objective that scipy finds: of a smooth loss by L-BFGS, of kinked ones by SLSQP.

    The latter is given a bound of each sample's loss beside the weights, and as constraints that it is one. Under L1
    the weights are differences of two numbers of at least 0.
    """
    n, d = X.shape
    signs = np.hstack([np.eye(d), -np.eye(d)]) if alphas[0] > 0 else np.eye(d)
    low = [(0 if alphas[0] > 0 else None, None)] * signs.shape[1] + [(None, None)] * fit_intercept
    start = np.zeros(len(low))
    l1 = np.append(np.full(signs.shape[1], alphas[0]), [0.0] * fit_intercept)

    def parts(v: Array) -> tuple[Array, float]:
        return signs @ v[: signs.shape[1]], float(v[signs.shape[1]]) if fit_intercept else 0.0

    def value(v: Array) -> float:
        w, b = parts(v)
        smooth = reference.objective(X, y, w, b, loss=loss, alpha=alphas[1], sample_weight=importance)
        return smooth + float(l1 @ v)

    def gradient(v: Array) -> Array:
        w, b = parts(v)
        in_w, in_b = reference.loss_gradient(X, y, w, b, loss=loss, sample_weight=importance)
        found: Array = np.append(signs.T @ (in_w + alphas[1] * w), in_b)[: len(v)] + l1
        return found

    if loss not in KINKED:
        options = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 10_000, "maxfun": 100_000}
        return value(minimize(value, start, jac=gradient, bounds=low, method="L-BFGS-B", options=options).x)
    rows = np.column_stack([X @ signs, np.ones(n)])[:, : len(start)]
    if loss == "hinge":  # t >= 1 - y z
        lower, offset = np.hstack([y[:, None] * rows, np.eye(n)]), -np.ones(n)
    else:  # t >= y - z - epsilon and t >= z - y - epsilon
        lower = np.block([[rows, np.eye(n)], [-rows, np.eye(n)]])
        offset = np.append(-y, y) + reference.EPSILON
    slopes = np.append(l1, importance / n)
    curvature = np.zeros((len(slopes), len(slopes)))
    curvature[: signs.shape[1], : signs.shape[1]] = alphas[1] * signs.T @ signs
    found = minimize(
        lambda v: float(slopes @ v + v @ curvature @ v / 2),
        np.append(start, np.full(n, 1 + np.abs(y).max())),
        jac=lambda v: slopes + curvature @ v,
        bounds=low + [(0, None)] * n,
        constraints={"type": "ineq", "fun": lambda v: lower @ v + offset, "jac": lambda _: lower},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return value(np.append(found.x[: signs.shape[1]].clip(low[0][0]), found.x[signs.shape[1] : len(start)]))
