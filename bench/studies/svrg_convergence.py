"""Suboptimality against effective passes on 20news, classes 2 to 6 against the rest: sgd, svrg, svrg on two threads.

    python bench/studies/svrg_convergence.py

Logistic loss in float64, no intercept, every setting at its default but the number of epochs. The
minimum is the objective of svrg after 200 epochs. Draws --output, and writes the same as JSON
beside it.
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

import dsgd
from common.machine import ROOT, command, machine, save
from common.real_sets import SETS
from dsgd._common.files import check_replaceable, replacing

ALPHAS = (1e-4, 1e-5)
RUNS: dict[str, dict[str, Any]] = {
    "sgd": {"algo": "sgd", "max_epochs": 40},
    "svrg": {"algo": "svrg", "max_epochs": 14, "n_threads": 1},
    "svrg, 2 threads": {"algo": "svrg", "max_epochs": 14, "n_threads": 2},
}


def curves(X: Any, y: Any, alpha: float) -> dict[str, dict[str, list[float]]]:
    """Return relative suboptimality and passes of every run."""
    settings: dict[str, Any] = {"loss": "logistic", "alpha": alpha, "fit_intercept": False, "random_state": 0}
    minimum = dsgd.fit(X, y, algo="svrg", n_threads=1, max_epochs=200, **settings).history[-1].objective or np.nan
    found = {}
    for name, run in RUNS.items():
        history = dsgd.fit(X, y, evaluate_every=1, **settings, **run).history
        found[name] = {
            "passes": [record.effective_passes for record in history],
            "gaps": [float(record.objective or np.nan) / minimum - 1 for record in history],
        }
    return found


def main(arguments: Sequence[str]) -> None:
    """Train, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/svrg.png", help="the figure")
    options = parser.parse_args(arguments)
    described = options.output.with_suffix(".json")
    check_replaceable(options.output)
    check_replaceable(described)
    parts = SETS["20news"]()
    y = np.where(np.isin(parts.y, (2, 3, 4, 5, 6)), 1, -1)
    results = {f"{alpha:g}": curves(parts.X.astype(np.float64), y, alpha) for alpha in ALPHAS}
    figure = Figure(figsize=(5.5 * len(results), 4), layout="constrained")
    for axes, (alpha, runs) in zip(figure.subplots(1, len(results)), results.items(), strict=True):
        for name, curve in runs.items():
            axes.plot(curve["passes"], np.maximum(curve["gaps"], 1e-13), label=name, marker=".")
        axes.set(title=f"20news, alpha {alpha}", xlabel="effective passes", ylabel="F(w) / F* - 1", yscale="log")
        axes.legend()
    with replacing(options.output) as beside:
        figure.savefig(beside, format="png", dpi=150)
    save(described, {"command": command(__file__, arguments), "machine": machine(), "results": results})


if __name__ == "__main__":
    main(sys.argv[1:])
