"""What the parameter server promises, over random schedules with failures."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cluster.toys import compute, run_toy, toy_assignment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsgd.algorithms.distributed import Program
from dsgd.cluster import SERVER, Crash, Delay, Duplication, Failure, FrameLoss, NetworkSplit, Pause, Simulation
from dsgd.cluster.program.commands import Clock, Pull, Push
from dsgd.cluster.program.task import WorkerTask
from dsgd.cluster.simulation.run import SimulatedRun
from dsgd.errors import ClusterError, DeadlineError

# A clock takes some milliseconds, an outage less than the silence after which a worker counts as lost.
_TIMES = st.floats(0, 0.1)
_SHORT = st.floats(0.001, 0.05)


def failures(nodes: int, servers: bool) -> st.SearchStrategy[list[Failure]]:
    """Return a strategy for plans in which nobody is lost for good."""
    node = st.integers(SERVER if servers else 0, nodes - 1)
    chance = st.floats(0, 0.3)
    kinds: list[st.SearchStrategy[Any]] = [
        st.builds(FrameLoss, chance),
        st.builds(Delay, chance, st.floats(0, 0.02)),
        st.builds(Duplication, chance),
        st.builds(NetworkSplit, st.lists(node, min_size=1, max_size=2), _TIMES, _SHORT),
        st.builds(Pause, node, _TIMES, _SHORT),
    ]
    if servers:
        kinds.append(st.builds(Crash, node, _TIMES, _SHORT))
    return st.lists(st.one_of(kinds), max_size=3)


@st.composite
def clusters(draw: st.DrawFn, servers: bool = True) -> Simulation:
    """Return a strategy for small clusters."""
    nodes = draw(st.integers(1, 4))
    return Simulation(
        workers=nodes,
        speeds=draw(st.lists(st.floats(0.2, 2), min_size=nodes, max_size=nodes)),
        jitter=draw(st.sampled_from([0.0, 1e-3])),
        failures=draw(failures(nodes, servers)),
        seed=draw(st.integers(0, 1000)),
        checkpoint_every=draw(st.integers(1, 3)),
        resend_after=0.01,
        reconnect_after=0.005,
    )


def see_counts(cluster: Simulation, staleness: float, clocks: int) -> list[tuple[int, int, list[float]]]:
    """Return (rank, clock, how many clocks of each worker it contains) of every pull of a run."""
    seen: list[tuple[int, int, list[float]]] = []

    def body(task: WorkerTask) -> Program:
        one = np.zeros(task.n_parameters)
        one[task.rank] = 1
        for clock in range(task.start_clock, task.max_clocks):
            counts = yield Pull(clock)
            seen.append((task.rank, clock, counts.tolist()))
            compute(task, task.random(clock).uniform(0, 8e-3))
            yield Push(one)
            yield Clock()

    run = SimulatedRun(
        cluster, toy_assignment(body, nodes=cluster.workers, clocks=clocks, size=cluster.workers, staleness=staleness)
    )
    outcome = run.run()
    assert outcome.trace is not None
    outcome.trace.check()
    assert outcome.record.clocks == (clocks,) * cluster.workers
    return seen


def check_counts(seen: list[tuple[int, int, list[float]]], staleness: float) -> None:
    """Refuse a pull that lacks an update of clocks <= c - staleness - 1, or one of the worker's own."""
    for rank, clock, counts in seen:
        for other, count in enumerate(counts):
            least = clock if other == rank else max(clock - staleness, 0)
            if count < least:
                raise ClusterError(
                    f"worker {rank} at clock {clock} sees {count:g} clocks of worker {other}, not {least:g}"
                )


@settings(max_examples=1000, suppress_health_check=list(HealthCheck))
@given(clusters(), st.sampled_from([0, 1, 2, 3, math.inf]))
def test_a_pull_contains_what_the_staleness_bound_promises(cluster: Simulation, staleness: float) -> None:
    check_counts(see_counts(cluster, staleness, clocks=5), staleness)


@pytest.mark.parametrize("node", [0, SERVER])
@pytest.mark.parametrize("restarts", [(4e-3, 3e-3), (3e-3, 4e-3), (3e-3, 3e-3)])
@pytest.mark.parametrize("at", [0.0, 1e-3])
def test_a_process_that_crashes_while_it_is_down_is_started_once(
    node: int, restarts: tuple[float, float], at: float
) -> None:
    crashes = [Crash(node, at, after) for after in restarts]
    for seed in range(5):
        cluster = Simulation(
            workers=2, jitter=1e-3, failures=crashes, seed=seed, resend_after=0.01, reconnect_after=5e-3
        )
        check_counts(see_counts(cluster, 0, clocks=5), 0)


def test_what_has_crashed_for_good_does_not_come_again() -> None:
    cluster = Simulation(workers=1, failures=[Crash(SERVER, 0.0, 3e-3), Crash(SERVER, 1e-3)])
    with pytest.raises(DeadlineError):
        see_counts(cluster, 0, clocks=5)


def test_a_broken_gate_is_caught_by_the_same_check() -> None:
    cluster = Simulation(workers=3, speeds=[1, 1, 0.1])
    seen = see_counts(cluster, staleness=4, clocks=12)  # a gate that lets workers four clocks ahead, not two
    check_counts(seen, 4)
    with pytest.raises(ClusterError, match=r"sees .* clocks of worker 2"):
        check_counts(seen, 2)


def test_a_trace_with_a_broken_gate_is_refused() -> None:
    def body(task: WorkerTask) -> Program:
        for clock in range(task.max_clocks):
            yield Pull(clock)
            compute(task, 1e-3)
            yield Clock()

    trace = run_toy(body, Simulation(workers=2, speeds=[1, 0.1]), clocks=10, staleness=4).trace
    assert trace is not None
    trace.check()
    with pytest.raises(ClusterError, match="pull of worker 0 at clock"):
        trace.check(staleness=2)


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(clusters(servers=False), st.sampled_from([0, 2, math.inf]))
def test_no_push_is_lost_or_applied_twice(cluster: Simulation, staleness: float) -> None:
    pushed = np.zeros(4)

    def body(task: WorkerTask) -> Program:
        for clock in range(task.start_clock, task.max_clocks):
            yield Pull(clock)
            for _ in range(3):
                delta = task.random(clock).integers(-9, 10, size=4).astype(float)
                pushed[:] += delta
                yield Push(delta)
            compute(task, 5e-3)
            yield Clock()

    outcome = run_toy(body, cluster, clocks=5, size=4, staleness=staleness)
    assert outcome.weights.tolist() == pushed.tolist()


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(clusters(servers=False), _TIMES, _SHORT)
def test_after_a_restart_of_the_server_the_table_is_the_checkpoint_and_what_came_after(
    cluster: Simulation, at: float, outage: float
) -> None:
    cluster = replace(cluster, failures=[*cluster.failures, Crash(SERVER, at, outage)])
    base = np.zeros(4)
    pushed: dict[int, Any] = {}

    def body(task: WorkerTask) -> Program:
        pushed[task.rank] = np.zeros(4)  # an earlier life's are in the checkpoint, or gone
        for clock in range(task.start_clock, task.max_clocks):
            yield Pull(clock)
            delta = task.random(clock).integers(-9, 10, size=4).astype(float)
            yield Push(delta)
            pushed[task.rank] += delta
            compute(task, 5e-3)
            yield Clock()

    run = SimulatedRun(cluster, toy_assignment(body, nodes=cluster.workers, clocks=5, size=4, staleness=2))
    server = run._servers[0][0]
    restart = server.restart

    def noted() -> None:
        restart()
        assert server.core is not None
        base[:] = server.core.snapshot("weights")
        pushed.update(dict.fromkeys(pushed, 0.0))

    server.restart = noted  # type: ignore[method-assign]
    outcome = run.run()
    assert outcome.weights.tolist() == (base + sum(pushed.values())).tolist()
