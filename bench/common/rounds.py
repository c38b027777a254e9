"""Timing of several functions in turn, so that other load on the machine meets all alike."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping

from dsgd._common.threads import default_threads

__all__ = ["Seconds", "interleaved", "positive", "thread_counts"]

Seconds = dict[str, list[float]]


def interleaved(candidates: Mapping[str, Callable[[], object]], rounds: int, pause: float = 0.0) -> Seconds:
    """Return the seconds of every candidate in every round; a first round is not counted.

    Threads of some libraries go on spinning for 0.2 s when their work is done. A `pause` of as many
    seconds before every run keeps them from slowing the next one.
    """
    seconds: Seconds = {name: [] for name in candidates}
    for _ in range(rounds + 1):
        for name, run in candidates.items():
            time.sleep(pause)
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: times[1:] for name, times in seconds.items()}


def positive(text: str) -> int:
    """Return a number of the command line that must be whole and positive."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def thread_counts(least: int = 1) -> list[int]:
    """Return 1, 2, 4, ... up to the processors of this process, or `least` if these are fewer."""
    most = max(default_threads(), least)
    return [2**k for k in range(most.bit_length())]
