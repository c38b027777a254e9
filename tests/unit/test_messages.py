"""Messages that name what to use instead name what can be used there."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import dsgd
from dsgd._common.checks import one_of
from dsgd.algorithms import REGISTRY, DistributedAlgorithm, on_clusters, on_one_machine
from dsgd.errors import ConfigError

X = np.random.default_rng(0).normal(size=(30, 3))
CLUSTERS: list[dict[str, Any]] = [{"workers": 2}, {"cluster": dsgd.Simulation(workers=2)}]
ALONE = [name for name, kind in REGISTRY.items() if not issubclass(kind, DistributedAlgorithm)]
ON_CLUSTERS = [name for name in REGISTRY if name not in ALONE]


def refused(y: Any, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        dsgd.fit(X, y, **options)
    return str(caught.value)


def suggested(message: str) -> set[str]:
    """Return the algorithms that a message says to use."""
    return set(re.findall(r"'([\w-]+)'", message.split(" use ", 1)[1])) & set(REGISTRY)


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("algo", sorted({*ALONE} - {"batch", "minibatch"}))  # they run on clusters as others
def test_an_algorithm_of_one_machine_names_those_that_run_on_a_cluster(algo: str, cluster: dict[str, Any]) -> None:
    message = refused(X[:, 0] > 0, algo=algo, **cluster)
    assert (
        f"algo '{algo}' runs on one machine: leave out cluster and workers, or use 'asgd', 'async-fl', 'average', "
        in message
    )
    assert suggested(message) == {*ON_CLUSTERS, "batch", "minibatch"}


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("loss", ["kmeans", "mlp", "squared_mlp"])
def test_a_loss_that_a_distributed_algorithm_does_not_train_names_those_that_do(
    loss: str, cluster: dict[str, Any]
) -> None:
    y = None if loss == "kmeans" else np.arange(30) % 3
    message = refused(y, algo="dissvrg", loss=loss, **cluster)
    assert f"algo 'dissvrg' does not train loss '{loss}'; use " in message
    for name in suggested(message):
        dsgd.fit(X, y, algo=name, loss=loss, max_epochs=1, cluster=dsgd.Simulation(workers=2), random_state=0)


def test_what_to_use_on_one_machine_runs_there() -> None:
    message = refused(np.arange(30) % 3, algo="sdca", loss="softmax")
    assert "cluster" not in message
    assert suggested(message) == {"auto", "sgd", "hogwild", "minibatch", "batch", "svrg"}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_other_refusals_on_a_cluster_say_what_runs_without(cluster: dict[str, Any]) -> None:
    message = refused(X[:, 0] > 0, algo="ssp", schedule="pa1", **cluster)
    assert "needs algo 'sgd', on one thread (without cluster and workers); algo is 'ssp'" in message


def test_names_are_listed_as_a_choice() -> None:
    assert one_of(["a", "b", "c"]) == "'a', 'b' or 'c'"
    assert one_of(["a"]) == "'a'"
    assert on_clusters() == on_clusters("linear")
    every = (
        "'asgd', 'async-fl', 'average', 'downpour', 'fedavg', 'map-reduce', 'simuparallel', 'ssp', 'sync' or 'wpsgd'"
    )
    assert on_clusters("mlp") == every
    assert on_one_machine("mlp") == "'batch' or 'minibatch'"
