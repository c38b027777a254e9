"""The time of each solver to a target.

First the smallest setting with which each solver reaches the target is found, then all solvers are
timed in turn.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from common.optimum import Optimum
from common.problems import Problem
from common.rounds import Seconds, interleaved
from peers.solvers import PEERS, Candidate, Fit

__all__ = ["fastest", "measure", "silent"]

LAGGARD = 6  # a ladder ends when a fit takes so many times the best time to the tightest target
SEEDS = 3  # of which a point has the median
IN_ROUNDS = 4  # a solver that took so many times the best time keeps its time and is left out of the rounds
PATIENCE = 0.3  # seconds; a shorter fit never ends a ladder
NEAR = 2.0  # other seeds are tried if the first one comes within so many times the target


class Climb:
    """One solver on its ladder of settings, which it climbs until all targets are reached.

    `points` has (setting, seconds, suboptimality, accuracy) for each setting that was tried.
    """

    def __init__(self, problem: Problem, optimum: Optimum, candidate: Candidate) -> None:
        self.problem, self.optimum, self.candidate = problem, optimum, candidate
        candidate.prepare(problem)  # a first call, which imports and compiles
        start = time.perf_counter()
        self.fit: Fit = candidate.prepare(problem)
        self.prepare_seconds = time.perf_counter() - start
        self.points: list[tuple[float, float, float, float]] = []
        self.reached: dict[float, int] = {}  # from a target to the index of its point

    def run(self, targets: Sequence[float], best: float) -> None:
        """Try settings until every target is reached, or a fit takes much longer than the best."""
        self.fit(self.candidate.ladder[0], 0)  # a first fit, which loads libraries and starts threads
        for setting in self.candidate.ladder:
            self.points.append(self._point(setting, targets))
            for target in targets:
                if self.points[-1][2] <= target and self.candidate.may_reach(target, setting):
                    self.reached.setdefault(target, len(self.points) - 1)
            if len(self.reached) == len(targets) or self.points[-1][1] > max(LAGGARD * best, PATIENCE):
                return

    def _point(self, setting: float, targets: Sequence[float]) -> tuple[float, float, float, float]:
        """Return the point of a setting: the medians over seeds, but the least time.

        If the first seed is far from every target, the point has its figures.
        """
        figures = [self._measured(setting, 0)]
        wanted = [target for target in targets if target not in self.reached]
        if any(figures[0][1] <= NEAR * target for target in wanted):
            figures += [self._measured(setting, seed) for seed in range(1, SEEDS)]
        seconds, *others = zip(*figures, strict=True)
        suboptimality, accuracy = (float(np.median(column)) for column in others)
        return setting, min(seconds), suboptimality, accuracy

    def _measured(self, setting: float, seed: int) -> tuple[float, float, float]:
        start = time.perf_counter()
        weights = self.fit(setting, seed)
        seconds = time.perf_counter() - start
        w = np.asarray(weights(), np.float64)
        return seconds, self.optimum.suboptimality(self.problem.objective(w)), self.problem.accuracy(w)


def measure(
    problem: Problem,
    optimum: Optimum,
    candidates: Mapping[str, Candidate],
    targets: Sequence[float],
    rounds: int,
    former: Mapping[str, Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return, by solver, its ladder and its times to the targets.

    `former` has the peers of an earlier result of this function. The fastest of them to a target
    takes part with its setting of then, without a ladder.
    """
    climbs = {name: Climb(problem, optimum, c) for name, c in candidates.items() if problem.loss in c.losses}
    tightest, best = min(targets), np.inf
    again = {f"{target:g}": name for target in targets if (name := fastest(former or {}, f"{target:g}"))}
    if former and (name := again.get(f"{tightest:g}")):
        best = former[name]["targets"][f"{tightest:g}"]["median"]
    for climb in climbs.values():
        climb.run(targets, best)
        if tightest in climb.reached:
            best = min(best, climb.points[climb.reached[tightest]][1])
    runs: dict[str, Callable[[], object]] = {}
    for target, name in again.items():
        setting = former[name]["targets"][target]["setting"] if former else 0.0
        runs[f"{name} to {target}"] = partial(PEERS[name].prepare(problem), setting, 0)
    seconds, timed = _in_rounds(climbs, targets, rounds, runs)
    found = {name: _described(climb, seconds[name]) for name, climb in climbs.items()}
    for target, name in again.items():
        assert former is not None
        times = timed[f"{name} to {target}"]
        known = {**former[name]["targets"][target], "median": float(np.median(times)), "seconds": times}
        peer = found.setdefault(name, {**former[name], "targets": {}})
        peer["targets"][target] = known
    return found


def fastest(solvers: Mapping[str, Any], target: str) -> str | None:
    """Return the name of the solver with the least time to a target, None where no one reaches it."""
    times = {name: found["median"] for name, s in solvers.items() if (found := s["targets"].get(target))}
    return min(times, key=times.__getitem__, default=None)


def _in_rounds(
    climbs: Mapping[str, Climb], targets: Sequence[float], rounds: int, others: Mapping[str, Callable[[], object]]
) -> tuple[dict[str, dict[float, list[float]]], Seconds]:
    """Return the seconds to the targets, and the seconds of the other runs.

    A slow solver has a single time, that of its ladder. A solver that is not slow to a tighter
    target does not count as slow to a looser one, whatever disturbed its single time there.
    """
    once: dict[str, dict[float, list[float]]] = {name: {} for name in climbs}
    again: dict[str, dict[float, str]] = {name: {} for name in climbs}
    runs = dict(others)
    for target in sorted(targets):
        known = {name: climb.points[climb.reached[target]] for name, climb in climbs.items() if target in climb.reached}
        best = min((point[1] for point in known.values()), default=0.0)
        for name, (setting, taken, *_) in known.items():
            if again[name] or taken <= max(IN_ROUNDS * best, PATIENCE / 10):
                again[name][target] = f"{name} {setting}"
                runs[again[name][target]] = partial(climbs[name].fit, setting, 0)
            else:
                once[name][target] = [taken]
    timed = interleaved(runs, rounds, pause=0.2)
    seconds = {name: once[name] | {target: timed[run] for target, run in again[name].items()} for name in climbs}
    return seconds, timed


def _described(climb: Climb, seconds: Mapping[float, list[float]]) -> dict[str, Any]:
    reached = {target: climb.points[index] for target, index in climb.reached.items()}
    return {
        "stopping": climb.candidate.stopping,
        "exhausted": climb.points[-1][0] == climb.candidate.ladder[-1],
        "prepare_seconds": climb.prepare_seconds,
        "ladder": [
            dict(zip(("setting", "seconds", "suboptimality", "accuracy"), p, strict=True)) for p in climb.points
        ],
        "targets": {
            f"{target:g}": {
                "setting": reached[target][0],
                "accuracy": reached[target][3],
                "median": float(np.median(times)),
                "seconds": times,
            }
            for target, times in seconds.items()
        },
    }


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Hide the output that libraries write past Python's streams."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream, _ in kept:
            os.dup2(nowhere, stream)
        yield
    finally:
        for stream, before in kept:
            os.dup2(before, stream)
            os.close(before)
        os.close(nowhere)
