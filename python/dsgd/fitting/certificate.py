"""The duality gap of any algorithm, by which `gap_tol` stops it: lower bounds of the optimum beside the run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dsgd import _core
from dsgd.algorithms import Algorithm
from dsgd.algorithms.duality_gap import relative_gap
from dsgd.algorithms.variance_reduction import longest_safe_step
from dsgd.problems.task import LocalTask

__all__ = ["Certificates"]

# Passes of training by which the next look is put off, as a share of those before it; and where the bound is near.
_WAIT, _SHORT_WAIT = 0.5, 0.1
# Passes that the first look may spend at least to raise the bound.
_LEAST_PASSES = 8
# What a pass must leave of the gap at most, so that passes go on beyond those that were allowed.
_PAYS = 0.85
# Passes over the data that a look at the margins takes: one for them, and one for the sum of the rows.
_LOOK = 2.0


class Certificates:
    """Measures the duality gap of every problem after the epochs where it may have reached `gap_tol`.

    Where the algorithm knows a lower bound (`EpochEnd.bound`), the gap is looked at once that bound proves enough: a
    look only confirms it in double precision. Where it knows none, or the objective stands still before it proves
    enough, the trend of the objective decides: the gap is looked at once an epoch lowers the objective by no more than
    the tolerance, or once the bound that is known proves enough. A look that does not end the fit puts off the next one
    until there are half as many passes more. The passes that raise the bound are at most those of the training, and a
    few, unless they pay.

    Parameters
    ----------
    algorithm : Algorithm
    tasks : sequence of LocalTask
    """

    def __init__(self, algorithm: Algorithm, tasks: Sequence[LocalTask]) -> None:
        self._tolerance = tasks[0].gap_tol or 0.0
        # Threads of dual coordinate ascent do not give the same bits twice.
        threads = 1 if algorithm.capabilities.deterministic else tasks[0].n_threads
        self._each = [_Certificate(task, self._tolerance, threads) for task in tasks]
        self._before: float | None = None
        self._looked = 2.0  # passes at the last look; the first is put off as if there had been one

    def gap(self, passes: float, objective: float | None, bound: float | None = None, *, last: bool) -> float | None:
        """Return the largest relative duality gap of the problems; None if it is not measured after this epoch.

        Parameters
        ----------
        passes : float
            Effective passes of the training so far.
        objective : float or None
            The mean objective of the problems, as far as it is known.
        bound : float or None
            The mean lower bound of the problems that the algorithm knows.
        last : bool
            Whether this is the last epoch of the run.
        """
        before = self._before
        flat = objective is not None and self._flat(objective)
        if objective is not None and bound is not None and not last:
            if relative_gap(objective, bound) <= self._tolerance:
                return self._confirmed(passes)
            if before is None or objective < before:
                return None  # the run itself raises its bound
        if not (last or self._due(objective, passes, flat)):
            return None
        gap = self._look(passes)
        if objective is None and not self._flat(sum(each.value for each in self._each) / len(self._each)) and not last:
            return gap
        for each in sorted(self._each, key=lambda each: each.gap, reverse=True):
            if each.gap > self._tolerance:
                each.ascend(max(passes, _LEAST_PASSES) - each.spent)
            if each.gap > self._tolerance:
                break  # the others cannot end the fit
        return max(each.gap for each in self._each)

    def _confirmed(self, passes: float) -> float | None:
        """Return the gap at the margins; None soon after a look that failed."""
        return None if passes < self._looked * (1 + _SHORT_WAIT) else self._look(passes)

    def _look(self, passes: float) -> float:
        """Return the largest gap of the problems at the margins."""
        self._looked = passes
        for each in self._each:
            each.look()
        return max(each.gap for each in self._each)

    def _due(self, objective: float | None, passes: float, flat: bool) -> bool:
        waited = passes >= self._looked * (1 + _WAIT)
        if objective is None:
            return waited
        bound = sum(each.bound for each in self._each) / len(self._each)
        near = objective <= (1 + self._tolerance) * bound
        return (near and passes >= self._looked * (1 + _SHORT_WAIT)) or (flat and waited)

    def _flat(self, objective: float) -> bool:
        """Return whether the objective has fallen by no more than the tolerance since the last call."""
        before, self._before = self._before, objective
        return before is not None and before - objective <= self._tolerance * abs(objective)


class _Certificate:
    """A lower bound of the optimum of one problem, and the gap of the weights at the last look.

    Attributes
    ----------
    value : float
        The objective F at the last look.
    gap : float
        (F - D) / D, as of `relative_gap`.
    likely : float
        The least objective that is known, or about it; infinity at first. Weights that are above it by more than the
        tolerance cannot be proven.
    spent : float
        Passes over the data so far.
    """

    def __init__(self, task: LocalTask, tolerance: float, n_threads: int) -> None:
        self._task = task
        self._tolerance = tolerance
        self._threads = n_threads
        self._point: _core.DualPoint | None = None
        self._sdca: _core.Sdca | None = None
        self._svrg: _core.Svrg | None = None
        self._step = 0.0  # of SVRG
        self._epochs = 0
        self._best, self._best_value = task.weights, math.inf
        self.value = self.gap = self.likely = math.inf
        self._pays = False
        self.spent = 0.0

    @property
    def bound(self) -> float:
        """The lower bound D of the optimum; 0 before the first look."""
        return 0.0 if self._point is None else self._point.value

    def look(self) -> None:
        """Measure the gap at the weights, after their margins have moved the dual point."""
        task = self._task
        task.turn()
        if self._point is None:
            self._point = _core.DualPoint(task.linear, n_threads=task.n_threads)
        self.value = self._point.look(task.weights) + task.penalty()
        self._count(_LOOK)

    def ascend(self, passes: float) -> None:
        """Raise the bound by a run of its own, until it proves the weights or is no help.

        It is no help where it finds weights that are better than those of the fit by more than the tolerance: then
        the fit must go on. For a loss with kinks under L1 nothing is done.

        Parameters
        ----------
        passes : float
            The most passes over the data.
        """
        task, end = self._task, self.spent + passes
        if self._point is None or passes <= 0:
            return
        task.turn()
        if task.problem.loss.smooth:
            self._descend_beside(self._point, end)
        elif task.problem.alphas[0] == 0:
            self._ascend_dual(self._point, end)

    def _descend_beside(self, point: _core.DualPoint, end: float) -> None:
        """Descend from the best weights that are known by SVRG: the margins of better weights prove more."""
        task, problem = self._task, self._task.problem
        if self._svrg is None:
            self._svrg = _core.Svrg(task.linear, n_threads=self._threads, mean_gradient="reweighted")
            self._step = longest_safe_step(problem, problem.scale.mean)
        if self.value < self._best_value:
            self._best, self._best_value = task.weights.copy(), self.value
        while self._goes_on(end):
            weights, steps = self._best.copy(), 2 * task.n_samples
            self._svrg.begin(self._next_epoch())
            self._svrg.take_anchor(weights)
            self._svrg.descend(weights, self._step, steps)
            weights[task.unseen] = 0
            value = point.look(weights) + problem.penalty(problem.layout.regularised(weights))
            self._count(1 + steps / task.n_samples + _LOOK)
            if value < self._best_value:
                self._best, self._best_value = weights, value
            else:
                self._step /= 4
            self.likely = self._best_value

    def _ascend_dual(self, point: _core.DualPoint, end: float) -> None:
        """Ascend from the dual point by coordinates (SDCA)."""
        task = self._task
        if self._sdca is None:
            threads = self._threads
            self._sdca = _core.Sdca(
                task.linear, n_threads=threads, merge_visits=2, damping=threads, max_rest=16, sgd_first=False
            )
        weights = task.weights.copy()
        self._sdca.begin_at(point.duals, weights)
        while self._goes_on(end):
            done = self._sdca.epoch(weights, self._next_epoch(), measure_gap=True)
            point.look_at(self._sdca.duals)
            self._count(done.visits / task.n_samples + 1)
            self.likely = point.value + done.gap  # about the objective of the weights of the dual variables

    def _goes_on(self, end: float) -> bool:
        """Return whether the gap is open, may be closed, and the last passes paid or some are left."""
        may = self.value <= (1 + self._tolerance) * self.likely
        return self.gap > self._tolerance and may and (self._pays or self.spent < end)

    def _count(self, passes: float) -> None:
        """Count the passes that were made, and measure the gap that they have left."""
        before, self.gap = self.gap, relative_gap(self.value, self.bound)
        self._pays = self.gap <= before * _PAYS**passes
        self.spent += passes

    def _next_epoch(self) -> _core.Epoch:
        self._epochs += 1
        return self._task.epoch(self._epochs - 1, None)
