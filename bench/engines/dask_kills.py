"""Workers of Dask that are killed in the middle of a fit, at random by a seed: how each fit ends.

    python bench/engines/dask_kills.py [--first 0] [--count 50]

Each fit has three workers of its own, one of which gets SIGKILL after a random epoch. The algorithm, whether a lost
worker may be replaced, and where the parameter server runs are drawn too. A fit must end with a right model or with an
error of dsgd that names the worker; anything else is printed as WRONG, and the script then ends with 1.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, wait

import dsgd
import dsgd.dask
from dsgd.errors import ClusterError

ALGORITHMS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("ssp", {"staleness": 0}),
    ("ssp", {"staleness": 3}),
    ("sync", {}),
    ("dissvrg", {}),
    ("wpsgd", {}),
    ("asgd", {}),
    ("downpour", {}),
    ("fedavg", {}),
    ("p2p", {}),
)
RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(4000, 20))
Y = (X @ np.arange(20) > 0.3).astype(int)
DEADLINES: dict[str, Any] = {"heartbeat_deadline": 5.0, "join_deadline": 30.0, "checkpoint_every": 5}
_RIGHT = 0.9  # accuracy that every undisturbed fit exceeds


class Killer:
    """A callback that kills a process after an epoch."""

    def __init__(self, pid: int, epoch: int) -> None:
        self._pid, self._epoch, self.done = pid, epoch, False

    def __call__(self, record: Any, model: Any) -> None:  # noqa: ARG002
        """Kill the process once."""
        if record.epoch >= self._epoch and not self.done:
            self.done = True
            os.kill(self._pid, signal.SIGKILL)


def fit_with_a_kill(seed: int) -> str:
    """Return how a fit ended, and print it."""
    random = np.random.default_rng(seed)
    algo, options = ALGORITHMS[seed % len(ALGORITHMS)]
    restart, server = int(random.integers(2)), ("client", "worker")[random.integers(2)]
    with LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as client:
        data = [da.from_array(X, chunks=(1000, 20)).persist(), da.from_array(Y, chunks=1000).persist()]
        wait(data)
        kill = Killer(list(client.run(os.getpid).values())[random.integers(3)], int(random.integers(1, 8)))
        where = dsgd.dask.DaskCluster(client, server=server, restart_workers=restart, **DEADLINES)
        began = time.perf_counter()
        try:
            result = dsgd.fit(
                *data, algo=algo, max_epochs=60, random_state=seed, callbacks=[kill], cluster=where, **options
            )
        except ClusterError as error:
            ended = type(error).__name__
        else:
            ended = "right model" if result.score(X, Y) > _RIGHT and kill.done else "WRONG model, or no kill"
        seconds = time.perf_counter() - began
    print(seed, algo, options, f"restart_workers={restart} server={server}: {ended} after {seconds:.1f} s", flush=True)
    return f"{ended}, restart_workers={restart}"


def main(arguments: Sequence[str]) -> int:
    """Print how all fits ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=50)
    parsed = parser.parse_args(arguments)
    warnings.simplefilter("ignore", RuntimeWarning)
    ended = Counter(fit_with_a_kill(seed) for seed in range(parsed.first, parsed.first + parsed.count))
    for how, count in sorted(ended.items()):
        print(f"{count} x {how}")
    return int(any("WRONG" in how for how in ended))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
