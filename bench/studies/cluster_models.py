"""Every model on clusters, beside mini-batches on one machine at equal passes.

    python bench/studies/cluster_models.py [softmax kmeans mlp classes] [--processes]

Softmax (MNIST, 20news), k-means (skin, MNIST), a network (MNIST) and one-vs-all (20news, hinge)
are trained by `ssp` and `sync` with their defaults, by 4 and 16 workers in simulation, and with
``--processes`` by 4 processes. A line has the objective (of k-means the inertia a row), and the error
on test rows in per cent; of a cluster each has its distance from that of one machine behind it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import dsgd
from common.real_sets import SETS
from dsgd import losses

EPOCHS = 10


@dataclass(frozen=True)
class Case:
    """A model on a data set."""

    kind: str
    data: str
    loss: Any
    options: dict[str, Any]


CASES = (
    Case("softmax", "mnist", "softmax", {"alpha": 1e-4}),
    Case("softmax", "20news", "softmax", {"alpha": 1e-5}),
    Case("kmeans", "skin", losses.KMeans(10), {}),
    Case("kmeans", "mnist", losses.KMeans(10), {}),
    Case("mlp", "mnist", losses.MLP((100,)), {"alpha": 1e-4}),
    Case("classes", "20news", "hinge", {"alpha": 1e-5}),
)


def fits(case: Case, processes: bool) -> Iterator[tuple[str, float, float]]:
    """Yield a name, the objective and the error in per cent of every road, one machine first."""
    data = SETS[case.data]()
    labels = None if case.kind == "kmeans" else data.y
    roads: list[tuple[str, dict[str, Any]]] = [("minibatch", {"algo": "minibatch"})]
    for algo in ("ssp", "sync"):
        roads += [(f"{algo}, {n} simulated", {"algo": algo, "cluster": dsgd.Simulation(workers=n)}) for n in (4, 16)]
        if processes:
            roads.append((f"{algo}, 4 processes", {"algo": algo, "workers": 4}))
    for name, options in roads:
        result = dsgd.fit(
            data.X,
            labels,
            loss=case.loss,
            max_epochs=EPOCHS,
            evaluate_every=EPOCHS,
            random_state=0,
            **case.options,
            **options,
        )
        error = np.nan if labels is None else 100 * (1 - result.score(data.X_test, data.y_test))
        yield name, float(result.history[-1].objective or np.nan), error


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help="which models; by default all")
    parser.add_argument("--processes", action="store_true", help="on processes of this machine as well")
    arguments = parser.parse_args()
    for case in CASES:
        if arguments.kinds and case.kind not in arguments.kinds:
            continue
        alone: tuple[float, float] | None = None
        for name, objective, error in fits(case, arguments.processes):
            alone = alone or (objective, error)
            beside = f"{100 * (objective / alone[0] - 1):+7.2f} %  {error - alone[1]:+6.2f}"
            print(f"{case.kind:8} {case.data:13} {name:18} {objective:12.6g}  {error:6.2f} %  {beside}", flush=True)


if __name__ == "__main__":
    main()
