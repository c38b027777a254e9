"""The commands that a worker program may yield, and their answers.

The program of a distributed algorithm is a generator: it yields commands and receives their
answers. It does no I/O and reads no clock but `task.now()`, so that the same program runs in
simulation, in processes of this machine and on other hosts.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "EVERYONE",
    "AllReduce",
    "Clock",
    "Clocks",
    "Command",
    "Message",
    "Observe",
    "Poll",
    "Program",
    "Pull",
    "Push",
    "Receive",
    "Report",
    "Send",
    "Signal",
    "Signals",
    "Ticket",
    "Wait",
]

EVERYONE = "all"
"""The name of the group of all nodes. Every run has this group."""

Keys = NDArray[np.uint64] | None


@dataclass(frozen=True)
class Pull:
    """Read a table of the parameter server. The answer is a new array.

    The server answers as soon as ``clock - slowest <= staleness``. `slowest` is the number of
    clocks that the slowest worker has finished; `staleness` is the bound of the algorithm
    (`DistributedAlgorithm.clock_bound`).

    Attributes
    ----------
    clock : int
        Number of clocks that this worker has finished.
    keys : ndarray of uint64, optional
        Rows of the table to read, strictly increasing. None: all rows.
    table : str
    ahead : bool
        Answer at once with a `Ticket`: the program can compute while the values travel, and gets
        them later by `Wait`.
    group : str

    References
    ----------
    Ho, Cipar, Cui, Lee, Kim, Gibbons, Gibson, Ganger, Xing (2013), "More effective distributed ML
    via a stale synchronous parallel parameter server".
    """

    clock: int
    keys: Keys = None
    table: str = "weights"
    ahead: bool = False
    group: str = EVERYONE


@dataclass(frozen=True)
class Wait:
    """Wait for the values of a `Pull` with ``ahead=True``. The answer is a new array."""

    ticket: Ticket


@dataclass(frozen=True)
class Push:
    """Change a table of the parameter server by the rule of the table (docs/server.md).

    The answer is None, at once. A push does not finish a clock.

    Attributes
    ----------
    delta : ndarray
        Values of the push, in the dtype of the table. Copied before the program goes on.
    keys : ndarray of uint64, optional
        Rows of the table that `delta` is for, strictly increasing. None: all rows.
    table : str
    weight : float
        Factor of the values, or their weight in a mean, as the rule says.
    group : str
    """

    delta: NDArray[Any]
    keys: Keys = None
    table: str = "weights"
    weight: float = 1.0
    group: str = EVERYONE


@dataclass(frozen=True)
class Clock:
    """Finish a clock, and save the state of the task (`WorkerTask.state`) on the server.

    The answer is a `Clocks`. It does not wait for slower workers; only `Pull` does.
    """

    group: str = EVERYONE


@dataclass(frozen=True)
class AllReduce:
    """Add up one array of every live member of a group. This is a barrier.

    The answer is a new array: the sum of ``weight * value`` in the order of the ranks, added up in
    float64.

    Attributes
    ----------
    value : ndarray of float32 or float64
    mean : bool
        Divide the sum by the sum of the weights.
    weight : float
        Factor of this member's array.
    group : str
    """

    value: NDArray[Any]
    mean: bool = False
    weight: float = 1.0
    group: str = EVERYONE


@dataclass(frozen=True)
class Send:
    """Send an array to another member of a group.

    The answer is given at once: the number of messages of this worker that wait for its link, this one
    included. It is 0 where nobody counts them. The message may be lost, and then neither side is told.

    Attributes
    ----------
    peer : int
        Rank of the receiver in the group.
    value : ndarray of float32 or float64
    keys : ndarray of uint64, optional
        Rows that `value` is for, strictly increasing. None: all rows.
    name : str
        The receiver finds it in `Message.name`.
    group : str
    """

    peer: int
    value: NDArray[Any]
    keys: Keys = None
    name: str = ""
    group: str = EVERYONE


@dataclass(frozen=True)
class Receive:
    """Take all messages out of the mailbox. The answer is a list of `Message`, by arrival.

    Attributes
    ----------
    wait : bool
        Wait for a message if there is none.
    deadline : float or None
        Longest wait, in seconds; after it the answer is an empty list. None: no limit, for clusters
        on which no `Send` can be lost.
    group : str
    """

    wait: bool = False
    deadline: float | None = None
    group: str = EVERYONE


@dataclass(frozen=True)
class Signal:
    """Give a signal to all live members of a group, the sender too. Answered by None at once."""

    name: str
    group: str = EVERYONE


@dataclass(frozen=True)
class Poll:
    """Ask how often a signal has reached this worker so far. Answered by `Signals` at once."""

    name: str
    group: str = EVERYONE


@dataclass(frozen=True)
class Report:
    """Send numbers to the caller of the run (`Outcome.reports`). Answered by None at once."""

    metrics: dict[str, float] = field(default_factory=dict)
    group: str = EVERYONE


@dataclass(frozen=True)
class Observe:
    """Say which vector is this worker's model now. Answered by None at once.

    `DistributedAlgorithm.observes` says whether the records of a run are made of these vectors. The
    vector of a worker in the record of a clock is the last one that it observed before it finished
    that clock. Nothing is sent to the server, and no work, time or bytes are counted: a run in
    virtual time takes as long with this command as without it.

    Attributes
    ----------
    value : ndarray of shape (n_parameters,)
        Copied before the program goes on.
    log_weight : float
        Where the model is the mean of the vectors of all ranks: the logarithm of what this one counts
        for. Only differences matter, and they may be of any size.
    counts : dict of str to float
        Further numbers of this worker, for the history (`Record.counts`).
    """

    value: NDArray[Any]
    log_weight: float = 0.0
    counts: dict[str, float] = field(default_factory=dict)


Command = Pull | Wait | Push | Clock | AllReduce | Send | Receive | Signal | Poll | Report | Observe

Program = Generator[Command, Any, None]
"""The program of a node: a generator that yields commands and is sent their answers."""


class Ticket(NamedTuple):
    """Names a `Pull` with ``ahead=True``; `Wait` takes it to get the values."""

    number: int
    group: str


class Clocks(NamedTuple):
    """Numbers of clocks that this worker, the slowest and the fastest worker have finished."""

    own: int
    slowest: int
    fastest: int


class Signals(NamedTuple):
    """How often a signal was given so far, by which worker last, and at which of its clocks.

    `worker` and `clock` are -1 if nobody has given the signal.
    """

    times: int = 0
    worker: int = -1
    clock: int = -1

    def __bool__(self) -> bool:
        return self.times > 0


class Message(NamedTuple):
    """An array that a peer sent; `number` counts the messages of that peer."""

    sender: int
    value: NDArray[Any]
    keys: Keys
    name: str
    number: int
