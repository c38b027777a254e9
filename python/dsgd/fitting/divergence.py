"""When a run has diverged, and when it ended no better than no model at all."""

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
from dsgd.models.base import Objective
from dsgd.problems.problem import Sample, on_target
from dsgd.problems.task import LocalTask

__all__ = ["Watch", "warn_if_useless"]

# An objective so many times that of the best constant is taken for a divergence, unless the epoch began near it.
_EXPLOSION = 10.0
_REGAIN = 1.5
# Where nobody asks for the objective, so many rows say whether it is worth a look.
_WATCHED_ROWS = 256
# A model so much worse than the best constant is worth a warning: noise alone does not make it so bad.
_USELESS = 2.0


class Watch:
    """Says after every epoch whether it exploded.

    The answer depends on the epoch and the data alone, not on what went before: `partial_fit` gives the same as `fit`.

    Parameters
    ----------
    tasks : sequence of LocalTask
        The problems of a model.

    Raises
    ------
    DivergedError
        If the objective of a constant is not finite already.
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
        """Return whether the weights are those of a divergence.

        Parameters
        ----------
        objective : float or None
            At the weights as they are, or the mean over the epoch; None: nobody evaluated it.
        before : ndarray of shape (n_problems, n_parameters)
            The weights that the epoch began with.

        Returns
        -------
        bool
        """
        if self._off or (self._few.look_well() if objective is None else objective <= self._bound):
            return False
        # The losses of an epoch may be large where its end is not, and some rows may not be like all.
        now = _mean_objective(self._tasks, [task.weights for task in self._tasks])
        if now <= self._bound:
            return False
        began = _mean_objective(self._tasks, before)
        if not math.isfinite(began):
            raise DivergedError("the objective is not finite before the first epoch: scale the data")
        return not now <= _REGAIN * began

    def give_up(self) -> None:
        """Say from now on that no epoch exploded."""
        self._off = True


class _FewRows:
    """The problems on a few rows, or on all where there are no more."""

    def __init__(self, tasks: Sequence[LocalTask]) -> None:
        first = tasks[0]
        self._whole = self._tasks = tasks
        self._rows: Sample | None = None
        if first.n_samples > _WATCHED_ROWS:
            weight, random = first.problem.sample_weight, np.random.default_rng(first.seed)
            counted = np.arange(first.n_samples) if weight is None else np.flatnonzero(weight)
            drawn = random.choice(counted, min(_WATCHED_ROWS, len(counted)), replace=False, shuffle=False)
            self._rows = Sample.cut(first.problem.matrix, np.sort(drawn))
            objective = self._rows.problem(first.problem).objective(1)
            self._tasks = [self._on_rows(task, objective) for task in tasks]
        self._bound = _EXPLOSION * trivial_objective(self._tasks)

    def _on_rows(self, task: LocalTask, objective: Objective) -> LocalTask:
        """Return a problem on the rows."""
        assert self._rows is not None
        task.turn()
        problem = self._rows.problem(task.problem)
        own = on_target(objective, problem.target)
        return dataclasses.replace(task, problem=problem, objective=own, n_threads=1, turn=lambda: None)

    def look_well(self) -> bool:
        """Return whether the objective on these rows is not that of a divergence, at the weights as they are."""
        weights = [task.weights for task in self._whole]
        if self._rows is not None:
            weights = [self._rows.weights(task.problem, w) for task, w in zip(self._whole, weights, strict=True)]
        return _mean_objective(self._tasks, weights) <= self._bound


def _mean_objective(tasks: Sequence[LocalTask], weights: Sequence[NDArray[Any]] | NDArray[Any]) -> float:
    """Return the mean objective of the problems at these weights, a row a problem."""
    values = [task.value_at(w) for task, w in zip(tasks, weights, strict=True)]
    return sum(values) / len(tasks)


def trivial_objective(tasks: Sequence[LocalTask]) -> float:
    """Return the mean objective of the best models without a feature; `DivergedError` if it is not finite."""
    losses = [task.problem.trivial_losses() for task in tasks]
    constant, zero = np.mean(losses, axis=0)
    trivial = float(max(constant, 1e-6 * zero))  # the constant may be perfect; rounding is no explosion
    if not math.isfinite(_EXPLOSION * trivial):
        raise DivergedError("the objective is not finite before the first epoch: scale the data")
    return trivial


def warn_if_useless(tasks: Sequence[LocalTask], objective: float | None) -> None:
    """Warn of a model that is far worse than the best constant: it is finite, but nobody wants it."""
    loss = tasks[0].problem.loss
    if objective is None or loss.scale_free or not loss.explodes:
        return
    trivial = trivial_objective(tasks)
    if objective > _USELESS * trivial:
        warn(
            f"the objective ended at {objective:.3g}, and at {trivial:.3g} it is for a model that knows no feature: "
            "scale the features, give it more epochs, or a larger alpha",
        )
