from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from sklearn.linear_model import LinearRegression, SGDClassifier

import dsgd
from dsgd.data import available, fetch, make_clusters, make_like, make_text_classification, registry, synthetic
from dsgd.errors import ConfigError
from dsgd.losses import Huber, resolve_loss
from dsgd.testing import make_known_optimum


def test_shape_and_frequencies_are_those_of_rcv1() -> None:
    X, y = make_text_classification(5000, random_state=0)
    assert X.shape == (5000, 47236)
    assert X.dtype == np.float32
    assert X.indices.dtype == np.int32
    assert X.has_canonical_format
    assert X.nnz / 5000 == pytest.approx(72, rel=0.05)
    np.testing.assert_allclose(np.sqrt((X.multiply(X)).sum(axis=1)), 1, rtol=1e-5)
    frequency = np.sort(np.bincount(X.indices, minlength=47236) / 5000)[::-1]
    assert 0.3 < frequency[0] < 0.7
    assert frequency[100] / frequency[1000] == pytest.approx(1010 / 110, rel=0.25)  # (k + 10)^-1
    assert abs(y.mean()) < 0.1


def test_the_seed_repeats_and_every_option_changes_the_data() -> None:
    plain, y = make_text_classification(200, n_features=500, words_per_sample=20, random_state=0)
    again, y_again = make_text_classification(200, n_features=500, words_per_sample=20, random_state=0)
    assert (plain != again).nnz == 0
    assert (y == y_again).all()
    steep, _ = make_text_classification(200, n_features=500, words_per_sample=20, exponent=2.0, random_state=0)
    share = [np.sort(np.bincount(X.indices))[-20:].sum() / X.nnz for X in (plain, steep)]
    assert share[1] > 1.5 * share[0]
    assert make_text_classification(9, n_features=500, dtype=np.float64)[0].dtype == np.float64


def test_the_separation_makes_it_learnable() -> None:
    for separation, low, high in ((0.0, 0.4, 0.6), (0.5, 0.9, 1.0)):
        X, y = make_text_classification(4000, n_features=500, separation=separation, random_state=0)
        score = SGDClassifier(random_state=0).fit(X[:2000], y[:2000]).score(X[2000:], y[2000:])
        assert low < score <= high


def test_more_words_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match="words_per_sample must be an integer from 1 to 50"):
        make_text_classification(10, n_features=50, words_per_sample=51)
    assert make_text_classification(10, n_features=50, words_per_sample=50)[0].shape == (10, 50)


def test_blocks_of_rows_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, y = make_text_classification(300, n_features=500, words_per_sample=20, random_state=0)
    monkeypatch.setattr(synthetic, "_WORDS_IN_BLOCK", 7)
    blocks, y_again = make_text_classification(300, n_features=500, words_per_sample=20, random_state=0)
    assert (whole.indices == blocks.indices).all()
    assert (whole.indptr == blocks.indptr).all()
    np.testing.assert_array_equal(whole.data, blocks.data)
    assert (y == y_again).all()


@pytest.mark.parametrize(("name", "nonzeros"), [("rcv1", 72), ("real-sim", 51), ("news20", 455)])
def test_stand_ins_have_the_shape_of_the_set(name: str, nonzeros: int) -> None:
    data = make_like(name, n_samples=2000, random_state=0)
    assert data.X.shape == (2000, available()[name].n_features)
    assert data.X.nnz / 2000 == pytest.approx(nonzeros, rel=0.05)
    assert data.X.dtype == np.float32
    assert set(data.y) == {-1.0, 1.0}


def test_stand_ins_have_as_many_rows_as_the_training_part_of_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(synthetic._WORDS_PER_SAMPLE) <= set(available())
    assert make_like("yearprediction").X.shape == (463_715, 90)
    monkeypatch.setitem(registry._SOURCES, "rcv1", replace(available()["rcv1"], n_samples=12))
    assert make_like("rcv1").n_samples == 12


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: make_clusters(10, random_state=seed),
        lambda seed: make_known_optimum(10, 2, random_state=seed),
        lambda seed: make_like("rcv1", n_samples=1, random_state=seed),
        lambda seed: make_like("yearprediction", n_samples=1, random_state=seed),
        lambda seed: make_text_classification(1, random_state=seed),
    ],
    ids=["clusters", "known optimum", "like a sparse set", "like a dense set", "text"],
)
@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "a", [1], True])
def test_a_seed_that_is_none_is_refused(make: Callable[[Any], object], seed: Any) -> None:
    with pytest.raises(ConfigError, match="random_state must be an integer from 0 to 18446744073709551615, not "):
        make(seed)


@pytest.mark.parametrize("function", [make_like, fetch])
@pytest.mark.parametrize(
    ("name", "message"),
    [("rcv", "'rcv'; did you mean 'rcv1'"), (["rcv1"], r"\['rcv1'\]; known: "), (None, "None; known: ")],
)
def test_a_data_set_of_no_such_name_is_refused(function: Callable[[Any], object], name: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown data set {message}"):
        function(name)


def test_years_are_explained_to_a_quarter() -> None:
    data = make_like("yearprediction", n_samples=20_000, random_state=0)
    assert data.X.shape == (20_000, 90)
    assert data.y.mean() == pytest.approx(1998.4, abs=0.5)
    assert data.y.std() == pytest.approx(10.9, rel=0.05)
    assert LinearRegression().fit(data.X, data.y).score(data.X, data.y) == pytest.approx(0.24, abs=0.03)
    again = make_like("yearprediction", n_samples=20_000, random_state=0, dtype=np.float64)
    np.testing.assert_array_equal(again.X, data.X)
    assert again.X.dtype == np.float64


def test_samples_lie_around_centres_that_are_apart() -> None:
    X, labels, centers = make_clusters(20_000, n_clusters=8, n_features=5, random_state=0)
    assert X.shape == (20_000, 5)
    assert X.dtype == np.float32
    assert (np.bincount(labels) == 2500).all()
    distances = np.linalg.norm(centers[:, None] - centers, axis=2)[np.triu_indices(8, 1)]
    assert distances.min() >= 0.5
    deviations = [(X - centers[labels])[labels == k].std() / 0.05 for k in range(8)]
    assert 0.45 < min(deviations) < max(deviations) < 1.55
    assert max(deviations) > 1.2 * min(deviations)
    for k in range(8):
        np.testing.assert_allclose(X[labels == k].mean(axis=0), centers[k], atol=0.01)
    again = make_clusters(20_000, n_clusters=8, n_features=5, random_state=0, dtype=np.float64)
    np.testing.assert_array_equal(again.X.astype(np.float32), X)
    wide = make_clusters(20_000, n_clusters=8, n_features=5, random_state=0, spread=0.5)
    assert wide.X.std() > X.std()


def test_centres_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"50 centres at least min_distance=0\.9 apart were not found"):
        make_clusters(100, n_clusters=50, n_features=2, min_distance=0.9)
    assert make_clusters(100, n_clusters=50, n_features=2, min_distance=0.0).centers.shape == (50, 2)


def objective_and_gradient(problem: Any, loss: Any, alpha: float, fit_intercept: bool) -> Any:
    def at(parameters: Any) -> tuple[float, Any]:
        w, b = (parameters[:-1], parameters[-1]) if fit_intercept else (parameters, 0.0)
        z = problem.X @ w + b
        derivative = loss.derivative(z, problem.y) / len(problem.y)
        gradient = problem.X.T @ derivative + alpha * w
        value = loss.value(z, problem.y).mean() + alpha / 2 * w @ w
        return value, np.append(gradient, derivative.sum()) if fit_intercept else gradient

    return at


@pytest.mark.parametrize("loss", ["huber", "logistic", "modified_huber", "squared", "squared_hinge"])
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((60, 5), {"alpha": 0.1}),
        ((300, 20), {"density": 0.3, "alpha": 0.01}),
        ((200, 10), {"fit_intercept": False, "noise": 2.0}),
        ((40, 80), {"alpha": 0.1, "density": 0.2}),
    ],
)
def test_the_known_optimum_is_where_scipy_finds_it(loss: str, shape: tuple[int, int], options: Any) -> None:
    problem = make_known_optimum(*shape, loss=loss, random_state=0, **options)
    assert problem.X.shape == shape
    assert scipy.sparse.issparse(problem.X) == ("density" in options)
    fit_intercept = options.get("fit_intercept", True)
    objective = objective_and_gradient(problem, resolve_loss(loss), options.get("alpha", 1e-2), fit_intercept)
    known = np.append(problem.coef, problem.intercept) if fit_intercept else problem.coef
    value, gradient = objective(known)
    assert value == pytest.approx(problem.objective, rel=1e-12)
    assert np.abs(gradient).max() < 1e-10
    found = scipy.optimize.minimize(objective, np.zeros(len(known)), jac=True, method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(found.x, known, atol=1e-6)
    assert np.linalg.norm(problem.coef) > 0.1


def test_gradient_descent_ends_at_the_known_optimum() -> None:
    problem = make_known_optimum(400, 15, loss="logistic", density=0.4, random_state=1)
    result = dsgd.fit(problem.X, problem.y, algo="batch", loss="logistic", alpha=1e-2, max_epochs=2000)
    assert result.history[-1].objective == pytest.approx(problem.objective, rel=1e-9)
    np.testing.assert_allclose(result.coef_.ravel(), problem.coef, atol=1e-4)


def test_every_option_of_the_known_optimum_counts() -> None:
    plain = make_known_optimum(100, 10, random_state=0)
    again = make_known_optimum(100, 10, random_state=0)
    assert (plain.X == again.X).all()
    assert (plain.coef == again.coef).all()
    assert plain.intercept != 0
    assert make_known_optimum(100, 10, random_state=0, fit_intercept=False).intercept == 0
    assert make_known_optimum(100, 10, random_state=0, noise=2.0).objective > 2 * plain.objective
    assert make_known_optimum(100, 10, random_state=0, alpha=1.0).coef.std() < plain.coef.std() / 1.5
    huber = make_known_optimum(100, 10, random_state=0, loss=Huber(epsilon=10.0))
    np.testing.assert_allclose(huber.coef, plain.coef, rtol=1e-9)  # so wide a Huber loss is the squared loss
    single = make_known_optimum(100, 10, random_state=0, dtype=np.float32)
    np.testing.assert_allclose(single.X, plain.X, rtol=1e-6, atol=1e-30)
    assert single.X.dtype == np.float32
    sparse = make_known_optimum(2000, 50, random_state=0, density=0.1)
    assert sparse.X.nnz / 2000 == pytest.approx(5, rel=0.1)
    frequency = np.bincount(sparse.X.indices, minlength=50)
    assert frequency[0] == 2000
    assert frequency[0] > 2 * frequency[5] > 4 * frequency[40]


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((50, 5), {"loss": "hinge"}, "'hinge' is not differentiable; take one of huber, logistic"),
        ((50, 5), {"alpha": 0}, "alpha must be a finite number above 0"),
        ((50, 5), {"density": 0.1}, "density=0.1 leaves less than one non-zero a row of 5 features"),
        ((50, 5), {"density": 1.5}, "density must be"),
        ((2, 1), {"loss": "logistic", "random_state": 1}, "all of 2 samples fell into one class"),
        ((30, 60), {"loss": "squared_hinge", "density": 0.05, "noise": 0, "alpha": 1e-6}, "no such problem was found"),
    ],
)
def test_optima_that_cannot_be_made_are_refused(shape: tuple[int, int], options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_known_optimum(*shape, **{"random_state": 0, **options})
