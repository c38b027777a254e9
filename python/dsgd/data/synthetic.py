"""Generated data with the shapes of the papers' data sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.optimize
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
    separation: float = 0.25,
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
        Mean number of different words of a document.
    exponent : float, default=1.0
        The frequency of the k-th most frequent word falls like (k + 10)^-exponent (Zipf-Mandelbrot), which gives the
        most frequent word to about half of the documents, as in RCV1-v2.
    separation : float, default=0.25
        Standard deviation of a word's log-odds of belonging to the positive class; 0 makes the labels random.
    dtype : {float32, float64}, default=float32
        Type of the values.
    random_state : int, optional
        Seed; the same seed gives the same data.

    Returns
    -------
    X : scipy.sparse.csr_array of shape (n_samples, n_features)
        int32 indices, sorted, without duplicates.
    y : ndarray of float64, shape (n_samples,)
        -1 and +1 with equal probability.
    """
    check_integer("n_samples", n_samples, 1)
    check_integer("n_features", n_features, 1)
    check_integer("words_per_sample", words_per_sample, 1, n_features)
    check_real("exponent", exponent, 0)
    check_real("separation", separation, 0)
    random = np.random.default_rng(random_state)
    y = np.where(random.random(n_samples) < 0.5, -1.0, 1.0)
    frequency = np.arange(11, n_features + 11, dtype=np.float64) ** -exponent
    log_odds = separation * random.standard_normal(n_features)
    names = random.permutation(n_features).astype(np.int32)
    draws = _draws_for(words_per_sample, frequency / frequency.sum())
    # Lengths of documents are skewed: a lognormal of that mean, at least one word.
    lengths = random.lognormal(np.log(draws) - 0.125, 0.5, n_samples).astype(np.int64) + 1
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    words = np.empty(indptr[-1], np.int32)
    label_of = np.repeat(y, lengths)
    for label in (-1.0, 1.0):
        cumulative = np.cumsum(frequency * np.exp(label * log_odds))
        drawn = random.random(np.count_nonzero(label_of == label)) * cumulative[-1]
        words[label_of == label] = names[np.searchsorted(cumulative, drawn).clip(max=n_features - 1)]
    index_dtype = np.int32 if indptr[-1] <= np.iinfo(np.int32).max else np.int64
    counts = scipy.sparse.csr_array(
        (np.ones(len(words)), words.astype(index_dtype, copy=False), indptr.astype(index_dtype)),
        shape=(n_samples, n_features),
    )
    counts.sum_duplicates()
    return _tf_idf(counts).astype(dtype), y


def _draws_for(distinct: int, probability: NDArray[np.float64]) -> float:
    """Return how many words to draw to meet so many different ones on average."""
    if distinct >= len(probability):
        return 3.0 * distinct
    rest = np.log1p(-np.minimum(probability, 1 - 1e-12))
    return float(scipy.optimize.brentq(lambda draws: -np.expm1(draws * rest).sum() - distinct, 0, 1e6 * distinct))


def _tf_idf(counts: Any) -> Any:
    """Return (1 + ln count) ln(n / documents with the word), rows scaled to unit length."""
    n_samples, n_features = counts.shape
    documents = np.bincount(counts.indices, minlength=n_features)
    counts.data = (1 + np.log(counts.data)) * np.log((1 + n_samples) / np.maximum(documents, 1))[counts.indices]
    row_of = np.repeat(np.arange(n_samples), np.diff(counts.indptr))
    counts.data /= np.sqrt(np.bincount(row_of, weights=counts.data**2, minlength=n_samples))[row_of]
    return counts
