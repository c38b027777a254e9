"""Letters from one process to another, over shared memory and over TCP, beside a loop that copies memory.

A letter over shared memory is copied twice, once by each process. The sender does not wait for the
reader there, so that it sends letters that nobody reads; over TCP every letter is read. The reader
looks for letters without a pause, each process on a core of its own.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from dsgd import _core

TOKEN = bytes(range(32))
TABLES = [_core.TableSpec("weights", 1)]
SHAPE = {"n_ranks": 2, "slots": 1, "capacity": 2**20}
SIZES = {"1 KB": 2**7, "1 MB": 2**17}  # float64
SECONDS = 0.05
ROUNDS = 40

SENDER = """
import sys, time
import numpy as np
from throughput.test_letters import sender_of, take_core
take_core(1)
send = sender_of(sys.argv[1], int(sys.argv[2]))
for line in sys.stdin:
    size, seconds = line.split()
    values = np.ones(int(size))
    send(values)
    print(flush=True)
    begin, count = time.perf_counter(), 0
    while time.perf_counter() < begin + float(seconds):
        for _ in range(8):
            send(values)
        count += 8
    print(count / (time.perf_counter() - begin), flush=True)
"""


def take_core(number: int) -> None:
    """Run on one core: on a busy machine both processes may share one for long."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[number % len(cores)]})


def mapped(descriptor: int, rank: int) -> _core.SharedMailbox:
    return _core.SharedMailbox(mmap.mmap(descriptor, 0), rank=rank, **SHAPE)


def connected(port: int, rank: int) -> _core.TcpClient:
    client = _core.TcpClient(rank, TABLES, shards=[("127.0.0.1", port)], token=TOKEN, listen="127.0.0.1")
    client.start()
    while not any(answer.kind == "joined" for answer in client.wait(10.0)):
        pass
    return client


def sender_of(carrier: str, number: int) -> Callable[[Any], object]:
    """Return what sends values to rank 0."""
    if carrier == "shared":
        mailbox = mapped(number, 1)
        return lambda values: mailbox.put(0, values)
    client = connected(number, 1)
    return lambda values: client.send(0, values)


class Ends(NamedTuple):
    """The process that sends, and what reads here: it returns the number of letters that it found."""

    sender: subprocess.Popen[str]
    read: Callable[[], int]


@pytest.fixture(params=["shared", "tcp"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    server, client, number, read = None, None, os.memfd_create("letters"), None
    os.ftruncate(number, _core.SharedMailbox.bytes_for(**SHAPE))
    argument = number
    if request.param == "shared":
        mailbox = mapped(number, 0)
        read = lambda: len(mailbox.drain())  # noqa: E731
    else:
        server = _core.TcpServer(TABLES, n_workers=2, token=TOKEN, staleness=float("inf"))
        server.start()
        client, argument = connected(server.port, 0), server.port
        waits = client.wait
        read = lambda: sum(answer.kind == "letter" for answer in waits(0.001))  # noqa: E731
    sender = subprocess.Popen(
        [sys.executable, "-c", SENDER, request.param, str(argument)], pass_fds=[number], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    cores = os.sched_getaffinity(0)
    take_core(0)
    yield Ends(sender, read)
    os.sched_setaffinity(0, cores)
    sender.communicate(timeout=30)
    if client is not None and server is not None:
        client.stop()
        server.stop()
    os.close(number)


def rates(ends: Ends, size: int) -> tuple[float, float]:
    """Return how many letters a second were sent and read."""
    assert ends.sender.stdin is not None
    assert ends.sender.stdout is not None
    ends.sender.stdin.write(f"{size} {2 * SECONDS}\n")
    ends.sender.stdin.flush()
    ends.sender.stdout.readline()
    while not ends.read():
        pass
    begin, read = time.perf_counter(), 0
    while time.perf_counter() < begin + SECONDS:
        read += ends.read()
    seconds = time.perf_counter() - begin
    sent = float(ends.sender.stdout.readline())
    while ends.read():
        pass
    return sent, read / seconds


def copies(size: int) -> float:
    """Return how often a second as many numbers are copied from one array to another, in one process."""
    one, other, seconds = np.ones(size), np.ones(size), []
    for _ in range(100):
        begin = time.perf_counter()
        for _ in range(8):
            np.copyto(one, other)
        seconds.append(time.perf_counter() - begin)
    return 8 / float(np.median(seconds))


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_letters(benchmark: Any, ends: Ends, size: int) -> None:
    seen = [(*rates(ends, size), copies(size)) for _ in range(ROUNDS)]
    benchmark.pedantic(lambda: rates(ends, size), rounds=1)
    # The best of all rounds: on a busy machine the two processes seldom run at the same time.
    for name, values in zip(("sent/s", "read/s", "copies/s"), zip(*seen, strict=True), strict=True):
        benchmark.extra_info[name], benchmark.extra_info[f"best {name}"] = float(np.median(values)), max(values)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_put_and_drain(benchmark: Any, size: int) -> None:
    """Both copies of a letter, one after the other in one process, beside one copy."""
    memory = bytearray(_core.SharedMailbox.bytes_for(**SHAPE))
    mailbox, values = _core.SharedMailbox(memory, rank=0, **SHAPE), np.ones(size)

    def exchange() -> None:
        for _ in range(8):
            mailbox.put(0, values)
            assert len(mailbox.drain()) == 1

    exchange()
    benchmark.pedantic(exchange, rounds=200)
    benchmark.extra_info["copies/s"] = copies(size)
    if benchmark.stats is not None:
        benchmark.extra_info["letters/s"] = 8 / benchmark.stats.stats.median
        benchmark.extra_info["best letters/s"] = 8 / benchmark.stats.stats.min
