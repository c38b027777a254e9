"""Random numbers that nobody can predict."""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Randomness", "SecureRandom"]

# 2^-53: the numbers k 2^-53 below 1 are exact in float64.
_UNIT = 2.0**-53


class Randomness(Protocol):
    """A source of random numbers: `SecureRandom`, or a `numpy.random.Generator` where runs are to repeat."""

    def random(self, size: int) -> NDArray[Any]:
        """Return numbers that are uniform in [0, 1)."""

    def standard_normal(self, size: int) -> NDArray[Any]:
        """Return normal numbers of mean 0 and variance 1."""


class SecureRandom:
    """Numbers from the cryptographic generator of the operating system, `os.urandom`.

    Every number is made of fresh bytes of it; Linux makes them by ChaCha20. The generators of numpy are made for
    statistics: whatever they are seeded from, nobody claims that some of their outputs do not give away the others. A
    process that is started again draws other numbers.
    """

    def random(self, size: int) -> NDArray[np.float64]:
        """Return multiples of 2^-53, uniform in [0, 1)."""
        return np.asarray((self._words(size) >> np.uint64(11)) * _UNIT, np.float64)

    def standard_normal(self, size: int) -> NDArray[np.float64]:
        """Return normal numbers by the method of Box and Muller; none is above 8.6, which 1 of 10^17 would be."""
        half = -(-size // 2)
        uniform = self.random(2 * half)
        radius = np.sqrt(-2 * np.log1p(-uniform[:half]))  # of 1 - u, in (0, 1]
        angle = 2 * np.pi * uniform[half:]
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:size]

    @staticmethod
    def _words(count: int) -> NDArray[np.uint64]:
        return np.frombuffer(os.urandom(8 * count), np.uint64)
