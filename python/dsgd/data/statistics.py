"""Counts and moments of features and targets. Those of several parts of the rows add up to those of all rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.data.inputs import as_scipy
from dsgd.data.totals import Average
from dsgd.errors import DataError

__all__ = ["ClassCounts", "FeatureMoments", "Moments", "TargetMoments", "entries_of_columns"]


# Entries of a sparse matrix whose copies are made at once, at least: copies of all would be as large as the matrix.
_ENTRIES_AT_ONCE = 2**20


@dataclass(frozen=True, eq=False)
class Moments:
    """The mean of some values, and how far they are from it.

    Attributes
    ----------
    weight : float
        Number of the values.
    mean : float or ndarray
        An array has one for every feature.
    squares : float or ndarray
        Sum of the squared distances from the mean.
    """

    weight: float
    mean: Any
    squares: Any

    @classmethod
    def of(cls, values: NDArray[Any]) -> Moments:
        """Return the moments of `values` along their first axis."""
        y = values.astype(np.float64)
        return cls(float(len(y)), y.mean(axis=0), np.square(y - y.mean(axis=0)).sum(axis=0))

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of the values of both (Chan, Golub, LeVeque 1979)."""
        if self.weight == 0 or other.weight == 0:
            return other if self.weight == 0 else self
        weight = self.weight + other.weight
        with np.errstate(over="ignore", invalid="ignore"):
            away = other.mean - self.mean
            between = np.square(away) * (self.weight * (other.weight / weight))
            return Moments(weight, self.mean + away * (other.weight / weight), self.squares + other.squares + between)

    @property
    def variance(self) -> Any:
        """The mean squared distance from the mean."""
        return self.squares / self.weight


@dataclass(frozen=True, eq=False)
class FeatureMoments:
    """Range, mean and variance of every feature, zeros included.

    Attributes
    ----------
    low, high : ndarray of float64, shape (n_features,)
    moments : Moments
        Of all rows, without weights.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    moments: Moments

    @classmethod
    def of(cls, matrix: _core.Matrix) -> FeatureMoments:
        """Return the moments of the features of a matrix."""
        X = as_scipy(matrix)
        low, high = X.min(axis=0), X.max(axis=0)
        if isinstance(X, np.ndarray):
            return cls(low.astype(np.float64), high.astype(np.float64), Moments.of(X))
        n, d = X.shape
        mean = sum(np.bincount(X.indices[k], X.data[k], minlength=d) for k in _pieces(X)) / n
        squares = (n - entries_of_columns(matrix)) * mean**2
        for k in _pieces(X):
            squares += np.bincount(X.indices[k], (X.data[k] - mean[X.indices[k]]) ** 2, minlength=d)
        low, high = (each.toarray().ravel().astype(np.float64) for each in (low, high))
        return cls(low, high, Moments(float(n), mean, squares))

    def __add__(self, other: FeatureMoments) -> FeatureMoments:
        """Return the moments over the rows of both."""
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return FeatureMoments(low, high, self.moments + other.moments)


def entries_of_columns(matrix: _core.Matrix) -> NDArray[np.int64]:
    """Return the number of stored entries of every column of a sparse matrix."""
    X = as_scipy(matrix)
    counts = np.zeros(X.shape[1], np.int64)
    for k in _pieces(X):
        counts += np.bincount(X.indices[k], minlength=X.shape[1])
    return counts


def _pieces(X: Any) -> Iterator[slice]:
    """Yield slices of the entries of a sparse matrix; one is longer than a vector over the features."""
    step = max(_ENTRIES_AT_ONCE, X.shape[1])
    return (slice(begin, begin + step) for begin in range(0, max(X.nnz, 1), step))


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """The classes that occur among labels.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted.
    counts : ndarray of int64, shape (n_classes,)
        Number of rows of every class.
    """

    classes: NDArray[Any]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, labels: NDArray[Any]) -> ClassCounts:
        """Return the classes of labels, which are numbers or strings (`as_labels`)."""
        classes, counts = np.unique(labels, return_counts=True)
        return cls(classes, counts.astype(np.int64))

    def __add__(self, other: ClassCounts) -> ClassCounts:
        """Return the classes of both; `DataError` if no type holds the labels of both without a change."""
        both = self.classes, other.classes
        if len({each.dtype.kind == "U" for each in both}) > 1:
            raise DataError("y mixes strings and other labels; use one kind")
        joined = np.concatenate(both)
        if (joined[: len(self.classes)].astype(self.classes.dtype) != self.classes).any() or (
            joined[len(self.classes) :].astype(other.classes.dtype) != other.classes
        ).any():
            raise DataError(
                f"labels of dtype {self.classes.dtype} and {other.classes.dtype} have no type in common; use one type"
            )
        classes, place = np.unique(joined, return_inverse=True)
        counts = np.zeros(len(classes), np.int64)
        np.add.at(counts, place, np.concatenate([self.counts, other.counts]))
        return ClassCounts(classes, counts)


@dataclass(frozen=True, eq=False)
class TargetMoments:
    """The moments of the targets of a regression.

    Attributes
    ----------
    low, high : float
    plain : Moments
        Every row counts once.
    weighted : Average
        Every row counts with its weight.
    """

    low: float
    high: float
    plain: Moments
    weighted: Average

    @classmethod
    def of(cls, target: NDArray[Any], sample_weight: NDArray[Any] | None) -> TargetMoments:
        """Return the moments of targets."""
        with np.errstate(over="ignore", invalid="ignore"):  # targets out of range are refused later
            plain, weighted = Moments.of(target), Average.of(target, sample_weight)
        return cls(float(target.min()), float(target.max()), plain, weighted)

    def __add__(self, other: TargetMoments) -> TargetMoments:
        """Return the moments of the targets of both."""
        low, high = min(self.low, other.low), max(self.high, other.high)
        return TargetMoments(low, high, self.plain + other.plain, self.weighted + other.weighted)
