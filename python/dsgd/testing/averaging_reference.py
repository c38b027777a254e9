"""Averages of models that nodes train alone, in plain numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.testing.loss_reference import Array
from dsgd.testing.reference import sgd

__all__ = ["parallel_sgd"]


def parallel_sgd(
    X: Array,
    y: Array,
    orders: Sequence[NDArray[np.int64]],
    steps: Array,
    *,
    span: int | None = None,
    rates: Array | float = 1.0,
    start: tuple[Array, Any] | None = None,
    **problem: Any,
) -> tuple[Array, Any]:
    """Return w and b after every node has trained on its own rows, and the models were averaged.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    orders : sequence of ndarray of int64
        For each node the row of each step. A slow node makes fewer steps.
    steps : ndarray of shape (n_steps,)
        The step sizes of the fastest node.
    span : int, optional
        Steps from one average to the next, from which all nodes go on; all then make as many. By default there is one
        average, at the end.
    rates : ndarray of shape (n_steps,) or float
        The rate r of every step. A node counts for the product of the rates of the steps that it lacks.
    start : ndarray of shape (n_features,) and float, optional
        The first w and b; by default 0.
    **problem
        As for `iterates`.

    Returns
    -------
    w : ndarray of shape (n_features,)
    b : float

    References
    ----------
    Zinkevich, Weimer, Li, Smola (2010), "Parallelized stochastic gradient descent", Algorithm 3; Cheng, Li, Zhang,
    "Weighted parallel SGD for distributed unbalanced-workload training system", Algorithms 1 and 2.
    """
    n_steps = len(steps)
    rates = np.broadcast_to(rates, n_steps)
    w, b = (np.zeros(X.shape[1]), 0.0) if start is None else start
    for begin in range(0, n_steps, span or n_steps):
        end = begin + (span or n_steps)
        parts = [order[begin:end].tolist() for order in orders]
        own = [steps[begin : begin + len(part)] for part in parts]
        models = [sgd(X, y, part, sizes, start=(w, b), **problem) for part, sizes in zip(parts, own, strict=True)]
        weights = [np.prod(rates[begin + len(part) : end]) for part in parts]
        w, b = (np.average(values, axis=0, weights=weights) for values in zip(*models, strict=True))
    return w, b
