"""Dual coordinate ascent on 20news: duality gap and suboptimality against passes.

    python bench/papers/sdca.py

Each curve is a run with or without rest of samples, on one or two threads. The problem is the hinge
loss with l2 of 1e-4 and no intercept, in float32, as the figures of Shalev-Shwartz and Zhang 2013
(section 6) show it for other sets. A sample at rest is not visited, so passes are visits of samples
divided by the number of samples. Both curves are relative to the least objective, which is
certified. Draws --output, and writes the same as JSON beside it.
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

from common.machine import ROOT, command, machine, save
from common.optimum import optimum
from common.problems import SETS, Problem
from common.rounds import positive
from dsgd import _core
from dsgd._common.files import check_replaceable, replacing
from dsgd.data.inputs import as_matrix

ALPHA = 1e-4
CONFIGURATIONS = [(max_rest, threads) for max_rest in (0, 8) for threads in (1, 2)]


def climb(problem: Problem, least: float, max_rest: int, n_threads: int, epochs: int) -> list[dict[str, float]]:
    """Return passes, relative gap and suboptimality after every epoch."""
    y = problem.data.y.astype(np.float32)
    objective = _core.LinearObjective(
        as_matrix(problem.data.X, n_threads), y, None, loss=_core.Loss(problem.loss, 0.0), n_threads=n_threads,
        alpha_l1=0, alpha_l2=problem.data.alpha, fit_intercept=False,
    )  # fmt: skip
    solver = _core.Sdca(
        objective, n_threads=n_threads, merge_visits=2, damping=float(n_threads), max_rest=max_rest, sgd_first=True
    )
    weights, schedule = np.zeros(problem.data.X.shape[1], np.float32), _core.Schedule(step_size=1.0)
    points, passes = [], 0.0
    for index in range(epochs):
        done = solver.epoch(weights, _core.Epoch(index=index, schedule=schedule, block_size=11, seed=0))
        passes += done.visits / len(y)
        dual = solver.rebuild(weights)
        value = objective.value(weights, n_threads)
        points.append({"passes": passes, "gap": (value - dual) / least, "suboptimality": value / least - 1})
    return points


def title(max_rest: int, n_threads: int) -> str:
    """Return the name of a curve."""
    return f"max_rest={max_rest}, {n_threads} thread{'s' if n_threads > 1 else ''}"


def draw(path: Path, curves: dict[str, list[dict[str, float]]]) -> None:
    """Draw gap and suboptimality side by side."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2, sharex=True, sharey=True), ("gap", "suboptimality"), strict=True):
        for name, points in curves.items():
            axes.plot([point["passes"] for point in points], [point[key] for point in points], marker=".", label=name)
        axes.axhline(0.01, color="0.7", linestyle="--")
        axes.set(title=f"{key}, relative to the optimum", xlabel="passes", yscale="log", ylim=(1e-6, None))
    axes.legend()
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=150)


def passes_to(points: list[dict[str, float]], key: str, target: float) -> float | None:
    """Return the passes after which a curve is at the target."""
    return next((round(point["passes"], 2) for point in points if point[key] <= target), None)


def main(arguments: Sequence[str]) -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="20news", choices=SETS)
    parser.add_argument("--rows", type=positive, default=300_000, help="most rows")
    parser.add_argument("--epochs", type=positive, default=100)
    parser.add_argument("--optima", type=Path, default=ROOT / "docs/results/time_to_accuracy_optima.json")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/sdca.png", help="the figure")
    options = parser.parse_args(arguments)
    described = options.output.with_suffix(".json")
    check_replaceable(options.output)
    check_replaceable(described)
    try:
        [problem] = SETS[options.set](options.rows, ("hinge",), (ALPHA,))
    except FileNotFoundError as error:
        parser.error(f"{error.filename} is not there; set DSGD_DATA to the folder of real data")
    least = optimum(problem, options.optima).lower
    curves = {title(*setting): climb(problem, least, *setting, options.epochs) for setting in CONFIGURATIONS}
    results: dict[str, Any] = {}
    for name, points in curves.items():
        reached = {
            key: {str(target): passes_to(points, key, target) for target in (1e-2, 1e-3, 1e-4)}
            for key in ("gap", "suboptimality")
        }
        results[name] = {"passes": reached, "points": points}
        print(f"{problem.title}, {name}: passes to {reached}")
    draw(options.output, curves)
    save(described, {"command": command(__file__, arguments), "machine": machine(), "results": results})


if __name__ == "__main__":
    main(sys.argv[1:])
