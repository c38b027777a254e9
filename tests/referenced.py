"""The problem that the core and the numpy references both train on."""

from __future__ import annotations

from typing import Any

import numpy as np
from problems import make_problem

from dsgd import _core
from dsgd.data.inputs import as_matrix
from dsgd.testing import reference

N_ROWS, N_FEATURES, N_EPOCHS = 125, 30, 4
LOSSES = sorted(reference.VALUES)
WEIGHTS = np.random.default_rng(4).exponential(size=N_ROWS)
X, Y = make_problem(N_ROWS, N_FEATURES, seed=1)
DENSE = X.toarray()


def make_objective(data: Any, *, loss: str, sample_weight: Any = None, **config: Any) -> _core.LinearObjective:
    """Return the objective of `data`, sparse or dense, for the core."""
    core_loss = _core.Loss(loss, reference.EPSILON)
    return _core.LinearObjective(as_matrix(data, 1), Y, sample_weight, loss=core_loss, n_threads=2, **config)
