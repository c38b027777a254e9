"""Keeps the history and the best model of a fit, and decides when it ends; on one machine and on clusters."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.callbacks import Callback
from dsgd.fitting.certificate import Certificates
from dsgd.fitting.held_out import HeldOut
from dsgd.fitting.stopping import STANDSTILLS, StoppingRule
from dsgd.models.trained import Model
from dsgd.problems.problem import Problem
from dsgd.results.evaluation import Evaluation
from dsgd.results.history import History, Record
from dsgd.results.progress import ProgressReport

__all__ = ["Recorder"]


class Recorder:
    """Writes the history of a fit, keeps its best model, and decides when it ends.

    Parameters
    ----------
    model : Model
        The model that is trained in place.
    evaluation : Evaluation or None
        The samples to score the model on; or anything else that scores one.
    stopping : StoppingRule
    evaluate_every : int or None
        Epochs between evaluations; 0: none. None: every epoch by the losses that it sums, if the algorithm can sum
        them.
    callbacks : sequence of Callback
    progress : bool
        Whether each record is shown on standard error.
    begin : float
        `time.perf_counter()` when the work began, including a step search.

    Attributes
    ----------
    history : History
    reason : str or None
        Why the fit ends; None while it goes on.
    certificates : Certificates or None
        What measures the duality gap on a cluster whose driver has the rows, if a tolerance of it is given.
    weights : ndarray of shape (n_problems, n_parameters)
        The model's weights at the last record; before the first record, the initial weights.
    """

    def __init__(
        self,
        model: Model,
        evaluation: Evaluation | None,
        stopping: StoppingRule,
        evaluate_every: int | None,
        callbacks: Sequence[Callback],
        progress: bool,
        begin: float,
    ) -> None:
        self.model = model
        self.evaluate_every = evaluate_every
        self.begin = begin
        self.history = History()
        self.reason: str | None = None
        self.certificates: Certificates | None = None
        self.weights = model.weights.copy()
        self._evaluation = evaluation
        self._stopping = stopping
        self._callbacks = callbacks
        self._progress = progress
        self._report: ProgressReport | None = None
        self._best: NDArray[Any] | None = None
        self._best_index = 0  # of its record
        self._since = 0  # number of records when a smaller step last answered a standstill

    @contextlib.contextmanager
    def showing(self, max_epochs: int) -> Iterator[None]:
        """Show the records that are added inside the ``with`` block, if `progress` is True."""
        if not self._progress:
            yield
            return
        with ProgressReport(max_epochs) as self._report:
            yield

    @property
    def every(self) -> int:
        """Epochs between evaluations, by sums or exact; 0: none."""
        return 1 if self.evaluate_every is None else self.evaluate_every

    def score(self) -> float | None:
        """Return the current score of the model; None without samples to score on."""
        return None if self._evaluation is None else self._evaluation.score(self.model)

    def held_out(self, problem: Problem, n_threads: int) -> HeldOut | None:
        """Return the objective on the samples to score on; None without any in this process."""
        if not isinstance(self._evaluation, Evaluation):
            return None
        return HeldOut(problem, self._evaluation, self.model.classes, n_threads)

    def add(self, record: Record, go_on_smaller: Callable[[], bool] = lambda: False) -> bool:
        """Add a record of the current model; return whether the fit ends here.

        Parameters
        ----------
        record : Record
        go_on_smaller : callable
            Called when the fit stands still. If the schedule answers a standstill with smaller steps,
            it sets them and returns True, and the fit goes on.
        """
        self.history.append(record)
        np.copyto(self.weights, self.model.weights)
        if self._stopping.is_best(self.history):
            self._best, self._best_index = self.weights.copy(), len(self.history) - 1
        if self._report is not None:
            self._report.show(record)
        self.reason = self._stopping.reason(self.history, time.perf_counter() - self.begin, self._since)
        if self.reason in STANDSTILLS and go_on_smaller():
            self.reason, self._since = None, len(self.history)
        stop = [callback(record, self.model) for callback in self._callbacks]  # all are called
        if self.reason is None and any(stop):
            self.reason = "callback"
        return self.reason is not None

    @property
    def kept_best(self) -> bool:
        """Whether `finish` returns to an earlier, better model."""
        return self._best is not None

    def ends(self) -> dict[int, NDArray[Any]]:
        """Return the weights of the last record and of the best one, by the indices of the records."""
        best = {} if self._best is None else {self._best_index: self._best}
        return {len(self.history) - 1: self.weights} | best if self.history else {}

    def finish(self) -> None:
        """Set the model to the weights of its best record, or of its last one if no rule asks for the best."""
        np.copyto(self.model.weights, self.weights if self._best is None else self._best)
