"""Messages between a process of a run and its driver: JSON and arrays over a socket.

The traffic of the algorithm goes over TCP. A channel carries the orders of the parent and the
reports of the process. When a process ends its end of the channel is closed: reading from the other
end then raises `EOFError`, and this is how the parent notices.
"""

from __future__ import annotations

import json
import logging
import math
import select
import socket
import time
import traceback
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import dsgd.errors
from dsgd.errors import ClusterError, DeadlineError, DsgdError, ProtocolError, WorkerLostError

_LOG = logging.getLogger("dsgd")

__all__ = ["Channel", "ChannelMessage", "error_of"]

# Bytes of a length in front of a message or of its JSON, little-endian.
_LENGTH = 8
# Largest number of bytes that are read from the socket at once.
_AT_ONCE = 1 << 20


class ChannelMessage(NamedTuple):
    """A message: its kind, its fields, which JSON can hold, and its arrays."""

    kind: str
    fields: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class Channel:
    """One end of a socket pair.

    Parameters
    ----------
    connection : socket.socket
        The channel takes it over, and closes it in `close`.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(True)  # with a timeout, `recv` would wait in spite of MSG_DONTWAIT
        self._socket = connection
        self._arrived = bytearray()
        self._whole: deque[ChannelMessage] = deque()

    def fileno(self) -> int:
        """Return the descriptor of the socket, for selectors."""
        return self._socket.fileno()

    def send_error(self, error: BaseException) -> None:
        """Send the class, the text and the traceback of an error, and the number of a worker that it says is lost."""
        text, worker = "".join(traceback.format_exception(error)), getattr(error, "worker", None)
        self.send("error", error=type(error).__name__, message=str(error), traceback=text, worker=worker)

    def ended(self) -> bool:
        """Return whether the other end is closed and nothing is left to read, without reading."""
        try:
            return self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def send(self, kind: str, arrays: Mapping[str, NDArray[Any]] | None = None, **fields: Any) -> None:
        """Send a message; wait while the other end is slow to read.

        Raises
        ------
        OSError
            If the other end is closed.
        """
        contents = {name: np.asarray(array, order="C") for name, array in (arrays or {}).items()}
        about = [[name, array.dtype.str, array.shape] for name, array in contents.items()]
        text = json.dumps([kind, fields, about]).encode()
        size = _LENGTH + len(text) + sum(array.nbytes for array in contents.values())
        head = size.to_bytes(_LENGTH, "little") + len(text).to_bytes(_LENGTH, "little")
        self._socket.sendall(head + text)
        for array in contents.values():
            if array.nbytes:
                self._socket.sendall(array.reshape(-1).view(np.uint8).data)

    def arrived(self) -> list[ChannelMessage]:
        """Return the messages that have arrived, without waiting.

        Raises
        ------
        EOFError
            If there is none and the other end is closed.
        """
        ended = self._read()
        messages = list(self._whole)
        self._whole.clear()
        if ended and not messages:
            raise EOFError("the other end of the channel is closed")
        return messages

    def receive(self, seconds: float | None) -> ChannelMessage:
        """Wait for the next message.

        Parameters
        ----------
        seconds : float or None
            Longest wait. None: no limit.

        Raises
        ------
        DeadlineError
            If no message comes in time.
        EOFError
            If the other end is closed.
        """
        end = None if seconds is None else time.monotonic() + seconds
        arrivals = select.poll()  # unlike `select.select`, also for descriptors above 1023
        arrivals.register(self, select.POLLIN)
        while not self._whole:
            left = None if end is None else 1000 * max(end - time.monotonic(), 0)
            if not arrivals.poll(left):
                raise DeadlineError(f"no message came within {seconds:g} s")
            if self._read() and not self._whole:
                raise EOFError("the other end of the channel is closed")
        return self._whole.popleft()

    def _read(self) -> bool:
        """Read the bytes that have arrived; return whether the other end is closed."""
        while True:
            try:
                data = self._socket.recv(_AT_ONCE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:  # reset, or cut off for too long
                data = b""
            if not data:
                self._cut()
                return True
            self._arrived += data
        self._cut()
        return False

    def _cut(self) -> None:
        """Take the complete messages out of the bytes that have arrived."""
        begin = 0
        while len(self._arrived) >= begin + _LENGTH:
            size = int.from_bytes(self._arrived[begin : begin + _LENGTH], "little")
            if len(self._arrived) < begin + _LENGTH + size:
                break
            self._whole.append(_decoded(bytes(self._arrived[begin + _LENGTH : begin + _LENGTH + size])))
            begin += _LENGTH + size
        del self._arrived[:begin]


def _decoded(data: bytes) -> ChannelMessage:
    """Return the message of some bytes; `ProtocolError` if they are none."""
    try:
        return _message_of(data)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise ProtocolError(f"{len(data)} bytes that are no message came over a channel: {error}") from error


def _message_of(data: bytes) -> ChannelMessage:
    end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    kind, fields, about = json.loads(data[_LENGTH:end])
    arrays = {}
    for name, text, shape in about:
        dtype = np.dtype(text)
        count = math.prod(shape)
        if dtype.hasobject or count < 0 or end + count * dtype.itemsize > len(data):
            raise ValueError(f"an array of shape {shape} and type {text} is not in it")
        # Kernels take aligned arrays only; behind the JSON they lie anywhere.
        arrays[name] = np.require(np.frombuffer(data, dtype, count, end).reshape(shape), requirements="A")
        end += count * dtype.itemsize
    if not isinstance(kind, str) or not isinstance(fields, dict):
        raise TypeError("its kind or its fields are of another type")
    return ChannelMessage(kind, fields, arrays)


def error_of(name: str, message: ChannelMessage) -> DsgdError:
    """Return the error that ended a process: of its own class if that is one of dsgd's."""
    told = message.fields
    _LOG.error("%s failed:\n%s", name, told["traceback"])
    kind = getattr(dsgd.errors, told["error"], None)
    if kind is WorkerLostError:
        error: DsgdError = WorkerLostError(told["message"], worker=told["worker"])
    elif isinstance(kind, type) and issubclass(kind, DsgdError):
        error = kind(told["message"])
    else:
        error = ClusterError(f"{name}: {told['error']}: {told['message']}")
    error.add_note(f"in {name}:\n{told['traceback']}")
    return error
