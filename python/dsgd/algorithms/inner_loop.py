"""The inner loop of SVRG on one machine: its number of steps, and the weights at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.algorithms.variance_reduction import WINDOW, stands_still
from dsgd.problems.problem import Sample
from dsgd.problems.task import LocalTask

__all__ = ["equal_parts", "parts_until_standstill", "run_parts"]

# Equal parts of an inner loop; ``anchor="average"`` averages the weights at their ends.
_PARTS = 10
# Rows on which the window rule evaluates the objective.
_SEEN_ROWS = 1000
# Evaluations of the window rule in a pass over the data.
_LOOKS_A_PASS = 10
# Passes after which an inner loop ends even if the objective still falls.
_MOST_PASSES = 5


def equal_parts(n_steps: int) -> Iterator[int]:
    """Cut an inner loop of `n_steps` into ten parts; yield the steps of each. The last part may be shorter."""
    part = -(-n_steps // _PARTS)
    for begin in range(0, n_steps, part):
        yield min(part, n_steps - begin)


def parts_until_standstill(task: LocalTask) -> Iterator[int]:
    """Yield the steps of parts of an inner loop until the objective on 1,000 rows stands still.

    A part is a tenth of a pass, and the inner loop ends after five passes at the latest. This is the
    window rule of DisSVRG's section 6 for the number of inner steps, m.
    """
    rows = np.random.default_rng(task.seed).permutation(task.n_samples)[:_SEEN_ROWS]
    sample = Sample.cut(task.problem.matrix, np.sort(rows))
    objective = sample.problem(task.problem).linear_objective(1)

    def look() -> float:
        return objective.value(sample.weights(task.problem, task.weights), 1)

    values = [look()]
    left, part = _MOST_PASSES * task.n_samples, -(-task.n_samples // _LOOKS_A_PASS)
    while left > 0 and not stands_still(values):
        yield min(part, left)
        left -= part
        values = [*values, look()][-WINDOW:]


def run_parts(descend: Callable[[int], None], parts: Iterable[int], weights: NDArray[Any], *, average: bool) -> int:
    """Run an inner loop part by part.

    Parameters
    ----------
    descend : callable
        Makes a number of steps from `weights`, in place.
    parts : iterable of int
        The steps of each part.
    weights : ndarray of shape (n_parameters,)
    average : bool
        Whether `weights` end at the mean of the weights at the ends of the parts, each weighted by its steps, instead
        of at the last ones.

    Returns
    -------
    int
        The number of steps.
    """
    taken, total = 0, np.zeros(len(weights)) if average else None
    for count in parts:
        descend(count)
        taken += count
        if total is not None:
            total += count * weights
    if total is not None:
        weights[:] = total / taken
    return taken
