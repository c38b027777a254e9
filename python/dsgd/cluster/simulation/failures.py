"""The failures of a simulated cluster, and the failure plan of a run."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from dsgd._common.checks import check_real, shown
from dsgd.errors import ConfigError

__all__ = ["SERVER", "Crash", "Delay", "Duplication", "Failure", "FailurePlan", "FrameLoss", "NetworkSplit", "Pause"]

SERVER = -1
"""The number of the parameter server in failures: it means all shards."""


class Failure:
    """Base class of all failures. It checks their fields; all times are virtual seconds."""

    def __post_init__(self) -> None:
        for entry in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, entry.name)
            where = f"{type(self).__name__}.{entry.name}"
            if entry.name == "probability":
                check_real(where, value, 0, 1)
            elif entry.name in ("node", "nodes"):
                nodes = (value,) if entry.name == "node" else value
                if nodes is not None and not all(isinstance(node, int) and node >= SERVER for node in nodes):
                    raise ConfigError(f"{where} must be ranks of nodes, or {SERVER} for the server, not {shown(value)}")
            elif value is not None and value != math.inf:
                check_real(where, value, 0)


@dataclass(frozen=True)
class Crash(Failure):
    """A process ends at once and loses its memory.

    Parameters
    ----------
    node : int
        A rank, or `SERVER`.
    at : float
        Time of the crash, virtual seconds.
    restart_after : float or None
        Virtual seconds until the process is started again: a worker from its saved state, the
        server from its last checkpoint. None: never.
    """

    node: int
    at: float
    restart_after: float | None = None


@dataclass(frozen=True)
class Pause(Failure):
    """A process stands still, as after SIGSTOP: it computes nothing, and frames that arrive wait.

    Parameters
    ----------
    node : int
        A rank, or `SERVER`.
    at, duration : float
        Begin and length of the pause, virtual seconds.
    """

    node: int
    at: float
    duration: float


@dataclass(frozen=True)
class NetworkSplit(Failure):
    """No frame passes between `nodes` and all other nodes; connections stay open.

    Parameters
    ----------
    nodes : sequence of int
        Ranks, or `SERVER`.
    at, duration : float
        Begin and length of the split, virtual seconds.
    """

    nodes: Sequence[int]
    at: float
    duration: float


@dataclass(frozen=True)
class FrameLoss(Failure):
    """Frames are lost.

    Parameters
    ----------
    probability : float
        Probability that a frame is lost.
    start, end : float
        Only frames that are sent from `start` to `end`, virtual seconds.
    nodes : sequence of int or None
        Only frames to or from these ranks, or `SERVER`. None: all frames.
    """

    probability: float
    start: float = 0.0
    end: float = math.inf
    nodes: Sequence[int] | None = None


@dataclass(frozen=True)
class Delay(Failure):
    """Frames are delayed, each by a random time of its own, so that they overtake each other.

    Parameters
    ----------
    probability : float
        Probability that a frame is delayed.
    seconds : float
        The delay is uniform between 0 and this number of virtual seconds.
    start, end, nodes
        See `FrameLoss`.
    """

    probability: float
    seconds: float
    start: float = 0.0
    end: float = math.inf
    nodes: Sequence[int] | None = None


@dataclass(frozen=True)
class Duplication(Failure):
    """Frames arrive twice.

    Parameters
    ----------
    probability : float
        Probability that a frame arrives twice.
    start, end, nodes
        See `FrameLoss`.
    """

    probability: float
    start: float = 0.0
    end: float = math.inf
    nodes: Sequence[int] | None = None


class Fate(NamedTuple):
    """The extra delay, in virtual seconds, of each copy of a frame that arrives.

    Without any the frame is lost.
    """

    delays: tuple[float, ...]


_UNHARMED = Fate((0.0,))
_LOST = Fate(())


class FailurePlan:
    """All failures of a run.

    Parameters
    ----------
    failures : iterable of Failure
    n_nodes : int
        Number of nodes without the server.
    seed : int

    Attributes
    ----------
    crashes : list of Crash
    stops : dict of int to list of (begin, end)
        By node: the times in which pauses make it stand still, virtual seconds.
    """

    def __init__(self, failures: Iterable[Failure], n_nodes: int, seed: int) -> None:
        self.failures = tuple(failures)
        self._random = random.Random(f"failures {seed}")
        self._of_frames: list[Any] = []
        self.crashes: list[Crash] = []
        pauses: list[Pause] = []
        for failure in self.failures:
            if isinstance(failure, Crash):
                self.crashes.append(failure)
            elif isinstance(failure, Pause):
                pauses.append(failure)
            elif isinstance(failure, NetworkSplit | FrameLoss | Delay | Duplication):
                self._of_frames.append(failure)
            else:
                raise ConfigError(f"failures are objects such as dsgd.cluster.Crash, not {shown(failure)}")
            named = getattr(failure, "nodes", None) or ()
            for node in (*named, *([failure.node] if isinstance(failure, Crash | Pause) else [])):
                if node >= n_nodes:
                    raise ConfigError(f"{shown(failure)} names node {node} of {n_nodes}: ranks begin at 0")
        self.stops = {
            node: [(pause.at, pause.at + pause.duration) for pause in pauses if pause.node == node]
            for node in {pause.node for pause in pauses}
        }

    def fate(self, now: float, source: int, target: int) -> Fate:
        """Return the fate of a frame that `source` sends to `target` at the time `now`."""
        if not self._of_frames:
            return _UNHARMED
        copies, delay = 1, 0.0
        for failure in self._of_frames:
            if isinstance(failure, NetworkSplit):
                apart = (source in failure.nodes) != (target in failure.nodes)
                if apart and failure.at <= now < failure.at + failure.duration:
                    return _LOST
                continue
            concerned = failure.nodes is None or source in failure.nodes or target in failure.nodes
            if not concerned or not failure.start <= now < failure.end:
                continue
            if self._random.random() >= failure.probability:
                continue
            if isinstance(failure, FrameLoss):
                return _LOST
            if isinstance(failure, Delay):
                delay += failure.seconds * self._random.random()
            else:
                copies += 1
        return Fate((delay,) * copies)
