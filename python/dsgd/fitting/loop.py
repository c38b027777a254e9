"""The loop over epochs: trains, repeats epochs that diverge with a smaller step, and records the others."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from dsgd._common.warn import warn
from dsgd.algorithms import Algorithm
from dsgd.errors import DivergedError
from dsgd.fitting.certificate import Certificates
from dsgd.fitting.divergence import Watch, warn_if_useless
from dsgd.fitting.lanes import Lanes, lanes_of
from dsgd.fitting.recorder import Recorder
from dsgd.problems.task import EpochEnd, LocalTask
from dsgd.results.history import History, Record

__all__ = ["take_over_cuts", "train"]

_LOG = logging.getLogger("dsgd")

# Factor by which the step is cut after an epoch that diverged.
_STEP_CUT = 0.25
# Most cuts of a run. Ten of them make the step a million times smaller.
_MAX_CUTS = 10


def train(
    algorithm: Algorithm,
    tasks: Sequence[LocalTask],
    recorder: Recorder,
    *,
    keep_interrupted: bool = True,
    exact_end: bool = True,
) -> tuple[History, str]:
    """Train all problems of a model together, epoch by epoch.

    Parameters
    ----------
    algorithm : Algorithm
    tasks : sequence of LocalTask
        One task for each row of ``recorder.model.weights``, which it trains in place from its
        `start_epoch` on.
    recorder : Recorder
    keep_interrupted : bool
        Whether Ctrl-C ends the fit with the finished epochs, instead of ending the program.
    exact_end : bool
        Whether the last record, and that of the model that is kept, have the objective at the weights of their end,
        although the epochs before have the losses that they summed. After Ctrl-C the last record stays as it is.

    Returns
    -------
    history : History
        The model has the weights of the last record, or with early stopping those of the best score.
    stop_reason : str
        ``"max_epochs"``, ``"interrupted"`` (Ctrl-C), ``"callback"``, or the name of a stopping rule.

    Raises
    ------
    DivergedError
        If weights or objective are still not finite, or explode, after the last cut of the step.
    KeyboardInterrupt
        On Ctrl-C, if no epoch is finished or `keep_interrupted` is False.
    """
    history = recorder.history
    with lanes_of(tasks) as lanes, recorder.showing(tasks[0].max_epochs):
        try:
            for record in _records(algorithm, tasks, recorder, lanes, exact_end):
                if recorder.add(record, lambda: _go_on_smaller(tasks)):
                    break
        except KeyboardInterrupt:
            if not history or not keep_interrupted:
                raise
            recorder.reason = "interrupted"
            warn(
                f"interrupted after {len(history)} of {tasks[0].max_epochs} epochs; the model so far is returned",
            )
        if exact_end and recorder.reason != "interrupted":
            _make_ends_exact(tasks, recorder, lanes)
    recorder.finish()
    if not recorder.kept_best and history and _unwatched(algorithm, tasks):
        warn_if_useless(tasks, history[-1].objective)
    return history, recorder.reason or "max_epochs"


def _records(
    algorithm: Algorithm, tasks: Sequence[LocalTask], recorder: Recorder, lanes: Lanes, exact_end: bool
) -> Iterator[Record]:
    """Train, and yield a record of every epoch. Evaluations of objective and score are not timed.

    If an epoch diverges, the weights go back to those of the last record, and the epoch is repeated
    with a smaller step.
    """
    weights, every, max_epochs = recorder.model.weights, recorder.every, tasks[0].max_epochs
    epoch, seconds = tasks[0].start_epoch, time.perf_counter() - recorder.begin
    watch = Watch(tasks)
    dual = algorithm.capabilities.dual or tasks[0].gap_tol is None  # who measures its own gap, or needs none
    certificates = None if dual else Certificates(algorithm, tasks)
    if _unwatched(algorithm, tasks):
        watch.give_up()
    diverged = True
    while diverged:
        diverged = False
        for task in tasks:
            task.start_epoch = epoch
        start = time.perf_counter()
        runs = [algorithm.epochs(task) for task in tasks]
        while ends := _an_epoch(runs, tasks, lanes):
            for task in tasks:
                if not algorithm.regularises_unseen(task.problem):
                    task.shrink_unseen(epoch, algorithm.batch_rows)
            seconds += time.perf_counter() - start
            last = epoch + 1 == max_epochs
            evaluate = every > 0 and ((epoch + 1) % every == 0 or last)
            seen = _seen(tasks, ends, lanes, evaluate=evaluate, exactly=exact_end and last)
            lost = seen.objective is not None and not math.isfinite(seen.objective)
            diverged = not np.isfinite(weights).all() or watch.exploded(seen.objective, recorder.weights) or lost
            if diverged:
                np.copyto(weights, recorder.weights)
                _cut_step(algorithm, tasks, epoch, ends[0].step_size, watch)
                break
            epoch += 1
            passes = ends[0].effective_passes
            gap = (
                _gap(ends)
                if certificates is None
                else certificates.gap(passes, seen.objective, _mean_bound(ends), last=epoch == max_epochs)
            )
            yield Record(
                epoch=epoch,
                effective_passes=passes,
                seconds=seconds,
                step_size=ends[0].step_size,
                objective=seen.objective if evaluate else None,
                loss=seen.loss if evaluate else None,
                exact=seen.exact or not evaluate,
                score=recorder.score() if evaluate else None,
                gap=gap,
                delay=ends[0].delay,
            )
            start = time.perf_counter()


def _an_epoch(runs: Sequence[Iterator[EpochEnd]], tasks: Sequence[LocalTask], lanes: Lanes) -> list[EpochEnd]:
    """Train all problems for one epoch, and return their ends; none after the last epoch.

    Numbers may overflow without a warning: the result of the epoch is checked afterwards.
    """

    def train_problem(number: int) -> EpochEnd | None:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            tasks[number].turn()
            return next(runs[number], None)

    return [end for end in lanes.each(train_problem) if end is not None]


def _gap(ends: Sequence[EpochEnd]) -> float | None:
    """Return the largest relative duality gap of the problems; None unless all of them are known."""
    gaps = _all_known(end.gap for end in ends)
    return None if gaps is None else max(gaps)


def _mean_bound(ends: Sequence[EpochEnd]) -> float | None:
    """Return the mean lower bound of the problems; None unless all of them are known."""
    bounds = _all_known(end.bound for end in ends)
    return None if bounds is None else sum(bounds) / len(bounds)


def _all_known(values: Iterable[float | None]) -> list[float] | None:
    """Return the values of all problems; None if one is not known."""
    known = list(values)
    return None if None in known else [value for value in known if value is not None]


class _Seen(NamedTuple):
    """Mean loss and objective of the problems after an epoch; see `dsgd.Record`."""

    loss: float | None
    objective: float | None
    exact: bool


def _seen(
    tasks: Sequence[LocalTask], ends: Sequence[EpochEnd], lanes: Lanes, *, evaluate: bool, exactly: bool
) -> _Seen:
    """Return the mean loss and the mean objective of the problems.

    The losses are those that the algorithm knows from the epoch, or else those at the current weights. If `evaluate`
    is False, only what the algorithm knows is returned. If `exactly` is True, sums of the epoch do not count.
    """
    known = [end.loss if end.exact or not exactly else None for end in ends]
    if not evaluate and None in known:
        return _Seen(None, None, exact=True)
    losses = lanes.each(lambda k: tasks[k].mean_loss() if (loss := known[k]) is None else loss)
    exact = all(end.exact or loss is None for end, loss in zip(ends, known, strict=True))
    loss = sum(losses) / len(tasks)
    objective = loss + sum([task.penalty() for task in tasks]) / len(tasks)
    if not exact and not math.isfinite(objective):  # a mean over the epoch, whose end may be fine
        return _seen(tasks, ends, lanes, evaluate=True, exactly=True)
    return _Seen(loss, objective, exact)


def _make_ends_exact(tasks: Sequence[LocalTask], recorder: Recorder, lanes: Lanes) -> None:
    """Evaluate the objective of the last and of the best record, where they have what an epoch summed."""
    for index, weights in recorder.ends().items():
        record = recorder.history[index]
        if record.objective is not None and not record.exact:
            np.copyto(recorder.model.weights, weights)
            loss = sum(lanes.each(lambda k: tasks[k].mean_loss())) / len(tasks)
            objective = loss + sum(task.penalty() for task in tasks) / len(tasks)
            recorder.history.replace(index, dataclasses.replace(record, loss=loss, objective=objective, exact=True))


def _go_on_smaller(tasks: Sequence[LocalTask]) -> bool:
    """Make the steps smaller if the schedule answers a standstill so; return whether any step changed."""
    steps = [task.schedule.after_standstill(task.step_size) for task in tasks]
    for task, step in zip(tasks, steps, strict=True):
        task.step_size = task.step_size if step is None else step
    return any(step is not None for step in steps)


def take_over_cuts(task: LocalTask, cuts: int) -> None:
    """Cut the step of a task as often as earlier calls, such as those of `partial_fit`, cut it."""
    task.cuts = cuts
    task.step_size *= _STEP_CUT**cuts if cuts <= _MAX_CUTS else 1.0


def _unwatched(algorithm: Algorithm, tasks: Sequence[LocalTask]) -> bool:
    """Return whether no epoch counts as an explosion.

    A dual method makes progress however bad its primal weights are, and after the last cut a run goes
    on without the watch.
    """
    return algorithm.capabilities.dual or tasks[0].cuts > _MAX_CUTS


def _cut_step(algorithm: Algorithm, tasks: Sequence[LocalTask], epoch: int, step_size: float, watch: Watch) -> None:
    """Cut the step, with a warning if the user chose it. After the last cut, give up the watch or the fit."""
    cuts, loss = tasks[0].cuts + 1, tasks[0].problem.loss
    what = f"epoch {epoch + 1} diverged with step size {step_size:g}"
    if algorithm.capabilities.dual:  # there is no step to cut
        raise DivergedError(
            f"epoch {epoch + 1} of algo {algorithm.name!r} ended at weights, or an objective, that "
            "are not finite: scale the data, or take a larger alpha"
        )
    for task in tasks:
        task.cuts = cuts
        task.average = None  # the average starts again
    if cuts == _MAX_CUTS + 1 and tasks[0].rule_of_thumb and not loss.steep:
        # The slope of such a loss is bounded. Large weights then come from the scale of the features, and scikit-learn
        # goes on as well.
        for task in tasks:
            task.step_size *= _STEP_CUT**-_MAX_CUTS
        watch.give_up()
        _LOG.info("%s, after %d cuts of the step; the schedule is kept as it is", what, _MAX_CUTS)
        return
    if cuts > _MAX_CUTS:
        raise DivergedError(
            f"{what}, after {_MAX_CUTS} cuts of the step: weights or objective are not finite or explode; "
            "use a smaller step_size or scale the data"
        )
    for task in tasks:
        task.step_size *= _STEP_CUT
    message = (
        f"{what}; taken back and begun anew with {step_size * _STEP_CUT:g}: a smaller step_size, or scaled data, would "
        "save the time"
    )
    if tasks[0].rule_of_thumb:
        _LOG.info("%s", message)
    else:
        warn(message)
