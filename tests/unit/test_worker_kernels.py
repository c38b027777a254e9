"""The kernels of workers on rows that a program names, against plain numpy loops."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from referenced import CLASSES, DENSE, LOSSES, N_FEATURES, N_ROWS, WEIGHTS, X, Y, make_objective, some_weights, split

from dsgd import _core, losses
from dsgd.cluster.program.kernels import Kernels
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.errors import ConfigError
from dsgd.losses import resolve_loss
from dsgd.problems.problem import Problem
from dsgd.testing import reference

PENALTIES = [(0.0, 0.0), (0.0, 0.01), (0.0, 2.0), (0.01, 0.0), (0.003, 0.01)]
# Of the losses with a width, that of the references.
WIDE = [losses.Huber, losses.EpsilonInsensitive, losses.SquaredEpsilonInsensitive]
EVERY_PENALTY = pytest.mark.parametrize("alphas", PENALTIES, ids=["none", "l2", "strong", "l1", "both"])


@dataclass
class Case:
    """A small problem, rows of it, and weights to start from."""

    loss: str
    alphas: tuple[float, float]
    fit_intercept: bool
    rate: float
    dense: NDArray[np.float64]
    data: Any
    y: NDArray[np.float64]
    sample_weight: NDArray[np.float64] | None
    rows: NDArray[np.int64]
    weights: NDArray[np.float64]
    random: np.random.Generator

    @property
    def n_outputs(self) -> int:
        return 3 if self.loss == "softmax" else 1

    def objective(self) -> _core.LinearObjective:
        return _core.LinearObjective(
            as_matrix(self.data, 1),
            self.y,
            self.sample_weight,
            loss=_core.Loss(self.loss, reference.EPSILON, self.n_outputs),
            alpha_l1=self.alphas[0],
            alpha_l2=self.alphas[1],
            fit_intercept=self.fit_intercept,
            intercept_rate=self.rate,
            n_threads=1,
        )

    def split(self) -> tuple[Any, Any]:
        """Return w and b as the references have them."""
        by_feature = self.weights.reshape(-1, self.n_outputs) if self.n_outputs > 1 else self.weights
        d = self.dense.shape[1]
        return by_feature[:d], by_feature[d] if self.fit_intercept else np.zeros(by_feature.shape[1:])

    def of_references(self) -> dict[str, Any]:
        return {"loss": self.loss, "fit_intercept": self.fit_intercept, "sample_weight": self.sample_weight}

    def iterates(self, batches: Any, steps: Any, **options: Any) -> NDArray[np.float64]:
        """Return the flat weights after all of the reference's steps."""
        sparse = not isinstance(self.data, np.ndarray)
        given = self.of_references() | {"alpha_l1": self.alphas[0], "alpha": self.alphas[1]} | options
        given |= {"stored": self.dense != 0 if sparse else None, "intercept_rate": self.rate, "start": self.split()}
        w, b = self.split()
        for w, b in reference.iterates(self.dense, self.y, batches, steps, **given):  # noqa: B007  # the last
            pass
        return np.append(w, b)[: len(self.weights)]


@st.composite
def cases(draw: st.DrawFn, loss: str, alphas: tuple[float, float]) -> Case:
    """Draw a problem: numbers come from a generator, so that no row lies on the kink of a loss."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, d = draw(st.integers(3, 25)), draw(st.integers(1, 20))
    fit_intercept = draw(st.booleans())
    dense = random.standard_normal((n, d)) * (random.random((n, d)) < draw(st.sampled_from([0.2, 1.0])))
    outputs = 3 if loss == "softmax" else 1
    return Case(
        loss=loss,
        alphas=alphas,
        fit_intercept=fit_intercept,
        rate=draw(st.sampled_from([0.3, 1.0])),
        dense=dense,
        data=scipy.sparse.csr_array(dense) if draw(st.booleans()) else dense,
        y=np.append(2, random.integers(0, 3, n - 1)) * 1.0 if outputs == 3 else random.choice([-1.0, 1.0], n),
        sample_weight=random.exponential(size=n) if draw(st.booleans()) else None,
        rows=random.integers(0, n, draw(st.integers(0, 60))),
        weights=random.normal(0, 0.3, (d + fit_intercept) * outputs),
        random=random,
    )


def kernels_of(case: Case) -> Kernels:
    matrix = as_matrix(case.data, 1)
    wide = {kind.name: kind(epsilon=reference.EPSILON) for kind in WIDE}
    problem = Problem(
        matrix=matrix,
        target=case.y,
        sample_weight=case.sample_weight,
        loss=wide.get(case.loss) or resolve_loss(case.loss),
        alphas=case.alphas,
        fit_intercept=case.fit_intercept,
        scale=measure(matrix, None, 1),
    )
    case.rate = problem.scale.intercept_rate
    return Kernels(problem, {}, 1)


def assert_equal_but_for_rounding(found: Any, expected: Any) -> None:
    """Weights that long steps have made large are rounded by as much more."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * max(1.0, float(np.abs(expected).max())))


def sgd_rows(objective: Any, weights: Any, rows: Any, step: Any, index: int) -> None:
    """Step on `rows` in place, all in one call."""
    sgd = _core.RowSgd(objective)
    sgd.steps(weights, rows, step, index)
    sgd.settle(weights)


@pytest.mark.parametrize("loss", LOSSES)
@EVERY_PENALTY
@settings(max_examples=15)
@given(data=st.data(), index=st.integers(0, 9), varying=st.booleans())
def test_steps_on_named_rows_equal_the_reference(
    loss: str, alphas: tuple[float, float], data: st.DataObject, index: int, varying: bool
) -> None:
    case = data.draw(cases(loss, alphas))
    steps = case.random.uniform(0.01, 0.05, len(case.rows)) if varying else np.full(len(case.rows), 0.0313)
    moved = case.weights.copy()
    sgd_rows(case.objective(), moved, case.rows, steps if varying else 0.0313, index)
    whole = case.alphas[0] == 0 and case.loss != "softmax"
    expected = case.iterates([[i] for i in case.rows.tolist()], steps, spread=not whole, index=index)
    assert_equal_but_for_rounding(moved, expected)


@pytest.mark.parametrize("loss", LOSSES)
@EVERY_PENALTY
@settings(max_examples=10)
@given(data=st.data(), delay=st.integers(1, 7), piece=st.integers(1, 60), index=st.integers(0, 9))
def test_delayed_steps_go_along_the_gradient_of_earlier_weights(
    loss: str, alphas: tuple[float, float], data: st.DataObject, delay: int, piece: int, index: int
) -> None:
    """In pieces as in one call; `settle` brings the last `delay` steps, and then nothing is due."""
    case = data.draw(cases(loss, alphas))
    steps = case.random.uniform(0.0005, 0.002, len(case.rows))  # longer ones grow without bound where they are late
    objective, whole, parts = case.objective(), case.weights.copy(), case.weights.copy()
    sgd = _core.RowSgd(objective, delay=delay)
    sgd.steps(whole, case.rows, steps, index)
    in_pieces = _core.RowSgd(objective, delay=delay)
    for begin in range(0, len(case.rows), piece):
        in_pieces.steps(parts, case.rows[begin : begin + piece], steps[begin : begin + piece], index)
    assert np.array_equal(parts, whole)
    if len(case.rows) <= delay:
        assert np.array_equal(whole, case.weights)
    sgd.settle(whole)
    in_pieces.settle(parts)
    spread = case.alphas[0] != 0 or case.loss == "softmax"
    expected = case.iterates([[i] for i in case.rows.tolist()], steps, spread=spread, index=index, delay=delay)
    assert_equal_but_for_rounding(whole, expected)
    assert np.array_equal(parts, whole)
    settled = whole.copy()
    sgd.settle(whole)
    assert np.array_equal(whole, settled)


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "softmax"])
@EVERY_PENALTY
@settings(max_examples=15)
@given(data=st.data(), size=st.integers(2, 9), index=st.integers(0, 9), varying=st.booleans())
def test_steps_on_batches_of_named_rows_equal_the_reference(
    loss: str, alphas: tuple[float, float], data: st.DataObject, size: int, index: int, varying: bool
) -> None:
    case = data.draw(cases(loss, alphas))
    kernels, batches = kernels_of(case), [case.rows[k : k + size].tolist() for k in range(0, len(case.rows), size)]
    steps = case.random.uniform(0.01, 0.05, len(batches)) if varying else np.full(len(batches), 0.0313)
    moved = kernels.sgd_steps(case.weights, case.rows, steps if varying else 0.0313, index, size)
    expected = case.iterates(batches, steps, batch_size=size, index=index)
    assert_equal_but_for_rounding(moved, expected)
    assert kernels.work.samples == len(case.rows)


@pytest.mark.parametrize("loss", LOSSES)
@given(data=st.data(), clip_norm=st.sampled_from([0.05, 0.5, 2.0, math.inf]))
def test_clipped_gradients_equal_the_reference(loss: str, data: st.DataObject, clip_norm: float) -> None:
    case = data.draw(cases(loss, (3.0, 3.0)))  # the penalty is no part of it
    total = np.zeros(len(case.weights))
    n_clipped = _core.clipped_gradient(case.objective(), case.weights, case.rows, clip_norm, total)
    expected, count = reference.clipped_gradient(
        case.dense, case.y, *case.split(), case.rows.tolist(), clip_norm, **case.of_references()
    )
    np.testing.assert_allclose(total, expected, rtol=0, atol=1e-12)
    assert n_clipped == count


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_without_a_clip_the_sum_equals_fourth_order_differences_of_the_loss(
    loss: str, layout: str, fit_intercept: bool, weighted: bool
) -> None:
    """As in test_reference.py, whose bounds on rounding, truncation and kinks hold here."""
    data, sample_weight = X if layout == "sparse" else DENSE, WEIGHTS if weighted else None
    config: dict[str, Any] = {"alpha_l1": 3.0, "alpha_l2": 3.0, "fit_intercept": fit_intercept}  # not in the gradient
    objective = make_objective(data, loss=loss, sample_weight=sample_weight, **config)
    weights, h = some_weights(loss, fit_intercept), 1e-4
    if loss != "softmax":
        w, b = split(weights, loss, fit_intercept)
        margin = X @ w + b
        kinks = np.concatenate([margin - 1, margin + 1, np.abs(margin - Y) - reference.EPSILON])
        assert np.abs(kinks).min() > 2 * h * np.abs(DENSE).max()
    total = np.zeros(len(weights))
    assert _core.clipped_gradient(objective, weights, np.arange(N_ROWS), math.inf, total) == 0
    for j, of_core in enumerate(total / N_ROWS):
        at = [objective.mean_loss(weights + k * h * np.eye(len(weights))[j], 2) for k in (-2, -1, 1, 2)]
        assert (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h) == pytest.approx(of_core, rel=0, abs=1e-9)


@pytest.fixture(params=["sparse", "dense"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(
        loss="logistic",
        alphas=(0.0, 0.02),
        fit_intercept=True,
        rate=1.0,
        dense=DENSE,
        data=X if request.param == "sparse" else DENSE,
        y=Y,
        sample_weight=None,
        rows=_core.draw_rows(N_ROWS, N_ROWS, block_size=1, seed=7, index=3, stream=0),
        weights=np.full(N_FEATURES + 1, 0.1),
        random=np.random.default_rng(0),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", ["hinge", "logistic", "huber", "softmax"])
@EVERY_PENALTY
def test_steps_on_the_rows_of_an_epoch_are_those_of_sgd_to_the_bit(
    case: Case, dtype: Any, loss: str, alphas: tuple[float, float]
) -> None:
    case.loss, case.alphas, case.data = loss, alphas, case.data.astype(dtype)
    case.y = (CLASSES if loss == "softmax" else Y).astype(dtype)
    objective, schedule = case.objective(), _core.Schedule(step_size=0.1, power=0.5)
    expected = case.random.standard_normal((N_FEATURES + 1) * case.n_outputs).astype(dtype)
    moved, visited = expected.copy(), np.empty(N_ROWS, np.int64)
    epoch = _core.Epoch(index=3, schedule=schedule, block_size=1, seed=7)
    _core.sgd_epoch(objective, expected, epoch, visited)
    steps = np.array([schedule.at(1 + 3 * N_ROWS + k, 3) for k in range(N_ROWS)])
    sgd_rows(objective, moved, visited, steps, 3)
    assert np.array_equal(moved, expected)


def test_the_kernel_of_plain_steps_is_sgd_and_that_of_batches_is_minibatch(case: Case) -> None:
    kernels = kernels_of(case)
    epoch = _core.Epoch(index=3, schedule=_core.Schedule(step_size=0.1), block_size=1, seed=7)
    single, batches = case.weights.copy(), case.weights.copy()
    _core.sgd_epoch(kernels._linear, single, epoch)
    _core.minibatch_epoch(kernels._linear, batches, epoch, 10, 1)  # 125 rows: the last batch has 5
    assert np.array_equal(kernels.sgd_steps(case.weights, case.rows, 0.1, 3), single)
    assert np.array_equal(kernels.sgd_steps(case.weights, case.rows, 0.1, 3, 10), batches)
    assert not np.allclose(single, batches)


def test_the_pass_decides_which_rows_of_a_batch_bring_the_penalty(case: Case) -> None:
    case.alphas = (0.0, 1e-4)
    first, second = (kernels_of(case).sgd_steps(case.weights, case.rows, 0.1, index, 10) for index in (0, 1))
    assert not np.array_equal(first, second)


def test_a_kernel_of_no_rows_changes_nothing(case: Case) -> None:
    kernels, none, w = kernels_of(case), np.zeros(0, np.int64), case.weights
    assert np.array_equal(kernels.gradient(w, none), np.zeros_like(w))
    total, n_clipped = kernels.clipped_gradient(w, none, 1.0)
    assert np.array_equal(total, np.zeros_like(w))
    assert n_clipped == 0
    mean = kernels.take_anchor(w)
    for moved in (
        kernels.sgd_steps(w, none, 0.1, 0),
        kernels.sgd_steps(w, none, np.zeros(0), 0),
        kernels.sgd_steps(w, none, 0.1, 0, 10),
        kernels.minibatch_step(w, none, 0.1, 10, 0),
        kernels.svrg_steps(w, mean, none, 0.1),
    ):
        assert np.array_equal(moved, w)


def test_kernels_count_the_rows_that_they_read(case: Case) -> None:
    kernels, rows = kernels_of(case), case.rows[:50]
    entries = int((DENSE[rows] != 0).sum()) if kernels.problem.sparse else 50 * N_FEATURES
    for run, calls, cost, reads in (
        (lambda: kernels.sgd_steps(case.weights, rows, 0.1, 0), 2, 1.85, 2),  # the steps, and the scale of L2
        (lambda: kernels.sgd_steps(case.weights, rows, 0.1, 0, 20), 2, 1.85, 2),  # the steps, and a copy
        (lambda: kernels.clipped_gradient(case.weights, rows, 1.0), 1, 2.1, 3),
    ):
        before = kernels.work.copy()
        run()
        work = kernels.work.since(before)
        assert (work.samples, work.calls) == (50, calls)
        if kernels.problem.sparse:
            assert work.entries == pytest.approx(cost * entries, abs=calls)
            assert work.elements == N_FEATURES + 1
        else:
            assert work.elements == reads * entries + N_FEATURES + 1


def test_a_clipped_gradient_has_the_type_of_the_weights_and_is_a_copy(case: Case) -> None:
    case.data, case.y = case.data.astype(np.float32), case.y.astype(np.float32)
    kernels, w = kernels_of(case), case.weights.astype(np.float32)
    first, n_clipped = kernels.clipped_gradient(w, case.rows, 1.0)
    assert first.dtype == np.float32
    assert 0 < n_clipped < N_ROWS
    kept = first.copy()
    kernels.clipped_gradient(w, case.rows, 0.1)
    assert np.array_equal(first, kept)


def test_wrong_arguments_are_refused(case: Case) -> None:
    kernels, rows, w = kernels_of(case), np.arange(5), case.weights
    with pytest.raises(ConfigError, match="step has 3 elements; expected 1, or 5, one for each batch"):
        kernels.sgd_steps(w, rows, np.ones(3), 0)
    with pytest.raises(ConfigError, match="step has 5 elements; expected 1, or 3, one for each batch"):
        kernels.sgd_steps(w, rows, np.ones(5), 0, 2)
    for batch_size in (1, 2):
        with pytest.raises(ConfigError, match="row 125 is not one of 125"):
            kernels.sgd_steps(w, np.array([125]), 0.1, 0, batch_size)
    with pytest.raises(ConfigError, match="row -1 is not one of 125"):
        kernels.clipped_gradient(w, np.array([-1]), 1.0)
    for clip_norm in (0.0, -1.0, math.nan):
        with pytest.raises(ConfigError, match="clip_norm must be above 0, not"):
            kernels.clipped_gradient(w, rows, clip_norm)
    solver = _core.Svrg(kernels._linear, n_threads=1, mean_gradient="reweighted")
    with pytest.raises(ConfigError, match="needs a mean gradient: take an anchor or use_mean first"):
        solver.descend_rows(w, 0.1, rows)
