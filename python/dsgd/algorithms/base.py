"""What every algorithm of shared memory is, and what it is given."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from dsgd import _core
from dsgd.schedules import Schedule

__all__ = ["Algorithm", "Capabilities", "Task"]


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


@dataclass(kw_only=True)
class Task:
    """One fit, as its algorithm sees it.

    Attributes
    ----------
    objective : _core.LinearObjective
        Data, loss and penalty.
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
    def epochs(self, task: Task) -> Iterator[float]:
        """Train `task.weights` from `task.start_epoch` on; after every epoch yield the effective passes so far."""

    def to_dict(self) -> dict[str, Any]:
        """Return the name and the options, as JSON can hold them."""
        return {"name": self.name, **dataclasses.asdict(self)}
