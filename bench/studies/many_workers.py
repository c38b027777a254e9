"""Time the simulation of many workers: 1,024 for 100 rounds, 100 features, 100 rows each.

    python bench/studies/many_workers.py [--workers 1024] [--rounds 100] [--profile]

Prints seconds, events and microseconds an event; the exit status is 1 if the whole takes 60 s or more.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import time

import numpy as np

import dsgd
from dsgd.algorithms import Ssp
from dsgd.cluster import Simulation

LIMIT = 60.0


def run(workers: int, rounds: int, staleness: float) -> None:
    random = np.random.default_rng(0)
    X = random.standard_normal((workers * 100, 100))
    y = np.where(X @ random.standard_normal(100) > 0, 1.0, -1.0)
    start = time.perf_counter()
    result = dsgd.fit(
        X,
        y,
        algo=Ssp(batch_size=100, staleness=staleness),
        loss="logistic",
        step_size=0.1,
        max_epochs=rounds,
        evaluate_every=0,
        cluster=Simulation(workers=workers),
        random_state=0,
    )
    took = time.perf_counter() - start
    assert result.trace is not None
    rows = len(result.trace)
    print(
        f"{workers} workers, {rounds} rounds: {took:.1f} s, {rows} rows of trace, {took / rows * 1e6:.1f} us a row, "
        f"{result.history[-1].virtual_seconds:.3f} virtual s"
    )
    if took >= LIMIT:
        sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--staleness", type=float, default=3)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    profile = cProfile.Profile()
    if given.profile:
        profile.enable()
    run(given.workers, given.rounds, given.staleness)
    if given.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
