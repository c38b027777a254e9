"""Polyak-Ruppert averaging: the mean of the iterates instead of the last one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd._common.checks import check_integer

__all__ = ["PolyakAverage", "check_average"]


def check_average(average: Any) -> bool | int:
    """Return a valid `average`: a bool, or the first sample of the average; raise `ConfigError` for others."""
    if isinstance(average, bool | np.bool_):
        return bool(average)
    return check_integer("average", average, 0, 2**62)


class PolyakAverage:
    """The mean of the iterates from a given sample on, kept beside the last iterate.

    Let D_s be the change that step s makes. The mean of the first T iterates is
    w_T - (1/T) sum_s (s - 1) D_s (averaging.hpp). The core adds up (s - 1) D_s, the `drift`, only for
    the weights that a step changes, so that a sparse step stays sparse.

    Parameters
    ----------
    weights : ndarray
        The weights that users see. They are the average, as soon as it has begun.
    average : bool or int
        The first sample of the average, counted from 1; True is 1. With 0 or False there is no
        average, and the iterate is `weights` itself.
    n_before : int
        Number of samples that the run has seen so far. An epoch that diverged is repeated from the
        averaged weights, and a new average begins.

    Attributes
    ----------
    iterate : ndarray
        The weights that the algorithm changes.
    drift : ndarray of float64 or None
        The sum of (s - 1) D_s; None without an average.
    steps : int
        Number of samples in the average so far; negative before it begins.

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
        """Return this average, which users see in other `weights` from now on; the iterate stays as it is."""
        self._weights = weights
        self.iterate = _writeable(self.iterate)
        self.drift = None if self.drift is None else _writeable(self.drift)
        return self

    def change(self, where: NDArray[np.intp], to: NDArray[Any]) -> None:
        """Set the weights `where` of the iterate to `to`, as a part of the last step."""
        difference = to - self.iterate[where]
        self.iterate[where] = to
        if self.drift is not None:
            self.drift[where] += max(0, self.steps - 1) * difference
        self.advance(0)

    def advance(self, n_samples: int) -> None:
        """Count the samples of an epoch, and write the average into the weights that users see."""
        self.steps += n_samples
        if self.drift is None:
            return
        np.copyto(self._weights, self.iterate)
        if self.steps > 0:
            self._weights -= (self.drift / self.steps).astype(self._weights.dtype)


def _writeable(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array, or a copy if it is read-only: joblib may load a model as a read-only mapped file."""
    return array if array.flags.writeable else array.copy()
