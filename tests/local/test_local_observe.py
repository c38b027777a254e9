"""Observed vectors of processes: the records of virtual time, and no message that no record needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from local.fits import X, Y, local_fit
from local.programs import Apart

import dsgd
from dsgd.cluster import Simulation
from dsgd.cluster.driver.channel import ChannelMessage
from dsgd.cluster.driver.ledger import Ledger

UNEVEN: dict[str, Any] = {"workers": 3, "speeds": [1, 0.2, 1]}


def fits(algorithm: Apart, cluster: dict[str, Any], **options: Any) -> list[dsgd.FitResult]:
    """Fit on processes and in virtual time."""
    given = {"algo": algorithm, "loss": "logistic", "alpha": 1e-2, "max_epochs": 4, "step_size": 0.2, **options}
    simulation = Simulation(workers=cluster["workers"], speeds=cluster.get("speeds", 1.0))
    return [local_fit(cluster, **given), dsgd.fit(X, Y, cluster=simulation, random_state=0, **given)]


def test_records_and_weights_are_those_of_virtual_time_to_the_last_bit() -> None:
    """Nobody waits for the slow worker; a record takes what each had observed by its clock all the same."""
    seen = []
    for model in ("server", "first", "mean"):
        local, simulated = fits(Apart(staleness=np.inf, model=model), {**UNEVEN, "servers": 2})
        assert np.array_equal(local.model.weights, simulated.model.weights)
        assert [record.objective for record in local.history] == [record.objective for record in simulated.history]
        seen.append([record.objective or np.nan for record in local.history])
    assert len(set(seen[0])) == 1  # the table stands still
    assert len({tuple(each) for each in seen}) == 3
    assert seen[2] == sorted(seen[2], reverse=True)
    assert len(set(seen[2])) == 4


def test_a_vector_is_told_only_where_a_record_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, str]] = []

    class Watched(Ledger):
        def hear_worker(self, rank: int, message: ChannelMessage) -> None:
            if "observed" in message.arrays:
                told.append((rank, message.kind))
            super().hear_worker(rank, message)

    monkeypatch.setattr("dsgd.cluster.driver.supervision.Ledger", Watched)
    result = local_fit(algo=Apart(batch_size=10), max_epochs=4, evaluate_every=2)
    assert len(result.history) == 2
    assert sorted(told) == sorted([(rank, kind) for rank in (0, 1) for kind in ("tally", "tally", "done")])


def test_a_worker_that_was_killed_and_started_again_changes_nothing() -> None:
    cluster = {"workers": 2, "restart_workers": 1}
    local, simulated = fits(Apart(victim=-1), {"workers": 2})
    killed = local_fit(cluster, algo=Apart(victim=1))
    assert np.array_equal(local.model.weights, simulated.model.weights)
    assert np.array_equal(killed.model.weights, local.model.weights)
    assert [record.objective for record in killed.history] == [record.objective for record in local.history]


def test_a_worker_that_is_lost_drops_out_of_the_mean() -> None:
    with pytest.warns(RuntimeWarning, match="the others go on without its rows"):
        lost = local_fit({"workers": 2, "heartbeat_deadline": 2.0}, algo=Apart(victim=1))
    first = local_fit(algo=Apart(model="first"))
    assert np.array_equal(lost.model.weights, first.model.weights)
