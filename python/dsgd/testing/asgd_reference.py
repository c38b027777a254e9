"""The step of ASGD with the states of other workers, in plain Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["mixed_state"]

Array = NDArray[np.float64]


def mixed_state(
    w: Array, step: Array, states: Sequence[Mapping[int, float]], parts: Sequence[Sequence[int]], eps: float
) -> Array:
    """Return the state after a step and the mean with the states that it goes towards.

    Parameters
    ----------
    w : ndarray of shape (n_parameters,)
        The state before.
    step : ndarray of shape (n_parameters,)
        eps Delta: what the batch alone takes from `w`.
    states : sequence of mapping of int to float
        What came from other workers: values by their places. A part comes whole or not at all.
    parts : sequence of sequence of int
        The places of each part, which is tested and mixed on its own.
    eps : float
        How far to go to the mean.

    References
    ----------
    Keuper, Pfreundt (2015), "Asynchronous parallel stochastic gradient descent": the Parzen window of equation (4),
    and w - eps Delta-bar with the Delta-bar of equation (3), in which only the accepted states are counted.
    """
    new = w - step
    for part in parts:
        accepted = [state for state in states if _approaches(w, step, state, [k for k in part if k in state])]
        for k in part if accepted else ():
            mean = (w[k] + sum(state[k] for state in accepted)) / (len(accepted) + 1)
            new[k] = w[k] - eps * (w[k] - mean) - step[k]
    return new


def _approaches(w: Array, step: Array, state: Mapping[int, float], places: Sequence[int]) -> bool:
    """Return whether the step leads nearer to the state: by the squares of the distances before and after it."""
    before = sum((w[k] - state[k]) ** 2 for k in places)
    after = sum((w[k] - step[k] - state[k]) ** 2 for k in places)
    return bool(after < before)
