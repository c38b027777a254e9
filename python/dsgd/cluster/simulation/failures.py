"""What goes wrong in a simulated cluster, and when: the failure plan of a run."""

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
"""The node of the parameter server, where a failure names nodes."""


class Failure:
    """Something that goes wrong."""

    def __post_init__(self) -> None:
        for entry in fields(self):  # type: ignore[arg-type]  # every one is a dataclass
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
    """A process ends at once, and all it knew with it.

    Parameters
    ----------
    node : int
        A rank, or `SERVER`.
    at : float
        Virtual seconds.
    restart_after : float or None
        Seconds until it is started again: a worker anew from its state, the server from its checkpoint. None: never.
    """

    node: int
    at: float
    restart_after: float | None = None


@dataclass(frozen=True)
class Pause(Failure):
    """A process stands still, as after SIGSTOP: it computes nothing, and what arrives waits."""

    node: int
    at: float
    duration: float


@dataclass(frozen=True)
class NetworkSplit(Failure):
    """No frame passes between these nodes and the others; connections stay open."""

    nodes: Sequence[int]
    at: float
    duration: float


@dataclass(frozen=True)
class FrameLoss(Failure):
    """Frames are lost. `nodes`: only those to or from these; None: all."""

    probability: float
    start: float = 0.0
    end: float = math.inf
    nodes: Sequence[int] | None = None


@dataclass(frozen=True)
class Delay(Failure):
    """Frames take up to `seconds` longer, each for itself, so that they overtake each other."""

    probability: float
    seconds: float
    start: float = 0.0
    end: float = math.inf
    nodes: Sequence[int] | None = None


@dataclass(frozen=True)
class Duplication(Failure):
    """Frames arrive twice."""

    probability: float
    start: float = 0.0
    end: float = math.inf
    nodes: Sequence[int] | None = None


class Fate(NamedTuple):
    """What becomes of a frame: the extra delay of each copy that arrives."""

    delays: tuple[float, ...]


_UNHARMED = Fate((0.0,))
_LOST = Fate(())


class FailurePlan:
    """All that goes wrong in a run.

    Parameters
    ----------
    failures : iterable of Failure
    n_nodes : int
    seed : int
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
        """Return what becomes of a frame that is sent now."""
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
