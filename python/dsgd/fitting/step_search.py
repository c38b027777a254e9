"""``step_size="auto"``: the first step size, found by short trials on a sample of the rows.

As in Bottou's SGD programs (``determineEta0``), a trial trains on a few rows with one step of a grid
of powers of two, and the best step is taken. docs/design/step-sizes.md has the measurements behind the
constants.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.warn import warn
from dsgd.algorithms import Algorithm
from dsgd.fitting.lanes import lanes_of
from dsgd.problems.problem import Sample, on_target
from dsgd.problems.task import LocalTask

__all__ = ["choose_steps", "trial_rows"]

_LOG = logging.getLogger("dsgd")

# Passes of a trial over its rows.
_PASSES = 3
# A trial has n_samples / _SHARE rows, ...
_SHARE = 100
# ... but at least this number of rows ...
_MIN_ROWS = 1000
# ... and at least this number of batches, ...
_BATCHES = 16
# ... the batches being limited to n_samples / _LARGEST_SHARE rows.
_LARGEST_SHARE = 4
# Factor from the best step of the trials to the step of the run. A run is longer than a trial, and its best step is
# smaller: by half, on every data set measured.
_MARGIN = 0.5
# Most factors of two that the search goes up or down from its first step.
_MAX_MOVES = 60
# Non-zero entries, about, from which the typical entry of each column is estimated.
_SEEN = 1000
# Sum of a run's steps, in units of 1 / (c x_j^2), below which the weight of feature j hardly moves.
_HARDLY = 0.1
# The same sum, above which the weight of feature j surely moves.
_SURELY = 10.0
# Factor by which a line search is assumed to lengthen the first step.
_SEARCHED = 10


def choose_steps(algorithm: Algorithm, tasks: Sequence[LocalTask]) -> None:
    """Set `step_size` of every task.

    Parameters
    ----------
    algorithm : Algorithm
    tasks : sequence of LocalTask
        Problems that differ in targets and initial weights only. Searches start from the result of the
        first one.
    """
    first = tasks[0]
    natural = 1 / (first.problem.loss.curvature * first.problem.scale.mean)
    given = first.schedule.start(first.run)
    chosen = algorithm.first_step(first.problem.loss)
    if chosen is not None:
        for task in tasks:
            task.step_size = chosen
    elif not algorithm.capabilities.stochastic or first.problem.loss.scale_free:
        for task in tasks:
            task.step_size = natural
        if not (algorithm.capabilities.dual or first.problem.loss.scale_free):
            _warn_of_units(first, _SEARCHED * first.max_epochs)
    elif given is not None:
        for task in tasks:
            task.step_size = min(given, _longest_stable(algorithm, task))
            task.rule_of_thumb = True
    else:
        for task, step in zip(tasks, _searched(algorithm, tasks, natural), strict=True):
            task.step_size = min(step * _MARGIN, _longest_stable(algorithm, task))
            _LOG.info("step_size: %.3g", task.step_size)
        _warn_of_units(first, first.n_samples * first.max_epochs / algorithm.batch_rows)


def trial_rows(n_samples: int, batch_rows: int) -> int:
    """Return how many of `n_samples` rows a trial has, for an algorithm with batches of `batch_rows` rows."""
    batches = min(_BATCHES * batch_rows, n_samples // _LARGEST_SHARE)
    return max(_MIN_ROWS, n_samples // _SHARE, batches)


def _searched(algorithm: Algorithm, tasks: Sequence[LocalTask], natural: float) -> list[float]:
    """Return the step of each task that trials on a sample of the rows find best."""
    trial_task = _trial_tasks(algorithm, tasks)

    def search(number: int, guess: float) -> float:
        trial = trial_task(number)
        return _search(algorithm.on_share(trial.n_samples / tasks[number].n_samples), trial, guess)

    with lanes_of(tasks) as lanes, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a step that is only a trial
        first = search(0, natural)
        return lanes.each(lambda number: search(number, first or natural) if number else first)


def _trial_tasks(algorithm: Algorithm, tasks: Sequence[LocalTask]) -> Callable[[int], LocalTask]:
    """Return a function that makes each task on a sample of the rows. All share the sample and its feature counts."""
    first = tasks[0]
    wanted = trial_rows(first.n_samples, algorithm.batch_rows)
    rows = np.random.default_rng(first.seed).permutation(first.problem.matrix.n_rows)[:wanted]
    sample = Sample.cut(first.problem.matrix, np.sort(rows))
    objective = sample.problem(first.problem).objective(1)

    def trial_task(number: int) -> LocalTask:
        task = tasks[number]
        task.turn()
        problem = sample.problem(task.problem)
        return dataclasses.replace(
            task,
            problem=problem,
            objective=on_target(objective, problem.target),
            weights=sample.weights(task.problem, task.weights),
            n_threads=1,
            max_epochs=min(_PASSES, task.max_epochs),
            start_epoch=0,
            offset=0,
            average=None,
            sum_loss=False,
            turn=lambda: None,  # a trial has a copy of its targets
            unseen=np.empty(0, np.intp),  # the sample keeps only features that occur
        )

    return trial_task


def _search(algorithm: Algorithm, trial_task: LocalTask, guess: float) -> float:
    """Return the step size with the lowest objective after a trial."""
    start = trial_task.weights.copy()
    trials: list[str] = []

    def trial(step: float) -> float:
        trial_task.step_size, trial_task.average = step, None
        np.copyto(trial_task.weights, start)
        with np.errstate(all="ignore"):
            for _ in algorithm.epochs(trial_task):
                pass
        value = trial_task.value() if np.isfinite(trial_task.weights).all() else math.inf
        trials.append(f"{step:.3g}: {value:.4g}")
        return value if math.isfinite(value) else math.inf

    best = _minimise(trial, guess)
    what = (trial_task.max_epochs, trial_task.n_samples, ", ".join(trials))
    _LOG.info("step_size: objective after %d passes over %d rows by step: %s", *what)
    return best


def _minimise(trial: Callable[[float], float], guess: float) -> float:
    """Walk from `guess` in factors of two while the value of `trial` falls; return the best step."""
    best, value = guess, trial(guess)
    for factor in (2.0, 0.5) if math.isfinite(value) else (0.5,):
        first = best
        for _ in range(_MAX_MOVES):
            candidate = trial(best * factor)
            if math.isfinite(value) and candidate >= value:
                break
            best, value = best * factor, candidate
        if best != first:  # the value fell in this direction, so it rises in the other one
            break
    return best


def _longest_stable(algorithm: Algorithm, task: LocalTask) -> float:
    """Return the step above which a step on the largest sample could increase the error of that sample.

    The trials may not have seen the largest sample. Infinity for losses with a bounded slope.
    """
    loss, scale = task.problem.loss, task.problem.scale
    batch_rows = min(algorithm.batch_rows, task.n_samples)
    return 2 * batch_rows / (loss.curvature * scale.largest) if loss.steep else math.inf


def _warn_of_units(task: LocalTask, n_steps: float) -> None:
    """Warn if the weights of half of the features can hardly move, because another feature is much larger."""
    squares = _column_squares(task.problem.matrix, 16 + round(_SEEN / max(1.0, task.problem.scale.row_entries)))
    # Schedules fall: the mean step is taken to be half of the first one.
    moves = task.problem.loss.curvature * task.step_size * n_steps / 2 * squares
    if len(squares) > 0 and np.median(moves) < _HARDLY and moves.max() > _SURELY:
        low, high = np.sqrt([squares.min(), squares.max()])
        warn(
            f"the columns of X are so different, with entries of about {low:.2g} to {high:.2g}, that half of the "
            "weights can hardly move in this run: scale the features, for example by "
            "sklearn.preprocessing.StandardScaler"
        )


def _column_squares(matrix: _core.Matrix, n_rows: int) -> NDArray[np.float64]:
    """Return the geometric mean of the squared non-zero entries of each column, over the first rows.

    Columns without a non-zero entry in these rows are left out. A single large entry hardly changes a
    geometric mean.
    """
    arrays = matrix.arrays
    if isinstance(arrays, tuple):
        pointers, columns, values = arrays
        end = pointers[min(matrix.n_rows, n_rows)]
        columns, values = columns[:end], values[:end]
    else:
        rows = arrays[:n_rows]
        columns, values = np.tile(np.arange(matrix.n_features), len(rows)), rows.ravel()
    columns, logs = columns[values != 0], np.log(np.abs(values[values != 0]).astype(np.float64))
    counts = np.bincount(columns)
    seen = counts > 0
    return np.asarray(np.exp(2 * np.bincount(columns, logs)[seen] / counts[seen]))
