"""Networks: the objective, its steps, models."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn.datasets
from network_rows import CLASSES, DENSE, N_FEATURES, N_ROWS, REAL, SPARSE, WEIGHTS
from numpy.typing import NDArray

import dsgd
from dsgd import _core, losses
from dsgd.algorithms import Minibatch
from dsgd.algorithms.momentum import Momentum
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.errors import ConfigError, DataError
from dsgd.models import MLPModel
from dsgd.models.network import Layers, NetworkObjective, Units, starting_weights
from dsgd.problems.problem import Problem
from dsgd.testing import network_reference as reference


def problem(
    layout: str, classes: bool, weighted: bool, hidden: tuple[int, ...]
) -> tuple[NetworkObjective, NDArray[np.float64], NDArray[np.float64], Layers]:
    """Return objective, target, flat weights and their layout."""
    y = CLASSES if classes else REAL
    layers = Layers(n_features=N_FEATURES, hidden=hidden, n_outputs=3 if classes else 1)
    matrix = as_matrix(SPARSE if layout == "sparse" else DENSE, 1)
    weight = WEIGHTS if weighted else None
    objective = NetworkObjective(matrix, y, weight, layout=layers, alpha=0.01, classes=classes)
    flat = starting_weights(layers, 1, np.dtype(np.float64))
    flat[layers.n_weights :] = np.random.default_rng(2).normal(size=layers.size - layers.n_weights)
    return objective, y, flat, layers


def pairs(layers: Layers, flat: NDArray[Any]) -> list[Any]:
    return list(zip(*layers.split(flat), strict=True))


def units_of(X: Any, y: NDArray[np.float64] = CLASSES, *, classes: bool = True) -> Units:
    """Return the units of a problem."""
    loss = losses.MLP() if classes else losses.SquaredMLP()
    scale = measure(matrix := as_matrix(X, 1), None, 1)
    given: dict[str, Any] = {
        "loss": loss,
        "alphas": (0.0, 0.0),
        "fit_intercept": True,
        "scale": scale,
        "n_classes": 3 if classes else 0,
    }
    return Units.measure(Problem(matrix=matrix, target=y, sample_weight=None, **given))


def fit(**changes: Any) -> dsgd.FitResult:
    settings: dict[str, Any] = {"X": DENSE, "y": CLASSES, "algo": "minibatch", "loss": losses.MLP((5,))}
    settings |= {"random_state": 0, "batch_size": 10, "max_epochs": 5, "n_threads": 1}
    settings.update(changes)
    return dsgd.fit(settings.pop("X"), settings.pop("y"), **settings)


@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("hidden", [(), (7,), (7, 4)])
def test_value_and_gradient_equal_the_reference(
    layout: str, classes: bool, weighted: bool, hidden: tuple[int, ...]
) -> None:
    objective, y, flat, layers = problem(layout, classes, weighted, hidden)
    given: dict[str, Any] = {"classes": classes, "sample_weight": WEIGHTS if weighted else np.ones(N_ROWS)}
    expected = reference.objective(DENSE, y, pairs(layers, flat), **given)
    assert objective.mean_loss(flat, 1) == pytest.approx(expected, rel=1e-13)
    squares = sum((w**2).sum() for w in layers.split(flat)[0])
    assert objective.value(flat, 1) == pytest.approx(expected + 0.005 * squares, rel=1e-13)
    gradient = np.empty(layers.size)
    objective.loss_gradient(flat, gradient, 1)
    by_layer = reference.gradient(DENSE, y, pairs(layers, flat), **given)
    for (w, b), (g, h) in zip(by_layer, pairs(layers, gradient), strict=True):
        np.testing.assert_allclose(g, w / N_ROWS, rtol=0, atol=1e-13)
        np.testing.assert_allclose(h, b / N_ROWS, rtol=0, atol=1e-13)


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("hidden", [(), (7,), (7, 4)])
def test_gradient_equals_fourth_order_differences(classes: bool, hidden: tuple[int, ...]) -> None:
    objective, _, flat, layers = problem("dense", classes, True, hidden)
    gradient, h = np.empty(layers.size), 1e-4
    objective.loss_gradient(flat, gradient, 1)
    for j, analytic in enumerate(gradient):
        at = [objective.mean_loss(flat + k * h * np.eye(layers.size)[j], 1) for k in (-2, -1, 1, 2)]
        assert (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h) == pytest.approx(analytic, rel=0, abs=1e-9)


@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("hidden", [(), (7,), (7, 4)])
def test_the_clipped_gradient_equals_the_reference(
    layout: str, classes: bool, weighted: bool, hidden: tuple[int, ...]
) -> None:
    objective, y, flat, layers = problem(layout, classes, weighted, hidden)
    rows = np.random.default_rng(3).permutation(N_ROWS)[:40]
    weight = WEIGHTS[rows] if weighted else np.ones(40)
    norms = [np.linalg.norm(objective.gradient(flat, [row], 1)) for row in rows]
    for clip_norm, clipped in ((np.median(norms), 20), (math.inf, 0)):
        total, n_clipped = objective.clipped_gradient(flat, rows, clip_norm, 8.0)
        by_layer, count = reference.clipped_gradient(
            DENSE[rows], y[rows], pairs(layers, flat), clip_norm, classes=classes, sample_weight=weight
        )
        for (w, b), (g, h) in zip(by_layer, pairs(layers, total), strict=True):
            np.testing.assert_allclose(g, w / 8, rtol=0, atol=1e-12)
            np.testing.assert_allclose(h, b / 8, rtol=0, atol=1e-12)
        assert n_clipped == count == clipped
    assert np.array_equal(total, objective.gradient(flat, rows, 1) / 8)


@pytest.mark.parametrize("layout", ["sparse", "dense"])
def test_the_gradient_of_no_rows_is_0_and_a_clip_is_above_0(layout: str) -> None:
    objective, _, flat, layers = problem(layout, True, True, (7,))
    none = np.zeros(0, np.int64)
    total, n_clipped = objective.clipped_gradient(flat, none, 1.0, 1.0)
    assert np.array_equal(total, np.zeros(layers.size))
    assert n_clipped == 0
    assert np.array_equal(objective.gradient(flat, none, 1), np.zeros(layers.size))
    for clip_norm in (0.0, -1.0, math.nan):
        with pytest.raises(ConfigError, match="clip_norm must be above 0, not"):
            objective.clipped_gradient(flat, none, clip_norm, 1.0)


def test_a_clipped_gradient_has_the_type_of_the_weights() -> None:
    layers = Layers(n_features=N_FEATURES, hidden=(7,), n_outputs=1)
    data = as_matrix(DENSE.astype(np.float32), 1)
    objective = NetworkObjective(data, REAL.astype(np.float32), None, layout=layers, alpha=0.0, classes=False)
    flat = starting_weights(layers, 1, np.dtype(np.float32))
    total, _ = objective.clipped_gradient(flat, np.arange(20), 0.1, 1.0)
    assert total.dtype == np.float32
    assert np.linalg.norm(total) <= 20 * 0.1


def rates_of(units: Units, layers: list[Any]) -> list[Any]:
    """Return factors of the steps, as the comments of `Momentum` have them; alpha is 0.01, a row 300 long."""
    rates = [(np.ones_like(w), np.ones_like(b)) for w, b in layers]
    squares = units.target**2 if len(layers) > 1 else 1.0
    for k, (w, b) in enumerate(rates[:-1]):
        b[:] = 1 / (squares + 0.01)
        if k > 0:
            w[:] = 1 / (squares + 0.01)
    rates[0][0][:] = (100 / 300 / (squares * units.scale**2 + 100 / 300 * 0.01))[:, None]
    return rates


@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("hidden", [(), (7,), (7, 4)])
def test_training_equals_the_reference(layout: str, classes: bool, weighted: bool, hidden: tuple[int, ...]) -> None:
    objective, y, flat, layers = problem(layout, classes, weighted, hidden)
    start, size = pairs(layers, flat.copy()), 20  # 90 rows: the last batch of an epoch has 10
    orders = [_core.draw_rows(N_ROWS, N_ROWS, block_size=1, seed=3, index=k, stream=0) for k in range(3)]
    units = Units(mean=np.arange(6.0) / 4, scale=np.linspace(0.5, 2, 6), length=300.0, target=0.9)
    descent, steps = Momentum(objective, 0.8, units, flat.dtype), [0.05, 0.04, 0.03, 0.02, 0.01]
    for order in orders:
        descent.epoch(flat, order, steps, size, 1)
    expected = reference.train(
        DENSE,
        y,
        start,
        [order[k : k + size].tolist() for order in orders for k in range(0, N_ROWS, size)],
        steps * 3,
        batch_size=size,
        momentum=0.8,
        alpha=0.01,
        classes=classes,
        sample_weight=WEIGHTS if weighted else np.ones(N_ROWS),
        mean=units.mean,
        rates=rates_of(units, start),
    )
    for (w, b), (v, u), (w0, _) in zip(expected, pairs(layers, flat), start, strict=True):
        np.testing.assert_allclose(v, w, rtol=0, atol=1e-12)
        np.testing.assert_allclose(u, b, rtol=0, atol=1e-12)
        assert np.abs(w - w0).max() > 0.01


def test_fit_makes_these_steps_and_repeats_bit_for_bit() -> None:
    one, again = fit(), fit()
    assert (one.model.weights == again.model.weights).all()
    model = one.model
    assert isinstance(model, MLPModel)
    layers = model.layout
    units = units_of(DENSE)
    flat = starting_weights(layers, 0, np.dtype(np.float64), units)
    matrix = as_matrix(DENSE, 1)
    objective = NetworkObjective(matrix, CLASSES, None, layout=layers, alpha=1e-4, classes=True)
    descent = Momentum(objective, 0.9, units, flat.dtype)
    schedule = _core.Schedule(step_size=0.1, rate=1.0, power=0.0, horizon=float("inf"))
    result = fit(schedule="constant")
    for index in range(5):
        order = _core.draw_rows(N_ROWS, N_ROWS, block_size=1, seed=0, index=index, stream=0)
        descent.epoch(flat, order, [schedule.at(k + 1, index) for k in range(0, N_ROWS, 10)], 10, 1)
    np.testing.assert_allclose(result.model.weights[0], flat, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", [np.asarray, scipy.sparse.csr_array])
def test_units_are_means_deviations_and_ranges(layout: Any) -> None:
    random = np.random.default_rng(0)
    rare = np.zeros(300)
    rare[7] = 3.0  # its deviation says nothing of what a row that has it does
    X = np.c_[random.normal(5, 2, 300), rare, np.full(300, 4.0), random.normal(0, 1e-3, 300)]
    units = units_of(layout(X), random.normal(0, 40, 300), classes=False)
    np.testing.assert_allclose(units.mean, X.mean(axis=0))
    expected = [X[:, 0].std(), 3 / 8, 0, X[:, 3].std()]
    expected[2] = np.prod([expected[k] for k in (0, 1, 3)]) ** (1 / 3)  # a constant says nothing: as the others
    np.testing.assert_allclose(units.scale, expected)
    assert units.length == pytest.approx(2 + rare.var() * 64 / 9)
    assert units.target == pytest.approx(40, rel=0.1)


@pytest.mark.parametrize("hidden", [(), (7,), (7, 4)])
@pytest.mark.parametrize("regression", [False, True])
def test_training_does_not_depend_on_the_units(regression: bool, hidden: tuple[int, ...]) -> None:
    """In other units the network is the same one, with other numbers; without a penalty, which knows none."""
    y = REAL if regression else CLASSES
    make = losses.SquaredMLP if regression else losses.MLP
    one = fit(loss=make(hidden), y=y, penalty="none")
    factors, shift = np.array([1e-3, 1e3, 1.0, 7.0, 1e6, 0.1]), np.array([1.0, -1e3, 100.0, 0.0, 1e6, 0.0])
    other = fit(X=DENSE * factors + shift, loss=make(hidden), y=y * 1e4 if regression else y, penalty="none")
    expected = one.decision_function(DENSE) * (1e4 if regression else 1.0)
    actual = other.decision_function(DENSE * factors + shift)
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["digits", "wine", "breast_cancer"])
@pytest.mark.parametrize("layout", [np.asarray, scipy.sparse.csr_array])
def test_defaults_train_on_raw_columns(name: str, layout: Any) -> None:
    X, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    for dtype in (np.float64, np.float32):
        assert dsgd.MLPClassifier(random_state=0).fit(layout(X.astype(dtype)), y).score(layout(X), y) > 0.97


def test_defaults_train_on_raw_targets() -> None:
    X, y = sklearn.datasets.load_diabetes(return_X_y=True, scaled=False)
    for factor in (1e-3, 1.0, 1e6):
        result = dsgd.fit(X, y * factor, algo="minibatch", loss="squared_mlp", random_state=0)
        assert result.score(X, y * factor) > 0.5


@pytest.mark.parametrize(
    "change",
    [
        {"loss": losses.MLP((6,))},
        {"loss": losses.MLP((5, 5))},
        {"momentum": 0.5},
        {"batch_size": 30},
        {"block_size": 10},
        {"alpha": 0.1},
        {"penalty": "none"},
        {"step_size": 0.01},
        {"schedule": "constant"},
        {"sample_weight": WEIGHTS},
        {"random_state": 1},
        {"algo": "batch", "batch_size": None},
    ],
    ids=str,
)
def test_every_option_changes_the_result(change: dict[str, Any]) -> None:
    settings = {"algo": "minibatch", "batch_size": 10} | change
    if settings["algo"] == "batch":
        del settings["batch_size"]
        other = dsgd.fit(DENSE, CLASSES, loss=losses.MLP((5,)), random_state=0, max_epochs=5, n_threads=1, algo="batch")
    else:
        other = fit(**settings)
    one = fit().model.weights
    assert one.shape != other.model.weights.shape or not np.allclose(one, other.model.weights)


def test_batch_goes_down() -> None:
    result = dsgd.fit(DENSE, CLASSES, loss=losses.MLP((5,)), random_state=0, max_epochs=30, algo="batch")
    values = np.array([record.objective for record in result.history], np.float64)
    assert (np.diff(values) <= 1e-12).all()
    assert values[-1] < 0.8 * values[0]


@pytest.mark.parametrize("X", [DENSE, SPARSE, DENSE.astype(np.float32)], ids=["dense", "sparse", "float32"])
@pytest.mark.parametrize("classes", [2, 3, 0])
def test_a_model_predicts_scores_and_survives_its_file(X: Any, classes: int, tmp_path: Path) -> None:
    y = {2: np.where(CLASSES > 0, "yes", "no"), 3: CLASSES, 0: REAL}[classes]
    loss = losses.MLP((20,)) if classes else losses.SquaredMLP((20,))
    result = fit(X=X, y=y, loss=loss, max_epochs=200, penalty="none")
    assert result.score(X, y) > 0.9
    result.save(tmp_path / "model")
    loaded = dsgd.load(tmp_path / "model")
    assert loaded.model.loss == loss
    assert loaded.model.n_features == N_FEATURES
    assert (loaded.predict(X) == result.predict(X)).all()
    if classes:
        np.testing.assert_allclose(loaded.predict_proba(X).sum(axis=1), 1)
    else:
        with pytest.raises(ConfigError, match="has no probabilities"):
            loaded.predict_proba(X)
    with pytest.raises(ConfigError, match="has no estimator of scikit-learn"):
        result.to_sklearn()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"algo": "sgd", "batch_size": None}, "algo 'sgd' does not train loss 'mlp'"),
        ({"average": True}, "keeps no average"),
        ({"penalty": "l1"}, "penalty='l2' or 'none'"),
        ({"fit_intercept": False}, "always has biases"),
        ({"loss": "softmax", "momentum": 0.5}, "momentum for networks only, not for loss 'softmax'"),
        ({"loss": "kmeans", "momentum": 0.5}, "momentum for networks only, not for loss 'kmeans'"),
    ],
    ids=str,
)
def test_what_a_network_has_not_is_refused(change: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"algo": "minibatch", "loss": losses.MLP((5,)), **change}
    settings.pop("batch_size", None)
    with pytest.raises(ConfigError, match=message):
        dsgd.fit(DENSE, CLASSES, **settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.MLP((0,)), "hidden"),
        (lambda: losses.MLP("5"), "hidden must be a tuple"),  # type: ignore[arg-type]
        (lambda: Minibatch(momentum=1.0), "momentum must be below 1"),
        (lambda: Minibatch(momentum=-0.1), "momentum must be"),
    ],
)
def test_impossible_networks_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_file_with_other_layers_is_refused() -> None:
    weights = np.zeros((1, 50))
    with pytest.raises(DataError, match="which layers of"):
        MLPModel.from_description({}, weights, losses.MLP((7,)), np.arange(3))
