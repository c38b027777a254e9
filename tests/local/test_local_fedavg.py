"""`fedavg` on processes of this machine: the bits of the simulation, and of a run in which nobody was killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from local.fits import X, Y, local_fit, simulated_fit
from watched import watched

import dsgd
from dsgd import losses
from dsgd.algorithms import FedAvg
from dsgd.algorithms.distributed import Program
from dsgd.cluster import ByLabel, Dirichlet
from dsgd.cluster.local.run import LocalRun
from dsgd.cluster.program.commands import Clock, Command
from dsgd.cluster.program.task import WorkerTask
from dsgd.errors import ConfigError


class Mortal(FedAvg):
    """FedAvg, both of whose workers are killed when they have pushed, every second round of a life."""

    def worker(self, task: WorkerTask) -> Program:
        clock = task.start_clock

        def count(command: Command) -> None:
            nonlocal clock
            if isinstance(command, Clock):
                clock += 1
                if clock == task.start_clock + 2 and clock <= 6:  # five times each
                    os.kill(os.getpid(), signal.SIGKILL)

        return watched(super().worker(task), before=count)


@pytest.mark.parametrize(
    ("workers", "partition", "options"),
    [
        (2, "equal", {"algo": FedAvg(clients=5, fraction=0.5, local_epochs=2)}),
        (
            3,
            ByLabel(1),
            {"algo": FedAvg(clients=8, failing=0.2), "data": (X.toarray(), np.arange(240) % 3), "loss": "softmax"},
        ),
        (2, Dirichlet(0.5), {"algo": FedAvg(clients=4, batch_size="all"), "loss": losses.MLP((5,))}),
    ],
    ids=["linear", "softmax", "mlp"],
)
def test_processes_give_the_bits_of_the_simulation(workers: int, partition: Any, options: dict[str, Any]) -> None:
    local = local_fit({"workers": workers, "partition": partition}, **options)
    assert np.array_equal(local.model.weights, simulated_fit(workers, partition, **options).model.weights)


def test_a_run_goes_on_from_its_checkpoint_with_the_clients_that_it_had(tmp_path: Path) -> None:
    path = tmp_path / "saved"
    whole = local_fit({"checkpoint": path, "checkpoint_every": 3}, algo=FedAvg(clients=5, fraction=0.5))
    assert np.array_equal(local_fit({"resume": path}, algo=FedAvg(clients=5, fraction=0.5)).coef_, whole.coef_)
    with pytest.raises(ConfigError, match="partition='equal to 5 clients'; this one has 'equal to 6 clients'"):
        local_fit({"resume": path}, algo=FedAvg(clients=6, fraction=0.5))


def test_workers_that_are_killed_again_and_again_change_no_bit() -> None:
    """Their models of the round have left, or not: they count once."""
    options: dict[str, Any] = {"max_epochs": 8, "data": (X.toarray(), Y), "loss": losses.MLP((50,))}
    mortal = local_fit({"restart_workers": 10}, algo=Mortal(clients=4), **options)
    assert np.array_equal(mortal.model.weights, local_fit(algo=FedAvg(clients=4), **options).model.weights)


def test_a_round_that_a_killed_worker_sums_again_counts_twice() -> None:
    privacy = dsgd.Privacy(clip_norm=1.0, noise_multiplier=3.0)
    result = local_fit({"restart_workers": 10}, algo=Mortal(clients=4, privacy=privacy), max_epochs=3)
    assert result.privacy is not None
    counts = [[each.times for each in result.privacy.rounds if each.client == client] for client in range(4)]
    # A life ends in its second round, when that has been pushed.
    assert counts == [[1, 2, 2]] * 4


def test_rounds_count_once_more_where_a_lost_server_may_have_known_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    servers: list[Any] = []
    real = LocalRun._start_servers

    def start(run: LocalRun) -> None:
        real(run)
        servers.append(run._crew.servers[0])

    monkeypatch.setattr(LocalRun, "_start_servers", start)

    def strike(record: dsgd.Record, _: Any) -> None:
        if record.epoch == 3 and len(servers) == 1:
            os.kill(servers[0].pid, signal.SIGKILL)

    algorithm = FedAvg(clients=4, privacy=dsgd.Privacy(clip_norm=1.0, target_epsilon=50.0))
    with pytest.warns(RuntimeWarning, match=r"above target_epsilon=50: workers or servers were started again"):
        result = local_fit(algo=algorithm, max_epochs=600, callbacks=[strike])
    assert len(servers) == 2
    assert result.privacy is not None
    assert min(each.times for each in result.privacy.rounds) >= 2
