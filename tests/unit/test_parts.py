"""A fit begins with parts of the rows as with all of them; objective and score of parts add up."""

from __future__ import annotations

import dataclasses
import functools
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from row_parts import draw_data, machine_tasks, spec_of

from dsgd import losses
from dsgd.data.inputs import as_matrix
from dsgd.fitting.divergence import Watch, trivial_objective
from dsgd.fitting.parts import tasks_of
from dsgd.fitting.step_search import choose_steps
from dsgd.losses import Loss
from dsgd.models.network import Units
from dsgd.problems.parts import PartLoss, part_loss

ALL_LOSSES = [
    *(losses.Hinge(), losses.Logistic(), losses.Perceptron(), losses.Softmax(), losses.Squared(), losses.Huber()),
    *(losses.SquaredEpsilonInsensitive(), losses.MLP((4,)), losses.SquaredMLP((4,)), losses.KMeans(3)),
]


@pytest.mark.parametrize("loss", ALL_LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize("seed", range(4))
def test_a_fit_begins_with_parts_as_with_all_rows(loss: Loss, seed: int) -> None:
    """The sample of 900 rows has all that weigh something, so nothing is estimated."""
    data = draw_data(seed, n_rows=900, loss=loss, unlike=0)
    data.X = data.X.astype("f8")
    data.weight = [None, np.random.default_rng(seed).random(900)][seed % 2]
    whole = machine_tasks(data.X, data.y, data.weight, loss)
    parts, weights = tasks_of(spec_of(loss), data.merged())
    assert len(parts) == len(whole) == len(weights)
    for a, b in zip(parts, whole, strict=True):
        assert a.weights == pytest.approx(b.weights, rel=1e-9, abs=1e-12)
        assert np.array_equal(a.unseen, b.unseen)
        assert a.problem.trivial_losses() == pytest.approx(b.problem.trivial_losses(), rel=1e-12)
    assert trivial_objective(parts) == pytest.approx(trivial_objective(whole), rel=1e-12)
    for tasks in (parts, whole):
        choose_steps(spec_of(loss).algorithm, tasks)
    assert [task.step_size for task in parts] == pytest.approx([task.step_size for task in whole], rel=1e-9)
    for tasks in (parts, whole):
        assert not Watch(tasks).exploded(None, np.stack([task.weights for task in tasks]))


def test_units_of_a_summary_are_those_of_all_rows() -> None:
    for seed in range(8):
        data = draw_data(seed, loss=losses.SquaredMLP(), n_rows=300)
        data.X, data.weight = data.X.astype("f8"), None
        task = machine_tasks(data.X, data.y, None, data.loss)[0]
        sampled = tasks_of(spec_of(data.loss), data.merged())[0][0]
        ours, theirs = Units.measure(sampled.problem).arrays(), Units.measure(task.problem).arrays()
        for name, value in theirs.items():
            assert ours[name] == pytest.approx(value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("loss", ALL_LOSSES, ids=lambda loss: loss.name)
def test_a_fit_begins_with_a_sample_about_as_with_all_rows(loss: Loss) -> None:
    """Of 40,000 rows, 3,072 are in the sample; every fifth weighs nothing."""
    data = draw_data(5, n_rows=40_000, loss=loss, unlike=0)
    data.X, data.weight = data.X.astype("f8"), np.where(np.arange(40_000) % 5, 1.0, 0.0)
    whole = machine_tasks(data.X, data.y, data.weight, loss)
    summary = data.merged(n_samples=40_000)
    parts, _ = tasks_of(spec_of(loss), summary)
    assert len(summary.sample.rows) == 3072
    assert parts[0].problem.matrix.n_rows == 3072
    assert parts[0].n_samples == whole[0].n_samples == 40_000
    assert trivial_objective(parts) == pytest.approx(trivial_objective(whole), rel=0.1)
    for tasks in (parts, whole):
        choose_steps(spec_of(loss).algorithm, tasks)
    ratios = np.array([a.step_size / b.step_size for a, b in zip(parts, whole, strict=True)])
    assert (np.abs(np.log2(ratios)) <= 1 + 1e-9).all()  # trials on other rows may differ by a factor of two
    if loss.steep and loss.model == "linear":
        assert parts[0].weights == pytest.approx(whole[0].weights, rel=1e-9)


# --- the objective and the score of all rows


@given(st.integers(0, 2**32), st.sampled_from(ALL_LOSSES))
@settings(max_examples=60, deadline=None)
def test_the_objective_of_parts_is_that_of_all_rows(seed: int, loss: Loss) -> None:
    data = draw_data(seed, loss=loss)
    data.X = data.X.astype("f8")
    task = machine_tasks(data.X, data.y, data.weight, loss)[0]
    weights = np.random.default_rng(seed).normal(size=len(task.weights))
    task.turn()
    total: PartLoss | None = None
    for rows in data.parts:
        problem = dataclasses.replace(
            task.problem,
            matrix=as_matrix(data.X[rows], 1),
            target=task.problem.target[rows],
            sample_weight=None if data.weight is None else task.problem.sample_weight[rows],  # type: ignore[index]
        )
        part = part_loss(problem.objective(1), len(rows), weights, 1)
        total = part if total is None else total + part
    assert total is not None
    assert total.n_rows == 60
    assert total.objective(task.problem, weights) == pytest.approx(task.value_at(weights), rel=1e-12)


@pytest.mark.parametrize("loss", [losses.Squared(), losses.Huber(), losses.SquaredEpsilonInsensitive()])
def test_the_best_constant_of_parts_has_the_loss_of_that_of_all_rows(loss: Loss) -> None:
    """The bound of the watch is estimated from the sample; a pass over the parts gives it exactly."""
    random = np.random.default_rng(0)
    X, y = random.normal(size=(8000, 3)), random.standard_cauchy(8000)
    weights = np.append(np.zeros(3), loss.best_constant(y, None))
    parts = [machine_tasks(X[k::5], y[k::5], None, loss)[0] for k in range(5)]
    total = functools.reduce(operator.add, (part_loss(task.objective, 1600, weights, 1) for task in parts))
    whole = machine_tasks(X, y, None, loss)[0]
    assert total.mean == pytest.approx(whole.problem.trivial_losses()[0], rel=1e-12)


def test_the_objective_of_parts_stays_finite_where_a_sum_would_not() -> None:
    assert (PartLoss(1e308, 10) + PartLoss(1.5e308, 30)).mean == pytest.approx(1.375e308)
