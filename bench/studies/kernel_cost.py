"""Measure the cost of kernels on one core beside the estimates of `dsgd.cluster.KernelCost`.

    python bench/studies/kernel_cost.py

Six kernels run on four sizes of sparse data and two of dense. Each has a line with the shortest
measured time and the virtual time of a pass over the rows. Rows come in random order, as programs
draw them, and every batch is another one. Sizes take turns, so that other load on the machine meets
all alike. The last lines have the worst error and the rates that fit best. The exit status is 1 if
an estimate by the default rates is more than 30 % off.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse

from dsgd.cluster import KernelCost
from dsgd.cluster.program.kernels import Kernels
from dsgd.cluster.program.work import Work
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.losses import resolve_loss
from dsgd.problems.problem import Problem

# Rows, features, and entries of a row.
SPARSE = ((500, 2_000, 40), (4_000, 20_000, 60), (12_000, 47_000, 72), (30_000, 47_000, 72))
DENSE = ((500, 100), (8_000, 100))
LIMIT = 0.30
ROUNDS, BATCH = 12, 256


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
    return Kernels(problem, {}, 1)


def passes_of(kernels: Kernels) -> dict[str, Callable[[], object]]:
    """Return for every measured kernel a function that makes a pass over the rows."""
    weights = np.random.default_rng(2).standard_normal(kernels.n_parameters) * 0.01
    mean = kernels.take_anchor(weights)
    rows = np.random.default_rng(3).permutation(kernels.n_samples)
    batches = [rows[begin : begin + BATCH] for begin in range(0, len(rows), BATCH)]

    def of_batches(kernel: Callable[[Any], object]) -> Callable[[], object]:
        def run() -> None:
            for batch in batches:
                kernel(batch)  # to keep the results would cost new pages

        return run

    return {
        "full_gradient": lambda: kernels.full_gradient(weights),
        "gradient": of_batches(lambda batch: kernels.gradient(weights, batch)),
        "minibatch_step": of_batches(lambda batch: kernels.minibatch_step(weights, batch, 0.1, len(batch), 0)),
        "clipped_gradient": of_batches(lambda batch: kernels.clipped_gradient(weights, batch, 0.1)),
        "sgd_steps": lambda: kernels.sgd_steps(weights, rows, 0.1, 0),
        "svrg_steps": lambda: kernels.svrg_steps(weights, mean, rows, 0.1),
    }


def main() -> int:
    data = [documents(*size) for size in SPARSE]
    data += [np.random.default_rng(0).standard_normal(size) for size in DENSE]
    seconds: dict[tuple[tuple[int, ...], str], float] = {}
    counted: dict[tuple[tuple[int, ...], str], Work] = {}
    workers = [(size, kernels_of(X)) for size, X in zip((*SPARSE, *DENSE), data, strict=True)]
    calls = [(size, kernels, passes_of(kernels)) for size, kernels in workers]
    for _ in range(ROUNDS):
        for size, kernels, passes in calls:
            for name, run in passes.items():
                run()  # fills the caches, as in a worker that keeps running
                before, start = kernels.work.copy(), time.perf_counter()
                run()
                took = time.perf_counter() - start
                seconds[size, name] = min(took, seconds.get((size, name), took))
                counted[size, name] = kernels.work.since(before)
    times = np.array(list(seconds.values()))
    work = np.array([[w.entries, w.far_lines, w.elements, w.calls] for w in counted.values()], float)
    ratios = np.array([KernelCost().seconds(w) for w in counted.values()]) / times
    for (size, name), took, ratio in zip(seconds, times, ratios, strict=True):
        print(f"{name:16} {'x'.join(map(str, size[:2])):>12}: {took * 1e3:8.3f} ms, virtual / measured {ratio:.2f}")
    worst = float(np.abs(ratios - 1).max())
    rates = np.linalg.lstsq(work / times[:, None], np.ones(len(times)), rcond=None)[0]
    print(f"ratios {ratios.min():.2f} to {ratios.max():.2f}; worst error {worst:.0%}")
    print("fitted: entry {:.2e}, far line {:.2e}, element {:.2e}, call {:.2e}".format(*rates))
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
