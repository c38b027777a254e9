"""The loop over epochs: what happens between an algorithm and its history."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from dsgd.algorithms import Algorithm, Task
from dsgd.errors import DivergedError
from dsgd.history import History, Record
from dsgd.progress import ProgressReport
from dsgd.result import Evaluation, LinearModel

__all__ = ["train"]


def train(
    algorithm: Algorithm,
    tasks: Sequence[Task],
    model: LinearModel,
    evaluation: Evaluation | None,
    evaluate_every: int,
    progress: bool,
) -> History:
    """Train the binary problems of a model, or its regression, epoch by epoch and in step.

    Parameters
    ----------
    algorithm : Algorithm
    tasks : sequence of Task
        One a row of ``model.weights``, which they train.
    model : LinearModel
    evaluation : Evaluation or None
    evaluate_every : int
        Epochs between evaluations; 0: none.
    progress : bool

    Returns
    -------
    History
        After Ctrl-C that of the epochs finished, and the weights are those of its last record.

    Raises
    ------
    DivergedError
        If weights or objective became infinite or not a number.
    KeyboardInterrupt
        If no epoch was finished.
    """
    history = History()
    max_epochs = tasks[0].max_epochs
    recorded = model.weights.copy()
    with ProgressReport(max_epochs) if progress else contextlib.nullcontext() as report:
        try:
            for record in _records(algorithm, tasks, model, evaluation, evaluate_every):
                history.append(record)
                np.copyto(recorded, model.weights)
                if report is not None:
                    report.show(record)
        except KeyboardInterrupt:
            if not history:
                raise
            np.copyto(model.weights, recorded)
            warnings.warn(
                f"interrupted after {len(history)} of {max_epochs} epochs; the model so far is returned",
                RuntimeWarning,
                stacklevel=3,
            )
    return history


def _records(
    algorithm: Algorithm,
    tasks: Sequence[Task],
    model: LinearModel,
    evaluation: Evaluation | None,
    evaluate_every: int,
) -> Iterator[Record]:
    """Train, and describe every epoch; the clock stands still while objective and score are evaluated."""
    task = tasks[0]
    seconds = 0.0
    start = time.perf_counter()
    for index, passes in enumerate(zip(*(algorithm.epochs(task) for task in tasks), strict=True)):
        seconds += time.perf_counter() - start
        evaluate = evaluate_every > 0 and ((index + 1) % evaluate_every == 0 or index + 1 == task.max_epochs)
        objective = float(np.mean([each.value() for each in tasks])) if evaluate else None
        if not np.isfinite(model.weights).all() or (objective is not None and not np.isfinite(objective)):
            raise DivergedError(
                f"weights or objective are not finite after epoch {index + 1} with step size "
                f"{task.step_size_at(index):g} (first {task.step_size:g}): use a smaller step_size or scale the data"
            )
        yield Record(
            epoch=index + 1,
            effective_passes=passes[0],
            seconds=seconds,
            step_size=task.step_size_at(index),
            objective=objective,
            score=evaluation.score(model) if evaluate and evaluation is not None else None,
        )
        start = time.perf_counter()
