"""One run of a distributed algorithm in virtual time."""

from __future__ import annotations

import itertools
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.cluster.program.commands import EVERYONE, Program
from dsgd.cluster.program.groups import make_groups
from dsgd.cluster.program.task import WorkerTask
from dsgd.cluster.runtime.observed import Observation, Observed, model_of
from dsgd.cluster.runtime.program_run import Observer
from dsgd.cluster.runtime.replay import recorder_of_answers, start_of_life
from dsgd.cluster.runtime.run_spec import ClusterRecord, OnClock, Outcome, RunSpec
from dsgd.cluster.runtime.trace import Trace
from dsgd.cluster.simulation.config import Simulation
from dsgd.cluster.simulation.events import EventQueue
from dsgd.cluster.simulation.failures import SERVER, Crash, FailurePlan
from dsgd.cluster.simulation.links import Links
from dsgd.cluster.simulation.machine import Group, WorkerEnd
from dsgd.cluster.simulation.nodes import SpeedProfile
from dsgd.cluster.simulation.server import SimulatedServer
from dsgd.cluster.simulation.worker import SimulatedWorker
from dsgd.errors import DeadlineError

__all__ = ["SimulatedRun"]


class SimulatedRun:
    """A cluster in virtual time, from the first connection to the last worker that leaves.

    Parameters
    ----------
    config : Simulation
    assignment : RunSpec
    on_clock : callable, optional
        Called with the state of the cluster and the weights of the model when the slowest worker
        has finished one of the clocks in `notices`. The virtual clock stands still during the call.
        The run ends if it returns True.
    notices : sequence of int
        Clocks after which `on_clock` is called, increasing.
    """

    def __init__(
        self, config: Simulation, assignment: RunSpec, on_clock: OnClock | None = None, notices: Sequence[int] = ()
    ) -> None:
        self.config = config
        self.start = assignment.start
        self.staleness = assignment.algorithm.clock_bound
        self.mailbox = assignment.algorithm.mailbox
        self.sparse_tables = assignment.sparse_tables
        self.queue = EventQueue()
        self.trace = Trace(config.about(assignment.n_nodes, self.staleness)) if config.trace else None
        self.last_progress = 0.0
        self._assignment = assignment
        self._on_clock = on_clock
        self._notices = deque(notices)
        self._stopped = False
        self._delays: Counter[int] = Counter()
        self._reports: list[tuple[int, float, bytes]] = []
        self._n_nodes = n = assignment.n_nodes
        plan = FailurePlan(config.failures, n, config.seed)
        bandwidths, latencies = config.of_nodes("bandwidth", n), config.of_nodes("latency", n)
        # The server of a further group shares the link of the first shard.
        self.network = Links(
            self.queue,
            [
                *bandwidths,
                *[config.server_bandwidth or max(bandwidths)] * config.servers,
            ],
            [
                *(value / 2 for value in latencies),
                *[min(latencies) / 2] * config.servers,
            ],
            config.jitter,
            plan,
            config.seed,
            self.trace,
            n,
        )
        self._profiles = [SpeedProfile(speed, plan.stops.get(i, ())) for i, speed in enumerate(config.node_speeds(n))]
        server_profile = SpeedProfile(1.0, plan.stops.get(SERVER, ()))
        self._groups = self._make_groups()
        self._servers: list[list[SimulatedServer]] = []  # the shards of each group
        for group in self._groups:
            shards = range(self.shards_of(group))
            own = [SimulatedServer(self, group, shard, n + shard, server_profile) for shard in shards]
            group.servers = own
            self._servers.append(own)
        self.workers = [
            SimulatedWorker(self, node, self._profiles[node], assignment.kernels(node), Observed(notices))
            for node in range(n)
        ]
        self._remaining = n
        self._down_until: dict[int, float] = {}  # by node that has crashed, virtual seconds
        for crash in plan.crashes:
            self.queue.at(crash.at, self._crash, crash)
        if self.trace is not None:
            for node, stops in sorted(plan.stops.items()):
                for begin, end in stops:
                    self.trace.down(node, begin, end)

    def run(self) -> Outcome:
        """Run the workers until all of them have left, or `on_clock` ends the run.

        Returns
        -------
        Outcome

        Raises
        ------
        WorkerLostError, DeadlineError, ProtocolError
            The error that the client of a worker reports. `DeadlineError` also if no program goes
            on for `stall_deadline` seconds, if the run takes longer than `max_seconds`, or if the
            server crashed and is not started again.
        """
        for worker in self.workers:
            worker.start()
        ended = self.queue.run(self._ended, self.config.max_seconds)
        if not ended:
            waiting = [worker.node for worker in self.workers if not worker.done]
            raise DeadlineError(f"the workers {waiting} have not ended after {self.queue.now:.6g} virtual seconds")
        servers = self._servers[0]
        if any(server.core is None for server in servers):
            raise DeadlineError("the server crashed for good before the run had ended; give its Crash a restart_after")
        return self.outcome()

    def outcome(self) -> Outcome:
        """Return the outcome with the tables, record and reports as they are now."""
        tables = {spec.name: self._table(spec.name) for spec in self._groups[0].tables}
        self._collect_reports()
        record = self.record()
        return Outcome(
            weights=self._model(record),
            tables=tables,
            record=record,
            reports=self._reports,
            trace=self.trace,
        )

    def record(self, notice: float = math.inf) -> ClusterRecord:
        """Return the state of the cluster now, with the vectors that the nodes observed before the end of `notice`."""
        n = self._n_nodes
        core = self._servers[0][0].core
        delays = self._delays + sum((worker.pull_delays() for worker in self.workers), Counter())
        return ClusterRecord(
            clock=0 if core is None else core.slowest,
            virtual_seconds=self.queue.now,
            clocks=tuple(worker.clock for worker in self.workers),
            waiting=tuple(worker.waited for worker in self.workers),
            staleness=tuple(delays[delay] for delay in range(max(delays, default=-1) + 1)),
            bytes_sent=tuple(self.network.sent[:n]),
            bytes_received=tuple(self.network.received[:n]),
            samples=sum(worker.kernels.work.samples for worker in self.workers),
            observed=self._observed_at(notice),
        )

    def shards_of(self, group: Group) -> int:
        """Return the number of shards of a group's parameter server."""
        return self.config.servers if group.name == EVERYONE else 1

    def groups_of(self, node: int) -> dict[str, Group]:
        """Return the groups of a node by name; the group of all nodes is the first."""
        return {group.name: group for group in self._groups if node in group.members}

    def task(self, worker: WorkerEnd, start_clock: int, saved: bytes, now: Callable[[], float]) -> WorkerTask:
        """Return the task of a worker for a new life."""
        return self._assignment.task(
            worker.kernels,
            worker.node,
            start_clock=start_clock,
            saved=saved,
            now=now,
            chunk_rows=self.config.chunk_rows,
            groups={group.name: group.members for group in self.groups_of(worker.node).values()},
        )

    def program(self, node: int, task: WorkerTask) -> Program:
        """Return the program of a node for a new life."""
        if self.trace is not None and self.config.record_answers:
            self.trace.answers.setdefault(node, []).append(start_of_life(task.start_clock, task.saved))
        return self._assignment.program(task)

    def observer(self, node: int) -> Observer | None:
        """Return the observer that records the answers of a node; None if none are recorded."""
        if self.trace is None or not self.config.record_answers:
            return None
        return recorder_of_answers(self.trace, node)

    def keep_delays(self, delays: Counter[int]) -> None:
        """Add the `ProgramRun.pull_delays` of a program that has ended."""
        self._delays += delays

    def worker_done(self) -> None:
        """Count a worker that has left, or crashed for good."""
        self._remaining -= 1

    def notice_clock(self, slowest: int) -> None:
        """Call `on_clock` if the slowest worker has finished the clock of the next record."""
        if not self._notices or slowest < self._notices[0]:
            return
        while self._notices and self._notices[0] <= slowest:
            notice = self._notices.popleft()
        self._collect_reports()
        record = self.record(notice)
        if self._on_clock is not None and self._on_clock(record, self._model(record)):
            self._stopped = True

    def _ended(self) -> bool:
        if self.queue.now > self.last_progress + self.config.stall_deadline:
            waiting = {worker.node: worker.waits_for() for worker in self.workers if not worker.done}
            raise DeadlineError(
                f"no program went on for {self.config.stall_deadline:g} virtual seconds; workers wait for {waiting}"
            )
        return self._remaining == 0 or self._stopped

    def _observed_at(self, notice: float) -> dict[int, Observation]:
        core = self._servers[0][0].core
        lost = set() if core is None else {member.worker for member in core.members if member.status == "lost"}
        observed = {worker.node: worker.observed.at(notice) for worker in self.workers if worker.node not in lost}
        return {node: each for node, each in observed.items() if each is not None}

    def _model(self, record: ClusterRecord) -> NDArray[Any]:
        has_weights = any(spec.name == "weights" for spec in self._groups[0].tables)
        served = self._table("weights") if has_weights else None
        return model_of(self._assignment.algorithm.observes, record.observed, served, self.start)

    def _table(self, name: str) -> NDArray[Any]:
        parts = [server.core.snapshot(name) for server in self._servers[0] if server.core is not None]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _collect_reports(self) -> None:
        for group, servers in zip(self._groups, self._servers, strict=True):
            core = servers[0].core
            if core is not None:
                reports = core.take_reports()
                self._reports += [(group.members[each.worker], each.time, each.metrics) for each in reports]

    def _make_groups(self) -> list[Group]:
        specs = self._assignment.table_specs()
        return [Group(name, members, specs) for name, members in make_groups(self.config.groups, self._n_nodes)]

    def _crash(self, crash: Crash) -> None:
        now = self.queue.now
        until = math.inf if crash.restart_after is None else now + crash.restart_after
        if self.trace is not None:
            self.trace.down(crash.node, now, until)
        self._down_until[crash.node] = max(until, self._down_until.get(crash.node, until))
        if crash.node == SERVER:
            self._collect_reports()
            for server in itertools.chain(*self._servers):
                if server.core is not None:
                    server.crash()
        elif not (worker := self.workers[crash.node]).done and (worker.up or until == math.inf):
            worker.crash(for_good=until == math.inf)
        if until < math.inf:
            self.queue.at(until, self._start_again, crash.node)

    def _start_again(self, node: int) -> None:
        """Start a crashed process again, unless a later crash keeps it down for longer."""
        if self.queue.now < self._down_until[node]:
            return
        if node == SERVER:
            for server in itertools.chain(*self._servers):
                if server.core is None:
                    server.restart()
        elif not (worker := self.workers[node]).done and not worker.up:
            worker.start()
