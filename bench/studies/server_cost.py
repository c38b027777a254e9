"""What a shard of the parameter server costs: the figures behind the plan in docs/deploy.md.

    python bench/studies/server_cost.py [--parameters 50000000] [--connections 1000]

A process is one shard, as on a host of its own; another one speaks to it over loopback. Prints, for
every rule of a table, the memory after two dense pushes and at its peak, in bytes a parameter of
float32, and the seconds of a checkpoint into a file; then small pushes and sparse pulls a second; then the memory
and the processor time of many connections that only send heartbeats.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from dsgd import _core

TOKEN = bytes(range(32))
RULES = ("add", "blend", "average", "adagrad", "replace_mean")
KEYS, SMALL = 100_000, 100  # of a sparse pull, of a small push
PUSHES = 20_000
LISTEN_SECONDS = 20.0


def tables(rule: str, parameters: int) -> list[_core.TableSpec]:
    """Return the one table of a shard."""
    return [_core.TableSpec("weights", parameters, dtype="float32", rule=rule)]


def serve(rule: str, parameters: int, workers: int, staleness: float) -> None:
    """Be a shard: print the port, then answer each line with a checkpoint's seconds and bytes."""
    server = _core.TcpServer(tables(rule, parameters), n_workers=workers, token=TOKEN, staleness=staleness)
    server.start()
    print(server.port, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for _ in sys.stdin:
            begin = time.perf_counter()
            state = {name: array for name, array in server.checkpoint().items() if array.size}
            taken = time.perf_counter()
            safetensors.numpy.save_file(state, Path(folder) / "checkpoint")
            print(taken - begin, time.perf_counter() - taken, sum(a.nbytes for a in state.values()), flush=True)
    server.stop()


class Shard:
    """The process of a shard, and what the system says of it."""

    def __init__(self, rule: str, parameters: int, workers: int, staleness: float = 0.0) -> None:
        self.tables = tables(rule, parameters)
        command = [sys.executable, __file__, "serve", rule, str(parameters), str(workers), str(staleness)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.read())

    def read(self) -> str:
        """Return the next line that the shard prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def memory(self) -> tuple[int, int]:
        """Return the memory of the process now and at its peak, in bytes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        return 1024 * int(status["VmRSS"].split()[0]), 1024 * int(status["VmHWM"].split()[0])

    def processor_seconds(self) -> float:
        """Return the processor time that the process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def checkpoint(self) -> list[float]:
        """Return the seconds to copy the state, those to write it, and its bytes."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return [float(each) for each in self.read().split()]

    def client(self, rank: int) -> _core.TcpClient:
        """Return a connected worker."""
        client = _core.TcpClient(rank, self.tables, shards=[("127.0.0.1", self.port)], token=TOKEN)
        client.start()
        return client

    def end(self) -> None:
        """End the process."""
        self.process.communicate(timeout=60)


def answered(client: _core.TcpClient, kind: str) -> _core.Answer:
    """Wait for an answer."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for answer in client.wait(1.0):
            if answer.kind == kind:
                return answer
    raise AssertionError(f"no {kind}")


def pull(client: _core.TcpClient, keys: NDArray[np.uint64] | None = None) -> None:
    """Pull, which is answered when all pushes before it are in the table."""
    client.pull(time.monotonic(), client.own_clock, "weights", keys)
    answered(client, "pull")


def measure_tables(parameters: int) -> None:
    """Print memory and checkpoints of every rule."""
    values = np.ones(parameters, np.float32)
    for rule in RULES:
        shard = Shard(rule, parameters, 1)
        before, _ = shard.memory()
        client = shard.client(0)
        answered(client, "joined")
        for _ in range(2):
            client.push(time.monotonic(), "weights", values)
            client.clock(time.monotonic())
            answered(client, "clock")
            pull(client)
        held, peak = ((each - before) / parameters for each in shard.memory())
        copied, written, size = shard.checkpoint()
        saving = (shard.memory()[1] - before) / parameters
        print(
            f"{rule:12}: {held:5.1f} bytes a parameter held, {peak:5.1f} at the peak, {saving:5.1f} with a checkpoint "
            f"of {size / parameters:.1f}, which takes {copied:.2f} s to copy and {written:.2f} s to write "
            f"({size / (copied + written) / 1e6:.0f} MB/s)"
        )
        client.stop()
        shard.end()


def measure_small(parameters: int) -> None:
    """Print small pushes and sparse pulls a second."""
    shard = Shard("add", parameters, 1, staleness=math.inf)
    client = shard.client(0)
    answered(client, "joined")
    random = np.random.default_rng(0)
    keys = np.sort(random.choice(parameters, KEYS, replace=False)).astype(np.uint64)
    values = np.ones(KEYS, np.float32)
    client.push(time.monotonic(), "weights", values, keys)
    pull(client, keys)
    begin = time.perf_counter()
    for _ in range(20):
        pull(client, keys)
    print(f"sparse pulls: {20 * KEYS / (time.perf_counter() - begin) / 1e6:.1f} million keys a second")
    few = keys[:: KEYS // SMALL].copy()
    begin, spent = time.perf_counter(), shard.processor_seconds()
    for _ in range(PUSHES):
        client.push(time.monotonic(), "weights", values[: few.size], few)
    client.clock(time.monotonic())
    answered(client, "clock")
    took, spent = time.perf_counter() - begin, shard.processor_seconds() - spent
    print(f"pushes of {SMALL} keys: {PUSHES / took:.0f} a second; {spent / PUSHES * 1e6:.1f} us of the shard's processor")
    client.stop()
    shard.end()


def measure_connections(connections: int) -> None:
    """Print what many connections cost that only send heartbeats."""
    shard = Shard("add", 1000, connections)
    before, _ = shard.memory()
    begin, spent = time.perf_counter(), shard.processor_seconds()
    clients = [shard.client(rank) for rank in range(connections)]
    for client in clients:
        answered(client, "joined")
    took, spent = time.perf_counter() - begin, shard.processor_seconds() - spent
    print(f"{connections} workers join in {took:.1f} s, {spent:.2f} s of the shard's processor")
    spent, begin = shard.processor_seconds(), time.perf_counter()
    time.sleep(LISTEN_SECONDS)
    load = (shard.processor_seconds() - spent) / (time.perf_counter() - begin)
    held = (shard.memory()[0] - before) / connections
    print(f"{held / 1024:.0f} KB a connection; heartbeats take {100 * load:.1f} % of a processor")
    for client in clients:
        client.stop()
    shard.end()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parameters", type=int, default=50_000_000)
    parser.add_argument("--connections", type=int, default=1000)
    given = parser.parse_args()
    measure_tables(given.parameters)
    measure_small(given.parameters)
    measure_connections(given.connections)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    else:
        main()
