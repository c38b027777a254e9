"""One problem as an algorithm trains it, and the report on a finished epoch."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.models.protocols import Objective
from dsgd.problems.averaging import PolyakAverage
from dsgd.problems.problem import Problem
from dsgd.schedules import Run, Schedule

__all__ = ["EpochEnd", "LocalTask"]


class EpochEnd(NamedTuple):
    """The report of an algorithm on an epoch that it finished.

    Attributes
    ----------
    effective_passes : float
        Gradients of single samples evaluated so far, divided by the number of samples.
    step_size : float
        At the first sample of the epoch.
    loss : float or None
        Mean loss of the samples, each at the weights when it was drawn (unless `exact`); only if
        `LocalTask.sum_loss` asks for it and the algorithm can.
    exact : bool
        Whether `loss` is the mean loss at the weights at the end of the epoch.
    delay : tuple of int or None
        As in `dsgd.Record`.
    gap : float or None
        As in `dsgd.Record`.
    bound : float or None
        A lower bound of the least objective, up to rounding, that the algorithm knows without further
        passes; only if there is a `LocalTask.gap_tol`.
    """

    effective_passes: float
    step_size: float
    loss: float | None = None
    delay: tuple[int, ...] | None = None
    gap: float | None = None
    exact: bool = False
    bound: float | None = None


@dataclass(kw_only=True)
class LocalTask:
    """One problem of a fit, as the algorithm sees it.

    Attributes
    ----------
    problem : dsgd.problems.problem.Problem
        Data, loss and penalty.
    objective : dsgd.models.base.Objective
        The objective of `problem`, for solvers.
    weights : ndarray
        The flat parameter vector in the layout `problem.layout`; the algorithm changes it in place.
    schedule : dsgd.schedules.Schedule
    step_size : float
        The first step of the schedule.
    seed : int
        In [0, 2^64).
    n_threads : int
    max_epochs : int
    start_epoch : int
        Number of epochs finished before. It is not 0 if an epoch that diverged is repeated, or if a
        run continues another one.
    offset : int
        Samples drawn before epoch 0, for example by earlier calls on other rows. Schedules count them.
    average : PolyakAverage or None
        The average of an algorithm that averages. It is kept here, so that a later run can go on with
        it.
    rule_of_thumb : bool
        Whether `step_size` comes from a rule of thumb of the schedule. It may well be too long.
    unseen : ndarray of int
        Flat indices of the weights of features that occur in no row: no step on a sample regularises
        them. Empty if a run starts at 0, where these weights stay.
    sum_loss : bool
        Whether the algorithm should sum the losses of the samples that it draws, if it can.
    gap_tol : float or None
        The relative duality gap at which to stop.
    passes : float
        Effective passes so far, for an algorithm whose epochs have different numbers of passes.
    cuts : int
        Number of times that the step was cut because an epoch diverged.
    lane : int
        Problems of one lane are trained one after the other, those of different lanes at the same time.
    turn : callable
        Must be called before the targets are read: one-vs-all problems of a lane may share the memory of
        their targets.
    """

    problem: Problem
    objective: Objective
    weights: NDArray[Any]
    schedule: Schedule
    step_size: float
    seed: int
    n_threads: int
    max_epochs: int
    start_epoch: int = 0
    offset: int = 0
    average: PolyakAverage | None = None
    rule_of_thumb: bool = False
    unseen: NDArray[np.intp] = dataclasses.field(default_factory=lambda: np.empty(0, np.intp))
    sum_loss: bool = False
    gap_tol: float | None = None
    passes: float = 0.0
    cuts: int = 0
    lane: int = 0
    turn: Callable[[], object] = lambda: None
    # The schedule for the core, and the first step that it belongs to: two are needed in every epoch.
    _started: tuple[float, _core.Schedule] | None = dataclasses.field(default=None, init=False, repr=False)

    @property
    def n_samples(self) -> int:
        """Rows of the data."""
        return self.problem.n_samples

    @functools.cached_property
    def run(self) -> Run:
        """The facts that the schedule may depend on."""
        return Run(n_samples=self.n_samples, max_epochs=self.max_epochs, alpha=sum(self.problem.alphas))

    @property
    def core_schedule(self) -> _core.Schedule:
        """The schedule that starts at `step_size`, for the core."""
        if self._started is None or self._started[0] != self.step_size:
            self._started = self.step_size, self.schedule.to_core(self.step_size, self.run)
        return self._started[1]

    @property
    def core(self) -> _core.Objective:
        """The objective, with the type that solvers of the core take."""
        return cast(_core.Objective, self.objective)

    @property
    def linear(self) -> _core.LinearObjective:
        """The objective, with the type of linear models."""
        return cast(_core.LinearObjective, self.objective)

    @property
    def quantisation(self) -> _core.QuantisationObjective:
        """The objective, with the type of k-means."""
        return cast(_core.QuantisationObjective, self.objective)

    def value(self) -> float:
        """Return the objective at the current weights."""
        return self.value_at(self.weights)

    def value_at(self, weights: NDArray[Any]) -> float:
        """Return the objective at other weights."""
        self.turn()
        return self.objective.value(weights, self.n_threads)

    def penalty(self) -> float:
        """Return the penalty of the current weights."""
        return self.problem.penalty(self.problem.layout.regularised(self.weights))

    def mean_loss(self) -> float:
        """Return the mean loss, without the penalty, at the current weights."""
        self.turn()
        return self.objective.mean_loss(self.weights, self.n_threads)

    def loss_gradient(self) -> NDArray[np.float64]:
        """Return the gradient of the mean loss, without the penalty, at the current weights."""
        self.turn()
        gradient = np.empty(len(self.weights))
        self.objective.loss_gradient(self.weights, gradient, self.n_threads)
        return gradient

    def prox(self, weights: NDArray[np.float64], step: float) -> NDArray[np.float64]:
        """Return argmin_v ||v - w||^2 / (2 step) + alpha R(v); the intercept is not regularised."""
        w = weights.copy()
        self.problem.shrink(self.problem.layout.regularised(w), step)
        return w

    def shrink_unseen(self, index: int, batch_rows: int) -> None:
        """Regularise the weights `unseen` after epoch `index`, by all steps of the epoch at once."""
        if len(self.unseen) == 0:
            return
        schedule, n = self.core_schedule, self.n_samples
        first = self.offset + index * n + 1
        some = np.linspace(first, first + n - 1, min(n, 64)).astype(int).tolist()  # schedules are smooth
        with np.errstate(over="ignore"):
            mean = float(np.mean([schedule.at(t, index) for t in some]))
        self.shrink_unseen_by(mean * n / min(batch_rows, n))

    def shrink_unseen_by(self, total: float) -> None:
        """Regularise the weights `unseen` by one proximal step of length `total`, the sum of the steps."""
        if len(self.unseen) == 0:
            return
        weights = self.weights if self.average is None else self.average.iterate
        shrunk = weights[self.unseen]
        self.problem.shrink(shrunk, total)
        if self.average is None:
            self.weights[self.unseen] = shrunk
        else:
            self.average.change(self.unseen, shrunk)

    def averaging(self, begin: bool | int) -> PolyakAverage:
        """Return the average of an earlier run, or a new one that begins with sample `begin` of the run."""
        if self.average is None:
            self.average = PolyakAverage(self.weights, begin, self.offset + self.start_epoch * self.n_samples)
        return self.average

    def step_size_at(self, index: int) -> float:
        """Return the step size at the first sample of epoch `index`, counted from 0."""
        return self.core_schedule.at(self.offset + index * self.n_samples + 1, index)

    def epoch(self, index: int, block_size: int | None) -> _core.Epoch:
        """Return the parameters of epoch `index`, counted from 0, for the core."""
        block = self.problem.block_size if block_size is None else block_size
        return _core.Epoch(
            index=index, schedule=self.core_schedule, block_size=block, seed=self.seed, offset=self.offset
        )
