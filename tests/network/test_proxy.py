"""The proxy does to a connection what it is told, and nothing else."""

from __future__ import annotations

import contextlib
import gc
import math
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from leftovers import left_since, leftovers

from dsgd.errors import ConfigError
from dsgd.testing import NetworkFaults, Proxy
from dsgd.testing.faulty_stream import FaultyStream

TEXT = bytes(range(256)) * 400
SECONDS = 10.0


@pytest.fixture(autouse=True)
def _clean_end() -> Iterator[None]:
    before = leftovers(), threading.active_count()
    yield
    gc.collect()
    assert (left_since(before[0]), threading.active_count()) == (set(), before[1])


class Echo:
    """A server that sends back what it gets, to several clients."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(peer,)))
            self._threads[-1].start()

    def _serve(self, peer: socket.socket) -> None:
        with peer:
            peer.settimeout(SECONDS)
            try:
                while data := peer.recv(4096):
                    peer.sendall(data)
            except OSError:
                pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(SECONDS)


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


def client(proxy: Proxy, echo: Echo) -> socket.socket:
    return socket.create_connection(proxy.front(*echo.address), SECONDS)


def exchange(connection: socket.socket, text: bytes) -> bytes:
    """Send a text and its end; return what comes back until the other side's end."""

    def send() -> None:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    received = b""
    while data := connection.recv(65536):
        received += data
    sender.join(SECONDS)
    return received


def streamed(faults: NetworkFaults, data: bytes, pieces: int = 1, seed: str = "0") -> tuple[bytes, list[str], Any]:
    """Return what a stream makes of data that come in so many pieces, with what ended it."""
    counts: Counter[str] = Counter()
    stream = FaultyStream(faults, seed, counts)
    out = b""
    size = -(-len(data) // pieces)
    for k in range(pieces):
        for piece in stream.passed(data[k * size : (k + 1) * size]):
            if isinstance(piece, str):
                return out, [piece], counts
            out += piece
    return out, [], counts


def frame(payload: bytes) -> bytes:
    return b"DSGD" + bytes(16) + len(payload).to_bytes(4, "little") + bytes(8) + payload


FRAMES = [frame(bytes([k]) * size) for k, size in enumerate((0, 5, 100, 3000, 1))]


@pytest.mark.parametrize(
    "faults",
    [
        NetworkFaults(),
        NetworkFaults(corrupt_every=500),
        NetworkFaults(repeat_every=500),
        NetworkFaults(cut_every=1e4),
        NetworkFaults(repeat_frames=0.5),
        NetworkFaults(corrupt_every=300, repeat_every=300, reset_every=1e4, repeat_frames=0.2),
    ],
)
def test_what_happens_does_not_depend_on_the_pieces_in_which_bytes_arrive(faults: NetworkFaults) -> None:
    data = b"".join(FRAMES * 10)
    whole = streamed(faults, data)
    for pieces in (2, 7, 1000):
        assert streamed(faults, data, pieces)[:2] == whole[:2]
    harmless = faults == NetworkFaults()
    assert (whole[0] == data) == harmless
    assert (streamed(faults, data, seed="1") == whole) == harmless


def test_faults_are_as_frequent_as_asked_for() -> None:
    data = bytes(1_000_000)
    out, _, counts = streamed(NetworkFaults(corrupt_every=1000, repeat_every=2000), data, 50)
    assert 850 < counts["corrupt"] < 1150  # 1,000 +- 4.7 standard deviations
    assert 400 < counts["repeat"] < 600  # 500 +- 4.5
    assert sum(byte != 0 for byte in out) >= counts["corrupt"]
    assert len(data) + counts["repeat"] <= len(out) <= len(data) + 64 * counts["repeat"]
    lengths = [len(streamed(NetworkFaults(cut_every=1000), data, seed=str(k))[0]) for k in range(400)]
    assert 800 < sum(lengths) / 400 < 1200  # 1,000 +- 4 standard deviations


def test_frames_are_repeated_whole() -> None:
    out, _, counts = streamed(NetworkFaults(repeat_frames=1.0), b"".join(FRAMES), 50)
    assert out == b"".join(each * 2 for each in FRAMES)
    assert counts["repeat_frame"] == len(FRAMES)
    assert streamed(NetworkFaults(repeat_frames=1.0), TEXT)[0] == TEXT  # no frames


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"delay": -1.0}, "delay must be"),
        ({"delay": math.inf}, "delay must be"),
        ({"bytes_per_second": 0}, "bytes_per_second must be"),
        ({"cut_every": 0}, "cut_every must be"),
        ({"reset_every": -1}, "reset_every must be"),
        ({"corrupt_every": "x"}, "corrupt_every must be"),
        ({"repeat_every": math.nan}, "repeat_every must be"),
        ({"repeat_frames": 1.5}, "repeat_frames must be"),
    ],
)
def test_impossible_faults_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NetworkFaults(**wrong)


def test_without_faults_everything_passes_with_its_end(echo: Echo) -> None:
    with Proxy() as proxy, client(proxy, echo) as connection, client(proxy, echo) as other:
        assert exchange(connection, TEXT) == TEXT
        other.sendall(b"still open")
        assert other.recv(100) == b"still open"
        assert proxy.counts == {"connections": 2}
        assert proxy.front(*echo.address) == proxy.front(*echo.address)


def test_delays_and_throttles_change_nothing_but_the_time(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    pause = FaultyStream.pause

    def watched(stream: FaultyStream, n_bytes: int) -> float:
        slept.append(pause(stream, n_bytes))
        return slept[-1] / 100

    monkeypatch.setattr(FaultyStream, "pause", watched)
    with Proxy(to_server=NetworkFaults(delay=0.5)) as proxy, client(proxy, echo) as connection:
        assert exchange(connection, TEXT[:5000]) == TEXT[:5000]
        assert 0 < max(slept) <= 0.5
    slept.clear()
    with Proxy(to_client=NetworkFaults(bytes_per_second=10_000)) as proxy, client(proxy, echo) as connection:
        assert exchange(connection, TEXT[:5000]) == TEXT[:5000]
        assert sum(slept) == pytest.approx(0.5)
        assert max(slept) <= 0.05


@pytest.mark.parametrize("direction", ["to_server", "to_client"])
@pytest.mark.parametrize("event", ["cut", "reset"])
@pytest.mark.parametrize("after", [0, 1000])
def test_connections_are_cut_and_reset_on_command(echo: Echo, event: Any, direction: Any, after: int) -> None:
    with Proxy() as proxy, client(proxy, echo) as connection:
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
        assert proxy.strike(event, direction, after=after) == 1
        received = b""
        ended = "cut"
        try:
            if after:
                connection.sendall(TEXT[:5000])
            while data := connection.recv(65536):
                received += data
        except ConnectionError:
            ended = "reset"
        assert TEXT.startswith(received)
        assert len(received) <= after
        assert proxy.counts[event] == 1
        if after == 0:
            assert ended == event  # later there may be unread bytes, which turn an end into a reset
        with client(proxy, echo) as another:
            assert exchange(another, TEXT) == TEXT


def test_one_bit_or_one_stretch_is_changed_on_command(echo: Echo) -> None:
    with Proxy() as proxy, client(proxy, echo) as connection:
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
        proxy.strike("corrupt", after=1000)
        proxy.strike("repeat", "to_client", after=2000)
        received = exchange(connection, TEXT)
        assert 1 <= len(received) - len(TEXT) <= 64
        assert received[:1000] == TEXT[:1000]
        assert (received[1000] ^ TEXT[1000]).bit_count() == 1
        assert received[1001:2000] == TEXT[1001:2000]
        assert received[len(received) - len(TEXT) + 2000 :] == TEXT[2000:]


def test_the_next_frame_is_repeated_on_command(echo: Echo) -> None:
    with Proxy() as proxy, client(proxy, echo) as connection:
        connection.sendall(FRAMES[1])
        assert connection.recv(100) == FRAMES[1]
        proxy.strike("repeat_frame")
        assert exchange(connection, FRAMES[2] + FRAMES[3]) == FRAMES[2] * 2 + FRAMES[3]


def test_faults_may_be_changed_under_way(echo: Echo) -> None:
    with Proxy() as proxy, client(proxy, echo) as connection:
        connection.sendall(TEXT[:100])
        assert connection.recv(100, socket.MSG_WAITALL) == TEXT[:100]
        proxy.to_client = NetworkFaults(corrupt_every=50)
        assert proxy.to_client.corrupt_every == 50
        assert proxy.to_server == NetworkFaults()
        received = exchange(connection, TEXT)
        assert received != TEXT
        assert len(received) == len(TEXT)


def test_where_nobody_listens_a_connection_is_reset(echo: Echo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = unused.getsockname()
    with (
        Proxy() as proxy,
        pytest.raises(ConnectionError),  # of either call: the reset may come before the first has returned
        socket.create_connection(proxy.front(*address), SECONDS) as connection,
    ):
        connection.recv(1)


def test_a_peer_that_reads_nothing_does_not_hold_up_the_end(echo: Echo) -> None:
    with Proxy() as proxy, client(proxy, echo) as connection:
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                connection.send(TEXT)


def test_a_proxy_works_in_its_with_block_only(echo: Echo) -> None:
    proxy = Proxy()
    with pytest.raises(ConfigError, match="with block only"):
        proxy.front(*echo.address)
    with proxy:
        proxy.front(*echo.address)
        refused: list[dict[str, Any]] = [{"event": "explode"}, {"event": "cut", "direction": "up"}]
        for wrong in [*refused, {"event": "cut", "after": -1}]:
            with pytest.raises(ConfigError):
                proxy.strike(**wrong)
    with pytest.raises(ConfigError, match="with block only"):
        proxy.strike("cut")
    with pytest.raises(ConfigError, match="make another"), proxy:
        pass
