"""`fit` on processes of this machine: the same as in virtual time, on the same data, and nothing left behind."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from leftovers import children_of, runs
from local.fits import X, Y, local_fit, simulated_fit
from local.programs import AllCommands, Measured
from replayed import replayed

import dsgd
from common.real_sets import Parts
from dsgd.algorithms import DisSvrg, DistributedAlgorithm, Ssp, Sync
from dsgd.cluster import ByLabel, Dirichlet, Given, Kind, LocalCluster, Shares, Simulation, Trace
from dsgd.cluster import fit as on_cluster
from dsgd.cluster.local.run import LocalRun
from dsgd.cluster.runtime.run_spec import Outcome, RunSpec

WEIGHTS = np.random.default_rng(0).uniform(0.5, 1.5, len(Y))


@pytest.mark.parametrize(
    ("options", "cluster"),
    [
        ({"algo": Sync(batch_size=20)}, {"workers": 3}),
        ({"algo": Ssp(staleness=0), "sample_weight": WEIGHTS, "fit_intercept": False}, {}),
        (
            {"algo": DisSvrg(staleness=0), "data": (X.toarray().astype(np.float32), Y), "loss": "squared"},
            {"servers": 2, "tls": True, "payload_checksum": True},
        ),
        ({"algo": DisSvrg(staleness=0, gradient="exact"), "schedule": "inverse-sqrt"}, {"workers": 1}),
        ({"algo": AllCommands(staleness=0), "evaluate_every": 0, "max_epochs": 1}, {"workers": 3, "servers": 2}),
        ({"algo": Sync(batch_size=20)}, {"partition": Shares([3, 1])}),
        ({"algo": DisSvrg(staleness=0)}, {"workers": 3, "partition": ByLabel()}),
        ({"algo": Ssp(staleness=0)}, {"workers": 3, "partition": Dirichlet(0.3)}),
        ({"algo": Sync(batch_size=20)}, {"partition": Given([range(1, 240, 2), range(0, 240, 2)])}),
    ],
    ids=["sync", "ssp", "dissvrg", "exact", "every command", "shares", "by label", "dirichlet", "given"],
)
def test_a_barrier_run_equals_the_simulated_one_to_the_last_bit(
    options: dict[str, Any], cluster: dict[str, Any]
) -> None:
    local = local_fit(cluster, **options)
    simulated = simulated_fit(cluster.get("workers", 2), cluster.get("partition", "equal"), **options)
    assert np.array_equal(local.model.weights, simulated.model.weights)
    if "partition" in cluster:
        assert not np.array_equal(
            local.model.weights, simulated_fit(cluster.get("workers", 2), **options).model.weights
        )
    assert [record.objective for record in local.history] == [record.objective for record in simulated.history]
    assert local.history[-1].effective_passes == simulated.history[-1].effective_passes
    assert local.history[-1].virtual_seconds is None


@functools.cache
def simulated_objective(name: str, algorithm: DistributedAlgorithm, epochs: int, workers: int) -> float:
    from common.real_sets import SETS

    data = SETS[name]().binary()
    cluster = Simulation(workers=workers, trace=False)
    return real_objective(data.X, data.y, algorithm, epochs, cluster)


def real_objective(X: Any, y: Any, algorithm: DistributedAlgorithm, epochs: int, cluster: Any) -> float:
    result = dsgd.fit(
        X,
        y,
        algo=algorithm,
        loss="logistic",
        max_epochs=epochs,
        evaluate_every=epochs,
        cluster=cluster,
        random_state=0,
        n_threads=1,
    )
    return result.history[-1].objective or math.nan


# On a9a the mean of gradients of different ages makes dissvrg overshoot where workers are uneven, in simulation too.
@pytest.mark.parametrize(
    ("name", "algorithm", "epochs", "bound"),
    [
        ("reuters", Ssp(batch_size=64), 10, 1e-2),
        ("reuters", Sync(batch_size=100), 5, 0.0),
        ("reuters", DisSvrg(), 20, 1e-3),
        ("a9a", Ssp(batch_size=64), 10, 1e-2),
        ("a9a", Sync(batch_size=100), 5, 0.0),
        ("a9a", DisSvrg(gradient="exact"), 20, 1e-3),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "name", ""),
)
def test_real_data_are_fitted_as_well_as_in_simulation(
    real_set: Callable[[str], Parts], name: str, algorithm: DistributedAlgorithm, epochs: int, bound: float
) -> None:
    data = real_set(name).binary()
    reached = real_objective(data.X, data.y, algorithm, epochs, LocalCluster(workers=4))
    assert reached <= simulated_objective(name, algorithm, epochs, 4) * (1 + bound)


def test_workers_alone_ask_for_a_local_cluster() -> None:
    result = dsgd.fit(X, Y, algo="dissvrg", loss="logistic", workers=2, staleness=3, max_epochs=3, random_state=0)
    assert result.history[-1].clocks == (3, 3)
    assert result.stop_reason == "max_epochs"


def test_a_slow_worker_is_left_behind_or_waited_for() -> None:
    """Fifty times as slow: it works for seconds, and some time in these the other one has run as well."""
    rows = scipy.sparse.random_array((4000, 500), density=0.2, rng=np.random.default_rng(0), format="csr")
    y = np.where(rows @ np.random.default_rng(1).standard_normal(500) > 0, 1.0, -1.0)
    slow = {"speeds": {1: 0.02}}
    ahead = local_fit(slow, data=(rows, y), algo=DisSvrg(staleness=math.inf, inner_steps=20_000), max_epochs=6)
    assert any(clocks[0] > clocks[1] + 1 for record in ahead.history if (clocks := record.clocks) is not None)
    waits = local_fit(slow, data=(rows, y), algo=DisSvrg(staleness=0, inner_steps=20_000), max_epochs=4).history[-1]
    assert waits.waiting is not None
    assert waits.waiting[0] > 2 * waits.waiting[1]


def test_a_trace_keeps_the_rules_and_replays_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit: programs on the answers that they had, the server on what they say in the order that it had."""
    given: list[RunSpec] = []

    class Watched(LocalRun):
        def __init__(self, config: LocalCluster, assignment: RunSpec, *more: Any) -> None:
            given.append(assignment)
            super().__init__(config, assignment, *more)

    monkeypatch.setattr(on_cluster, "LocalRun", Watched)
    result = local_fit({"trace": True, "record_answers": True}, algo=Ssp(staleness=3))
    assert result.trace is not None
    result.trace.save(tmp_path / "trace")
    trace = Trace.load(tmp_path / "trace")
    trace.check()
    clocks = given[0].max_clocks
    assert len(trace.of(Kind.CLOCK)["a"]) == 2 * clocks
    assert (np.diff(trace.columns()["end"]) >= 0).all()
    n_commands, weights = replayed(given[0], trace)
    assert n_commands == 2 * 3 * clocks
    assert np.array_equal(weights, result.model.weights[0])


def test_the_history_is_that_of_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    seen = []
    result = local_fit(
        algo=DisSvrg(),
        max_epochs=6,
        evaluate_every=2,
        callbacks=[lambda record, _: seen.append(record)],
        progress=True,
    )
    assert [record.epoch for record in result.history] == [2, 4, 6]
    assert seen == list(result.history)
    last = result.history[-1]
    assert last.clocks == (6, 6)
    assert last.staleness is not None
    assert sum(last.staleness) == 24  # two pulls a clock
    assert all(sent > 1000 for sent in (*(last.bytes_sent or ()), *(last.bytes_received or ())))
    assert all(waited > 0 for waited in last.waiting or ())
    assert all(a.seconds < b.seconds for a, b in itertools.pairwise(seen))
    # Six clocks of a full gradient and an inner loop, which is longer where the other worker lagged.
    assert 12 <= (last.effective_passes or 0) < 18
    shown = capsys.readouterr().err
    assert "clock 6" in shown
    assert "waiting" in shown
    assert "MB" in shown


def test_a_run_ends_early_where_it_is_told_to() -> None:
    result = local_fit(algo=DisSvrg(), max_epochs=5000, tol=1e-3, patience=2)
    assert result.stop_reason == "tol"
    assert len(result.history) < 1000
    called = local_fit(algo=DisSvrg(), max_epochs=5000, callbacks=[lambda record, _: record.epoch >= 2])
    assert called.stop_reason == "callback"


def memory_of_workers(n_rows: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Return the most that a worker of two reports of its memory, in bytes, with so many rows of 4 kB."""
    reports: list[dict[str, float]] = []

    class Watched(LocalRun):
        def outcome(self) -> Outcome:
            outcome = super().outcome()
            reports.extend(json.loads(text) for _, _, text in outcome.reports)
            return outcome

    monkeypatch.setattr(on_cluster, "LocalRun", Watched)
    rows = np.random.default_rng(0).standard_normal((n_rows, 500))
    local_fit(data=(rows, np.where(rows[:, 0] > 0, 1.0, -1.0)), algo=Measured())
    assert [report["samples"] for report in reports] == [n_rows / 2] * 2
    return {key: max(report[key] for report in reports) for key in reports[0]}


def test_workers_have_no_copy_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """32 MB in all: each of two workers maps half, and has next to nothing more of its own than with little data."""
    little, much = (memory_of_workers(n_rows, monkeypatch) for n_rows in (400, 8000))
    assert much["Anonymous"] < little["Anonymous"] + 4e6
    assert little["Pss"] + 10e6 < much["Pss"] < little["Pss"] + 24e6


SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
import dsgd, numpy as np
random = np.random.default_rng(0)
X = random.standard_normal((200, 5))
y = np.where(X[:, 0] > 0, 1.0, -1.0)
options = {"max_epochs": EPOCHS, "evaluate_every": EVERY, "progress": True}
result = dsgd.fit(X, y, algo="dissvrg", loss="logistic", workers=2, **options)
print("stopped by", result.stop_reason, len(result.history), flush=True)
"""


@contextlib.contextmanager
def running(arguments: list[str], epochs: int = 2, every: int = 1) -> Iterator[subprocess.Popen[str]]:
    """Run the script; what of it still runs at the end is killed."""
    script = SCRIPT.replace("EPOCHS", str(epochs)).replace("EVERY", str(every))
    if arguments[0].endswith(".py"):
        Path(arguments[0]).write_text(script)
    else:
        arguments = [*arguments, script]
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("how", ["script without a main guard", "python -c", "a REPL"])
def test_it_works_from(how: str, tmp_path: Path) -> None:
    arguments = {
        "script without a main guard": [str(tmp_path / "script.py")],
        "python -c": ["-c"],
        "a REPL": ["-i", "-c"],  # what is typed then runs in __main__
    }
    with running(arguments[how]) as process:
        out, err = process.communicate("raise SystemExit\n", timeout=60)
        assert out.split("\n")[0] == "stopped by max_epochs 2", err
        assert process.returncode == 0


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Return what the condition has become."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.05)
    return value


def workers_of(process: subprocess.Popen[str]) -> dict[int, str]:
    """Return the processes of a script that has told of its first epoch: by then they all are at work."""
    assert process.stderr is not None
    assert "epoch" in process.stderr.readline()
    workers = children_of(process.pid)
    assert len(workers) == 3
    return workers


def test_control_c_stops_all_and_returns_the_model_so_far(tmp_path: Path) -> None:
    with running(["-W", "always", "-c"], epochs=10**6, every=20) as process:
        workers = workers_of(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert "stopped by interrupted" in out, err
        assert "the model so far is returned" in err
        assert not any(map(runs, workers))


def test_when_the_parent_is_killed_nothing_is_left() -> None:
    with running(["-c"], epochs=10**6, every=20) as process:
        workers = workers_of(process)
        os.kill(next(iter(workers)), signal.SIGSTOP)  # one that cannot find out by itself
        process.kill()
        process.communicate(timeout=60)
        wait_for(lambda: not any(map(runs, workers)))
