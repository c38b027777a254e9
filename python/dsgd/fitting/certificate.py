"""The duality gap of any algorithm, by which `gap_tol` stops it: lower bounds of the optimum beside the run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dsgd import _core
from dsgd.algorithms import Algorithm
from dsgd.algorithms.duality_gap import relative_gap
from dsgd.problems.task import EpochEnd, LocalTask

__all__ = ["Certificates"]

# Passes of training by which the next look is put off, as a share of those before it.
_WAIT = 0.5
# Passes that the first look may spend at least to raise the bound.
_LEAST_PASSES = 8
# Passes over the data that a look at the margins takes: one for them, and one for the sum of the rows.
_LOOK = 2.0


class Certificates:
    """Measures the duality gap of every problem after the epochs where it may have reached `gap_tol`.

    The trend of the objective decides when: the gap is looked at once an epoch lowers the objective by no more than
    the tolerance, or once the bound that is known proves enough. The passes that were spent on looks are at most those
    of the training, and a few.

    Parameters
    ----------
    algorithm : Algorithm
    tasks : sequence of LocalTask
    """

    def __init__(self, algorithm: Algorithm, tasks: Sequence[LocalTask]) -> None:
        self._each: list[_Certificate] = []
        self._tolerance = tasks[0].gap_tol or 0.0
        if tasks[0].gap_tol is not None and not algorithm.capabilities.dual:
            # Threads of dual coordinate ascent do not give the same bits twice.
            threads = 1 if algorithm.capabilities.deterministic else tasks[0].n_threads
            self._each = [_Certificate(task, self._tolerance, threads) for task in tasks]
        self._before: float | None = None
        self._next = 0.0

    def gap(self, ends: Sequence[EpochEnd], objective: float | None, *, last: bool) -> float | None:
        """Return the largest relative duality gap of the problems; None if it is not measured after this epoch.

        Parameters
        ----------
        ends : sequence of EpochEnd
            The reports of the epoch, which have the gaps of an algorithm that has its own.
        objective : float or None
            The mean objective of the problems, as far as it is known.
        last : bool
            Whether this is the last epoch of the run.
        """
        if not self._each:
            own = [end.gap for end in ends if end.gap is not None]
            return max(own) if len(own) == len(ends) else None
        passes = ends[0].effective_passes
        if not self._due(objective, passes, last):
            return None
        self._next = passes * (1 + _WAIT)
        for each in self._each:
            each.look()
        for each in sorted(self._each, key=lambda each: each.gap, reverse=True):
            if each.gap > self._tolerance:
                each.ascend(max(passes, _LEAST_PASSES) - each.spent)
            if each.gap > self._tolerance:
                break  # the others cannot end the fit
        return max(each.gap for each in self._each)

    def _due(self, objective: float | None, passes: float, last: bool) -> bool:
        before, self._before = self._before, objective
        bound = sum(each.bound for each in self._each) / len(self._each)
        if last or (objective is not None and objective <= (1 + self._tolerance) * bound):
            return True
        if passes < self._next:
            return False
        if objective is None:
            return True
        return before is not None and before - objective <= self._tolerance * abs(objective)


class _Certificate:
    """A lower bound of the optimum of one problem, and the gap of the weights at the last look.

    Attributes
    ----------
    gap : float
        (F - D) / D, as of `relative_gap`.
    spent : float
        Passes over the data so far.
    """

    def __init__(self, task: LocalTask, tolerance: float, n_threads: int) -> None:
        self._task = task
        self._tolerance = tolerance
        self._threads = n_threads
        self._point: _core.DualPoint | None = None
        self._solver: _core.Sdca | None = None
        self._epochs = 0
        self._value = math.inf
        self.gap = math.inf
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
        self._value = self._point.look(task.weights) + task.penalty()
        self.gap = relative_gap(self._value, self._point.value)
        self.spent += _LOOK

    def ascend(self, passes: float) -> None:
        """Raise the bound by passes of dual coordinate ascent, until it proves the weights or is no help.

        It is no help where the weights of the dual variables are better than those of the fit by more than the
        tolerance: then the fit must go on. Under L1 nothing is done.

        Parameters
        ----------
        passes : float
            The most passes over the data.
        """
        task, point = self._task, self._point
        if point is None or task.problem.alphas[0] > 0 or passes <= 1:
            return
        task.turn()
        if self._solver is None:
            threads = self._threads
            self._solver = _core.Sdca(
                task.linear, n_threads=threads, merge_visits=2, damping=threads, max_rest=16, sgd_first=False
            )
        weights = task.weights.copy()
        self._solver.begin_at(point.duals, weights)
        end, visits = self.spent + passes, 0
        while self.gap > self._tolerance and self.spent < end:
            done = self._solver.epoch(weights, task.epoch(self._epochs, None), measure_gap=True)
            self._epochs += 1
            self.spent += done.visits / task.n_samples
            likely = point.value + done.gap
            point.look_at(self._solver.duals)
            self.spent += 1
            self.gap = relative_gap(self._value, point.value)
            if self._value > (1 + self._tolerance) * max(likely, point.value + done.gap):
                return
