"""Asynchronous federated learning with rounds of growing sizes and falling steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dsgd._common.checks import check_choice, check_integer, check_real
from dsgd._common.warn import warn
from dsgd.algorithms.base import Algorithm, Capabilities
from dsgd.algorithms.distributed import DistributedAlgorithm, Program, Table
from dsgd.algorithms.growing_sizes import falling_share, first_break, most_delay, round_starts, starts_of_rounds
from dsgd.algorithms.minibatch import Minibatch
from dsgd.algorithms.sgd import Sgd
from dsgd.cluster.program.commands import Clock, Observe, Poll, Pull, Push, Report, Signal
from dsgd.cluster.program.task import WorkerTask, shared_random
from dsgd.privacy.config import Plan, Privacy
from dsgd.privacy.ledger import entry
from dsgd.problems.problem import Problem
from dsgd.problems.task import LocalTask

__all__ = ["AsyncFl"]

Array = NDArray[Any]

# The signal that all clients have finished a round: there is a new global model.
_NEWS = "round"
# Gradients of the first round by default: the sizes of the theory grow from 1.
_FIRST = {"theory": 1, "linear": 50, "constant": 50}
# alpha of the step alpha / (mu (t + E)), which the theory wants to be at least 4.
_ALPHA = 4.0
# Rows of a step of other models by default.
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class AsyncFl(DistributedAlgorithm):
    """Clients send the sums of their steps once a round; rounds grow and steps fall, and few messages are needed.

    A client is a worker. It makes single steps on its own rows, and its share of a round is its share of the rows.
    At the end of a round it sends the sum of its steps, and the server adds it to the global model.
    When all clients have finished a round, a client takes the global model in, also within a round.

    Parameters
    ----------
    sizes : {"theory", "linear", "constant"}, default="theory"
        Gradients s_i of round i of all clients together. ``"theory"``: the largest that rise and keep the condition
        below, about i / (4 (d + 1)^2 ln i). ``"linear"``: `first_size` + `growth` i. ``"constant"``: `first_size`.
    first_size : int, optional
        Gradients of the first round; none has fewer. By default 1 with ``"theory"`` and 50 otherwise.
    growth : float, default=5.0
        By how much a round with ``sizes="linear"`` is larger than the one before.
    falling : {"auto", "linear", "sqrt", "constant"}, default="auto"
        How the step falls with the number S of gradients before a round: as 1 / (1 + `fall` S), as
        1 / (1 + `fall` sqrt(S)), or not at all. It is constant in a round. ``"auto"``: ``"linear"`` for a convex
        model with L2, ``"sqrt"`` otherwise.
    fall : float, optional
        By default such that the linear step ends as 4 / (alpha S), the step of the theory, where alpha is that of L2
        (without L2 it does not fall), and that of the square root is halved after a pass.
    max_delay : int, default=1
        d: a client may be so many rounds ahead of the slowest one.
    wait : {"rounds", "delay"}, default="rounds"
        When a client waits: where it would be more than d rounds ahead, or, ``"delay"``, before every gradient t whose
        weights would lack more than tau(t) earlier ones, tau(t) = sqrt(t (1 / ln t - 1 / ln^2 t)).
    participation : float, default=1.0
        Share of the rounds in which a client takes part, drawn from the seed. It then makes 1 / `participation` times
        as many steps.
    look_every : int, default=100
        Most steps between two looks for a new global model.
    batch_size : int, optional
        Rows of a step, which goes along their mean gradient. Rows that are left at the end of a round make a step in
        proportion. By default 1 for linear models and softmax, 32 for others.
    privacy : dsgd.Privacy, optional
        Differential privacy of the rows of every client. The steps of a round are then one step, as long as all of
        them, along the noised sum of the clipped gradients of a Poisson sample: `batch_size`, `look_every` and `wait`
        have no part in it.

    Notes
    -----
    The condition of the theory is s_{i-d} + ... + s_i <= tau(S_i). A run warns of the first round that breaks it.
    Step sizes are those of the schedule at S_i, constant by default, times the fall. As many rounds are made as
    ``max_epochs`` passes need; records are evenly spaced in rounds, and `effective_passes` counts gradients.
    ``history[k].counts`` has for every client the rounds that it took part in, the messages that it sent and received,
    and how many of the latter interrupted a round.

    References
    ----------
    van Dijk, Nguyen, Nguyen, Nguyen, Tran-Dinh, Nguyen (2020), "Asynchronous federated learning with reduced number of
    rounds and with differential privacy from less aggregated Gaussian noise"; docs/algorithms/async-fl.md.
    """

    name = "async-fl"
    summary = "asynchronous clients, rounds of growing sizes and falling steps"
    capabilities = Capabilities(
        threads=True,
        deterministic=True,
        distributed=True,
        schedule="constant",
        models=frozenset({"linear", "softmax", "kmeans", "mlp"}),
    )

    sizes: str = "theory"
    first_size: int | None = None
    growth: float = 5.0
    falling: str = "auto"
    fall: float | None = None
    max_delay: int = 1
    wait: str = "rounds"
    participation: float = 1.0
    look_every: int = 100
    batch_size: int | None = None
    privacy: Privacy | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "privacy", Privacy.of(self.privacy))
        check_choice("sizes", self.sizes, ("theory", "linear", "constant"))
        check_choice("falling", self.falling, ("auto", "linear", "sqrt", "constant"))
        check_choice("wait", self.wait, ("rounds", "delay"))
        for option in ("first_size", "batch_size"):
            if getattr(self, option) is not None:
                object.__setattr__(self, option, check_integer(option, getattr(self, option), 1, 2**31 - 1))
        if self.fall is not None:
            check_real("fall", self.fall, 0)
        object.__setattr__(self, "growth", check_real("growth", self.growth, 0, 1e9))
        check_integer("max_delay", self.max_delay, 0, 2**31 - 1)
        check_integer("look_every", self.look_every, 1, 2**31 - 1)
        check_real("participation", self.participation, 0, 1, low_open=True)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The global model, to which the sums of steps are added."""
        return (Table(rule="add"),)

    @property
    def clock_bound(self) -> float:
        """A clock is a round."""
        return self.max_delay

    def worker(self, task: WorkerTask) -> Program:
        """Run one client."""
        starts = self._starts(task.max_epochs, task.n_total)
        falling, fall = self._fall(task)
        seen = task.state(rounds=0, sent=0, received=0, interrupted=0)
        # Rounds that all have finished: those that w holds, those that this client knows of; signals that it heeded.
        w, held, ended, heard = task.start, -1, 0, 0
        for clock in range(task.start_clock, task.max_clocks):
            change = np.zeros_like(task.start)
            start = int(starts[clock])
            step = falling_share(falling, fall, start) * float(task.own_step_sizes(start // task.n_workers, 1)[0])
            pieces = list(self._pieces(task, starts, clock))
            seen.rounds += int(bool(pieces))
            for first, count, need in pieces:
                if self.privacy is not None:
                    yield Report(entry(_client(task), clock, _rate(count, task.n_samples)))
                times = (yield Poll(_NEWS)).times
                if times > heard or max(need, ended) > held or self.privacy is not None:
                    # It has all that this client has sent: only the steps of this round are missing.
                    w = (yield Pull(need + self.max_delay)) + change
                    seen.received += 1
                    seen.interrupted += int(bool(change.any()))
                    held, heard = max(need, ended), max(times, heard)
                moved = self._moved(task, w, clock, first, count, step)
                change += moved - w
                w = moved
            if change.any():
                keys = task.differing(change, np.zeros_like(change))
                yield Push(change if keys is None else change[keys], keys)
                seen.sent += 1
            yield Observe(w, counts=dict(vars(seen)))
            clocks = yield Clock()
            ended = int(clocks.slowest)
            if clocks.slowest == clocks.own:  # this client was the last of the round
                yield Signal(_NEWS)
                heard += 1  # it needs no signal of its own

    def _moved(self, task: WorkerTask, w: Array, clock: int, first: int, count: int, step: float) -> Array:
        """Return the weights after the steps of a piece of a round; with `privacy` of the round, as one step."""
        if self.privacy is None:
            rows = task.rows_at(first, count)
            return task.sgd_steps(w, rows, step, first // task.n_samples, self._rows_of_step(task))
        random = task.client_random(_client(task), clock)
        noised = self.privacy.noised_sum(task.kernels, w, _rate(count, task.n_samples), random)
        return task.proximal_step(w, noised / count, step * count)

    def _pieces(self, task: WorkerTask, starts: NDArray[np.int64], clock: int) -> Iterator[tuple[int, int, int]]:
        """Yield the pieces of a client's round: first row, number of rows, and how many rounds all must have finished.

        A client has its share of every round, rounded so that no gradient of the sum is lost. None is left of a
        round that it sits out.
        """
        if self._sits_out(task.shared_random(clock), _client(task)):
            return
        begin, end = self._part(task.n_samples, task.n_total, starts, clock)
        if self.privacy is not None and end > begin:  # the weights stay as they are for a whole round
            yield begin, end - begin, max(clock - self.max_delay, 0)
            return
        start, size = int(starts[clock]), int(starts[clock + 1] - starts[clock])
        first = begin
        while first < end:
            left = task.n_samples - first % task.n_samples  # of this pass over the rows
            count = min(self.look_every * self._rows_of_step(task), left, end - first)
            need = max(clock - self.max_delay, 0)
            if self.wait == "delay":
                last = start + math.ceil((first + count - 1 - begin) * size / (end - begin))
                # Not the gradients of the round itself, which nobody has sent yet.
                need = min(int(np.searchsorted(starts, last - most_delay(last))), clock)
            yield first, count, need
            first += count

    def _part(self, n_samples: int, n_total: int, starts: NDArray[np.int64], clock: int) -> tuple[int, int]:
        """Return the gradients of a round, from and to, of a client that has `n_samples` of all rows."""
        parts = n_total * self.participation
        return int(n_samples * int(starts[clock]) / parts), int(n_samples * int(starts[clock + 1]) / parts)

    def _sits_out(self, random: np.random.Generator, client: int) -> bool:
        """Return whether a client sits out a round, by a generator that all clients share."""
        return self.participation < 1 and random.random(client + 1)[client] >= self.participation

    def private_plan(self, sizes: Sequence[int], n_clocks: int, seed: int) -> Plan:
        """Return the rate of every round of every client that `privacy` is to be paid for."""
        if self.privacy is None:
            return {}
        starts = self._whole_rounds(n_clocks)
        plan: dict[int, dict[int, float]] = {client: {} for client, size in enumerate(sizes) if size}
        for clock in range(n_clocks):
            for client, rates in plan.items():
                begin, end = self._part(sizes[client], sum(sizes), starts, clock)
                if end > begin and not self._sits_out(shared_random(seed, clock), client):
                    rates[clock] = _rate(end - begin, sizes[client])
        return plan

    def _rows_of_step(self, task: WorkerTask) -> int:
        return self.batch_size or (1 if _singly(task.kernels.problem) else _BATCH)

    def _starts(self, max_epochs: int, n_samples: int) -> NDArray[np.int64]:
        starts = round_starts(self.sizes, self._first, self.growth, self.max_delay, max_epochs * n_samples)
        return starts if self.privacy is None else self._whole_rounds(len(starts) - 1)

    def _whole_rounds(self, count: int) -> NDArray[np.int64]:
        """Return the gradients before each of so many rounds, the last of which is not cut."""
        endless = starts_of_rounds(self.sizes, self._first, self.growth, self.max_delay)
        return np.fromiter(itertools.islice(endless, count + 1), np.int64)

    @property
    def _first(self) -> int:
        return _FIRST[self.sizes] if self.first_size is None else self.first_size

    def _fall(self, task: WorkerTask) -> tuple[str, float]:
        """Return how the step falls, and how fast."""
        problem, falling = task.kernels.problem, self.falling
        alpha = problem.alphas[1]
        if falling == "auto":
            falling = "linear" if alpha > 0 and _singly(problem) else "sqrt"
        if self.fall is not None:
            return falling, self.fall
        return falling, task.step_size * alpha / _ALPHA if falling == "linear" else 1 / math.sqrt(task.n_total)

    def prepared(self, task: LocalTask, n_workers: int) -> Self:  # noqa: ARG002
        """Warn of the first round that breaks the condition."""
        starts = self._starts(task.max_epochs, task.n_samples)
        if (index := first_break(starts, self.max_delay)) is not None:
            open_gradients = int(starts[index + 1] - starts[max(index - self.max_delay, 0)])
            warn(
                f"algo 'async-fl': round {index} is the first in which weights may lack {open_gradients} gradients; "
                f"the theory allows {most_delay(int(starts[index])):.4g} after {starts[index]}; "
                "use sizes='theory', smaller rounds (first_size, growth) or a smaller max_delay"
            )
        return self

    def clocks(self, max_epochs: int, n_samples: int, n_workers: int) -> int:  # noqa: ARG002
        """Return the number of rounds."""
        return len(self._starts(max_epochs, n_samples)) - 1

    def step_trial(self, n_samples: int, n_workers: int) -> Algorithm | None:  # noqa: ARG002
        """Return the algorithm of one machine that makes the same steps."""
        return Sgd() if self.batch_size in (None, 1) else Minibatch(batch_size=self.batch_size)


def _client(task: WorkerTask) -> int:
    """Return the number of the client that a worker is."""
    return task.rank - task.workers.start


def _rate(count: int, n_samples: int) -> float:
    """Return the chance of a row to be in a private sample that stands for `count` gradients."""
    return min(count / n_samples, 1.0)


def _singly(problem: Problem) -> bool:
    """Return whether the model is convex; it is then trained a row at a time by default."""
    return problem.loss.model in ("linear", "softmax")
