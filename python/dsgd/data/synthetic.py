"""Generated data with the shapes of the papers' data sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import DTypeLike, NDArray

from dsgd.checks import check_integer, check_real

__all__ = ["make_text_classification"]


def make_text_classification(
    n_samples: int,
    *,
    n_features: int = 47_236,
    words_per_sample: int = 72,
    exponent: float = 1.0,
    noise: float = 0.1,
    dtype: DTypeLike = np.float32,
    random_state: int | None = None,
) -> tuple[scipy.sparse.csr_array, NDArray[np.float64]]:
    """Draw documents like those of RCV1-v2: power-law word frequencies, tf-idf values, rows of unit length.

    Parameters
    ----------
    n_samples : int
        Rows.
    n_features : int, default=47236
        Columns, the vocabulary; that of RCV1-v2 by default. Column order is random.
    words_per_sample : int, default=72
        Mean number of different words of a document, before the few that are drawn twice are merged.
    exponent : float, default=1.0
        The frequency of the k-th most frequent word falls like k^-exponent.
    noise : float, default=0.1
        Standard deviation of what is added to the true decision value, whose own is 1, before its sign is taken.
    dtype : {float32, float64}, default=float32
        Type of the values.
    random_state : int, optional
        Seed; the same seed gives the same data.

    Returns
    -------
    X : scipy.sparse.csr_array of shape (n_samples, n_features)
        int32 indices, sorted, without duplicates.
    y : ndarray of float64, shape (n_samples,)
        -1 and +1, about as many of each.
    """
    check_integer("n_samples", n_samples, 1)
    check_integer("n_features", n_features, 1)
    check_integer("words_per_sample", words_per_sample, 1)
    check_real("exponent", exponent, 0)
    check_real("noise", noise, 0)
    random = np.random.default_rng(random_state)
    X = _documents(random, n_samples, n_features, words_per_sample, exponent)
    # A feature's weight does not depend on its frequency, so the label hangs on frequent and rare words alike.
    decision = np.asarray(X @ random.standard_normal(n_features))
    decision = (decision - np.median(decision)) / max(float(np.std(decision)), 1e-12)
    y = np.where(decision + noise * random.standard_normal(n_samples) > 0, 1.0, -1.0)
    return X.astype(dtype), y


def _documents(
    random: np.random.Generator, n_samples: int, n_features: int, words_per_sample: int, exponent: float
) -> Any:
    """Return the tf-idf matrix in float64, rows of unit length."""
    frequency = np.arange(1, n_features + 1, dtype=np.float64) ** -exponent
    cumulative = np.cumsum(frequency / frequency.sum())
    # Lengths of documents are skewed: a lognormal with the wanted mean, at least one word.
    lengths = random.lognormal(np.log(words_per_sample) - 0.125, 0.5, n_samples).astype(np.int64) + 1
    indptr = np.zeros(n_samples + 1, np.int64)
    np.cumsum(lengths, out=indptr[1:])
    words = np.searchsorted(cumulative, random.random(indptr[-1]), side="right").clip(max=n_features - 1)
    columns = random.permutation(n_features).astype(np.int32)[words]
    X = scipy.sparse.csr_array(
        (np.ones(len(columns)), columns, indptr.astype(np.int32)), shape=(n_samples, n_features)
    )
    X.sum_duplicates()
    documents = np.bincount(X.indices, minlength=n_features)
    X.data = (1 + np.log(X.data)) * np.log((1 + n_samples) / (1 + documents))[X.indices]
    row_of = np.repeat(np.arange(n_samples), np.diff(X.indptr))
    length = np.sqrt(np.bincount(row_of, weights=X.data**2, minlength=n_samples))
    X.data /= np.where(length > 0, length, 1)[row_of]
    return X
