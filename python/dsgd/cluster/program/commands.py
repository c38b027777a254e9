"""What a worker program may ask for, and what it is answered.

A distributed algorithm is a generator: it yields commands and receives their answers. It does no I/O and reads no clock
but `task.now()`, so that the same program runs in simulation, in processes of this machine and on other hosts.
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
"""The group of all nodes, which every run has."""

Keys = NDArray[np.uint64] | None


@dataclass(frozen=True)
class Pull:
    """Read a table. Answered by a fresh array as soon as clock - slowest <= staleness.

    Attributes
    ----------
    clock : int
        Clocks that this worker has finished.
    keys : ndarray of uint64, optional
        Rows to read, strictly increasing; None: all of them.
    table : str
    ahead : bool
        Answered at once by a `Ticket`, so that the program can work while the values travel.
    group : str
    """

    clock: int
    keys: Keys = None
    table: str = "weights"
    ahead: bool = False
    group: str = EVERYONE


@dataclass(frozen=True)
class Wait:
    """Wait for what a ticket was given for; answered like the command itself."""

    ticket: Ticket


@dataclass(frozen=True)
class Push:
    """Change a table by its rule (`Table`). Answered by None at once; never moves the clock.

    Attributes
    ----------
    delta : ndarray
        Copied before the program goes on.
    keys : ndarray of uint64, optional
        Rows that `delta` is for, strictly increasing; None: all of them.
    table : str
    weight : float
    group : str
    """

    delta: NDArray[Any]
    keys: Keys = None
    table: str = "weights"
    weight: float = 1.0
    group: str = EVERYONE


@dataclass(frozen=True)
class Clock:
    """Finish a clock, and keep `task.state`. Answered by `Clocks`; not gated."""

    group: str = EVERYONE


@dataclass(frozen=True)
class AllReduce:
    """Add up arrays of all live workers in the order of their ranks; a barrier. Answered by a fresh array.

    Attributes
    ----------
    value : ndarray of float32 or float64
    mean : bool
        Divide by the sum of the weights.
    weight : float
        A factor of this worker's array.
    group : str
    """

    value: NDArray[Any]
    mean: bool = False
    weight: float = 1.0
    group: str = EVERYONE


@dataclass(frozen=True)
class Send:
    """Send an array to a peer; answered by None at once. Fire and forget: it may be lost, and nobody says so."""

    peer: int
    value: NDArray[Any]
    keys: Keys = None
    name: str = ""
    group: str = EVERYONE


@dataclass(frozen=True)
class Receive:
    """Empty the mailbox. Answered by a list of `Message` in order of arrival.

    Attributes
    ----------
    wait : bool
        Wait for a message if there is none.
    deadline : float or None
        Seconds to wait at most; the answer is then an empty list. None: without an end, as where a `Send` cannot be
        lost.
    group : str
    """

    wait: bool = False
    deadline: float | None = None
    group: str = EVERYONE


@dataclass(frozen=True)
class Signal:
    """Tell all live workers, this one too; answered by None at once."""

    name: str
    group: str = EVERYONE


@dataclass(frozen=True)
class Poll:
    """Ask what is known here of a signal; answered by `Signals` at once."""

    name: str
    group: str = EVERYONE


@dataclass(frozen=True)
class Report:
    """Leave numbers for whoever started the run; answered by None at once."""

    metrics: dict[str, float] = field(default_factory=dict)
    group: str = EVERYONE


Command = Pull | Wait | Push | Clock | AllReduce | Send | Receive | Signal | Poll | Report

Program = Generator[Command, Any, None]
"""What a worker of a distributed algorithm is: it yields commands, and is sent their answers."""


class Ticket(NamedTuple):
    """What a `Pull` ahead is waited for by."""

    number: int
    group: str


class Clocks(NamedTuple):
    """Clocks finished by this worker, by the slowest and by the fastest."""

    own: int
    slowest: int
    fastest: int


class Signals(NamedTuple):
    """How often a signal was given so far, and who gave it last, at which clock (-1 where nobody did)."""

    times: int = 0
    worker: int = -1
    clock: int = -1

    def __bool__(self) -> bool:
        return self.times > 0


class Message(NamedTuple):
    """An array from a peer; `number` counts what that peer sent."""

    sender: int
    value: NDArray[Any]
    keys: Keys
    name: str
    number: int
