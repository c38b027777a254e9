"""Constant steps, averages, and several classes at once: the numbers of scikit-learn, or those of one thread."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray
from problems import make_problem
from sklearn import linear_model
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from dsgd import SGDClassifier, SGDRegressor
from dsgd.errors import DataError, DivergedError
from dsgd.estimators.on_threads import on_threads

X, Y = make_problem(300, 20, seed=2)
DENSE = X.toarray()
THREE = np.array(["ham", "spam", "eggs"])[np.digitize(DENSE @ np.ones(20), [-1, 1])]
TARGET = DENSE @ np.random.default_rng(0).standard_normal(20) + 5
CLASSIFICATION = ["hinge", "squared_hinge", "log_loss", "modified_huber", "perceptron", "squared_error"]
REGRESSION = ["squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def both(kind: str, X: Any, y: NDArray[Any], **parameters: Any) -> list[Any]:
    """Return the models of both libraries, trained on the rows in their order."""
    shared = {"learning_rate": "constant", "shuffle": False, "max_iter": 3, "tol": None, **parameters}
    kinds = {"classifier": (SGDClassifier, linear_model.SGDClassifier)}.get(
        kind, (SGDRegressor, linear_model.SGDRegressor)
    )
    return [each(**shared).fit(X, y) for each in kinds]


def assert_same(models: list[Any]) -> None:
    """Compare the weights; scikit-learn's average is a difference of sums that grow as its scale falls."""
    ours, theirs = models
    tolerance = 1e-10 if ours.average else 1e-12
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=tolerance)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=0, atol=tolerance)


@pytest.mark.parametrize("average", [False, True, 7, 301, 10**6])
@pytest.mark.parametrize("sparse", [False, True])
def test_constant_steps_give_the_numbers_of_scikit_learn(sparse: bool, average: bool | int) -> None:
    data = X if sparse else DENSE
    for loss in CLASSIFICATION:
        # The decision values of a perceptron may cancel out, and rounding then says on which side of 0 they are.
        strong = {} if loss == "perceptron" else {"alpha": 1.0}
        for changes in ({}, {"penalty": None}, strong, {"fit_intercept": False}):
            assert_same(both("classifier", data, Y, loss=loss, average=average, **changes))
        assert_same(both("classifier", data, THREE, loss=loss, average=average))
    for loss in REGRESSION:
        assert_same(both("regressor", data, TARGET, loss=loss, average=average, eta0=0.001))


def test_constant_steps_take_weights_as_scikit_learn_does() -> None:
    weights = np.random.default_rng(0).uniform(0, 2, 300)
    models = [
        kind(learning_rate="constant", shuffle=False, max_iter=3, tol=None, class_weight={1: 3.0})
        for kind in (SGDClassifier, linear_model.SGDClassifier)
    ]
    assert_same([model.fit(X, Y, sample_weight=weights) for model in models])


def test_without_a_fall_inverse_scaling_is_constant() -> None:
    assert_same(both("classifier", DENSE, Y, learning_rate="invscaling", power_t=0.0))


def test_steps_that_would_turn_the_weights_round_shrink_them() -> None:
    model = SGDClassifier(learning_rate="constant", eta0=0.1, alpha=1e5, max_iter=6, tol=None).fit(DENSE, Y)
    np.testing.assert_allclose(model.coef_, 0, atol=1e-3)


def test_the_last_weights_are_kept_beside_the_average() -> None:
    averaged, last = (
        SGDClassifier(learning_rate="constant", max_iter=3, tol=None, random_state=0, average=average).fit(X, THREE)
        for average in (True, False)
    )
    assert (averaged._standard_coef == last.coef_).all()
    assert (averaged._standard_intercept == last.intercept_).all()
    assert (averaged._average_coef == averaged.coef_).all()
    late = SGDClassifier(max_iter=3, tol=None, average=10**6).fit(X, Y)
    assert (late._average_coef == 0).all()
    assert (late._standard_coef == late.coef_).all()
    assert not hasattr(last, "_average_coef")


def test_a_negative_power_warns_and_lets_the_steps_grow() -> None:
    with pytest.warns(FutureWarning, match="Negative values for `power_t` are deprecated"):
        growing = both("regressor", DENSE, TARGET, learning_rate="invscaling", power_t=-0.1, eta0=0.001)
    reached = [float(np.square(model.predict(DENSE) - TARGET).mean()) for model in growing]
    constant = both("regressor", DENSE, TARGET, eta0=0.001)[0]
    assert max(reached) < float(np.square(constant.predict(DENSE) - TARGET).mean())


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("n_jobs", [2, 3])
def test_classes_on_threads_of_their_own_are_those_of_one_thread(n_jobs: int, early_stopping: bool) -> None:
    settings: dict[str, Any] = {"random_state": 0, "early_stopping": early_stopping, "average": early_stopping}
    one, many = (SGDClassifier(n_jobs=n, **settings).fit(X, THREE) for n in (1, n_jobs))
    assert (one.coef_ == many.coef_).all()
    assert (one.intercept_ == many.intercept_).all()
    assert one.n_iter_ == many.n_iter_
    parts = [SGDClassifier(n_jobs=n, random_state=0) for n in (1, n_jobs)]
    for model in parts:
        for rows in (slice(0, 100), slice(100, 300)):
            model.partial_fit(X[rows], THREE[rows], classes=np.unique(THREE))
    assert (parts[0].coef_ == parts[1].coef_).all()


def test_an_error_on_one_thread_ends_the_others() -> None:
    training = threading.Event()
    told: list[bool] = []

    def train(number: int, ended: Sequence[Any]) -> int:
        if number == 1:
            training.wait(60)
            raise DivergedError("one of them")
        training.set()
        epochs = 0
        while not (ended[0](None, None) or epochs == 60_000):  # a minute
            time.sleep(0.001)
            epochs += 1
        told.append(epochs < 60_000)
        return epochs

    with pytest.raises(DivergedError, match="one of them"):
        on_threads(train, 2, 2)
    assert told == [True]


def test_out_of_range_is_said_in_the_words_of_scikit_learn() -> None:
    with pytest.raises(DataError, match=r"Floating-point under-/overflow occurred at epoch #1: .* StandardScaler"):
        SGDClassifier().fit(DENSE * 1e200, Y)
    with pytest.raises(ValueError, match=r"Floating-point under-/overflow occurred: .* StandardScaler"):
        SGDRegressor().fit(DENSE, TARGET * 1e200)
    with pytest.raises(DataError, match="The sample weights for validation set are all zero"):
        SGDClassifier(early_stopping=True).fit(DENSE, Y, sample_weight=np.zeros(300))


def test_a_fit_of_sparse_arrays_of_the_new_kind_is_that_of_the_old() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        one, other = both("classifier", X, Y)[0], both("classifier", scipy.sparse.csr_array(X), Y)[0]
    assert (one.coef_ == other.coef_).all()


@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet"])
def test_weights_that_vanish_are_no_error_where_numpy_raises_errors(penalty: Any) -> None:
    """Their squares are less than the least number."""
    X, y = load_iris(return_X_y=True)
    model = SGDClassifier(alpha=1e5, learning_rate="constant", eta0=0.1, penalty=penalty, shuffle=False, max_iter=6)
    with np.errstate(all="raise"):
        model.set_params(tol=None).fit(X, y)
    np.testing.assert_allclose(model.coef_, 0, atol=1e-9)
