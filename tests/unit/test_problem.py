from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problems import make_problem

import dsgd
from dsgd.data.inputs import as_matrix
from dsgd.losses import Squared
from dsgd.problem import Problem, Scale

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


def test_sorted_data_is_trained_on_as_well_as_shuffled_data() -> None:
    X, y = make_problem(20_000, 30, seed=1)
    order = np.argsort(y, kind="stable")
    settings: dict[str, Any] = {"algo": "sgd", "loss": "logistic", "max_epochs": 5, "random_state": 0}
    mixed, by_label = dsgd.fit(X, y, **settings), dsgd.fit(X[order], y[order], **settings)
    assert by_label.history[-1].objective == pytest.approx(mixed.history[-1].objective, rel=2e-3)
    assert (dsgd.fit(X, y, block_size=19, **settings).coef_ == mixed.coef_).all()
    assert (dsgd.fit(X[order], y[order], block_size=1, **settings).coef_ == by_label.coef_).all()
