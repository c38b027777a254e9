"""Distances of dense rows from centres."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["distances"]

_ROWS_AT_ONCE = 4096


def distances(X: NDArray[Any], centres: NDArray[Any]) -> NDArray[np.float64]:
    """Return the Euclidean distance of every row from every centre.

    They are taken from the mean of the centres: far from 0 the digits of distances cancel.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
    centres : ndarray of shape (n_centres, n_features)

    Returns
    -------
    ndarray of float64, shape (n_rows, n_centres)
    """
    middle = centres.mean(axis=0, dtype=np.float64)
    shifted = centres - middle
    out = np.empty((len(X), len(centres)))
    for begin in range(0, len(X), _ROWS_AT_ONCE):
        out[begin : begin + _ROWS_AT_ONCE] = _of_some(X[begin : begin + _ROWS_AT_ONCE] - middle, shifted)
    return out


def _of_some(rows: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances of rows from centres, each in a unit of its own where squares would overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.square(rows).sum(axis=1)[:, None] + np.square(centres).sum(axis=1) - 2 * rows @ centres.T
        out = np.sqrt(np.maximum(squares, 0))
        for k in np.flatnonzero(~np.isfinite(squares).all(axis=1)):
            away = np.nan_to_num(rows[k] - centres)
            unit = np.maximum(np.abs(away).max(axis=1), 1.0)
            out[k] = unit * np.sqrt(np.square(away / unit[:, None]).sum(axis=1))
    return np.asarray(out)
