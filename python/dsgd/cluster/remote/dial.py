"""How a node reaches the gate of a driver: it dials out, and tries again until it is let in."""

from __future__ import annotations

import logging
import random
import socket
import time
from typing import NamedTuple

from dsgd.cluster.driver.channel import Channel
from dsgd.cluster.remote.handshake import Certificates, enter
from dsgd.errors import AuthenticationError, ClusterError, ConfigError

__all__ = ["dial", "watch_silence"]

_LOG = logging.getLogger("dsgd")
_HANDSHAKE_SECONDS = 10.0
_PAUSES = (0.1, 2.0)  # seconds between two tries: the first pause, and the longest


class Dialled(NamedTuple):
    """A connection to a gate.

    Attributes
    ----------
    channel : Channel
    here : str
        The address of this host from which it was dialled.
    beat : float
        Seconds within which the driver wants to hear of this node.
    """

    channel: Channel
    here: str
    beat: float


def dial(
    address: tuple[str, int],
    role: str,
    number: int,
    token: bytes,
    *,
    tls: Certificates | None = None,
    patience: float = 60.0,
    silence: float = 30.0,
) -> Dialled:
    """Return a channel to the gate.

    Parameters
    ----------
    address : tuple (str, int)
        Host and port of the gate.
    role, number
        See `Peer`.
    token : bytes
    tls : Certificates, optional
    patience : float
        Seconds within which the gate must let this node in. Nobody may listen there yet.
    silence : float
        Seconds after which a connection over which nothing comes, not even the acknowledgements of the system, counts
        as cut.

    Raises
    ------
    AuthenticationError
        If the gate has another token. It is not tried again.
    ConfigError
        If the addresses of driver and node do not fit each other.
    ClusterError
        If the gate has not let this node in. The message names the address and the last refusal.
    """
    end, pause = time.monotonic() + patience, _PAUSES[0]
    while True:
        try:
            return _dial_once(address, role, number, token, tls, silence)
        except AuthenticationError as error:
            raise AuthenticationError(f"{address[0]}:{address[1]}: {error}") from error
        except (OSError, EOFError, ClusterError) as error:
            if time.monotonic() + pause > end:
                raise ClusterError(
                    f"{role} {number} was not let in at {address[0]}:{address[1]} within {patience:g} s: {error}"
                ) from error
            _LOG.debug("%s:%d: %s; tried again", *address, error)
        time.sleep(pause * random.uniform(0.5, 1.0))  # so that a thousand nodes do not come at once
        pause = min(2 * pause, _PAUSES[1])


def _dial_once(
    address: tuple[str, int], role: str, number: int, token: bytes, tls: Certificates | None, silence: float
) -> Dialled:
    connection = socket.create_connection(address, _HANDSHAKE_SECONDS)
    try:
        watch_silence(connection, silence)
        here = connection.getsockname()[0]
        channel = Channel(enter(connection, address[0], token, tls))
    except BaseException:
        connection.close()
        raise
    channel.send("hello", role=role, number=number, name=socket.gethostname(), address=here)
    answer = channel.receive(_HANDSHAKE_SECONDS)
    if answer.kind != "welcome":
        channel.close()
        raise (ConfigError if answer.kind == "never" else ClusterError)(answer.fields["why"])
    return Dialled(channel, here, float(answer.fields["beat"]))


def watch_silence(connection: socket.socket, seconds: float) -> None:
    """Let the system end a connection whose other side is gone without a word."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    every = max(1, int(seconds / 6))
    for name, value in (("TCP_KEEPIDLE", every), ("TCP_KEEPINTVL", every), ("TCP_KEEPCNT", 5)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # For what was sent and is not acknowledged. It also ends a connection whose other side is there and does not
        # read, as a driver during a long callback: that side gets more time.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * max(20 * seconds, 600.0)))
