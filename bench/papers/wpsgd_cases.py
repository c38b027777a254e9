"""The data, the cluster and the runs of WP-SGD's figures.

The loss is the hinge loss with L2, without an intercept, and the step is constant. The objective is that
of the training rows; the paper computes it on test rows. Features that no training row holds are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

import dsgd
from common.real_sets import FOLDER, SETS
from dsgd.cluster import KernelCost
from dsgd.data import load, make_like, make_text_classification

__all__ = [
    "COSTS",
    "REGIMES",
    "Case",
    "Curve",
    "cases",
    "cluster",
    "fit",
    "minibatch",
    "objective",
    "parts",
    "run",
    "sequential",
    "speeds",
    "steps",
]

COSTS = ("measured", "dense")
# eta lambda T. In the first regime the start is not forgotten at the end, in the second it is.
REGIMES = {"transient": 3.0, "stationary": 10.0}
ALPHA = 0.01
SPAN = 1000  # of D&M WP-SGD
# Table 1 for 20 nodes: one E3-1225, seven E5-2640, eight E5-2660, four E5-2680.
_TABLE_1 = ((1, 1.25e8), (7, 1.25e9), (8, 1.25e9), (4, 1.25e8))
# Share of the rows and features of kdda in the generated data, and its mean non-zeros a row.
_KDD_SCALE, _KDD_ENTRIES = 1 / 80, 36
# Iterations of mini-batch SGD that are simulated, for the time of one.
_TIMED = 20


class Case(NamedTuple):
    """A problem of the paper: rows, rows held out, the step of the transient regime and the initial weights."""

    name: str
    X: Any
    y: NDArray[np.float64]
    X_test: Any
    y_test: NDArray[np.float64]
    eta: float
    start: float

    @classmethod
    def of(cls, name: str, data: tuple[Any, Any], test: int | tuple[Any, Any], eta: float, start: float) -> Case:
        """Hold out rows at random if `test` is a number, and leave out features that are in no training row."""
        X, y = scipy.sparse.csr_array(data[0]).astype(np.float32), np.asarray(data[1], np.float64)
        if isinstance(test, int):
            order = np.random.default_rng(0).permutation(len(y))
            (X, y), held = (X[order[test:]], y[order[test:]]), (X[order[:test]], y[order[:test]])
        else:
            held = scipy.sparse.csr_array(test[0]).astype(np.float32), np.asarray(test[1], np.float64)
        seen = np.unique(X.indices)
        return cls(name, X[:, seen], y, held[0][:, seen], held[1], eta, start)

    @property
    def start_objective(self) -> float:
        """The objective of the initial weights."""
        return objective(self.X, self.y, np.full(self.X.shape[1], self.start))


class Curve(NamedTuple):
    """Objectives after iterations of the fastest node and virtual seconds, and at the end on the rows held out."""

    iterations: list[float]
    seconds: list[float]
    objectives: list[float]
    held_out: float
    condition: float | None = None  # the margin of Eq. (6)


def cases(quick: bool) -> list[Case]:
    """Return the three problems: generated in the shapes of the paper unless the real files are there."""
    scale, eta = (_KDD_SCALE / 10, 1e-2) if quick else (_KDD_SCALE, 1e-3)
    kdd, real_sim = FOLDER / "kdda.bz2", FOLDER / "real-sim.bz2"
    if kdd.exists():
        data = load(kdd)
        first = Case.of("KDD 2010 algebra", (data.X, data.y), 10_000, eta, 4.0)
    else:
        rows, features = round(8_407_752 * scale), round(20_216_830 * scale)
        made = make_text_classification(
            rows + 5_000, n_features=features, words_per_sample=_KDD_ENTRIES, random_state=0
        )
        first = Case.of("KDD-like, generated", made, 5_000, eta, 4.0)
    data = load(real_sim) if real_sim.exists() else make_like("real-sim", random_state=0)
    name = "real-sim" if real_sim.exists() else "real-sim-like, generated"
    found = [first, Case.of(name, (data.X, data.y), 1_000, 1e-2, 100.0)]
    try:
        parts = SETS["20news"]().binary()
        found.append(Case.of("20news", (parts.X, parts.y), (parts.X_test, parts.y_test), 1e-2, 4.0))
    except FileNotFoundError:
        pass
    return found


def speeds(nodes: int = 20) -> list[float]:
    """Return the speeds of the mix of Table 1: E5-2640 have 50 to 70 % of the others'."""
    counts = [count * nodes // 20 for count, _ in _TABLE_1]
    counts[-1] += nodes - sum(counts)
    slow = [float(speed) for speed in np.linspace(0.5, 0.7, counts[1])]
    return [1.0] * counts[0] + slow + [1.0] * (counts[2] + counts[3])


def cluster(case: Case, cost: str, of_speeds: Sequence[float]) -> dsgd.Simulation:
    """Return a cluster with the links of Table 1.

    The cost "measured" is that of this library's kernels. With "dense" a step goes twice through all
    weights, as if the data were dense.
    """
    nodes = len(of_speeds)
    bandwidth = [rate for count, rate in _TABLE_1 for _ in range(count * nodes // 20)]
    bandwidth += [1.25e8] * (nodes - len(bandwidth))
    kernels = KernelCost()
    if cost == "dense":
        entries = case.X.nnz / case.X.shape[0]
        # A step takes 1.85 times the time of its entries in a gradient (docs/design/simulation.md).
        entry = 2 * case.X.shape[1] * kernels.element / (1.85 * entries)
        kernels = KernelCost(entry=entry, far_line=0.0)
    return dsgd.Simulation(
        workers=nodes,
        speeds=list(of_speeds),
        bandwidth=bandwidth,
        server_bandwidth=1.25e9,
        latency=1e-4,
        kernel_cost=kernels,
        trace=False,
    )


def objective(X: Any, y: NDArray[np.float64], w: NDArray[Any]) -> float:
    """Return the mean hinge loss and the penalty, in double precision."""
    return float(np.maximum(0, 1 - y * (X @ w)).mean() + ALPHA / 2 * np.sum(np.square(w, dtype=np.float64)))


def steps(case: Case, regime: str, nodes: int = 20) -> tuple[float, int]:
    """Return the step size, and the passes over its rows of the fastest node: T is the same in both regimes."""
    samples = -(-case.X.shape[0] // nodes)
    passes = max(round(REGIMES["transient"] / (case.eta * ALPHA) / samples), 1)
    return case.eta * REGIMES[regime] / REGIMES["transient"], passes


def fit(case: Case, algorithm: str, on: Any, eta: float, epochs: int, **settings: Any) -> Any:
    """Train from the initial weights of the case."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="algo .wpsgd")  # of Eq. (6), whose margin is recorded
        return dsgd.fit(
            case.X,
            case.y,
            algo=algorithm,
            alpha=ALPHA,
            step_size=eta,
            schedule="constant",
            max_epochs=epochs,
            fit_intercept=False,
            cluster=on,
            n_threads=1,
            **{"init": case.start, "random_state": 0, **settings},
        )


def run(case: Case, algorithm: str, regime: str, cost: str, of_speeds: Sequence[float], **options: Any) -> Curve:
    """Train on a cluster in virtual time."""
    eta, epochs = steps(case, regime, len(of_speeds))
    samples = -(-case.X.shape[0] // len(of_speeds))  # of a clock, a pass of the mean node
    span = SPAN if algorithm == "wpsgd-dm" else options.get("averaging_span", samples)
    clocks = -(-epochs * samples // span)
    recorded = sorted({-(-clocks * passes // epochs) for passes in range(1, epochs + 1)})
    result = fit(case, algorithm, cluster(case, cost, of_speeds), eta, epochs, **options)
    if len(result.history) != len(recorded):
        raise RuntimeError(f"{len(result.history)} records instead of {len(recorded)}")
    return Curve(
        [0.0, *(float(min(clock * span, epochs * samples)) for clock in recorded)],
        [0.0, *(float(record.virtual_seconds) for record in result.history)],
        [case.start_objective, *(float(record.objective) for record in result.history)],
        objective(case.X_test, case.y_test, result.coef_),
        result.averaging.condition if algorithm.startswith("wpsgd") else None,
    )


def parts(case: Case, eta: float, samples: int, span: int) -> Iterator[NDArray[Any]]:
    """Yield the weights of `sgd` on random rows after every `span` samples."""
    random, order = np.random.default_rng(0), np.empty(0, np.int64)
    weights = np.full(case.X.shape[1], case.start)
    for _ in range(samples // span):
        if len(order) < span:
            order = np.concatenate([order, random.permutation(len(case.y))])
        rows, order = order[:span], order[span:]
        part = case._replace(X=case.X[rows], y=case.y[rows])
        weights = fit(part, "sgd", None, eta, 1, block_size=1, init=weights, evaluate_every=0).coef_
        yield weights


def sequential(case: Case, regime: str) -> dict[str, Curve]:
    """Return SGD on one node with all rows, for the samples of the fastest of 20 nodes, in every cost model.

    The time of a sample is that of a pass in a simulation.
    """
    eta, epochs = steps(case, regime)
    n, span = case.X.shape[0], -(-case.X.shape[0] // 20)
    objectives = [case.start_objective]
    for weights in parts(case, eta, epochs * span, span):
        objectives.append(objective(case.X, case.y, weights))
    iterations = [float(part * span) for part in range(epochs + 1)]
    held_out = objective(case.X_test, case.y_test, weights)
    curves = {}
    for cost in COSTS:
        on = cluster(case, cost, [1.0])
        one, two = (fit(case, "simuparallel", on, eta, passes, evaluate_every=0).history[-1] for passes in (1, 2))
        each = (two.virtual_seconds - one.virtual_seconds) / n
        curves[cost] = Curve(iterations, [at * each for at in iterations], objectives, held_out)
    return curves


def minibatch(case: Case, regime: str, of_speeds: Sequence[float]) -> dict[str, Curve]:
    """Return mini-batch SGD, which averages the models of all nodes after each sample, in every cost model.

    Some iterations are simulated, as `simuparallel` with an average after each; each takes as long as the others. The
    objectives are those of the same arithmetic without a cluster, as a simulation of all iterations would take days.
    The algorithm `minibatch` regularises only features that a batch holds, and so forgets the start later.
    """
    eta, epochs = steps(case, regime)
    nodes, n = len(of_speeds), case.X.shape[0]
    per_pass = -(-n // nodes)
    random, scale = np.random.default_rng(0), 1.0
    v = np.full(case.X.shape[1], case.start)  # the weights are scale * v
    objectives = [case.start_objective]
    indptr, indices, data = case.X.indptr, case.X.indices, case.X.data.astype(np.float64)
    for _ in range(epochs):
        order = random.permutation(n)
        for begin in range(0, n, nodes):
            rows = order[begin : begin + nodes]
            chosen = [slice(indptr[row], indptr[row + 1]) for row in rows]
            margins = [
                label * scale * (data[at] @ v[indices[at]]) for label, at in zip(case.y[rows], chosen, strict=True)
            ]
            scale *= 1 - eta * ALPHA
            for label, at, margin in zip(case.y[rows], chosen, margins, strict=True):
                if margin < 1:
                    v[indices[at]] += eta / len(rows) / scale * label * data[at]
        v, scale = v * scale, 1.0
        objectives.append(objective(case.X, case.y, v))
    iterations = [float(each * per_pass) for each in range(epochs + 1)]
    held_out = objective(case.X_test, case.y_test, v)
    few = case._replace(X=case.X[: nodes * _TIMED], y=case.y[: nodes * _TIMED])
    curves = {}
    for cost in COSTS:
        history = fit(few, "simuparallel", cluster(case, cost, of_speeds), eta, 3, averaging_span=1).history
        each = (history[-1].virtual_seconds - history[0].virtual_seconds) / (2 * _TIMED)
        curves[cost] = Curve(iterations, [at * each for at in iterations], objectives, held_out)
    return curves
