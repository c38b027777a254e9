"""The task of a worker program: its rank, kernels, random draws, and state across restarts."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.checks import check_real, shown
from dsgd.cluster.program.clients import rows_of_clients
from dsgd.cluster.program.kernels import Kernels, Rows
from dsgd.cluster.program.partition import part
from dsgd.errors import ConfigError, DataError
from dsgd.problems.problem import Problem
from dsgd.schedules import Run, Schedule

__all__ = ["State", "WorkerTask", "shared_random"]

# Keys of random numbers from here on belong to no worker: theirs are (rank << 40) + clock, and ranks are below 2^20.
_SHARED = 1 << 62
# From here on they belong to clients: (client << 32) + clock, and there are fewer than 2^31 clients.
_OF_CLIENTS = 1 << 63


def shared_random(seed: int, clock: int) -> np.random.Generator:
    """Return the generator of one clock that all workers share, as `WorkerTask.shared_random` does."""
    return np.random.Generator(np.random.Philox(key=[seed, _SHARED + clock]))


class State(SimpleNamespace):
    """Named numbers and arrays that survive a restart of the worker or of the server.

    They are sent to the server with every `Clock`.
    """

    def encode(self) -> bytes:
        """Return the values as safetensors bytes.

        Raises
        ------
        ConfigError
            If a value is not a number or an array.
        """
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
        """Return the values that `encode` wrote, by name; `DataError` for other bytes."""
        if not data:
            return {}
        try:
            arrays = safetensors.numpy.load(data)
        except Exception as error:  # safetensors raises a different exception for each fault
            raise DataError(f"not the state of a worker: {error}") from error
        return {name: array.item() if array.ndim == 0 else array for name, array in arrays.items()}


class WorkerTask:
    """The task of a node, a worker or the coordinator, in one of its lives.

    A life of a node begins when its program is started and ends when the program ends or is started
    again, after a crash for example.

    Parameters
    ----------
    kernels : Kernels
        Arithmetic on the rows of this worker. A coordinator has one row, which it does not use.
    rank : int
        Rank of the node in the group of all nodes.
    workers : range
        Ranks of the nodes that train: all but the coordinator.
    max_clocks : int
        Number of clocks of the whole run.
    passes_per_clock : float
        Effective passes over the whole data in one clock. The schedule of the step size counts in
        passes.
    schedule : Schedule
    step_size : float
        Initial step size of the schedule.
    seed : int
    n_total : int
        Number of samples of all workers.
    start_clock : int
        Number of clocks that the earlier lives have finished.
    saved : bytes
        State of the earlier lives at their last `Clock`, written by `State.encode`. Empty in the
        first life.
    now : callable
        Returns the seconds since the run began, by the clock of this node.
    chunk_rows : int
        Largest number of rows in a piece of `chunks`.
    groups : mapping of str to tuple of int
        The groups of this node: the nodes of each, in the order of their ranks in the group.
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
        self.max_epochs = max(1, round(max_clocks * passes_per_clock))
        self._passes_per_clock = passes_per_clock
        run = Run(n_samples=n_total, max_epochs=self.max_epochs, alpha=sum(kernels.problem.alphas))
        self._schedule = schedule.to_core(step_size, run)
        own = dataclasses.replace(run, n_samples=self.mean_samples)
        self._own_schedule = schedule.to_core(step_size, own)
        self.saved = saved
        self._state = State()
        self.chunk_rows = chunk_rows
        self._order: tuple[int, Rows] | None = None
        self._client_problems: dict[int, Problem] = {}

        self.gradient = kernels.gradient
        self.clipped_gradient = kernels.clipped_gradient
        self.full_gradient = kernels.full_gradient
        self.full_loss = kernels.full_loss
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
        """Number of nodes that train."""
        return len(self.workers)

    @property
    def n_samples(self) -> int:
        """Number of rows of this worker."""
        return self.kernels.n_samples

    @property
    def mean_samples(self) -> int:
        """Number of rows of a worker in the mean, rounded up."""
        return -(-self.n_total // self.n_workers)

    @property
    def n_parameters(self) -> int:
        """Length of the parameter vector, the intercept included."""
        return self.kernels.n_parameters

    @property
    def start(self) -> NDArray[Any]:
        """The initial weights of the run, which every node knows; not to be changed."""
        return self.kernels.start

    @property
    def gradient_size(self) -> int:
        """Length of a `gradient`: at least that of the parameter vector."""
        return self.kernels.gradient_size

    @property
    def weight(self) -> float:
        """What this worker counts in a mean over the workers: its rows, divided by the mean of all.

        With it the mean of the workers' gradients is that of all rows. A row more or less counts nothing: equal parts
        have the weight 1, also where their number does not divide the rows.
        """
        mean = self.n_total / self.n_workers
        return self.n_samples / mean if abs(self.n_samples - mean) >= 1 else 1.0

    @functools.cached_property
    def clients(self) -> dict[int, Rows]:
        """The rows of every client of this worker, by the number of the client; see `DistributedAlgorithm.n_clients`.

        A worker that is one client has the client of its own number.
        """
        if self.kernels.client_of is None:
            return {self.rank - self.workers.start: np.arange(self.n_samples)}
        return rows_of_clients(self.kernels.client_of)

    def client(self, client: int) -> Kernels:
        """Return the arithmetic on the rows of a client of this worker, which are numbered from 0 there.

        The numbers of rows decide which of them bring the penalty (docs/design/penalties.md): steps on a client's rows
        are the same on whatever worker it lives.
        """
        if self.kernels.client_of is None:
            return self.kernels
        if client not in self._client_problems:
            self._client_problems[client] = part(self.kernels.problem, self.clients[client])
        # Made anew each time: those of a network take as much memory as its weights.
        return self.kernels.on(self._client_problems[client])

    def client_pass(self, client: int, index: int) -> Rows:
        """Return all rows of a client, as `client` numbers them, in the random order of its pass `index`.

        The order does not depend on the worker. That of client 0 is the order of epoch `index` on one machine.
        """
        n = len(self.clients[client])
        return _core.draw_rows(n, n, block_size=1, seed=self.seed, index=index, stream=client)

    def state(self, **defaults: Any) -> State:
        """Return the state of the program, which survives restarts.

        It has the values of the last `Clock`; in a first life it has the values of `defaults`.
        """
        self._state = State(**{**defaults, **State.decode(self.saved)})
        return self._state

    def saved_state(self) -> bytes:
        """Return the encoded state, which the driver sends to the server with a `Clock`."""
        return self._state.encode()

    def random(self, clock: int) -> np.random.Generator:
        """Return a generator of random numbers for one clock; every life draws the same ones."""
        return np.random.Generator(self._bits(clock))

    def shared_random(self, clock: int) -> np.random.Generator:
        """Return a generator of random numbers for one clock that are the same on all workers."""
        return shared_random(self.seed, clock)

    def client_random(self, client: int, clock: int) -> np.random.Generator:
        """Return a generator of random numbers for one clock of a client, the same ones on whatever worker it lives."""
        key = np.array([self.seed, _OF_CLIENTS + (client << 32) + clock], np.uint64)
        return np.random.Generator(np.random.Philox(key=key))

    def draw(self, clock: int, size: int) -> Rows:
        """Return the `size` rows of mini-batch `clock`.

        The mini-batches go through the worker's rows without replacement, pass after pass. Every
        pass has a new random order.
        """
        return self.rows_at(clock * size, size)

    def rows_at(self, first: int, size: int) -> Rows:
        """Return `size` rows of the order of `draw`, after the `first` ones."""
        n = self.n_samples
        parts = []
        while size > 0:
            index, begin = divmod(first, n)
            part = self._order_of_pass(index)[begin : begin + size]
            parts.append(part)
            first, size = first + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def pass_of(self, clock: int, size: int) -> int:
        """Return the number of passes that end before mini-batch `clock` begins."""
        return clock * size // self.n_samples

    def sample(self, clock: int, size: int) -> Rows:
        """Return `size` rows, drawn without replacement in a new random order for every clock.

        If `size` is larger than the number of rows, further passes over the rows follow.
        """
        return self._rows(clock, size)

    def poisson(self, clock: int, rate: float) -> Rows:
        """Return rows that are drawn each on its own with probability `rate`, in rising order; there may be none.

        Parameters
        ----------
        clock : int
            The same rows for one clock in every life.
        rate : float
            In [0, 1].

        Raises
        ------
        ConfigError
            For another rate.

        Notes
        -----
        The draws are those of `random` 2^128 numbers on, so that they are independent of what a program draws from
        `random(clock)` itself, such as the noise on the gradient of these rows.
        """
        rate = check_real("rate", rate, 0, 1)
        draws = np.random.Generator(self._bits(clock).jumped()).random(self.n_samples)
        return np.flatnonzero(draws < rate).astype(np.int64, copy=False)

    def chunks(self, rows: Rows) -> Iterator[Rows]:
        """Yield the rows of a long kernel in pieces of at most `chunk_rows` rows.

        Between two pieces a program can poll a signal.
        """
        for begin in range(0, len(rows), self.chunk_rows):
            yield rows[begin : begin + self.chunk_rows]

    def step_size_at(self, clock: float) -> float:
        """Return the step size of a clock, or of a moment within one, by the schedule."""
        samples = round(clock * self._passes_per_clock * self.n_total)
        return self._schedule.at(1 + samples, samples // self.n_total)

    def own_step_sizes(self, first: int, count: int) -> NDArray[np.float64]:
        """Return the step sizes of `count` samples, after the `first` ones, of a worker that trains on its own.

        The schedule counts the worker's own samples, `mean_samples` of them a pass. All must be of one pass.
        """
        return self._own_schedule.each(1 + first, first // self.mean_samples, count)

    def _bits(self, clock: int) -> np.random.Philox:
        return np.random.Philox(key=[self.seed, (self.rank << 40) + clock])

    def _order_of_pass(self, index: int) -> Rows:
        if self._order is None or self._order[0] != index:
            self._order = (index, self._rows(index, self.n_samples))
        return self._order[1]

    def _rows(self, index: int, count: int) -> Rows:
        """Return `count` rows in the random order of number `index`.

        The first worker has the order in which the first thread of an algorithm on one machine
        visits its rows in epoch `index`. Every other worker has a random stream of its own.
        """
        stream = self.rank - self.workers.start
        return _core.draw_rows(self.n_samples, count, block_size=1, seed=self.seed, index=index, stream=stream)
