"""Delayed gradients that are tested, against a plain numpy loop that stores all weights."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray
from referenced import DENSE, N_FEATURES, N_ROWS, WEIGHTS, Y, make_objective, some_weights, split, zeros

from dsgd import _core
from dsgd.cluster.program.descent import FATES
from dsgd.data.inputs import as_matrix
from dsgd.errors import ConfigError
from dsgd.testing import delay_reference, reference

LOSSES = sorted(set(reference.VALUES) - {"softmax"})
EVERY_LOSS = pytest.mark.parametrize("loss", LOSSES)
SPARSE = scipy.sparse.csr_array(DENSE)
RATE = 0.3  # of the intercept
RANDOM = np.random.default_rng(5)
ROWS = RANDOM.integers(0, N_ROWS, 250)
STEPS = RANDOM.uniform(0.02, 0.3, len(ROWS))
ACCEPTED, FRESH = FATES.index("accepted"), FATES.index("fresh")
Vector = NDArray[Any]


def small_weights(loss: str, fit_intercept: bool) -> Vector:
    """Return weights that the first steps turn round."""
    return some_weights(loss, fit_intercept, 0.02)


def least_weights(loss: str, fit_intercept: bool) -> Vector:
    """Return 0, where most runs start; for the perceptron, whose kink is there, small weights.

    The decision of weights that are not stored is known but for rounding, on one side of the kink or on the other.
    """
    return small_weights(loss, fit_intercept) if loss == "perceptron" else zeros(loss, fit_intercept)


STARTS = (small_weights, least_weights)


def objective_of(
    data: Any, y: Vector, loss: str, alpha: float, sample_weight: Vector | None = None, **config: Any
) -> _core.LinearObjective:
    """Return the objective of any data."""
    options: dict[str, Any] = {"alpha_l1": 0.0, "fit_intercept": True, "intercept_rate": RATE, "n_threads": 1} | config
    return _core.LinearObjective(
        as_matrix(data, 1), y, sample_weight, loss=_core.Loss(loss, reference.EPSILON, 1), alpha_l2=alpha, **options
    )


def solver_of(objective: Any, loss: str, delay: int, most_retries: int = 3, strict: bool = False) -> _core.DelayedSgd:
    curvature = delay_reference.CURVATURES.get(loss, 1.0)
    return _core.DelayedSgd(objective, delay=delay, most_retries=most_retries, strict=strict, curvature=curvature)


def run(
    solver: _core.DelayedSgd, start: Vector, rows: Vector = ROWS, steps: Any = STEPS, piece: int = 10**9
) -> tuple[Vector, Vector]:
    """Return the weights and the fates after all rows, `piece` of them a call."""
    weights, fates = start.copy(), np.full(len(rows), 99, np.uint8)
    for begin in range(0, len(rows), piece):
        part = slice(begin, begin + piece)
        solver.steps(weights, rows[part], steps if isinstance(steps, float) else steps[part], fates[part])
    solver.settle(weights)
    return weights, fates


@EVERY_LOSS
@pytest.mark.parametrize("delay", [1, 2, 5])
@pytest.mark.parametrize("strict", [False, True])
def test_weights_and_fates_are_those_of_the_reference(loss: str, delay: int, strict: bool) -> None:
    for alpha, fit_intercept, weighted in itertools.product((0.0, 0.02), (True, False), (True, False)):
        config: dict[str, Any] = {"fit_intercept": fit_intercept, "intercept_rate": RATE, "loss": loss}
        config["sample_weight"] = WEIGHTS if weighted else None
        start = STARTS[alpha > 0](loss, fit_intercept) if weighted else some_weights(loss, fit_intercept)
        w, b = split(start, loss, fit_intercept)
        path = delay_reference.delayed_sgd(
            *(DENSE, Y, ROWS.tolist(), STEPS.tolist()),
            **{**config, "alpha": alpha, "delay": delay, "max_retries": 3, "strict": strict, "start": (w, b)},
        )
        expected = []
        for w, b, fate in path:  # noqa: B007  # the last
            expected.append(fate)
        for data in (SPARSE, DENSE):
            objective = make_objective(data, alpha_l1=0.0, alpha_l2=alpha, **config)
            weights, fates = run(solver_of(objective, loss, delay, strict=strict), start)
            assert [FATES[fate] for fate in fates] == expected
            np.testing.assert_allclose(weights, np.append(w, b)[: len(weights)], rtol=0, atol=1e-12)


def test_these_runs_have_samples_of_every_fate() -> None:
    """So that the comparison above is one of all branches."""
    seen = np.zeros(len(FATES), int)
    for loss in LOSSES:
        objective = make_objective(SPARSE, loss=loss, alpha_l1=0.0, alpha_l2=0.02, fit_intercept=True)
        for strict, start in itertools.product((False, True), (some_weights, *STARTS)):
            _, fates = run(solver_of(objective, loss, 2, strict=strict), start(loss, True))
            counts = np.bincount(fates, minlength=len(FATES))
            assert counts[ACCEPTED] > 5
            assert strict or counts[FATES.index("turned") :].sum() == 0
            seen += counts
    assert (seen > 10).all()


@EVERY_LOSS
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("piece", [1, 7])
def test_pieces_equal_one_call(loss: str, strict: bool, piece: int) -> None:
    """To the bit, but for `strict`, whose squared norm is computed anew in every call."""
    for data, alpha in itertools.product((SPARSE, DENSE), (0.0, 0.02)):
        objective = make_objective(data, loss=loss, alpha_l1=0.0, alpha_l2=alpha, fit_intercept=True)
        start = some_weights(loss, True)
        whole, fates = run(solver_of(objective, loss, 2, strict=strict), start)
        parts, fates_of_parts = run(solver_of(objective, loss, 2, strict=strict), start, piece=piece)
        assert np.array_equal(fates, fates_of_parts)
        np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-12 if strict else 0)


@EVERY_LOSS
def test_one_step_size_is_that_of_every_sample(loss: str) -> None:
    objective = make_objective(SPARSE, loss=loss, alpha_l1=0.0, alpha_l2=0.02, fit_intercept=True)
    one = run(solver_of(objective, loss, 2), some_weights(loss, True), steps=0.1)
    each = run(solver_of(objective, loss, 2), some_weights(loss, True), steps=np.full(len(ROWS), 0.1))
    assert np.array_equal(one[0], each[0])
    assert np.array_equal(one[1], each[1])


@EVERY_LOSS
@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_a_delay_the_steps_are_those_of_sgd_to_the_bit(loss: str, layout: str, dtype: Any) -> None:
    data = (SPARSE if layout == "sparse" else DENSE).astype(dtype)
    for alpha, fit_intercept in itertools.product((0.0, 0.02), (True, False)):
        weight = WEIGHTS.astype(dtype)
        objective = objective_of(data, Y.astype(dtype), loss, alpha, weight, fit_intercept=fit_intercept)
        schedule = _core.Schedule(step_size=0.1, power=0.5)
        epoch = _core.Epoch(index=3, schedule=schedule, block_size=1, seed=7)
        expected = some_weights(loss, fit_intercept).astype(dtype)
        start, visited = expected.copy(), np.empty(N_ROWS, np.int64)
        _core.sgd_epoch(objective, expected, epoch, visited)
        steps = np.array([schedule.at(1 + 3 * N_ROWS + k, 3) for k in range(N_ROWS)])
        for strict in (False, True):
            weights, fates = run(solver_of(objective, loss, 0, strict=strict), start, visited, steps)
            assert np.array_equal(weights, expected)
            assert (fates == ACCEPTED).all()


@EVERY_LOSS
@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("strict", [False, True])
def test_float32_comes_close_to_float64(loss: str, layout: str, strict: bool) -> None:
    """By more than rounding only after a sample that one of them rejects, the other one not: few are so near."""
    data, y = (SPARSE if layout == "sparse" else DENSE).astype(np.float32), Y.astype(np.float32)
    start, rows, steps = some_weights(loss, True).astype(np.float32), ROWS[:100], STEPS[:100]
    single, fates = run(solver_of(objective_of(data, y, loss, 0.02), loss, 2, strict=strict), start, rows, steps)
    double, of_double = run(
        solver_of(objective_of(data.astype(float), Y, loss, 0.02), loss, 2, strict=strict),
        start.astype(float),
        rows,
        steps,
    )
    assert single.dtype == np.float32
    assert np.array_equal(fates, of_double)
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-5)


def roots(loss: str, alpha: float, pull: float, length: float, b: float, y: float) -> tuple[float, float]:
    """Return the least and the greatest p where alpha p + pull l'(length p + b, y) changes its sign, by bisection."""

    def slope(p: float) -> float:
        return alpha * p + pull * float(reference.DERIVATIVES[loss](np.asarray(length * p + b), np.asarray(y)))

    def last(is_before: Any) -> float:
        low, high = -1e6, 1e6
        while low < (middle := (low + high) / 2) < high:
            low, high = (middle, high) if is_before(slope(middle)) else (low, middle)
        return low

    return last(lambda at: at < 0), last(lambda at: at <= 0)


@pytest.mark.parametrize("seed", range(100))
def test_kept_weights_lie_on_one_side_of_the_true_fixed_point_after_every_accepted_step(seed: int) -> None:
    """Of the line along the row of the step, at the intercept before it; within 1e-9."""
    random = np.random.default_rng(seed)
    n, d, delay = 20, int(random.integers(1, 8)), int(random.integers(1, 5))
    loss, alpha, fit_intercept = LOSSES[seed % len(LOSSES)], float(random.choice([0.0, 0.01, 0.3])), seed % 2 == 0
    X = random.normal(0, 1, (n, d)) * (random.random((n, d)) < 0.7)
    y, weight = random.choice([-1.0, 1.0], n), random.exponential(size=n)
    objective = objective_of(scipy.sparse.csr_array(X), y, loss, alpha, weight, fit_intercept=fit_intercept)
    rows, steps = random.integers(0, n, 35), random.uniform(0.02, 0.5, 35)
    start, strict = random.normal(0, 0.5, d + fit_intercept), seed % 3 == 0

    def after(count: int) -> tuple[Vector, Vector]:
        return run(solver_of(objective, loss, delay, 5, strict), start, rows[:count], steps[:count])

    made, tested = [start], 0
    for k, i in enumerate(rows):
        weights, fates = after(k + 1)
        if fates[k] not in (ACCEPTED, FRESH):
            assert np.array_equal(weights, after(k)[0])
            continue
        kept, made = made[-delay - 1 :], [*made, weights]
        length = float(np.linalg.norm(X[i]))
        if fates[k] == FRESH or len(kept) == 1 or length == 0:
            continue
        line = np.array([each[:d] @ X[i] for each in [*kept, weights]]) / length
        b = float(kept[-1][d]) if fit_intercept else 0.0
        ends = roots(loss, alpha, weight[i] * length, length, b, y[i])
        nearest = np.clip(line[-2], *ends)  # without L2 there may be several fixed points
        assert (line - nearest).max() <= 1e-9 or (line - nearest).min() >= -1e-9
        tested += 1
    assert tested > 0


@EVERY_LOSS
@pytest.mark.parametrize("most_retries", [1, 4])
def test_a_run_of_rejections_ends_in_a_fresh_step_and_only_that(loss: str, most_retries: int) -> None:
    objective = make_objective(SPARSE, loss=loss, alpha_l1=0.0, alpha_l2=0.02, fit_intercept=True)
    _, fates = run(solver_of(objective, loss, 5, most_retries, strict=True), some_weights(loss, True))
    rejected = 0
    for fate in fates:
        assert (fate == FRESH) == (rejected == most_retries)
        rejected = 0 if fate in (ACCEPTED, FRESH) else rejected + 1
    assert (fates == FRESH).any()


def test_every_option_changes_the_result() -> None:
    objective = make_objective(SPARSE, loss="logistic", alpha_l1=0.0, alpha_l2=0.02, fit_intercept=True)
    start = some_weights("logistic", True)
    plain: dict[str, Any] = {"delay": 2, "most_retries": 3, "strict": False, "curvature": 0.25}
    results = [
        run(_core.DelayedSgd(objective, **{**plain, **change}), start)[0].tolist()
        for change in ({}, {"delay": 1}, {"most_retries": 1}, {"strict": True}, {"curvature": 10.0})
    ]
    assert all(a != b for a, b in itertools.combinations(results, 2))


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss not in ("logistic", "squared", "huber")])
def test_without_l2_a_sample_that_has_no_gradient_is_accepted(loss: str) -> None:
    """Both kept weights are fixed points of the second row; the step on the first row moves them a little along it."""
    X, y = np.array([[0.01, 1.0], [1.0 if "insensitive" in loss else 2.0, 0.0]]), np.array([1.0, 1.0])
    start = np.array([1.0, -1.0])
    objective = objective_of(X, y, loss, 0.0, fit_intercept=False)
    weights, fates = run(solver_of(objective, loss, 1), start, np.array([0, 1]), 0.1)
    assert (weights != start).all()
    assert fates.tolist() == [ACCEPTED, ACCEPTED]


def test_weights_that_are_zero_are_not_turned() -> None:
    """The product of the first weights with the start, 0, is 0: rounded it may be below."""
    for seed in range(50):
        random = np.random.default_rng(seed)
        X = random.standard_normal((2, 6))
        X[1] = 2 * X[0] + 0.1 * X[1]
        objective = objective_of(X, np.ones(2), "squared", 0.01, fit_intercept=False)
        _, fates = run(solver_of(objective, "squared", 1, strict=True), np.zeros(6), np.array([0, 1]), 1e-3)
        assert fates.tolist() == [ACCEPTED, ACCEPTED]


def test_settling_forgets_the_weights_before() -> None:
    objective = make_objective(SPARSE, loss="logistic", alpha_l1=0.0, alpha_l2=0.02, fit_intercept=True)
    solver = solver_of(objective, "logistic", 2)
    middle, _ = run(solver, some_weights("logistic", True), ROWS[:100], STEPS[:100])
    again = run(solver, middle, ROWS[100:], STEPS[100:])
    anew = run(solver_of(objective, "logistic", 2), middle, ROWS[100:], STEPS[100:])
    assert np.array_equal(again[0], anew[0])
    assert np.array_equal(again[1], anew[1])
    unbroken, _ = run(solver_of(objective, "logistic", 2), some_weights("logistic", True))
    assert not np.allclose(again[0], unbroken, rtol=0, atol=1e-6)


def test_wrong_problems_and_sizes_are_refused() -> None:
    for loss, alpha_l1, message in (("softmax", 0.0, "for one decision value"), ("hinge", 0.1, "penalty 'l2' or none")):
        objective = make_objective(SPARSE, loss=loss, alpha_l1=alpha_l1, alpha_l2=0.1, fit_intercept=True)
        with pytest.raises(ConfigError, match=message):
            solver_of(objective, loss, 1)
    solver = solver_of(objective_of(SPARSE, Y, "hinge", 0.1), "hinge", 1)
    weights, rows, fates = np.zeros(N_FEATURES + 1), np.arange(5), np.zeros(5, np.uint8)
    with pytest.raises(ConfigError, match="step has 3 elements; expected 5"):
        solver.steps(weights, rows, np.ones(3), fates)
    with pytest.raises(ConfigError, match="fates has 4 elements; expected 5"):
        solver.steps(weights, rows, 0.1, fates[:4])
    with pytest.raises(ConfigError, match="weights has 30 elements; expected 31"):
        solver.steps(weights[:-1], rows, 0.1, fates)
    with pytest.raises(ConfigError, match="weights has 30 elements; expected 31"):
        solver.settle(weights[:-1])
    for row in (-1, N_ROWS):
        with pytest.raises(ConfigError, match=f"row {row} is not one of {N_ROWS}"):
            solver.steps(weights, np.array([row]), 0.1, fates[:1])
    assert np.array_equal(weights, np.zeros(N_FEATURES + 1))
