"""Problems of one fit on several threads: one-vs-all problems have nothing in common but the rows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

from dsgd._common.waiting import wait_for_all
from dsgd.problems.task import LocalTask

__all__ = ["Lanes", "lanes_of"]

T = TypeVar("T")


class Lanes(contextlib.ExitStack):
    """Runs a function on every problem; the problems of a lane one after the other, the lanes at the same time.

    A lane is a thread of Python, which lets go of the interpreter's lock while the core computes. The lane of a problem
    never changes (`LocalTask.lane`), so that its problems can share memory, such as that of their targets. Nothing
    depends on the number of lanes: every problem is trained as if it were the only one.

    The lanes end with the ``with`` block, which waits for calls that are under way.

    Parameters
    ----------
    lanes : sequence of sequences of int
        The numbers of the problems of each lane.
    """

    def __init__(self, lanes: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self._lanes = lanes
        self._n_problems = sum(map(len, lanes))
        self._pool = self.enter_context(ThreadPoolExecutor(len(lanes), "dsgd-lane")) if len(lanes) > 1 else None

    def each(self, run: Callable[[int], T]) -> list[T]:
        """Return what `run` returns for the number of every problem.

        Raises
        ------
        BaseException
            The first error of a lane, or Ctrl-C. No further calls begin.
        """
        if self._pool is None:
            return [run(number) for number in range(self._n_problems)]
        found: dict[int, T] = {}
        given_up = Event()

        def go(lane: Sequence[int]) -> None:
            for number in lane:
                if given_up.is_set():
                    return
                found[number] = run(number)

        running: list[Future[None]] = []
        try:
            for lane in self._lanes:
                running.append(self._pool.submit(go, lane))  # one by one: Ctrl-C may come between two
            wait_for_all(running)
        finally:
            given_up.set()
            wait(running)
        for each in running:
            each.result()
        return [found[number] for number in range(self._n_problems)]


def lanes_of(tasks: Sequence[LocalTask]) -> Lanes:
    """Return the lanes of the problems of a fit."""
    lanes: dict[int, list[int]] = {}
    for number, task in enumerate(tasks):
        lanes.setdefault(task.lane, []).append(number)
    return Lanes(list(lanes.values()))
