"""Waits that Ctrl-C and errors end."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from dsgd._common import waiting


def test_it_waits_for_all_and_no_longer_than_for_the_first_error() -> None:
    go_on = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(time.sleep, pause) for pause in (0.0, 0.25)]
        waiting.wait_for_all(both)
        assert all(each.done() for each in both)
        failed, other = pool.submit(int, "no number"), pool.submit(go_on.wait, 60)
        waiting.wait_for_all([failed, other])
        assert not other.done()
        go_on.set()


def test_no_wait_is_longer_than_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes just before the system's wait begins does not end it: the next tick hears it."""
    waited: list[float | None] = []

    def noted(calls: Sequence[Future[Any]], timeout: float | None, return_when: str) -> Any:
        waited.append(timeout)
        return concurrent.futures.wait(calls, timeout, return_when)

    monkeypatch.setattr(waiting, "wait", noted)
    with ThreadPoolExecutor(1) as pool:
        waiting.wait_for_all([pool.submit(time.sleep, 0.35)])
    assert len(waited) >= 3
    assert set(waited) == {waiting._TICK}
