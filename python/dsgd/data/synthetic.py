"""Generated data with the shapes of the papers' data sets."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse
from numpy.typing import DTypeLike, NDArray

from dsgd.checks import check_integer, check_real, check_real_dtype

__all__ = ["make_text_classification"]

_WORDS_IN_BLOCK = 2**21


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
    real = check_real_dtype(dtype)
    random = np.random.default_rng(random_state)
    y = np.where(random.random(n_samples) < 0.5, -1.0, 1.0)
    frequency = np.arange(11, n_features + 11, dtype=np.float64) ** -exponent
    log_odds = separation * random.standard_normal(n_features)
    names = random.permutation(n_features).astype(np.int32)
    draws = _draws_for(words_per_sample, frequency / frequency.sum())
    # Lengths of documents are skewed: a lognormal of that mean, at least one word.
    lengths = random.lognormal(np.log(draws) - 0.125, 0.5, n_samples).astype(np.int64) + 1
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    # All that follows goes by blocks of rows, so that the result and a few megabytes is all that is in memory.
    starts = np.unique(np.searchsorted(indptr, np.arange(0, indptr[-1], _WORDS_IN_BLOCK)))
    blocks = [slice(start, stop) for start, stop in pairwise([*starts, n_samples])]
    words = np.empty(indptr[-1], np.int32)
    for label in (-1.0, 1.0):
        cumulative = np.cumsum(frequency * np.exp(label * log_odds))
        for rows in blocks:
            chosen = np.repeat(y[rows] == label, lengths[rows])
            drawn = random.random(np.count_nonzero(chosen)) * cumulative[-1]
            block = words[indptr[rows.start] : indptr[rows.stop]]
            block[chosen] = names[np.searchsorted(cumulative, drawn).clip(max=n_features - 1)]
    return _tf_idf(words, indptr, blocks, n_features, real), y


def _draws_for(distinct: int, probability: NDArray[np.float64]) -> float:
    """Return how many words to draw to meet so many different ones on average."""
    if distinct >= len(probability):
        return 3.0 * distinct
    rest = np.log1p(-np.minimum(probability, 1 - 1e-12))
    return float(scipy.optimize.brentq(lambda draws: -np.expm1(draws * rest).sum() - distinct, 0, 1e6 * distinct))


def _tf_idf(
    words: NDArray[np.int32], indptr: NDArray[np.int64], blocks: list[slice], n_features: int, real: np.dtype[Any]
) -> Any:
    """Return (1 + ln count) ln(n / documents with the word), rows scaled to unit length; overwrites `words`."""
    n_samples, n_distinct = len(indptr) - 1, 0
    data, distinct = np.empty(len(words), real), np.zeros(n_samples + 1, np.int64)
    documents = np.zeros(n_features, np.int64)
    for rows in blocks:
        begin, end = indptr[[rows.start, rows.stop]]
        pointers = (indptr[rows.start : rows.stop + 1] - begin).astype(np.int32)
        shape = (len(pointers) - 1, n_features)
        counts = scipy.sparse.csr_array((np.ones(end - begin), words[begin:end], pointers), shape=shape)
        counts.sum_duplicates()
        kept = slice(n_distinct, n_distinct + counts.nnz)
        words[kept], data[kept], distinct[rows.start + 1 : rows.stop + 1] = counts.indices, counts.data, np.diff(counts.indptr)
        documents += np.bincount(counts.indices, minlength=n_features)
        n_distinct = kept.stop
    words.resize(n_distinct, refcheck=False)
    data.resize(n_distinct, refcheck=False)
    np.cumsum(distinct, out=distinct)
    for rows in blocks:
        kept = slice(*distinct[[rows.start, rows.stop]])
        rarity = np.log((1 + n_samples) / np.maximum(documents[words[kept]], 1))
        values = (1 + np.log(data[kept].astype(np.float64))) * rarity
        row_of = np.repeat(np.arange(rows.stop - rows.start), np.diff(distinct[rows.start : rows.stop + 1]))
        data[kept] = values / np.sqrt(np.bincount(row_of, weights=values**2))[row_of]
    index_dtype = np.int32 if n_distinct <= np.iinfo(np.int32).max else np.int64
    indices = words.astype(index_dtype, copy=False)
    return scipy.sparse.csr_array((data, indices, distinct.astype(index_dtype)), shape=(n_samples, n_features))
