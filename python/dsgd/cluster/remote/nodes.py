"""The nodes of a run as the driver asks them."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dsgd.cluster.driver.channel import ChannelMessage, error_of
from dsgd.cluster.remote.gate import Gate, Peer
from dsgd.cluster.remote.messages import content_of, send
from dsgd.errors import ClusterError, DeadlineError, WorkerLostError

__all__ = ["Nodes"]

_TICK = 0.25  # seconds between two looks at what the engine knows of its workers


class Nodes:
    """All nodes that have rows.

    Parameters
    ----------
    gate : Gate
    names : sequence of str
        What an error calls each node, by rank.
    check : callable, optional
        Called several times a second while nodes are waited for; an error that it raises ends the wait.
    revive : callable, optional
        Called with a rank whose node is gone, to start it again elsewhere. None: whoever started it starts it again.
    """

    def __init__(
        self,
        gate: Gate,
        names: Sequence[str],
        check: Callable[[], None] | None = None,
        revive: Callable[[int], None] | None = None,
    ) -> None:
        self.gate = gate
        self._names = list(names)
        self.check = check or (lambda: None)
        self._revive = revive
        self._peers: list[Peer | None] = [None] * len(names)

    def __len__(self) -> int:
        return len(self._peers)

    def name(self, rank: int) -> str:
        """Return what an error calls a node."""
        peer = self._peers[rank]
        return self._names[rank] + ("" if peer is None else f" at {peer.host}")

    def wait(self, deadline: float) -> None:
        """Wait until all nodes have dialled.

        Raises
        ------
        DeadlineError
            If they have not within `deadline` seconds. The message names those that are missing.
        """
        end = time.monotonic() + deadline
        for rank in range(len(self)):
            while self._peers[rank] is None:
                self.check()
                if self.gate.fatal is not None:
                    raise ClusterError(self.gate.fatal)
                self._peers[rank] = self.gate.wait_for("rows", rank, min(end, time.monotonic() + _TICK))
                if self._peers[rank] is None and time.monotonic() > end:
                    missing = [name for each, name in enumerate(self._names) if self.gate.peer("rows", each) is None]
                    host, port = self.gate.address
                    raise DeadlineError(
                        f"{', '.join(missing)} did not reach the driver at {host}:{port} within {deadline:g} s"
                        f"{self.gate.refused()}"
                    )

    def newer(self, rank: int) -> bool:
        """Take a node that has dialled again in the place of one that is gone; return whether there is one."""
        peer, old = self.gate.peer("rows", rank), self._peers[rank]
        if peer is None or peer is old or peer.channel.ended():
            return False
        self._peers[rank] = peer
        return True

    def alive(self, rank: int) -> bool:
        """Return whether the connection to a node stands."""
        peer = self._peers[rank]
        return peer is not None and not peer.channel.ended()

    def lose(self, rank: int) -> None:
        """Close the connection to a node that is lost, so that another one can take its place."""
        peer, self._peers[rank] = self._peers[rank], None
        if peer is not None:
            self.gate.release(peer)

    def give_up(self, rank: int) -> None:
        """Refuse a node that comes back although the run goes on without it."""
        why = f"the run goes on without {self._names[rank]}: restart_workers would allow it to come back"
        self.gate.refuse("rows", rank, why)

    def revive(self, rank: int) -> None:
        """Have a node started again."""
        self.lose(rank)
        if self._revive is not None:
            self._revive(rank)

    def ask(self, kind: str, told: Mapping[int, Sequence[Any]], deadline: float) -> dict[int, Any]:
        """Return the answers of some nodes.

        Parameters
        ----------
        kind : str
            One of the questions of `serve_node`.
        told : mapping of int to sequence
            By rank: the arguments of the question.
        deadline : float
            Seconds.

        Raises
        ------
        WorkerLostError
            If a node is gone. The message names it.
        DeadlineError
            If an answer has not come in time.
        Exception
            The error of a node, with its traceback as a note.
        """
        answers = self.ask_living(kind, told, deadline)
        for rank in told:
            if rank not in answers:
                raise WorkerLostError(f"{self.name(rank)} was lost while it was asked for its {kind}", worker=rank)
        return answers

    def ask_living(self, kind: str, told: Mapping[int, Sequence[Any]], deadline: float) -> dict[int, Any]:
        """Return the answers of those nodes that answer; as `ask`, but a lost node is left out."""
        for rank, content in told.items():
            self.tell(rank, kind, content, answers=True)
        waiting = {rank: peer for rank in told if (peer := self._peers[rank]) is not None and self.alive(rank)}
        answers, end = {}, time.monotonic() + deadline
        heard = dict.fromkeys(waiting, time.monotonic())
        while waiting:
            poll = select.poll()
            by_descriptor = {peer.channel.fileno(): rank for rank, peer in waiting.items()}
            if by_descriptor.pop(-1, None) is not None:  # another node has dialled in the place of one of these
                waiting = {rank: peer for rank, peer in waiting.items() if peer.channel.fileno() >= 0}
            for descriptor in by_descriptor:
                poll.register(descriptor, select.POLLIN)
            for descriptor, _ in poll.poll(1000 * _TICK):
                rank = by_descriptor[descriptor]
                try:
                    messages = waiting[rank].channel.arrived()
                except EOFError:
                    del waiting[rank]
                    continue
                heard[rank] = time.monotonic()
                for message in messages:
                    if message.kind != "alive":
                        answers[rank] = self._content(rank, message)
                        del waiting[rank]
            for rank in [rank for rank in waiting if time.monotonic() > heard[rank] + self.gate.silence]:
                del waiting[rank]
                self.lose(rank)
            self.check()
            if waiting and time.monotonic() > end:
                late = ", ".join(map(self.name, waiting))
                raise DeadlineError(f"{late} did not tell its {kind} within {deadline:g} s")
        return answers

    def tell(self, rank: int, kind: str, content: Sequence[Any], *, answers: bool = False) -> None:
        """Send a message to a node. No error if it is gone: whoever waits for it notices."""
        peer = self._peers[rank]
        if peer is not None:
            with contextlib.suppress(OSError):
                send(peer.channel, kind, tuple(content), answers=answers)

    def hear(self, rank: int) -> None:
        """Raise the error of a node that was told something and could not do it."""
        peer = self._peers[rank]
        if peer is not None and self.alive(rank):
            with contextlib.suppress(EOFError):
                for message in peer.channel.arrived():
                    if message.kind != "alive":
                        self._content(rank, message)

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """Tell all nodes at the end of the ``with`` block that this is the end, or how the run failed."""
        why = ""
        try:
            yield
        except BaseException as error:
            why = f"{type(error).__name__}: {error}"
            raise
        finally:
            for peer in self._peers:
                if peer is not None:
                    with contextlib.suppress(OSError):
                        peer.channel.send("end", why=why)
            self.gate.close()

    def _content(self, rank: int, message: ChannelMessage) -> Any:
        if message.kind == "error":
            raise error_of(self.name(rank), message)
        return content_of(message)
