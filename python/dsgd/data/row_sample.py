"""A random sample of rows that can be merged: the sample of all rows is drawn from the samples of their parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from dsgd import _core
from dsgd.data.inputs import take_rows
from dsgd.errors import ConfigError

__all__ = ["SAMPLE_ROWS", "RowSample"]


# Rows of a sample, if there are so many: k-means++ chooses the initial centres among as many.
SAMPLE_ROWS = 3072
# Keys below this belong to the sample in any case: a hundredth of all keys, and so of all rows.
_LOW = np.uint64(2**64 // 100)


@dataclass(frozen=True, kw_only=True, eq=False)
class RowSample:
    """Random rows with their labels and weights, without replacement, among the rows whose weight is not 0.

    A row has a random key, which only its number and the seed decide. The sample has the rows with the lowest keys, as
    in bottom-k sampling. So the sample of all rows is the same however they are divided into parts.

    Attributes
    ----------
    rows : ndarray of int64
        The numbers of the rows, rising.
    X : ndarray or scipy.sparse.csr_array of shape (len(rows), n_features)
    labels : ndarray of shape (len(rows),) or None
    sample_weight : ndarray of shape (len(rows),) or None
    n_counted : int
        How many rows there are whose weight is not 0.
    size : int
        Rows of the sample, if there are so many. Where `size` is less than a hundredth of the rows, it has about a
        hundredth of them.
    seed : int

    References
    ----------
    Cohen, Kaplan (2007), "Summarizing data using bottom-k sketches".
    """

    rows: NDArray[np.int64]
    X: Any
    labels: NDArray[Any] | None
    sample_weight: NDArray[Any] | None
    n_counted: int
    size: int
    seed: int

    @classmethod
    def draw(
        cls,
        matrix: _core.Matrix,
        labels: NDArray[Any] | None,
        sample_weight: NDArray[Any] | None,
        *,
        rows: NDArray[np.int64] | None,
        size: int,
        seed: int,
    ) -> RowSample:
        """Return the sample of the rows of a matrix.

        Parameters
        ----------
        matrix : _core.Matrix
        labels, sample_weight : ndarray of shape (n_samples,) or None
        rows : ndarray of int64, shape (n_samples,), or None
            The numbers of the rows, which no row of another part has; None: from 0 on.
        size : int
        seed : int
            In [0, 2^64).
        """
        counted = np.arange(matrix.n_rows) if sample_weight is None else np.flatnonzero(sample_weight)
        numbers = counted.astype(np.int64) if rows is None else rows[counted]
        kept = _lowest(_keys(numbers, seed), size)
        kept = kept[np.argsort(numbers[kept])]
        chosen = counted[kept]
        return cls(
            rows=numbers[kept],
            X=take_rows(matrix, chosen),
            labels=None if labels is None else labels[chosen],
            sample_weight=None if sample_weight is None else sample_weight[chosen],
            n_counted=len(counted),
            size=size,
            seed=seed,
        )

    def __add__(self, other: RowSample) -> RowSample:
        """Return the sample of the rows of both; `ConfigError` if two rows have the same number."""
        if (self.size, self.seed) != (other.size, other.seed):
            raise ConfigError(
                f"samples of size {self.size}, seed {self.seed}, and size {other.size}, seed {other.seed}, cannot be "
                "merged; draw them alike"
            )
        numbers = np.concatenate([self.rows, other.rows])
        if len(np.unique(numbers)) < len(numbers):
            twice = np.intersect1d(self.rows, other.rows)[0]
            raise ConfigError(f"two parts have a row {twice}; number the rows of all parts through")
        kept = _lowest(_keys(numbers, self.seed), self.size)
        kept = kept[np.argsort(numbers[kept])]
        dense = isinstance(self.X, np.ndarray)
        X = np.concatenate([self.X, other.X]) if dense else scipy.sparse.vstack([self.X, other.X], format="csr")
        weights = [s.sample_weight for s in (self, other)]
        if any(w is not None for w in weights):
            weights = [np.ones(len(s.rows)) if w is None else w for s, w in zip((self, other), weights, strict=True)]
        return RowSample(
            rows=numbers[kept],
            X=X if np.array_equal(kept, np.arange(len(numbers))) else X[kept],  # the rows of wide data are large
            labels=_joined([self.labels, other.labels], kept),
            sample_weight=_joined(weights, kept),
            n_counted=self.n_counted + other.n_counted,
            size=self.size,
            seed=self.seed,
        )


def _joined(arrays: list[NDArray[Any] | None], kept: NDArray[np.intp]) -> NDArray[Any] | None:
    """Return the kept elements of arrays that follow on one another; None if they are None."""
    given = [each for each in arrays if each is not None]
    return np.concatenate(given)[kept] if given else None


def _keys(rows: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """Return a random number in [0, 2^64) for every row: no two rows have the same."""
    return _mixed(rows.astype(np.uint64) ^ _mixed(np.array([seed], np.uint64)))


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the output of SplitMix64 in the states `x` (Steele, Lea, Flood 2014)."""
    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _lowest(keys: NDArray[np.uint64], size: int) -> NDArray[np.intp]:
    """Return where the `size` lowest keys are; more of them if more are below `_LOW`."""
    wanted = max(size, int((keys < _LOW).sum()))
    return np.arange(len(keys)) if wanted >= len(keys) else np.argpartition(keys, wanted)[:wanted]
