"""Seeds that are drawn from generators of numpy, and fits that go on from a result."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import dsgd
from dsgd.algorithms import Minibatch
from dsgd.data import Dataset, make_clusters, make_like, make_text_classification
from dsgd.errors import ConfigError, DataError
from dsgd.losses import MLP, KMeans, Logistic
from dsgd.testing import Proxy, make_known_optimum

X = np.random.default_rng(0).normal(size=(90, 4))
TWO, THREE, REAL = X[:, 0] > 0, np.array(["a", "b", "c"])[np.digitize(X[:, 0], [-0.5, 0.5])], X @ np.arange(4.0)
NAMES = list("abcd")


def fit(y: Any = TWO, data: Any = X, **options: Any) -> dsgd.FitResult:
    y = None if isinstance(options.get("loss"), KMeans) else y
    return dsgd.fit(data, y, **{"algo": "sgd", "max_epochs": 2, "random_state": 0, **options})


SEEDED: dict[str, Callable[[Any], Any]] = {
    "fit": lambda seed: fit(random_state=seed, step_size=0.1).coef_,
    "text": lambda seed: make_text_classification(20, random_state=seed)[0].toarray(),
    "clusters": lambda seed: make_clusters(20, random_state=seed).X,
    "optimum": lambda seed: make_known_optimum(20, 3, random_state=seed).X,
    "like": lambda seed: make_like("yearprediction", n_samples=20, random_state=seed).X,
    "simulation": lambda seed: dsgd.Simulation(workers=2, seed=seed).seed,
    "proxy": lambda seed: Proxy(seed=seed)._seed,
}


@pytest.mark.parametrize("kind", [np.random.default_rng, np.random.RandomState])
@pytest.mark.parametrize("seeded", SEEDED.values(), ids=SEEDED)
def test_a_seed_may_be_drawn_from_a_generator(seeded: Callable[[Any], Any], kind: Callable[[int], Any]) -> None:
    generator = kind(3)
    first, second = seeded(generator), seeded(generator)
    assert np.array_equal(first, seeded(kind(3)))
    assert not np.array_equal(first, second)


def test_the_module_stands_for_its_global_generator() -> None:
    answers = []
    for _ in range(2):
        np.random.seed(5)  # noqa: NPY002
        answers.append(SEEDED["fit"](np.random))
    assert (answers[0] == answers[1]).all()


STARTS: list[Any] = [
    pytest.param(TWO, {"loss": "hinge"}, id="two classes"),
    pytest.param(THREE, {"loss": "logistic"}, id="one against all"),
    pytest.param(THREE, {"loss": "softmax"}, id="softmax"),
    pytest.param(REAL, {"loss": "squared", "fit_intercept": False}, id="regression"),
    pytest.param(None, {"loss": KMeans(3)}, id="k-means"),
    pytest.param(THREE, {"loss": MLP((3,)), "algo": "minibatch"}, id="network"),
    pytest.param(TWO, {"loss": "logistic", "algo": "ssp", "cluster": dsgd.Simulation(workers=2)}, id="cluster"),
]


@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize(("y", "options"), STARTS)
def test_a_fit_goes_on_from_a_result(y: Any, options: dict[str, Any], real: Any) -> None:
    before = fit(y, **options)
    kept = before.model.weights.copy()
    options = {**options, "step_size": 0.01, "max_epochs": 1}
    after = fit(y, X.astype(real), init=before, **options)
    assert after.model.weights.dtype == real
    assert (before.model.weights == kept).all()
    if not isinstance(options["loss"], KMeans | MLP):
        whole = [*before.coef_.T, before.intercept_] if before.model.fit_intercept else before.coef_.T  # type: ignore[attr-defined]
        same = fit(y, X.astype(real), init=np.array([*whole]).T, **options)
        assert (same.model.weights == after.model.weights).all()
    assert (fit(y, X.astype(real), **options).model.weights != after.model.weights).any()


def test_a_fit_may_go_on_with_another_loss_of_the_same_kind_of_model() -> None:
    start = fit(loss="hinge")
    still = fit(loss=Logistic(), init=start, step_size=1e-300, alpha=0)
    assert still.coef_ == pytest.approx(start.coef_)
    assert still.intercept_ == pytest.approx(start.intercept_)
    assert isinstance(fit(REAL, loss="huber", init=fit(REAL, loss="squared")), dsgd.FitResult)


@pytest.mark.parametrize(
    ("start", "go_on", "kind", "message"),
    [
        ({}, {"data": X[:, :3]}, DataError, "init was trained on 4 features; X has 3 features"),
        ({}, {"y": THREE}, DataError, r"init has the classes \[False, True\]; y has \['a', 'b', 'c'\]"),
        ({}, {"y": np.where(TWO, 5, 7)}, DataError, r"init has the classes \[False, True\]; y has \[5, 7\]"),
        ({"y": REAL, "loss": "squared"}, {}, DataError, r"init has the classes \[\]; y has \[False, True\]"),
        ({}, {"fit_intercept": False}, ConfigError, "init was trained with fit_intercept=True, not False"),
        (
            {},
            {"loss": "softmax"},
            ConfigError,
            "init is a result of loss 'hinge', a LinearModel; loss 'softmax' needs a SoftmaxModel",
        ),
        (
            {"loss": KMeans(3)},
            {"loss": KMeans(4)},
            ConfigError,
            "init is a result of n_clusters=3; the loss has n_clusters=4",
        ),
        (
            {"loss": MLP((3, 2)), "algo": "minibatch"},
            {"loss": MLP((2, 3)), "algo": Minibatch()},
            ConfigError,
            r"init is a result of hidden=\(3, 2\); the loss has hidden=\(2, 3\)",
        ),
        (
            {"data": pd.DataFrame(X, columns=NAMES)},
            {"data": pd.DataFrame(X, columns=NAMES[::-1])},
            DataError,
            "init: The feature names should match",
        ),
    ],
)
def test_a_result_that_does_not_fit_is_refused(
    start: dict[str, Any], go_on: dict[str, Any], kind: type[Exception], message: str
) -> None:
    result = fit(**start)
    with pytest.raises(kind, match=message):
        fit(init=result, **go_on)


def test_a_result_of_other_numbers_of_features_is_refused() -> None:
    zero, one = (dsgd.fit(Dataset(X=X, y=TWO, index_base=base), algo="sgd") for base in ("zero", "one"))
    with pytest.raises(DataError, match="the first feature is called one by init and zero by the training data"):
        dsgd.fit(Dataset(X=X, y=TWO, index_base="zero"), algo="sgd", init=one)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dsgd.fit(Dataset(X=X, y=TWO, index_base="zero"), algo="sgd", init=zero)


def test_weights_beyond_the_type_of_the_data_are_refused() -> None:
    result = fit(REAL * 1e100, loss="huber", step_size=1e60)
    result.model.weights[:] = 1e100
    with pytest.raises(DataError, match=r"init\[0, 0\] is 1e\+100, beyond the range of float32"):
        fit(REAL, X.astype(np.float32), loss="huber", init=result)
