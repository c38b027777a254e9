"""Whatever a network does, every push is applied exactly once."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from leftovers import left_since, leftovers
from network.runs import TIMEOUT, Run, table
from numpy.typing import NDArray

from dsgd import _core
from dsgd.testing import NetworkFaults, Proxy

SIZE = 3000
WORKERS = 3
CLOCKS = 6

# Bytes between faults: a push of all rows takes 24 KB, a clock of a worker 20 to 50 KB.
BAD: dict[str, tuple[dict[str, float], dict[str, Any]]] = {
    "cut": ({"cut_every": 60_000}, {}),
    "reset": ({"reset_every": 60_000}, {}),
    "delay": ({"delay": 0.004}, {}),
    "throttle": ({"bytes_per_second": 4e6}, {}),
    "corrupt": ({"corrupt_every": 60_000}, {"payload_checksum": True}),
    "repeat": ({"repeat_every": 60_000}, {"payload_checksum": True}),
    "repeat_frame": ({"repeat_frames": 0.3}, {}),
    "everything": (
        {
            "delay": 0.001,
            **dict.fromkeys(("cut_every", "reset_every", "corrupt_every", "repeat_every"), 200_000),
            "repeat_frames": 0.1,
        },
        {"payload_checksum": True},
    ),
}


@pytest.fixture(autouse=True)
def _clean_end() -> Iterator[None]:
    before = leftovers(), threading.active_count()
    yield
    gc.collect()
    assert (left_since(before[0]), threading.active_count()) == (set(), before[1])


def work(run: Run, client: _core.TcpClient, total: NDArray[np.float64], seed: str) -> None:
    """Push integers, to all rows and to some, and wait until they are applied."""
    source = random.Random(seed)
    for _ in range(CLOCKS):
        for _ in range(source.randint(1, 2)):
            keys = None
            rows = np.arange(SIZE, dtype=np.uint64)
            if source.random() < 0.5:
                rows = keys = np.array(sorted(source.sample(range(SIZE), source.randint(1, SIZE // 2))), np.uint64)
            pushed = np.array([float(source.randint(-50, 50)) for _ in rows])
            client.push(time.monotonic(), "weights", pushed, keys)
            total[rows] += pushed
        run.answer(client, "clock", client.clock(time.monotonic()))
        if source.random() < 0.5:
            values = run.pull(client).values
            assert values is not None
            assert len(values) == SIZE
    run.answer(client, "left", client.leave(time.monotonic()))


def pushed_through(faults: NetworkFaults, seed: int, n_shards: int, staleness: float, **wire: Any) -> Counter[str]:
    """Let workers push through a proxy; compare what the servers have then; return what the proxy did."""
    tables = [table(size=SIZE)]
    run = Run()
    totals = [np.zeros(SIZE) for _ in range(WORKERS)]
    with Proxy(to_server=faults, to_client=faults, seed=seed) as proxy:
        try:
            for shard in range(n_shards):
                place: dict[str, Any] = {
                    "shard": shard,
                    "n_shards": n_shards,
                    "n_workers": WORKERS,
                    "staleness": staleness,
                }
                run.server(tables, heartbeat_deadline=TIMEOUT, **place, **wire)
            shards = [proxy.front(server.host, server.port) for server in run.servers]
            clients = [run.client(rank, tables, join=False, shards=shards, **wire) for rank in range(WORKERS)]
            threads = [
                threading.Thread(target=work, args=(run, client, total, f"{seed} {rank}"))
                for rank, (client, total) in enumerate(zip(clients, totals, strict=True))
            ]
            for client in clients:
                run.answer(client, "joined")
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(TIMEOUT)
            kept = np.concatenate([server.snapshot("weights") for server in run.servers])
            assert all(server.finished for server in run.servers)
        finally:
            run.stop()
        np.testing.assert_array_equal(kept, sum(totals))
        assert np.abs(kept).sum() > 0
        return proxy.counts


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", BAD)
def test_every_push_is_applied_exactly_once(name: str, seed: int) -> None:
    faults, wire = BAD[name]
    counts = pushed_through(
        NetworkFaults(**faults), seed, n_shards=1 + seed % 2, staleness=(0.0, 3.0, np.inf)[seed % 3], **wire
    )
    if name in ("cut", "reset", "corrupt", "repeat", "repeat_frame"):
        assert counts[name] > 0
