"""Tables of the parameter server as algorithms declare them: every option, on processes as in virtual time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from local.fits import X, local_fit, simulated_fit
from local.programs import TwoTables

from dsgd.errors import ConfigError
from dsgd.losses import KMeans

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scalar": {"size": 1},
    "gradient": {"size": "gradient"},
    "rows": {"width": 7, "rows": 2},
    "elements": {"rows": 2},
    "sparse": {"rows": 3, "sparse": True},
    "adagrad": {"rule": "adagrad"},
    "adagrad of its own step": {"rule": "adagrad", "table_step": 3.0},
}


def told(result: Any) -> list[float]:
    """Return the values pulled of the second table, and their sum over all clocks and workers."""
    numbers: list[float] = (result.model.weights.reshape(-1)[:2] * 2.0**20).tolist()
    return numbers


def request(name: str) -> dict[str, Any]:
    """Return the options of a fit; that of k-means has gradients that are longer than its parameters."""
    given: dict[str, Any] = {"max_epochs": 1, "evaluate_every": 0, "algo": TwoTables(batch_size=40, **OPTIONS[name])}
    if name == "gradient":
        given |= {"loss": KMeans(n_clusters=3), "alpha": 0.0, "data": (X, None), "fit_intercept": False}
    return given


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_of_a_table_does_on_processes_what_it_does_in_virtual_time(name: str) -> None:
    local, simulated = local_fit({"servers": 2}, **request(name)), simulated_fit(**request(name))
    assert np.array_equal(local.model.weights, simulated.model.weights)


def test_every_option_of_a_table_changes_the_result() -> None:
    clusters = request("gradient")
    seen = [told(simulated_fit(**request(name))) for name in OPTIONS if name != "gradient"]
    assert all(count > 0 for count, _ in seen)
    seen += [told(simulated_fit(**clusters)), told(simulated_fit(**{**clusters, "algo": TwoTables(batch_size=40)}))]
    assert len(set(map(tuple, seen))) == len(OPTIONS) + 1


def test_the_weights_may_have_rows() -> None:
    start = simulated_fit(algo="ssp")
    given: dict[str, Any] = {"max_epochs": 1, "evaluate_every": 0, "init": start}
    one, three = (
        local_fit({"servers": 2}, algo=TwoTables(batch_size=40, weights_width=width), **given) for width in (1, 3)
    )
    assert np.array_equal(three.model.weights, one.model.weights)
    assert not np.array_equal(one.model.weights, start.model.weights)
    with pytest.raises(ConfigError, match="table 'weights' has 21 values, which width=4 does not divide"):
        local_fit(algo=TwoTables(weights_width=4), **given)


def test_of_a_sparse_table_workers_name_the_keys() -> None:
    with pytest.raises(ConfigError, match="a Pull of the whole table 'second', which is sparse"):
        local_fit(algo=TwoTables(sparse=True), max_epochs=1)
