"""A worker program over TCP: the loop that gives it its answers, and keeps count of what it does."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dsgd import _core
from dsgd.cluster.program.commands import EVERYONE, Command, Send
from dsgd.cluster.program.kernels import Kernels, Work
from dsgd.cluster.runtime.program_run import Observer, ProgramRun, Status, failure
from dsgd.cluster.runtime.replay import recorder_of_answers, start_of_life
from dsgd.cluster.runtime.run_spec import Plan
from dsgd.cluster.runtime.trace import Trace

__all__ = ["NetworkWorker", "Tally"]

_LOG = logging.getLogger("dsgd")
_PATIENCE = 1.0
_CHUNK_ROWS = 4096


@dataclass
class Tally:
    """What a worker has done so far.

    Attributes
    ----------
    clock : int
        Clocks finished.
    waited : float
        Seconds.
    delays : Counter of int
        Pulls by how many clocks the slowest worker was behind.
    samples, bytes_sent, bytes_received : int
    trace : Trace or None
        What was not looked at yet.
    """

    clock: int = 0
    waited: float = 0.0
    delays: Counter[int] = field(default_factory=Counter)
    samples: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    trace: Trace | None = None


class NetworkWorker:
    """One worker, from its first connection until it has left: a new life of its program after every rewind.

    Parameters
    ----------
    plan : Plan
    rank : int
    n_nodes : int
    kernels : Kernels
    client : _core.TcpClient
        Not started yet; stopped by whoever made it.
    speed : float
        Below 1: sleep after every kernel, so long that it took 1 / speed times its time.
    origin : float
        When the run began, by `time.monotonic`.
    notices : sequence of int
        Clocks, rising, at whose end `on_notice` is called.
    on_notice : callable
    traced : bool
        Keep what happened.
    record_answers : bool
        Keep what every command was answered, too.
    """

    def __init__(
        self,
        plan: Plan,
        rank: int,
        n_nodes: int,
        kernels: Kernels,
        client: _core.TcpClient,
        *,
        speed: float,
        origin: float,
        notices: Sequence[int],
        on_notice: Callable[[Tally], None],
        traced: bool,
        record_answers: bool,
    ) -> None:
        self.tally = Tally(trace=Trace({}) if traced else None)
        self._plan = plan
        self._rank = rank
        self._groups: Mapping[str, tuple[int, ...]] = {EVERYONE: tuple(range(n_nodes))}
        self._kernels = kernels
        self._client = client
        self._rest = 1 / speed - 1
        self._origin = origin
        self._notices = list(notices)
        self._on_notice = on_notice
        self._record_answers = record_answers
        self._program: ProgramRun | None = None
        self._status = Status.WAITING
        self._waiting_since = math.nan
        self._left = False
        self._early: list[_core.Answer] = []  # letters that came before this worker's own place in the run

    def run(self) -> Tally:
        """Work until the program has ended and the server knows it.

        Raises
        ------
        WorkerLostError, DeadlineError, AuthenticationError, ProtocolError, ConfigError
            As the client says.
        """
        self._client.start()
        while not self._left:
            for answer in self._client.wait(self._patience()):
                self._take(answer)
            if self._program is not None:
                self._go_on(self._program)
        return self.count()

    def count(self) -> Tally:
        """Return the tally, up to date."""
        tally = self.tally
        tally.samples = self._kernels.work.samples
        tally.bytes_sent, tally.bytes_received = self._client.bytes_sent, self._client.bytes_received
        return tally

    def _patience(self) -> float:
        """Return the seconds that the program can wait for answers."""
        if self._program is None:
            return _PATIENCE
        if self._status is Status.WORKED:
            return 0.0
        return min(max(self._program.wake_at - time.monotonic(), 0.0), _PATIENCE)

    def _now(self) -> float:
        return time.monotonic() - self._origin

    def _take(self, answer: _core.Answer) -> None:
        kind, tally = answer.kind, self.tally
        if kind in ("joined", "rewound"):
            _LOG.info("%s at clock %d", kind, answer.clock)
            tally.clock = answer.clock
            self._begin_program(answer.clock, answer.state)
        elif kind == "left":
            self._left = True
        elif kind == "failed":
            raise failure(answer, f"worker {self._rank}")
        elif self._program is None and kind == "letter":  # of a peer that joined before, and knows this one already
            self._early.append(answer)
        elif self._program is not None:
            asked = self._program.take(EVERYONE, answer)
            if kind == "clock":
                tally.clock = answer.clock
                if tally.trace is not None:
                    tally.trace.clock(self._rank, self._now(), answer.clock, answer.slowest)
                self._notice(answer.clock)
            elif asked is not None and tally.trace is not None:
                now = self._now()
                tally.trace.pull(self._rank, now, now, asked, answer.slowest)

    def _notice(self, clock: int) -> None:
        passed = [notice for notice in self._notices if notice <= clock]
        if passed:
            del self._notices[: len(passed)]
            self._on_notice(self.count())

    def _begin_program(self, start_clock: int, saved: bytes) -> None:
        self._end_program()
        task = self._plan.task(
            self._kernels,
            self._rank,
            start_clock=start_clock,
            saved=saved,
            now=self._now,
            chunk_rows=_CHUNK_ROWS,
            groups=self._groups,
        )
        mailbox = self._plan.algorithm.mailbox
        self._program = ProgramRun(
            self._plan.program(task),
            task,
            {EVERYONE: self._client},
            self._send,
            self._observer(start_clock, saved),
            slots=mailbox.slots,
            on_full=mailbox.on_full,
        )
        self._program.pull_delays = self.tally.delays
        for letter in self._early:
            self._program.take(EVERYONE, letter)
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

    def _send(self, command: Send) -> None:
        self._client.send(command.peer, command.value, command.keys, command.name)
        if self._plan.algorithm.mailbox.on_full == "sum" and self._program is not None:
            self._program.way_is_free(command.group, command.peer)  # the client has a queue of its own

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
            self._client.leave(time.monotonic())
        elif self._status is Status.WAITING and math.isnan(self._waiting_since):
            self._waiting_since = time.monotonic()

    def _note_wait(self, command: Command, end: float) -> None:
        if math.isnan(self._waiting_since):  # it had an answer at once
            return
        begin, self._waiting_since = self._waiting_since, math.nan
        self.tally.waited += end - begin
        if self.tally.trace is not None:
            name = type(command).__name__
            self.tally.trace.wait(self._rank, begin - self._origin, end - self._origin, name)

    def _note_work(self, work: Work, begin: float) -> None:
        """Take as long as a node of this speed would, and keep what it computed."""
        if self._rest > 0:
            time.sleep((time.monotonic() - begin) * self._rest)
        if self.tally.trace is not None:
            self.tally.trace.compute(self._rank, begin - self._origin, self._now(), work.entries, work.elements)
