"""Detects runs that diverge, and models that end far worse than a constant."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd._common.warn import warn
from dsgd.errors import DivergedError
from dsgd.models.protocols import Objective
from dsgd.problems.problem import Sample, on_target
from dsgd.problems.task import LocalTask

__all__ = ["Watch", "warn_if_useless"]

# Multiple of the best constant model's objective above which an objective counts as a divergence.
_EXPLOSION = 10.0
# Multiple of the objective at the start of an epoch below which the epoch never counts as a divergence.
_REGAIN = 1.5
# Rows on which the objective is evaluated if nobody asks for it. All rows are evaluated only if it is bad on these.
_WATCHED_ROWS = 256
# Multiple of the best constant model's objective above which a trained model gives a warning. Noise alone does not
# make a model so bad.
_USELESS = 2.0


class Watch:
    """Decides after every epoch whether the run has diverged ("exploded").

    The decision depends on this epoch and the data alone, not on earlier epochs. `partial_fit`
    therefore gives the same result as `fit`.

    Parameters
    ----------
    tasks : sequence of LocalTask
        The problems of one model.

    Raises
    ------
    DivergedError
        If even the objective of the best constant model is not finite.
    """

    def __init__(self, tasks: Sequence[LocalTask]) -> None:
        self._tasks = tasks
        self._off = any(task.problem.loss.scale_free or not task.problem.loss.explodes for task in tasks)
        if not self._off:
            self._bound = _EXPLOSION * trivial_objective(tasks)

    @functools.cached_property
    def _few(self) -> _FewRows:
        return _FewRows(self._tasks)

    def exploded(self, objective: float | None, before: NDArray[Any]) -> bool:
        """Return whether the weights have diverged in the last epoch.

        Parameters
        ----------
        objective : float or None
            The objective at the current weights, or its mean over the epoch; None if it was not
            evaluated.
        before : ndarray of shape (n_problems, n_parameters)
            The weights at the start of the epoch.

        Returns
        -------
        bool
        """
        if self._off or (self._few.look_well() if objective is None else objective <= self._bound):
            return False
        # The mean over an epoch may be large although its end is fine, and the few rows may not be typical. So all rows
        # are evaluated at the current weights.
        now = _mean_objective(self._tasks, [task.weights for task in self._tasks])
        if now <= self._bound:
            return False
        began = _mean_objective(self._tasks, before)
        if not math.isfinite(began):
            raise DivergedError("the objective is not finite before the first epoch: scale the data")
        return not now <= _REGAIN * began

    def give_up(self) -> None:
        """Switch the watch off: no later epoch counts as a divergence."""
        self._off = True


class _FewRows:
    """The problems on a random sample of the rows, or on all rows if there are only few."""

    def __init__(self, tasks: Sequence[LocalTask]) -> None:
        first = tasks[0]
        self._whole = self._tasks = tasks
        self._rows: Sample | None = None
        n_rows = first.problem.matrix.n_rows
        if n_rows > _WATCHED_ROWS:
            weight, random = first.problem.sample_weight, np.random.default_rng(first.seed)
            counted = np.arange(n_rows) if weight is None else np.flatnonzero(weight)
            drawn = random.choice(counted, min(_WATCHED_ROWS, len(counted)), replace=False, shuffle=False)
            self._rows = Sample.cut(first.problem.matrix, np.sort(drawn))
            objective = self._rows.problem(first.problem).objective(1)
            self._tasks = [self._on_rows(task, objective) for task in tasks]
        self._bound = _EXPLOSION * trivial_objective(self._tasks)

    def _on_rows(self, task: LocalTask, objective: Objective) -> LocalTask:
        """Return the task on the sampled rows."""
        assert self._rows is not None
        task.turn()
        problem = self._rows.problem(task.problem)
        own = on_target(objective, problem.target)
        return dataclasses.replace(task, problem=problem, objective=own, n_threads=1, turn=lambda: None)

    def look_well(self) -> bool:
        """Return whether the objective on the sampled rows, at the current weights, shows no divergence."""
        weights = [task.weights for task in self._whole]
        if self._rows is not None:
            weights = [self._rows.weights(task.problem, w) for task, w in zip(self._whole, weights, strict=True)]
        return _mean_objective(self._tasks, weights) <= self._bound


def _mean_objective(tasks: Sequence[LocalTask], weights: Sequence[NDArray[Any]] | NDArray[Any]) -> float:
    """Return the mean objective of the problems; row k of the weights belongs to problem k."""
    values = [task.value_at(w) for task, w in zip(tasks, weights, strict=True)]
    return sum(values) / len(tasks)


def trivial_objective(tasks: Sequence[LocalTask]) -> float:
    """Return the mean objective of the best models without a feature; `DivergedError` if it is not finite."""
    losses = [task.problem.trivial_losses() for task in tasks]
    constant, zero = np.mean(losses, axis=0)
    trivial = float(max(constant, 1e-6 * zero))  # a perfect constant has 0, which rounding exceeds
    if not math.isfinite(_EXPLOSION * trivial):
        raise DivergedError("the objective is not finite before the first epoch: scale the data")
    return trivial


def warn_if_useless(tasks: Sequence[LocalTask], objective: float | None) -> None:
    """Warn if the model is far worse than the best constant model, although it is finite."""
    loss = tasks[0].problem.loss
    if objective is None or loss.scale_free or not loss.explodes:
        return
    trivial = trivial_objective(tasks)
    if objective > _USELESS * trivial:
        warn(
            f"the objective ended at {objective:.3g}, but it is {trivial:.3g} for a model that knows no feature: "
            "scale the features, give it more epochs, or a larger alpha",
        )
