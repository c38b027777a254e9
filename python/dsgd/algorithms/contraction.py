"""The rate at which steps of stochastic gradient descent bring two models together, estimated from the data."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.errors import ConfigError
from dsgd.problems.task import LocalTask

__all__ = ["Contraction", "estimate_contraction"]

# Most steps of an estimate, and the number of distances that it looks at.
_MOST_STEPS = 100_000
_LOOKS = 40
# Distances below so many times their size at the end say nothing of the rate.
_ABOVE_NOISE = 2.0


class Contraction(NamedTuple):
    """Two estimates of the contraction rate r of a step, and the one to use.

    Attributes
    ----------
    coupling : float
        From two models that step on the same samples.
    fit : float
        From the distances of one model to where it ends. NaN if it is there from the start.
    rate : float
        The larger of them, at most 1 - eta alpha: with a larger r the nodes that lag count for more.
    """

    coupling: float
    fit: float
    rate: float


def estimate_contraction(task: LocalTask, steps: int) -> Contraction:
    """Return the rate at which a step of `sgd` brings two models nearer to each other.

    Parameters
    ----------
    task : LocalTask
        A linear problem, with the step size, the weights to start from and the seed of a run.
    steps : int
        Steps of a node in the run.

    Returns
    -------
    Contraction

    Raises
    ------
    ConfigError
        If the model is not linear.

    Notes
    -----
    Coupling: with w from the start and w' from where SGD arrives after N steps, both make N further steps on the same
    samples; r = (||w_t - w'_t|| / ||w_0 - w'_0||)^(1/t). t is N, or less if they meet before but for rounding. Fit: the
    slope of ln ||w_t - w|| over t, where w is the mean of the last quarter. Steps are constant, as long as the first.

    References
    ----------
    Section 4.2 and figure 3 of Cheng, Li, Zhang, "Weighted parallel SGD for distributed unbalanced-workload training
    system": the rate is smaller than 1 - eta alpha where the loss curves, or many samples lie along the weights.
    """
    if not isinstance(task.objective, _core.LinearObjective):
        raise ConfigError("contraction='data' is for linear models; give contraction a number, or leave it out")
    task.turn()
    objective, n = task.linear, task.problem.matrix.n_rows
    n_steps = max(_LOOKS, min(steps, _MOST_STEPS))
    rows = _core.draw_rows(n, n_steps, block_size=1, seed=task.seed, index=0, stream=0)
    parts = np.array_split(rows, _LOOKS)

    def path(start: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the models after each part of the rows."""
        weights, models = start.copy(), []
        for part in parts:
            sgd = _core.RowSgd(objective)
            sgd.steps(weights, part, task.step_size, 0)
            sgd.settle(weights)
            models.append(weights.copy())
        return models

    alone = path(task.weights)
    other = path(alone[-1])
    ends = np.cumsum([len(part) for part in parts])
    distances = [_distance(task.weights, alone[-1]), *map(_distance, alone, other)]
    coupling = _coupled(distances, ends, math.sqrt(np.finfo(task.weights.dtype).eps))
    fit = _fitted(alone, ends)
    certain = 1 - min(task.step_size * task.problem.alphas[1], 1 - np.finfo(np.float64).tiny)
    found = [each for each in (coupling, fit) if 0 < each < 1]
    return Contraction(coupling, fit, min([max(found), certain]) if found else certain)


def _coupled(distances: list[float], ends: NDArray[Any], least: float) -> float:
    """Return r from the last distance that is above `least` times the first one: later ones are rounding."""
    first = distances[0]
    if first == 0:
        return 1.0
    last = max(sum(each > least * first for each in distances) - 1, 1)
    return float((max(distances[last] / first, least)) ** (1 / ends[last - 1]))


def _fitted(models: list[NDArray[Any]], ends: NDArray[Any]) -> float:
    """Return r from the slope of the logarithm of the distances to the mean of the last quarter."""
    end = np.mean(models[-len(models) // 4 :], axis=0)
    distances = np.array([_distance(model, end) for model in models])
    noise = float(distances[-len(models) // 4 :].mean())
    far = np.flatnonzero(distances > _ABOVE_NOISE * noise)
    if len(far) < 3:
        return math.nan
    slope = np.polyfit(ends[far], np.log(distances[far]), 1)[0]
    return float(np.exp(slope))


def _distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.linalg.norm(a.astype(np.float64) - b.astype(np.float64)))
