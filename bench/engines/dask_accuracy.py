"""Every distributed algorithm on four workers of Dask, beside one machine at equal passes.

    python bench/engines/dask_accuracy.py [--quick]

Reuters (hinge), 20news (20 classes, softmax), MNIST (softmax) and k-means (MNIST, skin). The rows lie on the workers in
four chunks. A line has the objective (of k-means the inertia a row), its distance from that of one machine, and the
error on test rows. "holds" asks for an objective at most 1 % above, or at most 0.3 points more errors.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from distributed import Client, LocalCluster

import dsgd
from common.machine import ROOT, about, save
from common.real_sets import SETS, Parts
from dsgd import losses

WORKERS, EPOCHS = 4, 20
ALGORITHMS = ("ssp", "sync", "dissvrg", "wpsgd", "asgd", "downpour", "fedavg")
_OBJECTIVE, _POINTS = 0.01, 0.3


@dataclass(frozen=True)
class Case:
    """A model on a data set."""

    data: str
    loss: Any
    alone: str
    options: dict[str, Any]

    @property
    def kmeans(self) -> bool:
        """Whether there are no labels."""
        return isinstance(self.loss, losses.KMeans)


CASES = (
    Case("reuters", "hinge", "sgd", {"alpha": 1e-4}),
    Case("20news", "softmax", "minibatch", {"alpha": 1e-5}),
    Case("mnist", "softmax", "minibatch", {"alpha": 1e-4}),
    Case("mnist", losses.KMeans(10), "minibatch", {}),
    Case("skin", losses.KMeans(10), "minibatch", {}),
)


def chunks_of(client: Client, data: Parts) -> tuple[list[Any], list[Any]]:
    """Return the rows on the workers, a chunk on each."""
    workers = sorted(client.nthreads())
    parts = np.array_split(np.arange(data.X.shape[0]), len(workers))
    X = [client.scatter(data.X[part], workers=[at]) for part, at in zip(parts, workers, strict=True)]
    y = [client.scatter(np.asarray(data.y)[part], workers=[at]) for part, at in zip(parts, workers, strict=True)]
    return X, y


def lines(client: Client, case: Case) -> Iterator[dict[str, Any]]:
    """Yield what one machine reaches, and every algorithm that trains the model."""
    data = SETS[case.data]()
    options = {"loss": case.loss, "max_epochs": EPOCHS, "random_state": 0, "evaluate_every": EPOCHS, **case.options}
    alone = dsgd.fit(data.X, None if case.kmeans else data.y, algo=case.alone, **options)
    best = measured(case, data, alone, case.alone, 0.0)
    yield best
    X, y = chunks_of(client, data)
    for algo in ALGORITHMS:
        try:
            began = time.perf_counter()
            result = dsgd.fit(X, None if case.kmeans else y, algo=algo, cluster=client, **options)
        except dsgd.errors.DsgdError as error:
            yield {"data": case.data, "loss": str(case.loss), "algo": algo, "refused": str(error)}
            continue
        told = measured(case, data, result, algo, time.perf_counter() - began)
        told["above"] = told["objective"] / best["objective"] - 1
        points = 0.0 if case.kmeans else told["error"] - best["error"]
        told["holds"] = bool(told["above"] <= _OBJECTIVE or (not case.kmeans and points <= _POINTS))
        yield told


def measured(case: Case, data: Parts, result: dsgd.FitResult, algo: str, seconds: float) -> dict[str, Any]:
    """Return objective and error of a model."""
    error = None if case.kmeans else 100 * (1 - float(result.score(data.X_test, data.y_test)))
    objective = result.history[-1].objective
    about_fit = {"data": case.data, "loss": str(case.loss), "algo": algo, "seconds": round(seconds, 2)}
    return {**about_fit, "objective": objective, "error": error}


def main(arguments: Sequence[str]) -> None:
    """Print a table, and save it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Reuters only")
    parsed = parser.parse_args(arguments)
    told = []
    warnings.simplefilter("ignore", RuntimeWarning)
    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        for case in CASES[:1] if parsed.quick else CASES:
            for line in lines(client, case):
                told.append(line)
                print(
                    *(f"{name}={value:.5g}" if isinstance(value, float) else value for name, value in line.items()),
                    flush=True,
                )
    if not parsed.quick:
        save(ROOT / "docs/results/dask_accuracy.json", {**about(__file__, arguments), "lines": told})


if __name__ == "__main__":
    main(sys.argv[1:])
