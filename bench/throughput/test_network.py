"""The network beside a loop over plain sockets, in one run: the same bytes, loopback, a process at each end.

Bounds (docs/design/network.md): a dense pull of 4 MB reaches 0.9 of the plain loop's throughput,
and a dense push 0.6 (with payload checksums 0.75 and 0.5). A round trip takes at most 1.3 of the
plain loop's time. A sparse push of 100,000 keys into 20 million rows takes less than 8.5 bytes per
key, and 10 million keys a second go through. Four workers at once pull at 0.8 of the rate of one.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from dsgd import _core

DENSE = 1_000_000  # float32: 4 MB
ROWS = 20_000_000
KEYS = 100_000
TOKEN = bytes(range(32))
TABLES = [
    _core.TableSpec("dense", DENSE, dtype="float32"),
    _core.TableSpec("sparse", ROWS, dtype="float32"),
    _core.TableSpec("small", 4, dtype="float32"),
]
AT_ONCE = 8  # pushes from one wait to the next

SERVER = """
import sys
from dsgd import _core
from throughput.test_network import TABLES, TOKEN
checksum = sys.argv[1] == "True"
server = _core.TcpServer(TABLES, n_workers=5, token=TOKEN, staleness=float("inf"), payload_checksum=checksum)
server.start()
print(server.port, flush=True)
sys.stdin.read()
server.stop()
"""

# The far end of the plain loop: it obeys the first byte of each request of 64 bytes.
PLAIN = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
peer, _ = listener.accept()
peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
small, large = memoryview(bytearray(64)), memoryview(bytearray(4 * 1_000_000))
def fill(view):
    done = 0
    while done < len(view):
        count = peer.recv_into(view[done:])
        if count == 0:
            raise SystemExit
        done += count
while True:
    fill(small)
    if small[0] == 0:
        peer.sendall(small)
    elif small[0] == 1:
        peer.sendall(large)
    else:
        fill(large)
"""


class Plain:
    """The near end of the plain loop."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.small, self.large = memoryview(bytearray(64)), memoryview(bytearray(4 * DENSE))

    def ask(self, what: int) -> None:
        """Send a request."""
        self.small[0] = what
        self.socket.sendall(self.small)

    def fill(self, view: memoryview) -> None:
        """Read until `view` is full."""
        done = 0
        while done < len(view):
            count = self.socket.recv_into(view[done:])
            assert count > 0, "the far end is gone"
            done += count

    def round_trip(self) -> None:
        """Send a small request and wait for its answer."""
        self.ask(0)
        self.fill(self.small)

    def pull(self) -> None:
        """Receive 4 MB."""
        self.ask(1)
        self.fill(self.large)

    def push(self) -> None:
        """Send 4 MB AT_ONCE times, and wait until they have arrived."""
        for _ in range(AT_ONCE):
            self.ask(2)
            self.socket.sendall(self.large)
        self.round_trip()


class Worker:
    """A client and the calls that are timed."""

    def __init__(self, rank: int, port: int, checksum: bool) -> None:
        shards = [("127.0.0.1", port)]
        self.client = _core.TcpClient(rank, TABLES, shards=shards, token=TOKEN, payload_checksum=checksum)
        self.client.start()
        self.answer("joined")
        self.values = np.ones(DENSE, np.float32)
        drawn = np.random.default_rng(0).choice(ROWS, KEYS, replace=False)
        self.keys = np.sort(drawn).astype(np.uint64)

    def answer(self, kind: str, request: int = 0) -> _core.Answer:
        """Wait for an answer."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for answer in self.client.wait(1.0):
                if answer.kind == kind and request in (0, answer.request):
                    return answer
        raise AssertionError(f"no {kind}")

    def round_trip(self) -> None:
        """Send a small request and wait for its answer."""
        self.answer("pull", self.client.pull(time.monotonic(), 0, "small"))

    def pull(self) -> None:
        """Receive 4 MB."""
        answer = self.answer("pull", self.client.pull(time.monotonic(), 0, "dense"))
        assert answer.values is not None

    def push(self) -> None:
        """Send 4 MB AT_ONCE times, and wait until they have arrived."""
        for _ in range(AT_ONCE):
            self.client.push(time.monotonic(), "dense", self.values)
        self.round_trip()  # answered when all of them are in the table

    def push_sparse(self) -> None:
        """Push rows of the large table."""
        for _ in range(AT_ONCE):
            self.client.push(time.monotonic(), "sparse", self.values[:KEYS], self.keys)
        self.round_trip()


class Ends(NamedTuple):
    """The two connections that are compared, and the port of the server."""

    plain: Plain
    worker: Worker
    port: int


def started(code: str, *arguments: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "checksum"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    far, plain_port = started(PLAIN)
    server, port = started(SERVER, str(request.param))
    plain, worker = Plain(plain_port), Worker(0, port, request.param)
    worker.push()
    yield Ends(plain, worker, port)
    worker.client.stop()
    plain.socket.close()
    for process in (far, server):
        process.communicate(timeout=30)


def in_turn(benchmark: Any, ours: Callable[[], None], theirs: Callable[[], None], rounds: int, batch: int = 1) -> None:
    """Time `ours` by the benchmark; then both in turn, for the median of theirs over ours."""
    ratios = []

    def both() -> None:
        begin = time.perf_counter()
        for _ in range(batch):
            theirs()
        between = time.perf_counter()
        for _ in range(batch):
            ours()
        ratios.append((between - begin) / (time.perf_counter() - between))

    for _ in range(10):
        both()
    ratios.clear()
    for _ in range(rounds):
        both()
    benchmark.pedantic(ours, rounds=10)
    benchmark.extra_info["speed beside plain sockets"] = float(np.median(ratios))


def test_round_trip(benchmark: Any, ends: Ends) -> None:
    in_turn(benchmark, ends.worker.round_trip, ends.plain.round_trip, 20, batch=100)


def test_dense_pull(benchmark: Any, ends: Ends) -> None:
    in_turn(benchmark, ends.worker.pull, ends.plain.pull, 20, batch=10)


def test_dense_push(benchmark: Any, ends: Ends) -> None:
    in_turn(benchmark, ends.worker.push, ends.plain.push, 20)


def test_sparse_push(benchmark: Any, ends: Ends) -> None:
    before = ends.worker.client.bytes_sent
    ends.worker.push_sparse()
    benchmark.extra_info["bytes a key"] = (ends.worker.client.bytes_sent - before) / (AT_ONCE * KEYS)
    benchmark.pedantic(ends.worker.push_sparse, rounds=10)
    if benchmark.stats is not None:
        benchmark.extra_info["million keys a second"] = AT_ONCE * KEYS / benchmark.stats.stats.median / 1e6


WORKER = """
import sys, time
from throughput.test_network import Worker
worker = Worker(int(sys.argv[1]), int(sys.argv[2]), False)
print(0, flush=True)
for line in sys.stdin:
    end, count = time.perf_counter() + float(line), 0
    while time.perf_counter() < end:
        worker.pull()
        count += 1
    print(count, flush=True)
worker.client.stop()
"""


def test_four_workers_at_once(benchmark: Any, ends: Ends) -> None:
    workers = [started(WORKER, str(rank), str(ends.port))[0] for rank in range(1, 5)]

    def pulls_of(asked: list[subprocess.Popen[str]]) -> int:
        for worker in asked:
            assert worker.stdin is not None
            worker.stdin.write("0.5\n")
            worker.stdin.flush()
        return sum(int(worker.stdout.readline()) for worker in asked if worker.stdout is not None)

    ratios = [pulls_of(workers) / pulls_of(workers[:1]) for _ in range(5)]
    benchmark.pedantic(lambda: pulls_of(workers), rounds=1)
    benchmark.extra_info["four beside one"] = float(np.median(ratios))
    for worker in workers:
        worker.communicate(timeout=30)
