"""What a worker program is given: who it is, its data's kernels, and what survives a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import safetensors.numpy

from dsgd import _core
from dsgd._common.checks import shown
from dsgd.cluster.program.kernels import Kernels, Rows
from dsgd.errors import ConfigError, DataError
from dsgd.schedules import Run, Schedule

__all__ = ["State", "WorkerTask"]


class State(SimpleNamespace):
    """Named numbers and arrays that survive a restart of the worker or the server: sent along with every `Clock`."""

    def encode(self) -> bytes:
        """Return the values as safetensors bytes; `ConfigError` for one that is not a number or an array."""
        if not self.__dict__:
            return b""
        arrays = {name: np.ascontiguousarray(value) for name, value in self.__dict__.items()}
        for name, array in arrays.items():
            if array.dtype.kind not in "biuf":
                raise ConfigError(f"task.state.{name} must be a number or an array, not {shown(self.__dict__[name])}")
        shapes = {name: np.shape(value) for name, value in self.__dict__.items()}
        return safetensors.numpy.save({name: array.reshape(shapes[name]) for name, array in arrays.items()})

    @staticmethod
    def decode(data: bytes) -> dict[str, Any]:
        """Return the values of `encode`; `DataError` for other bytes."""
        if not data:
            return {}
        try:
            arrays = safetensors.numpy.load(data)
        except Exception as error:  # safetensors has an exception of its own for each fault
            raise DataError(f"not the state of a worker: {error}") from error
        return {name: array.item() if array.ndim == 0 else array for name, array in arrays.items()}


class WorkerTask:
    """One life of one worker (or coordinator), as its program sees it.

    Parameters
    ----------
    kernels : Kernels
        On the rows of this worker; a coordinator has those of nobody, and uses no row.
    rank : int
        In the group of all.
    workers : range
        Ranks of those that train: all but the coordinator's, where there is one.
    max_clocks : int
        Clocks of a whole run.
    passes_per_clock : float
        Effective passes over the whole data that a clock stands for, by which the schedule goes.
    schedule : Schedule
    step_size : float
        Where the schedule starts.
    seed : int
    n_total : int
        Samples of all workers.
    start_clock : int
        Clocks finished in an earlier life.
    saved : bytes
        `State.encode` of that life.
    now : callable
        Returns seconds since the run began, on this worker's clock.
    chunk_rows : int
        Rows of a piece of `chunks`.
    groups : mapping of str to tuple of int
        Other groups that this worker is a member of, and their members in the order of their ranks there.
    """

    def __init__(
        self,
        *,
        kernels: Kernels,
        rank: int,
        workers: range,
        max_clocks: int,
        passes_per_clock: float,
        schedule: Schedule,
        step_size: float,
        seed: int,
        n_total: int,
        start_clock: int,
        saved: bytes,
        now: Callable[[], float],
        chunk_rows: int,
        groups: dict[str, tuple[int, ...]],
    ) -> None:
        self.kernels = kernels
        self.rank = rank
        self.workers = workers
        self.max_clocks = max_clocks
        self.step_size = step_size
        self.seed = seed
        self.n_total = n_total
        self.start_clock = start_clock
        self.now = now
        self.groups = groups
        self._passes_per_clock = passes_per_clock
        run = Run(
            n_samples=n_total,
            max_epochs=max(1, round(max_clocks * passes_per_clock)),
            alpha=sum(kernels.problem.alphas),
        )
        self._schedule = schedule.to_core(step_size, run)
        self.saved = saved
        self._state = State()
        self._chunk_rows = chunk_rows
        self._order: tuple[int, Rows] | None = None

        self.gradient = kernels.gradient
        self.full_gradient = kernels.full_gradient
        self.take_anchor = kernels.take_anchor
        self.minibatch_step = kernels.minibatch_step
        self.sgd_steps = kernels.sgd_steps
        self.svrg_steps = kernels.svrg_steps
        self.proximal_step = kernels.proximal_step
        self.sample_loss = kernels.sample_loss
        self.penalty = kernels.penalty
        self.differing = kernels.differing

    @property
    def n_workers(self) -> int:
        """Number of those that train."""
        return len(self.workers)

    @property
    def n_samples(self) -> int:
        """Rows of this worker."""
        return self.kernels.n_samples

    @property
    def n_parameters(self) -> int:
        """Length of the parameter vector, the intercept included."""
        return self.kernels.n_parameters

    @property
    def weight(self) -> float:
        """What this worker counts in a mean over the workers: its rows, divided by the mean of all.

        With it the mean of the workers' gradients is that of all rows. A row more or less counts nothing: equal parts
        have the weight 1, also where their number does not divide the rows.
        """
        mean = self.n_total / self.n_workers
        return self.n_samples / mean if abs(self.n_samples - mean) >= 1 else 1.0

    def state(self, **defaults: Any) -> State:
        """Return what must survive a restart: as it was at the last Clock, or as given here in a first life."""
        self._state = State(**{**defaults, **State.decode(self.saved)})
        return self._state

    def saved_state(self) -> bytes:
        """Return the state as it is, for the driver to send along with a Clock."""
        return self._state.encode()

    def random(self, clock: int) -> np.random.Generator:
        """Return random numbers of this worker for one clock: the same ones in every life."""
        return np.random.Generator(np.random.Philox(key=[self.seed, (self.rank << 40) + clock]))

    def draw(self, clock: int, size: int) -> Rows:
        """Return the rows of mini-batch `clock`: pass after pass without replacement, in new random orders."""
        n = self.n_samples
        first, parts = clock * size, []
        while size > 0:
            index, begin = divmod(first, n)
            part = self._order_of_pass(index)[begin : begin + size]
            parts.append(part)
            first, size = first + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def pass_of(self, clock: int, size: int) -> int:
        """Return how many passes lie before mini-batch `clock`."""
        return clock * size // self.n_samples

    def sample(self, clock: int, size: int) -> Rows:
        """Return `size` rows, in orders drawn afresh for every clock, pass after pass without replacement."""
        return self._rows(clock, size)

    def chunks(self, rows: Rows) -> Iterator[Rows]:
        """Cut the rows of a long kernel into bounded pieces, between which a program can look at a signal."""
        for begin in range(0, len(rows), self._chunk_rows):
            yield rows[begin : begin + self._chunk_rows]

    def step_size_at(self, clock: int) -> float:
        """Return the step size of a clock by the schedule."""
        samples = round(clock * self._passes_per_clock * self.n_total)
        return self._schedule.at(1 + samples, samples // self.n_total)

    def _order_of_pass(self, index: int) -> Rows:
        if self._order is None or self._order[0] != index:
            self._order = (index, self._rows(index, self.n_samples))
        return self._order[1]

    def _rows(self, index: int, count: int) -> Rows:
        """Return rows as the first thread of one machine visits them in epoch `index`, or as another worker does."""
        stream = self.rank - self.workers.start
        return _core.draw_rows(self.n_samples, count, block_size=1, seed=self.seed, index=index, stream=stream)
