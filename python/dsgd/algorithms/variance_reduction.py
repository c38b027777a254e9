"""Shared by SVRG and DisSVRG: longest safe step, accelerated factor, lower bound of the optimum, window rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.losses import Loss
from dsgd.problems.problem import Problem

__all__ = [
    "WINDOW",
    "AcceleratedFactor",
    "gradient_norm",
    "longest_safe_step",
    "lower_bound",
    "safe_step",
    "stands_still",
]

WINDOW = 10
"""Number of loss values that the window rule compares to end an inner loop."""

# Fall of the loss from the older to the newer half of a window, relative to the older half, that is progress.
_LEAST_FALL = 1e-3
# Share of 1 / (4 L) that is taken as safe. The proofs of linear convergence hold below 1 / (4 L).
_SAFETY = 0.9


def longest_safe_step(problem: Problem, square: float | None = None) -> float:
    """Return 0.9 / (4 L), where L is the curvature of one sample's loss and L2.

    Parameters
    ----------
    problem : Problem
    square : float, optional
        s_i ||x_i||^2 of the sample; by default that of the largest one, for which alone the step is safe.
    """
    return safe_step(problem.loss, problem.scale.largest if square is None else square, problem.alphas[1])


def safe_step(loss: Loss, square: float, alpha_l2: float) -> float:
    """Return 0.9 / (4 L) of a sample with s_i ||x_i||^2 = `square`."""
    return _SAFETY / (4 * (loss.curvature * square + alpha_l2))


class AcceleratedFactor:
    """The accelerated factor of DisSVRG: 1 + sigma, sigma = min(max_sigma, ||g|| / ||g of the first anchor||).

    Parameters
    ----------
    max_sigma : float
    first_norm : float
        The norm of the gradient at the first anchor; 0 before the first anchor.
    """

    def __init__(self, max_sigma: float, first_norm: float = 0.0) -> None:
        self._max_sigma = max_sigma
        self.first_norm = first_norm

    def at(self, norm: float) -> float:
        """Return the factor at an anchor whose gradient has this norm."""
        self.first_norm = self.first_norm or norm
        return 1 + (min(self._max_sigma, norm / self.first_norm) if norm > 0 else 0.0)


def gradient_norm(problem: Problem, weights: NDArray[Any], mean_gradient: NDArray[np.float64], step: float) -> float:
    """Return ||w - prox(w - step g)|| / step, the norm of the gradient mapping of the objective.

    Without a penalty this is the norm of the gradient.

    Parameters
    ----------
    problem : Problem
    weights : ndarray of shape (n_parameters,)
    mean_gradient : ndarray of shape (n_parameters,)
        Gradient g of the mean loss alone. It is rounded to the dtype of the weights, as is a gradient
        that comes from other machines.
    step : float
        The step size. For 0, at which a schedule may end, the result is 0.
    """
    w = weights.astype(np.float64)
    moved = w - step * mean_gradient.astype(weights.dtype)
    problem.shrink(problem.layout.regularised(moved), step)
    return float(np.linalg.norm(w - moved)) / step if step > 0 else 0.0


def lower_bound(
    problem: Problem, weights: NDArray[Any], loss: float, mean_gradient: NDArray[np.float64]
) -> float | None:
    """Return F(w) - ||grad F(w)||^2 / (2 alpha), below which a strongly convex objective cannot fall.

    The derivative in the intercept, which is not regularised, is taken for 0. None under L1, and without L2.

    Parameters
    ----------
    problem : Problem
    weights : ndarray of shape (n_parameters,)
    loss : float
        The mean loss at `weights`.
    mean_gradient : ndarray of shape (n_parameters,)
        The gradient of the mean loss.
    """
    alpha_l1, alpha_l2 = problem.alphas
    if alpha_l1 > 0 or alpha_l2 == 0:
        return None
    w = problem.layout.regularised(weights.astype(np.float64))
    gradient = problem.layout.regularised(mean_gradient) + alpha_l2 * w
    return loss + alpha_l2 / 2 * float(np.sum(w * w)) - float(np.sum(gradient * gradient)) / (2 * alpha_l2)


def stands_still(losses: Sequence[float]) -> bool:
    """Return whether the losses of a full window no longer fall.

    This is so if the newer half falls by less than a thousandth of the older half, or if the least
    loss of the newer half is above that of the older half. It is the window rule of DisSVRG's section
    6 for the number of inner steps, m.
    """
    if len(losses) < WINDOW or not math.isfinite(losses[-1]):
        return False
    older, newer = losses[: WINDOW // 2], losses[WINDOW // 2 :]
    fall = sum(older) - sum(newer)
    return fall < _LEAST_FALL * abs(sum(older)) or min(newer) > min(older)
