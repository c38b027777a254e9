"""Seconds of a default fit of ten passes over those of the same fit without evaluation.

    python bench/studies/evaluation_cost.py

A default fit keeps the losses that its epochs summed, and evaluates the objective once, at its end.
Beside it is a fit that evaluates the exact objective after every epoch. Fits are timed in turn, with
the same step size; a figure is the median of the ratios of the rounds. The data is float32: 300,000
generated documents, and 20news, classes 2 to 6 against the rest. Writes --output as JSON.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np

import dsgd
from common.machine import about, save
from common.options import study_options
from common.rounds import interleaved
from common.workloads import WORKLOADS, Workload

PASSES = 10
DATA = ("documents", "20news")
LOSSES = ("hinge", "logistic")
RUNS: dict[str, dict[str, Any]] = {
    "sgd": {"algo": "sgd"},
    "hogwild, 1 thread": {"algo": "hogwild", "n_threads": 1},
    "hogwild, 2 threads": {"algo": "hogwild", "n_threads": 2},
    "minibatch, 1 thread": {"algo": "minibatch", "n_threads": 1},
    "sdca, 1 thread": {"algo": "sdca", "n_threads": 1},
    "svrg, 1 thread": {"algo": "svrg", "n_threads": 1},
}
EVALUATIONS = {"none": 0, "default": None, "every epoch": 1}


def measure(data: Workload, loss: str, run: dict[str, Any], rounds: int) -> dict[str, float]:
    """Return the seconds without evaluations, and the ratios of the others to them."""
    fit = functools.partial(
        dsgd.fit, data.X, data.y, loss=loss, alpha=data.alpha, max_epochs=PASSES, random_state=0, **run
    )
    if run["algo"] != "sdca":
        fit = functools.partial(fit, step_size=fit(evaluate_every=0).history[0].step_size)
    fits = {name: functools.partial(fit, evaluate_every=every) for name, every in EVALUATIONS.items()}
    seconds = {name: np.array(times) for name, times in interleaved(fits, rounds).items()}
    ratios = {name: float(np.median(times / seconds["none"])) for name, times in seconds.items() if name != "none"}
    return {"seconds": float(np.median(seconds["none"])), **ratios}


def main(arguments: Sequence[str]) -> None:
    """Measure, print, save."""
    options = study_options(__doc__, "evaluation_cost.json", 7, arguments, rows=300_000)
    results: dict[str, dict[str, float]] = {}
    print(f"{'':45}seconds  default  every epoch")
    for name in DATA:
        try:
            data = WORKLOADS[name](options.rows)
        except FileNotFoundError as error:
            print(f"{name}: skipped, {error.filename} is not there; set DSGD_DATA to the folder of real data")
            continue
        for loss in LOSSES:
            for run, settings in RUNS.items():
                found = results[f"{name}, {loss}, {run}"] = measure(data, loss, settings, options.rounds)
                row = f"{found['seconds']:7.3f}  {found['default']:7.3f}  {found['every epoch']:11.3f}"
                print(f"{name + ', ' + loss + ', ' + run:45}{row}", flush=True)
    save(options.output, {**about(__file__, arguments), "results": results})


if __name__ == "__main__":
    main(sys.argv[1:])
