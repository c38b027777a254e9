"""Further groups of nodes on processes: the bits of the simulation, also after processes were killed."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from local.fits import local_fit, simulated_fit
from local.programs import GroupCommands, Grouped
from local.test_faults import Fault, Striker, watched

import dsgd
from dsgd.cluster import Kind, LocalCluster, Simulation
from dsgd.cluster import fit as on_cluster
from dsgd.cluster.local.run import LocalRun
from dsgd.cluster.runtime.checkpoint import Checkpoint
from dsgd.cluster.runtime.run_spec import Outcome
from dsgd.errors import ConfigError, DataError, WorkerLostError
from dsgd.schedules import Constant

HOSTS: dict[str, Any] = {"workers": 3, "groups": {"host": [[0, 2], [1]]}}
EPOCHS = 20


def fit(algorithm: Grouped, cluster: dict[str, Any] | None = None, **more: Any) -> dsgd.FitResult:
    return local_fit({**HOSTS, **(cluster or {})}, algo=algorithm, **{"max_epochs": EPOCHS, **more})


@functools.cache
def simulated(algorithm: Grouped) -> dsgd.FitResult:
    return simulated_fit(**HOSTS, algo=algorithm, max_epochs=EPOCHS)


def bits(result: dsgd.FitResult) -> bytes:
    return result.model.weights.tobytes()


@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("tables", [False, True])
def test_two_groups_have_the_bits_of_the_simulation(tables: bool, servers: int) -> None:
    result = fit(Grouped(tables_too=tables), {"servers": servers})
    assert bits(result) == bits(simulated(Grouped(tables_too=tables)))
    assert bits(result) != bits(simulated(Grouped(tables_too=not tables)))


def test_groups_change_the_result() -> None:
    algorithm = Grouped()
    one = simulated_fit(3, groups={"host": [[0, 1, 2]]}, algo=algorithm, max_epochs=EPOCHS)
    assert bits(one) != bits(simulated(algorithm))
    assert bits(local_fit({"workers": 3, "groups": {"host": [[0, 1, 2]]}}, algo=algorithm, max_epochs=EPOCHS)) == bits(
        one
    )


def test_every_command_of_a_group_is_answered_as_in_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[Any] = []

    class Watched(LocalRun):
        def run(self) -> Outcome:
            outcome = super().run()
            reports.extend((rank, text) for rank, _, text in outcome.reports)
            return outcome

    monkeypatch.setattr(on_cluster, "LocalRun", Watched)
    hosts: dict[str, Any] = {"workers": 4, "groups": {"host": [[0, 2], [3, 1]]}}
    options: dict[str, Any] = {"algo": GroupCommands(staleness=0), "max_epochs": 2}
    result = local_fit({"trace": True, **hosts}, **options)
    assert bits(result) == bits(simulated_fit(**hosts, **options))
    assert {rank for rank, _ in reports} == {0, 1, 2, 3}  # nodes, not ranks in their groups
    assert result.trace is not None
    result.trace.check()
    assert len(result.trace.of(Kind.PULL)["a"]) == 2 * len(reports)  # none in the group of all
    assert result.history[-1].bytes_sent is not None
    # More of it is letters, pushes and all-reduces of the group than frames of the other group.
    assert min(result.history[-1].bytes_sent) > 100 * len(reports) / 4


# Afterwards the others wait, or are past the all-reduce that a worker which begins the clock anew waits for.
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("tables", [False, True])
def test_a_killed_worker_leaves_the_bits_as_they_are(tables: bool, after: bool) -> None:
    algorithm = Grouped(tables_too=tables, victim=2, after=after)
    result = fit(algorithm, {"checkpoint_every": 2, "restart_workers": 3})
    assert bits(result) == bits(simulated(Grouped(tables_too=tables)))


FAULTS = [
    Fault(victim=victim, how=how, when=when, cluster={"restart_workers": 1, "checkpoint_every": 1 + every, **deadline})
    for victim, how, when, every, deadline in (
        ("worker", "kill", "in the middle", 0, {}),
        ("worker", "kill", "in the middle", 3, {}),
        ("worker", "kill", "at the end", 3, {}),
        ("worker", "stop", "in the middle", 3, {"heartbeat_deadline": 1.5}),
        ("server", "kill", "in the middle", 0, {}),
        ("server", "kill", "in the middle", 3, {}),
        ("server", "kill", "at the start", 3, {}),
        ("server", "kill", "at the end", 3, {}),
        ("server", "stop", "in the middle", 3, {"heartbeat_deadline": 1.5}),
        ("server", "pause", "in the middle", 3, {}),
        ("worker", "pause", "in the middle", 3, {}),
    )
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("tables", [False, True])
def test_a_fault_at_any_moment_leaves_the_bits_as_they_are(
    tables: bool, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm = Grouped(tables_too=tables)
    for attempt in range(5):  # a slow machine may strike when all is over
        striker = Striker(fault, EPOCHS // 2, f"groups {tables} {fault} {attempt}")
        with watched(striker, monkeypatch) as warned:
            result = fit(
                algorithm,
                {"heartbeat_deadline": 20.0, **fault.cluster},
                callbacks=[striker.on_record],
                evaluate_every=2,
            )
        assert not warned
        assert bits(result) == bits(simulated(algorithm))
        if striker.struck or fault.when == "at the end":
            return
    pytest.fail("no strike came in time")


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_group_goes_on_without_a_lost_worker(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for attempt in range(5):
        striker = Striker(Fault(victim="worker", how=how), 10, f"groups lost {how} {attempt}")
        with watched(striker, monkeypatch) as warned:
            result = fit(Grouped(), {"heartbeat_deadline": 1.5}, callbacks=[striker.on_record], max_epochs=60)
        assert np.isfinite(result.model.weights).all()
        if striker.struck:
            assert len(warned) == 1
            assert "the others go on without its rows" in warned[0]
            clocks = sorted(result.history[-1].clocks or ())
            assert clocks[0] < clocks[1] == clocks[2]
            return
    pytest.fail("no strike came in time")


def test_a_lost_worker_ends_the_run_where_that_is_asked_for() -> None:
    with pytest.raises(WorkerLostError, match="worker 2 was killed by SIGKILL"):
        fit(Grouped(victim=2), {"on_lost": "fail"})


def test_a_run_goes_on_with_its_groups_only(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    options: dict[str, Any] = {"schedule": Constant()}
    algorithm = Grouped(tables_too=True)
    whole = simulated_fit(**HOSTS, algo=algorithm, max_epochs=8, **options)
    fit(algorithm, {"checkpoint": path, "checkpoint_every": 6}, max_epochs=4, **options)
    saved, about = Checkpoint.load(path)
    assert len(saved.shards) == 3
    assert about.groups == HOSTS["groups"]
    assert bits(fit(algorithm, {"resume": path}, max_epochs=8, **options)) == bits(whole)
    with pytest.raises(ConfigError, match=r"groups=.* this one has \{\}"):
        local_fit({"workers": 3, "resume": path}, algo=algorithm, **options)
    about.groups["host"] = 3
    saved.save(path, about)
    with pytest.raises(DataError, match="is not a checkpoint of dsgd"):
        Checkpoint.load(path)


@pytest.mark.parametrize("cluster", [Simulation, LocalCluster])
@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([[0, 1]], r"groups must be a mapping such as .*, not \[\[0, 1\]\]"),
        ({"all": [[0, 1]]}, "no further group can have the name 'all'"),
        ({3: [[0, 1]]}, "no further group can have the name 3"),
        ({"host": [0, 1]}, r"group 'host' must be a list of lists of nodes, not \[0, 1\]"),
        ({"host": [["a"]]}, "group 'host' must be a list of lists of nodes"),
        ({"host": [[0], []]}, "disjoint parts"),
        ({"host": [[0, 1], [1, 2]]}, "disjoint parts of the nodes 0 to 4"),
        ({"host": [[0, 5]]}, "disjoint parts of the nodes 0 to 4"),
        ({"host": [[-1]]}, "disjoint parts of the nodes 0 to 4"),
    ],
)
def test_impossible_groups_are_refused(
    cluster: type[Simulation] | type[LocalCluster], groups: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        cluster(groups=groups)


@pytest.mark.parametrize("run", [local_fit, lambda cluster, **more: simulated_fit(**cluster, **more)])
def test_a_group_of_a_node_that_is_not_there_is_refused(run: Any) -> None:
    """Node 3 of three workers is there with a coordinator only."""
    with pytest.raises(ConfigError, match="group 'host' names node 3; the run has the nodes 0 to 2"):
        run({"workers": 3, "groups": {"host": [[0, 3]]}}, algo=Grouped())
