"""k-means in plain numpy, one row after the other.

The core must give the same on one thread.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["gradient", "nearest", "objective", "step"]

Array = NDArray[np.float64]


def nearest(X: Array, centres: Array) -> NDArray[np.intp]:
    """Return the number of the nearest centre of every row; the first if several are nearest.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    centres : ndarray of shape (n_clusters, n_features)

    Returns
    -------
    ndarray of int, shape (n_samples,)
    """
    return np.array([((x - centres) ** 2).sum(axis=1).argmin() for x in X])


def objective(X: Array, centres: Array, sample_weight: Array) -> float:
    """Return (1/n) sum_i s_i min_c ||x_i - w_c||^2 / 2; parameters as for `nearest`."""
    squares = ((X - centres[nearest(X, centres)]) ** 2).sum(axis=1)
    return float((sample_weight * squares).mean() / 2)


def gradient(X: Array, centres: Array, sample_weight: Array) -> Array:
    """Return the gradient of `objective`, of the shape of the centres."""
    out = np.zeros_like(centres)
    for x, c, s in zip(X, nearest(X, centres), sample_weight, strict=True):
        out[c] += s * (centres[c] - x) / len(X)
    return out


def step(
    X: Array,
    centres: Array,
    rows: Sequence[int] | NDArray[np.int64],
    size: float,
    batch_size: int,
    sample_weight: Array,
) -> Array:
    """Return the centres after one step of mini-batch k-means.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    centres : ndarray of shape (n_clusters, n_features)
    rows : sequence of int
        The rows of the batch.
    size : float
        The step size. No centre moves beyond the mean of its rows.
    batch_size : int
        Rows of a full batch, by which a step is divided.
    sample_weight : ndarray of shape (n_samples,)

    Returns
    -------
    ndarray of shape (n_clusters, n_features)
    """
    chosen, weight, of = X[rows], sample_weight[rows], nearest(X[rows], centres)
    moved = centres.copy()
    for c in np.unique(of):
        share = weight[of == c].sum()
        mean = weight[of == c] @ chosen[of == c] / share
        moved[c] -= min(1.0, size * share / batch_size) * (centres[c] - mean)
    return moved
