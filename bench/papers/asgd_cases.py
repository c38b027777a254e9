"""The data, the cluster and the runs of ASGD's figures: k-means on points around random centres."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus

import dsgd
from dsgd import losses
from dsgd.cluster import KernelCost
from dsgd.cluster.program.kernels import Kernels
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.problems.problem import Problem

__all__ = ["DIMENSIONS", "LATENCY", "LINKS", "Case", "Curve", "Rates", "make_case", "rates", "run", "startup"]

DIMENSIONS = 10
# 10 Gb/s and 50 us.
LINKS, LATENCY = 1.25e9, 5e-5
# Batches and passes that a kernel's rate is the best of.
_REPEATS = 7
_FEW = 2000  # points that k-means++ looks at


class Case(NamedTuple):
    """Points of `nodes` equal parts, initial centres, and the objective at the fixed point of Lloyd's algorithm."""

    X: NDArray[np.float32]
    nodes: int
    start: NDArray[np.float32]
    fixed_point: float

    @property
    def clusters(self) -> int:
        """Number of centres."""
        return len(self.start)


class Rates(NamedTuple):
    """Seconds of a row on one core: in the step of a batch, and in a gradient of all rows."""

    batch: float
    full: float


class Curve(NamedTuple):
    """Virtual seconds since all nodes were there, passes over all rows, and how far above the fixed point."""

    seconds: list[float]
    passes: list[float]
    errors: list[float]
    counts: dict[str, float]

    def time_to(self, error: float) -> float:
        """Return the seconds to an error, on a line between records in its logarithm; NaN if it is never reached."""
        for k, each in enumerate(self.errors):
            if each > error:
                continue
            if k == 0:
                return self.seconds[0]
            before, now = np.log(max(self.errors[k - 1], 1e-9)), np.log(max(each, 1e-9))
            part = (before - np.log(error)) / (before - now)
            return float(self.seconds[k - 1] + part * (self.seconds[k] - self.seconds[k - 1]))
        return float("nan")


def make_case(
    nodes: int, rows: int, clusters: int, seed: int = 0, spread: float = 0.2, *, spread_start: bool = False
) -> Case:
    """Draw `rows` points of each node around centres of the unit cube; every node draws its own from the seed.

    The initial centres are points at random, or, with `spread_start`, those of k-means++ on a few points.
    """
    centres = np.random.default_rng(seed).uniform(0, 1, (clusters, DIMENSIONS))
    parts = []
    for node in range(nodes):
        random = np.random.default_rng([seed, node])
        noise = spread * random.standard_normal((rows, DIMENSIONS))
        parts.append((centres[random.integers(clusters, size=rows)] + noise).astype(np.float32))
    X = np.concatenate(parts)
    few = X[np.random.default_rng([seed, 1]).choice(len(X), _FEW, replace=False)]
    start = kmeans_plusplus(few, clusters, random_state=seed)[0] if spread_start else few[:clusters]
    lloyd = dsgd.fit(X, None, algo="batch", loss=losses.KMeans(clusters), init=start, max_epochs=100, tol=1e-7)
    return Case(X, nodes, start, lloyd.history[-1].objective or np.nan)


def rates(clusters: int, batch: int) -> Rates:
    """Measure the kernels of k-means on this machine, on one core."""
    kernels = _kernels(clusters, 50_000)
    w = kernels.start.copy()
    w += np.random.default_rng(1).random(len(w), np.float32)
    rows = np.random.default_rng(2).permutation(kernels.n_samples).astype(np.int64)

    def best(call: Callable[[], Any], count: int) -> float:
        times = []
        for _ in range(_REPEATS):
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
        return min(times) / count

    def batches() -> None:
        for begin in range(0, len(rows) - batch + 1, batch):
            kernels.minibatch_step(w, rows[begin : begin + batch], 0.5, batch, 0)

    return Rates(
        best(batches, len(rows) // batch * batch),
        best(lambda: kernels.full_gradient(w), len(rows)),
    )


def _kernels(clusters: int, rows: int) -> Kernels:
    X = np.random.default_rng(0).random((rows, DIMENSIONS), np.float32)
    matrix, loss = as_matrix(X, 1), losses.KMeans(clusters)
    problem = Problem(
        matrix=matrix,
        target=np.zeros(rows, np.float32),
        sample_weight=None,
        loss=loss,
        alphas=(0.0, 0.0),
        fit_intercept=False,
        scale=measure(matrix, None, 1),
    )
    return Kernels(problem, loss.of_whole(problem, problem.objective(1)), 1)


def cluster(nodes: int, clusters: int, rate: float) -> dsgd.Simulation:
    """Return nodes on which a row takes `rate` seconds."""
    kernels = _kernels(clusters, 1000)
    kernels.full_gradient(kernels.start)
    elements = kernels.work.elements / kernels.n_samples
    return dsgd.Simulation(
        workers=nodes,
        bandwidth=LINKS,
        latency=LATENCY,
        kernel_cost=KernelCost(element=rate / elements, far_line=0.0),
        trace=False,
    )


def startup(nodes: int, clusters: int) -> float:
    """Return the virtual seconds until all nodes have joined and done next to nothing."""
    case = Case(np.random.default_rng(0).random((nodes * 2, DIMENSIONS), np.float32), nodes, _points(clusters), 1.0)
    curve = run(case, 1e-12, 0.0, 1, algo="asgd", silent=True, step_size=0.1)
    return curve.seconds[-1]


def _points(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).random((count, DIMENSIONS), np.float32)


def run(case: Case, rate: float, begin: float, passes: int, random_state: int = 0, **options: Any) -> Curve:
    """Train in virtual time, with constant steps, from the initial centres.

    Parameters
    ----------
    case : Case
    rate : float
        Seconds of a row.
    begin : float
        Virtual seconds that do not count: the nodes join.
    passes : int
    random_state : int
    **options
        Of `dsgd.fit`: the algorithm and what it takes.
    """
    result = dsgd.fit(
        case.X,
        None,
        loss=losses.KMeans(case.clusters),
        init=case.start,
        cluster=cluster(case.nodes, case.clusters, rate),
        schedule="constant",
        max_epochs=passes,
        tol=None,
        random_state=random_state,
        **options,
    )
    last = result.history[-1].counts or {}
    return Curve(
        [(record.virtual_seconds or 0.0) - begin for record in result.history],
        [record.effective_passes for record in result.history],
        [(record.objective or np.nan) / case.fixed_point - 1 for record in result.history],
        {name: float(sum(value or 0.0 for value in values)) for name, values in last.items()},
    )
