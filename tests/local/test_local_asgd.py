"""`asgd` on processes of this machine: it learns, counts its messages, and goes on without a killed worker."""

from __future__ import annotations

import contextlib
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
from dsgd.algorithms import Asgd
from dsgd.algorithms.distributed import Program
from dsgd.cluster.program.commands import Clock, Command
from dsgd.cluster.program.task import WorkerTask
from dsgd.errors import WorkerLostError

MODELS: dict[str, dict[str, Any]] = {
    "hinge": {"loss": "hinge", "step_size": 0.1},
    "kmeans": {"loss": losses.KMeans(4), "data": (X.toarray(), None), "step_size": 0.8},
}
COUNTED = {"sent", "received", "accepted", "rejected", "age", "overwritten", "torn"}


class Killed(Asgd):
    """Asgd, whose worker 1 kills itself in its first life, after two clocks."""

    def worker(self, task: WorkerTask) -> Program:
        clock = task.start_clock

        def count(command: Command, _: Any) -> None:
            nonlocal clock
            clock += isinstance(command, Clock)
            if task.rank == 1 and task.start_clock == 0 and clock == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        return watched(super().worker(task), after=count)


def objective(result: dsgd.FitResult) -> float:
    last = result.history[-1].objective
    assert last is not None
    assert np.isfinite(result.model.weights).all()
    return last


def start_of(model: str) -> float:
    options = {**MODELS[model], "step_size": 1e-300}
    return objective(local_fit({"workers": 1}, algo=Asgd(), max_epochs=1, **options))


@pytest.mark.parametrize("options", [{}, {"partial": 0.4, "torn": "accept", "result": "mean", "buffers": 1}], ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_processes_learn_and_count_their_messages(model: str, options: dict[str, Any]) -> None:
    result = local_fit({"workers": 3}, algo=Asgd(batch_size=8, **options), max_epochs=10, **MODELS[model])
    assert objective(result) < start_of(model)
    counts = result.history[-1].counts
    assert counts is not None
    assert set(counts) == COUNTED
    sent, read, lost = (sum(each or 0 for each in counts[name]) for name in ("sent", "received", "overwritten"))
    assert sent == 3 * 10 * 10  # batches of 8 of the 80 rows of each
    assert 0 <= read <= sent
    assert 0 <= lost <= sent


@pytest.mark.parametrize("model", ["kmeans"])
def test_one_process_gives_the_bits_of_one_machine(model: str) -> None:
    options: dict[str, Any] = {"batch_size": 20, **MODELS[model]}
    local = local_fit({"workers": 1}, algo="asgd", steps="batch", **options)
    data = options.pop("data", (X, Y))
    plain = dsgd.fit(
        *data, algo="minibatch", block_size=1, alpha=1e-2, max_epochs=4, random_state=0, n_threads=1, **options
    )
    assert np.array_equal(local.model.weights, plain.model.weights)


def test_silent_processes_give_the_bits_of_virtual_time() -> None:
    runs = [local_fit({"workers": 3}, algo=Asgd(silent=True, result="mean"))]
    runs.append(simulated_fit(3, algo=Asgd(silent=True, result="mean")))
    assert np.array_equal(runs[0].model.weights, runs[1].model.weights)


@pytest.mark.parametrize(("restarts", "result"), [(0, "mean"), (1, "first")])
def test_a_run_goes_on_when_a_worker_is_killed(restarts: int, result: str) -> None:
    """With a restart the worker makes the clocks that are left. It may be back after the others' end."""
    cluster = {"workers": 3, "restart_workers": restarts, "heartbeat_deadline": 2.0}
    options: dict[str, Any] = {"algo": Killed(batch_size=8, result=result), "max_epochs": 10, **MODELS["hinge"]}
    if restarts:
        fitted = local_fit(cluster, **options)
    else:
        with pytest.warns(RuntimeWarning, match="worker 1 .* the others go on without its rows"):
            fitted = local_fit(cluster, **options)
    assert fitted.stop_reason == "max_epochs"
    assert objective(fitted) < start_of("hinge")
    counts = fitted.history[-1].counts
    assert counts is not None
    assert (counts["sent"][0], counts["sent"][2]) == (100, 100)
    assert counts["sent"][1] in ((None, 20, 80) if restarts else (None, 20))


def test_a_worker_that_is_started_again_goes_on_where_it_was() -> None:
    """Alone it ends with the bits of a run that nothing disturbs."""
    options: dict[str, Any] = {"batch_size": 8, "silent": True, "result": "mean"}
    killed = local_fit({"restart_workers": 1}, algo=Killed(**options), max_epochs=6)
    assert np.array_equal(killed.model.weights, simulated_fit(2, algo=Asgd(**options), max_epochs=6).model.weights)


def test_what_a_killed_run_saved_is_gone_on_with(tmp_path: Path) -> None:
    """To the same bits. A run may be killed before it has saved anything, and then begins anew."""
    options: dict[str, Any] = {"batch_size": 8, "silent": True, "result": "mean"}
    path = tmp_path / "saved"
    cluster: dict[str, Any] = {"checkpoint": path, "checkpoint_every": 1, "on_lost": "fail"}
    for _ in range(10):
        with contextlib.suppress(WorkerLostError):
            resumed = local_fit(cluster, algo=Killed(**options), max_epochs=6)
            break
        cluster |= {"resume": path} if path.exists() else {}
    assert "resume" in cluster
    assert np.array_equal(resumed.model.weights, simulated_fit(2, algo=Asgd(**options), max_epochs=6).model.weights)
