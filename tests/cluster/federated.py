"""Fits by `fedavg`, and the same by the reference in plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from problems import make_problem

import dsgd
from dsgd import _core, losses
from dsgd.cluster import Partition, Simulation
from dsgd.cluster.program.partition import deal
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.losses import resolve_loss
from dsgd.models.network import Layers, Units, starting_weights
from dsgd.problems.problem import Problem
from dsgd.testing import kmeans_reference, network_reference, reference
from dsgd.testing.fedavg_reference import drawn_clients, federated_averaging, local_batches

__all__ = ["CLASSES", "CLIENTS", "MODELS", "ROUNDS", "SEED", "STEP", "X", "Y", "expected", "fit", "simulation"]

N, SEED, ROUNDS, CLIENTS, STEP = 121, 3, 50, 7, 0.1
X, Y = make_problem(N, 8, seed=3)
DENSE = X.toarray()
CLASSES = np.random.default_rng(0).integers(0, 3, N)
ALPHA = 1e-2
HIDDEN = (3,)
MODELS: dict[str, dict[str, Any]] = {
    "logistic": {},
    "hinge": {"loss": "hinge"},
    "dense": {"data": (DENSE, Y)},
    "no penalty": {"penalty": "none"},
    "softmax": {"loss": "softmax", "data": (X, CLASSES)},
    "kmeans": {"loss": losses.KMeans(3), "data": (DENSE, None), "init": DENSE[:3]},
    "mlp": {"loss": losses.MLP(HIDDEN), "data": (DENSE, CLASSES)},
}
Update = Callable[[Any, int, int], Any]


def simulation(workers: int = 2, partition: Partition | str = "equal", **options: Any) -> Simulation:
    return Simulation(workers=workers, partition=partition, **{"trace": False, **options})


def fit(where: Any = None, **options: Any) -> dsgd.FitResult:
    """Fit with seven clients on two workers, or elsewhere."""
    given: dict[str, Any] = {"loss": "logistic", "alpha": ALPHA, "max_epochs": ROUNDS, "random_state": SEED}
    given |= {
        "algo": "fedavg",
        "clients": CLIENTS,
        "step_size": STEP,
        "schedule": "constant",
        "n_threads": 1,
        **options,
    }
    data = given.pop("data", (X, Y))
    return dsgd.fit(*data, cluster=where or simulation(), **given)


def parts_of(partition: Partition | str, clients: int) -> list[Any]:
    return deal(N, clients, SEED) if isinstance(partition, str) else partition.deal(Y, clients, SEED)


def expected(
    model: str,
    *,
    partition: Partition | str = "equal",
    fraction: float = 1.0,
    local_epochs: int = 1,
    batch_size: int = 10,
    failing: float = 0.0,
    clients: int = CLIENTS,
    rounds: list[list[int]] | None = None,
) -> Any:
    """Return the flat weights that a run must end with; `rounds` names the clients that arrive."""
    parts = parts_of(partition, clients)
    if rounds is None:
        n_drawn = max(1, int(np.ceil(fraction * clients - 1e-9)))
        drawn = drawn_clients(SEED, ROUNDS, clients, n_drawn=n_drawn, failing=failing)
        rounds = [arrived for _, arrived in drawn]

    def batches(client: int, number: int) -> list[list[list[int]]]:
        """Return the batches of every local epoch."""
        n = len(parts[client])
        orders = [
            _core.draw_rows(n, n, block_size=1, seed=SEED, index=number * local_epochs + k, stream=client)
            for k in range(local_epochs)
        ]
        return [local_batches([order], min(batch_size, n)) for order in orders]

    start, step = _STEPS.get(model, _linear)(model)

    def update(weights: Any, client: int, number: int) -> Any:
        size = min(batch_size, len(parts[client]))
        for k, of_epoch in enumerate(batches(client, number)):
            weights = step(weights, parts[client], of_epoch, size, number * local_epochs + k)
        return weights

    return federated_averaging(start, [len(part) for part in parts], rounds, update)


def _linear(model: str) -> tuple[Any, Any]:
    """Return the start and the steps of a linear model, or of softmax; the intercepts are last."""
    options = {"loss": "logistic", "data": (X, Y), **MODELS[model]}
    y, n_outputs = (CLASSES, 3) if options["loss"] == "softmax" else (Y, 1)
    stored = np.ones(DENSE.shape, bool) if model == "dense" else DENSE != 0
    rate = measure(as_matrix(options["data"][0], 1), None, 1).intercept_rate
    alpha = 0.0 if options.get("penalty") == "none" else ALPHA
    d = DENSE.shape[1]

    def step(weights: Any, rows: Any, batches: Any, size: int, index: int) -> Any:
        table = weights.reshape(d + 1, n_outputs)
        w, b = (table[:-1], table[-1]) if n_outputs > 1 else (table[:-1, 0], table[-1, 0])
        *_, (w, b) = reference.iterates(
            DENSE[rows],
            y[rows],
            batches,
            [STEP] * len(batches),
            loss=options["loss"],
            alpha=alpha,
            fit_intercept=True,
            stored=stored[rows],
            intercept_rate=rate,
            batch_size=size,
            spread=size > 1 or n_outputs > 1,
            start=(w, b),
            index=index,
            frequency=np.maximum(stored.sum(axis=0), 1) / N,
        )
        return np.append(w.ravel(), b)

    return np.zeros((d + 1) * n_outputs), step


def _kmeans(model: str) -> tuple[Any, Any]:
    def step(weights: Any, rows: Any, batches: Any, size: int, index: int) -> Any:
        centres = weights.reshape(3, -1)
        for batch in batches:
            centres = kmeans_reference.step(DENSE[rows], centres, batch, STEP, size, np.ones(len(rows)))
        return centres.ravel()

    return DENSE[:3].ravel(), step


def _network(model: str) -> tuple[Any, Any]:
    matrix = as_matrix(DENSE, 1)
    problem = Problem(
        matrix=matrix,
        target=CLASSES.astype(float),
        sample_weight=None,
        loss=resolve_loss(losses.MLP(HIDDEN)),
        alphas=(0.0, ALPHA),
        fit_intercept=True,
        scale=measure(matrix, None, 1),
        n_classes=3,
    )
    units, layers = Units.measure(problem), Layers(n_features=DENSE.shape[1], hidden=HIDDEN, n_outputs=3)
    rates = np.full(layers.size, 1 / (1 + ALPHA))
    matrices, biases = layers.split(rates)
    share = min(1.0, 100 / units.length)
    matrices[0][:] = (share / (units.scale**2 + share * ALPHA))[:, None]
    matrices[-1][:] = biases[-1][:] = 1.0

    def pairs(flat: Any) -> list[Any]:
        return list(zip(*layers.split(flat), strict=True))

    def step(weights: Any, rows: Any, batches: Any, size: int, index: int) -> Any:
        ends = network_reference.train(
            DENSE[rows],
            CLASSES[rows],
            pairs(weights),
            batches,
            [STEP] * len(batches),
            batch_size=size,
            momentum=0.0,
            alpha=ALPHA,
            classes=True,
            sample_weight=np.ones(len(rows)),
            mean=units.mean,
            rates=pairs(rates),
        )
        return np.concatenate([each.ravel() for kind in zip(*ends, strict=True) for each in kind])

    return starting_weights(layers, SEED, np.dtype(np.float64), units), step


_STEPS: dict[str, Callable[[str], tuple[Any, Any]]] = {"kmeans": _kmeans, "mlp": _network}
