"""A small problem on a cluster of Dask, and the same on processes of this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import dask
import distributed
import numpy as np

import dsgd
from dsgd.cluster import Given

__all__ = [
    "LIMIT",
    "LONG",
    "OPTIONS",
    "PARTS",
    "WORDS",
    "X",
    "Y",
    "chunks",
    "dask_fit",
    "kill",
    "local_fit",
    "own_threads",
    "start",
    "wait_until",
]

PARTS = [np.arange(35), np.arange(35, 60)]
OPTIONS: dict[str, Any] = {
    "algo": "ssp",
    "staleness": 0,
    "loss": "logistic",
    "max_epochs": 3,
    "random_state": 4,
    "n_threads": 1,
    "step_size": 0.1,
    "schedule": "constant",
}
# Options of a fit that only its callbacks end.
LONG: dict[str, Any] = {"max_epochs": 10**6, "evaluate_every": 20}
LIMIT = 60.0  # seconds; nothing that works takes as long

_RANDOM = np.random.default_rng(8)
X = _RANDOM.normal(size=(60, 5)) * (_RANDOM.random((60, 5)) < 0.6)
Y = _RANDOM.integers(0, 2, 60)
# What the driver and the nodes say to each other, where nobody has encrypted it.
WORDS = (b"welcome", b"connect", b"weights")


def start(n_workers: int = 2, **options: Any) -> Any:
    """Start a cluster of processes with one thread each."""
    return distributed.LocalCluster(
        n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=":0", **options
    )


def chunks(rows: Any = X, labels: Any = Y) -> tuple[list[Any], list[Any]]:
    """Return the rows and the labels of `PARTS` as delayed chunks."""
    return [dask.delayed(rows[part]) for part in PARTS], [dask.delayed(labels[part]) for part in PARTS]


def dask_fit(cluster: Any, data: Any = None, **options: Any) -> dsgd.FitResult:
    """Fit on the workers of Dask."""
    return dsgd.fit(*(data or chunks()), cluster=cluster, **{**OPTIONS, **options})


def local_fit(**options: Any) -> dsgd.FitResult:
    """Fit on processes of this machine, which have the same rows."""
    return dsgd.fit(X, Y, cluster=dsgd.LocalCluster(workers=2, partition=Given(PARTS)), **{**OPTIONS, **options})


def wait_until(true: Callable[[], Any], what: str) -> None:
    """Wait until something is true, but not for ever."""
    end = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < end, f"this never came: {what}"
        time.sleep(0.02)


def kill(client: Any, worker: str) -> None:
    """Kill a worker."""
    os.kill(client.run(os.getpid, workers=[worker])[worker], signal.SIGKILL)


def own_threads(client: Any) -> set[str]:
    """Return the names of all threads of the workers that belong to fits."""
    named = client.run(lambda: [thread.name for thread in threading.enumerate()])
    return {name for names in named.values() for name in names if name.startswith("dsgd")}
