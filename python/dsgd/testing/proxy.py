"""A bad network for tests: a TCP proxy that delays, cuts, resets, corrupts and repeats."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from dsgd._common.checks import Seed, as_seed, check_choice, check_integer
from dsgd.errors import ConfigError
from dsgd.testing.faulty_stream import ENDINGS, EVENTS, Event, FaultyStream, NetworkFaults

__all__ = ["Proxy"]

Direction = Literal["to_server", "to_client"]
Address = tuple[str, int]
Value = TypeVar("Value")

_DIRECTIONS: tuple[Direction, ...] = ("to_server", "to_client")
_SECONDS = 10.0  # seconds for which a call waits for the proxy's thread
_LINGER = 1.0  # seconds for which a connection may take to close
_NO_LINGER = struct.pack("ii", 1, 0)  # struct linger for 0 s: closing sends RST


class Proxy:
    """A TCP proxy between clients and servers, with the faults of a bad network.

    It runs in a thread of its own during the ``with`` block, and leaves no thread and no socket.
    Every method may be called from any thread. Bytes and ends of connections are passed on in both
    directions. If no server listens, the connection is reset.

    Parameters
    ----------
    to_server, to_client : NetworkFaults, optional
        Faults of each direction; by default none. Both may be set later, and then also hold for
        open connections.
    seed : int, default=0
        With the same seed, the n-th connection of a proxy has the same faults at the same bytes.
    host : str, default="127.0.0.1"
        Address to listen at.

    Attributes
    ----------
    counts : Counter of str
        Numbers so far of ``connections``, ``cut``, ``reset``, ``corrupt``, ``repeat``,
        ``repeat_frame``.

    Examples
    --------
    >>> from dsgd.testing import NetworkFaults, Proxy
    >>> with Proxy(to_server=NetworkFaults(cut_every=100_000)) as proxy:
    ...     cluster = dsgd.LocalCluster(workers=2, proxy=proxy)
    ...     result = dsgd.fit(X, y, algo="ssp", cluster=cluster)  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        to_server: NetworkFaults | None = None,
        to_client: NetworkFaults | None = None,
        seed: Seed = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._faults: dict[Direction, NetworkFaults] = {
            "to_server": to_server or NetworkFaults(),
            "to_client": to_client or NetworkFaults(),
        }
        self._seed = check_integer("seed", seed, 0) if isinstance(seed, int) else as_seed("seed", seed, 2**64 - 1)
        self._host = host
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._over = asyncio.Event()
        self._listeners: list[socket.socket] = []
        self._fronts: dict[Address, Address] = {}
        self._links: set[_Link] = set()

    def __enter__(self) -> Self:
        """Start the thread."""
        if self._thread is not None:
            raise ConfigError("a proxy is used once; make another")
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(ready)), name="dsgd-proxy", daemon=True)
        self._thread.start()
        ready.wait(_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all connections and the thread."""
        self.close()

    def close(self) -> None:
        """End all connections and the thread; a second call does nothing."""
        loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(self._over.set)
            self._thread.join(_SECONDS)

    def front(self, host: str, port: int) -> Address:
        """Return the address to which clients connect in place of a server; always the same.

        Parameters
        ----------
        host : str
        port : int
            Of the server, which need not listen yet.

        Returns
        -------
        tuple of (str, int)

        Raises
        ------
        ConfigError
            Outside of the ``with`` block.
        OSError
            If the address cannot be listened at.
        """
        return self._do(lambda: self._front((host, port)))

    def strike(self, event: Event, direction: Direction = "to_server", *, after: int = 0) -> int:
        """Make a fault happen once on every open connection.

        Parameters
        ----------
        event : {"cut", "reset", "corrupt", "repeat", "repeat_frame"}
            As in `NetworkFaults`.
        direction : {"to_server", "to_client"}, default="to_server"
            The direction whose bytes are changed, or counted for `after`.
        after : int, default=0
            Bytes of this direction that still pass unchanged. With 0 a cut or reset happens at
            once, any other fault at the next byte. ``"repeat_frame"`` always repeats the next
            frame.

        Returns
        -------
        int
            Number of these connections.
        """
        check_choice("event", event, EVENTS)
        check_choice("direction", direction, _DIRECTIONS)
        check_integer("after", after, 0)

        async def strike() -> int:
            links = list(self._links)
            for link in links:
                if event in ENDINGS and after == 0:
                    self.counts[event] += 1
                    link.end(event)
                else:
                    link.streams[direction].strike(event, after)
            return len(links)

        return self._do(strike)

    @property
    def to_server(self) -> NetworkFaults:
        """The faults of the bytes that clients send."""
        return self._faults["to_server"]

    @to_server.setter
    def to_server(self, faults: NetworkFaults) -> None:
        self._change("to_server", faults)

    @property
    def to_client(self) -> NetworkFaults:
        """The faults of the bytes that servers send."""
        return self._faults["to_client"]

    @to_client.setter
    def to_client(self, faults: NetworkFaults) -> None:
        self._change("to_client", faults)

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._links)

    def _change(self, direction: Direction, faults: NetworkFaults) -> None:
        async def change() -> None:
            self._faults[direction] = faults
            for link in self._links:
                link.streams[direction].faults = faults

        self._do(change)

    def _do(self, make: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """Run a coroutine in the thread of the proxy."""
        if self._loop is None:
            raise ConfigError("a proxy works in its with block only")
        return asyncio.run_coroutine_threadsafe(make(), self._loop).result(_SECONDS)

    async def _run(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        ready.set()
        await self._over.wait()
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        for link in self._links:
            link.end("cut")
        await asyncio.gather(*(link.task for link in self._links))
        await asyncio.sleep(0)  # aborted connections close in the next turn of the loop

    async def _front(self, target: Address) -> Address:
        if target not in self._fronts:
            listener = socket.create_server((self._host, 0))
            listener.setblocking(False)
            # Not a server of asyncio, which may lose connections that arrive while it is closed.
            asyncio.get_running_loop().add_reader(listener, self._accept, listener, target)
            self._listeners.append(listener)
            self._fronts[target] = listener.getsockname()[:2]
        return self._fronts[target]

    def _accept(self, listener: socket.socket, target: Address) -> None:
        try:
            peer, _ = listener.accept()
        except OSError:  # the client has gone already
            return
        number = self.counts["connections"]
        self.counts["connections"] += 1
        streams = {
            way: FaultyStream(self._faults[way], f"{self._seed} {number} {way}", self.counts) for way in _DIRECTIONS
        }
        link = _Link(target, peer, streams)
        self._links.add(link)
        link.task.add_done_callback(lambda _: self._links.discard(link))


class _Link:
    """A connection of a client, and the connection that passes its bytes on to the server."""

    def __init__(self, target: Address, peer: socket.socket, streams: dict[Direction, FaultyStream]) -> None:
        self.streams = streams
        self._peer = peer
        self._writers: list[asyncio.StreamWriter] = []
        self._how: Event = "cut"
        self._over = asyncio.Event()
        self.task = asyncio.create_task(self._live(target))

    def end(self, how: Event) -> None:
        """End both connections now."""
        if not self._over.is_set():
            self._how = how
            self._over.set()

    async def _live(self, target: Address) -> None:
        """Pass bytes on until both sides have ended, or one of `ENDINGS` comes."""
        passing = asyncio.create_task(self._pass_on(target))
        waiting = asyncio.create_task(self._over.wait())
        await asyncio.wait({passing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        passing.cancel()
        waiting.cancel()
        await asyncio.gather(passing, waiting, return_exceptions=True)
        await asyncio.gather(*(self._close(writer) for writer in self._writers))
        self._peer.close()  # needed if it was not used yet

    async def _pass_on(self, target: Address) -> None:
        try:
            here, to_client = await asyncio.open_connection(sock=self._peer)
            self._writers.append(to_client)
            there, to_server = await asyncio.open_connection(*target)
            self._writers.append(to_server)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(self.streams["to_server"], here, to_server))
                pumps.create_task(self._pump(self.streams["to_client"], there, to_client))
        except* OSError:
            self.end("reset")

    async def _pump(self, stream: FaultyStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(stream.most()):
            if pause := stream.pause(len(data)):
                await asyncio.sleep(pause)
            for piece in stream.passed(data):
                if isinstance(piece, str):
                    return self.end(piece)
                writer.write(piece)
            await writer.drain()
        return writer.write_eof()

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        if self._how == "reset":  # the peer gets RST, and what is on the way is lost
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            writer.transport.abort()
        writer.close()
        try:
            await asyncio.wait_for(writer.wait_closed(), _LINGER)
        except (OSError, TimeoutError):  # the peer takes no more bytes
            writer.transport.abort()
