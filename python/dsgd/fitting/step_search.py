"""``step_size="auto"``: the first step size, found by short trials on a sample of the rows.

The idea is that of Bottou's programs (determineEta0): train on a few rows with steps on a grid of powers of two and
take the best. docs/design/step-sizes.md has the measurements behind the numbers here.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.warn import warn
from dsgd.algorithms import Algorithm
from dsgd.problems.problem import Sample, on_target
from dsgd.problems.task import LocalTask

__all__ = ["choose_steps"]

_LOG = logging.getLogger("dsgd")

# A trial is three passes over a hundredth of the rows, at least a thousand; for large batches over sixteen of them, but
# not more than a quarter of the rows.
_PASSES, _SHARE, _MIN_ROWS, _BATCHES, _LARGEST_SHARE = 3, 100, 1000, 16, 4
# A whole run is longer than a trial, and what is best for it is smaller: by half, on every set measured.
_MARGIN = 0.5
_MAX_MOVES = 60
# Entries that say how large those of a column are; the sum of a run's steps, in units of what one sample needs, to
# which a weight hardly moves, and from which on it surely does; how much longer a line search may make steps.
_SEEN, _HARDLY, _SURELY, _SEARCHED = 1000, 0.1, 10.0, 10


def choose_steps(algorithm: Algorithm, tasks: Sequence[LocalTask]) -> None:
    """Set `step_size` of every task.

    Parameters
    ----------
    algorithm : Algorithm
    tasks : sequence of LocalTask
        Problems that differ in targets and starting weights only: each search begins where the last one ended.
    """
    first = tasks[0]
    natural = 1 / (first.problem.loss.curvature * first.problem.scale.mean)
    given = first.schedule.start(first.run)
    momentum = getattr(algorithm, "momentum", None)
    loss = first.problem.loss
    chosen = loss.first_step() if momentum is None else loss.first_step(momentum)
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
        guess = natural
        for task, trial_task in zip(tasks, _trial_tasks(algorithm, tasks), strict=True):
            guess = _search(algorithm.on_share(trial_task.n_samples / task.n_samples), trial_task, guess or natural)
            task.step_size = min(guess * _MARGIN, _longest_stable(algorithm, task))
            _LOG.info("step_size: %.3g", task.step_size)
        _warn_of_units(first, first.n_samples * first.max_epochs / algorithm.batch_rows)


def _trial_tasks(algorithm: Algorithm, tasks: Sequence[LocalTask]) -> Iterator[LocalTask]:
    """Yield each task on a sample of the rows, which is cut out and whose features are counted once for all."""
    first = tasks[0]
    batches = min(_BATCHES * algorithm.batch_rows, first.n_samples // _LARGEST_SHARE)
    wanted = max(_MIN_ROWS, first.n_samples // _SHARE, batches)
    rows = np.random.default_rng(first.seed).permutation(first.n_samples)[:wanted]
    sample = Sample.cut(first.problem.matrix, np.sort(rows))
    objective = sample.problem(first.problem).objective(1)
    for task in tasks:
        task.turn()
        problem = sample.problem(task.problem)
        yield dataclasses.replace(
            task,
            problem=problem,
            objective=on_target(objective, problem.target),
            weights=sample.weights(task.problem, task.weights),
            n_threads=1,
            max_epochs=min(_PASSES, task.max_epochs),
            start_epoch=0,
            offset=0,
            average=None,
            turn=lambda: None,  # targets of its own
            unseen=np.empty(0, np.intp),  # the sample keeps only features that occur
        )


def _search(algorithm: Algorithm, trial_task: LocalTask, guess: float) -> float:
    """Return the best step size for the rows of a trial."""
    start = trial_task.weights.copy()
    trials: list[str] = []

    def trial(step: float) -> float:
        trial_task.step_size, trial_task.average = step, None
        np.copyto(trial_task.weights, start)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a step that is only tried
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
    """Walk from `guess` in factors of two while the value of `trial` falls."""
    best, value = guess, trial(guess)
    for factor in (2.0, 0.5) if math.isfinite(value) else (0.5,):
        first = best
        for _ in range(_MAX_MOVES):
            candidate = trial(best * factor)
            if math.isfinite(value) and candidate >= value:
                break
            best, value = best * factor, candidate
        if best != first:  # it went down this way, so it goes up the other way
            break
    return best


def _longest_stable(algorithm: Algorithm, task: LocalTask) -> float:
    """Return the step from which on one sample could make its own error grow; a trial may not have seen the largest."""
    loss, scale = task.problem.loss, task.problem.scale
    batch_rows = min(algorithm.batch_rows, task.n_samples)
    return 2 * batch_rows / (loss.curvature * scale.largest) if loss.steep else math.inf


def _warn_of_units(task: LocalTask, n_steps: float) -> None:
    """Warn if the weights of half of the features can hardly move, since another feature is so much larger."""
    squares = _column_squares(task.problem.matrix, 16 + round(_SEEN / max(1.0, task.problem.scale.row_entries)))
    # A schedule falls: half of the first step in the mean.
    moves = task.problem.loss.curvature * task.step_size * n_steps / 2 * squares
    if len(squares) > 0 and np.median(moves) < _HARDLY and moves.max() > _SURELY:
        low, high = np.sqrt([squares.min(), squares.max()])
        warn(
            f"the columns of X are so different, with entries of about {low:.2g} to {high:.2g}, that half of the "
            "weights can hardly move in this run: scale the features, for example by "
            "sklearn.preprocessing.StandardScaler"
        )


def _column_squares(matrix: _core.Matrix, n_rows: int) -> NDArray[np.float64]:
    """Return the usual squares of the entries that are not zero, of every column that has any in the first rows.

    That is their geometric mean, which a single large entry does not change.
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
