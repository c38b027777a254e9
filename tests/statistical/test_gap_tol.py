"""The duality gap beside any algorithm: it bounds how far the objective is from the least, and it ends fits."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from least import LABELS, NUMBERS, least

import dsgd
from common.real_sets import Parts
from dsgd.testing import reference

ALGORITHMS = ["sgd", "hogwild", "svrg", "minibatch", "batch", "auto", "sdca", "ssp", "sync"]


def draw(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the problem of this number, and how it is fitted."""
    random = np.random.default_rng(number)
    algo = str(random.choice(ALGORITHMS))
    loss = str(random.choice(LABELS + NUMBERS))
    penalty = "l2" if algo == "sdca" else str(random.choice(["l2", "elasticnet", "l1"]))
    n, d = int(random.integers(2, 16)), int(random.integers(1, 7))
    X = random.standard_normal((n, d)) * (random.random((n, d)) < 0.7)
    y = random.standard_normal(n) if loss in NUMBERS else np.where(np.arange(n) % 2, -1.0, 1.0)
    dtype = random.choice(["float32", "float64"])
    problem = {"X": X.astype(dtype), "y": y.astype(dtype), "loss": loss}
    problem["importance"] = random.exponential(size=n).astype(dtype) if random.random() < 0.5 else np.ones(n, dtype)
    settings = {"algo": algo, "penalty": penalty, "alpha": float(random.choice([1e-3, 1e-2, 0.1, 1.0]))}
    settings |= {"fit_intercept": bool(random.random() < 0.5), "max_epochs": int(random.integers(1, 30))}
    settings["n_threads"] = 1 if algo == "sgd" else int(random.integers(1, 3))
    if algo in ("ssp", "sync"):
        settings["cluster"] = dsgd.Simulation(workers=2)
    return problem, settings | {"gap_tol": float(random.choice([0.1, 1e-3, 1e-9]))}


def gaps_of(
    problem: dict[str, Any], settings: dict[str, Any], alphas: tuple[float, float]
) -> list[tuple[float, float]]:
    """Return the objective, in float64, and the gap after every epoch that reports one."""
    X, y, importance = (problem[name].astype(float) for name in ("X", "y", "importance"))
    terms: dict[str, Any] = {"loss": problem["loss"], "alpha": alphas[1], "alpha_l1": alphas[0]}
    seen: list[tuple[float, float]] = []

    def note(record: dsgd.Record, model: Any) -> None:
        if record.gap is not None:
            weights = model.weights[0].astype(float)
            w, b = weights[: X.shape[1]], weights[-1] if settings["fit_intercept"] else 0.0
            seen.append((reference.objective(X, y, w, b, sample_weight=importance, **terms), record.gap))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that the epochs are too few
        dsgd.fit(
            problem["X"], problem["y"], loss=problem["loss"], sample_weight=problem["importance"], callbacks=[note],
            random_state=0, **settings,
        )  # fmt: skip
    return seen


@pytest.mark.parametrize("hundred", range(5))
def test_every_gap_bounds_how_far_the_objective_is_from_the_least(hundred: int) -> None:
    for number in range(100 * hundred, 100 * (hundred + 1)):
        problem, settings = draw(number)
        l1_ratio = {"l2": 0.0, "l1": 1.0, "elasticnet": 0.15}[settings["penalty"]]
        alphas = (settings["alpha"] * l1_ratio, settings["alpha"] * (1 - l1_ratio))
        X, y, importance = (problem[name].astype(float) for name in ("X", "y", "importance"))
        intercept = settings["fit_intercept"]
        best = least(X, y, loss=problem["loss"], alphas=alphas, fit_intercept=intercept, importance=importance)
        seen = gaps_of(problem, settings, alphas)
        assert seen, number
        # `Sdca` has the objective and the bound of its own precision.
        single = problem["X"].dtype == np.float32 and settings["algo"] in ("sdca", "auto")
        for value, gap in seen:
            assert gap >= 0
            assert value <= best * (1 + gap) + (1e-6 if single else 1e-9) * (1 + best), (number, value, best, gap)


X, CLASSES = dsgd.data.make_text_classification(3000, n_features=500, random_state=0)
DENSE = np.random.default_rng(0).standard_normal((1000, 20))
TARGET = DENSE[:, 0] - 2 * DENSE[:, 1] + np.random.default_rng(1).standard_normal(1000)


@pytest.mark.parametrize(
    ("algo", "loss", "settings"),
    [
        ("sgd", "hinge", {"gap_tol": 1e-2}),
        ("sgd", "hinge", {"gap_tol": 1e-3, "fit_intercept": False}),
        ("sgd", "logistic", {"gap_tol": 1e-3}),
        ("sgd", "squared_hinge", {"gap_tol": 1e-3, "average": True}),
        ("sgd", "modified_huber", {"gap_tol": 1e-3}),
        ("sgd", "logistic", {"gap_tol": 1e-2, "penalty": "elasticnet"}),
        ("sgd", "logistic", {"gap_tol": 1e-2, "evaluate_every": 0}),
        ("hogwild", "hinge", {"gap_tol": 1e-2}),
        ("hogwild", "logistic", {"gap_tol": 1e-3}),
        ("hogwild", "logistic", {"gap_tol": 1e-2, "penalty": "l1", "alpha": 1e-3}),
        ("svrg", "logistic", {"gap_tol": 1e-6}),
        ("svrg", "squared_hinge", {"gap_tol": 1e-6}),
        ("svrg", "logistic", {"gap_tol": 1e-4, "penalty": "l1", "alpha": 1e-3}),
        ("minibatch", "hinge", {"gap_tol": 1e-2}),
        ("minibatch", "logistic", {"gap_tol": 1e-2, "batch_size": 16}),
        ("batch", "logistic", {"gap_tol": 1e-2, "alpha": 1e-2}),
        ("auto", "hinge", {"gap_tol": 1e-3}),
        ("auto", "logistic", {"gap_tol": 1e-2, "penalty": "elasticnet"}),
        ("sgd", "squared", {"gap_tol": 1e-4}),
        ("svrg", "huber", {"gap_tol": 1e-4}),
        ("sgd", "epsilon_insensitive", {"gap_tol": 1e-2}),
        ("sgd", "squared_epsilon_insensitive", {"gap_tol": 1e-3}),
        ("svrg", "squared", {"gap_tol": 1e-4, "penalty": "l1", "alpha": 1e-2}),
    ],
    ids=str,
)
def test_a_fit_ends_once_the_gap_is_closed(algo: str, loss: str, settings: dict[str, Any]) -> None:
    data = (DENSE, TARGET) if loss in NUMBERS else (X, CLASSES)
    options = {"alpha": 1e-3, "random_state": 0, "n_threads": 1 if algo == "sgd" else 2, **settings}
    result = dsgd.fit(*data, algo=algo, loss=loss, **options)
    assert result.stop_reason == "gap_tol"
    gaps = [record.gap for record in result.history if record.gap is not None]
    assert gaps[-1] <= settings["gap_tol"] < min([*gaps[:-1], 1.0])
    assert result.history[-1].gap == gaps[-1]


@pytest.mark.parametrize(
    "where",
    [
        {"algo": "sgd"},
        {"algo": "ssp", "cluster": dsgd.Simulation(workers=4)},
        {"algo": "sync", "cluster": dsgd.Simulation(workers=3)},
        {"algo": "dissvrg", "workers": 2},
    ],
    ids=str,
)
def test_the_gap_of_several_classes_is_the_greatest_also_on_clusters(where: dict[str, Any]) -> None:
    classes = np.argmax(DENSE[:, :3] + 0.3 * DENSE[:, 3:6], axis=1)
    common: dict[str, Any] = {"loss": "logistic", "alpha": 1e-3, "random_state": 0}
    result = dsgd.fit(DENSE, classes, gap_tol=1e-2, max_epochs=200, **where, **common)
    assert result.stop_reason == "gap_tol"
    assert len(result.history) < 200
    for label in range(3):
        best = dsgd.fit(DENSE, classes == label, algo="sdca", loss="logistic", alpha=1e-3, gap_tol=1e-7).history[-1]
        y = np.where(classes == label, 1.0, -1.0)
        w, b = result.coef_[label], result.intercept_[label]
        value = reference.objective(DENSE, y, w, b, loss="logistic", alpha=1e-3)
        assert best.objective is not None
        assert value <= (1 + (result.history[-1].gap or 0)) * best.objective


def test_looks_are_few_where_the_gap_stays_open() -> None:
    with pytest.warns(RuntimeWarning, match="the duality gap is"):
        result = dsgd.fit(
            X, CLASSES, algo="sgd", loss="logistic", alpha=1e-3, gap_tol=1e-12, max_epochs=100, random_state=0
        )
    epochs = [record.epoch for record in result.history if record.gap is not None]
    assert epochs[-1] == 100
    assert len(epochs) <= 13  # every 1.5 times as many epochs


@pytest.mark.parametrize("name", ["20news", "reuters"])
@pytest.mark.parametrize(("algo", "gap_tol"), [("sgd", 1e-2), ("sgd", 1e-3), ("hogwild", 1e-2), ("svrg", 1e-3)])
def test_it_is_proven_on_real_text(name: str, algo: str, gap_tol: float, real_set: Callable[[str], Parts]) -> None:
    """The hinge by stochastic gradient descent, the logistic loss by variance reduction; and dual ascent agrees."""
    X, y, *_ = real_set(name).binary()
    loss = "logistic" if algo == "svrg" else "hinge"
    common: dict[str, Any] = {"loss": loss, "alpha": 1e-4, "random_state": 0}
    threads = 1 if algo == "sgd" else 2
    result = dsgd.fit(X, y, algo=algo, gap_tol=gap_tol, n_threads=threads, **common)
    assert result.stop_reason == "gap_tol"
    best = dsgd.fit(X, y, algo="sdca", gap_tol=1e-5, n_threads=1, evaluate_every=1, **common).history[-1].objective
    last = result.history[-1]
    assert last.objective is not None
    assert last.gap is not None
    assert best is not None
    assert last.objective <= (1 + last.gap) * best * (1 + 1e-6)
