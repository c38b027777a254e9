"""Waits of the main thread that Ctrl-C can end."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Any

__all__ = ["wait_for_all"]

# Seconds after which a wait looks for Ctrl-C. A signal that comes just before the system's wait begins does not end it.
_TICK = 0.1


def wait_for_all(running: Sequence[Future[Any]]) -> None:
    """Return when all calls have ended, or one has failed; Ctrl-C is raised within a tenth of a second."""
    while True:
        done, others = wait(running, _TICK, FIRST_EXCEPTION)
        if not others or any(not each.cancelled() and each.exception() is not None for each in done):
            return
