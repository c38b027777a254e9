"""The size of the rows of a matrix, from which step sizes are derived."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.threads import worth_waking
from dsgd.data.inputs import real_dtype, stored_entries
from dsgd.errors import DataError

__all__ = ["Scale", "mean_weight", "measure"]


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


def measure(matrix: _core.Matrix, sample_weight: NDArray[Any] | None, n_threads: int) -> Scale:
    """Return the scale of the samples; `DataError` if it leaves the range of the type of X."""
    norms = np.empty(matrix.n_rows)
    entries = matrix.squared_norms(norms, worth_waking(n_threads, stored_entries(matrix)))
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(norms.sum())
        rate = min(total / entries, _LARGEST_RATE * _high_square(matrix)) if total > 0 else 1.0
        if sample_weight is None:
            weighted, largest = total, float(norms.max()) + rate
        else:
            weighted = float((sample_weight * norms).sum())
            largest = float((sample_weight * (norms + rate)).max())
        mean = weighted / matrix.n_rows or 1.0
        sizes = np.array([rate, mean, 1 / mean, largest]).astype(real_dtype(matrix))
    if not (np.isfinite(sizes) & (sizes > 0)).all():
        raise DataError(
            f"the squares of X, of {mean:.3g} a row in the mean, leave the range of {sizes.dtype}: scale the features "
            "(or the sample weights)"
        )
    return Scale(mean=mean, largest=largest, intercept_rate=rate, row_entries=entries / matrix.n_rows)


def mean_weight(weight: NDArray[Any]) -> float:
    """Return the mean of the weights of samples, also if their sum overflows."""
    with np.errstate(over="ignore"):
        mean = float(weight.mean(dtype=np.float64))
    return mean if math.isfinite(mean) else float(weight.max()) * float((weight / weight.max()).mean())


# _ENTRIES: entries of X from which the third quartile is estimated.
# _LARGEST_RATE: bound of `Scale.intercept_rate`, as a multiple of the third quartile of squares.
_ENTRIES, _LARGEST_RATE = 512, 1e4


def _high_square(matrix: _core.Matrix) -> float:
    """Return the third quartile of the squares of the non-zero entries, estimated from a sample.

    Infinite if all entries of the sample are zero.
    """
    arrays = matrix.arrays
    entries = (arrays[2] if isinstance(arrays, tuple) else arrays).reshape(-1)
    stride = len(entries) // _ENTRIES or 1
    while math.gcd(stride, matrix.n_features) > 1:  # so that the sample meets all columns
        stride += 1
    entries = np.abs(entries[::stride])
    entries = entries[entries > 0]
    third = 3 * len(entries) // 4
    high = float(np.partition(entries, third)[third]) if len(entries) else math.inf
    return high * high
