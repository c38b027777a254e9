"""Dealing of rows in a run: it changes the run, all rows count alike, and text can say it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from problems import make_problem

import dsgd
from dsgd.algorithms import DisSvrg, DistributedAlgorithm, Ssp, Sync
from dsgd.cli.options import partition_of
from dsgd.cluster import ByLabel, Dirichlet, Given, Partition, Shares, Simulation
from dsgd.cluster import fit as on_cluster
from dsgd.cluster.runtime.run_spec import RunSpec
from dsgd.cluster.simulation.description import load_simulation
from dsgd.cluster.simulation.run import SimulatedRun
from dsgd.errors import ConfigError

X, Y = make_problem(240, 20, seed=3)
ORDER = np.random.default_rng(0).permutation(240)
PARTITIONS: list[Partition] = [
    Shares([4, 2, 1, 1]),
    ByLabel(1),
    Dirichlet(0.3),
    Given([ORDER[:10], ORDER[10:60], ORDER[60:130], ORDER[130:]]),
]


def fit(partition: Partition | str, **options: Any) -> dsgd.FitResult:
    given: dict[str, Any] = {"algo": "ssp", "loss": "logistic", "alpha": 1e-2, "max_epochs": 3, "random_state": 0}
    cluster = Simulation(workers=options.pop("workers", 4), partition=partition, trace=False)
    return dsgd.fit(X, Y, cluster=cluster, **{**given, **options})


@pytest.mark.parametrize("algo", ["dissvrg", "ssp", "sync"])
def test_every_partition_changes_the_result(algo: str) -> None:
    every: list[Partition | str] = ["equal", *PARTITIONS]
    results = [fit(partition, algo=algo, step_size=0.1) for partition in every]
    assert len({result.model.weights.tobytes() for result in results}) == 5
    again = fit(PARTITIONS[2], algo=algo, step_size=0.1)
    assert np.array_equal(again.model.weights, results[3].model.weights)
    other = fit(PARTITIONS[2], algo=algo, step_size=0.1, random_state=1)
    assert not np.array_equal(other.model.weights, results[3].model.weights)


@pytest.mark.parametrize("partition", PARTITIONS, ids=lambda partition: type(partition).__name__)
def test_a_run_has_the_rows_that_its_seed_deals(partition: Partition, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[RunSpec] = []

    class Watched(SimulatedRun):
        def __init__(self, config: Simulation, assignment: RunSpec, *more: Any) -> None:
            given.append(assignment)
            super().__init__(config, assignment, *more)

    monkeypatch.setattr(on_cluster, "SimulatedRun", Watched)
    fit(partition, algo="sync", random_state=7)
    assert all(map(np.array_equal, given[0].rows[1:], partition.deal(Y, 4, 7)))


def descent(steps: int, step: float) -> np.ndarray[Any, Any]:
    """Return where gradient descent on the mean logistic loss of all rows comes to."""
    rows = X.toarray()
    weights = np.zeros(20)
    for _ in range(steps):
        slopes = -Y / (1 + np.exp(Y * (rows @ weights)))
        weights -= step * (rows.T @ slopes) / 240
    return weights


@pytest.mark.parametrize("algorithm", [Sync(batch_size=1200), Ssp(batch_size=1200, staleness=0)], ids=lambda a: a.name)
@pytest.mark.parametrize("shares", [[3, 2, 1], [1, 1, 1], [10, 1, 1]])
def test_all_rows_count_alike_in_a_step(algorithm: DistributedAlgorithm, shares: list[float]) -> None:
    """A batch is a number of whole passes over the worker's rows, 20 to 200: a clock is a step on all rows."""
    run = fit(
        Shares(shares),
        workers=3,
        algo=algorithm,
        penalty="none",
        fit_intercept=False,
        step_size=0.3,
        schedule="constant",
        max_epochs=150,
    )
    assert run.history[-1].effective_passes == 150  # ten clocks of three batches, five passes each
    np.testing.assert_allclose(run.coef_, descent(10, 0.3), rtol=1e-12)


@pytest.mark.parametrize("partition", PARTITIONS, ids=lambda partition: type(partition).__name__)
@pytest.mark.parametrize("algorithm", [Ssp(batch_size=4), Sync(batch_size=5)], ids=lambda a: a.name)
def test_max_epochs_is_passes_over_all_rows(algorithm: DistributedAlgorithm, partition: Partition) -> None:
    last = fit(partition, algo=algorithm).history[-1]
    assert last.epoch == 3
    assert last.effective_passes == 3


@pytest.mark.parametrize("partition", PARTITIONS, ids=lambda partition: type(partition).__name__)
@pytest.mark.parametrize(
    ("algorithm", "epochs", "bound"),
    [
        (Ssp(batch_size=2), 150, 1e-2),
        (Sync(batch_size=4), 150, 1e-2),
        (DisSvrg(gradient="exact", inner_steps=60), 120, 1e-3),
        (DisSvrg(), 120, 1e-3),
    ],
    ids=["ssp", "sync", "exact", "global"],
)
def test_the_limit_is_the_optimum_of_all_rows(
    algorithm: DistributedAlgorithm, epochs: int, bound: float, partition: Partition
) -> None:
    result = fit(partition, algo=algorithm, max_epochs=epochs, evaluate_every=epochs)
    best = dsgd.fit(X, Y, algo="batch", loss="logistic", alpha=1e-2, max_epochs=2000, n_threads=1)
    assert (result.history[-1].objective or math.inf) < (best.history[-1].objective or 0) * (1 + bound)


@pytest.mark.parametrize(
    ("text", "partition"),
    [
        ("partition = 'equal'", "equal"),
        ("[partition]\nkind = 'shares'\nshares = [2, 1]", Shares([2, 1])),
        ("[partition]\nkind = 'by_label'", ByLabel()),
        ("[partition]\nkind = 'dirichlet'\nconcentration = 0.1", Dirichlet(0.1)),
        ("[partition]\nkind = 'given'\nrows = [[0, 2], [1]]", Given([[0, 2], [1]])),
    ],
)
def test_a_partition_is_described_in_toml(tmp_path: Path, text: str, partition: Any) -> None:
    (tmp_path / "cluster.toml").write_text(f"workers = 2\n{text}\n")
    assert repr(load_simulation(tmp_path / "cluster.toml").partition) == repr(partition)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partition = 'even'", "partition must be 'equal' or an object"),
        ("[partition]\nkind = 'dirichlett'", "unknown kind of partition 'dirichlett'; did you mean 'dirichlet'"),
        ("[partition]\nkind = 'by_label'\nshards = 3", "unknown key of a by_label 'shards'"),
        ("[partition]\nkind = 'shares'", "a partition of kind 'shares'.*missing"),
        ("[partition]\nkind = ['shares']", "unknown kind of partition"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "cluster.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_simulation(tmp_path / "cluster.toml")


@pytest.mark.parametrize(
    ("text", "partition"),
    [
        ("equal", "equal"),
        ("shares=2,1", Shares([2, 1])),
        ("by_label", ByLabel()),
        ("by_label=3", ByLabel(3)),
        ("dirichlet=0.1", Dirichlet(0.1)),
        ("given=[[0,2],[1]]", Given([[0, 2], [1]])),
    ],
)
def test_the_command_line_names_a_partition(text: str, partition: Any) -> None:
    assert repr(partition_of(text)) == repr(partition)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("by-label", "unknown partition 'by-label'; did you mean 'by_label'"),
        ("equal=2", "unknown partition 'equal'"),
        ("shares", "--partition shares takes a value, such as shares=2,1,1"),
        ("dirichlet=much", "Dirichlet.concentration must be a finite number above 0 and at most 1e"),
    ],
)
def test_a_wrong_name_of_a_partition_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        partition_of(text)
