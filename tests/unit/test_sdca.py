"""Dual coordinate ascent: its options, when it stops, and what its duality gap says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from problems import make_problem

import dsgd
from dsgd import _core
from dsgd.algorithms import Sdca, duality_gap
from dsgd.data.inputs import as_matrix

X, Y = make_problem(300, 20, seed=2)
Y = np.where(np.random.default_rng(0).random(300) < 0.1, -Y, Y)  # no plane parts the classes


def fit(**changes: Any) -> dsgd.FitResult:
    settings: dict[str, Any] = {"X": X, "y": Y, "algo": "sdca", "alpha": 0.01, "n_threads": 1, "random_state": 0}
    settings.update(changes)
    return dsgd.fit(settings.pop("X"), settings.pop("y"), **settings)


@pytest.mark.parametrize("loss", ["hinge", "logistic", "squared", "epsilon_insensitive"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_gap_tol_stops_where_the_gap_is_closed(loss: str, fit_intercept: bool, n_threads: int) -> None:
    result = fit(loss=loss, fit_intercept=fit_intercept, n_threads=n_threads, gap_tol=1e-3)
    last = result.history[-1]
    assert result.stop_reason == "gap_tol"
    assert last.gap is not None
    assert 0 <= last.gap <= 1e-3
    assert all(record.gap is None or record.gap > 1e-3 for record in result.history[:-1])
    assert last.objective is not None
    best = fit(loss=loss, fit_intercept=fit_intercept, gap_tol=1e-5).history[-1].objective
    assert best is not None
    assert best * (1 - 1e-5) <= last.objective <= best * (1 + 1e-3)


def test_a_smaller_gap_takes_more_epochs() -> None:
    counts = [len(fit(loss="logistic", gap_tol=tol).history) for tol in (0.1, 1e-3, 1e-6)]
    assert counts == sorted(set(counts))


def test_too_few_epochs_are_warned_of_with_the_gap() -> None:
    with pytest.warns(RuntimeWarning, match=r"the duality gap is .* after max_epochs=2, above gap_tol=1e-09; more"):
        result = fit(gap_tol=1e-9, max_epochs=2)
    assert result.stop_reason == "max_epochs"
    assert len(result.history) == 2
    assert result.history[-1].gap is not None
    assert result.history[-1].gap > 1e-9


def test_there_are_1000_epochs_by_default_with_gap_tol_and_20_without() -> None:
    with pytest.warns(RuntimeWarning, match="after max_epochs=1000"):
        result = fit(loss="epsilon_insensitive", fit_intercept=False, gap_tol=1e-9, evaluate_every=0)
    assert len(result.history) == 1000
    assert len(fit().history) == 20
    assert fit().history[-1].gap is None


def test_another_rule_may_stop_first_without_a_warning() -> None:
    result = fit(gap_tol=1e-12, max_seconds=1e-9)
    assert result.stop_reason == "max_seconds"


@pytest.mark.parametrize(
    "change",
    [{"max_rest": 0}, {"max_rest": 1}, {"damping": 2.0}, {"block_size": 8}, {"sgd_first": True}, {"random_state": 1}],
    ids=str,
)
def test_every_option_changes_the_result(change: dict[str, Any]) -> None:
    assert (fit(max_epochs=10).coef_ != fit(max_epochs=10, **change).coef_).any()


def test_a_first_epoch_as_if_the_samples_so_far_were_all_comes_nearer() -> None:
    X, y = dsgd.data.make_text_classification(3000, n_features=2000, random_state=0)
    for loss in ("logistic", "hinge"):
        settings: dict[str, Any] = {"algo": "sdca", "loss": loss, "alpha": 1e-3, "n_threads": 1, "random_state": 0}
        best = dsgd.fit(X, y, max_epochs=60, **settings).history[-1].objective or 0.0
        first, plain = (
            (dsgd.fit(X, y, max_epochs=2, sgd_first=sgd_first, **settings).history[-1].objective or 0.0) - best
            for sgd_first in (True, False)
        )
        assert 0 <= first < 0.6 * plain, loss


@pytest.mark.parametrize(
    ("loss", "alpha", "sgd_first"), [("logistic", 1e-5, True), ("hinge", 1e-2, True), ("hinge", 1e-4, False)]
)
def test_by_default_it_does_so_for_smooth_losses_and_short_rows(loss: str, alpha: float, sgd_first: bool) -> None:
    X, y = dsgd.data.make_text_classification(1000, n_features=500, random_state=0)  # rows of length 1
    settings: dict[str, Any] = {"loss": loss, "alpha": alpha, "n_threads": 1, "random_state": 0, "max_epochs": 2}
    default, asked, other = (
        dsgd.fit(X, y, algo=Sdca(sgd_first=first), **settings).coef_ for first in (None, sgd_first, not sgd_first)
    )
    assert (default == asked).all()
    assert (default != other).any()


def test_rest_saves_visits_and_changes_the_optimum_by_nothing() -> None:
    rested, whole = (fit(max_rest=rest, max_epochs=100).history[-1] for rest in (8, 0))
    assert whole.effective_passes == 100
    assert rested.effective_passes < 60
    assert rested.objective == pytest.approx(whole.objective, rel=1e-3)


def test_threads_that_never_merge_step_too_far() -> None:
    """A million rows of 30 features, each step as long as that of one thread alone.

    Merged often, two threads find what one finds. Each on its own finds nearly all of the weights, and their sum is
    too large by far, a third and more in 15 runs on a busy machine; unless one ends before the other begins, as it does
    not with every seed.
    """
    few, labels = dsgd.data.make_text_classification(200_000, n_features=30, words_per_sample=6, random_state=0)
    many, y = scipy.sparse.vstack([few] * 5, format="csr"), np.tile(labels, 5)
    settings: dict[str, Any] = {"X": many, "y": y, "alpha": 1e-3, "damping": 1.0, "max_epochs": 5, "loss": "logistic"}
    often = [record.objective or 0.0 for record in fit(**settings, n_threads=2, merge_every=1).history]
    assert often[-1] == pytest.approx(fit(**settings).history[-1].objective, rel=1e-3)
    for seed in range(5):
        history = fit(**settings, n_threads=2, merge_every=2**31 - 1, random_state=seed).history
        if max(record.objective or 0.0 for record in history) > 1.1 * max(often):
            return
    pytest.fail("no step was too long")


def test_one_thread_repeats_bit_for_bit() -> None:
    assert (fit().coef_ == fit().coef_).all()
    assert (fit(random_state=None).coef_ != fit(random_state=None).coef_).any()


def test_more_threads_are_more_careful_by_default() -> None:
    assert Sdca().damping is None
    assert fit(n_threads=1, damping=1.0).coef_.tolist() == fit(n_threads=1).coef_.tolist()


def test_training_goes_on_near_the_weights_that_it_is_given() -> None:
    """Of a smooth loss at its optimum: -loss'(w.x + b) are the dual variables."""
    best = fit(loss="logistic", gap_tol=1e-9)
    init = np.append(best.coef_, best.intercept_)
    again = fit(loss="logistic", gap_tol=1e-6, init=init)
    assert len(again.history) == 1
    assert len(fit(loss="logistic", gap_tol=1e-6).history) > 3
    np.testing.assert_allclose(again.coef_, best.coef_, atol=1e-3)


def test_several_classes_stop_when_the_gap_of_each_is_closed() -> None:
    labels = np.where(Y > 0, "a", np.where(np.arange(300) % 2, "b", "c"))
    result = fit(y=labels, gap_tol=1e-3)
    assert result.stop_reason == "gap_tol"
    assert result.coef_.shape == (3, 20)
    gap = result.history[-1].gap
    assert gap is not None
    assert result.classes_ is not None
    alone = []
    assert result.classes_ is not None
    for k, name in enumerate(result.classes_):
        own = fit(y=np.where(labels == name, 1.0, -1.0), gap_tol=1e-7, max_epochs=20_000)
        value = np.mean(np.maximum(0, 1 - np.where(labels == name, 1, -1) * result.decision_function(X)[:, k]))
        objective = value + 0.005 * float(result.coef_[k] @ result.coef_[k])
        assert own.history[-1].objective is not None
        alone.append(objective / own.history[-1].objective - 1)
    assert min(alone) > -1e-6
    assert max(alone) <= gap <= 1e-3


def test_float32_stays_float32() -> None:
    result = fit(X=X.astype(np.float32), gap_tol=1e-3)
    assert result.coef_.dtype == np.float32
    assert result.stop_reason == "gap_tol"


def test_sample_weights_of_zero_are_rows_left_out() -> None:
    keep = np.arange(300) % 3 > 0
    weighted = fit(loss="logistic", sample_weight=keep * 1.5, gap_tol=1e-8)
    without = fit(X=X[keep], y=Y[keep], loss="logistic", gap_tol=1e-8)
    np.testing.assert_allclose(weighted.coef_, without.coef_, atol=1e-3)


@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_rebuilt_weights_are_the_sum_of_the_rows_by_their_dual_variables(
    real: Any, fit_intercept: bool, n_threads: int
) -> None:
    config: dict[str, Any] = {"alpha_l1": 0, "alpha_l2": 0.01, "fit_intercept": fit_intercept}
    importance = np.linspace(0, 2, 300).astype(real)
    objective = _core.LinearObjective(
        as_matrix(X.astype(real), 1), Y.astype(real), importance, loss=_core.Loss("logistic", 0), n_threads=1, **config
    )
    solver = _core.Sdca(objective, n_threads=n_threads, merge_visits=2, damping=2.0, max_rest=8, sgd_first=True)
    weights = np.zeros(20 + fit_intercept, real)
    schedule = _core.Schedule(step_size=1.0)
    for index in range(8):
        solver.epoch(weights, _core.Epoch(index=index, schedule=schedule, block_size=4, seed=0))
        dual = solver.rebuild(weights)
        products = importance.astype(float) * solver.duals
        np.testing.assert_allclose(weights[:20], X.T @ products / 3, rtol=1e-6, atol=1e-6)
        assert dual < objective.value(weights, 1)
        if fit_intercept:
            assert abs(products.sum()) < 1e-5


@pytest.mark.parametrize(("measured", "looks"), [(0.1, True), (0.9, False), (0.03, True)])
def test_an_epoch_closes_the_gap_as_much_as_the_one_before(measured: float, looks: bool) -> None:
    """An epoch measures about the gap of its middle; a look is worth its cost where the gap of its end is small."""
    task = SimpleNamespace(gap_tol=0.02, weights=None, value=lambda: 1.0)
    solver = SimpleNamespace(rebuild=lambda _: 0.99, wake=lambda: None)
    gap = duality_gap.DualityGap(task, solver)  # type: ignore[arg-type]
    assert gap.after_epoch(1.0, last=False) is None
    found = gap.after_epoch(measured, last=False)
    assert found == (pytest.approx(0.01 / 0.99) if looks else None)
