"""Measure what kernels cost on one core, and compare with what `dsgd.cluster.KernelCost` says.

    python bench/kernel_cost.py

Three kernels on three sizes of data; a line each with measured and virtual seconds. The last line has the rates that
fit best. The exit status is 1 if an estimate by the default rates is more than 30 % off.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse

from dsgd.cluster import KernelCost
from dsgd.cluster.kernels import Kernels, Work
from dsgd.data.inputs import as_matrix
from dsgd.losses import resolve_loss
from dsgd.problem import Problem, measure

# Rows, features and entries of a row.
SIZES = ((500, 2_000, 40), (4_000, 20_000, 60), (30_000, 47_000, 72))
LIMIT = 0.30


def documents(n_rows: int, n_features: int, row_entries: int) -> Any:
    """Return rows whose features occur by a power law, as words do."""
    random = np.random.default_rng(0)
    chosen = (n_features * random.random((n_rows, row_entries)) ** 3).astype(np.int32)
    X = scipy.sparse.csr_array(
        (random.random(chosen.size), chosen.ravel(), np.arange(0, chosen.size + 1, row_entries)), (n_rows, n_features)
    )
    X.sum_duplicates()
    return X


def kernels_of(X: Any) -> Kernels:
    """Return the kernels of a worker with these rows."""
    matrix = as_matrix(X, 1)
    y = np.where(np.random.default_rng(1).random(matrix.n_rows) < 0.5, -1.0, 1.0)
    problem = Problem(
        matrix=matrix,
        target=y,
        sample_weight=None,
        loss=resolve_loss("logistic"),
        alphas=(0.0, 1e-4),
        fit_intercept=True,
        scale=measure(matrix, None, 1),
    )
    return Kernels(problem, None, 1)


def calls_of(kernels: Kernels) -> dict[str, Callable[[], object]]:
    """Return the kernels to measure, each with its arguments."""
    weights = np.random.default_rng(2).standard_normal(kernels.n_parameters) * 0.01
    mean = kernels.full_gradient(weights)
    rows = np.random.default_rng(3).integers(kernels.n_samples, size=kernels.n_samples)
    batch = rows[: max(kernels.n_samples // 8, 64)]
    return {
        "full_gradient": lambda: kernels.full_gradient(weights),
        "minibatch_step": lambda: kernels.minibatch_step(weights, batch, 0.1),
        "svrg_steps": lambda: kernels.svrg_steps(weights, weights, mean, rows, 0.1),
    }


def measured(kernels: Kernels, call: Callable[[], object]) -> tuple[float, Work]:
    """Return the shortest time of a call, and the work that it counts."""
    times = []
    for _ in range(15):
        before, start = kernels.work.copy(), time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times), kernels.work.since(before)


def main() -> int:
    results = []
    for size in SIZES:
        kernels = kernels_of(documents(*size))
        for name, call in calls_of(kernels).items():
            results.append((name, size, *measured(kernels, call)))
    work = np.array([[w.entries, w.far_entries, w.elements, w.calls] for *_, w in results], float)
    seconds = np.array([t for _, _, t, _ in results])
    rates = np.linalg.lstsq(work / seconds[:, None], np.ones(len(seconds)), rcond=None)[0]
    worst = 0.0
    for name, (n_rows, n_features, _), took, counted in results:
        ratio = KernelCost().seconds(counted) / took
        worst = max(worst, abs(ratio - 1))
        print(
            f"{name:15} {n_rows:6} rows {n_features:6} features: {took * 1e3:8.3f} ms, virtual / measured {ratio:.2f}"
        )
    print("fitted: entry {:.2e}, far {:.2e}, element {:.2e}, call {:.2e}; worst error {:.0%}".format(*rates, worst))
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
