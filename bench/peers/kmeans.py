"""k-means beside scikit-learn's MiniBatchKMeans on skin and MNIST, and its Hogwild! threads beside one.

    python bench/peers/kmeans.py

float32, ten clusters, the same starts, the same number of passes, batches of 1,024 rows, no early
end. Both libraries have one thread, and fits take turns. Processor seconds are compared, which
other work on the machine hardly changes. Then come ten passes of hogwild on one thread and on two,
by processor seconds per thread. Exits with 1 if the inertia is more than 2 % above
MiniBatchKMeans', or a fit takes more than half of its seconds; or if two threads end more than 1 %
above one, or each cost as much as one. Writes --output.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans, kmeans_plusplus
from threadpoolctl import threadpool_limits

import dsgd
from common.machine import ROOT, command, machine, save
from common.real_sets import SETS
from common.rounds import positive
from dsgd._common.files import check_replaceable

NAMES = ("skin", "mnist")
CLUSTERS, START_ROWS = 10, 3072


def processor_seconds(run: Callable[[], object]) -> float:
    """Return the processor seconds of one call."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def beside_sklearn(X: NDArray[Any], passes: int, rounds: int) -> dict[str, float]:
    """Return medians over starts.

    They are dsgd's inertia by scikit-learn's, scikit-learn's seconds by dsgd's, and both seconds.
    """
    found: dict[str, list[float]] = {"inertia": [], "speed": [], "seconds": [], "seconds of scikit-learn": []}
    for seed in range(rounds):
        rows = np.random.default_rng(seed).permutation(len(X))[:START_ROWS]
        start = kmeans_plusplus(X[rows], CLUSTERS, random_state=seed)[0]
        shared: dict[str, Any] = {"init": start, "n_init": 1, "max_iter": passes, "max_no_improvement": None}
        shared |= {"random_state": seed, "compute_labels": False}
        ours, theirs = dsgd.KMeans(CLUSTERS, n_jobs=1, **shared), MiniBatchKMeans(CLUSTERS, **shared)
        with threadpool_limits(1):
            seconds = [processor_seconds(lambda model=model: model.fit(X)) for model in (ours, theirs)]  # type: ignore[misc]
            found["inertia"].append(float(ours.score(X) / theirs.score(X)))
        found["speed"].append(seconds[1] / seconds[0])
        found["seconds"].append(seconds[0])
        found["seconds of scikit-learn"].append(seconds[1])
    return {name: statistics.median(values) for name, values in found.items()}


def on_threads(X: NDArray[Any], passes: int, rounds: int) -> dict[str, float]:
    """Return the ratios of hogwild on two threads to one: of the objective, and of processor seconds a thread."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    ends: dict[int, float] = {}
    for k in range(rounds + 1):
        for n in (1, 2):
            settings: dict[str, Any] = {"loss": dsgd.losses.KMeans(CLUSTERS), "random_state": 0, "n_threads": n}
            settings |= {"algo": "hogwild", "max_epochs": passes}
            if k == 0:
                ends[n] = dsgd.fit(X, evaluate_every=passes, **settings).history[-1].objective or np.nan
            else:
                taken = processor_seconds(lambda s=settings: dsgd.fit(X, evaluate_every=0, **s))  # type: ignore[misc]
                seconds[n].append(taken / n)
    each = {n: statistics.median(values) for n, values in seconds.items()}
    return {"objective": ends[2] / ends[1], "seconds of a thread": each[2] / each[1]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--passes", type=positive, default=5)
    parser.add_argument("--rows", type=positive, help="of each set; default: all")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/kmeans.json")
    options = parser.parse_args(arguments)
    check_replaceable(options.output)
    sets: dict[str, Any] = {}
    fine = True
    for name in NAMES:
        X = np.ascontiguousarray(SETS[name]().X[: options.rows], dtype=np.float32)
        beside = beside_sklearn(X, options.passes, options.rounds)
        threads = on_threads(X, 2 * options.passes, options.rounds)
        sets[name] = {"MiniBatchKMeans": beside, "two threads to one": threads}
        fine = fine and beside["inertia"] <= 1.02 and beside["speed"] >= 2
        fine = fine and threads["objective"] <= 1.01 and threads["seconds of a thread"] < 1
        sys.stdout.write(f"{name}: {sets[name]}\n")
    command_line = command(__file__, sys.argv[1:] if arguments is None else arguments)
    save(options.output, {"command": command_line, "machine": machine(), "sets": sets})
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
