"""The time of kernels on a simulated node, and the speed of a node over virtual time."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from dsgd._common.checks import check_real, shown
from dsgd.cluster.program.work import Work
from dsgd.errors import ConfigError

__all__ = ["KernelCost", "SpeedProfile"]


@dataclass(frozen=True, kw_only=True)
class KernelCost:
    """The time of a kernel on a node of speed 1: rates that multiply the work of the kernel.

    The defaults are the rates of one core of the machine of docs/design/index.md.
    ``bench/studies/kernel_cost.py`` measures them; docs/design/simulation.md has the figures.

    Parameters
    ----------
    entry : float
        Seconds for an entry of a sparse row in a full gradient.
    far_line : float
        Seconds for a cache line of a row that comes from memory, in random order.
    element : float
        Seconds for an element of a vector. An element of a dense row takes twice as long.
    call : float
        Seconds for every call of a kernel.
    """

    entry: float = 1.23e-9
    far_line: float = 2.05e-8
    element: float = 3.8e-10
    call: float = 2e-7

    def __post_init__(self) -> None:
        for name in ("entry", "far_line", "element", "call"):
            check_real(f"KernelCost.{name}", getattr(self, name), 0)

    def seconds(self, work: Work) -> float:
        """Return the seconds that the work takes at speed 1."""
        return (
            work.entries * self.entry
            + work.far_lines * self.far_line
            + work.elements * self.element
            + work.calls * self.call
        )


class SpeedProfile:
    """The speed of a node over virtual time, constant from each given time to the next.

    Parameters
    ----------
    speed : float or sequence of pairs (time, speed)
        At speed 1 a kernel takes the time of `KernelCost`. Times are in seconds and rise from 0.
    stops : sequence of pairs (begin, end)
        Times, in seconds, in which the node stands still whatever its speed.
    """

    def __init__(self, speed: float | Sequence[tuple[float, float]], stops: Sequence[tuple[float, float]] = ()) -> None:
        steps = [(0.0, speed)] if isinstance(speed, int | float) else [(float(t), float(v)) for t, v in speed]
        times = [time for time, _ in steps]
        if not steps or times[0] != 0 or any(a >= b for a, b in itertools.pairwise(times)):
            raise ConfigError(f"a speed that varies is pairs (time, speed), times rising from 0, not {shown(speed)}")
        for _, value in steps:
            check_real("speed", value, 0, low_open=True)
        self._stops = sorted(stops)
        edges = sorted({*times, *(edge for stop in stops for edge in stop)})
        self._times = edges
        self._speeds = [
            0.0 if self.stopped_until(edge) > edge else steps[bisect.bisect_right(times, edge) - 1][1] for edge in edges
        ]

    def stopped_until(self, time: float) -> float:
        """Return the time at which the node goes on, if it stands still at `time`; else `time`."""
        for begin, end in self._stops:
            if begin <= time < end:
                time = end
        return time

    def finish(self, begin: float, seconds: float) -> float:
        """Return the time at which work that starts at `begin` ends; infinity if it never ends.

        At speed 1 the work takes `seconds`.
        """
        times, speeds = self._times, self._speeds
        if len(times) == 1:
            return begin + seconds / speeds[0]
        index = bisect.bisect_right(times, begin) - 1
        while True:
            end = times[index + 1] if index + 1 < len(times) else math.inf
            speed = speeds[index]
            if speed > 0 and begin + seconds / speed <= end:
                return begin + seconds / speed
            if end == math.inf:
                return math.inf
            seconds -= (end - begin) * speed
            begin, index = end, index + 1
