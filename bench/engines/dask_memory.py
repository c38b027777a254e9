"""Memory of Dask's workers and of the client, of a fit on rows that the workers make.

    python bench/engines/dask_memory.py

Two workers hold 2 GB of float64 rows, first as one chunk each, then as 8 chunks each that a delayed function makes. The
peak of a worker is VmHWM from the start of the fit on, less what its process had without rows: it should be
at most 1.3 times its part and 150 MB. The client's peak should grow by less than 100 MB beyond the model, after a fit
on few rows, by which it imports what it needs (the growth in that is told too). Each case has a cluster of its own.
Prints a table, and writes it to --output under the key "memory". --megabytes makes the rows fewer, for a try.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import dask
import distributed
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import dsgd
from common.machine import ROOT, keep

WORKERS, FEATURES = 2, 500
FACTOR, BESIDE, CLIENT = 1.3, 150, 100  # bounds: of the part, and MB of a worker and of the client
MB = 10**6


def make_rows(seed: int, n: int) -> NDArray[np.float64]:
    """Return rows, in place of a reader that reads them where they are needed."""
    rows = np.random.default_rng(seed).random((n, FEATURES))
    rows -= 0.5  # in place: the peak of a worker is to be that of the fit
    return rows


def make_labels(seed: int, n: int) -> NDArray[np.float64]:
    """Return labels of rows of `make_rows`, which a linear rule explains."""
    rows = make_rows(seed, n)[:, :10]  # the rows are gone when this returns
    return np.where(rows.sum(axis=1) > 0, 1.0, -1.0)


def status(name: str) -> float:
    """Return a number of /proc/self/status, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [each for each in lines if each.startswith(name + ":")]
    return int(line.split()[1]) * 1024 / MB


def forget() -> float:
    """Let the peak of this process count from here; return what it has in memory, in MB."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def on_workers(client: Any, make: Any, workers: Sequence[str], sizes: Sequence[int], lazy: bool) -> list[Any]:
    """Return what makes the chunks, or the chunks, on the workers in turn."""
    if lazy:
        return [dask.delayed(make)(k, n) for k, n in enumerate(sizes)]
    made = [client.submit(make, k, n, workers=[workers[k % len(workers)]], pure=False) for k, n in enumerate(sizes)]
    distributed.wait(made)
    return made


def fit(client: Any, X: Any, y: Any) -> dsgd.FitResult:
    """Make two passes."""
    return dsgd.fit(X, y, cluster=client, algo="ssp", loss="logistic", max_epochs=2, random_state=0)


def measure(chunks_each: int, lazy: bool, megabytes: int) -> dict[str, Any]:
    """Fit once, and return the growth of all processes in MB."""
    n_rows = megabytes * MB // (8 * FEATURES)
    n_chunks = WORKERS * chunks_each
    sizes = [n_rows // n_chunks] * n_chunks
    options: dict[str, Any] = {"n_workers": WORKERS, "threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(processes=True, memory_limit=0, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
        before, cold = client.run(forget), forget()
        fit(client, *(on_workers(client, make, workers, [100] * n_chunks, lazy) for make in (make_rows, make_labels)))
        imports = status("VmHWM") - cold
        X, y = (on_workers(client, make, workers, sizes, lazy) for make in (make_rows, make_labels))
        client.run(forget)
        own, begin = forget(), time.perf_counter()
        result = fit(client, X, y)
        seconds = time.perf_counter() - begin
        peaks = client.run(status, "VmHWM")
        grown = [peaks[each] - before[each] for each in workers]
        client_grown = status("VmHWM") - own
    part = megabytes / WORKERS
    return {
        "case": f"{chunks_each} {'lazy ' * lazy}chunk{'s' * (chunks_each > 1)} each",
        "part": part,
        "workers": grown,
        "allowed": FACTOR * part + BESIDE,
        "client": client_grown,
        "client_first_small_fit": imports,
        "model": result.model.weights.nbytes / MB,
        "objectives": [float(each.objective or np.nan) for each in result.history],
        "seconds": seconds,
    }


def main(arguments: Sequence[str]) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/dask.json")
    asked, console = parser.parse_args(arguments), Console(width=120)
    names = ("case", "part", "workers' peaks", "allowed", "client's growth", "allowed", "seconds", "holds")
    table = Table(*names, title="MB")
    told = []
    for chunks_each, lazy in ((1, False), (8, True)):
        each = measure(chunks_each, lazy, asked.megabytes)
        each["holds"] = max(each["workers"]) <= each["allowed"] and each["client"] < CLIENT + each["model"]
        told.append(each)
        table.add_row(
            each["case"],
            f"{each['part']:.0f}",
            ", ".join(f"{peak:.0f}" for peak in each["workers"]),
            f"{each['allowed']:.0f}",
            f"{each['client']:.1f}",
            f"{CLIENT + each['model']:.1f}",
            f"{each['seconds']:.0f}",
            "yes" if each["holds"] else "no",
        )
    console.print(table)
    keep(asked.output, "memory", __file__, arguments, told)


if __name__ == "__main__":
    main(sys.argv[1:])
