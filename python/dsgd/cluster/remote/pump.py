"""A plain socket in front of a TLS one: channels poll and peek, which sockets with TLS cannot."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading

__all__ = ["plain"]

_AT_ONCE = 1 << 16


def plain(connection: socket.socket) -> socket.socket:
    """Return the socket itself, or if it has TLS the near end of a pair.

    A thread moves the bytes until one end closes.
    """
    if not isinstance(connection, ssl.SSLSocket):
        return connection
    near, far = socket.socketpair()
    threading.Thread(target=_pump, args=(far, connection), name="dsgd-tls", daemon=True).start()
    return near


def _pump(far: socket.socket, outer: ssl.SSLSocket) -> None:
    """Move bytes both ways. One thread does both: a TLS connection is not safe in two."""
    far.setblocking(False)
    outer.setblocking(False)
    ends: dict[socket.socket, socket.socket] = {far: outer, outer: far}
    waiting = {far: bytearray(), outer: bytearray()}  # by the end that they are written to
    with far, outer, contextlib.suppress(OSError):
        while True:
            poll = select.poll()
            for end, other in ends.items():
                reads = select.POLLIN if len(waiting[other]) < _AT_ONCE else 0
                poll.register(end, reads | (select.POLLOUT if waiting[end] else 0))
            if not outer.pending():
                poll.poll()
            for end, other in ends.items():
                if len(waiting[other]) < _AT_ONCE and _read(end, waiting[other]):
                    _flush(other, waiting[other])
                    return
                _flush(other, waiting[other])


def _read(end: socket.socket, into: bytearray) -> bool:
    """Read what has come; return whether the end is closed."""
    try:
        data = end.recv(_AT_ONCE)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return False
    into += data
    return not data


def _flush(end: socket.socket, data: bytearray) -> None:
    """Write what can be written."""
    while data:
        try:
            del data[: end.send(data)]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
