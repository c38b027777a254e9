"""One thread equals the numpy reference (check 3 of the main job): 500 steps, 1e-12 in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from problems import make_problem
from referenced import (
    DENSE,
    LOSSES,
    N_EPOCHS,
    N_FEATURES,
    N_ROWS,
    WEIGHTS,
    X,
    Y,
    make_objective,
    n_outputs_of,
    some_weights,
    split,
    target_of,
    zeros,
)

import dsgd
from dsgd import _core, schedules
from dsgd.data.inputs import as_matrix
from dsgd.testing import reference


def train(
    objective: _core.LinearObjective,
    weights: NDArray[np.float64],
    schedule: _core.Schedule,
    seed: int = 7,
    algo: str = "sgd",
) -> list[int]:
    """Train for N_EPOCHS in place; return the rows in the order in which the core visited them."""
    visited = np.empty((N_EPOCHS, N_ROWS), np.int64)
    hogwild = _core.Hogwild(objective, n_threads=1, write="racy")
    for index in range(N_EPOCHS):
        epoch = _core.Epoch(index=index, schedule=schedule, block_size=1, seed=seed)
        # One thread of hogwild is sgd, in the order of its rows too.
        _core.sgd_epoch(objective, weights if algo == "sgd" else weights.copy(), epoch, visited[index])
        if algo == "hogwild":
            hogwild.epoch(weights, epoch)
    return [int(row) for row in visited.ravel()]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(
    ("alpha_l1", "alpha_l2"),
    [(0.0, 0.0), (0.0, 0.01), (0.0, 2.0), (0.01, 0.0), (0.003, 0.01)],
    ids=["none", "l2", "strong", "l1", "both"],
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("algo", ["sgd", "hogwild"])
def test_sgd_and_hogwild_equal_the_reference(
    loss: str, layout: str, fit_intercept: bool, alpha_l1: float, alpha_l2: float, weighted: bool, algo: str
) -> None:
    data, stored = (X, DENSE != 0) if layout == "sparse" else (DENSE, None)
    sample_weight = WEIGHTS if weighted else None
    schedule = _core.Schedule(step_size=0.02, decay=0.8, power=0.1)
    rate = 0.3
    objective = make_objective(
        data,
        loss=loss,
        sample_weight=sample_weight,
        alpha_l1=alpha_l1,
        alpha_l2=alpha_l2,
        fit_intercept=fit_intercept,
        intercept_rate=rate,
    )
    weights = zeros(loss, fit_intercept)
    order = train(objective, weights, schedule, algo=algo)
    steps = [0.02 * 0.8 ** (t // N_ROWS) / (t + 1) ** 0.1 for t in range(len(order))]
    *_, (w, b) = reference.sgd_iterates(
        DENSE,
        target_of(loss),
        order,
        steps,
        loss=loss,
        alpha=alpha_l2,
        alpha_l1=alpha_l1,
        fit_intercept=fit_intercept,
        stored=stored,
        sample_weight=sample_weight,
        intercept_rate=rate,
    )
    assert len(order) == 500
    assert np.abs(w).max() > 0.001
    assert alpha_l1 == 0 or (w == 0).any()
    assert ((weights[: w.size] == 0) == (w.ravel() == 0)).all()
    np.testing.assert_allclose(weights, np.append(w, b)[: len(weights)], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.Constant(),
        schedules.Linear(),
        schedules.InverseScaling(),
        schedules.InverseTime(),
        schedules.InverseSqrt(),
        schedules.Optimal(),
        schedules.EpochDecay(factor=0.8),
        schedules.Adaptive(),
    ],
    ids=lambda schedule: schedule.name,
)
def test_steps_are_those_of_the_schedule(schedule: schedules.Schedule) -> None:
    objective = make_objective(X, loss="logistic", alpha_l1=0, alpha_l2=0.01, fit_intercept=False)
    weights = np.zeros(N_FEATURES)
    run = schedules.Run(n_samples=N_ROWS, max_epochs=N_EPOCHS, alpha=0.01)
    order = train(objective, weights, schedule.to_core(0.1, run))
    steps = reference.steps(schedule.name, 0.1, n_samples=N_ROWS, n_epochs=N_EPOCHS, alpha=0.01)
    w, _ = reference.sgd(DENSE, Y, order, steps, loss="logistic", alpha=0.01, fit_intercept=False, stored=DENSE != 0)
    np.testing.assert_allclose(weights, w, rtol=0, atol=1e-12)


def test_the_loss_of_an_epoch_is_that_of_its_samples_before_their_steps() -> None:
    objective = make_objective(X, loss="logistic", sample_weight=WEIGHTS, alpha_l1=0, alpha_l2=0.01, fit_intercept=True)
    weights = np.zeros(N_FEATURES + 1)
    visited = np.empty(N_ROWS, np.int64)
    epoch = _core.Epoch(index=0, schedule=_core.Schedule(step_size=0.1), block_size=1, seed=7)
    loss = _core.sgd_epoch(objective, weights, epoch, visited, sum_loss=True)
    path = reference.sgd_iterates(
        DENSE, Y, visited.tolist(), [0.1] * N_ROWS, loss="logistic", alpha=0.01, fit_intercept=True,
        stored=DENSE != 0, sample_weight=WEIGHTS,
    )  # fmt: skip
    before = [(np.zeros(N_FEATURES), 0.0), *path][:-1]
    seen = [
        WEIGHTS[i] * reference.VALUES["logistic"](np.asarray(DENSE[i] @ w + b), Y[i])
        for i, (w, b) in zip(visited, before, strict=True)
    ]
    assert loss == pytest.approx(np.mean(seen), rel=1e-12)
    assert _core.sgd_epoch(objective, weights, epoch) == 0


@pytest.mark.parametrize("loss", ["hinge", "epsilon_insensitive"])
@pytest.mark.parametrize("schedule", [schedules.PassiveAggressive1(), schedules.PassiveAggressive2()])
@pytest.mark.parametrize("weighted", [False, True])
def test_passive_aggressive_steps_equal_the_reference(
    loss: str, schedule: schedules.PassiveAggressive1, weighted: bool
) -> None:
    sample_weight = WEIGHTS if weighted else None
    config: dict[str, Any] = {"fit_intercept": True, "intercept_rate": 0.3}
    objective = make_objective(X, loss=loss, sample_weight=sample_weight, alpha_l1=0, alpha_l2=0.01, **config)
    weights = np.zeros(N_FEATURES + 1)
    run = schedules.Run(n_samples=N_ROWS, max_epochs=N_EPOCHS, alpha=0.01)
    order = train(objective, weights, schedule.to_core(0.1, run))
    settings = {"loss": loss, "alpha": 0.01, "stored": DENSE != 0, "sample_weight": sample_weight, **config}
    steps = reference.steps(schedule.name, 0.1, n_samples=N_ROWS, n_epochs=N_EPOCHS, alpha=0.01)
    w, b = reference.sgd(DENSE, Y, order, steps, rule=schedule.share, **settings)
    np.testing.assert_allclose(weights, [*w, b], rtol=0, atol=1e-12)
    whole, _ = reference.sgd(DENSE, Y, order, steps, **settings)
    assert np.abs(w - whole).max() > 0.01


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("alpha_l1", "alpha_l2"), [(0.0, 0.0), (0.0, 0.01), (0.003, 0.01)], ids=["none", "l2", "both"])
@pytest.mark.parametrize("weighted", [False, True])
def test_minibatch_and_its_average_equal_the_reference_on_any_number_of_threads(
    loss: str, layout: str, fit_intercept: bool, alpha_l1: float, alpha_l2: float, weighted: bool
) -> None:
    data, stored = (X, DENSE != 0) if layout == "sparse" else (DENSE, None)
    sample_weight = WEIGHTS if weighted else None
    config: dict[str, Any] = {"alpha_l1": alpha_l1, "fit_intercept": fit_intercept, "intercept_rate": 0.3}
    objective = make_objective(data, loss=loss, sample_weight=sample_weight, alpha_l2=alpha_l2, **config)
    schedule = _core.Schedule(step_size=0.2, power=0.1)
    size, first = 10, 40  # 125 rows: the last batch of an epoch has 5; the average begins in the first epoch
    results = []
    for n_threads in (1, 3):
        weights, drift = zeros(loss, fit_intercept), zeros(loss, fit_intercept)
        visited = np.empty((N_EPOCHS, N_ROWS), np.int64)
        for index in range(N_EPOCHS):
            epoch = _core.Epoch(index=index, schedule=schedule, block_size=1, seed=7)
            averaged = index * N_ROWS - first
            _core.minibatch_epoch(objective, weights, epoch, size, n_threads, visited[index], drift, averaged)
        results.append((weights, drift))
    assert (results[0][0] == results[1][0]).all()
    assert (results[0][1] == results[1][1]).all()
    starts = [(e, k) for e in range(N_EPOCHS) for k in range(0, N_ROWS, size)]
    path = reference.iterates(
        DENSE,
        target_of(loss),
        [visited[e, k : k + size].tolist() for e, k in starts],
        [0.2 / (e * N_ROWS + k + 1) ** 0.1 for e, k in starts],
        loss=loss,
        alpha=alpha_l2,
        stored=stored,
        sample_weight=sample_weight,
        batch_size=size,
        **config,
    )
    all_w = np.array([np.append(w, b)[: len(weights)] for w, b in path])
    assert np.abs(all_w[-1]).max() > 0.01
    np.testing.assert_allclose(weights, all_w[-1], rtol=0, atol=1e-12)
    counts = np.array([min(size, N_ROWS - k) if e * N_ROWS + k >= first else 0 for e, k in starts])
    mean = counts @ all_w / counts.sum()
    np.testing.assert_allclose(weights - drift / (N_EPOCHS * N_ROWS - first), mean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(
    ("form", "alpha_l1", "alpha_l2"),
    [
        *(("reweighted", l1, l2) for l1, l2 in [(0.0, 0.0), (0.0, 0.01), (0.0, 2.0), (0.01, 0.0), (0.003, 0.01)]),
        *(("scalar", 0.0, l2) for l2 in (0.0, 0.01, 2.0)),
        ("lengthened", 0.003, 0.01),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_svrg_equals_the_reference(
    loss: str, layout: str, fit_intercept: bool, form: str, alpha_l1: float, alpha_l2: float, weighted: bool
) -> None:
    data, stored = (X, DENSE != 0) if layout == "sparse" else (DENSE, None)
    sample_weight = WEIGHTS if weighted else None
    config: dict[str, Any] = {"alpha_l1": alpha_l1, "fit_intercept": fit_intercept, "intercept_rate": 0.3}
    objective = make_objective(data, loss=loss, sample_weight=sample_weight, alpha_l2=alpha_l2, **config)
    lengthened: dict[str, Any] = {"max_sigma": 0.7, "longest_step": 0.03} if form == "lengthened" else {}
    form = "reweighted" if form == "lengthened" else form
    solver = _core.Svrg(objective, n_threads=1, mean_gradient=form, **lengthened)
    # Not from 0: there a weight that comes back to 0, but for rounding, decides on which side of a kink a row is.
    weights, visited = some_weights(loss, fit_intercept, scale=0.1), np.empty(300, np.int64)
    w, b = split(weights, loss, fit_intercept)
    for index in range(2):
        schedule = _core.Schedule(step_size=1.0)  # which it does not go by
        solver.begin(_core.Epoch(index=index, schedule=schedule, block_size=4, seed=7))
        solver.take_anchor(weights)
        y = target_of(loss)
        expected = reference.loss_gradient(DENSE, y, w, b, loss=loss, sample_weight=WEIGHTS if weighted else 1.0)
        np.testing.assert_allclose(solver.mean_gradient, np.append(*expected)[: len(weights)], rtol=0, atol=1e-12)
        solver.descend(weights, 0.02, 70, visited[:70])
        solver.descend(weights, 0.02, 230, visited[70:])
        *_, (w, b) = reference.svrg_epoch(
            DENSE,
            y,
            w,
            b,
            visited.tolist(),
            0.02,
            loss=loss,
            alpha=alpha_l2,
            stored=stored,
            sample_weight=sample_weight,
            form=form,
            **lengthened,
            **config,
        )
        assert (np.sort(visited[:125]) == np.arange(N_ROWS)).all()
    assert np.abs(w).max() > 0.001
    assert form == "scalar" or ((weights[: w.size] == 0) == (w.ravel() == 0)).all()
    np.testing.assert_allclose(weights, np.append(w, b)[: len(weights)], rtol=0, atol=1e-12)


@pytest.mark.parametrize("begin", [1, 100, 400])
@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize(("alpha", "alpha_l1"), [(0.0, 0.0), (0.01, 0.0), (2.0, 0.0), (0.01, 0.003)], ids=str)
def test_the_average_is_that_of_the_reference_from_the_given_sample_on(
    begin: int, layout: str, alpha: float, alpha_l1: float
) -> None:
    data, stored = (X, DENSE != 0) if layout == "sparse" else (DENSE, None)
    settings: dict[str, Any] = {"algo": "sgd", "loss": "logistic", "fit_intercept": False}
    settings |= {"penalty": "elasticnet", "alpha": alpha + alpha_l1, "l1_ratio": alpha_l1 / max(alpha + alpha_l1, 1e-9)}
    settings |= {"random_state": 3, "step_size": 0.1, "schedule": "constant", "max_epochs": N_EPOCHS}
    result = dsgd.fit(data, Y, average=True if begin == 1 else begin, **settings)
    objective = make_objective(data, loss="logistic", alpha_l1=0, alpha_l2=0, fit_intercept=False)
    order = train(objective, np.zeros(N_FEATURES), _core.Schedule(step_size=0.1), seed=3)
    path = reference.sgd_iterates(
        DENSE, Y, order, [0.1] * len(order), loss="logistic", alpha=alpha, alpha_l1=alpha_l1, fit_intercept=False,
        stored=stored,
    )  # fmt: skip
    expected = np.mean([w for w, _ in path][begin - 1 :], axis=0)
    np.testing.assert_allclose(result.coef_, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("weighted", [False, True])
def test_objective_equals_the_reference(loss: str, layout: str, weighted: bool) -> None:
    weights = some_weights(loss, fit_intercept=True)
    objective = make_objective(
        X if layout == "sparse" else DENSE,
        loss=loss,
        sample_weight=WEIGHTS if weighted else None,
        alpha_l1=0.2,
        alpha_l2=0.3,
        fit_intercept=True,
    )
    expected = reference.objective(
        DENSE,
        target_of(loss),
        *split(weights, loss, fit_intercept=True),
        loss=loss,
        alpha=0.3,
        alpha_l1=0.2,
        sample_weight=WEIGHTS if weighted else 1.0,
    )
    assert objective.value(weights, 2) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_gradient_equals_the_reference_on_any_number_of_threads(
    loss: str, layout: str, weighted: bool, fit_intercept: bool
) -> None:
    many, y = make_problem(2000, N_FEATURES, seed=5)
    dense = many.toarray()
    sample_weight = np.random.default_rng(4).exponential(size=2000) if weighted else None
    y = (many @ np.random.default_rng(3).standard_normal((N_FEATURES, 3))).argmax(axis=1) if loss == "softmax" else y
    weights = some_weights(loss, fit_intercept)
    objective = _core.LinearObjective(
        as_matrix(many if layout == "sparse" else dense, 1),
        y.astype(np.float64),
        sample_weight,
        loss=_core.Loss(loss, reference.EPSILON, n_outputs_of(loss)),
        alpha_l1=3,
        alpha_l2=3,  # no part of the gradient of the loss
        fit_intercept=fit_intercept,
        n_threads=1,
    )
    expected = reference.loss_gradient(
        dense,
        y,
        *split(weights, loss, fit_intercept),
        loss=loss,
        sample_weight=1.0 if sample_weight is None else sample_weight,
    )
    for n_threads in (1, 2, 5):
        gradient = np.empty(len(weights))
        objective.loss_gradient(weights, gradient, n_threads)
        again = np.empty(len(weights))
        objective.loss_gradient(weights, again, n_threads)
        assert (gradient == again).all()
        np.testing.assert_allclose(gradient, np.append(*expected)[: len(weights)], rtol=0, atol=1e-12)


def test_every_epoch_visits_every_row_in_another_order() -> None:
    objective = make_objective(X, loss="hinge", alpha_l1=0, alpha_l2=0, fit_intercept=True)
    visited = train(objective, np.zeros(N_FEATURES + 1), _core.Schedule(step_size=0.1, decay=1, power=0))
    orders = np.array(visited).reshape(N_EPOCHS, N_ROWS)
    assert (np.sort(orders, axis=1) == np.arange(N_ROWS)).all()
    assert len({tuple(order) for order in orders.tolist()}) == N_EPOCHS


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_equals_fourth_order_differences_of_the_mean_loss(
    loss: str, layout: str, fit_intercept: bool, weighted: bool
) -> None:
    """With h = 1e-4 and losses of about 10 rounding is some 1e-11; truncation, h^4 / 30, is far below."""
    objective = make_objective(
        X if layout == "sparse" else DENSE,
        loss=loss,
        sample_weight=WEIGHTS if weighted else None,
        alpha_l1=3.0,  # no part of the gradient of the loss
        alpha_l2=3.0,
        fit_intercept=fit_intercept,
    )
    weights = some_weights(loss, fit_intercept)
    h = 1e-4
    if loss != "softmax":
        w, b = split(weights, loss, fit_intercept)
        margin = X @ w + b
        kinks = np.concatenate([margin - 1, margin + 1, np.abs(margin - Y) - reference.EPSILON])
        assert np.abs(kinks).min() > 2 * h * np.abs(DENSE).max()  # no difference reaches across a kink
    gradient = np.empty(len(weights))
    objective.loss_gradient(weights, gradient, 2)
    for j, of_core in enumerate(gradient):
        at = [objective.mean_loss(weights + k * h * np.eye(len(weights))[j], 2) for k in (-2, -1, 1, 2)]
        assert (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h) == pytest.approx(of_core, rel=0, abs=1e-9)
