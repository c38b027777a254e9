"""What the options of SVRG do."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray
from problems import make_problem

import dsgd
from dsgd import _core
from dsgd.algorithms.svrg import Svrg
from dsgd.algorithms.variance_reduction import stands_still
from dsgd.data.inputs import as_matrix
from dsgd.errors import ConfigError
from dsgd.fitting import loop
from dsgd.testing import reference

X, Y = make_problem(300, 40, seed=0)
DENSE = X.toarray()
N, D = X.shape


def fit(X: Any = X, **changes: Any) -> dsgd.FitResult:
    settings: dict[str, Any] = {"algo": "svrg", "loss": "logistic", "alpha": 0.01, "random_state": 0, "n_threads": 1}
    settings |= {"sgd_first": False, "max_epochs": 3, "fit_intercept": False, "step_size": 0.05}
    return dsgd.fit(X, Y, **{**settings, **changes})


def rows(index: int, count: int) -> list[int]:
    """Return the rows of an epoch's first steps with seed 0 and blocks of one row."""
    objective = _core.LinearObjective(
        as_matrix(X, 1),
        Y,
        None,
        loss=_core.Loss("squared", 0),
        alpha_l1=0,
        alpha_l2=0,
        fit_intercept=False,
        n_threads=1,
    )
    solver = _core.Svrg(objective, n_threads=1, mean_gradient="reweighted")
    visited = np.empty(count, np.int64)
    solver.begin(_core.Epoch(index=index, schedule=_core.Schedule(step_size=1.0), block_size=1, seed=0))
    solver.descend(np.zeros(D), 0.0, count, visited)
    return [int(row) for row in visited]


def solver_on(data: Any, form: str = "reweighted", **config: Any) -> _core.Svrg:
    loss = _core.Loss("logistic", 0)
    given: dict[str, Any] = {"alpha_l1": 0, "alpha_l2": 0.01, "fit_intercept": True, "n_threads": 1}
    objective = _core.LinearObjective(as_matrix(data, 1), Y, None, loss=loss, **given)
    return _core.Svrg(objective, n_threads=1, mean_gradient=form, **config)


@pytest.mark.parametrize("data", [X, DENSE], ids=["sparse", "dense"])
def test_steps_on_rows_that_are_named_are_those_of_an_epoch_that_draws_them(data: Any) -> None:
    epoch = _core.Epoch(index=2, schedule=_core.Schedule(step_size=1.0), block_size=1, seed=7)
    drawn = _core.draw_rows(N, 400, block_size=1, seed=7, index=2, stream=0)
    ends = []
    for named in (False, True):
        solver, weights = solver_on(data), np.full(D + 1, 0.1)
        solver.begin(epoch)
        solver.take_anchor(weights)
        if named:
            solver.use_mean(solver.mean_gradient)
            for part in (drawn[:150], drawn[150:]):
                solver.descend_rows(weights, 0.05, part)
        else:
            solver.descend(weights, 0.05, 400)
        ends.append(weights)
    assert np.array_equal(ends[0], ends[1])


def test_rows_and_means_that_do_not_fit_are_refused() -> None:
    solver, weights = solver_on(X), np.zeros(D + 1)
    with pytest.raises(ConfigError, match="row 300 is not one of 300"):
        solver.descend_rows(weights, 0.1, np.array([0, 300]))
    with pytest.raises(ConfigError, match="row -1 is not one of 300"):
        solver.descend_rows(weights, 0.1, np.array([-1]))
    with pytest.raises(ConfigError, match="mean_gradient has 3 elements; expected 41"):
        solver.use_mean(np.zeros(3))
    with pytest.raises(ConfigError, match="inverse_frequency has 41 elements; expected 40"):
        solver.use_mean(np.zeros(D + 1), np.zeros(D + 1))
    with pytest.raises(ConfigError, match="use reweighted"):
        solver_on(X, "scalar").descend_rows(weights, 0.1, np.array([0]))


def inner(w: NDArray[np.float64], order: Sequence[int], step: float, **options: Any) -> NDArray[np.float64]:
    """Return the weights after every step of an epoch, by the reference."""
    path = reference.svrg_epoch(
        DENSE, Y, w, 0.0, order, step, loss="logistic", alpha=0.01, fit_intercept=False, stored=DENSE != 0, **options
    )
    return np.array([w for w, _ in path])


def passes(result: dsgd.FitResult) -> list[float]:
    return [record.effective_passes for record in result.history]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [3, 6, 9]),
        ({"inner_steps": 150}, [1.5, 3, 4.5]),
        ({"sgd_first": True}, [1, 4, 7]),  # the default
    ],
    ids=str,
)
def test_effective_passes_count_gradients_of_samples(options: dict[str, Any], expected: list[float]) -> None:
    assert passes(fit(**options)) == pytest.approx(expected)
    assert passes(fit(n_threads=3, **options)) == pytest.approx(expected)


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_the_gradient_of_an_anchor_bounds_the_optimum_and_one_look_confirms_it(
    fit_intercept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds: list[float] = []

    def kept(ends: Sequence[Any]) -> float | None:
        bounds.append(ends[0].bound)
        return bounds[-1]

    best = fit(fit_intercept=fit_intercept, max_epochs=100).history[-1].objective
    assert best is not None
    monkeypatch.setattr(loop, "_mean_bound", kept)
    result = fit(fit_intercept=fit_intercept, gap_tol=1e-3, max_epochs=100)
    assert result.stop_reason == "gap_tol"
    assert [record.gap is None for record in result.history] == [True] * (len(result.history) - 1) + [False]
    assert max(bounds) <= best * (1 + 1e-12)
    assert bounds[-1] >= best * (1 - 1e-3)
    assert bounds[0] < bounds[-1]


def test_a_run_that_stands_still_is_proven_even_if_its_own_bound_never_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a tiny alpha in single precision: rounding keeps the gradient away from 0."""
    monkeypatch.setattr(loop, "_mean_bound", lambda _: 0.0)
    result = fit(X.astype(np.float32), gap_tol=1e-4, max_epochs=400)
    assert result.stop_reason == "gap_tol"
    assert len(result.history) < 100


@pytest.mark.parametrize("options", [{"penalty": "elasticnet"}, {"penalty": "l1"}], ids=str)
def test_no_bound_is_known_under_l1(options: dict[str, Any]) -> None:
    result = fit(gap_tol=1e-3, max_epochs=400, **options)
    assert result.stop_reason == "gap_tol"


def test_the_next_anchor_is_the_last_weights_or_an_average() -> None:
    last = average = np.zeros(D)
    for index in range(3):
        order = rows(index, 450)
        last = inner(last, order, 0.05)[-1]
        average = inner(average, order, 0.05)[44::45].mean(axis=0)
    np.testing.assert_allclose(fit(inner_steps=450, block_size=1).coef_, last, atol=1e-12)
    np.testing.assert_allclose(fit(inner_steps=450, block_size=1, anchor="average").coef_, average, atol=1e-12)


def test_the_first_epoch_may_be_plain_sgd() -> None:
    first = fit(sgd_first=True, max_epochs=1, alpha=0, block_size=1)
    settings: dict[str, Any] = {"loss": "logistic", "alpha": 0, "fit_intercept": False}
    w, _ = reference.sgd(DENSE, Y, rows(0, N), [0.05] * N, stored=DENSE != 0, **settings)
    np.testing.assert_allclose(first.coef_, w, atol=1e-12)


def test_the_factor_by_the_anchor_is_the_full_gradient_over_the_first() -> None:
    w, first = np.zeros(D), 0.0
    steps = []
    for index in range(3):
        norm = float(np.linalg.norm(reference.loss_gradient(DENSE, Y, w, 0.0, loss="logistic")[0] + 0.01 * w))
        first = first or norm
        steps.append(0.003 * (1 + min(0.8, norm / first)))
        w = inner(w, rows(index, 2 * N), steps[-1])[-1]
    result = fit(accelerated="anchor", max_sigma=0.8, step_size=0.003, block_size=1)
    np.testing.assert_allclose(result.coef_, w, atol=1e-12)
    assert [record.step_size for record in result.history] == pytest.approx(steps)
    assert steps[0] == pytest.approx(0.0054)
    assert steps[-1] < 0.005


def test_the_factor_by_the_sample_is_its_gradient_over_their_mean() -> None:
    w = np.zeros(D)
    for index in range(3):
        w = inner(w, rows(index, 2 * N), 0.001, max_sigma=0.8)[-1]
    result = fit(accelerated="sample", max_sigma=0.8, step_size=0.001, block_size=1)
    np.testing.assert_allclose(result.coef_, w, atol=1e-12)


@pytest.mark.parametrize("accelerated", ["anchor", "sample"])
def test_safe_steps_are_bounded_and_others_warned_of(accelerated: str) -> None:
    bound = 0.9 / (4 * (0.25 * (DENSE**2).sum(axis=1).max() + 0.01))
    entries = float((DENSE**2).sum() / np.count_nonzero(DENSE))  # which the intercept counts as
    settings: dict[str, Any] = {"accelerated": accelerated, "block_size": 1, "max_epochs": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        safe = fit(step_size=10 * bound, **settings)
        fit(step_size=bound / 3, safe=False, **settings)
    longest = 0.9 / (4 * (0.25 * ((DENSE**2).sum(axis=1).max() + entries) + 0.01))
    np.testing.assert_allclose(safe.coef_, inner(np.zeros(D), rows(0, 2 * N), longest)[-1], atol=1e-12)
    with pytest.warns(RuntimeWarning, match="may diverge"):
        bold = fit(step_size=bound, safe=False, **settings)
    assert (bold.coef_ != safe.coef_).any()


def test_the_window_ends_an_inner_loop_that_stands_still() -> None:
    easy = fit(inner_steps="window", step_size=0.2, max_epochs=6)
    taken = np.diff([0.0, *passes(easy)]) - 1
    np.testing.assert_allclose(taken * 10, np.round(taken * 10))
    assert (taken > 0.89).all()
    assert taken[-1] == pytest.approx(0.9)  # at the optimum nothing falls
    slow = fit(inner_steps="window", step_size=0.005, max_epochs=1)
    assert passes(slow) == [6]


def test_trials_of_the_step_take_as_many_inner_steps_a_row() -> None:
    """On a thousand of 4000 rows, with m to fit; 2 n as a number is 2 n by default."""
    many, y = make_problem(4000, 40, seed=3)
    settings: dict[str, Any] = {"loss": "logistic", "random_state": 0, "n_threads": 1, "max_epochs": 2}
    plain = dsgd.fit(many, y, algo=Svrg(), **settings)
    assert (dsgd.fit(many, y, algo=Svrg(inner_steps=8000), **settings).coef_ == plain.coef_).all()
    assert Svrg(inner_steps=8000).on_share(0.25) == Svrg(inner_steps=2000)
    assert Svrg(inner_steps="window").on_share(0.25) == Svrg(inner_steps="window")


@pytest.mark.parametrize(
    ("values", "closes"),
    [
        (np.linspace(1, 0.9, 10), False),
        (np.linspace(1, 0.9999, 10), True),
        ([1.0] * 9, False),  # not ten yet
        ([1.0] * 10, True),
        ([0.9, 0.1, 0.9, 0.9, 0.9, 0.2, 0.2, 0.2, 0.2, 0.2], True),  # it has been lower
    ],
)
def test_the_rule_of_the_window(values: Sequence[float], closes: bool) -> None:
    assert not any(stands_still(values[:k]) for k in range(len(values)))
    assert stands_still(values) == closes


@pytest.mark.parametrize("mean_gradient", ["reweighted", "scalar"])
@pytest.mark.parametrize("threads", [1, 3])
def test_features_that_no_row_holds_are_regularised(mean_gradient: str, threads: int) -> None:
    wide = scipy.sparse.hstack([X, scipy.sparse.csr_array((N, 2))], format="csr")
    result = fit(wide, mean_gradient=mean_gradient, init=np.ones(D + 2), n_threads=threads, alpha=0.1)
    factor = (1 + 0.05 * 0.1) ** (3 * 2 * N) if mean_gradient == "scalar" else (1 + 0.05 * 0.1 * 2 * N) ** 3
    np.testing.assert_allclose(result.coef_[D:], 1 / factor)


@pytest.mark.parametrize("mean_gradient", ["reweighted", "scalar"])
def test_a_schedule_has_its_say_once_an_epoch(mean_gradient: str) -> None:
    plain = fit(mean_gradient=mean_gradient)
    assert [record.step_size for record in plain.history] == [0.05] * 3
    falling = fit(mean_gradient=mean_gradient, schedule="linear")
    assert [record.step_size for record in falling.history] == pytest.approx([0.05, 0.05 * 2 / 3, 0.05 / 3])
    assert (falling.coef_ != plain.coef_).any()


@pytest.mark.parametrize("accelerated", ["anchor", "sample"])
def test_a_smaller_most_sigma_is_another_result(accelerated: str) -> None:
    settings: dict[str, Any] = {"accelerated": accelerated, "step_size": 0.002}
    assert (fit(**settings).coef_ != fit(max_sigma=0.3, **settings).coef_).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inner_steps": "windows"}, "inner_steps must be an integer from 1"),
        ({"inner_steps": 0}, "inner_steps must be an integer from 1"),
        ({"inner_steps": 2.5}, "inner_steps must be an integer from 1"),
        ({"anchor": "first"}, "unknown anchor 'first'"),
        ({"mean_gradient": "dense"}, "unknown mean_gradient 'dense'"),
        ({"accelerated": "both"}, "unknown accelerated 'both'"),
        ({"max_sigma": 0}, "max_sigma must be a finite number above 0"),
        ({"safe": 1}, "safe must be True or False"),
        ({"sgd_first": "yes"}, "sgd_first must be True or False"),
        ({"block_size": 0}, "block_size must be an integer from 1"),
        ({"mean_gradient": "scalar", "accelerated": "sample"}, "accelerated='sample' needs mean_gradient='reweighted'"),
        ({"mean_gradient": "scalar", "penalty": "l1"}, "mean_gradient='scalar' needs penalty 'l2' or 'none'"),
        ({"mean_gradient": "scalar", "penalty": "elasticnet"}, "mean_gradient='scalar' needs penalty 'l2' or 'none'"),
        ({"schedule": "pa1", "loss": "hinge"}, "schedule 'pa1' needs algo 'sgd'"),
    ],
    ids=str,
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(**options)
