"""What variance-reduced algorithms share: how long a step is safe, and when an inner loop has done enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.problems.problem import Problem

__all__ = ["WINDOW", "AcceleratedFactor", "gradient_norm", "longest_safe_step", "stands_still"]

WINDOW = 10
"""Looks at the loss that the rule for the number of inner steps goes by."""

# The newer half of the looks must be lower than the older by this part of it.
_LEAST_FALL = 1e-3
# The part of 1 / (4 L), where the proofs of linear convergence end, that is safe.
_SAFETY = 0.9


def longest_safe_step(problem: Problem) -> float:
    """Return 0.9 / (4 L), where L is the largest curvature of one sample's loss and L2."""
    return _SAFETY / (4 * (problem.loss.curvature * problem.scale.largest + problem.alphas[1]))


class AcceleratedFactor:
    """The accelerated factor of DisSVRG: 1 + sigma, sigma = min(max_sigma, ||g|| / ||g of the first anchor||).

    Parameters
    ----------
    max_sigma : float
    first_norm : float
        The norm at the first anchor; 0: none was seen yet.
    """

    def __init__(self, max_sigma: float, first_norm: float = 0.0) -> None:
        self._max_sigma = max_sigma
        self.first_norm = first_norm

    def at(self, norm: float) -> float:
        """Return the factor at an anchor whose gradient has this norm."""
        self.first_norm = self.first_norm or norm
        return 1 + (min(self._max_sigma, norm / self.first_norm) if norm > 0 else 0.0)


def gradient_norm(problem: Problem, weights: NDArray[Any], mean_gradient: NDArray[np.float64], step: float) -> float:
    """Return ||w - prox(w - step g)|| / step, which is the norm of the objective's gradient where it has one.

    Parameters
    ----------
    problem : Problem
    weights : ndarray of shape (n_parameters,)
    mean_gradient : ndarray of shape (n_parameters,)
        Of the loss alone; rounded to the type of the weights, as it is where it comes from other machines.
    step : float
        0, as a schedule may end at, moves nothing: the norm of that is 0.
    """
    w = weights.astype(np.float64)
    moved = w - step * mean_gradient.astype(weights.dtype)
    problem.shrink(problem.layout.regularised(moved), step)
    return float(np.linalg.norm(w - moved)) / step if step > 0 else 0.0


def stands_still(losses: Sequence[float]) -> bool:
    """Whether the newer half of a full window is hardly below the older, or its best above the older one's.

    The rule of DisSVRG's section 6 for the number of inner steps m.
    """
    if len(losses) < WINDOW or not math.isfinite(losses[-1]):
        return False
    older, newer = losses[: WINDOW // 2], losses[WINDOW // 2 :]
    fall = sum(older) - sum(newer)
    return fall < _LEAST_FALL * abs(sum(older)) or min(newer) > min(older)
