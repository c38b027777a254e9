"""The gate of a driver: one port to which all nodes dial out, and behind which the parameter server may listen too."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from dsgd.cluster.driver.channel import Channel
from dsgd.cluster.remote.dial import watch_silence
from dsgd.cluster.remote.handshake import PREFACE, Certificates, admit
from dsgd.cluster.tcp.connections import ALL_ADDRESSES, advertised
from dsgd.errors import ClusterError, ConfigError, DsgdError

__all__ = ["Gate", "Peer"]

_LOG = logging.getLogger("dsgd")
_HANDSHAKE_SECONDS = 10.0
# Connections that have not proved anything yet.
_HALF_OPEN = 128


@dataclass(frozen=True, eq=False)
class Peer:
    """A connection that has proved that it belongs to the run.

    Attributes
    ----------
    role : str
        ``"rows"``: answers questions about the rows of a node. Others are those of orders to workers and servers.
    number : int
        The rank of a node, or the number of a shard.
    channel : Channel
    about : dict
        What the peer says of itself.
    """

    role: str
    number: int
    channel: Channel
    about: dict[str, str]

    @property
    def host(self) -> str:
        """The name and address of the peer's host, in words."""
        return f"{self.about.get('name', 'a host')} ({self.about.get('address', '?')})"


class Gate:
    """Listens at one port, and keeps the newest peer of every role and number.

    Parameters
    ----------
    token : bytes
    bind : str
        Numeric address of this host to listen at.
    port : int or tuple of int
        The port, or the first and the last one of a range; 0 is any free one.
    advertise : str, optional
        Address that nodes dial, if it is another one than `bind`.
    tls : Certificates, optional
    silence : float
        Seconds after which a peer of which nothing is heard counts as gone.
    n_nodes : int, optional
        How many nodes there will be. Those with other ranks are refused.

    Attributes
    ----------
    address : tuple of (str, int)
        Host and port that nodes dial; no host (``""``) if it is the one that each node has dialled.
    adopt : callable or None
        Takes the descriptor of a connection to the parameter server that came to this port.

    Raises
    ------
    ClusterError
        If no port can be listened at. The message names it.
    """

    def __init__(
        self,
        token: bytes,
        bind: str = "127.0.0.1",
        port: int | tuple[int, int] = 0,
        advertise: str | None = None,
        tls: Certificates | None = None,
        silence: float = 30.0,
        n_nodes: int | None = None,
    ) -> None:
        self.silence, self._n_nodes = silence, n_nodes
        self.bind, self.tls, self.token = bind, tls, token
        host = "" if advertise is None and bind in ALL_ADDRESSES else advertised(bind, advertise)
        self._listener = _listen(bind, port)
        self.address = (host, self._listener.getsockname()[1])
        self.adopt: Callable[[int], None] | None = None
        self._peers: dict[tuple[str, int], Peer] = {}
        self._given_up: dict[tuple[str, int], str] = {}
        self._changed = threading.Condition()
        self._half_open = threading.Semaphore(_HALF_OPEN)
        self._closed = False
        self.fatal: str | None = None  # why no run can begin
        self._faults: list[str] = []
        threading.Thread(target=self._accept, name="dsgd-gate", daemon=True).start()

    def peer(self, role: str, number: int) -> Peer | None:
        """Return the newest peer; None if there is none."""
        with self._changed:
            return self._peers.get((role, number))

    def wait_for(self, role: str, number: int, deadline: float) -> Peer | None:
        """Return the peer, or None if it has not come when `deadline` (of `time.monotonic`) has passed."""
        with self._changed:
            ready = lambda: (role, number) in self._peers or self._closed  # noqa: E731
            self._changed.wait_for(ready, max(0.0, deadline - time.monotonic()))
            return self._peers.get((role, number))

    def release(self, peer: Peer) -> None:
        """Close a peer, and let another one take its place."""
        with self._changed:
            if self._peers.get((peer.role, peer.number)) is peer:
                del self._peers[peer.role, peer.number]
        peer.channel.close()

    def refuse(self, role: str, number: int, why: str) -> None:
        """Refuse this peer for good, if it comes."""
        with self._changed:
            self._given_up[role, number] = why

    def refused(self) -> str:
        """Return in words why peers were refused, for the error of whoever waits for them in vain."""
        with self._changed:
            return "".join(f"; refused: {fault}" for fault in dict.fromkeys(self._faults[-3:]))

    def close(self) -> None:
        """Close the port and all peers."""
        with self._changed:
            self._closed = True
            peers, self._peers = list(self._peers.values()), {}
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in peers:
            peer.channel.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, address = self._listener.accept()
            except OSError:
                time.sleep(0.05)  # closed, or no descriptors are left: wait for others to close
                continue
            if not self._half_open.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._receive, args=(connection, address[0]), daemon=True).start()

    def _receive(self, connection: socket.socket, host: str) -> None:
        try:
            connection.settimeout(_HANDSHAKE_SECONDS)
            if not _begins_with_preface(connection):
                if self.adopt is None:
                    connection.close()
                else:
                    connection.setblocking(True)
                    self.adopt(connection.detach())
                return
            watch_silence(connection, self.silence)
            channel = Channel(admit(connection, self.token, self.tls))
            self._seat(channel, channel.receive(_HANDSHAKE_SECONDS).fields)
        except (OSError, EOFError, KeyError, TypeError, ValueError, DsgdError) as error:
            _LOG.warning("a peer at %s was refused: %s", host, error)
            with self._changed:
                self._faults.append(f"{host}: {error}")
            connection.close()
        finally:
            self._half_open.release()

    def _seat(self, channel: Channel, hello: dict[str, str]) -> None:
        """Give a peer its place, unless a living one has it."""
        role, number = hello["role"], int(hello["number"])
        if why := self._never(role, number, hello["address"]):
            channel.send("never", why=why)
            channel.close()
            return
        peer = Peer(role, number, channel, hello)
        with self._changed:
            old = self._peers.get((role, number))
            taken = self._closed or (old is not None and not old.channel.ended())
            if not taken:
                channel.send("welcome", beat=self.silence / 4)  # before anyone else sends something
                self._peers[role, number] = peer
                self._changed.notify_all()
        if taken:
            why = "the run has ended" if old is None else f"{role} {number} is there already, at {old.host}"
            channel.send("refused", why=why)
            channel.close()
            return
        if old is not None:
            old.channel.close()

    def _never(self, role: str, number: int, address: str) -> str:
        """Return why this peer will never be let in; empty if it may be."""
        if _is_loopback(self.address[0]) and not _is_loopback(address):
            self.fatal = (
                f"the driver is to be reached at {self.address[0]}, which is this host itself for the {role} at "
                f"{address}: let the driver advertise an address that all hosts reach"
            )
            return self.fatal
        n = self._n_nodes
        if role == "rows" and n is not None and not 0 <= number < n:
            return f"the driver waits for {n} workers, of ranks 0 to {n - 1}, and not for one of rank {number}"
        with self._changed:
            return self._given_up.get((role, number), "")


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") or host in ("::1", "localhost")


def _listen(bind: str, port: int | tuple[int, int]) -> socket.socket:
    """Return a socket that listens; of a range at its first free port."""
    first, last = port if isinstance(port, tuple) else (port, port)
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    for number in range(first, last + 1):
        listener = socket.socket(family)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((bind, number))
            listener.listen(socket.SOMAXCONN)
        except OSError as error:
            listener.close()
            if isinstance(error, socket.gaierror):
                raise ConfigError(f"{bind!r} is no numeric address to listen at; try 127.0.0.1") from error
            if number == last:
                ports = f"port {first}" if first == last else f"the ports {first} to {last}"
                raise ClusterError(
                    f"cannot listen at {bind}, {ports}: {error.strerror or error}; name another port, or 0 for any"
                ) from error
        else:
            return listener
    raise ConfigError(f"port range ({first}, {last}) is empty; name the first and the last port")


def _begins_with_preface(connection: socket.socket) -> bool:
    """Return whether a node dials; the bytes stay in the socket."""
    end, poll = time.monotonic() + _HANDSHAKE_SECONDS, select.poll()
    poll.register(connection, select.POLLIN)
    begin = b""
    while len(begin) < len(PREFACE) and PREFACE.startswith(begin):
        if not poll.poll(1000 * max(end - time.monotonic(), 0)):
            raise TimeoutError("it said nothing")
        more = connection.recv(len(PREFACE), socket.MSG_PEEK)
        if not more:
            raise EOFError("it left at once")
        if more == begin:
            if time.monotonic() > end:
                raise TimeoutError("it did not say more")
            time.sleep(0.01)
        begin = more
    return begin == PREFACE
