"""Where the centres of k-means start."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.data.inputs import take_rows
from dsgd.errors import DataError

__all__ = ["starting_centres"]

# Rows that centres are drawn from, unless these are less than so many a centre.
_ROWS, _ROWS_A_CENTRE = 3072, 3


def starting_centres(
    matrix: _core.Matrix,
    n_clusters: int,
    init: str,
    seed: int,
    sample_weight: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return rows of a matrix to start k-means from.

    Parameters
    ----------
    matrix : _core.Matrix
    n_clusters : int
    init : {"k-means++", "random"}
    seed : int
        In [0, 2^64).
    sample_weight : ndarray of shape (n_samples,), optional

    Returns
    -------
    ndarray of shape (n_clusters, n_features)

    Raises
    ------
    DataError
        If fewer rows have a weight than there are clusters.

    References
    ----------
    Arthur, Vassilvitskii (2007), "k-means++: the advantages of careful seeding".
    """
    random = np.random.default_rng(seed)
    rows = np.arange(matrix.n_rows) if sample_weight is None else np.flatnonzero(sample_weight)
    if len(rows) < n_clusters:
        raise DataError(f"{len(rows)} rows are fewer than n_clusters={n_clusters}; ask for fewer clusters")
    wanted = max(_ROWS, _ROWS_A_CENTRE * n_clusters)  # without replacement, to draw from
    rows = random.permutation(rows)[: n_clusters if init == "random" else wanted]
    X = take_rows(matrix, rows)
    if init == "k-means++":
        # Importing scikit-learn takes longer than many a fit, so only who needs it waits for it.
        from sklearn.cluster import kmeans_plusplus

        # As parts of the largest, as their sum may be out of range.
        weight = None if sample_weight is None else sample_weight[rows].astype(np.float64) / sample_weight.max()
        state = int(random.integers(2**32))
        # Distances are taken from the mean: far from 0, products of rows are differences of large numbers.
        seen = X - X.mean(axis=0, dtype=np.float64) if isinstance(X, np.ndarray) else X
        with np.errstate(over="ignore", invalid="ignore"):  # the largest squares may be infinite: any rows do then
            X = X[kmeans_plusplus(seen, n_clusters, sample_weight=weight, random_state=state)[1]]
    return np.asarray(X if isinstance(X, np.ndarray) else X.toarray())
