"""Rows and targets, and all kinds of collections of Dask that hold them."""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import scipy.sparse

__all__ = [
    "BINARY",
    "CHUNKS",
    "LABELS",
    "NAMES",
    "N_FEATURES",
    "RANDOM",
    "REAL",
    "WEIGHT",
    "N",
    "X",
    "delayed",
    "rows",
    "series",
    "unknown",
]

N, N_FEATURES = 90, 4
RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(N, N_FEATURES)) * (RANDOM.random((N, N_FEATURES)) < 0.7)
LABELS = np.array(["egg", "ham", "spam"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)]
BINARY = LABELS == "egg"
REAL = X @ [1.0, -2.0, 0.5, 0.0] + 3 + 0.1 * RANDOM.normal(size=N)
WEIGHT = RANDOM.exponential(size=N)
NAMES = [f"x{number}" for number in range(N_FEATURES)]
PARTS = [slice(0, 40), slice(40, 40), slice(40, 90)]


def delayed(values: Any) -> list[Any]:
    return [dask.delayed(values[part]) for part in PARTS]


def unknown(values: Any) -> Any:
    """Return an array of which no chunk size is known, with an empty chunk among them."""
    shape = (np.nan, *values.shape[1:])
    return da.concatenate([da.from_delayed(each, shape, values.dtype) for each in delayed(values)])


def rows(values: Any) -> Any:
    return da.from_array(values, chunks=(45, *values.shape[1:]))


def series(values: Any) -> Any:
    return dd.from_pandas(pd.Series(values), npartitions=2)


CHUNKS = {
    "numpy": rows,
    "float32": lambda X: rows(X.astype(np.float32)),
    "columns": lambda X: da.from_array(X, chunks=(45, 2)),
    "unknown": unknown,
    "csr_matrix": lambda X: rows(X).map_blocks(scipy.sparse.csr_matrix),
    "csr_array": lambda X: rows(X).map_blocks(scipy.sparse.csr_array),
    "frame": lambda X: dd.from_pandas(pd.DataFrame(X, columns=NAMES), npartitions=2),
    "list": delayed,
}
