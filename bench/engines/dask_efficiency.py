"""Time of fits on Dask: two workers beside one, and beside dask-ml's Incremental(SGDClassifier).

    python bench/engines/dask_efficiency.py

Data of RCV1's shape lies in chunks on the workers before any time is taken. Times are medians of --rounds rounds, in
which all candidates have a turn, so that other work on the machine meets all alike.

"efficiency": the same passes over the same rows on two workers and on one. Their ratio is set against the machine's
own: twice the time of one process that trains on half of the rows, over that of two such processes at once. It should
be 0.8 at least. The processes are the workers of Dask, each of which runs `sgd` on one thread.

"incremental": seconds to reach the test accuracy of Incremental after --passes passes, at which Incremental is left to
its defaults. Ours makes as few passes as it needs for that accuracy. It should be three times as fast at least.

Needs dask-ml. Prints, and writes to --output under the key "efficiency".
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import dask.array as da
import distributed
import numpy as np
import scipy.sparse
from dask.delayed import Delayed
from dask_ml.wrappers import Incremental  # type: ignore[import-untyped, unused-ignore]
from rich.console import Console
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import accuracy_score

import dsgd
from common.machine import ROOT, keep
from common.rounds import Seconds, interleaved, positive

CHUNKS, TEST = 8, 20_000
LEAST, TIMES = 0.8, 3.0
OURS: dict[str, Any] = {"loss": "hinge", "random_state": 0, "evaluate_every": 0}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "ssp": {},
    "simuparallel": {},
    "fedavg": {},
}


class Workers:
    """A cluster of Dask that holds all rows, its workers in turn a chunk."""

    def __init__(self, n_workers: int, X: Any, y: Any) -> None:
        options: dict[str, Any] = {"n_workers": n_workers, "threads_per_worker": 1, "dashboard_address": ":0"}
        self.cluster = distributed.LocalCluster(processes=True, memory_limit=0, **options)
        self.client = distributed.Client(self.cluster, set_as_default=False)
        self.addresses = sorted(self.client.scheduler_info(n_workers=-1)["workers"])
        self.X, self.y = self._scattered(X), self._scattered(y)

    def _scattered(self, values: Any) -> list[Any]:
        bounds = np.linspace(0, values.shape[0], CHUNKS + 1).astype(int)
        at = itertools.cycle(self.addresses)
        return [
            self.client.scatter(values[begin:end], workers=[next(at)], hash=False)
            for begin, end in itertools.pairwise(bounds)
        ]

    def fit(self, name: str, passes: int) -> dsgd.FitResult:
        """Train on all rows by one of `ALGORITHMS`."""
        options = {"algo": name, **OURS, **ALGORITHMS[name]}
        return dsgd.fit(self.X, self.y, cluster=self.client, max_epochs=passes, **options)

    def alone(self, n: int, passes: int) -> None:
        """Let `n` workers train on half of the rows each, and know nothing of each other."""
        jobs = [
            self.client.submit(_train, self.X[: CHUNKS // 2], self.y[: CHUNKS // 2], passes, workers=[at], pure=False)
            for at in self.addresses[:n]
        ]
        self.client.gather(jobs)

    def incremental(self, passes: int, n_features: int) -> Any:
        """Return the classifier that dask-ml trains, block by block."""
        sizes = self.client.gather([self.client.submit(np.shape, y) for y in self.y])
        meta = scipy.sparse.csr_matrix((0, n_features), dtype=np.float32)
        arrays = [
            da.from_delayed(x, (n, n_features), meta=meta) for x, (n,) in zip(self._delayed(self.X), sizes, strict=True)
        ]
        labels = [da.from_delayed(y, (n,), dtype=float) for y, (n,) in zip(self._delayed(self.y), sizes, strict=True)]
        X, y = da.concatenate(arrays), da.concatenate(labels)
        with self.client.as_current():
            model = Incremental(SGDClassifier(random_state=0), random_state=0)
            for _ in range(passes):
                model.partial_fit(X, y, classes=[-1.0, 1.0])
        return model.estimator_

    def _delayed(self, futures: Sequence[Any]) -> list[Any]:
        return [Delayed(future.key, {future.key: future}) for future in futures]

    def close(self) -> None:
        """End the processes."""
        self.client.close()
        self.cluster.close()


def _train(X: Sequence[Any], y: Sequence[Any], passes: int) -> None:
    rows, labels = scipy.sparse.vstack(X, format="csr"), np.concatenate(y)
    dsgd.fit(
        rows, labels, algo="sgd", loss="hinge", max_epochs=passes, random_state=0, n_threads=1, evaluate_every=passes
    )


def medians(seconds: Seconds) -> dict[str, float]:
    """Return the median of the seconds of every candidate."""
    return {name: float(np.median(times)) for name, times in seconds.items()}


def efficiency(one: Workers, two: Workers, names: Sequence[str], passes: int, rounds: int) -> dict[str, Any]:
    """Return the share of the machine's own limit that two workers reach, by algorithm."""
    runs: dict[str, Callable[[], object]] = {
        "one process": functools.partial(two.alone, 1, passes),
        "two processes": functools.partial(two.alone, 2, passes),
    }
    for name in names:
        runs[f"{name}, one worker"] = functools.partial(one.fit, name, passes)
        runs[f"{name}, two workers"] = functools.partial(two.fit, name, passes)
    seconds = interleaved(runs, rounds)
    median = medians(seconds)
    limit = 2 * median["one process"] / median["two processes"]
    told: dict[str, Any] = {}
    for name in names:
        ratio = median[f"{name}, one worker"] / median[f"{name}, two workers"]
        told[name] = {"ratio": ratio, "share": ratio / limit, "holds": ratio >= LEAST * limit}
    return {"passes": passes, "seconds": seconds, "median": median, "limit": limit, "algorithms": told}


def incremental(two: Workers, X_test: Any, y_test: Any, passes: int, rounds: int) -> dict[str, Any]:
    """Return the times of Incremental, and of ours to the same accuracy."""
    theirs = accuracy_score(y_test, two.incremental(passes, X_test.shape[1]).predict(X_test))
    runs: dict[str, Callable[[], object]] = {
        "Incremental": functools.partial(two.incremental, passes, X_test.shape[1]),
    }
    told: dict[str, Any] = {}
    for name in ALGORITHMS:
        for needed in (1, 2, 3, 5, 10):
            accuracy = float(two.fit(name, needed).score(X_test, y_test))
            if accuracy >= theirs:
                break
        told[name] = {"passes": needed, "accuracy": accuracy}
        runs[name] = functools.partial(two.fit, name, needed)
    seconds = interleaved(runs, rounds)
    median = medians(seconds)
    for name, each in told.items():
        each["times"] = median["Incremental"] / median[name]
        each["holds"] = bool(each["times"] >= TIMES and each["accuracy"] >= theirs)
    return {"passes": passes, "accuracy": float(theirs), "seconds": seconds, "median": median, "ours": told}


def main(arguments: Sequence[str]) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=positive, default=200_000)
    parser.add_argument("--passes", type=positive, default=10, help="of the fits on one and two workers")
    parser.add_argument("--incremental-passes", type=positive, nargs="*", default=[1, 5])
    parser.add_argument("--algorithms", nargs="+", choices=list(ALGORITHMS), default=list(ALGORITHMS))
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/dask.json")
    asked, console = parser.parse_args(arguments), Console(width=120)
    X, y = dsgd.data.make_text_classification(asked.rows + TEST, random_state=0)
    X = scipy.sparse.csr_matrix(X)
    X_test, y_test, X, y = X[:TEST], y[:TEST], X[TEST:], y[TEST:]
    one, two = (Workers(n, X, y) for n in (1, 2))
    try:
        content = {"rows": asked.rows, "load": os.getloadavg()}
        content["incremental"] = [
            incremental(two, X_test, y_test, passes, asked.rounds) for passes in asked.incremental_passes
        ]
        for each in content["incremental"]:
            console.print(each)
        content["efficiency"] = efficiency(one, two, asked.algorithms, asked.passes, asked.rounds)
        console.print(content["efficiency"])
    finally:
        one.close()
        two.close()
    keep(asked.output, "efficiency", __file__, arguments, content)


if __name__ == "__main__":
    main(sys.argv[1:])
