"""The estimators in scikit-learn's tools on 20 Newsgroups, and the behaviours that scikit-learn documents."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pytest
from numpy.typing import NDArray
from problems import make_problem
from sklearn import linear_model
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectFromModel
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline

import dsgd
from common.real_sets import Parts
from dsgd import SGDClassifier, SGDRegressor

POINTS = 0.005
KINDS = (SGDClassifier, linear_model.SGDClassifier)


@pytest.fixture(scope="module")
def news(real_set: Callable[[str], Parts]) -> Parts:
    return real_set("20news")


def few(news: Parts, n_rows: int = 4000) -> tuple[Any, NDArray[Any]]:
    return news.X[:n_rows], news.y[:n_rows]


def seeds(score: Callable[[int], float]) -> float:
    """Return the mean over three seeds: one alone is uncertain by half of what is allowed."""
    return float(np.mean([score(seed) for seed in range(3)]))


@pytest.mark.parametrize(
    "parameters",
    [{}, {"loss": "log_loss"}, {"class_weight": "balanced"}, {"average": True}, {"early_stopping": True}],
    ids=str,
)
def test_accuracy_on_20news_is_that_of_scikit_learn(parameters: dict[str, Any], news: Parts) -> None:
    ours, theirs = (
        seeds(lambda seed, kind=kind: kind(random_state=seed, **parameters).fit(news.X, news.y).score(*news[2:4]))  # type: ignore[misc]
        for kind in KINDS
    )
    assert ours >= theirs - POINTS


def test_cross_validation_on_20news_scores_as_scikit_learn(news: Parts) -> None:
    X, y = few(news)
    ours, theirs = (
        seeds(lambda seed, kind=kind: float(cross_val_score(kind(random_state=seed), X, y, cv=3).mean()))  # type: ignore[misc]
        for kind in KINDS
    )
    assert ours >= theirs - POINTS


def test_calibrated_and_one_vs_rest_and_selected_score_as_scikit_learn(news: Parts) -> None:
    X, y = few(news)
    X_test, y_test = news.X_test, news.y_test
    for wrap in (
        lambda model: CalibratedClassifierCV(model, cv=3),
        lambda model: OneVsRestClassifier(model),
        lambda model: make_pipeline(SelectFromModel(model), model),
    ):
        ours, theirs = (
            seeds(lambda seed, kind=kind, wrap=wrap: wrap(kind(random_state=seed)).fit(X, y).score(X_test, y_test))  # type: ignore[misc]
            for kind in KINDS
        )
        assert ours >= theirs - POINTS


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_grid_search_on_two_jobs_is_that_of_one(backend: str, news: Parts) -> None:
    X, y = few(news, 1500)
    grid = {"alpha": [1e-4, 1e-2], "loss": ["hinge", "log_loss"]}
    results = []
    for n_jobs in (None, 2):
        search = GridSearchCV(SGDClassifier(random_state=0, max_iter=20, tol=None), grid, cv=3, n_jobs=n_jobs)
        with joblib.parallel_config(backend):
            results.append(search.fit(X, y))
    assert results[0].best_params_ == results[1].best_params_
    assert (results[0].cv_results_["mean_test_score"] == results[1].cv_results_["mean_test_score"]).all()
    assert results[1].best_score_ > 0.5


def test_hogwild_works_in_the_jobs_of_a_grid_search(news: Parts) -> None:
    X, y = news.X[:2000], news.binary().y[:2000]
    model = SGDClassifier(random_state=0, n_jobs=2, max_iter=5, tol=None)
    search = GridSearchCV(model, {"alpha": [1e-4, 1e-3]}, cv=3, n_jobs=2).fit(X, y)
    assert search.best_score_ > 0.95


def test_words_become_features_in_a_pipeline() -> None:
    random = np.random.default_rng(0)
    words = np.array([f"word{k}" for k in range(200)])
    labels = random.integers(3, size=600)
    texts = [" ".join(words[random.zipf(1.5, 30) % 60 + 50 * label]) for label in labels]
    model = Pipeline([("words", TfidfVectorizer()), ("model", SGDClassifier(random_state=0))])
    assert cross_val_score(model, texts, labels, cv=3).min() > 0.95


def _fit_in_child(queue: Any) -> None:
    X, y = make_problem(500, 20, seed=0)
    queue.put(SGDClassifier(random_state=0, n_jobs=2).fit(X, y).score(X, y))


def test_a_fit_in_a_forked_child_does_not_hang() -> None:
    X, y = make_problem(500, 20, seed=0)
    SGDClassifier(random_state=0, n_jobs=2).fit(X, y)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, from Python 3.12 on
        child = context.Process(target=_fit_in_child, args=(queue,), daemon=True)
        child.start()
    try:
        assert queue.get(timeout=60) > 0.9
    finally:
        child.join(timeout=10)
        child.kill()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("loss", ["hinge", "log_loss"])
def test_a_hundred_partial_fits_come_within_a_hundredth_of_fit(loss: str, news: Parts) -> None:
    """Ten passes, each in 100 shuffled chunks of the rows, against ten epochs; class 3 against the rest."""
    X, y = news.X, news.binary().y
    random = np.random.default_rng(0)
    parts = SGDClassifier(loss=loss, random_state=0)
    for _ in range(10):
        for rows in np.array_split(random.permutation(len(y)), 100):
            parts.partial_fit(X[rows], y[rows], classes=[-1, 1])
    whole = SGDClassifier(loss=loss, random_state=0, max_iter=10, tol=None).fit(X, y)
    assert parts.t_ == whole.t_
    assert objective(parts, X, y) <= 1.01 * objective(whole, X, y)


def objective(model: Any, X: Any, y: NDArray[Any]) -> float:
    """Return mean loss and penalty of a binary classifier with L2."""
    loss = dsgd.losses.Hinge() if model.loss == "hinge" else dsgd.losses.Logistic()
    return float(loss.value(model.decision_function(X), y).mean() + model.alpha / 2 * np.square(model.coef_).sum())


# What scikit-learn's documentation says of its schedules and rules.


def _one_step(**parameters: Any) -> float:
    """Return the weight after `partial_fit` on one sample x = 2, y = 10, of slope -1 while the weight is below 5."""
    model = SGDRegressor(
        loss="epsilon_insensitive", epsilon=0.0, alpha=1e-3, penalty=None, fit_intercept=False, **parameters
    )
    model.partial_fit([[2.0]], [10.0])
    return float(model.coef_[0])


@pytest.mark.parametrize(
    ("parameters", "step"),
    [
        ({"learning_rate": "constant", "eta0": 0.3}, 0.3),
        ({"learning_rate": "invscaling", "eta0": 0.3}, 0.3),
        ({"learning_rate": "adaptive", "eta0": 0.3}, 0.3),
        ({"learning_rate": "optimal"}, 1 / (1e-3 * (1e-3 ** (1 / 4) / 1e-3))),  # 1 / (alpha (t0 + t - 1))
        ({"learning_rate": "pa1", "eta0": 0.3}, 0.3),  # at most eta0
        ({"learning_rate": "pa1", "eta0": 100.0}, 10 / 2**2),  # loss / ||x||^2
        ({"learning_rate": "pa2", "eta0": 0.3}, 10 / (2**2 + 1 / (2 * 0.3))),
    ],
    ids=str,
)
def test_the_first_step_is_the_documented_one(parameters: dict[str, Any], step: float) -> None:
    assert _one_step(**parameters) == pytest.approx(2 * step)


def test_optimal_steps_fall_as_one_over_alpha_t() -> None:
    model = SGDRegressor(
        loss="epsilon_insensitive", epsilon=0.0, alpha=0.01, penalty=None, fit_intercept=False, learning_rate="optimal"
    )
    t0 = 0.01 ** (1 / 4) / 0.01
    before = 0.0
    for t in (1, 2, 3, 50):
        model.t_ = float(t)
        model.partial_fit([[1e-3]], [1e6])
        assert model.coef_[0] - before == pytest.approx(1e-3 / (0.01 * (t0 + t - 1)))
        before = float(model.coef_[0])


def test_adaptive_divides_the_step_by_five_at_every_standstill_and_ends_below_a_millionth() -> None:
    """A constant step stands still at a distance that its size sets; adaptive goes on to the optimum."""
    random = np.random.default_rng(0)
    X = random.standard_normal((400, 5))
    y = X @ np.arange(5) + random.standard_normal(400)
    settings: dict[str, Any] = {"random_state": 0, "eta0": 0.05, "alpha": 0.0, "tol": 1e-4, "n_iter_no_change": 2}
    adaptive = SGDRegressor(learning_rate="adaptive", max_iter=500, **settings).fit(X, y)
    constant = SGDRegressor(learning_rate="constant", max_iter=500, **settings).fit(X, y)
    best = np.linalg.lstsq(np.c_[X, np.ones(400)], y, rcond=None)[0]
    gap_adaptive, gap_constant = (
        float(np.abs(np.append(m.coef_, m.intercept_) - best).max()) for m in (adaptive, constant)
    )
    assert gap_adaptive < 0.1 * gap_constant
    # 0.05 / 5^7 is below 1e-6: seven cuts, each after two epochs without progress.
    assert 7 * 2 < adaptive.n_iter_ < 500


def test_tol_waits_for_n_iter_no_change_epochs() -> None:
    X, y = make_problem(300, 20, seed=0)
    runs = {n: SGDClassifier(random_state=0, tol=1e9, n_iter_no_change=n).fit(X, y).n_iter_ for n in (1, 3, 7)}
    assert runs == {1: 2, 3: 4, 7: 8}  # the first epoch is progress, whatever tol


def test_early_stopping_ends_on_the_score_of_rows_that_are_held_out() -> None:
    X, y = make_problem(1000, 20, seed=0)
    y = np.where(np.random.default_rng(0).random(1000) < 0.4, -y, y)
    settings: dict[str, Any] = {"random_state": 0, "early_stopping": True, "validation_fraction": 0.2, "tol": 1e-3}
    model = SGDClassifier(**settings).fit(X, y)
    assert model.n_iter_ < 100
    assert model.t_ == 1 + model.n_iter_ * 1000
    assert SGDClassifier(**{**settings, "n_iter_no_change": 20}).fit(X, y).n_iter_ > model.n_iter_


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_average_is_the_mean_of_the_weights_after_every_sample() -> None:
    """Weights of 1, 2, 3, ... steps: the mean is known, and that from the n-th sample on too."""
    X, y = np.ones((10, 1)), np.full(10, 1e6)
    settings: dict[str, Any] = {"loss": "epsilon_insensitive", "penalty": None, "fit_intercept": False, "tol": None}
    settings |= {"learning_rate": "constant", "eta0": 1.0, "max_iter": 2}
    for average, expected in ((False, 20.0), (True, np.mean(range(1, 21))), (15, np.mean(range(15, 21))), (30, 20.0)):
        assert SGDRegressor(average=average, **settings).fit(X, y).coef_[0] == pytest.approx(expected)
    parts = SGDRegressor(average=15, **settings)
    for rows in (slice(0, 10), slice(0, 3), slice(3, 10)):
        parts.partial_fit(X[rows], y[rows])
    assert parts.coef_[0] == pytest.approx(np.mean(range(15, 21)))
