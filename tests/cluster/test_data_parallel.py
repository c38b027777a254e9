"""Algorithms of one machine whose steps the workers of a cluster make together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problems import make_problem

import dsgd
from dsgd.errors import ConfigError

X, Y = make_problem(240, 20, seed=3)


def train(**options: Any) -> Any:
    given = {"loss": "logistic", "alpha": 1e-2, "max_epochs": 5, "random_state": 3, "step_size": 0.1, **options}
    return dsgd.fit(X, Y, algo="minibatch", batch_size=16, **given)


def test_minibatch_on_one_node_is_that_of_one_machine_to_the_bit() -> None:
    alone = train(cluster=dsgd.Simulation(workers=1))
    assert np.array_equal(alone.coef_, train(block_size=1, n_threads=1).coef_)


def test_minibatch_on_a_cluster_is_ssp_behind_a_barrier_with_a_part_of_the_batch_on_each_worker() -> None:
    cluster = dsgd.Simulation(workers=4)
    together = train(cluster=cluster)
    options: dict[str, Any] = {"loss": "logistic", "alpha": 1e-2, "max_epochs": 5, "random_state": 3, "step_size": 0.1}
    apart = dsgd.fit(X, Y, algo="ssp", staleness=0, batch_size=4, cluster=cluster, **options)
    assert np.array_equal(together.coef_, apart.coef_)
    assert together.algorithm == dsgd.algorithms.Ssp(staleness=0, batch_size=4)
    objective, expected = (result.history[-1].objective for result in (together, train(block_size=1)))
    assert objective == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algo": "sgd"}, "algo 'sgd' runs on one machine: .*'batch' or 'minibatch', which run on several"),
        ({"algo": "minibatch", "batch_size": 3}, "batch_size=3 on 4 workers: each needs a row of every batch"),
        ({"algo": "minibatch", "average": True}, "algo 'minibatch' on a cluster has no average"),
        ({"algo": "minibatch", "block_size": 7}, "algo 'minibatch' on a cluster has no average, momentum and block"),
        ({"algo": "minibatch", "loss": "mlp", "momentum": 0.5}, "algo 'minibatch' on a cluster has no average"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dsgd.fit(X, Y, workers=4, **options)
