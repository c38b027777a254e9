"""Virtual time: nodes, links, traces, and `fit` on a simulated cluster."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cluster.toys import run_toy, toy_assignment
from problems import make_problem

import dsgd
from dsgd.algorithms import Ssp
from dsgd.algorithms.distributed import Program
from dsgd.cli import app
from dsgd.cluster import Crash, Delay, Duplication, FrameLoss, KernelCost, Kind, NetworkSplit, Pause, Simulation, Trace
from dsgd.cluster.program.commands import AllReduce, Clock, Poll, Pull, Push, Receive, Send, Signal, Wait
from dsgd.cluster.program.partition import deal
from dsgd.cluster.program.task import State, WorkerTask
from dsgd.cluster.program.work import Work
from dsgd.cluster.runtime.replay import replay
from dsgd.cluster.simulation.description import load_simulation
from dsgd.cluster.simulation.nodes import SpeedProfile
from dsgd.cluster.simulation.run import SimulatedRun
from dsgd.errors import ClusterError, ConfigError, DataError

X, Y = make_problem(200, 10, seed=1)


def fit(**options: Any) -> dsgd.FitResult:
    given = {"algo": "ssp", "loss": "logistic", "max_epochs": 3, "random_state": 0, "cluster": Simulation(workers=3)}
    return dsgd.fit(X, Y, **{**given, **options})


@pytest.mark.parametrize(
    ("profile", "begin", "seconds", "end"),
    [
        (SpeedProfile(1.0), 3.0, 2.0, 5.0),
        (SpeedProfile(0.5), 3.0, 2.0, 7.0),
        (SpeedProfile([(0.0, 1.0), (4.0, 0.25)]), 3.0, 2.0, 8.0),
        (SpeedProfile(1.0, [(4.0, 10.0)]), 3.0, 2.0, 11.0),
        (SpeedProfile(2.0, [(4.0, math.inf)]), 3.0, 3.0, math.inf),
        (SpeedProfile(1.0, [(4.0, 6.0), (5.0, 8.0)]), 4.5, 1.0, 9.0),
    ],
)
def test_work_ends_when_the_speed_says(profile: SpeedProfile, begin: float, seconds: float, end: float) -> None:
    assert profile.finish(begin, seconds) == pytest.approx(end)


def test_a_kernel_costs_what_it_counts() -> None:
    cost = KernelCost(entry=2.0, far_line=7.0, element=3.0, call=5.0)
    assert cost.seconds(Work(entries=10, far_lines=1, elements=100, calls=2)) == 337


class Interrupted(Ssp):
    """Ctrl-C before the first record."""

    def worker(self, task: WorkerTask) -> Program:
        yield Pull(0)
        raise KeyboardInterrupt


def pull_once(task: WorkerTask) -> Program:
    yield Pull(0)
    yield Clock()


def test_a_large_table_takes_its_time_on_the_wire() -> None:
    """8 MB at 10 MB/s for each of three workers, whose copies leave the server one after the other."""
    outcome = run_toy(pull_once, Simulation(workers=3, bandwidth=1e7), clocks=1, size=1_000_000)
    assert outcome.record.virtual_seconds == pytest.approx(2.4, rel=0.01)
    fast = Simulation(workers=3, bandwidth=1e7, server_bandwidth=1e9)
    assert run_toy(pull_once, fast, clocks=1, size=1_000_000).record.virtual_seconds == pytest.approx(0.824, rel=0.01)
    sharded = Simulation(workers=3, bandwidth=1e7, servers=3)
    assert (run_toy(pull_once, sharded, clocks=1, size=1_000_000).record.virtual_seconds or 9) < 1.4


def test_bytes_sent_are_bytes_received() -> None:
    outcome = run_toy(pull_once, Simulation(workers=3), clocks=1, size=1000)
    assert outcome.trace is not None
    frames = outcome.trace.of(Kind.TRANSFER)
    for node in range(3):
        assert outcome.record.bytes_sent[node] == frames["a"][frames["node"] == node].sum()
        assert outcome.record.bytes_received[node] == frames["a"][frames["peer"] == node].sum()
        assert 8000 < outcome.record.bytes_received[node] < 9000


def test_a_slow_node_makes_the_others_wait() -> None:
    waiting = (
        fit(cluster=Simulation(workers=3, speeds=[1, 1, 0.1], kernel_cost=KernelCost(call=0.01)), staleness=0)
        .history[-1]
        .waiting
    )
    assert waiting is not None
    assert min(waiting[:2]) > 3 * waiting[2]


@pytest.mark.parametrize("failure", [Pause(1, 0.001, 5.0), NetworkSplit([1], 0.001, 5.0), Crash(1, 0.001, 5.0)])
def test_an_outage_is_waited_for_and_then_forgotten(failure: Any) -> None:
    even = fit(staleness=0)
    late = fit(staleness=0, cluster=Simulation(workers=3, failures=[failure]))
    assert (late.history[-1].virtual_seconds or 0) > 5 + (even.history[-1].virtual_seconds or 0) / 2
    assert np.array_equal(even.coef_, late.coef_)


@pytest.mark.parametrize("failure", [FrameLoss(0.1), Delay(0.2, 0.01), Duplication(0.3)])
def test_a_bad_network_changes_times_but_no_weight_of_a_barrier_run(failure: Any) -> None:
    even = fit(staleness=0)
    late = fit(staleness=0, cluster=Simulation(workers=3, failures=[failure], resend_after=0.01))
    assert late.history[-1].virtual_seconds != even.history[-1].virtual_seconds
    assert np.array_equal(even.coef_, late.coef_)


@pytest.mark.parametrize("algo", ["ssp", "sync", "dissvrg"])
def test_the_same_seed_gives_the_same_trace_on_one_thread_and_on_two(algo: str) -> None:
    cluster = Simulation(
        workers=4,
        jitter=1e-4,
        failures=[FrameLoss(0.05), Crash(1, 0.002, 0.01), Crash(-1, 0.02, 0.01)],
        seed=3,
        resend_after=0.01,
        reconnect_after=0.005,
    )
    runs = [fit(algo=algo, cluster=cluster, n_threads=threads) for threads in (1, 2, 1)]
    traces = [run.trace.to_bytes() for run in runs if run.trace is not None]
    assert traces[0] == traces[1] == traces[2]
    assert np.array_equal(runs[0].coef_, runs[1].coef_)
    other = fit(algo=algo, cluster=Simulation(workers=4, jitter=1e-4, seed=4))
    assert other.trace is not None
    assert other.trace.to_bytes() != traces[0]


def test_the_history_tells_of_the_cluster() -> None:
    history = fit(max_epochs=4, evaluate_every=2).history
    assert [record.epoch for record in history] == [2, 4]
    last = history[-1]
    assert last.effective_passes == pytest.approx(4, rel=0.05)
    assert last.virtual_seconds is not None
    assert history[0].virtual_seconds is not None
    assert 0 < history[0].virtual_seconds < last.virtual_seconds
    assert last.clocks is not None
    assert len(set(last.clocks)) <= 3
    assert last.staleness is not None
    assert sum(last.staleness) >= 3 * min(last.clocks)
    assert dsgd.History.from_json(history.to_json()) == history
    assert len(history.to_frame()) == 2


def test_evaluation_costs_no_virtual_time_and_changes_nothing() -> None:
    often, never = fit(evaluate_every=1), fit(evaluate_every=0)
    assert never.history[-1].objective is None
    assert often.history[-1].virtual_seconds == never.history[-1].virtual_seconds
    assert np.array_equal(often.coef_, never.coef_)


def test_a_run_ends_early() -> None:
    assert fit(max_epochs=50, tol=0.05).stop_reason == "tol"
    stopped = fit(max_epochs=50, callbacks=[lambda record, _: record.epoch >= 2])
    assert stopped.stop_reason == "callback"
    assert len(stopped.history) == 2
    assert fit(max_epochs=50, early_stopping=True, eval_set=(X, Y)).stop_reason == "early_stopping"


def test_ctrl_c_ends_a_run_with_the_model_so_far() -> None:
    def interrupt(record: dsgd.Record, _: dsgd.LinearModel) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning, match="interrupted in epoch 3"):
        result = fit(max_epochs=50, callbacks=[interrupt])
    assert result.stop_reason == "interrupted"
    assert len(result.history) == 2
    with pytest.raises(KeyboardInterrupt):
        fit(cluster=Simulation(workers=3), algo=Interrupted())


def test_a_divergence_is_an_error() -> None:
    with pytest.raises(dsgd.errors.DivergedError, match="use a smaller step_size"):
        fit(step_size=1e9, loss="squared_hinge", penalty="none", max_epochs=40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cluster": None}, "needs workers=4 .*, or a cluster such as dsgd.LocalCluster"),
        ({"cluster": 3}, "or a cluster .* not 3"),
        ({"algo": "sgd"}, "runs on one machine: leave out cluster"),
        ({"workers": 2}, "workers=2, but the cluster has 3"),
        ({"cluster": Simulation(workers=201)}, "201 workers for 200 samples"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be an integer from 1"),
        ({"speeds": [1, 2]}, "speeds has 2 elements for 4 workers"),
        ({"speeds": 0.0}, "speed must be a finite number above 0"),
        ({"speeds": [1, 1, 1, [(1.0, 2.0)]]}, "times rising from 0"),
        ({"bandwidth": 0}, "bandwidth must be"),
        ({"latency": [1e-4]}, "latency has 1 elements"),
        ({"jitter": -1}, "jitter must be"),
        ({"failures": ["crash"]}, "failures are objects"),
        ({"groups": {"host": [(0, 1), (1, 2)]}}, "disjoint parts"),
        ({"on_lost": "ignore"}, "on_lost"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"max_seconds": 0}, "max_seconds"),
    ],
)
def test_an_impossible_cluster_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Simulation(**options)


def test_impossible_failures_are_refused() -> None:
    with pytest.raises(ConfigError, match="probability"):
        FrameLoss(1.5)
    with pytest.raises(ConfigError, match="ranks of nodes"):
        Crash(-2, 1.0)
    with pytest.raises(ConfigError, match="names node 7 of 3"):
        fit(cluster=Simulation(workers=3, failures=[Crash(7, 1.0)]))


def every_command(task: WorkerTask) -> Program:
    state = task.state(sums=np.zeros(4), clocks=0)
    for clock in range(task.start_clock, task.max_clocks):
        ticket = yield Pull(clock, ahead=True)
        weights = yield Wait(ticket)
        yield Push(weights + task.random(clock).random(4))
        state.sums = state.sums + (yield AllReduce(weights, mean=True))
        yield Send((task.rank + 1) % 3, weights, np.arange(4, dtype=np.uint64), name="w")
        for message in (yield Receive(wait=True, deadline=1.0)):
            state.sums += message.value
        yield Signal("round")
        state.clocks += (yield Poll("round")).times
        yield Clock()
    yield Push(state.sums)


def test_programs_are_replayed_from_a_trace(tmp_path: Path) -> None:
    cluster = Simulation(workers=3, record_answers=True, checkpoint_every=2, failures=[Crash(-1, 0.003, 0.01)])
    work = toy_assignment(every_command, nodes=3, clocks=5, staleness=1)
    run = SimulatedRun(cluster, work)
    trace = run.run().trace
    assert trace is not None
    trace.save(tmp_path / "trace")
    loaded = Trace.load(tmp_path / "trace")
    assert loaded.to_bytes() == trace.to_bytes()

    def start(node: int, clock: int, saved: bytes) -> Program:
        return every_command(run.task(run.workers[node], clock, saved, lambda: 0.0))

    assert replay(loaded, start) > 3 * 5 * 8
    name, numbers = loaded.answers[1][2]
    loaded.answers[1][2] = (name, numbers + 1)
    with pytest.raises(ClusterError, match="of worker 1 is Push"):
        replay(loaded, start)


def test_what_is_not_a_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trace").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a trace of dsgd"):
        Trace.load(tmp_path / "trace")


def test_a_trace_is_drawn() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    from dsgd.cluster.simulation.gantt import draw_gantt

    trace = fit(cluster=Simulation(workers=3, failures=[Pause(1, 0.001, 0.002)])).trace
    assert trace is not None
    axes = draw_gantt(trace)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["worker 0", "worker 1", "worker 2", "server 0"]
    assert len(axes.collections) >= 3 * 3 + 1
    with pytest.raises(ConfigError, match="nothing between"):
        draw_gantt(trace, begin=1e6, end=2e6)


TOML = """
workers = 3
speeds = [1.0, 1.0, 0.5]
latency = 0.001
[kernel_cost]
entry = 1e-8
[[failures]]
kind = "crash"
node = -1
at = 0.5
restart_after = 0.25
[[failures]]
kind = "frame_loss"
probability = 0.01
"""


def test_a_cluster_is_described_in_toml(tmp_path: Path) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text(TOML)
    assert load_simulation(path) == Simulation(
        workers=3,
        speeds=[1.0, 1.0, 0.5],
        latency=0.001,
        kernel_cost=KernelCost(entry=1e-8),
        failures=[Crash(-1, 0.5, 0.25), FrameLoss(0.01)],
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workers = ", "not TOML"),
        ("worker = 3", "did you mean 'workers'"),
        ("[[failures]]\nkind = 'crush'", "did you mean 'crash'"),
        ("[[failures]]\nkind = 'crash'\nnode = 1", "missing"),
        ("[[failures]]\nkind = 'frame_loss'\nprobability = 0.1\nwhen = 3", "unknown key of a frame_loss 'when'"),
        ("kernel_cost = 3", "a table was expected, not 3"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text(text)
    with pytest.raises((ConfigError, DataError), match=message):
        load_simulation(path)


def test_the_command_line_simulates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    dsgd.data.save_libsvm(tmp_path / "train.svm", X, Y)
    (tmp_path / "cluster.toml").write_text(TOML)
    outputs = {name: tmp_path / name for name in ("model", "history", "trace", "gantt.png")}
    with pytest.raises(SystemExit) as end:
        app(
            [
                *("simulate", str(tmp_path / "train.svm"), "--cluster", str(tmp_path / "cluster.toml")),
                *("--algo", "ssp", "--option", "batch_size=8", "--max-epochs", "3", "--seed", "1", "--quiet"),
                *(f"--{name.split('.')[0]}={path}" for name, path in outputs.items()),
            ]
        )
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert "passes in" in printed  # the server crashes: some are made twice
    assert "on 3 nodes" in printed
    expected = fit(cluster=load_simulation(tmp_path / "cluster.toml"), batch_size=8, random_state=1)
    assert np.array_equal(dsgd.load(outputs["model"]).coef_, expected.coef_)
    assert Trace.load(outputs["trace"]).about["nodes"] == 3
    assert len(dsgd.History.from_json(outputs["history"].read_text())) == 3
    assert outputs["gantt.png"].read_bytes().startswith(b"\x89PNG")


def test_rows_are_dealt_out_evenly() -> None:
    shards = deal(103, 4, seed=1)
    assert sorted(np.concatenate(shards).tolist()) == list(range(103))
    assert sorted(map(len, shards)) == [25, 26, 26, 26]
    assert all((np.diff(rows) > 0).all() for rows in shards)
    assert deal(10, 1, seed=1)[0].tolist() == list(range(10))


def test_a_state_is_numbers_and_arrays() -> None:
    state = State(steps=3, factor=0.5, flag=True, sums=np.arange(3, dtype=np.float32))
    again = State.decode(state.encode())
    assert (again["steps"], again["factor"], again["flag"]) == (3, 0.5, True)
    assert again["sums"].dtype == np.float32
    assert State().encode() == b""
    with pytest.raises(ConfigError, match=r"task.state.name must be a number or an array"):
        State(name="x").encode()
    with pytest.raises(DataError, match="not the state of a worker"):
        State.decode(b"nothing")


def test_a_coordinator_is_a_node_beside_the_workers_and_as_good_as_the_best() -> None:
    cluster = Simulation(workers=3, speeds=[1, 2, 0.5], bandwidth=[1e8, 2e8, 1e8], latency=[1e-3, 1e-4, 1e-3])
    assert cluster.node_speeds(3) == [1, 2, 0.5]
    assert cluster.node_speeds(4) == [2, 1, 2, 0.5]
    assert cluster.of_nodes("bandwidth", 4) == [2e8, 1e8, 2e8, 1e8]
    assert cluster.of_nodes("latency", 4) == [1e-4, 1e-3, 1e-4, 1e-3]
    assert Simulation(workers=1, speeds=[[(0.0, 3.0)]]).node_speeds(2) == [1.0, [(0.0, 3.0)]]
    assert len(fit(algo="sync", cluster=Simulation(workers=3)).history[-1].clocks or ()) == 4
    assert len(fit(algo="ssp", cluster=Simulation(workers=3)).history[-1].clocks or ()) == 3
