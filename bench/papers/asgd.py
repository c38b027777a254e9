"""ASGD (Keuper, Pfreundt): figures 1, 5, 8, 9 and 14, k-means on simulated clusters.

    python bench/papers/asgd.py

The paper is "Asynchronous parallel stochastic gradient descent: a numeric core for scalable distributed machine
learning algorithms". Nodes have links of 10 Gb/s and 50 us, and a row takes what our kernels take on one core of this
machine. Every node draws its points from the seed. The paper prints no step sizes: each algorithm has the best of
some, by its error at 64 nodes. Its "SGD" is SimuParallelSGD, with steps on ten rows; "BATCH" is map-reduce with the
line search. An error is the objective's distance from that of Lloyd's algorithm from the same start, relative to it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from rich.console import Console
from scipy.stats import binomtest

from common.machine import about, save
from common.options import figure_options
from papers.asgd_cases import LATENCY, LINKS, Case, Curve, Rates, make_case, rates, run, startup
from papers.asgd_figures import draw

NODES = (64, 128, 256, 512, 1024)
ROWS = 2**23  # of all nodes in the scaling experiment
PASSES = 5
ERROR = 0.005  # to which a time is measured
BATCH = 500
STEPS = {"asgd": (1.0, 3.0, 10.0, 30.0), "simuparallel": (0.05, 0.15, 0.5, 1.5)}
OPTIONS: dict[str, dict[str, Any]] = {
    "ASGD": {"algo": "asgd", "batch_size": BATCH},
    "silent": {"algo": "asgd", "batch_size": BATCH, "silent": True},
    "SGD": {"algo": "simuparallel", "batch_size": 10},
    "BATCH": {"algo": "batch"},
}
LLOYD_STEPS = 25  # of BATCH
SEEDS = 10
_EVERY = 16  # of the rows, one is used to choose the steps


def best_steps(case: Case, rate: float, passes: int) -> dict[str, float]:
    """Return the step of each algorithm with the lowest error at the end."""
    found = {}
    for name in ("ASGD", "SGD"):
        options = OPTIONS[name]
        ends = {step: run(case, rate, 0.0, passes, step_size=step, **options) for step in STEPS[options["algo"]]}
        found[name] = min(ends, key=lambda step: ends[step].errors[-1])
    found["silent"] = found["ASGD"]
    return found


def trained(case: Case, name: str, speed: Rates, begin: float, passes: int, steps: dict[str, float]) -> Curve:
    """Run one algorithm; BATCH has no step size, and goes on until it stands still."""
    if name == "BATCH":
        return run(case, speed.full, begin, LLOYD_STEPS, **OPTIONS[name])
    return run(case, speed.batch, begin, passes, step_size=steps[name], **OPTIONS[name])


def scaling(nodes: Sequence[int], rows: int) -> dict[str, Any]:
    """Figures 1, 5 and 9: the same points on more and more nodes."""
    speed = rates(10, BATCH)
    case = make_case(1024, rows // 1024, 10, spread_start=True)
    few = case._replace(nodes=64, X=case.X[::_EVERY])
    steps = best_steps(few, speed.batch, PASSES)
    found: dict[str, Any] = {"rates": speed._asdict(), "steps": steps, "rows": rows, "passes": PASSES, "error": ERROR}
    for count in nodes:
        on, begin = case._replace(nodes=count), startup(count, 10)
        for name in ("ASGD", "SGD", "BATCH"):
            curve = trained(on, name, speed, begin, PASSES, steps)
            # BATCH goes on: it is timed and judged after as many rows as the others.
            last = min(PASSES, len(curve.errors)) - 1
            at: dict[str, Any] = {"nodes": count, "startup": begin, "counts": curve.counts}
            at |= {"seconds": curve.seconds[last], "end_error": curve.errors[last]}
            # SGD has no model before its end: its curve is of averages that nobody has made.
            to_error = float("nan") if name == "SGD" else curve.time_to(ERROR)
            at |= {"first_error": curve.errors[0], "time_to_error": None if np.isnan(to_error) else to_error}
            found.setdefault(name, []).append(at)
    return found


def convergence(nodes: int, rows: int, passes: int) -> dict[str, Any]:
    """Figure 8: k = 100 and b = 500, from points at random."""
    speed = rates(100, BATCH)
    steps = best_steps(make_case(64, rows, 100, spread=0.1), speed.batch, passes)
    case, begin = make_case(nodes, rows, 100, spread=0.1), startup(nodes, 100)
    curves = {name: trained(case, name, speed, begin, passes, steps)._asdict() for name in OPTIONS}
    return {"nodes": nodes, "rows": len(case.X), "rates": speed._asdict(), "steps": steps, "curves": curves}


def silence(seeds: int) -> dict[str, Any]:
    """Figure 14: with and without messages on 64 nodes of 2,048 points, other points and another start each time."""
    speed, passes, ends = rates(10, 100), 10, []
    curves: dict[str, list[dict[str, Any]]] = {"ASGD": [], "silent": []}
    for seed in range(seeds):
        case = make_case(64, 2048, 10, seed=seed)
        for name, each in curves.items():
            options = {**OPTIONS[name], "batch_size": 100}
            each.append(run(case, speed.batch, 0.0, passes, seed, step_size=1.0, **options)._asdict())
        talking, alone = (Curve(**curves[name][-1]) for name in curves)
        time = min(talking.seconds[-1], alone.seconds[-1])
        ends.append([float(np.interp(time, each.seconds, each.errors)) for each in (talking, alone)])
    worse = sum(alone > talking for talking, alone in ends)
    p = float(binomtest(worse, seeds, alternative="greater").pvalue)
    return {"seeds": seeds, "ends": ends, "silent_is_worse": worse, "sign_test_p": p, "curves": curves}


def main(arguments: Sequence[str]) -> None:
    """Train, print, draw."""
    asked, console = (
        figure_options(__doc__, "asgd.png", "fewer rows, nodes and seeds, for a try", arguments),
        Console(width=160),
    )
    results: dict[str, Any] = {"links": LINKS, "latency": LATENCY, "batch_size": BATCH}
    results["scaling"] = scaling(NODES[:2] if asked.quick else NODES, ROWS // 16 if asked.quick else ROWS)
    for name in ("ASGD", "SGD", "BATCH"):
        for at in results["scaling"][name]:
            console.print(name, {key: value for key, value in at.items() if key != "counts"})
    results["convergence"] = convergence(64 if asked.quick else 1024, 2048, 10)
    for name, curve in results["convergence"]["curves"].items():
        console.print(name, "ends at", curve["errors"][-1], "after", curve["seconds"][-1])
    results["silence"] = silence(3 if asked.quick else SEEDS)
    console.print({key: value for key, value in results["silence"].items() if key != "curves"})
    draw(results, asked.output)
    save(asked.output.with_suffix(".json"), {**about(__file__, arguments), "results": results})
    console.print(f"written: {asked.output}")


if __name__ == "__main__":
    main(sys.argv[1:])
