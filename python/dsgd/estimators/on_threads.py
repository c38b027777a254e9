"""Training the problems of one fit, one after the other or several at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

from dsgd._common.waiting import wait_for_all
from dsgd.callbacks import Callback
from dsgd.models.trained import Model
from dsgd.results.history import Record

__all__ = ["on_threads"]


def on_threads(train_problem: Callable[[int, Sequence[Callback]], int], n_problems: int, at_once: int) -> list[int]:
    """Train all problems, and return the results of `train_problem`.

    Parameters
    ----------
    train_problem : callable
        Function of the number of a problem and of callbacks, which it must call after every epoch.
    n_problems : int
    at_once : int
        Problems that are trained at the same time, each on a thread of Python. The core releases
        the interpreter's lock while it trains.

    Returns
    -------
    list of int

    Raises
    ------
    BaseException
        The first error, or Ctrl-C. Problems that are being trained then end after their epoch, and
        no others begin.
    """
    if at_once == 1:
        return [train_problem(number, ()) for number in range(n_problems)]
    given_up = Event()

    def end(record: Record, model: Model) -> bool:  # noqa: ARG001
        return given_up.is_set()

    with ThreadPoolExecutor(min(at_once, n_problems)) as pool:
        running: list[Future[int]] = []
        try:
            for number in range(n_problems):
                running.append(pool.submit(train_problem, number, [end]))  # one by one: Ctrl-C may come between two
            wait_for_all(running)
            return [each.result() for each in running if each.done()]
        finally:
            given_up.set()
            pool.shutdown(wait=False, cancel_futures=True)
