"""ASGD: asynchronous SGD with one-sided messages, external buffers and a Parzen window."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd._common.checks import check_choice, check_flag, check_integer, check_real, shown
from dsgd.algorithms.base import Algorithm, Capabilities
from dsgd.algorithms.distributed import DistributedAlgorithm, Mailbox, Observes, Program, Table
from dsgd.algorithms.minibatch import Minibatch
from dsgd.algorithms.sgd import Sgd
from dsgd.cluster.program.commands import AllReduce, Clock, Message, Observe, Receive, Send
from dsgd.cluster.program.parts import Parts
from dsgd.cluster.program.task import WorkerTask
from dsgd.errors import ConfigError

__all__ = ["Asgd", "mixed"]

Array = NDArray[Any]

# Least rows of a batch by default (figure 8 of the paper), how many entries it has for each weight of a message (a step
# visits many of a dense row at a time), and how many at least. To send, receive and mix a state then takes at most a
# tenth of the time (docs/algorithms/asgd.md).
_ROWS = 500
_ENTRIES_A_WEIGHT = {"sparse": 40, "dense": 300}
_ENTRIES = 250_000
_VISITS = 4  # of a value of a message: it is tested and mixed in
_COUNTED = ("sent", "received", "accepted", "rejected", "age")
# Bounds of the adaptive batch, and how fast it follows the queue (Keuper, Pfreundt 2015, "Balancing the communication
# load of asynchronously parallelized machine learning algorithms").
_BOUNDS = (10, 100_000)
_GAIN = 0.1


@dataclass(frozen=True, kw_only=True)
class Asgd(DistributedAlgorithm):
    """Every worker trains on its own rows, sends its state to random peers, and mixes in states that it approaches.

    A message is one-sided: it lands in a buffer of its receiver, over an older message that was not
    read, and nobody waits. A worker looks at its buffers after every batch. It takes in a state if its
    own step goes towards that state (the Parzen window), and ignores the others.

    Parameters
    ----------
    batch_size : int or "adaptive", optional
        Rows from one message of a worker to its next. By default at least 500, and so many that the
        messages cost about a tenth of the time; at most a worker's rows. ``"adaptive"``: 500 at first,
        more while messages wait for the worker's link, fewer while none does.
    steps : {"batch", "single"}, optional
        What a worker does with the rows of a batch. ``"batch"``: one step along their mean gradient,
        as in the paper. ``"single"``: a step on each in turn, as in `Sgd`. By default ``"single"`` for
        linear models and softmax.
    fanout : int, default=1
        Number of peers that a state is sent to.
    buffers : int, default=4
        External buffers of a worker. A message of rank r goes into buffer r mod `buffers`.
    partial : float, default=1.0
        Share of the parts of the state that a message carries, drawn at random: of the centres of
        k-means, of blocks of weights otherwise.
    pull : {"eps", "full"}, default="eps"
        How far a worker moves to the mean with the states that it takes in: as far as its step size
        says, as in the paper, or all the way.
    silent : bool, default=False
        Whether no messages are sent.
    result : {"first", "mean"}, default="first"
        The model: the state of the first worker, or the mean of all states.
    torn : {"detect", "accept"}, default="detect"
        What happens to a message that is overwritten while it is read, on one machine: it is read
        again, or taken as it is, partly old and partly new.
    queue_target : float, optional
        Messages that wait for the link of a worker with an adaptive batch. By default twice `fanout`.

    Notes
    -----
    Let D be the step of a batch, so that w - D is where it ends, eps the step size, at most 1, and A
    the states w_n in the buffers with ||w - D - w_n|| < ||w - w_n||. The new state is
    w - D - eps / (|A| + 1) sum_A (w - w_n). Every part of a state is tested and mixed on its own.
    Without states in A and with ``steps="batch"`` this is `Minibatch` on the worker's rows.

    References
    ----------
    Keuper, Pfreundt (2015), "Asynchronous parallel stochastic gradient descent", Algorithm 5, Eq. (2)
    to (4), reconciled in docs/algorithms/asgd.md.
    """

    name = "asgd"
    summary = "SGD on every worker, with one-sided messages to random peers (ASGD)"
    capabilities = Capabilities(
        threads=True, deterministic=False, distributed=True, models=frozenset({"linear", "softmax", "kmeans", "mlp"})
    )

    batch_size: int | str | None = None
    steps: str | None = None
    fanout: int = 1
    buffers: int = 4
    partial: float = 1.0
    pull: str = "eps"
    silent: bool = False
    result: str = "first"
    torn: str = "detect"
    queue_target: float | None = None

    def __post_init__(self) -> None:
        if self.batch_size not in (None, "adaptive"):
            if isinstance(self.batch_size, str):
                raise ConfigError(f"batch_size must be an integer or 'adaptive', not {shown(self.batch_size)}")
            object.__setattr__(self, "batch_size", check_integer("batch_size", self.batch_size, 1, 2**31 - 1))
        for option in ("fanout", "buffers"):
            object.__setattr__(self, option, check_integer(option, getattr(self, option), 1, 2**31 - 1))
        if self.steps is not None:
            check_choice("steps", self.steps, ("batch", "single"))
        check_real("partial", self.partial, 0, 1, low_open=True)
        check_choice("pull", self.pull, ("eps", "full"))
        check_flag("silent", self.silent)
        check_choice("result", self.result, ("first", "mean"))
        check_choice("torn", self.torn, ("detect", "accept"))
        if self.queue_target is not None:
            check_real("queue_target", self.queue_target, 0, low_open=True)

    @property
    def tables(self) -> tuple[Table, ...]:
        """A table of one number, which nobody uses: every worker holds a state of its own."""
        return (Table(name="none", size=1),)

    @property
    def mailbox(self) -> Mailbox:
        """The external buffers."""
        return Mailbox(slots=self.buffers, on_full="overwrite", torn=self.torn)

    @property
    def observes(self) -> Observes:
        """The state of the first worker, or the mean of all."""
        return "first" if self.result == "first" else "mean"

    @property
    def clock_bound(self) -> float:
        """Nobody waits."""
        return math.inf

    def worker(self, task: WorkerTask) -> Program:
        """Run one worker (Algorithm 5)."""
        parts, seen = Parts(task.kernels.problem.layout), Counter(dict.fromkeys(_COUNTED, 0))
        state = task.state(w=task.start)  # no server and no peer has it otherwise
        w = state.w.copy()
        if task.saved:
            yield Observe(w, counts=dict(seen))  # this life may have no clock left
        if task.start_clock == 0:
            yield AllReduce(np.zeros(1))  # all begin together: else those that begin late find nobody to hear from
        size, waiting = self._first_size(task), 0
        for clock in range(task.start_clock, task.max_clocks):
            random, time, end = task.random(clock), clock * task.mean_samples, (clock + 1) * task.mean_samples
            while time < end:
                count = min(size, end - time)
                stepped, eps = self._step(task, w, time, count, size)  # w - D
                messages = [] if self.silent else (yield Receive())
                w = mixed(w, stepped, messages, parts, eps if self.pull == "eps" else 1.0, time, seen)
                if messages:
                    task.kernels.count(elements=_VISITS * sum(len(message.value) for message in messages))
                for peer in self._peers(task, random):
                    keys = parts.draw(random, self.partial)
                    waiting = yield Send(peer, *parts.packed(w, keys, time))
                    seen["sent"] += 1
                time += count
                size = self._next_size(size, waiting, task.n_samples)
            yield Observe(w, counts=dict(seen))
            state.w = w
            yield Clock()

    def _step(self, task: WorkerTask, w: Array, time: int, count: int, size: int) -> tuple[Array, float]:
        """Return the state after the step of a batch, and the step size."""
        rows, index = task.rows_at(time, count), time // task.n_samples
        step = float(task.own_step_sizes(time, 1)[0])
        if self._single(task):
            return task.sgd_steps(w, rows, task.own_step_sizes(time, count), index), min(step, 1.0)
        return task.minibatch_step(w, rows, step, size, index), min(step, 1.0)

    def _single(self, task: WorkerTask) -> bool:
        model = task.kernels.problem.loss.model
        return self.steps == "single" or (self.steps is None and model in ("linear", "softmax"))

    def _peers(self, task: WorkerTask, random: np.random.Generator) -> list[int]:
        """Return the peers that get the next state: `fanout` different ones at random, never the worker itself."""
        others = task.n_workers - 1
        if self.silent or others == 0:
            return []
        if self.fanout == 1:  # `choice` takes as long as the step of a small batch
            chosen = [random.integers(others)]
        else:
            chosen = random.choice(others, min(self.fanout, others), replace=False).tolist()
        return [int(peer) + int(peer >= task.rank) for peer in chosen]

    def _first_size(self, task: WorkerTask) -> int:
        if self.batch_size is not None:
            return min(self.batch_size if isinstance(self.batch_size, int) else _ROWS, task.n_samples)
        layout = "sparse" if task.kernels.problem.sparse else "dense"
        entries = max(_ENTRIES_A_WEIGHT[layout] * task.n_parameters, _ENTRIES)
        rows = entries / max(task.kernels.work_of_a_row, 1.0)
        return min(max(_ROWS, math.ceil(rows)), task.n_samples)

    def _next_size(self, size: int, waiting: int, n_samples: int) -> int:
        """Return the rows of the next batch: more if more messages wait for the worker's link than should."""
        if self.batch_size != "adaptive":
            return size
        target = self.queue_target or 2 * self.fanout
        least, most = _BOUNDS
        return int(np.clip(round(size + _GAIN * size * (waiting - target) / target), least, min(most, n_samples)))

    def clocks(self, max_epochs: int, n_samples: int, n_workers: int) -> int:  # noqa: ARG002
        """Return the number of clocks: one a pass."""
        return max_epochs

    def step_trial(self, n_samples: int, n_workers: int) -> Algorithm | None:
        """Return the algorithm of one machine that makes the same steps."""
        if self.steps == "batch":
            size = self.batch_size if isinstance(self.batch_size, int) else _ROWS
            return Minibatch(batch_size=min(size, -(-n_samples // n_workers)))
        return Sgd()


def mixed(
    w: Array,
    stepped: Array,
    messages: Sequence[Message],
    parts: Parts,
    eps: float,
    time: int,
    seen: Counter[str],
) -> Array:
    """Return w - D - eps / (|A| + 1) sum_A (w - w_n): the state after a step, with the states that it goes towards.

    Parameters
    ----------
    w, stepped : ndarray of shape (n_parameters,)
        The state before its step D, and w - D.
    messages : sequence of Message
        The states w_n, or parts of them, as `Parts.packed` packs them.
    parts : Parts
        |A| is counted for every part on its own.
    eps : float
    time : int
        Samples of this worker so far.
    seen : Counter of str
        Counts of messages and of the parts in them are added.
    """
    accepted = 0
    for message in messages:
        seen["received"] += 1
        if (unpacked := parts.unpacked(message)) is None:
            continue
        places, state, sent_at = unpacked
        towards, away = parts.window.look(w, stepped, state, places)
        accepted += towards
        seen["accepted"] += towards
        seen["rejected"] += away
        seen["age"] += towards * abs(time - sent_at)
    if accepted:  # without, this is the step of `minibatch`, to the bit
        stepped = stepped.copy()
        parts.window.pull(stepped, eps)
    return stepped
