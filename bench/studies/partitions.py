"""Print how near the optimum a run comes, by how the rows are dealt: a9a, eight workers, in virtual time.

    python bench/studies/partitions.py [--epochs 30] [--alike]

Logistic loss, alpha 1e-4, all else at its default. A cell is the relative suboptimality after so many epochs, percent.
With --alike all workers count alike in a mean, whatever the number of their rows.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where what the benchmarks share is

import numpy as np
from sklearn.linear_model import LogisticRegression

import dsgd
from common.real_sets import SETS
from dsgd.algorithms import DisSvrg, DistributedAlgorithm, Ssp, Sync
from dsgd.cluster import ByLabel, Dirichlet, Partition, Shares
from dsgd.cluster.program.task import WorkerTask

ALPHA, WORKERS = 1e-4, 8
ALGORITHMS: dict[str, DistributedAlgorithm] = {
    "ssp": Ssp(),
    "sync, batches of 25": Sync(batch_size=25),
    "dissvrg": DisSvrg(),
    "dissvrg, exact": DisSvrg(gradient="exact"),
    "dissvrg, local": DisSvrg(gradient="local"),
}
PARTITIONS: dict[str, Partition | str] = {
    "equal": "equal",
    "shares 1 to 8": Shares(range(1, WORKERS + 1)),
    "by label, 1 shard": ByLabel(1),
    "Dirichlet 1": Dirichlet(1.0),
    "Dirichlet 0.3": Dirichlet(0.3),
    "Dirichlet 0.1": Dirichlet(0.1),
}


def minimum(X: Any, y: Any) -> float:
    """Return the least objective."""
    model = LogisticRegression(C=1 / (len(y) * ALPHA), tol=1e-10, max_iter=5000, solver="newton-cg").fit(X, y)
    loss = np.logaddexp(0, -y * model.decision_function(X)).mean()
    return float(loss + ALPHA / 2 * np.square(model.coef_).sum())


def objective(X: Any, y: Any, algorithm: DistributedAlgorithm, partition: Partition | str, epochs: int) -> float:
    """Return the objective at the end of a run."""
    result = dsgd.fit(
        X,
        y,
        algo=algorithm,
        loss="logistic",
        alpha=ALPHA,
        max_epochs=epochs,
        evaluate_every=epochs,
        cluster=dsgd.Simulation(workers=WORKERS, partition=partition, trace=False),
        random_state=0,
    )
    return result.history[-1].objective or math.nan


def main(arguments: Sequence[str]) -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--alike", action="store_true", help="all workers count alike")
    options = parser.parse_args(arguments)
    if options.alike:
        WorkerTask.weight = 1.0  # type: ignore[assignment, method-assign]
    data = SETS["a9a"]().binary()
    least = minimum(data.X, data.y)
    for name, partition in PARTITIONS.items():
        for algorithm, kind in ALGORITHMS.items():
            gap = objective(data.X, data.y, kind, partition, options.epochs) / least - 1
            print(f"{name:18} {algorithm:20} {100 * gap:8.3f} %", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
