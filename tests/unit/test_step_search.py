from __future__ import annotations

import dataclasses
import logging
import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from problems import make_problem

import dsgd
from dsgd import _core
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.errors import DataError
from dsgd.fitting.step_search import _minimise
from dsgd.problems.problem import Problem, Sample
from dsgd.schedules import Optimal

X, Y = make_problem(3000, 40, seed=0)
LOSSES = ["hinge", "logistic", "squared"]


def fit(data: Any = X, y: Any = Y, **settings: Any) -> dsgd.FitResult:
    return dsgd.fit(data, y, **{"algo": "sgd", "random_state": 0, "max_epochs": 10, **settings})


def objective(result: dsgd.FitResult) -> float:
    value = result.history[-1].objective
    assert value is not None
    return value


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("layout", ["sparse", "dense"])
def test_auto_is_as_good_as_the_best_constant_step(loss: str, layout: str) -> None:
    data = X if layout == "sparse" else X.toarray()
    mean = (X.data**2).sum() / len(Y)
    best = min(
        objective(fit(data, loss=loss, schedule="constant", step_size=4.0**k / mean, evaluate_every=10))
        for k in range(-8, 0 if loss == "squared" else 2)
    )
    assert objective(fit(data, loss=loss)) <= 1.02 * best


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("algo", ["sgd", "hogwild"])
@pytest.mark.parametrize("factor", [2.0**-10, 2.0**10])
def test_the_unit_of_the_features_does_not_matter(loss: str, algo: str, factor: float) -> None:
    """A power of two is exact, so the decision values must be the same bits."""
    plain = fit(loss=loss, algo=algo, alpha=1e-3, n_threads=1)
    scaled = fit(X * factor, loss=loss, algo=algo, alpha=1e-3 * factor**2, n_threads=1)
    assert (plain.decision_function(X) == scaled.decision_function(X * factor)).all()


@pytest.mark.parametrize("loss", ["squared", "huber", "epsilon_insensitive"])
def test_a_target_far_from_zero_is_met(loss: str) -> None:
    target = X @ np.arange(40.0) + 2000
    result = fit(X, target, loss=loss, alpha=0)
    assert result.score(X, target) > 0.9
    assert result.intercept_ == pytest.approx(2000, abs=10)


def test_a_heavy_tail_does_not_make_the_squared_loss_diverge() -> None:
    heavy = X.toarray()
    heavy[7] *= 300  # a row that no trial need have seen
    target = heavy @ np.linspace(-1, 1, 40)
    assert objective(fit(heavy, target, loss="squared", alpha=0)) < 0.4 * float(np.mean(target**2)) / 2


def test_the_search_is_logged_and_its_result_is_in_the_history(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dsgd"):
        step = fit().history[0].step_size
    assert "step_size: objective after 3 passes over 1000 rows by step: " in caplog.text
    assert f"{2 * step:.3g}: " in caplog.text
    assert step > 0


def test_classes_have_steps_of_their_own() -> None:
    three = np.arange(3000) % 3
    result = fit(X, three)
    assert result.coef_.shape == (3, 40)
    assert np.isfinite(result.coef_).all()


def test_the_first_class_has_the_step_that_it_has_alone() -> None:
    three = np.arange(3000) % 3
    together, alone = fit(X, three), fit(X, three == 0)
    assert (together.coef_[0] == alone.coef_).all()
    assert together.intercept_[0] == alone.intercept_


@pytest.mark.parametrize("layout", ["sparse", "dense"])
def test_all_classes_are_tried_on_one_sample(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = []

    def cut(data: Any, n_threads: int) -> _core.Matrix:
        cuts.append(data.shape[0])
        return as_matrix(data, n_threads)

    monkeypatch.setattr("dsgd.problems.problem.as_matrix", cut)
    fit(X if layout == "sparse" else X.toarray(), np.arange(3000) % 5, max_epochs=1)
    assert cuts == [1000]


def test_weights_of_samples_count() -> None:
    weighted = fit(sample_weight=np.full(3000, 1024.0), alpha=1e-4 * 1024).history[0].step_size
    assert weighted == pytest.approx(fit(alpha=1e-4).history[0].step_size / 1024)


def test_optimal_starts_where_scikit_learn_starts() -> None:
    assert fit(schedule="optimal", alpha=1e-4, evaluate_every=0).history[0].step_size == pytest.approx(10)
    assert fit(schedule="optimal", alpha=1e-4, step_size=0.5).history[0].step_size == 0.5
    of_its_own = fit(schedule=Optimal(alpha=1e-4), penalty="none", evaluate_every=0)
    assert of_its_own.history[0].step_size == pytest.approx(10)
    assert fit(schedule="pa1", evaluate_every=0).history[0].step_size == 1
    assert fit(loss="perceptron", evaluate_every=0).history[0].step_size == pytest.approx(3000 / (X.data**2).sum())
    assert fit(algo="batch", schedule="optimal", alpha=1e-4, max_epochs=1).history[0].step_size < 10


@pytest.mark.parametrize(
    ("dtype", "factor"), [(np.float64, 1e200), (np.float64, 1e-160), (np.float32, 1e20), (np.float32, 1e-22)]
)
def test_features_whose_squares_leave_the_range_of_their_type_are_refused(dtype: Any, factor: float) -> None:
    for settings in ({}, {"step_size": 1.0}):
        with pytest.raises(DataError, match=rf"leave the range of {np.dtype(dtype)}: scale the features"):
            fit((X * factor).astype(dtype), **settings)


def test_large_batches_are_tried_on_a_quarter_of_the_rows(caplog: pytest.LogCaptureFixture) -> None:
    many, y = make_problem(6000, 40, seed=0)
    with caplog.at_level(logging.INFO, "dsgd"):
        fit(many, y, algo="minibatch", batch_size=1000, max_epochs=2)
    assert "objective after 2 passes over 1500 rows" in caplog.text


@pytest.mark.parametrize("n_rows", [512, 513, 600])
def test_a_last_batch_of_few_rows_does_no_harm(n_rows: int) -> None:
    many, _ = make_problem(n_rows, 20, seed=0)
    target = many @ np.linspace(-1, 1, 20)
    settings: dict[str, Any] = {"algo": "minibatch", "batch_size": 512, "loss": "squared", "alpha": 0}
    assert objective(fit(many, target, step_size=0.5, schedule="constant", max_epochs=100, **settings)) < 0.1


def test_a_matrix_of_zeros_is_trained_on() -> None:
    assert (fit(np.zeros((4, 2)), [0, 1, 1, 1]).coef_ == 0).all()


@pytest.mark.parametrize(
    ("best", "guess", "expected"),
    [(8, 1, 8), (0.25, 16, 0.25), (1, 1, 1), (3, 1, 4)],
    ids=["up", "down", "there", "near"],
)
def test_the_walk_finds_the_lowest_point(best: float, guess: float, expected: float) -> None:
    assert _minimise(lambda step: abs(math.log(step / best)), guess) == expected


def test_the_walk_comes_down_from_where_everything_diverges() -> None:
    assert _minimise(lambda step: math.inf if step > 1e-3 else 1 + step, 1024.0) < 1e-3
    assert _minimise(lambda _: math.inf, 1.0) > 0
    assert _minimise(lambda _: 1.0, 1.0) == 1


@pytest.mark.parametrize("layout", ["sparse", "dense"])
def test_a_sample_is_the_problem_of_its_rows(layout: str) -> None:
    data: Any = scipy.sparse.hstack([X, np.zeros((3000, 5))], format="csr") if layout == "sparse" else X.toarray()
    weight = np.linspace(0.5, 2, 3000)
    matrix = as_matrix(data, 1)
    problem = Problem(
        matrix=matrix,
        target=Y,
        sample_weight=weight,
        loss=dsgd.losses.Logistic(),
        alphas=(0.0, 0.0),
        fit_intercept=True,
        scale=measure(matrix, weight, 1),
    )
    w = np.random.default_rng(0).standard_normal(data.shape[1] + 1)
    rows = np.array([3, 5, 8, 2999])
    sample = Sample.cut(matrix, rows)
    small, kept = sample.problem(problem), sample.weights(problem, w)
    expected = _core.LinearObjective(
        as_matrix(data[rows], 1),
        Y[rows],
        weight[rows],
        loss=problem.loss.to_core(),
        alpha_l1=0,
        alpha_l2=0,
        fit_intercept=True,
        n_threads=1,
    ).value(w, 1)
    assert small.objective(1).value(kept, 1) == pytest.approx(expected, rel=1e-14)
    if layout == "sparse":
        assert small.matrix.n_features == len(np.unique(X[rows].indices)) < 40


def test_the_scale_of_a_dense_matrix_is_that_of_its_sparse_twin() -> None:
    dense, sparse = as_matrix(X.toarray(), 1), as_matrix(X, 1)
    weight = np.linspace(0.5, 2, 3000)
    for sample_weight in (None, weight):
        for matrix in (dense, sparse):
            assert measure(matrix, sample_weight, 2) == measure(matrix, sample_weight, 1)
        twins = [dataclasses.asdict(measure(matrix, sample_weight, 1)) for matrix in (dense, sparse)]
        assert twins[0] == pytest.approx(twins[1], rel=1e-14)  # zeros between the entries change the order of the sum
        assert twins[0]["row_entries"] == twins[1]["row_entries"]
    assert measure(sparse, np.ones(3000), 1) == measure(sparse, None, 1)
    scale = measure(sparse, weight, 1)
    norms = np.asarray((X.multiply(X)).sum(axis=1)).ravel()
    assert scale.intercept_rate == pytest.approx(norms.sum() / X.nnz)
    assert scale.mean == pytest.approx(np.mean(weight * norms))
    assert scale.largest == pytest.approx(np.max(weight * (norms + scale.intercept_rate)))


@pytest.mark.parametrize("layout", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("algo", ["sgd", "minibatch", "svrg", "hogwild", "batch"])
def test_columns_that_are_too_different_are_warned_of(algo: str, layout: Any) -> None:
    random = np.random.default_rng(0)
    scaled = random.normal(size=(2000, 9))
    target = scaled @ np.ones(9)
    units = np.logspace(-3, 5, 9)
    options: dict[str, Any] = {"algo": algo, "loss": "squared", "random_state": 0, "n_threads": 1}
    with pytest.warns(RuntimeWarning, match=r"entries of about 0[.]\d+ to \S+, .*StandardScaler"):
        poor = dsgd.fit(layout(scaled * units), target, **options)
    assert poor.score(scaled * units, target) < 0.7
    assert dsgd.fit(layout(scaled * 1e5), target, **options).score(scaled * 1e5, target) > 0.9  # no warning


def test_warnings_name_the_line_of_the_program_that_called() -> None:
    X = np.random.default_rng(0).normal(size=(500, 5)) * 100
    for call in (
        lambda: dsgd.fit(X, X.sum(axis=1), algo="sgd", loss="squared", step_size=1.0, random_state=0),
        lambda: dsgd.SGDRegressor(random_state=0).fit(X, X.sum(axis=1)),
        lambda: dsgd.SGDRegressor(random_state=0).partial_fit(X, X.sum(axis=1)),
    ):
        with pytest.warns(RuntimeWarning, match="diverged") as caught:
            call()
        assert {warning.filename for warning in caught} == {__file__}
