"""Sums whose last bit does not depend on how the numbers are divided into parts."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Total"]

_WIDTH = 4096  # sums that are kept side by side, so that numpy adds a row of numbers at once


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
