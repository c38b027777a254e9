"""Virtual time: what happens next, in one fixed order."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

__all__ = ["EventQueue"]


class EventQueue:
    """Events by (time, sequence): of two at one time the one that was scheduled first happens first.

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
        """Schedule a call; a time that has passed stands for now."""
        self._sequence += 1
        heapq.heappush(self._heap, (max(time, self.now), self._sequence, action, arguments))

    def run(self, until: Callable[[], bool], deadline: float) -> bool:
        """Let things happen until the condition holds; return False if nothing happens before `deadline`."""
        heap, pop = self._heap, heapq.heappop
        while not until():
            if not heap or heap[0][0] > deadline:
                return False
            self.now, _, action, arguments = pop(heap)
            action(*arguments)
        return True
