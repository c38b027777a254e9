"""The problem that the core and the numpy references both train on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from problems import make_problem

from dsgd import _core
from dsgd.data.inputs import as_matrix
from dsgd.testing import reference

N_ROWS, N_FEATURES, N_EPOCHS = 125, 30, 4
LOSSES = sorted(reference.VALUES)
WEIGHTS = np.random.default_rng(4).exponential(size=N_ROWS)
X, Y = make_problem(N_ROWS, N_FEATURES, seed=1)
DENSE = X.toarray()
CLASSES = (DENSE @ np.random.default_rng(3).standard_normal((N_FEATURES, 3))).argmax(axis=1).astype(np.float64)


def target_of(loss: str) -> NDArray[np.float64]:
    """Return the targets of the loss: numbers of classes for softmax, else Y."""
    return CLASSES if loss == "softmax" else Y


def n_outputs_of(loss: str) -> int:
    """Return the number of decision values of a row."""
    return 3 if loss == "softmax" else 1


def make_objective(data: Any, *, loss: str, sample_weight: Any = None, **config: Any) -> _core.LinearObjective:
    """Return the objective of `data`, sparse or dense, for the core."""
    core_loss = _core.Loss(loss, reference.EPSILON, n_outputs_of(loss))
    matrix, target = as_matrix(data, 1), target_of(loss)
    return _core.LinearObjective(matrix, target, sample_weight, loss=core_loss, n_threads=2, **config)


def zeros(loss: str, fit_intercept: bool) -> NDArray[np.float64]:
    """Return initial weights of zeros."""
    return np.zeros((N_FEATURES + fit_intercept) * n_outputs_of(loss))


def some_weights(loss: str, fit_intercept: bool, scale: float = 1.0) -> NDArray[np.float64]:
    """Return weights that are not 0."""
    return np.random.default_rng(0).normal(0, scale, len(zeros(loss, fit_intercept)))


def split(weights: NDArray[np.float64], loss: str, fit_intercept: bool) -> tuple[Any, Any]:
    """Return copies of w and b as the reference has them."""
    by_feature = weights.reshape(-1, 3).copy() if loss == "softmax" else weights.copy()
    return by_feature[:N_FEATURES], by_feature[N_FEATURES] if fit_intercept else 0.0
