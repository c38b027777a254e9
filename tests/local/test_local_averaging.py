"""The algorithms that average models, on processes of this machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from local.fits import X, Y, local_fit, simulated_fit

from dsgd.algorithms import Average, DistributedAlgorithm, SimuParallel, WpSgd, WpSgdDelay, WpSgdDm

LAGS = "ignore:algo .* (the nodes lag so far behind|between two averages)"  # a busy machine may hold up a process


@pytest.mark.parametrize("workers", [2, 3, 4])
@pytest.mark.parametrize("span", [None, 25])
def test_simuparallel_gives_the_bits_of_the_simulation(workers: int, span: int | None) -> None:
    algorithm = SimuParallel(averaging_span=span)
    local = local_fit({"workers": workers}, algo=algorithm)
    simulated = simulated_fit(workers, algo=algorithm)
    assert np.array_equal(local.model.weights, simulated.model.weights)
    assert local.averaging is not None
    assert simulated.averaging is not None
    assert local.averaging.to_records() == simulated.averaging.to_records()


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        (SimuParallel(batch_size=4), {}),
        (SimuParallel(), {"loss": "mlp"}),
        (SimuParallel(averaging_span=100), {"loss": "softmax", "data": (X, np.arange(240) % 3)}),
        (SimuParallel(), {"init": 4.0, "data": (X.toarray().astype(np.float32), Y)}),
    ],
    ids=["batches", "mlp", "softmax", "init"],
)
def test_every_model_has_the_bits_of_the_simulation(algorithm: DistributedAlgorithm, options: dict[str, Any]) -> None:
    local, simulated = local_fit(algo=algorithm, **dict(options)), simulated_fit(algo=algorithm, **dict(options))
    assert np.array_equal(local.model.weights, simulated.model.weights)


@pytest.mark.filterwarnings(LAGS)
@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize(
    "algorithm",
    [
        Average(),
        Average(averaging_span=25),
        WpSgd(averaging_span=25),
        WpSgd(),
        WpSgdDelay(),
        WpSgdDm(averaging_span=25),
    ],
    ids=str,
)
def test_uneven_nodes_are_averaged_on_processes(algorithm: DistributedAlgorithm, workers: int) -> None:
    result = local_fit({"workers": workers}, algo=algorithm)
    averaging = result.averaging
    assert averaging is not None
    assert averaging.nodes.tolist() == list(range(workers))
    assert averaging.weights.sum() == pytest.approx(1)
    assert averaging.samples.sum() == round((result.history[-1].effective_passes or 0) * 240)
    assert (result.history[-1].objective or 1) < np.log(2)


@pytest.mark.filterwarnings(LAGS)
@pytest.mark.parametrize("span", [None, 2000])
def test_a_slow_node_lags_and_counts_for_less(span: int | None) -> None:
    for _ in range(5):  # a busy machine may hold up the other one
        result = local_fit({"speeds": {1: 0.5}}, algo=WpSgd(averaging_span=span), alpha=1e-3, max_epochs=200)
        averaging = result.averaging
        assert averaging is not None
        assert (averaging.lags > 0).tolist() == (averaging.weights < averaging.weights.max()).tolist()
        if averaging.lags[1] > 0:
            return
    pytest.fail("the slow node never lags")


@pytest.mark.filterwarnings(LAGS)
@pytest.mark.parametrize("algorithm", [Average(deadline=0.5), WpSgd(deadline=0.5, averaging_span=50)], ids=str)
def test_at_the_deadline_processes_stop(algorithm: DistributedAlgorithm) -> None:
    """Long before they have done what would take hours."""
    result = local_fit(algo=algorithm, max_epochs=10**6, evaluate_every=0)
    assert result.stop_reason == "max_epochs"
    assert 0 < (result.history[-1].effective_passes or 0) < 10**5
    assert result.averaging is not None
    assert result.averaging.nodes.tolist() == [0, 1]
