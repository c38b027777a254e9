"""The data, the clusters and the runs of the EPFL report's tables.

The loss is the hinge loss with L2. A run ends by the stop rule of the report, or after a number of passes.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

import dsgd
from common.real_sets import FOLDER, SETS
from dsgd.algorithms import DistributedAlgorithm, P2p, Sync
from dsgd.cluster import KernelCost
from dsgd.data import fetch, make_like
from dsgd.errors import DivergedError

__all__ = [
    "ALGORITHMS",
    "ALPHA",
    "ALPHAS",
    "LINKS",
    "NODES",
    "Case",
    "cases",
    "cell",
    "cluster",
    "curves",
    "on_processes",
]

NODES = (4, 10, 15)
ALPHAS = (0.001, 0.005, 0.01)
ALPHA = 0.001  # the best of the report, with which it varies the number of workers
STOP = 1.6e-4  # 100 of the sum over 625,012 rows
CHECK = 10  # rounds, or messages, between two evaluations
ALGORITHMS: dict[str, DistributedAlgorithm] = {
    "sync, 1 row": Sync(batch_size=1, stop_change=STOP, check_every=CHECK),
    "sync": Sync(stop_change=STOP, check_every=CHECK),
    "p2p, never waits": P2p(max_ahead=math.inf, stop_change=STOP, check_every=CHECK),
    "p2p": P2p(stop_change=STOP, check_every=CHECK),
}
# Bandwidth of every link, bytes a second; latency, seconds; how many times as long as ours the kernels take.
# A message of 47,236 doubles takes 45 ms on a link of the second kind: so long take those of the report, where one
# iteration has N - 1 of them (p2p) or 2 N (sync). Its kernels are loops of Python over dictionaries.
LINKS = {"1 Gb/s": (1.25e8, 1e-4, 1.0), "the report's pace": (8.4e6, 1e-3, 100.0)}
_TRAINING = 0.8  # share of the rows, as in the report
_CURVE_ROWS = 20_000  # at most so many rows held out are evaluated for a curve


class Case(NamedTuple):
    """A problem: rows, rows held out, the most passes of a run and of a curve, and the seeds for the best lambda.

    A run of `sync` has the first number of passes: it makes more rounds in one pass than `p2p` sends messages in ten.
    """

    name: str
    X: Any
    y: NDArray[np.float64]
    X_test: Any
    y_test: NDArray[np.float64]
    passes: tuple[int, int]
    curve_passes: int
    seeds: int


def cases(quick: bool) -> list[Case]:
    """Return RCV1, generated in its shape unless its files are there, and Reuters if it is there."""
    if (FOLDER / "rcv1").is_dir():
        name, data = "RCV1", fetch("rcv1", cache_dir=FOLDER).train
    else:
        name, data = "RCV1-like, generated", make_like("rcv1", n_samples=60_000 if quick else None, random_state=0)
    order = np.random.default_rng(0).permutation(len(data.y))
    train, test = np.split(order, [round(_TRAINING * len(order))])
    X = scipy.sparse.csr_array(data.X)
    found = [Case(name, X[train], data.y[train], X[test], data.y[test], (1, 3), 8, 1)]
    try:
        parts = SETS["reuters"]().binary()
        found.append(Case("Reuters", *parts[:4], passes=(10, 10), curve_passes=20, seeds=1 if quick else 3))
    except FileNotFoundError:
        pass
    return found


def cluster(nodes: int, links: str) -> dsgd.Simulation:
    """Return a simulated cluster."""
    bandwidth, latency, slower = LINKS[links]
    ours = KernelCost()
    cost = KernelCost(**{name: slower * value for name, value in vars(ours).items()})
    return dsgd.Simulation(workers=nodes, bandwidth=bandwidth, latency=latency, kernel_cost=cost, trace=False)


def most_passes(case: Case, algorithm: Any) -> int:
    """Return the most passes of a run."""
    return case.passes[isinstance(algorithm, P2p)]


def fit(case: Case, algorithm: Any, alpha: float, seed: int = 0, **more: Any) -> dsgd.FitResult:
    """Train on the rows of a case, with the default step size of the algorithm."""
    given = {"max_epochs": most_passes(case, algorithm), **more}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of rows held out whose features no training row has
        return dsgd.fit(
            case.X, case.y, algo=algorithm, loss="hinge", alpha=alpha, random_state=seed, n_threads=1, **given
        )


def cell(case: Case, name: str, nodes: int, alpha: float, links: str, seeds: int) -> dict[str, Any]:
    """Return a cell of a table: means over seeds. Where a run of any seed diverged there is nothing but that."""
    runs = []
    for seed in range(seeds):
        try:
            result = fit(case, ALGORITHMS[name], alpha, seed, cluster=cluster(nodes, links))
        except DivergedError as error:
            return {"diverged": str(error)}
        runs.append(_measured(case, alpha, result, most_passes(case, ALGORITHMS[name])))
    return {
        **{key: float(np.mean([run[key] for run in runs])) for key in runs[0]},
        "accuracies": [run["accuracy"] for run in runs],
    }


def _measured(case: Case, alpha: float, result: dsgd.FitResult, passes: int) -> dict[str, float]:
    """Return what is kept of a run on a simulated cluster."""
    last = result.history[-1]
    assert last.clocks is not None
    assert last.waiting is not None
    assert last.virtual_seconds is not None
    assert last.objective is not None
    penalty = alpha / 2 * float(np.sum(np.square(result.coef_, dtype=np.float64)))
    workers = sum(each is not None for each in (last.counts or {})["objective"])
    return {
        "accuracy": result.score(case.X_test, case.y_test),
        "training_accuracy": result.score(case.X, case.y),
        "seconds": last.virtual_seconds,
        "passes": last.effective_passes,
        "iterations": _iterations(last, workers),
        "stopped": float(last.effective_passes < passes - 1e-3),
        "objective": last.objective,
        # Eq. (1) of the report has the sum of the losses, and the penalty once.
        "sum_objective": len(case.y) * (last.objective - penalty) + penalty,
        "waiting": float(np.mean(last.waiting[-workers:])) / last.virtual_seconds,
    }


def _iterations(record: dsgd.Record, workers: int) -> float:
    """Return the rounds of `sync`, or the messages of a worker of `p2p` to each peer, in the mean."""
    counts = record.counts or {}
    if "sent" not in counts:
        return float(max(record.clocks or ()))
    return float(np.mean([each or 0 for each in counts["sent"]])) / (workers - 1)


def on_processes(case: Case, rounds: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield wall time and accuracy of one machine's SGD, and of all algorithms on four processes of this machine."""
    for name, algorithm in {"sgd": "sgd", **ALGORITHMS}.items():
        on: dict[str, Any] = {} if name == "sgd" else {"cluster": dsgd.LocalCluster(workers=4)}
        seconds = []
        for _ in range(rounds):
            begin = time.perf_counter()
            result = fit(case, algorithm, ALPHA, evaluate_every=0, **on)
            seconds.append(time.perf_counter() - begin)
        yield (
            name,
            {
                "seconds": seconds,
                "accuracy": result.score(case.X_test, case.y_test),
                "passes": result.history[-1].effective_passes,
            },
        )


def curves(case: Case, algorithm: DistributedAlgorithm) -> dict[str, Any]:
    """Return the objectives of every worker on its sample and on rows held out, after every pass, on four nodes."""
    held_out = case.X_test[:_CURVE_ROWS], case.y_test[:_CURVE_ROWS]
    options: dict[str, Any] = {"max_epochs": case.curve_passes, "eval_set": held_out, "cluster": cluster(4, "1 Gb/s")}
    history = fit(case, algorithm, ALPHA, **options).history
    found: dict[str, Any] = {"seconds": [record.virtual_seconds for record in history]}
    for name in ("objective", "held_out"):
        lines = zip(*((record.counts or {})[name] for record in history), strict=True)
        # A coordinator has no curve.
        found[name] = [line for line in lines if all(each is not None and math.isfinite(each) for each in line)]
    return found
