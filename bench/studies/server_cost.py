"""What a shard of the parameter server costs: the figures behind the plan in docs/deploy.md.

    python bench/studies/server_cost.py [--parameters 50000000] [--connections 1000]

A process is one shard, as on a host of its own; another one speaks to it over loopback. Prints:

- for every rule of a table the memory after two dense pushes and at its peak, in bytes a parameter of
  float32, and the seconds of a checkpoint into a file;
- the memory of pushes that wait for the end of their clock;
- sparse pushes and pulls a second, of 5,000 keys: 100,000 keys of 10^9 rows on 20 shards;
- the memory and the processor time of many connections that only send heartbeats;
- the memory of a worker process in a fit by `ssp` with half of the parameters.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import scipy.sparse
from numpy.typing import NDArray

import dsgd
from dsgd import _core

TOKEN = bytes(range(32))
RULES = ("add", "blend", "average", "adagrad", "replace_mean")
KEYS, TURNS = 5_000, 1000  # of a sparse push or pull, and how many of them
SMALL, PUSHES = 100, 20_000  # keys of a small push
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


def measure_waiting(parameters: int) -> None:
    """Print the memory of pushes that wait for the end of their clock."""
    shard = Shard("add", parameters, 1)
    client = shard.client(0)
    answered(client, "joined")
    held = []
    for _ in range(3):
        client.push(time.monotonic(), "weights", np.ones(parameters, np.float32))
        while client.unacknowledged:
            client.wait(0.1)
        held.append(shard.memory()[0])
    print(f"a push that waits: {(held[-1] - held[0]) / (len(held) - 1) / parameters:.1f} bytes a parameter")
    client.stop()
    shard.end()


def measure_sparse(parameters: int) -> None:
    """Print sparse pushes and pulls a second, and small pushes."""
    shard = Shard("add", parameters, 1, staleness=math.inf)
    client = shard.client(0)
    answered(client, "joined")
    random = np.random.default_rng(0)
    drawn = [np.sort(random.choice(parameters, KEYS, replace=False)).astype(np.uint64) for _ in range(20)]
    values = np.ones(KEYS, np.float32)
    keys = TURNS * KEYS
    for kind in ("first", "later"):
        before, begin, spent = client.bytes_sent, time.perf_counter(), shard.processor_seconds()
        for turn in range(TURNS):
            client.push(time.monotonic(), "weights", values, drawn[turn % len(drawn)])
        pull(client, drawn[0])
        took, spent = time.perf_counter() - begin, shard.processor_seconds() - spent
        print(
            f"sparse pushes, {kind}: {keys / took / 1e6:.1f} million keys a second, "
            f"{keys / spent / 1e6:.1f} a second of the shard's processor, "
            f"{(client.bytes_sent - before) / keys:.2f} bytes a key"
        )
    begin, spent = time.perf_counter(), shard.processor_seconds()
    for turn in range(TURNS // 10):
        for each in range(10):
            client.pull(time.monotonic(), 0, "weights", drawn[(turn + each) % len(drawn)])
        waiting = 10
        while waiting > 0:
            waiting -= sum(answer.kind == "pull" for answer in client.wait(1.0))
    took, spent = time.perf_counter() - begin, shard.processor_seconds() - spent
    print(
        f"sparse pulls: {keys / took / 1e6:.1f} million keys a second, "
        f"{keys / spent / 1e6:.1f} a second of the shard's processor"
    )
    few = drawn[0][:: KEYS // SMALL].copy()
    begin, spent = time.perf_counter(), shard.processor_seconds()
    for _ in range(PUSHES):
        client.push(time.monotonic(), "weights", values[: few.size], few)
    client.clock(time.monotonic())
    answered(client, "clock")
    took, spent = time.perf_counter() - begin, shard.processor_seconds() - spent
    print(
        f"pushes of {SMALL} keys: {PUSHES / took:.0f} a second; {spent / PUSHES * 1e6:.1f} us of the shard's processor"
    )
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


def children(word: str) -> list[int]:
    """Return the processes under this one whose command line has a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = path.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid() and word in path.joinpath("cmdline").read_text():
                found.append(int(path.name))
    return found


def measure_worker(parameters: int) -> None:
    """Print the memory of worker and server processes beside the number of parameters."""
    random = np.random.default_rng(0)
    n_rows, per_row = 2000, 36
    columns = random.integers(0, parameters, n_rows * per_row).astype(np.int32)
    shape = (n_rows, parameters)
    X = scipy.sparse.csr_array(
        (np.ones(columns.size, np.float32), columns, np.arange(n_rows + 1) * per_row), shape=shape
    )
    peaks: dict[str, list[float]] = {"dsgd.cluster.local.worker": [0], "dsgd.cluster.local.server": [0]}

    def look(record: Any, model: Any) -> None:  # noqa: ARG001
        for word, seen in peaks.items():
            seen += [peak_of(process) / parameters for process in children(word)]

    y = random.integers(0, 2, n_rows)
    cluster = dsgd.LocalCluster(workers=2)
    dsgd.fit(X, y, algo="ssp", max_epochs=2, step_size=0.1, cluster=cluster, callbacks=[look], batch_size=250)
    for word, seen in peaks.items():
        print(f"{word}: {max(seen):.0f} bytes a parameter at the peak, of {parameters} parameters")


def peak_of(process: int) -> int:
    """Return the peak of a process's memory, in bytes; 0 if it has ended."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parameters", type=int, default=50_000_000)
    parser.add_argument("--connections", type=int, default=1000)
    given = parser.parse_args()
    measure_tables(given.parameters)
    measure_waiting(given.parameters)
    measure_sparse(given.parameters)
    measure_connections(given.connections)
    measure_worker(given.parameters // 2)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    else:
        main()
