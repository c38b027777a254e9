"""Generated problems that many tests train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]


def make_problem(n_rows: int, n_features: int, seed: int) -> tuple[Any, NDArray[np.float64]]:
    """Return a CSR array whose feature frequencies fall from 60 % to 1 %, and labels -1 and +1 of a linear rule."""
    random = np.random.default_rng(seed)
    frequency = np.geomspace(0.6, 0.01, n_features)
    dense = random.standard_normal((n_rows, n_features)) * (random.random((n_rows, n_features)) < frequency)
    y = np.where(dense @ random.standard_normal(n_features) > 0, 1.0, -1.0)
    return scipy.sparse.csr_array(dense), y
