"""A node of a simulated cluster: runs its program, and moves frames in virtual time."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from dsgd import _core
from dsgd.cluster.program.commands import EVERYONE, Send
from dsgd.cluster.program.kernels import Kernels
from dsgd.cluster.program.work import Work
from dsgd.cluster.runtime.observed import Observed
from dsgd.cluster.runtime.program_run import ProgramRun, Status, failure
from dsgd.cluster.simulation.machine import Connection, Machine
from dsgd.cluster.simulation.nodes import SpeedProfile

__all__ = ["SimulatedWorker"]


class SimulatedWorker:
    """A node with its program, through its crashes and restarts.

    Attributes
    ----------
    node : int
        Number of the node, which is also its rank in the group of all nodes.
    waited : float
        Virtual seconds spent waiting for answers.
    done : bool
        Whether the node has left, or crashed for good.
    clock : int
        Number of clocks that the node has finished.
    observed : Observed
        The vectors that its program observes.
    """

    def __init__(self, run: Machine, node: int, profile: SpeedProfile, kernels: Kernels, observed: Observed) -> None:
        self.node = node
        self.kernels = kernels
        self.observed = observed
        self.waited = 0.0
        self.done = False
        self.clock = 0
        self.clients: dict[str, _core.Client] = {}
        self._run = run
        self._queue = run.queue
        self._trace = run.trace
        self._profile = profile
        self._groups = run.groups_of(node)
        self._connections: dict[tuple[str, int], Connection] = {}
        self._armed: dict[str, float] = {}
        self._program: ProgramRun | None = None
        self._joined: set[str] = set()
        self._start = (0, b"")
        self._life = 0  # number of the life of the process
        self._leaving: list[float] = []  # times at which messages to peers will have left
        self._era = 0  # counts starts and ends of programs; events of an earlier one have no effect
        self._waiting_since = math.nan
        self._resumed_at = 0.0
        self._computing: tuple[float, float, Work] | None = None
        self._worked_before = kernels.work.copy()

    @property
    def life(self) -> int:
        """Number of the worker's current life; frames for an earlier life are dropped."""
        return self._life

    @property
    def up(self) -> bool:
        """Whether the process runs: it has neither crashed nor finished."""
        return bool(self.clients)

    def start(self) -> None:
        """Begin a life: connect to all servers."""
        config = self._run.config
        self._life += 1
        self.clients = {
            name: _core.Client(
                self._queue.now,
                group.members.index(self.node),
                group.tables,
                n_shards=len(group.servers),
                heartbeat_interval=config.heartbeat_deadline / 6,
                resend_after=config.resend_after,
                deadline=2 * config.heartbeat_deadline,
            )
            for name, group in self._groups.items()
        }
        self._armed = dict.fromkeys(self.clients, math.inf)
        self._joined.clear()
        for name, group in self._groups.items():
            for shard in range(len(group.servers)):
                self._connect(self._life, name, shard)

    def crash(self, for_good: bool) -> None:
        """End the process at once; the servers learn of it when their connections break."""
        self._life += 1
        if for_good:
            self.done = True
            self.observed.begin(self.clock)  # the records of clocks that it has finished keep its vectors
            self._run.worker_done()
        self._stop_program()
        self.clients = {}
        for connection in self._connections.values():
            self._close(connection)
        self._connections.clear()

    def deliver(self, connection: Connection, frame: bytes) -> None:
        """Receive a frame from a server, at the end of a pause if the node stands still."""
        if not connection.open:
            return
        now = self._queue.now
        goes_on = self._profile.stopped_until(now)
        if goes_on > now:
            self._queue.at(goes_on, self.deliver, connection, frame)
            return
        self.clients[connection.group].receive(now, connection.shard, frame)
        self._pump(connection.group)

    def deliver_letter(self, life: int, group: str, sender: int, frame: bytes) -> None:
        """Receive a frame of a peer's message, at the end of a pause if the node stands still."""
        if life != self._life or group not in self.clients:
            return
        now = self._queue.now
        goes_on = self._profile.stopped_until(now)
        if goes_on > now:
            self._queue.at(goes_on, self.deliver_letter, life, group, sender, frame)
            return
        answer = self.clients[group].receive_letter(sender, frame)
        if answer is not None and self._program is not None:
            self._program.take(group, answer)
            self._go_on()

    def pull_delays(self) -> Counter[int]:
        """Return the `ProgramRun.pull_delays` of the program that runs now."""
        return Counter() if self._program is None else self._program.pull_delays

    def waits_for(self) -> str:
        """Return the name of the command that the program waits for."""
        command = None if self._program is None else self._program.command
        return "a connection" if command is None else type(command).__name__

    def lose(self, connection: Connection) -> None:
        """Learn that a connection is closed, and open a new one."""
        key = (connection.group, connection.shard)
        if self._connections.get(key) is not connection:
            return
        del self._connections[key]
        self.clients[connection.group].disconnected(self._queue.now, connection.shard)
        self._pump(connection.group)
        self._connect(self._life, *key)

    def _connect(self, life: int, group: str, shard: int) -> None:
        server = self._groups[group].servers[shard]
        delay = 2 * self._run.network.latency(self.node, server.endpoint)
        self._queue.at(self._queue.now + delay, self._connected, life, group, shard)

    def _connected(self, life: int, group: str, shard: int) -> None:
        if life != self._life or self.done:
            return
        server = self._groups[group].servers[shard]
        connection = Connection(self, server, group, shard)
        now = self._queue.now
        if not server.accept(connection):
            self._queue.at(now + self._run.config.reconnect_after, self._connect, life, group, shard)
            return
        self._connections[group, shard] = connection
        self.clients[group].connected(now, shard)
        self._pump(group)

    def _close(self, connection: Connection) -> None:
        connection.open = False
        delay = self._run.network.latency(self.node, connection.server.endpoint)
        self._queue.at(self._queue.now + delay, connection.server.lose, connection)

    def _pump(self, group: str) -> None:
        """Send the frames of a client to the servers, and pass its answers to the program."""
        client = self.clients[group]
        self._flush(group, client)
        answers = client.take_answers()
        for answer in answers:
            self._take(group, answer)
        if answers and group in self.clients:
            self._flush(group, self.clients[group])
            self._go_on()

    def _flush(self, group: str, client: _core.Client) -> None:
        for shard, frame in client.take_frames():
            connection = self._connections.get((group, shard))
            if connection is None:
                continue
            if frame is not None:
                server = connection.server
                self._run.network.send(self.node, server.endpoint, len(frame), server.deliver, connection, frame)
            else:
                self._close(connection)
                self._queue.at(self._queue.now, self.lose, connection)
        deadline = client.next_deadline()
        if deadline < self._armed[group]:
            self._armed[group] = deadline
            self._queue.at(self._profile.stopped_until(deadline), self._tick, self._life, group, deadline)

    def _tick(self, life: int, group: str, armed: float) -> None:
        if life != self._life or self._armed[group] != armed:
            return
        self._armed[group] = math.inf
        self.clients[group].tick(self._queue.now)
        self._pump(group)

    def _take(self, group: str, answer: _core.Answer) -> None:
        kind = answer.kind
        if kind == "joined" or kind == "rewound":
            if group == EVERYONE:
                self._start = (answer.clock, answer.state)
                self.clock = answer.clock
            self._joined.add(group)
            self._stop_program()
            if len(self._joined) == len(self.clients):
                self._begin_program()
        elif kind == "left":
            self._joined.discard(group)
            if not self._joined:
                self._finish()
        elif kind == "failed":
            raise failure(answer, f"worker {self.node} at {self._queue.now:.6g} s")
        elif self._program is not None:
            if kind == "clock" and group == EVERYONE:
                self.clock = answer.clock
                if self._trace is not None:
                    self._trace.clock(self.node, self._queue.now, answer.clock, answer.slowest)
            asked = self._program.take(group, answer)
            if asked is not None and self._trace is not None:
                self._trace.pull(self.node, self._queue.now, self._queue.now, asked, answer.slowest)

    def _finish(self) -> None:
        self.done = True
        self._run.worker_done()
        for connection in self._connections.values():
            self._close(connection)
        self._connections.clear()
        self.clients = {}
        self._life += 1

    def _begin_program(self) -> None:
        start_clock, saved = self._start
        self._era += 1
        self.observed.begin(start_clock)
        task = self._run.task(self, start_clock, saved, self._now)
        program = self._run.program(self.node, task)
        mailbox = self._run.mailbox
        self._program = ProgramRun(
            program,
            task,
            self.clients,
            self._send,
            self._run.observer(self.node),
            slots=mailbox.slots,
            on_full=mailbox.on_full,
            observed=self.observed,
            sparse=self._run.sparse_tables,
        )
        self._waiting_since = math.nan
        self._queue.at(self._queue.now, self._worked, self._era)

    def _stop_program(self) -> None:
        self._era += 1
        self._note_computed()
        if self._program is not None:
            self._program.close()
            self._run.keep_delays(self._program.pull_delays)
            self._program = None
        self._stop_waiting()

    def _send(self, command: Send) -> int:
        members = self._groups[command.group].members
        target = self._run.workers[members[command.peer]]
        sender = members.index(self.node)
        gone = self._queue.now
        for frame in self.clients[command.group].letter(command.value, command.keys, command.name):
            gone = self._run.network.send(
                self.node, target.node, len(frame), target.deliver_letter, target.life, command.group, sender, frame
            )
        if self._run.mailbox.on_full == "sum":
            self._queue.at(gone, self._way_is_free, self._era, command.group, command.peer)
        self._leaving = [time for time in self._leaving if time > self._queue.now]
        if gone > self._queue.now:
            self._leaving.append(gone)
        return len(self._leaving)

    def _way_is_free(self, era: int, group: str, peer: int) -> None:
        if era == self._era and self._program is not None:
            self._program.way_is_free(group, peer)

    def _now(self) -> float:
        """Return the time of this worker, including the work since the program went on last."""
        work = self.kernels.work.since(self._worked_before)
        return self._profile.finish(self._resumed_at, self._run.config.kernel_cost.seconds(work))

    def _worked(self, era: int) -> None:
        """Go on after a kernel."""
        if era == self._era:
            self._note_computed()
            self._waiting_since = math.nan
            self._go_on(after_work=True)

    def _wake(self, era: int) -> None:
        if era == self._era:
            self._go_on()

    def _go_on(self, after_work: bool = False) -> None:
        program = self._program
        if program is None or (not after_work and math.isnan(self._waiting_since)):
            return  # the program is still computing
        now = self._queue.now
        command, since = program.command, self._waiting_since
        self._resumed_at = now
        self._worked_before = self.kernels.work.copy()
        status = program.run(now)
        if command is not None and program.command is not command and not math.isnan(since):
            self._note_wait(command, since)
        if status is Status.WAITING:
            if program.command is not command or math.isnan(since):
                self._waiting_since = now
                if program.wake_at < math.inf:
                    self._queue.at(program.wake_at, self._wake, self._era)
        else:
            self._waiting_since = math.nan
            self._after(status, now)
        for group, client in self.clients.items():
            self._flush(group, client)

    def _after(self, status: Status, now: float) -> None:
        """Schedule the end of the program's work: the program then goes on, or the node leaves."""
        work = self.kernels.work.since(self._worked_before)
        end = self._profile.finish(now, self._run.config.kernel_cost.seconds(work))
        if work.calls:
            self._computing = (now, end, work)
        self._run.last_progress = max(self._run.last_progress, end)
        if status is Status.WORKED:
            self._queue.at(end, self._worked, self._era)
        else:
            self._queue.at(end, self._leave, self._era)

    def _leave(self, era: int) -> None:
        if era != self._era:
            return
        self._stop_program()
        for group, client in self.clients.items():
            client.leave(self._queue.now)
            self._flush(group, client)

    def _note_wait(self, command: Any, since: float) -> None:
        now = self._queue.now
        self.waited += now - since
        if self._trace is not None:
            self._trace.wait(self.node, since, now, type(command).__name__)

    def _note_computed(self) -> None:
        """Add the last kernel to the trace; if the program was stopped meanwhile, up to now."""
        if self._computing is not None and self._trace is not None:
            begin, end, work = self._computing
            self._trace.compute(self.node, begin, min(end, self._queue.now), work.entries, work.elements)
        self._computing = None

    def _stop_waiting(self) -> None:
        if not math.isnan(self._waiting_since):
            self.waited += self._queue.now - self._waiting_since
            self._waiting_since = math.nan
