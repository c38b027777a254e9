"""Polyak-Ruppert averaging: the mean of the iterates instead of the last one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd._common.checks import check_integer

__all__ = ["PolyakAverage", "check_average"]


def check_average(average: Any) -> bool | int:
    """Return True or False, or the sample with which the average begins; refuse anything else."""
    if isinstance(average, bool | np.bool_):
        return bool(average)
    return check_integer("average", average, 0, 2**62)


class PolyakAverage:
    """The average of the weights after every sample from a given one on, kept beside the iterate.

    The core adds up (s - 1) D_s for the change D_s of step s, on the weights that change, so that a sparse step stays
    sparse; averaging.hpp has the formula.

    Parameters
    ----------
    weights : ndarray
        The weights that a user sees: the average, as soon as it has begun.
    average : bool or int
        The first sample in the average, counted from 1, or True for that; 0 or False: there is no average, and the
        iterate is `weights` itself.
    n_before : int
        Samples of the run so far. An epoch that diverged is begun anew from the average, which begins anew too.

    Attributes
    ----------
    iterate : ndarray
        What the algorithm steps on.
    drift : ndarray of float64 or None
    steps : int
        Samples in the average so far; negative before it begins.

    References
    ----------
    Polyak, Juditsky (1992), "Acceleration of stochastic approximation by averaging".
    """

    def __init__(self, weights: NDArray[Any], average: bool | int, n_before: int) -> None:
        begin = max(1, int(average) - n_before) if average else 0
        self._weights = weights
        self.iterate = weights.copy() if begin > 0 else weights
        self.drift = np.zeros(len(weights)) if begin > 0 else None
        self.steps = 1 - begin

    def go_on(self, weights: NDArray[Any]) -> PolyakAverage:
        """Return this average, to be seen in other weights from now on; the iterate is what it was."""
        self._weights = weights
        self.iterate = _writeable(self.iterate)
        self.drift = None if self.drift is None else _writeable(self.drift)
        return self

    def change(self, where: NDArray[np.intp], to: NDArray[Any]) -> None:
        """Set some weights of the iterate, as a part of the last step."""
        difference = to - self.iterate[where]
        self.iterate[where] = to
        if self.drift is not None:
            self.drift[where] += max(0, self.steps - 1) * difference
        self.advance(0)

    def advance(self, n_samples: int) -> None:
        """Count the samples of an epoch and bring the weights up to date."""
        self.steps += n_samples
        if self.drift is None:
            return
        np.copyto(self._weights, self.iterate)
        if self.steps > 0:
            self._weights -= (self.drift / self.steps).astype(self._weights.dtype)


def _writeable(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array, or a copy where it lies in a file that was mapped to be read, as joblib may load a model."""
    return array if array.flags.writeable else array.copy()
