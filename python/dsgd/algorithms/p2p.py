"""Asynchronous peers without a coordinator: every worker sends its changes to all others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd._common.checks import check_integer, check_real
from dsgd.algorithms.base import Capabilities
from dsgd.algorithms.distributed import DistributedAlgorithm, Mailbox, Observes, Program, Table
from dsgd.algorithms.minibatch import Minibatch
from dsgd.cluster.program.commands import AllReduce, Clock, Command, Message, Observe, Pull, Push, Receive, Send
from dsgd.cluster.program.task import WorkerTask

__all__ = ["P2p"]

Array = NDArray[Any]

# Least rows of all workers between two messages by default.
_ROWS = 200
# Messages that a worker which has ended counts for: nobody waits for it.
_FOR_EVER = 2**23


@dataclass(frozen=True, kw_only=True)
class P2p(DistributedAlgorithm):
    """Every worker steps on its own rows, sends the change to all peers, and applies what has arrived meanwhile.

    There is no coordinator and no barrier. While a link to a peer is busy, the changes for that
    peer are added up. Once a pass every worker also pushes its changes to the parameter server, from
    which workers start that join late, and all end.

    Parameters
    ----------
    batch_size : int, default=1
        Rows of a step.
    send_every : int, optional
        Steps whose changes are sent together. By default those of 200 rows of all workers, or so many
        that they touch half as many entries as the model has weights.
    max_ahead : int or inf, default=1
        Messages that a worker may be ahead of what it has heard from the slowest peer; then it waits for
        messages. ``math.inf``: nobody ever waits, as in the report.
    max_wait : float, default=5.0
        Longest such wait, seconds; after it the worker goes on without the peers that it waited for.
    stop_change : float or None, default=None
        A worker stops when two of its evaluations in a row changed its objective, on a fixed sample of
        its rows, by less than this. The run ends when all have stopped. None: never. The report uses
        1.6e-4 (100 for the sum over its 625,012 rows).
    check_every : int, optional
        Messages of a worker between two of its evaluations. By default it evaluates once a pass.

    Notes
    -----
    ``history[k].counts`` has the changes sent and received, the objective of every worker on its
    sample and, with `eval_set`, the objective of its weights there, ``"held_out"``. The server applies
    every change exactly once, so that all end with the sum of all changes, whatever links and peers
    did. L2 acts on the features of a row, by the degree split. On one worker this is `Minibatch` on one
    machine, to the bit.

    References
    ----------
    Declety, Gauchoux, Abouzaid, "Distributed Synchronous and Asynchronous SGD" (EPFL), the
    asynchronous version; docs/algorithms/p2p.md says how its ambiguities were read.
    """

    name = "p2p"
    held_out_curves = True
    summary = "asynchronous peers that send their changes to all others"
    capabilities = Capabilities(
        threads=True, deterministic=False, distributed=True, models=frozenset({"linear", "softmax"})
    )

    batch_size: int = 1
    send_every: int | None = None
    max_ahead: float = 1
    max_wait: float = 5.0
    stop_change: float | None = None
    check_every: int | None = None

    def __post_init__(self) -> None:
        for option in ("batch_size", "send_every", "check_every"):
            if getattr(self, option) is not None:
                object.__setattr__(self, option, check_integer(option, getattr(self, option), 1, 2**31 - 1))
        if self.stop_change is not None:
            check_real("stop_change", self.stop_change, 0)
        if self.max_ahead != math.inf:
            check_integer("max_ahead", self.max_ahead, 0)
        check_real("max_wait", self.max_wait, 0, low_open=True)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The initial weights and all changes of passes that are done. Nobody reads it while it trains."""
        return (Table(rule="add"),)

    @property
    def mailbox(self) -> Mailbox:
        """A place for each peer, in which its changes are added up."""
        return Mailbox(slots=2**31 - 1, on_full="sum")

    @property
    def observes(self) -> Observes:
        """The weights of the first worker; at the end all have the same."""
        return "first"

    @property
    def clock_bound(self) -> float:
        """Nobody waits."""
        return math.inf

    def worker(self, task: WorkerTask) -> Program:
        """Run one worker."""
        w = yield Pull(task.start_clock)  # a worker that joins late has what the others have pushed
        peers = _Peers(task)
        stop = _StopRule(self.stop_change)
        for clock in range(task.start_clock, task.max_clocks):
            own = np.zeros(len(w))
            batches = list(self._batches(task, clock))
            every = self.check_every or len(batches)
            for first, count in batches:
                stepped = self._stepped(task, w, first, count)
                own += stepped - w
                yield from self._tell(peers, stepped - w, 1)
                w = yield from self._hear(peers, stepped)
                if peers.told % every == 0 and stop.after(task.sample_loss(w) + task.penalty(w)):
                    break
            yield Push(own.astype(w.dtype))
            yield Observe(w, counts={**peers.seen, "objective": stop.objective})
            yield Clock()
            if stop.stopped:
                break
        yield from self._tell(peers, np.zeros(len(w), w.dtype), _FOR_EVER)
        if task.n_workers > 1:
            yield AllReduce(np.zeros(1))  # all have pushed
            yield Observe((yield Pull(task.max_clocks)), counts={**peers.seen, "objective": stop.objective})

    def _batches(self, task: WorkerTask, clock: int) -> Iterator[tuple[int, int]]:
        """Yield the first row of the steps of every message of a pass, and their number of rows."""
        rows = max(_ROWS / task.n_workers, task.n_parameters / max(2 * task.kernels.work_of_a_row, 1.0))
        steps = self.send_every or math.ceil(rows / self.batch_size)
        begin, end = clock * task.mean_samples, (clock + 1) * task.mean_samples
        for first in range(begin, end, steps * self.batch_size):
            yield first, min(steps * self.batch_size, end - first)

    def _stepped(self, task: WorkerTask, w: Array, first: int, count: int) -> Array:
        """Return the weights after steps on rows in turn."""
        stepped, descent = w.copy(), task.kernels.descent(self.batch_size, spread=True)
        # The changes of all workers together are then a step on the mean of their gradients.
        sizes = task.own_step_sizes(first, count) / task.n_workers
        descent.steps(stepped, task.rows_at(first, count), sizes, first // task.n_samples)
        return stepped

    def _tell(self, peers: _Peers, change: Array, messages: int) -> Generator[Command, Any, None]:
        """Send a change of the weights to all peers: those that changed, and behind them the number of messages."""
        keys = np.append(np.flatnonzero(change), len(change)).astype(np.uint64)
        values = np.append(change, change.dtype.type(messages))[keys]
        for peer in peers.heard:
            yield Send(peer, values, keys)
            peers.seen["sent"] += 1
        peers.told += 1

    def _hear(self, peers: _Peers, w: Array) -> Generator[Command, Any, Array]:
        """Return the weights with all changes of peers that have arrived; wait for more if this worker is ahead."""
        messages = yield Receive()
        while True:
            for message in messages:
                w[message.keys[:-1]] += message.value[:-1]
                peers.hear(message)
            if not peers.behind(self.max_ahead):
                return w
            messages = yield Receive(wait=True, deadline=self.max_wait)
            if not messages:
                peers.give_up(self.max_ahead)

    def clocks(self, max_epochs: int, n_samples: int, n_workers: int) -> int:  # noqa: ARG002
        """Return the number of clocks: one a pass."""
        return max_epochs

    def step_trial(self, n_samples: int, n_workers: int) -> Minibatch:  # noqa: ARG002
        """Return the algorithm of one machine that makes the same steps."""
        return Minibatch(batch_size=n_workers * self.batch_size)


class _Peers:
    """What a worker has heard from its peers.

    Attributes
    ----------
    told : int
        Messages of this worker.
    heard : dict of int to float
        Messages of every peer that have arrived. A sum of several counts as so many.
    seen : Counter of str
        Messages sent and received, each sum as one.
    """

    def __init__(self, task: WorkerTask) -> None:
        self.told = 0
        self.heard = {peer: 0.0 for peer in task.workers if peer != task.rank}
        self.seen = Counter(sent=0, received=0)
        self._gone: set[int] = set()

    def hear(self, message: Message) -> None:
        """Count a message. The count of a peer that was given up goes on as if nothing of it was missing.

        What was lost with a former life of it, or on the way, would be waited for again after every message.
        """
        if message.sender in self._gone:
            self._gone.remove(message.sender)
            self.heard[message.sender] = self.told
        self.heard[message.sender] += float(message.value[-1])
        self.seen["received"] += 1

    def behind(self, most: float) -> set[int]:
        """Return the peers of which more than `most` messages less have arrived than this worker has sent."""
        return {peer for peer, heard in self.heard.items() if self.told - heard > most} - self._gone

    def give_up(self, most: float) -> None:
        """Wait no more for the peers that are behind, until they are heard of."""
        self._gone |= self.behind(most)


class _StopRule:
    """Stops after two evaluations in a row that changed the objective by less than a bound.

    Attributes
    ----------
    objective : float
        At the last evaluation.
    stopped : bool
    """

    def __init__(self, change: float | None) -> None:
        self.objective = math.inf
        self.stopped = False
        self._change = change
        self._standstills = 0

    def after(self, objective: float) -> bool:
        """Take an evaluation; return whether to stop."""
        still = self._change is not None and abs(objective - self.objective) < self._change
        self._standstills = self._standstills + 1 if still else 0
        self.objective = objective
        self.stopped = self._standstills == 2
        return self.stopped
