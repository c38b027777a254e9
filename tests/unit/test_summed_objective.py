"""By default the objective of the history is what the epochs summed, and exact at the end."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from referenced import DENSE, LOSSES, N_FEATURES, N_ROWS, WEIGHTS, X, make_objective, some_weights, target_of, zeros
from rich.console import Console

import dsgd
from dsgd import _core
from dsgd.models.trained import Model
from dsgd.results.history import Record
from dsgd.results.progress import ProgressReport
from dsgd.testing import reference

random = np.random.default_rng(0)
ROWS = random.normal(size=(200, 10))
Y = np.where(ROWS @ random.normal(size=10) + random.normal(size=200) > 0, 1, -1)
SUMMING = ["sgd", "hogwild", "minibatch", "sdca"]
EXACT = ["svrg", "batch"]  # the full gradients tell


def fit(algo: str = "sgd", **changes: Any) -> dsgd.FitResult:
    options: dict[str, Any] = {"loss": "logistic", "alpha": 0.01, "random_state": 0, "max_epochs": 5}
    threads = {} if algo == "sgd" else {"n_threads": 1}
    return dsgd.fit(ROWS, Y, algo=algo, **options | threads | changes)


def objective_of(result: dsgd.FitResult) -> float:
    w, b = result.coef_, float(np.ravel(result.intercept_)[0])
    return reference.objective(ROWS, Y, w, b, loss="logistic", alpha=0.01)


@pytest.mark.parametrize("algo", SUMMING)
def test_epochs_are_marked_as_summed_and_the_last_one_is_exact(algo: str) -> None:
    result, exact = fit(algo), fit(algo, evaluate_every=1)
    assert [record.exact for record in result.history] == [False] * 4 + [True]
    assert all(record.exact for record in exact.history)
    assert (result.coef_ == exact.coef_).all()
    assert result.history[-1].objective == exact.history[-1].objective == pytest.approx(objective_of(result), rel=1e-12)
    for summed, evaluated in zip(result.history[:-1], exact.history[:-1], strict=True):
        assert summed.objective is not None
        assert evaluated.objective is not None
        assert evaluated.objective < summed.objective < np.log(2)  # which weights of 0 have


@pytest.mark.parametrize("algo", EXACT)
def test_algorithms_with_full_gradients_are_exact_in_every_epoch(algo: str) -> None:
    result, exact = fit(algo), fit(algo, evaluate_every=1)
    assert all(record.exact for record in result.history)
    assert (result.coef_ == exact.coef_).all()
    for one, other in zip(result.history, exact.history, strict=True):
        assert one.effective_passes == other.effective_passes
        assert one.objective == pytest.approx(other.objective, rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_of_mini_batches_is_that_of_the_rows_before_their_steps(loss: str) -> None:
    objective = make_objective(X, loss=loss, sample_weight=WEIGHTS, alpha_l1=0, alpha_l2=0.01, fit_intercept=False)
    epoch = _core.Epoch(index=0, schedule=_core.Schedule(step_size=0.1), block_size=1, seed=7)
    found = []
    for n_threads in (1, 3):
        weights, order = zeros(loss, False), np.empty(N_ROWS, np.int64)
        found.append(_core.minibatch_epoch(objective, weights, epoch, 50, n_threads, order, sum_loss=True))
    assert found[0] == found[1]
    seen = 0.0
    for begin in range(0, N_ROWS, 50):  # up to here the same epoch, with fewer rows
        rows = order[begin : begin + 50]
        w = weights_before(objective, loss, order[:begin])
        z = DENSE[rows] @ w.reshape(N_FEATURES, -1)
        value = reference.VALUES[loss](z if loss == "softmax" else z[:, 0], target_of(loss)[rows])
        seen += float((WEIGHTS[rows] * value).sum())
    assert found[0] == pytest.approx(seen / N_ROWS, rel=1e-12)
    weights = zeros(loss, False)
    assert _core.minibatch_epoch(objective, weights, epoch, 50, 1) == 0


def weights_before(objective: Any, loss: str, rows: Any) -> Any:
    """Return the weights after mini-batches of 50 of these rows."""
    weights = zeros(loss, False)
    for begin in range(0, len(rows), 50):
        _core.minibatch_step(objective, weights, rows[begin : begin + 50], 0.1, 50, 0, 1)
    return weights


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_an_anchor_gives_the_mean_loss(loss: str, weighted: bool) -> None:
    sample_weight = WEIGHTS if weighted else None
    objective = make_objective(X, loss=loss, sample_weight=sample_weight, alpha_l1=0, alpha_l2=0, fit_intercept=False)
    weights = some_weights(loss, False)
    for n_threads in (1, 3):
        solver = _core.Svrg(objective, n_threads=n_threads, mean_gradient="reweighted")
        assert solver.take_anchor(weights, with_loss=True) == pytest.approx(objective.mean_loss(weights, 1), rel=1e-12)
        assert solver.take_anchor(weights) == 0


@pytest.mark.parametrize("end", ["tol", "callback", "early_stopping"])
def test_a_fit_that_ends_early_ends_with_an_exact_objective(end: str) -> None:
    def stop(record: Record, model: Model) -> bool:
        return end == "callback" and record.epoch == 3

    rules: dict[str, Any] = {"tol": {"tol": 0.1, "patience": 1}, "early_stopping": {"early_stopping": True}}
    samples = (ROWS[:60], Y[:60])
    result = fit(max_epochs=100, callbacks=[stop], eval_set=samples, schedule="constant", **rules.get(end, {}))
    assert result.stop_reason == end
    assert 2 < len(result.history) < 100
    assert result.history[-1].exact
    *before, last = result.history
    kept = max(result.history, key=lambda record: record.score or 0) if end == "early_stopping" else last
    assert kept.exact
    assert kept.objective == pytest.approx(objective_of(result), rel=1e-12)
    assert sum(record.exact for record in before) == int(kept is not last)


@pytest.mark.parametrize("evaluate_every", [None, 1])
def test_a_tolerance_looks_at_what_callbacks_see(evaluate_every: int | None) -> None:
    seen: list[float] = []

    def look(record: Record, model: Model) -> bool:
        seen.append(record.objective or np.nan)
        return False

    result = fit(evaluate_every=evaluate_every, tol=0.02, patience=2, max_epochs=200, callbacks=[look])
    assert result.stop_reason == "tol"
    small = [min(seen[: k - 2]) - min(seen[:k]) < 0.02 * min(seen[:k]) for k in range(3, len(seen) + 1)]
    assert small == [False] * (len(seen) - 3) + [True]
    assert (result.history[-1].objective == seen[-1]) == (evaluate_every == 1)


def test_networks_and_clusters_evaluate_every_epoch() -> None:
    network: dict[str, Any] = {"algo": "minibatch", "loss": dsgd.losses.MLP((4,))}
    cluster: dict[str, Any] = {"algo": "ssp", "cluster": dsgd.Simulation(workers=2), "n_threads": 1}
    for options in (network, cluster):
        default, exact = fit(**options), fit(evaluate_every=1, **options)
        assert all(record.exact for record in default.history)
        assert [record.objective for record in default.history] == [record.objective for record in exact.history]


def test_progress_shows_which_objectives_are_summed() -> None:
    text = io.StringIO()
    with ProgressReport(2, Console(file=text, width=100)) as report:
        for exact in (False, True):
            report.show(Record(epoch=1, effective_passes=1.0, seconds=0.1, step_size=0.5, objective=0.25, exact=exact))
    assert "objective ~0.25000" in text.getvalue()
    assert "objective 0.25000" in text.getvalue()
