"""The size of the rows of a matrix, from which step sizes are derived."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.threads import worth_waking
from dsgd.data.inputs import real_dtype, stored_entries
from dsgd.data.totals import Average, Total
from dsgd.errors import DataError

__all__ = ["RowSizes", "Scale", "mean_weight", "measure"]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The size of the samples, from which step sizes are derived.

    Attributes
    ----------
    mean : float
        Mean of s_i ||x_i||^2; 1 if that is 0.
    largest : float
        Greatest s_i (||x_i||^2 + intercept_rate).
    intercept_rate : float
        The intercept's step divided by the step of the weights: the mean square of the non-zero
        entries, at most 10,000 times the third quartile of their squares; 1 if there are none. So
        the intercept learns like a feature of typical size, whatever the unit of the features. The
        bound keeps a single feature that is much larger than the others from setting the ratio.
    row_entries : float
        Mean number of entries of a row that are not zero.
    """

    mean: float
    largest: float
    intercept_rate: float
    row_entries: float


@dataclass(frozen=True, kw_only=True, eq=False)
class RowSizes:
    """The facts about some rows that make their `Scale`. Those of several parts add up to those of all rows.

    Attributes
    ----------
    dtype : numpy dtype
        Of X.
    n_rows : int
    n_entries : int
        Entries that are not zero.
    squares, weighted_squares : Total
        Sum of ||x_i||^2, and of s_i ||x_i||^2.
    weights : ndarray or None
    norms : ndarray
        s_i and ||x_i||^2 of rows that include the one with the greatest s_i (||x_i||^2 + rate), whatever the rate is.
        None: all s_i are 1.
    sampled : mapping of int to ndarray
        Absolute values of some entries, without zeros. Those under key k stand for k entries each.
    """

    dtype: np.dtype[Any]
    n_rows: int
    n_entries: int
    squares: Total
    weighted_squares: Total
    weights: NDArray[Any] | None
    norms: NDArray[np.float64]
    sampled: Mapping[int, NDArray[Any]]

    @classmethod
    def of(cls, matrix: _core.Matrix, sample_weight: NDArray[Any] | None, n_threads: int) -> RowSizes:
        """Return the sizes of the rows of a matrix. They keep the norms of all rows; see `compact`.

        Parameters
        ----------
        matrix : _core.Matrix
        sample_weight : ndarray of shape (n_samples,) or None
        n_threads : int
        """
        norms = np.empty(matrix.n_rows)
        n_entries = matrix.squared_norms(norms, worth_waking(n_threads, stored_entries(matrix)))
        with np.errstate(over="ignore", invalid="ignore"):
            squares = Total.of(norms)
            weighted = squares if sample_weight is None else Total.of(sample_weight * norms)
        return cls(
            dtype=real_dtype(matrix),
            n_rows=matrix.n_rows,
            n_entries=n_entries,
            squares=squares,
            weighted_squares=weighted,
            weights=sample_weight,
            norms=norms,
            sampled=_some_entries(matrix),
        )

    def compact(self) -> RowSizes:
        """Return the sizes with only those weights and norms that are needed: a few dozen, however many rows."""
        weights = np.ones(len(self.norms)) if self.weights is None else self.weights.astype(np.float64)
        few = _largest_at_some_rate(weights, self.norms)
        return dataclasses.replace(self, weights=weights[few], norms=self.norms[few])

    def __add__(self, other: RowSizes) -> RowSizes:
        """Return the sizes of the rows of both."""
        parts = self.compact(), other.compact()
        keys = sorted({*self.sampled, *other.sampled})
        sampled = {k: np.sort(np.concatenate([s.sampled[k] for s in (self, other) if k in s.sampled])) for k in keys}
        return RowSizes(
            dtype=np.result_type(self.dtype, other.dtype),
            n_rows=self.n_rows + other.n_rows,
            n_entries=self.n_entries + other.n_entries,
            squares=self.squares.plus(other.squares),
            weighted_squares=self.weighted_squares.plus(other.weighted_squares),
            weights=np.concatenate([part.weights for part in parts if part.weights is not None]),
            norms=np.concatenate([part.norms for part in parts]),
            sampled=sampled,
        ).compact()

    def scale(self) -> Scale:
        """Return the scale of the rows; `DataError` if it leaves the range of the type of X."""
        with np.errstate(over="ignore", invalid="ignore"):
            rate = 1.0
            if self.squares.high > 0:
                rate = min(self.squares.high / self.n_entries, _LARGEST_RATE * _high_square(self.sampled))
            if self.weights is None:
                largest = float(self.norms.max()) + rate
            else:
                largest = float((self.weights * (self.norms + rate)).max())
            mean = self.weighted_squares.high / self.n_rows or 1.0
            sizes = np.array([rate, mean, 1 / mean, largest]).astype(self.dtype)
        if not (np.isfinite(sizes) & (sizes > 0)).all():
            raise DataError(
                f"the squares of X, of {mean:.3g} a row in the mean, leave the range of {sizes.dtype}: scale the "
                "features (or the sample weights)"
            )
        return Scale(mean=mean, largest=largest, intercept_rate=rate, row_entries=self.n_entries / self.n_rows)


def measure(matrix: _core.Matrix, sample_weight: NDArray[Any] | None, n_threads: int) -> Scale:
    """Return the scale of the samples; `DataError` if it leaves the range of the type of X."""
    return RowSizes.of(matrix, sample_weight, n_threads).scale()


def mean_weight(weight: NDArray[Any]) -> float:
    """Return the mean of the weights of samples, also if their sum overflows."""
    mean = Average.of(weight).mean
    return mean if math.isfinite(mean) else float(weight.max()) * float((weight / weight.max()).mean())


# _ENTRIES: entries of X from which the third quartile is estimated.
# _LARGEST_RATE: bound of `Scale.intercept_rate`, as a multiple of the third quartile of squares.
_ENTRIES, _LARGEST_RATE = 512, 1e4


def _some_entries(matrix: _core.Matrix) -> dict[int, NDArray[Any]]:
    """Return about 512 entries of the matrix, equally far apart, as `RowSizes.sampled`."""
    arrays = matrix.arrays
    entries = (arrays[2] if isinstance(arrays, tuple) else arrays).reshape(-1)
    stride = len(entries) // _ENTRIES or 1
    while math.gcd(stride, matrix.n_features) > 1:  # so that the sample meets all columns
        stride += 1
    entries = np.abs(entries[::stride])
    return {stride: entries[entries > 0]}


def _high_square(sampled: Mapping[int, NDArray[Any]]) -> float:
    """Return the third quartile of the squares of the non-zero entries, estimated from `RowSizes.sampled`.

    Infinite if all entries of the sample are zero.
    """
    entries = np.concatenate(list(sampled.values())) if len(sampled) > 1 else next(iter(sampled.values()))
    if not len(entries):
        return math.inf
    if len(sampled) == 1:
        third = 3 * len(entries) // 4
        high = float(np.partition(entries, third)[third])
    else:
        order = np.argsort(entries)
        below = np.cumsum(np.repeat(list(sampled), [len(each) for each in sampled.values()])[order])
        high = float(entries[order[np.searchsorted(4 * below, 3 * below[-1], side="right")]])
    return high * high


def _greatest(values: NDArray[np.float64], then: NDArray[np.float64]) -> int:
    """Return where `values` is greatest, and `then` is among equals."""
    ties = np.flatnonzero(values == values.max())
    return int(ties[then[ties].argmax()])


def _largest_at_some_rate(slopes: NDArray[np.float64], norms: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the rows that have the greatest s_i (||x_i||^2 + r) for some r >= 0; `slopes` are the s_i.

    As a function of r each row is a line of height s_i ||x_i||^2 at 0 and of slope s_i. The highest lines are the upper
    right corners of the convex hull of these pairs. The hull is found as in quickhull: between two corners lies the
    line that is highest where theirs meet, and no line that is lower there than theirs.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        heights = np.nan_to_num(slopes * norms)  # what overflows is refused by `RowSizes.scale`
    first, last = _greatest(heights, slopes), _greatest(slopes, heights)
    corners = {first, last}
    edges = [(first, last, np.arange(len(slopes)))]
    while edges:
        left, right, rows = edges.pop()
        rows = rows[(slopes[rows] > slopes[left]) & (slopes[rows] < slopes[right])]
        if not len(rows):
            continue
        with np.errstate(over="ignore"):
            meet = (heights[left] - heights[right]) / (slopes[right] - slopes[left])
            above = (heights[rows] - heights[left]) + meet * (slopes[rows] - slopes[left])
        rows, above = rows[above > 0], above[above > 0]
        if len(rows):
            highest = int(rows[above.argmax()])
            corners.add(highest)
            edges += [(left, highest, rows), (highest, right, rows)]
    return np.array(sorted(corners))
