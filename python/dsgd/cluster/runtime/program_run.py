"""Runs a worker program: its commands become calls of the client state machines (docs/server.md).

`ProgramRun` does no I/O and reads no clock: a driver passes `now`, moves the frames of the clients,
and hands over their answers. The simulator and the TCP worker use this same class.
"""

from __future__ import annotations

import enum
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.checks import shown
from dsgd.cluster.program.commands import (
    EVERYONE,
    AllReduce,
    Clock,
    Clocks,
    Command,
    Message,
    Observe,
    Poll,
    Program,
    Pull,
    Push,
    Receive,
    Report,
    Send,
    Signal,
    Signals,
    Ticket,
    Wait,
)
from dsgd.cluster.program.task import WorkerTask
from dsgd.cluster.runtime.observed import Observed
from dsgd.errors import AuthenticationError, ConfigError, DeadlineError, DsgdError, ProtocolError, WorkerLostError

__all__ = ["Observer", "ProgramRun", "Status", "failure"]

Observer = Callable[[Command, Any], None]


_ERRORS: dict[str, type[DsgdError]] = {
    "authentication": AuthenticationError,
    "config": ConfigError,
    "deadline": DeadlineError,
    "worker_lost": WorkerLostError,
}


def failure(answer: _core.Answer, where: str, members: Sequence[int] | None = None) -> DsgdError:
    """Return the error for an answer of kind ``failed``; `where` names the worker, `members` the nodes of its group."""
    kind, message = _ERRORS.get(answer.name, ProtocolError), f"{where}: {answer.message}"
    if kind is WorkerLostError and members is not None:
        return WorkerLostError(message, worker=members[answer.worker])
    return kind(message)


class Status(enum.Enum):
    """Why `ProgramRun.run` has returned.

    WORKED: the program has computed something, and goes on when the driver's time for it is over.
    WAITING: the program waits for an answer, or until `wake_at`. ENDED: the program has returned.
    """

    WORKED = 1
    WAITING = 2
    ENDED = 3


class ProgramRun:
    """Runs one life of a program, each time until it computes something, has to wait, or ends.

    Parameters
    ----------
    program : generator
    task : WorkerTask
    clients : mapping of str to _core.Client
        One client for each group of the node. All of them have joined.
    send : callable
        Called with a `Send` to carry its array to the peer. Returns how many messages of this node then wait for its
        link.
    observer : callable, optional
        Called with every command and its answer, in the order of the program.
    slots : int, optional
        Number of slots of each mailbox; see `dsgd.algorithms.distributed.Mailbox`.
    on_full : {"overwrite", "sum"}
        What happens to a message whose slot is taken; see `Mailbox`. With ``"sum"`` the driver must
        call `way_is_free` when all frames that it was given for a peer have left.
    observed : Observed, optional
        Takes the vectors that the program observes, and is told when it finishes a clock.
    sparse : collection of str
        Names of the tables of which pulls and pushes must name keys; see `Table`.
    shared : mapping of str to _core.SharedMailbox, optional
        By group: mailboxes in memory that all members share, with the same `slots`. Messages that
        they have room for go through them instead of `send`. Only for ``on_full="overwrite"``.

    Attributes
    ----------
    command : Command or None
        The command whose answer the program waits for.
    wake_at : float
        Time at which a `Receive` with a deadline stops waiting, by the driver's clock in seconds.
    pull_delays : Counter of int
        Number of pulls by the number of clocks that the slowest worker was behind.
    """

    def __init__(
        self,
        program: Program,
        task: WorkerTask,
        clients: Mapping[str, _core.Client | _core.TcpClient],
        send: Callable[[Send], int],
        observer: Observer | None = None,
        *,
        slots: int | None = None,
        on_full: str = "overwrite",
        observed: Observed | None = None,
        sparse: Collection[str] = (),
        shared: Mapping[str, _core.SharedMailbox] | None = None,
    ) -> None:
        self.command: Command | None = None
        self.wake_at = math.inf
        self.pull_delays: Counter[int] = Counter()
        self._program = program
        self._task = task
        self._clients = clients
        self._send = send
        self._observer = observer
        self._slots = slots
        self._observed = Observed() if observed is None else observed
        self._sparse = sparse
        self._answer: Any = None
        self._calls = task.kernels.work.calls
        self._request: tuple[str, int] | None = None
        self._ready: dict[tuple[str, int], Any] = {}
        self._pulls: dict[tuple[str, int], int] = {}
        self._signals: dict[tuple[str, str], Signals] = {}
        self._mailboxes = {group: _core.Mailbox(slots=slots or 0, on_full=on_full) for group in clients}
        self._shared = shared or {}
        # By group: sums of messages that wait because earlier frames to the same peer have not
        # left. 2**31 slots are more than there are peers, so that every peer has its own.
        adds_up = on_full == "sum"
        self._outboxes = {group: _core.Mailbox(slots=2**31, on_full="sum") for group in clients if adds_up}
        # The pairs (group, peer) for which frames have not left yet.
        self._on_the_way: set[tuple[str, int]] = set()

    def run(self, now: float) -> Status:
        """Run the program until it has computed something, has to wait for an answer, or ends.

        Parameters
        ----------
        now : float
            Time of the driver, in seconds.
        """
        while True:
            if self.command is None:
                try:
                    # Records are checked for weights that are not finite.
                    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                        self.command = self._program.send(self._answer)
                except StopIteration:
                    self._empty_outboxes()
                    return Status.ENDED
                calls = self._task.kernels.work.calls
                if calls != self._calls:
                    self._calls = calls
                    return Status.WORKED
            if not self._issue(now, self.command):
                return Status.WAITING
            if self._observer is not None:
                self._observer(self.command, self._answer)
            self.command = None

    def take(self, group: str, answer: _core.Answer) -> int | None:
        """Keep an answer of a client until the program asks for it.

        Returns
        -------
        int or None
            If a pull was answered: the clock that it asked for. None for other answers.
        """
        kind = answer.kind
        if kind == "pull":
            key = (group, answer.request)
            clock = self._pulls.pop(key)
            self.pull_delays[max(clock - answer.slowest, 0)] += 1
            self._ready[key] = answer.values
            return clock
        if kind == "clock":
            self._ready[group, answer.request] = Clocks(answer.clock, answer.slowest, answer.fastest)
        elif kind == "all_reduce":
            self._ready[group, answer.request] = answer.values
        elif kind == "signal":
            self._signals[group, answer.name] = Signals(answer.count, answer.worker, answer.clock)
        elif kind == "letter" and answer.values is not None:
            self._mailboxes[group].put(answer.worker, answer.values, answer.keys, answer.name, answer.count)
        return None

    def way_is_free(self, group: str, peer: int) -> None:
        """Send the sum of the messages to a peer that had to wait for earlier frames to leave."""
        self._on_the_way.discard((group, peer))
        for _, values, keys, name, _ in self._outboxes[group].take(peer):
            self._dispatch(group, peer, values, keys, name)

    def close(self) -> None:
        """End the program at the command that it has reached."""
        self._program.close()

    def _empty_outboxes(self) -> None:
        for group, outbox in self._outboxes.items():
            for peer, values, keys, name, _ in outbox.drain():
                self._dispatch(group, peer, values, keys, name)

    def _issue(self, now: float, command: Command) -> bool:
        """Pass a command to its client, once; return whether the command has been answered."""
        handler = self._HANDLERS.get(type(command))
        if handler is None:
            raise ConfigError(
                f"a worker program yielded {shown(command)}, which is no command of dsgd.cluster.program.commands"
            )
        return handler(self, now, command)

    def _client(self, command: Any) -> _core.Client | _core.TcpClient:
        try:
            return self._clients[command.group]
        except KeyError:
            groups = ", ".join(sorted(self._clients))
            raise ConfigError(
                f"worker {self._task.rank} is not in group {command.group!r}; it is in: {groups}"
            ) from None

    def _await(self, group: str, request: int) -> bool:
        """Return whether a request has been answered; if not, the program waits for it."""
        key = (group, request)
        if key not in self._ready:
            self._request = key
            return False
        self._answer = self._ready.pop(key)
        self._request = None
        return True

    def _pull(self, now: float, command: Pull) -> bool:
        if self._request is not None:
            return self._await(*self._request)
        self._check_keys(command)
        request = self._client(command).pull(now, command.clock, command.table, command.keys)
        self._pulls[command.group, request] = command.clock
        if command.ahead:
            self._answer = Ticket(request, command.group)
            return True
        return self._await(command.group, request)

    def _check_keys(self, command: Pull | Push) -> None:
        """Refuse a pull or push of the whole of a sparse table."""
        if command.keys is None and command.table in self._sparse:
            raise ConfigError(
                f"worker {self._task.rank} gives a {type(command).__name__} of the whole table {command.table!r}, "
                "which is sparse: name its keys"
            )

    def _wait(self, now: float, command: Wait) -> bool:  # noqa: ARG002
        key = (command.ticket.group, command.ticket.number)
        if key not in self._pulls and key not in self._ready:
            raise ConfigError(f"{command.ticket} was waited for before, or given in an earlier life of the worker")
        return self._await(*key)

    def _push(self, now: float, command: Push) -> bool:
        self._check_keys(command)
        self._client(command).push(now, command.table, command.delta, command.keys, command.weight)
        self._answer = None
        return True

    def _clock(self, now: float, command: Clock) -> bool:
        if self._request is not None:
            return self._await(*self._request)
        request = self._client(command).clock(now, self._task.saved_state())
        if command.group == EVERYONE:
            self._observed.finish_clock()
        return self._await(command.group, request)

    def _all_reduce(self, now: float, command: AllReduce) -> bool:
        if self._request is not None:
            return self._await(*self._request)
        client = self._client(command)
        value = np.ascontiguousarray(command.value)
        request = client.all_reduce(now, value.reshape(-1), mean=command.mean, weight=command.weight)
        return self._await(command.group, request)

    def _letter(self, now: float, command: Send) -> bool:  # noqa: ARG002
        self._client(command)
        group, peer = command.group, command.peer
        members = self._task.groups[group]
        if not 0 <= peer < len(members):
            raise ConfigError(f"worker {self._task.rank} sends to rank {peer} of {len(members)} in group {group!r}")
        shared = self._shared.get(group)
        there = shared is not None and shared.put(peer, command.value, command.keys, command.name)
        self._answer = 0
        if not there and (group, peer) in self._on_the_way:
            self._outboxes[group].put(peer, command.value, command.keys, command.name)
        elif not there:
            self._answer = self._dispatch(group, peer, command.value, command.keys, command.name)
        return True

    def _dispatch(self, group: str, peer: int, values: NDArray[Any], keys: NDArray[Any] | None, name: str) -> int:
        if group in self._outboxes:
            self._on_the_way.add((group, peer))
        return self._send(Send(peer, values, keys, name, group=group))

    def _receive(self, now: float, command: Receive) -> bool:
        self._client(command)
        mailbox = self._mailboxes[command.group]
        if command.group in self._shared:
            self._shared[command.group].drain_to(mailbox)
        if not mailbox.empty or not command.wait or now >= self.wake_at:
            self._answer = [Message(*letter) for letter in mailbox.drain()]
            self.wake_at = math.inf
            return True
        if command.deadline is not None and self.wake_at == math.inf:
            self.wake_at = now + command.deadline
        return False

    def _signal(self, now: float, command: Signal) -> bool:
        self._client(command).signal(now, command.name)
        self._answer = None
        return True

    def _poll(self, now: float, command: Poll) -> bool:  # noqa: ARG002
        self._client(command)
        self._answer = self._signals.get((command.group, command.name), Signals())
        return True

    def _report(self, now: float, command: Report) -> bool:
        self._client(command).report(now, json.dumps(command.metrics).encode())
        self._answer = None
        return True

    def _observe(self, now: float, command: Observe) -> bool:  # noqa: ARG002
        if not math.isfinite(command.log_weight):
            raise ConfigError(
                f"worker {self._task.rank} observes with log_weight={command.log_weight}; it must be finite"
            )
        if np.shape(command.value) != (self._task.n_parameters,):
            raise ConfigError(
                f"worker {self._task.rank} observes an array of shape {np.shape(command.value)}; the model has "
                f"{self._task.n_parameters} parameters"
            )
        self._observed.take(command.value, command.log_weight, {**command.counts, **self._mail_counts()})
        self._answer = None
        return True

    def _mail_counts(self) -> dict[str, float]:
        """Return how many letters in slots were overwritten, and how many of them while they were read."""
        if not self._slots:
            return {}
        boxes, shared = self._mailboxes.values(), self._shared.values()
        overwritten = sum(box.overwritten for box in boxes) + sum(box.overwritten for box in shared)
        return {"overwritten": overwritten, "torn": sum(box.torn for box in shared)}

    _HANDLERS: dict[type, Callable[[ProgramRun, float, Any], bool]] = {  # noqa: RUF012
        Pull: _pull,
        Wait: _wait,
        Push: _push,
        Clock: _clock,
        AllReduce: _all_reduce,
        Send: _letter,
        Receive: _receive,
        Signal: _signal,
        Poll: _poll,
        Report: _report,
        Observe: _observe,
    }
