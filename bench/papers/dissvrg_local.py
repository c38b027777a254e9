"""DisSVRG, PetuumSGD and BSP on four processes of this machine, one at half speed, and the same in simulation.

    python bench/papers/dissvrg_local.py

The loss is squared, on data of the shape of YearPredictionMSD, and every algorithm has a step that
suits it. The figures show the gap against seconds: real seconds of processes that talk over TCP,
beside virtual seconds of a simulated cluster of the same speeds. The paper finds that DisSVRG gains
most from a bound on staleness, and that BSP waits for the slow worker.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

import dsgd
from common.machine import ROOT, command, machine, save
from common.rounds import positive
from dsgd._common.files import check_replaceable, replacing
from dsgd.algorithms import DisSvrg, DistributedAlgorithm, Ssp
from dsgd.data import make_like
from papers.year import ALPHA, YearData

SPEEDS = (1.0, 1.0, 1.0, 0.5)
ALGORITHMS: dict[str, tuple[DistributedAlgorithm, float, int, str]] = {
    "DisSVRG, staleness 3": (DisSvrg(staleness=3), 1e-3, 60, "tab:red"),
    "PetuumSGD, staleness 3": (Ssp(staleness=3, batch_size=100), 2e-2, 40, "tab:blue"),
    "BSP": (Ssp(staleness=0, batch_size=100), 2e-2, 40, "tab:green"),
}
FLOOR = 1e-13  # relative gaps below are rounding errors


def curve(data: YearData, algorithm: DistributedAlgorithm, step: float, epochs: int, cluster: Any) -> dict[str, Any]:
    """Train on a cluster; return the gaps at seconds, and what the nodes waited and sent."""
    history = dsgd.fit(
        data.X,
        data.y,
        algo=algorithm,
        loss="squared",
        alpha=ALPHA,
        step_size=step,
        schedule="inverse-sqrt" if isinstance(algorithm, Ssp) else "constant",  # as in the papers
        max_epochs=epochs,
        fit_intercept=False,
        cluster=cluster,
        n_threads=1,
        random_state=0,
    ).history
    last = history[-1]
    simulated = last.virtual_seconds is not None
    begin = 0.0 if simulated else history[0].seconds  # from the first record: processes start slowly
    return {
        "seconds": [(record.virtual_seconds if simulated else record.seconds - begin) for record in history],
        "passes": [record.effective_passes for record in history],
        "gaps": [float(record.objective or np.nan) / data.minimum - 1 for record in history],
        "waiting": last.waiting,
        "megabytes": (sum(last.bytes_sent or ()) + sum(last.bytes_received or ())) / 1e6,
        "staleness": last.staleness,
    }


def draw(results: dict[str, dict[str, Any]], output: Path) -> None:
    """Draw a panel for each cluster."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, (panel, curves) in zip(figure.subplots(1, len(results)), results.items(), strict=True):
        for label, found in curves.items():
            axes.plot(found["seconds"], np.maximum(found["gaps"], FLOOR), label=label, color=ALGORITHMS[label][3])
        axes.set(title=panel, xlabel="seconds", ylabel="F(w) / F* - 1")
        axes.set_yscale("log")
        axes.legend(fontsize="small")
    with replacing(output) as beside:
        figure.savefig(beside, format="png", dpi=150)


def main(arguments: Sequence[str]) -> None:
    """Train, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=positive, default=60_000)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/dissvrg_local.png", help="the figure")
    asked = parser.parse_args(arguments)
    for path in (asked.output, asked.output.with_suffix(".json")):
        check_replaceable(path)
    console = Console(width=120)
    made = make_like("yearprediction", n_samples=asked.rows, random_state=0)
    data = YearData.of(made.X, made.y)
    clusters = {
        "four processes of this machine": dsgd.LocalCluster(workers=4, speeds=SPEEDS),
        "simulated": dsgd.Simulation(workers=4, speeds=SPEEDS, bandwidth=2e9, latency=5e-5, trace=False),
    }
    results: dict[str, dict[str, Any]] = {}
    for panel, cluster in clusters.items():
        results[panel] = {}
        for label, (algorithm, step, epochs, _) in ALGORITHMS.items():
            found = results[panel][label] = curve(data, algorithm, step, epochs, cluster)
            console.print(
                f"{panel}: {label}: gap {found['gaps'][-1]:.2e} after {found['passes'][-1]:.0f} passes and "
                f"{found['seconds'][-1]:.2f} s, waiting {min(found['waiting']):.2f} to {max(found['waiting']):.2f} s, "
                f"{found['megabytes']:.1f} MB"
            )
    draw(results, asked.output)
    described = {"command": command(__file__, arguments), "machine": machine(), "rows": asked.rows, "results": results}
    save(asked.output.with_suffix(".json"), described)
    console.print(f"written: {asked.output}")


if __name__ == "__main__":
    main(sys.argv[1:])
