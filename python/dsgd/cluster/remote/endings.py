"""Ends threads before their process ends: Python cuts a thread off that is in the core then, and the process aborts."""

from __future__ import annotations

import atexit
import contextlib
import threading
from collections.abc import Callable, Iterator

__all__ = ["ends_with_the_process"]

_LIVE: dict[int, tuple[Callable[[], None], threading.Thread | None]] = {}
_SECONDS = 5.0  # that a thread may take to end


@contextlib.contextmanager
def ends_with_the_process(stop: Callable[[], None]) -> Iterator[None]:
    """Have `stop` called, and this thread waited for, if the process ends within the ``with`` block."""
    thread = threading.current_thread()
    key = id(stop)
    _LIVE[key] = stop, None if thread is threading.main_thread() else thread
    try:
        yield
    finally:
        _LIVE.pop(key, None)


@atexit.register
def _end_all() -> None:
    live = list(_LIVE.values())
    for stop, _ in live:
        stop()
    for _, thread in live:
        if thread is not None:
            thread.join(_SECONDS)
