"""Generated data of the shapes of the papers' data sets, to be used in place of these."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import DTypeLike, NDArray

from dsgd._common.checks import Seed, check_choice, check_integer, check_real, check_real_dtype, check_seed
from dsgd._common.memory import naming_memory
from dsgd.data.dataset import Dataset
from dsgd.data.registry import available
from dsgd.errors import ConfigError

__all__ = ["Clusters", "make_clusters", "make_like", "make_text_classification"]

_WORDS_IN_BLOCK = 2**21  # words that are drawn at once, which bounds the temporary memory


# Mean number of non-zeros a row, which the registry does not know; None for the dense set.
_WORDS_PER_SAMPLE = {"kdda": 36, "news20": 455, "rcv1": 72, "real-sim": 51, "yearprediction": None}


@naming_memory
def make_like(
    name: str, *, n_samples: int | None = None, dtype: DTypeLike = np.float32, random_state: Seed | None = None
) -> Dataset:
    """Generate data of the shape of a paper's data set.

    It is for use where the real set is too big to ship and cannot be fetched.

    Parameters
    ----------
    name : {"kdda", "news20", "rcv1", "real-sim", "yearprediction"}
        As in `fetch`. The sparse ones are `make_text_classification` with the set's features and mean number of
        non-zeros a row; ``"yearprediction"`` is dense, with 90 features, and a regression.
    n_samples : int, optional
        Rows; by default those of the set's training part: 8,407,752, 19,996, 781,265, 72,309 and 463,715.
    dtype : {float32, float64}, default=float32
        Type of X.
    random_state : int, Generator or RandomState, optional
        Seed in [0, 2^64), or a generator to draw one from; the same seed gives the same data.

    Returns
    -------
    Dataset
        y holds -1 and +1, or years for ``"yearprediction"``.

    Notes
    -----
    Only the shape is that of the real set: an accuracy on the generated data says nothing about the
    real set. The whole of kdda takes 3.8 GB of memory while it is made, then 2.4 GB.
    """
    check_choice("data set", name, tuple(_WORDS_PER_SAMPLE))
    source, words = available()[name], _WORDS_PER_SAMPLE[name]
    rows = source.n_samples if n_samples is None else check_integer("n_samples", n_samples, 1)
    if words is None:
        X, y = _make_years(rows, source.n_features, check_real_dtype(dtype), random_state)
    else:
        X, y = make_text_classification(
            rows, n_features=source.n_features, words_per_sample=words, dtype=dtype, random_state=random_state
        )
    return Dataset(X=X, y=y)


def _make_years(
    n_samples: int, n_features: int, real: np.dtype[Any], random_state: Seed | None
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Draw correlated features of unit variance, and years.

    A linear rule explains a quarter of the variance of the years.

    Mean, deviation and explained share (1998.4, 10.9, 0.24) are about those of YearPredictionMSD.
    """
    random = np.random.default_rng(check_seed(random_state))
    mixing = random.standard_normal((n_features, n_features)) * np.arange(1, n_features + 1)[:, None] ** -0.5
    mixing /= np.linalg.norm(mixing, axis=0)
    rule = random.standard_normal(n_features)
    rule /= np.linalg.norm(mixing @ rule)
    X = random.standard_normal((n_samples, n_features), dtype=np.float32) @ mixing.astype(np.float32)
    y = np.sqrt(0.24) * (X @ rule) + np.sqrt(0.76) * random.standard_normal(n_samples)
    return X.astype(real, copy=False), np.rint(1998.4 + 10.9 * y)


class Clusters(NamedTuple):
    """Samples around centres."""

    X: NDArray[Any]
    labels: NDArray[np.int64]
    centers: NDArray[np.float64]


@naming_memory
def make_clusters(
    n_samples: int,
    *,
    n_clusters: int = 10,
    n_features: int = 10,
    spread: float = 0.05,
    min_distance: float = 0.5,
    dtype: DTypeLike = np.float32,
    random_state: Seed | None = None,
) -> Clusters:
    """Draw samples around known centres, as the k-means experiments of ASGD do.

    Parameters
    ----------
    n_samples : int
        Rows, as evenly spread over the clusters as can be, in random order.
    n_clusters : int, default=10
    n_features : int, default=10
        Both as in the paper's experiments, which also have 100 clusters.
    spread : float, default=0.05
        Mean standard deviation of the clusters, in every direction. The deviation of each cluster
        is drawn between 0.5 and 1.5 times `spread`.
    min_distance : float, default=0.5
        Least distance of two centres, which lie in the unit cube. `spread` and `min_distance`
        together determine how far clusters overlap.
    dtype : {float32, float64}, default=float32
        Type of X.
    random_state : int, Generator or RandomState, optional
        Seed in [0, 2^64), or a generator to draw one from; the same seed gives the same data.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
    labels : ndarray of int64, shape (n_samples,)
        Number of the centre of each sample.
    centers : ndarray of float64, shape (n_clusters, n_features)
        The known centres. The error of a clustering is its distance to them (Keuper and Pfreundt
        2015).

    Raises
    ------
    ConfigError
        If `n_clusters` centres at this distance were not found in the unit cube.
    """
    from sklearn.datasets import make_blobs  # here, because importing it takes a second

    check_integer("n_samples", n_samples, 1)
    check_integer("n_clusters", n_clusters, 1)
    check_integer("n_features", n_features, 1)
    check_real("spread", spread, 0)
    check_real("min_distance", min_distance, 0)
    real = check_real_dtype(dtype)
    random = np.random.default_rng(check_seed(random_state))
    centers = np.empty((0, n_features))
    for _ in range(100 * n_clusters):
        candidate = random.random(n_features)
        if (np.linalg.norm(centers - candidate, axis=1) >= min_distance).all():
            centers = np.vstack([centers, candidate])
        if len(centers) == n_clusters:
            break
    else:
        raise ConfigError(
            f"{n_clusters} centres at least min_distance={min_distance} apart were not found in the unit cube of "
            f"{n_features} dimensions; take a smaller min_distance"
        )
    X, labels = make_blobs(
        n_samples,
        centers=centers,
        cluster_std=spread * random.uniform(0.5, 1.5, n_clusters),
        random_state=int(random.integers(2**31)),
    )
    return Clusters(X.astype(real, copy=False), labels.astype(np.int64, copy=False), centers)


@naming_memory
def make_text_classification(
    n_samples: int,
    *,
    n_features: int = 47_236,
    words_per_sample: int = 72,
    exponent: float = 1.0,
    separation: float = 0.25,
    dtype: DTypeLike = np.float32,
    random_state: Seed | None = None,
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
    random_state : int, Generator or RandomState, optional
        Seed in [0, 2^64), or a generator to draw one from; the same seed gives the same data.

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
    random = np.random.default_rng(check_seed(random_state))
    y = np.where(random.random(n_samples) < 0.5, -1.0, 1.0)
    frequency = np.arange(11, n_features + 11, dtype=np.float64) ** -exponent
    log_odds = separation * random.standard_normal(n_features)
    names = random.permutation(n_features).astype(np.int32)
    draws = _draws_for(words_per_sample, frequency / frequency.sum())
    # Lengths of documents are skewed: lognormal with the mean `draws`, at least one word.
    lengths = random.lognormal(np.log(draws) - 0.125, 0.5, n_samples).astype(np.int64) + 1
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    # The following works on blocks of rows, so that memory holds the result and a few megabytes
    # only.
    starts = np.unique(np.searchsorted(indptr, np.arange(0, indptr[-1], _WORDS_IN_BLOCK)))
    blocks = [slice(start, stop) for start, stop in pairwise([*starts, n_samples])]
    words = np.empty(indptr[-1], np.int32)
    for label in (-1.0, 1.0):
        cumulative = np.cumsum(frequency * np.exp(label * log_odds))
        for rows in blocks:
            chosen = np.repeat(y[rows] == label, lengths[rows])
            drawn = random.random(np.count_nonzero(chosen)) * cumulative[-1]
            order = np.argsort(drawn)  # sorted look-ups hit the cache: five times as fast
            ranks = np.empty(len(drawn), np.int64)
            ranks[order] = np.searchsorted(cumulative, drawn[order])
            words[indptr[rows.start] : indptr[rows.stop]][chosen] = names[ranks.clip(max=n_features - 1)]
    return _tf_idf(words, indptr, blocks, n_features, real), y


def _draws_for(distinct: int, probability: NDArray[np.float64]) -> float:
    """Return the number of draws that give `distinct` different words on average."""
    if distinct >= len(probability):
        return 3.0 * distinct
    rest = np.log1p(-np.minimum(probability, 1 - 1e-12))
    from scipy.optimize import brentq  # slow to import

    return float(brentq(lambda draws: -np.expm1(draws * rest).sum() - distinct, 0, 1e6 * distinct))


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
        words[kept], data[kept], distinct[rows.start + 1 : rows.stop + 1] = (
            counts.indices,
            counts.data,
            np.diff(counts.indptr),
        )
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
