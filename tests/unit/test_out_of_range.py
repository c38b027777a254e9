"""Numbers at the ends of their range train as others do, or are refused by name; random fits found these kinds."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from problems import make_problem

import dsgd
from dsgd import _core, losses, schedules
from dsgd.algorithms.variance_reduction import gradient_norm
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import mean_weight, measure
from dsgd.errors import ConfigError, DataError, DivergedError
from dsgd.models import KMeansModel
from dsgd.problems.problem import Problem

X, Y = make_problem(60, 8, seed=0)
DENSE = X.toarray()
LARGEST = float(np.finfo(np.float64).max)

fit = functools.partial(dsgd.fit, max_epochs=3, random_state=0, n_threads=1)


def problem_of(X: Any, alphas: tuple[float, float] = (0.0, 0.1)) -> Problem:
    matrix = as_matrix(X, 1)
    target = np.ones(matrix.n_rows)
    scale = measure(matrix, None, 1)
    return Problem(
        matrix=matrix,
        target=target,
        sample_weight=None,
        loss=losses.Logistic(),
        alphas=alphas,
        fit_intercept=False,
        scale=scale,
    )


@pytest.mark.parametrize("penalty", ["l1", "l2", "elasticnet"])
@pytest.mark.parametrize("algo", ["sgd", "hogwild", "minibatch", "svrg", "batch"])
@pytest.mark.parametrize("layout", [np.asarray, scipy.sparse.csr_array])
def test_a_penalty_that_vanishes_in_the_type_of_x_is_none(algo: str, penalty: str, layout: Any) -> None:
    small = layout(DENSE.astype(np.float32))
    options: dict[str, Any] = {"algo": algo, "loss": "logistic"}
    vanishing = fit(small, Y, penalty=penalty, alpha=1e-50, **options)
    none = fit(small, Y, penalty="none", **options)
    np.testing.assert_array_equal(vanishing.model.weights, none.model.weights)


def test_what_needs_a_penalty_refuses_one_that_vanishes() -> None:
    small = X.astype(np.float32)
    with pytest.raises(ConfigError, match="alpha above 0"):
        fit(small, Y, algo="sdca", loss="logistic", alpha=1e-50)
    with pytest.raises(ConfigError, match="alpha above 0"):
        fit(small, Y, algo="sgd", loss="logistic", alpha=1e-50, schedule="optimal")


@pytest.mark.filterwarnings("ignore:epoch .* diverged:RuntimeWarning")
@pytest.mark.parametrize(
    "options", [{"algo": "batch", "n_threads": 1}, {"algo": "ssp", "cluster": dsgd.Simulation(workers=2)}]
)
def test_finite_weights_with_an_infinite_objective_have_diverged(options: dict[str, Any]) -> None:
    """The perceptron does not explode, but a history cannot be saved with an infinite objective."""
    options = {"max_epochs": 2, "random_state": 0, **options}
    with pytest.raises(DivergedError, match="objective"):
        dsgd.fit(X, Y, loss="perceptron", init=np.full(9, 1e300), **options)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_targets_and_starts_beyond_float32_are_refused(method: str) -> None:
    small, model = DENSE.astype(np.float32), dsgd.SGDRegressor(max_iter=2, tol=None)
    with pytest.raises(DataError, match=r"y\[0\] is 1e\+300, beyond the range of float32"):
        getattr(model, method)(small, np.full(60, 1e300))
    with pytest.raises(DataError, match="beyond the range of float32"):
        model.fit(small, Y, coef_init=np.full(8, 1e300))


def test_partial_fit_refuses_a_single_class_as_fit_does() -> None:
    with pytest.raises(DataError, match="number of classes has to be greater than one; got 1 class"):
        dsgd.SGDClassifier().partial_fit(DENSE, np.ones(60), classes=[1.0])


@pytest.mark.parametrize("make", [dsgd.SGDClassifier, dsgd.SGDRegressor, dsgd.KMeans, dsgd.MLPClassifier])
def test_estimators_refuse_squares_out_of_range_without_a_warning_of_numpy(make: Any) -> None:
    with pytest.raises(DataError, match="squares of X"):
        make().fit(np.where(np.arange(8) < 4, LARGEST, -LARGEST) * np.ones((60, 1)), Y)


def test_a_step_of_zero_has_no_norm_of_the_gradient() -> None:
    weights = np.ones(8)
    assert gradient_norm(problem_of(X), weights, weights, 0.0) == 0.0
    assert gradient_norm(problem_of(X), weights, weights, 1e-3) > 0
    result = dsgd.fit(
        X,
        Y,
        algo="dissvrg",
        loss="squared_hinge",
        max_sigma=0.1,
        schedule=schedules.InverseScaling(power=300.0),
        cluster=dsgd.Simulation(workers=3),
        max_epochs=5,
        random_state=0,
    )
    assert np.isfinite(result.model.weights).all()


@pytest.mark.parametrize("alphas", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_a_proximal_step_beyond_the_range_of_float32_ends_at_zero(alphas: tuple[float, float]) -> None:
    coef = np.array([-1e5, 3.0, 1e30], np.float32)
    problem_of(X, alphas).shrink(coef, 1e300)
    np.testing.assert_array_equal(coef, 0)


def test_the_schedule_optimal_begins_at_its_step_however_large() -> None:
    schedule = schedules.Optimal(alpha=1e300).to_core(1e300, schedules.Run(n_samples=10, max_epochs=1, alpha=1.0))
    assert schedule.at(1, 0) == 1e300
    assert 0 <= schedule.at(2, 0) < 1e-7


def test_an_objective_that_is_zero_to_rounding_has_no_gap() -> None:
    result = fit(X, DENSE[:, 0] * 1e-160, algo="sdca", loss="squared", gap_tol=1e300)
    assert result.history[-1].gap == 0.0


@pytest.mark.filterwarnings("ignore:epoch .* diverged:RuntimeWarning")
@pytest.mark.parametrize("options", [{"algo": "sgd"}, {"algo": "minibatch", "batch_size": 1}])
def test_an_average_that_overflows_has_diverged(options: dict[str, Any]) -> None:
    with pytest.raises(DivergedError, match="after 10 cuts of the step"):
        fit(X, DENSE[:, 0], loss="squared", average=3, step_size=1e20, **options)


def test_a_network_takes_a_column_whose_squares_vanish_for_a_constant() -> None:
    small = np.c_[DENSE, DENSE[:, 0] * 1e-170]
    for layout in (np.asarray, scipy.sparse.csr_array):
        result = fit(layout(small), Y, algo="minibatch", loss=losses.MLP((5,)))
        assert np.isfinite(result.model.weights).all()
        first, *_, last = [record.objective or 0.0 for record in result.history]
        assert 0 < last < first


def test_a_network_without_a_penalty_has_an_objective_at_weights_whose_squares_are_infinite() -> None:
    tiny = np.where(np.arange(60) % 2, 1e-140, -1e-140)[:, None]
    init = np.array([1e160, -1e160, 0.0, 0.0])
    loss = losses.MLP(())
    result = fit(tiny, Y, algo="batch", loss=loss, alpha=0.0, init=init, step_size=1e-300)
    assert result.history[-1].objective is not None
    assert np.isfinite(result.history[-1].objective)


def test_distances_of_k_means_do_not_overflow_in_their_squares() -> None:
    model = fit(DENSE, algo="minibatch", loss=losses.KMeans(2)).model
    assert isinstance(model, KMeansModel)
    far = np.zeros((2, 8))
    far[:, 0] = [3e200, 0.0]
    far[0, 1] = -4e200
    expected = np.linalg.norm(far[1] - model.centres, axis=1)
    np.testing.assert_allclose(model.decision_function(far), [[5e200, 5e200], expected])


@pytest.mark.parametrize("unit", [1e-290, 1e307])
def test_the_unit_of_the_weights_of_k_means_does_not_matter(unit: float) -> None:
    weight = np.random.default_rng(0).integers(1, 9, 60) / 8
    plain, scaled = (
        dsgd.KMeans(3, random_state=0, max_iter=5).fit(DENSE, sample_weight=weight * each) for each in (1.0, unit)
    )
    np.testing.assert_allclose(scaled.cluster_centers_, plain.cluster_centers_, rtol=1e-12)
    assert scaled.inertia_ == pytest.approx(plain.inertia_ * unit)


def test_the_mean_of_weights_is_finite_where_their_sum_is_not() -> None:
    assert mean_weight(np.full(60, 1e307)) == pytest.approx(1e307)
    assert mean_weight(np.array([1.0, 2.0, 6.0], np.float32)) == 3.0
    assert problem_of(X).mean_weight == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": np.full((2, 8), 1e200)}, "squares of init leave the range"),
        ({"sample_weight": np.arange(60) == 7}, "1 rows with a weight are fewer than n_clusters=2"),
    ],
)
def test_k_means_refuses_what_it_cannot_start_from(options: dict[str, Any], message: str) -> None:
    weight = options.pop("sample_weight", None)
    with pytest.raises(DataError, match=message):
        dsgd.KMeans(2, **options).fit(DENSE, sample_weight=weight)


def test_a_tolerance_beyond_all_numbers_ends_k_means_after_a_pass() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dsgd.KMeans(2, tol=1e308, max_iter=9, random_state=0).fit(DENSE * 1e3).n_iter_ == 1


def test_row_sums_that_overflow_are_no_loss_of_0() -> None:
    features = np.full((17, 50), 3.0, np.float32)
    init = np.tile([8e37, -8e37], 26)[:51]
    with pytest.raises(DivergedError, match="not finite"):
        fit(features, np.zeros(17), algo="batch", loss="epsilon_insensitive", init=init)


def test_the_core_takes_a_penalty_that_vanishes_in_float32_for_none() -> None:
    matrix = as_matrix(scipy.sparse.random_array((60, 20), density=0.3, rng=0, format="csr").astype(np.float32), 1)
    y = np.where(np.arange(60) % 2, 1, -1).astype(np.float32)
    weights = []
    for alpha in (0.0, 1e-50):
        objective = _core.LinearObjective(
            matrix,
            y,
            None,
            loss=losses.Logistic().to_core(),
            alpha_l1=0.0,
            alpha_l2=alpha,
            fit_intercept=False,
            intercept_rate=1.0,
            n_threads=1,
        )
        solver = _core.Svrg(objective, n_threads=1, mean_gradient="reweighted")
        solver.begin(_core.Epoch(index=0, schedule=_core.Schedule(step_size=0.1), block_size=1, seed=0))
        weights.append(np.zeros(20, np.float32))
        solver.descend(weights[-1], 0.1, 60)
    np.testing.assert_array_equal(weights[1], weights[0])
