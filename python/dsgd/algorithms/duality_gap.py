"""The duality gap of a run of dual coordinate ascent, by which `gap_tol` stops it."""

from __future__ import annotations

import math

from dsgd import _core
from dsgd.problems.task import LocalTask

__all__ = ["DualityGap", "relative_gap"]

# Share of the factor on the estimate that an epoch keeps.
_KEPT = 0.75


def relative_gap(value: float, bound: float) -> float:
    """Return (F - D) / D, an upper bound of (F - F*) / F* for the optimum F*.

    Parameters
    ----------
    value : float
        The objective F at some weights.
    bound : float
        The dual objective D at some dual variables, a lower bound of the optimum.
    """
    unit = max(bound, 1e-12 * value)  # D may be 0, as the optimum may be
    return max(value - bound, 0.0) / unit if unit > 0 else 0.0


class DualityGap:
    """Measures the duality gap after the epochs where it may have reached `task.gap_tol`.

    The exact gap costs two passes over the data. An epoch measures a part of it almost for free: the
    part of the samples that it visits, each before its step. This is the gap of about the middle of
    the epoch, and the gap at its end is less by the factor by which an epoch lowers it. The exact gap
    is only worth its cost when this estimate is small, or after the last epoch. Where the gap was
    greater than the estimate, the next estimates must be smaller by that factor; every epoch forgets a
    part of it.

    Parameters
    ----------
    task : LocalTask
    solver : _core.Sdca
    """

    def __init__(self, task: LocalTask, solver: _core.Sdca) -> None:
        self._task = task
        self._solver = solver
        self._value = math.inf  # the last known value of the objective, an upper bound of the optimum
        self._factor = 1.0  # of the estimate
        self._before = math.inf  # what the epoch before has measured

    def after_epoch(self, measured: float, last: bool) -> float | None:
        """Return the relative duality gap, or None if it is not measured after this epoch.

        Parameters
        ----------
        measured : float
            The absolute gap that the epoch has measured.
        last : bool
            Whether this is the last epoch of the run.
        """
        tolerance = self._task.gap_tol
        if tolerance is None:
            return None
        before, self._before = self._before, measured
        fall = min(1.0, measured / before) if 0 < before < math.inf else 1.0
        estimate = measured * fall
        self._factor = max(_KEPT * self._factor, 1.0)
        return self._if_small(tolerance, estimate, last)

    def _if_small(self, tolerance: float, estimate: float, last: bool) -> float | None:
        """Return the relative duality gap if its estimate is small, or after the last epoch."""
        if self._factor * estimate > tolerance * self._value and not last:
            return None
        if math.isinf(self._value) and not last:
            self._value = self._task.value()
            return self._if_small(tolerance, estimate, last)
        return self._measure(tolerance, estimate)

    def _measure(self, tolerance: float, estimate: float) -> float:
        """Return the relative duality gap.

        The weights are first rebuilt from the dual variables, which removes accumulated rounding errors.
        """
        dual = self._solver.rebuild(self._task.weights)
        self._value = self._task.value()
        gap = relative_gap(self._value, dual)
        if gap > tolerance:
            self._solver.wake()  # the gap may come from samples that are left out
            self._factor = max((self._value - dual) / estimate, 1.0) if estimate > 0 else 1.0
        return gap
