"""Divergence is watched on every road, and a model that is worse than none is warned of."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from problems import make_problem
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning

import dsgd
from dsgd.errors import ConfigError, DivergedError

random = np.random.default_rng(0)
X = random.normal(size=(500, 5)) * 100
TRUE = np.arange(1.0, 6.0)
T = X @ TRUE
Y = (T > 0).astype(int)

pytestmark = pytest.mark.filterwarnings("ignore:epoch .* diverged:RuntimeWarning")


def parts(make: Callable[[], Any], data: Any, targets: Any, calls: int) -> Any:
    model = make()
    for _ in range(calls):
        model.partial_fit(data, targets, *([np.unique(targets)] if hasattr(model, "predict_proba") else []))
    return model


@pytest.mark.parametrize("layout", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"algo": "minibatch"},
        {"algo": "hogwild"},
        {"average": 300},
        {"loss": "squared_epsilon_insensitive"},
        {"learning_rate": "constant", "eta0": 1.0},
    ],
)
def test_partial_fit_that_diverged_goes_on_as_fit_does(options: dict[str, Any], layout: Any) -> None:
    def make(**more: Any) -> Any:
        return dsgd.SGDRegressor(random_state=0, **options, **more)

    whole = make(max_iter=20, tol=None).fit(layout(X), T)
    pieces = parts(make, layout(X), T, 20)
    np.testing.assert_array_equal(pieces.coef_, whole.coef_)
    np.testing.assert_array_equal(pieces.intercept_, whole.intercept_)
    assert abs(whole.coef_ - TRUE).max() < 1


def test_cuts_of_all_calls_count() -> None:
    def make(**more: Any) -> Any:
        return dsgd.SGDRegressor(random_state=0, eta0=1e3, learning_rate="constant", **more)

    with pytest.raises(DivergedError, match="after 10 cuts of the step"):
        parts(make, X, T, 20)
    with pytest.raises(DivergedError, match="after 10 cuts of the step"):
        make(max_iter=20, tol=None).fit(X, T)


@pytest.mark.parametrize("rows", [100, 500])  # all of them, or some, are looked at
@pytest.mark.parametrize("evaluate_every", [None, 0, 7])
@pytest.mark.parametrize("loss", ["squared", "squared_hinge", "softmax"])
@pytest.mark.parametrize("algo", ["sgd", "minibatch", "svrg", "hogwild"])
def test_epochs_that_nobody_evaluates_are_watched(algo: str, loss: str, evaluate_every: int | None, rows: int) -> None:
    target = T if loss == "squared" else Y
    options: dict[str, Any] = {"algo": algo, "loss": loss, "step_size": 10.0, "random_state": 0, "n_threads": 1}
    with pytest.warns(RuntimeWarning, match="diverged"):
        result = dsgd.fit(X[:rows], target[:rows], evaluate_every=evaluate_every, **options)
    good = dsgd.fit(X[:rows], target[:rows], **options)
    assert abs(result.coef_).max() < 10 * abs(good.coef_).max()
    assert result.score(X, target) > good.score(X, target) - 0.05


@pytest.mark.parametrize("algo", ["minibatch", "svrg"])
def test_estimators_without_a_tolerance_are_watched(algo: str) -> None:
    model = dsgd.SGDRegressor(algo=algo, max_iter=20, tol=None, random_state=0).fit(X, T)
    np.testing.assert_allclose(model.coef_, TRUE, atol=0.1)


def test_rows_that_are_not_like_the_others_raise_no_alarm() -> None:
    """Nearly all rows have no weight, so the constant model is perfect on most samples of them."""
    many = random.normal(size=(5000, 5))
    weight = np.zeros(5000)
    weight[:10] = 1e3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for evaluate_every in (None, 0, 1):
            dsgd.fit(
                many,
                many @ TRUE,
                algo="sgd",
                loss="squared",
                sample_weight=weight,
                evaluate_every=evaluate_every,
                random_state=0,
            )


@pytest.mark.parametrize("evaluate_every", [0, 1])
def test_clusters_are_watched(evaluate_every: int) -> None:
    with pytest.raises(DivergedError, match="use a smaller step_size"):
        dsgd.fit(
            X,
            T,
            algo="ssp",
            loss="squared",
            step_size=1e-3,
            random_state=0,
            cluster=dsgd.Simulation(workers=2),
            evaluate_every=evaluate_every,
        )


@pytest.mark.filterwarnings("ignore:the objective ended at:RuntimeWarning")
@pytest.mark.parametrize("layout", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("loss", ["hinge", "log_loss", "modified_huber"])
def test_columns_of_any_unit_train_as_in_scikit_learn(loss: str, layout: Any) -> None:
    small = X / 100
    large = small * 1e12
    model = dsgd.SGDClassifier(loss=loss, random_state=0).fit(layout(large), Y)
    assert model.score(large, Y) > 0.95
    beside = np.c_[small, np.full(len(small), 1e6)]
    model = dsgd.SGDClassifier(loss=loss, random_state=0).fit(layout(beside), Y)
    assert np.isfinite(model.coef_).all()
    if loss == "hinge":  # of the others scikit-learn makes nothing either
        assert model.score(beside, Y) > 0.9


def test_a_model_that_only_a_rule_of_thumb_kept_is_warned_of() -> None:
    beside = np.c_[X / 100, np.full(500, 1e6)]
    with pytest.warns(RuntimeWarning, match="a model that knows no feature: scale the features"):
        dsgd.SGDClassifier(loss="log_loss", random_state=0).fit(beside, Y)


def test_a_column_that_dwarfs_all_others_does_not_set_the_pace_of_the_intercept() -> None:
    from dsgd.data.inputs import as_matrix
    from dsgd.data.scale import measure

    beside = np.c_[X, np.full(500, 1e9)]
    assert measure(as_matrix(X, 1), None, 1).intercept_rate == pytest.approx(np.mean(X**2))
    assert measure(as_matrix(beside, 1), None, 1).intercept_rate < 1e10
    assert measure(as_matrix(scipy.sparse.csr_array(beside), 1), None, 1).intercept_rate < 1e10


def test_coordinate_ascent_cannot_diverge_and_says_when_it_is_not_done() -> None:
    data, labels = load_wine(return_X_y=True)
    with pytest.warns(RuntimeWarning, match="a model that knows no feature: scale the features, give it more epochs"):
        result = dsgd.fit(data, labels, algo="sdca", loss="logistic", random_state=0, n_threads=1)
    assert np.isfinite(result.coef_).all()
    with pytest.warns(RuntimeWarning, match="a model that knows no feature"):
        dsgd.SGDClassifier(loss="log_loss", algo="sdca", random_state=0).fit(data, labels)
    useless, target = np.array([[1.0, 1, 2, 2] * 2]).T, np.array([1, -1] * 4)
    with pytest.warns(RuntimeWarning, match="a model that knows no feature"):
        dsgd.fit(useless, target, algo="sdca", loss="logistic", random_state=0, n_threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dsgd.fit(useless, target, algo="sdca", loss="logistic", alpha=0.1, random_state=0, n_threads=1)
        dsgd.fit(useless, target, algo="sdca", loss="logistic", max_epochs=20_000, random_state=0, n_threads=1)


def test_the_cure_for_coordinate_ascent_is_no_step_size() -> None:
    with pytest.raises((DivergedError, ConfigError)) as caught:
        dsgd.fit(X * 1e150, T * 1e155, algo="sdca", loss="squared", random_state=0, n_threads=1)
    assert "step" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_steps_that_a_rule_of_thumb_chose_are_cut_without_a_warning() -> None:
    """Warnings are errors here; step sizes that somebody chose are another matter."""
    rows, sides = make_problem(300, 20, seed=2)
    spread = rows.toarray()
    assert dsgd.SGDClassifier(random_state=0).fit(spread * 1000, sides).score(spread * 1000, sides) > 0.9
    with pytest.warns(RuntimeWarning, match="epoch 1 diverged"):
        dsgd.SGDClassifier(random_state=0, max_iter=5, learning_rate="constant", eta0=1e6, tol=1e-3).fit(spread, sides)


@pytest.mark.parametrize("algo", ["sgd", "hogwild"])
def test_a_rough_start_on_few_rows_is_no_divergence(algo: str) -> None:
    # The first steps of "optimal" on six rows of norm 1 to 3 throw the objective about near the bound of an explosion.
    few = np.array([[3, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 1.0]])
    labels = [1, 1, 1, 2, 2, 2]
    for seed in range(40):
        model = dsgd.SGDClassifier(algo=algo, loss="log_loss", max_iter=20, tol=1e-3, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(few, labels)
        assert np.isfinite(model.coef_).all()
