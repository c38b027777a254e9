"""When dual coordinate ascent is 1 % above the optimum before SGD, by the condition of the data.

    python bench/studies/auto.py

The threshold of ``algo="auto"`` rests on this study. The threshold is on the average condition
number mean ||x||^2 / (alpha d). The data are the real sets, binary, in float32, with an intercept,
on one thread. SGD has its defaults and the fewest epochs of a list that reach the target; if none
does it has the most epochs of the list, and the ratio of times is an upper bound. Its time includes
the search for a step. Dual coordinate ascent runs until it reaches the target, or for --patience
times SGD's time; then the ratio is a lower bound. The optimum is the least objective that either
finds in a long run. Draws --output, and writes the same as JSON beside it.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from matplotlib.figure import Figure

import dsgd
from common.machine import ROOT, command, machine, save
from common.real_sets import SETS
from common.rounds import positive
from common.workloads import Workload, mean_square
from dsgd._common.files import check_replaceable, replacing
from dsgd.algorithms.auto import _CONDITION

NAMES = ("reuters", "20news", "a9a", "phishing", "skin", "mnist")
LOSSES, ALPHAS = ("hinge", "logistic"), (1e-3, 1e-4, 1e-5)
TARGET = 0.01
EPOCHS = (1, 2, 3, 5, 8, 12, 20, 30, 50)


def train(data: Workload, algo: str, loss: str, **settings: Any) -> dsgd.FitResult:
    """Fit on one thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the warning that the gap is not closed
        return dsgd.fit(data.X, data.y, algo=algo, loss=loss, alpha=data.alpha, n_threads=1, random_state=0, **settings)


def lowest(result: dsgd.FitResult) -> float:
    """Return the least objective of a run."""
    return min(record.objective for record in result.history if record.objective is not None)


def compare(data: Workload, loss: str, patience: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Return the times of both, their ratio, and whether that is a lower or an upper bound."""
    long = [
        train(data, "sdca", loss, gap_tol=1e-4, max_seconds=seconds, evaluate_every=1),
        train(data, "sgd", loss, max_epochs=EPOCHS[-1], evaluate_every=10),
    ]
    bound = (1 + TARGET) * min(map(lowest, long))
    for epochs in EPOCHS:
        last = train(data, "sgd", loss, max_epochs=epochs, evaluate_every=epochs).history[-1]
        reached = last.objective is not None and last.objective <= bound
        if reached:
            break
    sgd = [train(data, "sgd", loss, max_epochs=epochs, evaluate_every=0).history[-1].seconds for _ in range(rounds)]
    limit = patience * float(np.median(sgd))
    sdca, late = [], []
    for _ in range(rounds):
        # max_seconds includes evaluations; the time of a record does not.
        records = train(data, "sdca", loss, max_epochs=1000, max_seconds=3 * limit, evaluate_every=1).history
        done = [record.seconds for record in records if record.objective is not None and record.objective <= bound]
        sdca += done[:1]
        late += [] if done else [records[-1].seconds]
    return {
        "sgd": float(np.median(sgd)),
        "epochs of sgd": epochs,
        "sdca": float(np.median(sdca or late)),
        "ratio": float(np.median(sdca or late) / np.median(sgd)),
        "lower bound": not sdca,
        "upper bound": not reached,
    }


def _kind(point: dict[str, Any]) -> str:
    return next((kind for kind in ("lower bound", "upper bound") if point[kind]), "")


def draw(path: Path, points: Sequence[dict[str, Any]]) -> None:
    """Draw the ratio of the times against the condition."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for k, name in enumerate(dict.fromkeys(point["set"] for point in points)):
        for loss, filled in zip(LOSSES, (True, False), strict=True):
            for kind, marker in (("", "o"), ("lower bound", "^"), ("upper bound", "v")):
                some = [p for p in points if p["set"] == name and p["loss"] == loss and _kind(p) == kind]
                colour = f"C{k}"
                axes.plot(
                    [p["condition"] for p in some], [p["ratio"] for p in some], marker, color=colour,
                    markerfacecolor=colour if filled else "none", label=name if filled and not kind else None,
                )  # fmt: skip
    axes.axhline(1, color="0.7")
    axes.axvline(_CONDITION, color="0.7", linestyle="--", label="threshold of auto")
    axes.set(xscale="log", yscale="log", xlabel="average condition number, mean ||x||² / (alpha d)")
    axes.set(
        ylabel="sdca's time over sgd's to 1 %", title="filled: hinge, empty: logistic; triangles: at least, or at most"
    )
    axes.legend(fontsize="small")
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=150)


def main(arguments: Sequence[str]) -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--rows", type=positive, default=300_000, help="most rows of a set")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--patience", type=positive, default=10, help="in times of SGD")
    parser.add_argument("--seconds", type=float, default=2.0, help="of the long run of dual coordinate ascent, at most")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/auto.png", help="the figure")
    options = parser.parse_args(arguments)
    described = options.output.with_suffix(".json")
    check_replaceable(options.output)
    check_replaceable(described)
    points: list[dict[str, Any]] = []
    for name in options.sets:
        try:
            parts = SETS[name]().binary()
        except FileNotFoundError as error:
            print(f"{name}: skipped, {error.filename} is not there; set DSGD_DATA to the folder of real data")
            continue
        for alpha in ALPHAS:
            data = Workload.of(parts.X[: options.rows], parts.y[: options.rows], alpha=alpha)
            condition = mean_square(data.X) / (alpha * data.X.shape[1])
            for loss in LOSSES:
                found = compare(data, loss, options.patience, options.seconds, options.rounds)
                points.append({"set": name, "loss": loss, "alpha": alpha, "condition": condition, **found})
                print({key: f"{v:.3g}" if isinstance(v, float) else v for key, v in points[-1].items()}, flush=True)
    right = [point for point in points if (point["ratio"] < 1) == (point["condition"] <= _CONDITION)]
    print(f"auto picks the faster one in {len(right)} of {len(points)}")
    draw(options.output, points)
    save(described, {"command": command(__file__, arguments), "machine": machine(), "points": points})


if __name__ == "__main__":
    main(sys.argv[1:])
