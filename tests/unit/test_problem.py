from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problems import make_problem

import dsgd
from dsgd import _core
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import Scale
from dsgd.errors import ConfigError, DataError
from dsgd.losses import Squared
from dsgd.problems.problem import Problem

RANDOM = np.random.default_rng(0)
MIXED = np.where(RANDOM.random(20_000) < 0.1, 1.0, -1.0)


@pytest.mark.parametrize(
    ("target", "block_size"),
    [
        (MIXED, 19),
        (np.sort(MIXED), 1),
        (np.repeat(MIXED, 50), 1),
        (np.tile(MIXED, 50), 256),
        (RANDOM.standard_normal(20_000), 19),
        (np.cumsum(RANDOM.standard_normal(20_000)), 1),
        (1e200 * RANDOM.standard_normal(20_000), 1),
        (MIXED[:1000], 1),
        (np.ones(20_000), 1),
        (np.ones(1), 1),
    ],
    ids=["mixed", "sorted", "runs", "many", "numbers", "walk", "overflow", "few", "constant", "one"],
)
def test_neighbours_are_visited_together_where_their_targets_are_unlike(target: Any, block_size: int) -> None:
    problem = Problem(
        matrix=as_matrix(np.ones((len(target), 1)), 1),
        target=target,
        sample_weight=None,
        loss=Squared(),
        alphas=(0.0, 0.0),
        fit_intercept=True,
        scale=Scale(mean=1, largest=1, intercept_rate=1, row_entries=1),
    )
    assert problem.block_size == block_size


def test_an_objective_keeps_its_other_targets_alive_and_takes_no_wrong_ones() -> None:
    X, y = make_problem(2000, 5, seed=0)
    weights = np.linspace(-1, 1, 6)

    def objective(target: Any) -> _core.LinearObjective:
        settings: dict[str, Any] = {"alpha_l1": 0, "alpha_l2": 0.1, "fit_intercept": True, "n_threads": 1}
        return _core.LinearObjective(as_matrix(X, 1), target, None, loss=_core.Loss("logistic", 0), **settings)

    other = objective(y).with_target(-y)
    trash = [np.full(2000, np.nan) for _ in range(50)]  # which would lie where the targets were
    assert other.value(weights, 1) == objective(-y).value(weights, 1)
    del trash
    with pytest.raises(DataError, match="X has 2000 rows and y 1999 elements"):
        other.with_target(y[1:].copy())
    with pytest.raises(ConfigError, match="y has dtype float32; expected float64"):
        other.with_target(y.astype(np.float32))


def test_sorted_data_is_trained_on_as_well_as_shuffled_data() -> None:
    X, y = make_problem(20_000, 30, seed=1)
    order = np.argsort(y, kind="stable")
    settings: dict[str, Any] = {"algo": "sgd", "loss": "logistic", "max_epochs": 5, "random_state": 0}
    mixed, by_label = dsgd.fit(X, y, **settings), dsgd.fit(X[order], y[order], **settings)
    assert by_label.history[-1].objective == pytest.approx(mixed.history[-1].objective, rel=2e-3)
    assert (dsgd.fit(X, y, block_size=19, **settings).coef_ == mixed.coef_).all()
    assert (dsgd.fit(X[order], y[order], block_size=1, **settings).coef_ == by_label.coef_).all()
