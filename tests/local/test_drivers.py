"""`run_server` and `run_worker`, called by hand: in threads, with everything they need as arguments."""

from __future__ import annotations

import ast
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cluster.toys import run_toy, toy_assignment
from network.certificates import Authority
from numpy.typing import NDArray

import dsgd.cluster.tcp
from dsgd import _core
from dsgd.algorithms.distributed import Program
from dsgd.cluster import Simulation
from dsgd.cluster.program.commands import AllReduce, Clock, Pull, Push, Receive, Report, Send
from dsgd.cluster.program.groups import make_groups
from dsgd.cluster.program.task import WorkerTask
from dsgd.cluster.runtime.run_spec import RunSpec
from dsgd.cluster.runtime.trace import Kind
from dsgd.cluster.tcp.network import Tally
from dsgd.cluster.tcp.server import ServerSpec, ServerStatus, run_server
from dsgd.cluster.tcp.worker import WorkerSpec, run_worker
from dsgd.errors import ConfigError, WorkerLostError

TIMEOUT = 60.0
HOSTS = {"host": [[0, 2], [1]]}
EVERYWHERE: dict[str, Any] = {"bind": "0.0.0.0", "advertise": "127.0.0.1"}


class Heard:
    """Keeps what a server tells; it may end once `over` is set."""

    def __init__(self) -> None:
        self.addresses: Future[list[tuple[str, int]]] = Future()
        self.over = threading.Event()
        self.clocks: list[tuple[ServerStatus, NDArray[Any]]] = []
        self.checkpoints: dict[tuple[int, int], dict[str, NDArray[Any]]] = {}
        self.reports: list[tuple[int, float, str]] = []
        self.tables: dict[str, NDArray[Any]] = {}
        self.order: NDArray[np.int64] = np.empty(0, np.int64)

    def listening(self, addresses: list[tuple[str, int]]) -> None:
        self.addresses.set_result(addresses)

    def clock(self, status: ServerStatus, weights: NDArray[Any] | None) -> None:
        assert weights is not None
        self.reports += status.reports
        self.clocks.append((status, weights))

    def checkpoint(self, group: int, clock: int, state: dict[str, NDArray[Any]]) -> None:
        self.checkpoints[group, clock] = state

    def alive(self, status: ServerStatus) -> None:
        self.reports += status.reports

    def finished(self, status: ServerStatus, tables: dict[str, NDArray[Any]], order: NDArray[np.int64]) -> None:
        self.reports += status.reports
        self.tables, self.order = tables, order
        assert self.over.wait(TIMEOUT)


class Told:
    """Keeps what a worker tells."""

    def __init__(self) -> None:
        self.clocks: list[int] = []
        self.last: Tally | None = None

    def progress(self, tally: Tally) -> None:
        self.clocks.append(tally.clock)

    def finished(self, tally: Tally) -> None:
        self.last = tally


def by_hand(
    run: RunSpec, n_shards: int = 1, server: dict[str, Any] | None = None, **worker: Any
) -> tuple[list[Heard], list[Told]]:
    """Run all servers and workers of a run in threads, and return what they told."""
    groups, n = make_groups(HOSTS, run.n_nodes), run.n_nodes
    common: dict[str, Any] = {"tables": run.table_specs(), "token": secrets.token_bytes(32), **EVERYWHERE}
    heard, told = [Heard() for _ in range(n_shards)], [Told() for _ in range(n)]
    with ThreadPoolExecutor(n_shards + n) as pool:
        serving = [
            pool.submit(
                run_server,
                ServerSpec(
                    **common,
                    start=run.start,
                    staleness=run.algorithm.clock_bound,
                    groups=groups if shard == 0 else groups[:1],
                    shard=shard,
                    n_shards=n_shards,
                    **(server or {}),
                ),
                heard[shard],
            )
            for shard in range(n_shards)
        ]
        try:
            addresses = [each.addresses.result(TIMEOUT) for each in heard]
            where = {"all": [own[0] for own in addresses]}
            working = []
            for node in range(n):
                further = zip(groups[1:], addresses[0][1:], strict=True)
                own = {group.name: [address] for group, address in further if node in group.members}
                spec = WorkerSpec(**common, plan=run, node=node, groups=groups, addresses={**where, **own}, **worker)
                working.append(pool.submit(run_worker, spec, run.kernels(node), told[node]))
            for works in working:
                works.result(TIMEOUT)
        finally:
            for each in heard:
                each.over.set()
        for serves in serving:
            serves.result(TIMEOUT)
    return heard, told


def body(task: WorkerTask) -> Program:
    """Exchange numbers in both groups, the letters too."""
    host = task.groups["host"]
    rank = host.index(task.rank)
    for clock in range(task.start_clock, task.max_clocks):
        weights = yield Pull(clock)
        if len(host) > 1:
            yield Send(1 - rank, weights + task.rank, group="host")
            (letter,) = yield Receive(wait=True, group="host")
            weights = weights + letter.value
        mean = yield AllReduce(weights + rank + clock, mean=True, group="host")
        yield Push(mean / 3)
        yield Report({"clock": float(clock)}, group="host")
        yield Clock(group="host")
        yield Clock()


@pytest.mark.parametrize(
    ("n_shards", "encryption"), [(1, None), (2, None), (1, "psk"), (2, "psk"), (2, "certificates")]
)
def test_a_run_by_hand_has_the_bits_of_the_simulation(n_shards: int, encryption: str | None, tmp_path: Path) -> None:
    run = toy_assignment(body, nodes=3, clocks=4)
    files = Authority(tmp_path).sign("node") if encryption == "certificates" else {}
    tls = _core.TlsConfig(encryption, **files, check_host=False) if encryption else None
    begin = time.monotonic()
    options = {"notices": [2], "record_order": True, "tls": tls, "server": {"checkpoint_every": 2}}
    heard, told = by_hand(run, n_shards, options, tls=tls, notices=[2, 4], trace=True)
    weights = np.concatenate([each.tables["weights"] for each in heard])
    simulated = run_toy(body, Simulation(workers=3, groups=HOSTS), clocks=4)
    assert weights.tobytes() == simulated.weights.tobytes()
    assert sorted(node for node, _, _ in heard[0].reports) == sorted([0, 1, 2] * 4)
    for each in heard:
        assert each.addresses.result()[0][0] == "127.0.0.1"
        (status, part), *more = each.clocks
        assert not more
        assert status.clock == 2
        assert begin < status.moment < time.monotonic()
        assert len(part) == 4 // n_shards
        assert {(0, 2), (0, 4)} <= each.checkpoints.keys()
        assert len(each.order) > 3 * 4
    for tally in told:
        assert tally.clocks == [2, 4]
        assert tally.last is not None
        assert tally.last.trace is not None
        assert begin < tally.last.began < time.monotonic()
        times = tally.last.trace.of(Kind.CLOCK)["end"]  # by the node's own clock, from its own start
        assert len(times) == 4
        assert 0 < times.max() < time.monotonic() - tally.last.began


def test_a_run_goes_on_from_checkpoints_by_hand() -> None:
    lives: list[tuple[int, int]] = []

    def noted(task: WorkerTask) -> Program:
        lives.append((task.rank, task.start_clock))
        yield from body(task)

    run = toy_assignment(body, nodes=3, clocks=6)
    whole = by_hand(run)[0][0].tables["weights"]
    half, _ = by_hand(toy_assignment(body, nodes=3, clocks=5), 1, {"server": {"checkpoint_every": 4}})
    saved = [half[0].checkpoints[group, 4] for group in range(3)]
    rest, _ = by_hand(
        toy_assignment(noted, nodes=3, clocks=6), 1, {"checkpoints": saved, "incarnation": 2, "notices": [5]}
    )
    assert sorted(lives) == [(0, 4), (1, 4), (2, 4)]
    assert rest[0].tables["weights"].tobytes() == whole.tobytes()


def server_of(run: RunSpec, **options: Any) -> ServerSpec:
    return ServerSpec(
        tables=run.table_specs(),
        start=run.start,
        staleness=0.0,
        groups=make_groups({}, run.n_nodes),
        token=b"token of sixteen",
        **options,
    )


def test_an_event_that_raises_ends_the_server_and_a_lost_worker_too() -> None:
    class Tired(Heard):
        def alive(self, status: ServerStatus) -> None:
            raise InterruptedError("enough")

    run = toy_assignment(body, nodes=2, clocks=1)
    tired = Tired()
    with pytest.raises(InterruptedError, match="enough"):
        run_server(server_of(run), tired)
    port = tired.addresses.result()[0][1]
    with pytest.raises(WorkerLostError, match="has not come"):  # at the same port: the first has closed it
        run_server(server_of(run, ports=[port], server={"join_deadline": 0.2, "on_lost": "fail"}), Heard())


def test_every_address_of_a_host_is_none_to_connect_to() -> None:
    run = toy_assignment(body, nodes=1, clocks=1)
    worker = WorkerSpec(
        plan=run,
        tables=run.table_specs(),
        node=0,
        groups=make_groups({}, 1),
        addresses={"all": [("127.0.0.1", 1)]},
        token=b"token of sixteen",
        bind="::",
    )
    calls: list[Callable[[], None]] = [
        lambda: run_server(server_of(run, bind="0.0.0.0"), Heard()),
        lambda: run_worker(worker, run.kernels(0), Told()),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match="is every address of this host: name in advertise"):
            call()


def test_the_drivers_know_nothing_of_processes_and_files() -> None:
    assert dsgd.cluster.tcp.__file__ is not None
    for path in Path(dsgd.cluster.tcp.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {name.split(".")[0] for name in names} & {
            "os",
            "pathlib",
            "select",
            "signal",
            "socket",
            "subprocess",
        }
        assert not any(name.startswith("dsgd.cluster.local") for name in names)
