"""Softmax, k-means, networks and one-vs-all on simulated clusters."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import dsgd
from dsgd import losses

RANDOM = np.random.default_rng(5)
N, D, CLASSES = 240, 12, 4
DENSE = RANDOM.normal(size=(N, D)) * (RANDOM.random((N, D)) < 0.5)
SPARSE = scipy.sparse.csr_array(DENSE)
LABELS = (DENSE @ RANDOM.normal(size=(D, CLASSES)) + RANDOM.normal(size=CLASSES)).argmax(axis=1)
REAL = DENSE @ RANDOM.normal(size=D) + 3
WEIGHTS = RANDOM.random(N) + 0.5
MODELS: dict[str, dict[str, Any]] = {
    "softmax": {"y": LABELS, "loss": "softmax", "step_size": 0.1},
    "kmeans": {"y": None, "loss": losses.KMeans(5), "step_size": 3.0},
    "mlp": {"y": LABELS, "loss": losses.MLP((7,)), "step_size": 0.3},
    "squared_mlp": {"y": REAL, "loss": losses.SquaredMLP((7, 3)), "step_size": 0.05},
}


def train(X: Any, algo: str, model: str, **options: Any) -> dsgd.FitResult:
    given: dict[str, Any] = {**MODELS[model], "max_epochs": 4, "random_state": 3, "n_threads": 1, **options}
    if "workers" in given:
        given["cluster"] = dsgd.Simulation(workers=given.pop("workers"), trace=False)
    return dsgd.fit(X, given.pop("y"), algo=algo, **given)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("X", [DENSE, SPARSE, DENSE.astype(np.float32)], ids=["dense", "sparse", "float32"])
@pytest.mark.parametrize("model", MODELS)
def test_ssp_on_one_worker_is_minibatch_to_the_bit(model: str, X: Any, weighted: bool) -> None:
    options: dict[str, Any] = {"batch_size": 16, "schedule": "inverse-sqrt"}
    if weighted:
        options["sample_weight"] = WEIGHTS
    alone = train(X, "ssp", model, workers=1, staleness=0, **options)
    if "mlp" in model:
        options["momentum"] = 0.0
    sequential = train(X, "minibatch", model, block_size=1, **options)
    assert np.array_equal(alone.model.weights, sequential.model.weights)
    assert alone.history[-1].objective == sequential.history[-1].objective


@pytest.mark.parametrize("X", [DENSE, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("model", MODELS)
def test_sync_makes_the_step_of_all_rows_together(model: str, X: Any) -> None:
    """With batches of all its rows a worker's part in the mean is that of its rows: the deal does not matter."""
    runs = [
        train(X, "sync", model, workers=workers, batch_size=N // workers, schedule="constant", alpha=1e-2).model.weights
        for workers in (1, 4)
    ]
    np.testing.assert_allclose(runs[1], runs[0], rtol=0, atol=1e-12)
    start = train(X, "sync", model, workers=1, batch_size=N, schedule="constant", max_epochs=1, step_size=1e-300)
    assert np.abs(runs[0] - start.model.weights).max() > 0.01


def test_sync_with_long_steps_moves_every_centre_to_the_mean_of_its_rows() -> None:
    before = train(DENSE, "sync", "kmeans", workers=2, batch_size=N // 2, max_epochs=1, step_size=1e-300)
    after = train(DENSE, "sync", "kmeans", workers=2, batch_size=N // 2, max_epochs=1, step_size=1e6)
    nearest = before.predict(DENSE)
    means = np.stack([DENSE[nearest == c].mean(axis=0) for c in range(5)])
    np.testing.assert_allclose(after.model.centres, means, rtol=0, atol=1e-12)  # type: ignore[attr-defined]


@pytest.mark.parametrize("gradient", ["global", "exact", "local"])
@pytest.mark.parametrize("X", [DENSE, SPARSE], ids=["dense", "sparse"])
def test_dissvrg_on_one_worker_is_svrg_to_the_bit_for_softmax(X: Any, gradient: str) -> None:
    options: dict[str, Any] = {"inner_steps": N, "schedule": "constant", "step_size": 0.02}
    alone = train(X, "dissvrg", "softmax", workers=1, staleness=0, gradient=gradient, safe=False, **options)
    sequential = train(X, "svrg", "softmax", sgd_first=False, block_size=1, **options)
    assert np.array_equal(alone.model.weights, sequential.model.weights)


@pytest.mark.parametrize(
    ("algo", "loss"),
    [
        *itertools.product(["ssp", "sync"], ["hinge", "logistic", "modified_huber", "squared_hinge", "perceptron"]),
        ("dissvrg", "logistic"),
        ("dissvrg", "squared_hinge"),
    ],
)
@pytest.mark.parametrize("X", [DENSE, SPARSE], ids=["dense", "sparse"])
def test_classes_trained_together_are_each_against_all_others(X: Any, loss: str, algo: str) -> None:
    options: dict[str, Any] = {"loss": loss, "step_size": 0.02, "alpha": 1e-2, "workers": 3, "sample_weight": WEIGHTS}
    if algo == "dissvrg":
        options |= {"gradient": "exact", "safe": False, "inner_steps": 50}
    together = train(X, algo, "softmax", **options)
    assert together.coef_.shape == (CLASSES, D)
    apart = [train(X, algo, "softmax", **{**options, "y": c == LABELS}) for c in range(CLASSES)]
    np.testing.assert_allclose(together.coef_, [each.coef_ for each in apart], rtol=0, atol=1e-12)
    np.testing.assert_allclose(together.intercept_, [each.intercept_ for each in apart], rtol=0, atol=1e-12)
    objective = np.mean([each.history[-1].objective for each in apart])
    assert together.history[-1].objective == pytest.approx(objective, rel=1e-12)


def test_classes_trained_together_go_on_from_the_weights_that_are_given() -> None:
    options: dict[str, Any] = {"loss": "logistic", "workers": 2, "step_size": 0.05}
    first = train(SPARSE, "ssp", "softmax", **options)
    on = train(SPARSE, "ssp", "softmax", init=first, step_size=1e-300, **{k: options[k] for k in ("loss", "workers")})
    np.testing.assert_allclose(on.coef_, first.coef_, rtol=1e-12)
    assert np.abs(first.coef_).max() > 0.1
