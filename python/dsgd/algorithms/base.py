"""What every algorithm of shared memory is, and what it is given."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.schedules import Schedule

__all__ = ["Algorithm", "Capabilities", "EpochEnd", "Task"]


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What an algorithm can do; `dsgd.fit` refuses the rest.

    Attributes
    ----------
    threads : bool
        Runs on several threads.
    deterministic : bool
        The same `random_state` gives the same bits, on any number of threads it can run on.
    """

    threads: bool
    deterministic: bool


class EpochEnd(NamedTuple):
    """What an algorithm says of an epoch that it finished.

    Attributes
    ----------
    effective_passes : float
        Gradients of single samples evaluated so far, divided by the number of samples.
    step_size : float
        At the first sample of the epoch.
    """

    effective_passes: float
    step_size: float


@dataclass(kw_only=True)
class Task:
    """One fit, as its algorithm sees it.

    Attributes
    ----------
    objective : _core.LinearObjective
        Data, loss and penalty.
    alphas : tuple of two floats
        Strengths of ||w||_1 and of ||w||^2 / 2.
    fit_intercept : bool
    n_samples : int
        Rows of the data.
    weights : ndarray
        The flat parameter vector, the intercept last; the algorithm changes it in place.
    schedule : dsgd.schedules.Schedule
    step_size : float
        Where the schedule starts.
    seed : int
        In [0, 2^64).
    n_threads : int
    max_epochs : int
    start_epoch : int
        Epochs finished before; not 0 when an epoch that diverged is begun anew.
    """

    objective: _core.LinearObjective
    alphas: tuple[float, float]
    fit_intercept: bool
    n_samples: int
    weights: NDArray[Any]
    schedule: Schedule
    step_size: float
    seed: int
    n_threads: int
    max_epochs: int
    start_epoch: int = 0

    def value(self) -> float:
        """Return the objective at the weights as they are."""
        return self.objective.value(self.weights, self.n_threads)

    def mean_loss(self) -> float:
        """Return the mean loss, without the penalty, at the weights as they are."""
        return self.objective.mean_loss(self.weights, self.n_threads)

    def loss_gradient(self) -> NDArray[np.float64]:
        """Return the gradient of the mean loss, without the penalty, at the weights as they are."""
        gradient = np.empty(len(self.weights))
        self.objective.loss_gradient(self.weights, gradient, self.n_threads)
        return gradient

    def prox(self, weights: NDArray[np.float64], step: float) -> NDArray[np.float64]:
        """Return argmin_v ||v - w||^2 / (2 step) + alpha R(v); the intercept is not regularised."""
        w = weights.copy()
        coef = w[:-1] if self.fit_intercept else w
        left = np.maximum(0, np.abs(coef) - step * self.alphas[0])
        coef[:] = np.sign(coef) * left / (1 + step * self.alphas[1])
        return w

    def step_size_at(self, index: int) -> float:
        """Return the step size at the first sample of epoch `index`, counted from 0."""
        return self.schedule.core(self.step_size).at(index * self.n_samples + 1, index)

    def epoch(self, index: int, block_size: int) -> _core.Epoch:
        """Return what the core needs for epoch `index`, counted from 0."""
        schedule = self.schedule.core(self.step_size)
        return _core.Epoch(index=index, schedule=schedule, block_size=block_size, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class Algorithm(ABC):
    """The configuration of an algorithm: its options, and how it trains."""

    name: ClassVar[str]
    summary: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    @abstractmethod
    def epochs(self, task: Task) -> Iterator[EpochEnd]:
        """Train `task.weights` from `task.start_epoch` on, and yield after every epoch."""

    def to_dict(self) -> dict[str, Any]:
        """Return the name and the options, as JSON can hold them."""
        return {"name": self.name, **dataclasses.asdict(self)}
