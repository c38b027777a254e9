"""Multinomial logistic regression on MNIST and 20news: ten passes of several algorithms.

    python bench/studies/softmax.py

The figures are objective, test error and seconds. float32, alpha 1e-4, every setting at its default
but the step size, which is searched once for each algorithm before the timing. Fits are timed in
turn, round by round, without evaluations: by wall seconds, and by processor seconds per thread,
which other work on the machine hardly changes. Beside them each class is trained against all others
on one thread, with the logistic loss. Exits with 1 if each of two threads of hogwild costs as much
as one alone, or if two threads end more than 1 % above one. Draws --output, and writes the same as
JSON beside it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from matplotlib.figure import Figure

import dsgd
from common.machine import ROOT, command, machine, save
from common.real_sets import SETS, Parts
from common.rounds import interleaved, positive
from dsgd._common.files import check_replaceable, replacing

NAMES = ("mnist", "20news")
PASSES = 10
RUNS: dict[str, dict[str, Any]] = {
    "one against all, sgd": {"algo": "sgd", "loss": "logistic"},
    "sgd": {"algo": "sgd"},
    "hogwild, 1 thread": {"algo": "hogwild", "n_threads": 1},
    "hogwild, 2 threads": {"algo": "hogwild", "n_threads": 2},
    "minibatch, 1 thread": {"algo": "minibatch", "n_threads": 1},
    "svrg, 2 threads": {"algo": "svrg", "n_threads": 2},
}


def measure(parts: Parts, rounds: int) -> dict[str, dict[str, float]]:
    """Return median seconds, objective and test error of every run."""
    X, X_test = (data.astype(np.float32) for data in (parts.X, parts.X_test))
    settings: dict[str, Any] = {"loss": "softmax", "random_state": 0, "max_epochs": PASSES}
    fits: dict[str, Callable[[], None]] = {}
    found: dict[str, dict[str, float]] = {}
    work: dict[str, list[float]] = {name: [] for name in RUNS}

    def timed(name: str, **options: Any) -> None:
        start = time.process_time()
        dsgd.fit(X, parts.y, evaluate_every=0, **options)
        work[name].append((time.process_time() - start) / options.get("n_threads", 1))

    for name, run in RUNS.items():
        options = {**settings, **run}
        result = dsgd.fit(X, parts.y, evaluate_every=PASSES, **options)
        found[name] = {
            "objective": float(result.history[-1].objective or np.nan),
            "test error": 1 - result.score(X_test, parts.y_test),
        }
        step_size = result.history[0].step_size
        fits[name] = partial(timed, name, step_size=step_size, **options)
    for name, seconds in interleaved(fits, rounds).items():
        found[name]["seconds"] = float(np.median(seconds))
        found[name]["seconds of a processor"] = float(np.median(work[name][1:]))
    return found


def missed(found: dict[str, dict[str, float]]) -> bool:
    """Return whether two threads fall short of one."""
    one, two = found["hogwild, 1 thread"], found["hogwild, 2 threads"]
    slower = two["seconds of a processor"] >= one["seconds of a processor"]
    return slower or two["objective"] > 1.01 * one["objective"]


def draw(results: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """Draw a bar for each run, with its error and objective."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    for axes, (name, found) in zip(figure.subplots(1, len(results)), results.items(), strict=True):
        seconds = [of["seconds of a processor"] for of in found.values()]
        labels = [f" error {of['test error']:.2%}, objective {of['objective']:.4f}" for of in found.values()]
        axes.bar_label(axes.barh(list(found), seconds, color="0.75"), labels)
        axes.set(title=name, xlabel=f"seconds of a processor a thread, {PASSES} passes", xlim=(0, 2.4 * max(seconds)))
        axes.invert_yaxis()
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=120)


def main(arguments: Sequence[str]) -> int:
    """Train, draw; return 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=5, help="a figure is the median of so many")
    parser.add_argument("--rows", type=positive, help="train on the first so many; default: all")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/softmax.png", help="the figure")
    options = parser.parse_args(arguments)
    described = options.output.with_suffix(".json")
    check_replaceable(options.output)
    check_replaceable(described)
    results = {}
    for name in NAMES:
        parts = SETS[name]()
        results[name] = measure(parts._replace(X=parts.X[: options.rows], y=parts.y[: options.rows]), options.rounds)
    draw(results, options.output)
    save(described, {"command": command(__file__, arguments), "machine": machine(), "results": results})
    for name, found in results.items():
        for run, of in found.items():
            print(name, run, {what: round(figure, 4) for what, figure in of.items()})
    return int(any(map(missed, results.values())))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
