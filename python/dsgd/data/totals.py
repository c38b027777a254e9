"""Sums whose last bit does not depend on how the numbers are divided into parts."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Average", "Total"]

_WIDTH = 1024  # sums that are kept side by side, so that numpy adds a row of numbers at once


class Total(NamedTuple):
    """A sum of floats with twice the digits of a float: ``high + low``, of which `high` is the nearest float.

    Parts of a sum that are added in any order agree to about 30 digits. `high` is then the same, but for one case in
    about 10^14.

    References
    ----------
    Knuth (1969), "The Art of Computer Programming", volume 2, 4.2.2, Theorem B: the error of an addition.
    """

    high: float
    low: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Total:
        """Return the sum of some numbers. It is infinite, or no number, if that of plain floats is."""
        n = len(values) // _WIDTH * _WIDTH
        sums, errors = np.zeros(_WIDTH), np.zeros(_WIDTH)
        with np.errstate(over="ignore", invalid="ignore"):
            for row in values[:n].reshape(-1, _WIDTH):
                after = sums + row
                share = after - sums
                errors += (sums - (after - share)) + (row - share)
                sums = after
        few = values[n:].tolist()
        if n:
            few += sums.tolist() + errors[np.isfinite(errors)].tolist()  # an infinite sum has no error
        return cls._of_few(few)

    @classmethod
    def _of_few(cls, values: list[float]) -> Total:
        try:
            high = math.fsum(values)
        except (OverflowError, ValueError):  # beyond the range, or infinities of both signs
            high = math.nan if any(map(math.isnan, values)) else math.inf
        return cls(high, math.fsum([*values, -high]) if math.isfinite(high) else 0.0)

    def plus(self, other: Total) -> Total:
        """Return the sum of both."""
        return Total._of_few([*self, *other])


class Average(NamedTuple):
    """A weighted mean as two sums, so that it does not depend on the division either.

    Attributes
    ----------
    values : Total
        Sum of the products of values and weights.
    weight : Total
    """

    values: Total
    weight: Total

    @classmethod
    def of(cls, values: NDArray[Any], weights: NDArray[Any] | None = None) -> Average:
        """Return the mean of some numbers; without weights every number counts once."""
        y = values.astype(np.float64)
        if weights is None:
            return cls(Total.of(y), Total(float(len(y)), 0.0))
        s = weights.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            return cls(Total.of(y * s), Total.of(s))

    @classmethod
    def of_ones(cls, n: int) -> Average:
        """Return the mean of `n` ones."""
        return cls(Total(float(n), 0.0), Total(float(n), 0.0))

    @property
    def mean(self) -> float:
        """The mean, infinite or no number if a sum is; 0 if nothing weighs anything."""
        return self.values.high / self.weight.high if self.weight.high else 0.0

    def __add__(self, other: Average) -> Average:  # type: ignore[override]  # a sum, as of the other parts of a summary
        """Return the mean over the numbers of both."""
        return Average(self.values.plus(other.values), self.weight.plus(other.weight))
