"""Downpour SGD (Dean et al. 2012) beside `ssp` and `sync`, at equal samples, on even and on uneven nodes.

    python bench/papers/downpour.py

Four nodes and two shards of the server; links of 1 Gb/s and 0.1 ms in virtual time, and four processes of this
machine. On uneven nodes the last one has half the speed. MNIST trains a network of one hidden layer, Reuters a
linear model with the hinge loss. All steps are the defaults of the algorithms.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

from matplotlib.figure import Figure
from rich.console import Console

import dsgd
from common.machine import about, save
from common.options import figure_options
from common.real_sets import SETS, Parts
from dsgd._common.files import replacing
from dsgd.algorithms import DistributedAlgorithm, Downpour, Ssp, Sync

ALGORITHMS: dict[str, DistributedAlgorithm] = {
    "sync": Sync(),
    "ssp": Ssp(),
    "downpour": Downpour(),
    "downpour, ahead": Downpour(ahead=True),
    "downpour, each 5 steps": Downpour(n_fetch=5, n_push=5),
    "downpour, Adagrad": Downpour(server_step="adagrad"),
    "downpour, Adagrad, warm start": Downpour(server_step="adagrad", warm_start=50),
}
SPEEDS = {"even": [1.0] * 4, "uneven": [1.0, 1.0, 1.0, 0.5]}
PROBLEMS: dict[str, dict[str, Any]] = {
    "mnist": {"loss": "mlp", "max_epochs": 2},
    "reuters": {"loss": "hinge", "alpha": 1e-4, "max_epochs": 10},
}


def run(parts: Parts, problem: dict[str, Any], algorithm: DistributedAlgorithm, cluster: Any) -> Any:
    """Return accuracy on the test rows, seconds, and megabytes of a run."""
    begin = time.perf_counter()
    given: dict[str, Any] = {"n_threads": 1, "random_state": 0, "evaluate_every": 0, **problem}
    result = dsgd.fit(parts.X, parts.y, algo=algorithm, cluster=cluster, **given)
    last = result.history[-1]
    virtual = isinstance(cluster, dsgd.Simulation)
    return {
        "accuracy": 100 * float(result.score(parts.X_test, parts.y_test)),
        "seconds": last.virtual_seconds if virtual else time.perf_counter() - begin,
        "megabytes": (sum(last.bytes_sent or ()) + sum(last.bytes_received or ())) / 1e6,
    }


def measured(quick: bool, console: Console) -> dict[str, dict[str, Any]]:
    """Return the runs by place and algorithm."""
    found: dict[str, dict[str, Any]] = {}
    for data, problem in PROBLEMS.items():
        parts = SETS[data]() if data == "mnist" else SETS[data]().binary()
        settings = {**problem, "max_epochs": 1} if quick else problem
        for speeds, each in SPEEDS.items():
            places = {
                "simulated": dsgd.Simulation(workers=4, servers=2, speeds=each, trace=False),
                "processes": dsgd.LocalCluster(workers=4, servers=2, speeds=dict(enumerate(each))),
            }
            for where, cluster in places.items():
                runs = found[f"{data}, {speeds}, {where}"] = {}
                for name, algorithm in ALGORITHMS.items():
                    runs[name] = run(parts, settings, algorithm, cluster)
                    console.print(f"{data}, {speeds}, {where}, {name}:", runs[name])
    return found


def draw(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw accuracy against seconds, a panel for each place."""
    figure = Figure(figsize=(16, 7), layout="constrained")
    for axes, (place, runs) in zip(figure.subplots(2, 4).flat, found.items(), strict=True):
        for name, each in runs.items():
            axes.plot(each["seconds"], each["accuracy"], "o", label=name)
        axes.set(title=place, xlabel="seconds", ylabel="accuracy on test rows, %", xscale="log")
    figure.axes[0].legend(fontsize=7)
    with replacing(path) as written:
        figure.savefig(written, format="png", dpi=80)


def main(arguments: Sequence[str]) -> None:
    """Train, print, draw."""
    asked = figure_options(__doc__, "downpour.png", "one pass, for a try", arguments)
    console = Console(width=160)
    found = measured(asked.quick, console)
    draw(found, asked.output)
    save(asked.output.with_suffix(".json"), {**about(__file__, arguments), "results": found})
    console.print(f"written: {asked.output}")


if __name__ == "__main__":
    main(sys.argv[1:])
