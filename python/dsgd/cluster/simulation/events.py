"""Virtual time: a queue of events, which happen in one fixed order."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

__all__ = ["EventQueue"]


class EventQueue:
    """Events in the order of their times; at equal times, in the order of scheduling.

    Attributes
    ----------
    now : float
        Virtual seconds since the run began.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._sequence = 0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []

    def at(self, time: float, action: Callable[..., None], *arguments: Any) -> None:
        """Schedule a call at `time`, or now if `time` has passed."""
        self._sequence += 1
        heapq.heappush(self._heap, (max(time, self.now), self._sequence, action, arguments))

    def run(self, until: Callable[[], bool], deadline: float) -> bool:
        """Let events happen until `until` returns True; return True.

        Return False if no event is left, or the next one is later than `deadline`.
        """
        heap, pop = self._heap, heapq.heappop
        while not until():
            if not heap or heap[0][0] > deadline:
                return False
            self.now, _, action, arguments = pop(heap)
            action(*arguments)
        return True
