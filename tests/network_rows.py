"""The rows that the tests of networks train on."""

from __future__ import annotations

import numpy as np
import scipy.sparse

__all__ = ["CLASSES", "DENSE", "N_FEATURES", "N_ROWS", "REAL", "SPARSE", "WEIGHTS"]

N_ROWS, N_FEATURES = 90, 6
RANDOM = np.random.default_rng(0)
SPARSE = scipy.sparse.random_array((N_ROWS, N_FEATURES), density=0.6, rng=RANDOM, format="csr")
DENSE = SPARSE.toarray()
CLASSES = (DENSE @ RANDOM.standard_normal((N_FEATURES, 3))).argmax(axis=1).astype(np.float64)
REAL = np.sin(DENSE.sum(axis=1))
WEIGHTS = RANDOM.exponential(size=N_ROWS)
