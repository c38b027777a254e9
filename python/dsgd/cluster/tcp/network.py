"""Runs a worker program over TCP: a loop that passes it its answers and counts its work."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dsgd import _core
from dsgd.cluster.program.commands import EVERYONE, Command, Observe, Receive, Send, Wait
from dsgd.cluster.program.kernels import Kernels
from dsgd.cluster.program.work import Work
from dsgd.cluster.runtime.observed import Observation, Observed
from dsgd.cluster.runtime.program_run import Observer, ProgramRun, Status, failure
from dsgd.cluster.runtime.replay import recorder_of_answers, start_of_life
from dsgd.cluster.runtime.run_spec import Plan
from dsgd.cluster.runtime.trace import Trace
from dsgd.cluster.tcp.connections import Connections
from dsgd.errors import ClusterError

__all__ = ["NetworkWorker", "Tally"]

_LOG = logging.getLogger("dsgd")
# Longest wait for answers in one turn of the loop, in seconds.
_PATIENCE = 1.0
# A program that waits for letters in shared memory is not woken by them. The loop looks for them
# again after this part of the time that it has waited, within these bounds in seconds.
_LOOK_PART, _LOOK_BOUNDS = 1 / 8, (1e-4, 5e-3)
# Largest number of rows in the pieces of a long kernel (`WorkerTask.chunks`).
_CHUNK_ROWS = 4096


@dataclass
class Tally:
    """Counts of the work of a node so far.

    Attributes
    ----------
    clock : int
        Number of clocks that the node has finished.
    began : float
        When the node began, in seconds of `time.monotonic` of its host. Times in `trace` count from here.
    waited : float
        Seconds spent waiting for answers.
    delays : Counter of int
        Number of pulls by the number of clocks that the slowest worker was behind.
    samples : int
        Gradients of single samples that were evaluated.
    bytes_sent, bytes_received : int
    trace : Trace or None
        Events that nobody has taken by `Trace.drain` yet.
    observed : Observation or None
        What the program has observed last, if anything (command `Observe`).
    """

    clock: int = 0
    began: float = field(default_factory=time.monotonic)
    waited: float = 0.0
    delays: Counter[int] = field(default_factory=Counter)
    samples: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    trace: Trace | None = None
    observed: Observation | None = None


class NetworkWorker:
    """One node, from its first connection until it has left the servers.

    After every rewind (docs/server.md) its program begins a new life. A node that is in further
    groups then connects anew to the servers of all its groups, as a new process would: the clients of
    the other groups may have requests that belong to the former life.

    Parameters
    ----------
    plan : Plan
    rank : int
        In the group of all nodes.
    groups : mapping of str to tuple of int
        The groups of this node, see `WorkerTask`.
    kernels : Kernels
    connect : callable
        See `Connections`.
    speed : float
        At most 1. Below 1 the node sleeps after every kernel, so that kernel and sleep together
        take 1 / speed times the time of the kernel.
    notices : sequence of int
        Clocks after which `on_notice` is called, increasing.
    on_notice : callable
        Called with the `Tally` of the node.
    traced : bool
        Whether to keep a trace.
    record_answers : bool
        Whether to keep the answers of all commands in the trace.
    letters : _core.SharedMailbox, optional
        Mailboxes in memory that all nodes share; see `ProgramRun`.
    stopped : callable, optional
        Asked at least once a second; the node ends with `ClusterError` once it returns True.
    """

    def __init__(
        self,
        plan: Plan,
        rank: int,
        groups: Mapping[str, tuple[int, ...]],
        kernels: Kernels,
        connect: Callable[[str], _core.TcpClient],
        *,
        speed: float,
        notices: Sequence[int],
        on_notice: Callable[[Tally], None],
        traced: bool,
        record_answers: bool,
        letters: _core.SharedMailbox | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> None:
        self.tally = Tally(trace=Trace({}) if traced else None)
        self._plan = plan
        self._rank = rank
        self._groups = groups
        self._kernels = kernels
        self._connections = Connections(list(groups), connect)
        self._rest = 1 / speed - 1
        self._notices = list(notices)
        self._noticed = 0  # clock of the last look at them
        self._observed = Observed()
        self._on_notice = on_notice
        self._record_answers = record_answers
        self._letters = letters
        self._stopped = stopped or (lambda: False)
        # Whether letters may be there that came in an earlier life.
        self._clears = letters is not None and letters.life > 0
        self._program: ProgramRun | None = None
        self._status = Status.WAITING
        self._waiting_since = math.nan
        self._start = (0, b"")  # the clock and the state from which the program begins
        self._joined: set[str] = set()
        self._left: set[str] = set()
        # Messages that came before this node had joined all its groups.
        self._early: list[tuple[str, _core.Answer]] = []

    def run(self) -> Tally:
        """Run the program until it has ended and the servers have confirmed that the node left.

        Raises
        ------
        ClusterError
            If `stopped` says so.
        WorkerLostError, DeadlineError, AuthenticationError, ProtocolError, ConfigError
            The error that the client reports.
        """
        try:
            self._connections.start()
            while len(self._left) < len(self._groups):
                if self._stopped():
                    raise ClusterError(f"worker {self._rank} was told to stop")
                self._take_all(self._connections.wait(self._awaited_group(), self._patience()))
                if self._program is not None:
                    self._go_on(self._program)
            return self.count()
        finally:
            self._connections.stop()

    def count(self) -> Tally:
        """Return the tally, up to date."""
        tally = self.tally
        tally.samples = self._kernels.work.samples
        tally.bytes_sent, tally.bytes_received = self._connections.bytes_sent, self._connections.bytes_received
        tally.observed = self._observed.latest
        return tally

    def _awaited_group(self) -> str:
        """Return the group whose server the node waits for."""
        if self._program is None:
            missing = self._joined if len(self._joined) < len(self._groups) else self._left
            return next(group for group in self._groups if group not in missing)
        command = self._program.command
        awaited = command.ticket if isinstance(command, Wait) else command
        return EVERYONE if awaited is None or isinstance(awaited, Observe) else awaited.group

    def _patience(self) -> float:
        """Return how long the loop may wait for answers, in seconds."""
        if self._program is None:
            return _PATIENCE
        if self._status is Status.WORKED:
            return 0.0
        now, longest = time.monotonic(), _PATIENCE
        if self._letters is not None and isinstance(self._program.command, Receive):
            shortest, longest = _LOOK_BOUNDS
            longest = min(max((now - self._waiting_since) * _LOOK_PART, shortest), longest)
        return min(max(self._program.wake_at - now, 0.0), longest)

    def _now(self) -> float:
        return time.monotonic() - self.tally.began

    def _take_all(self, answers: Iterable[tuple[str, _core.Answer]]) -> None:
        for group, answer in answers:
            if answer.kind == "rewound" and len(self._groups) > 1:
                _LOG.info("rewound%s; all groups are joined anew", _in(group))
                self._start_again()
                return  # the other answers are of clients that are gone
            self._take(group, answer)

    def _start_again(self) -> None:
        self._end_program()
        self._joined.clear()
        self._left.clear()
        self._early.clear()
        self._connections.start_again()

    def _take(self, group: str, answer: _core.Answer) -> None:
        kind = answer.kind
        if kind in ("joined", "rewound"):
            self._join(group, answer)
        elif kind == "left":
            self._left.add(group)
        elif kind == "failed":
            raise failure(answer, f"worker {self._rank}{_in(group)}", self._groups[group])
        elif self._program is None and kind == "letter":  # from a peer that joined earlier
            self._early.append((group, answer))
        elif self._program is not None:
            self._take_reply(self._program, group, answer)

    def _join(self, group: str, answer: _core.Answer) -> None:
        _LOG.info("%s%s at clock %d", answer.kind, _in(group), answer.clock)
        if group == EVERYONE:
            self.tally.clock = answer.clock
            self._noticed = min(self._noticed, answer.clock)  # clocks that are done again are told again
            self._start = (answer.clock, answer.state)
        self._joined.add(group)
        if len(self._joined) == len(self._groups):
            self._begin_program(*self._start)

    def _take_reply(self, program: ProgramRun, group: str, answer: _core.Answer) -> None:
        tally, asked = self.tally, program.take(group, answer)
        if answer.kind == "clock" and group == EVERYONE:
            tally.clock = answer.clock
            if tally.trace is not None:
                tally.trace.clock(self._rank, self._now(), answer.clock, answer.slowest)
            self._notice(answer.clock)
        elif asked is not None and tally.trace is not None:
            now = self._now()
            tally.trace.pull(self._rank, now, now, asked, answer.slowest)

    def _notice(self, clock: int) -> None:
        if any(self._noticed < notice <= clock for notice in self._notices):
            self._on_notice(self.count())
        self._noticed = clock

    def _begin_program(self, start_clock: int, saved: bytes) -> None:
        self._end_program()
        self._observed.begin(start_clock)
        task = self._plan.task(
            self._kernels,
            self._rank,
            start_clock=start_clock,
            saved=saved,
            now=self._now,
            chunk_rows=_CHUNK_ROWS,
            groups=self._groups,
        )
        if self._letters is not None and self._clears:
            self._letters.clear()
        self._clears = True
        mailbox = self._plan.algorithm.mailbox
        self._program = ProgramRun(
            self._plan.program(task),
            task,
            self._connections.clients,
            self._send,
            self._observer(start_clock, saved),
            slots=mailbox.slots,
            on_full=mailbox.on_full,
            observed=self._observed,
            sparse=self._plan.sparse_tables,
            shared={} if self._letters is None else {EVERYONE: self._letters},
        )
        self._program.pull_delays = self.tally.delays
        for group, letter in self._early:
            self._program.take(group, letter)
        self._early.clear()
        self._status = Status.WORKED

    def _end_program(self) -> None:
        if self._program is not None:
            self._program.close()
            self._program = None
        self._waiting_since = math.nan

    def _observer(self, start_clock: int, saved: bytes) -> Observer | None:
        if self.tally.trace is None or not self._record_answers:
            return None
        self.tally.trace.answers.setdefault(self._rank, []).append(start_of_life(start_clock, saved))
        return recorder_of_answers(self.tally.trace, self._rank)

    def _send(self, command: Send) -> int:
        client = self._connections.clients[command.group]
        client.send(command.peer, command.value, command.keys, command.name)
        if self._plan.algorithm.mailbox.on_full == "sum" and self._program is not None:
            # At once: the client has a queue of its own for frames that cannot leave yet.
            self._program.way_is_free(command.group, command.peer)
        return 0  # the client does not count them

    def _go_on(self, program: ProgramRun) -> None:
        """Let the program run until it has computed something, waits or ends."""
        waited_for, begin = program.command, time.monotonic()
        before = self._kernels.work.copy()
        self._status = program.run(begin)
        if waited_for is not None and program.command is not waited_for:
            self._note_wait(waited_for, begin)
        work = self._kernels.work.since(before)
        if work.calls:
            self._note_work(work, begin)
        if self._status is Status.ENDED:
            self._end_program()
            for client in self._connections.clients.values():
                client.leave(time.monotonic())
        elif self._status is Status.WAITING and math.isnan(self._waiting_since):
            self._waiting_since = time.monotonic()

    def _note_wait(self, command: Command, end: float) -> None:
        if math.isnan(self._waiting_since):  # the command was answered at once
            return
        begin, self._waiting_since = self._waiting_since, math.nan
        self.tally.waited += end - begin
        if self.tally.trace is not None:
            name = type(command).__name__
            began = self.tally.began
            self.tally.trace.wait(self._rank, begin - began, end - began, name)

    def _note_work(self, work: Work, begin: float) -> None:
        """Sleep until as much time has passed as the speed demands; add the kernel to the trace."""
        if self._rest > 0:
            time.sleep((time.monotonic() - begin) * self._rest)
        if self.tally.trace is not None:
            self.tally.trace.compute(self._rank, begin - self.tally.began, self._now(), work.entries, work.elements)


def _in(group: str) -> str:
    """Return words that name a further group."""
    return "" if group == EVERYONE else f" in group {group!r}"
