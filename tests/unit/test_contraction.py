"""The rate at which steps bring two models together, estimated from data whose rate is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from problems import make_problem

import dsgd
from dsgd import losses
from dsgd.algorithms.contraction import Contraction, estimate_contraction
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.errors import ConfigError
from dsgd.problems.problem import Problem
from dsgd.problems.task import LocalTask
from dsgd.schedules import Constant

N = 400


def estimate(
    X: Any, y: NDArray[Any], *, alpha: float, step: float, loss: str = "squared", steps: int = 1000, start: float = 4.0
) -> Contraction:
    """Return the estimate for `steps` steps from weights that are all `start`."""
    matrix = as_matrix(X, 1)
    problem = Problem(
        matrix=matrix,
        target=y,
        sample_weight=None,
        loss=losses.resolve_loss(loss),
        alphas=(0.0, alpha),
        fit_intercept=False,
        scale=measure(matrix, None, 1),
    )
    task = LocalTask(
        problem=problem,
        objective=problem.objective(1),
        weights=np.full(X.shape[1], start, X.dtype),
        schedule=Constant(),
        step_size=step,
        seed=3,
        n_threads=1,
        max_epochs=5,
    )
    return estimate_contraction(task, steps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize(("step", "steps"), [(0.1, 1), (0.1, 53), (0.1, 1000), (0.002, 53), (0.002, 50_000)])
def test_the_coupling_of_one_feature_that_is_constant_is_exact(
    dtype: Any, alpha: float, step: float, steps: int
) -> None:
    """Every step multiplies the difference of two models by (1 - step x^2) / (1 + step alpha).

    Also where the models meet, but for rounding, long before the last step. The tolerances are those of two distances
    that are known to half of the digits.
    """
    y = np.random.default_rng(0).standard_normal(N).astype(dtype)
    found = estimate(np.full((N, 1), 1.5, dtype), y, alpha=alpha, step=step, steps=steps)
    rate = (1 - step * 1.5**2) / (1 + step * alpha)
    assert found.coupling == pytest.approx(rate, rel=1e-4 if dtype == np.float32 else 1e-8)
    assert found.rate <= 1 - step * alpha
    assert found.rate >= min(found.coupling, 1 - step * alpha)


def test_models_that_meet_at_the_first_look_have_a_rate_below_what_it_can_tell() -> None:
    """There are 40 looks at 1,250 steps each; distances tell of a rate until they are below half of the digits."""
    found = estimate(np.full((N, 1), 1.5), np.ones(N), alpha=0.0, step=0.1, steps=50_000)
    assert found.coupling == pytest.approx(np.finfo(float).eps ** (0.5 / 1250), rel=1e-12)
    assert 1 - 0.1 * 1.5**2 < found.coupling < 1


@pytest.mark.parametrize("seed", range(10))
def test_the_coupling_of_a_quadratic_problem_is_the_mean_of_the_rates_of_its_samples(seed: int) -> None:
    """In logarithms. The tolerance is five standard deviations of a mean over the steps that count.

    These are independent but for rows that are drawn without replacement, which makes the deviation smaller.
    """
    random = np.random.default_rng(seed)
    X, step, alpha = random.standard_normal((N, 1)), float(random.uniform(0.002, 0.02)), 0.1
    logarithms = np.log((1 - step * X[:, 0] ** 2) / (1 + step * alpha))
    found = estimate(X, 3 * X[:, 0] + random.standard_normal(N), alpha=alpha, step=step, steps=10_000)
    n_steps = min(10_000, math.log(1e7) / -logarithms.mean())
    tolerance = 5 * logarithms.std() / math.sqrt(n_steps)
    assert tolerance < 0.3 * -logarithms.mean()
    assert math.log(found.coupling) == pytest.approx(logarithms.mean(), rel=0, abs=tolerance)


def test_without_noise_the_fit_is_the_rate_of_the_fall() -> None:
    """Within a twentieth in logarithms: the mean of the tail, from which distances are taken, is not the end."""
    found = estimate(np.ones((N, 1)), np.ones(N), alpha=0.0, step=0.01, steps=1000)
    assert math.log(found.fit) == pytest.approx(math.log(0.99), rel=0.05)
    assert found.rate == max(found.coupling, found.fit)


def test_a_model_that_starts_where_it_ends_tells_nothing() -> None:
    found = estimate(np.ones((N, 1)), np.ones(N), alpha=0.0, step=0.01, start=1.0)
    assert found.coupling == 1
    assert math.isnan(found.fit)
    assert found.rate == 1
    assert estimate(np.ones((N, 1)), np.full(N, 0.0), alpha=0.1, step=0.01, start=0.0).rate == 1 - 0.01 * 0.1


@pytest.mark.parametrize("loss", ["hinge", "logistic", "squared", "squared_hinge", "huber"])
@pytest.mark.parametrize("alpha", [0.0, 1e-4, 0.1])
@pytest.mark.parametrize("start", [0.0, 100.0])
def test_the_rate_is_never_above_that_of_l2_alone(loss: str, alpha: float, start: float) -> None:
    X, y = make_problem(N, 20, seed=2)
    for step in (1e-3, 0.1):
        found = estimate(X, y, alpha=alpha, step=step, loss=loss, start=start)
        assert 0 < found.rate <= 1 - step * alpha


def test_a_loss_that_curves_has_a_smaller_rate_than_one_with_kinks() -> None:
    X, y = make_problem(N, 20, seed=2)
    squared, hinge = (estimate(X, y, alpha=1e-3, step=0.05, loss=loss, start=0.0).rate for loss in ("squared", "hinge"))
    assert squared < hinge <= 1 - 0.05 * 1e-3


@pytest.mark.parametrize("loss", ["kmeans", "mlp"])
def test_models_that_are_not_linear_are_refused(loss: str) -> None:
    X, y = make_problem(60, 3, seed=2)
    shape: Any = losses.KMeans(n_clusters=2) if loss == "kmeans" else losses.MLP(hidden=(2,))
    algorithm = dsgd.algorithms.WpSgd(contraction="data")
    with pytest.raises(ConfigError, match="contraction='data' is for linear models; give contraction a number"):
        dsgd.fit(
            X.toarray(), None if loss == "kmeans" else y, loss=shape, algo=algorithm, cluster=dsgd.Simulation(workers=2)
        )
