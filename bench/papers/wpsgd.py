"""WP-SGD (Cheng, Li, Zhang): figures 3 and 6 to 10, on simulated clusters and on processes of this machine.

    python bench/papers/wpsgd.py

The paper is "Weighted parallel SGD for distributed unbalanced-workload training system".
The cluster has the 20 nodes of Table 1 in virtual time. The problems have the shapes of real-sim and, at an
eightieth of the rows and features, of KDD Cup 2010 algebra; the third is 20news. The paper does not print its
step sizes. They are chosen so that eta lambda T, T being the samples of the fastest node, is 3 (the start is not
forgotten) or 10 (it is). Time is modelled in two ways: steps on sparse rows take what this library's kernels
take, or they go through all weights. The statements of the paper are compared with the curves (wpsgd_claims.py).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from rich.console import Console
from scipy.stats import binomtest

import dsgd
from common.machine import about, save
from common.options import figure_options
from papers.wpsgd_cases import (
    ALPHA,
    COSTS,
    REGIMES,
    SPAN,
    Case,
    Curve,
    cases,
    cluster,
    fit,
    minibatch,
    parts,
    run,
    sequential,
    speeds,
    steps,
)
from papers.wpsgd_claims import BALANCED, SPANS, claims_of, zoom_claims
from papers.wpsgd_figures import draw, draw_more

ALGORITHMS = {
    "SimuParallel": "simuparallel",
    "direct average": "average",
    "WP-SGD": "wpsgd",
    "D&M WP-SGD": "wpsgd-dm",
}
CHECK_SPEEDS = [1.0] * 13 + [0.6] * 7
SEEDS = 20
# The step of the transient regime on processes: small, so that a run takes longer than its messages. A node makes
# 750,000 steps with it, and D&M WP-SGD 750 averages.
LOCAL_STEP = 4e-4
LOCAL_ROUNDS = 5


def compared(case: Case, regime: str) -> dict[str, dict[str, Curve]]:
    """Return the curves of all algorithms on the 20 nodes, by cost model."""
    alone, batches = sequential(case, regime), minibatch(case, regime, speeds())
    found = {}
    for cost in COSTS:
        curves = {"sequential": alone[cost], "mini-batch": batches[cost]}
        for name, algorithm in ALGORITHMS.items():
            curves[name] = run(case, algorithm, regime, cost, speeds())
        curves[BALANCED] = run(case, "simuparallel", regime, cost, [1.0] * 20)
        curves[SPANS] = run(case, "simuparallel", regime, cost, speeds(), averaging_span=SPAN)
        found[cost] = curves
    return found


def zoomed(case: Case) -> dict[str, dict[str, Curve]]:
    """Return figure 10: the four algorithms whose curves lie together, on 10, 20 and 40 nodes, in the transient."""
    alone = sequential(case, "transient")["dense"]
    found = {}
    for nodes in (10, 20, 40):
        curves = found[f"{nodes} nodes"] = {"sequential": alone}
        for name in ("SimuParallel", "direct average", "WP-SGD"):
            curves[name] = run(case, ALGORITHMS[name], "transient", "dense", speeds(nodes))
        curves[BALANCED] = run(case, "simuparallel", "transient", "dense", [1.0] * nodes)
    return found


def contraction(case: Case) -> dict[str, Any]:
    """Return figure 3: the distances of a path of SGD to its end, the fitted rate, the bound and our estimate."""
    eta, epochs = steps(case, "stationary")
    samples = epochs * -(-case.X.shape[0] // 20)
    span = samples // 40
    weights = np.array(list(parts(case, eta, span * 40, span)))
    end = weights[-10:].mean(axis=0)
    distances = np.linalg.norm(weights - end, axis=1)
    far = np.flatnonzero(distances > 2 * distances[-10:].mean())
    slope = np.polyfit((far + 1) * span, np.log(distances[far]), 1)[0]
    averaging = fit(case, "wpsgd", cluster(case, "dense", speeds()), eta, 1, contraction="data").averaging
    return {
        "samples": [(at + 1) * span for at in range(40)],
        "log_distances": np.log(distances).tolist(),
        "fitted": float(np.exp(slope)),
        "bound": 1 - eta * ALPHA,
        "estimated": averaging.rate,
    }


def check_of_seeds(case: Case, seeds: int) -> dict[str, Any]:
    """Compare three algorithms at the last record of WP-SGD before its average, for other orders and parts of the rows.

    Seven of 20 nodes have 0.6 of the speed of the others, and weights start at 4.
    """
    case = case._replace(start=4.0)
    found: dict[str, Any] = {}
    for regime in REGIMES:
        values: dict[str, list[float]] = {"WP-SGD": [], "SimuParallel": [], "direct average": []}
        margins = []
        for seed in range(seeds):
            curves = {
                name: run(case, ALGORITHMS[name], regime, "measured", CHECK_SPEEDS, random_state=seed)
                for name in values
            }
            instant = curves["WP-SGD"].seconds[-2]
            margins.append(curves["WP-SGD"].condition or 0.0)
            for name, curve in curves.items():
                values[name].append(float(np.exp(np.interp(instant, curve.seconds, np.log(curve.objectives)))))
        ours = np.array(values["WP-SGD"])
        below = {name: int(np.sum(ours < np.array(values[name]))) for name in ("SimuParallel", "direct average")}
        found[regime] = {
            "data": case.name,
            "seeds": seeds,
            "eta_lambda_T": REGIMES[regime],
            "least_condition": min(margins),
            "mean": {name: float(np.mean(each)) for name, each in values.items()},
            "below": below,
            "sign_test_p": {
                name: float(binomtest(n, seeds, alternative="greater").pvalue) for name, n in below.items()
            },
        }
    return found


def on_processes(case: Case, quick: bool) -> dict[str, Any]:
    """Return objectives against seconds on four processes of this machine, one at half speed.

    Of some runs in turn the one of median length is kept.
    """
    found: dict[str, Any] = {}
    case = case._replace(eta=LOCAL_STEP * (10 if quick else 1))
    for regime in REGIMES:
        eta, epochs = steps(case, regime, 4)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in ALGORITHMS}
        for _ in range(1 if quick else LOCAL_ROUNDS):
            for name, algorithm in ALGORITHMS.items():
                on = dsgd.LocalCluster(workers=4, speeds={3: 0.5})
                history = fit(case, algorithm, on, eta, epochs, evaluate_every=max(epochs // 30, 1)).history
                sent = sum(history[-1].bytes_sent or ()) + sum(history[-1].bytes_received or ())
                runs[name].append(
                    {
                        # From the first record: processes start slowly.
                        "seconds": [record.seconds - history[0].seconds for record in history],
                        "objectives": [record.objective for record in history],
                        "megabytes": sent / 1e6,
                    }
                )
        found[regime] = {
            name: sorted(each, key=lambda run: run["seconds"][-1])[len(each) // 2]
            | {"ends": [run["seconds"][-1] for run in each]}
            for name, each in runs.items()
        }
    return found


def plain(places: Mapping[str, Mapping[str, Curve]]) -> dict[str, Any]:
    """Return curves as JSON holds them, with six digits."""

    def short(value: Any) -> Any:
        return [float(f"{each:.6g}") for each in value] if isinstance(value, list) else value

    return {
        place: {name: {key: short(value) for key, value in curve._asdict().items()} for name, curve in curves.items()}
        for place, curves in places.items()
    }


def main(arguments: Sequence[str]) -> None:
    """Train, print, draw."""
    asked, console = (
        figure_options(__doc__, "wpsgd.png", "less data and fewer seeds, for a try", arguments),
        Console(width=160),
    )
    problems = cases(asked.quick)
    names = [case.name for case in problems]
    places: dict[str, dict[str, Curve]] = {}
    for case in problems:
        for regime in REGIMES:
            for cost, curves in compared(case, regime).items():
                places[f"{case.name}, {regime}, {cost}"] = curves
                ends = {name: f"{curve.objectives[-1]:.5g}" for name, curve in curves.items()}
                console.print(f"{case.name}, {regime}, {cost}: ends", ends)
    zoom = zoomed(problems[1])
    claims = [*claims_of(places), *zoom_claims(zoom)]
    for claim in claims:
        console.print(f"{claim.text}: holds in {sum(claim.holds.values())} of {len(claim.holds)}", claim.figures)
    results: dict[str, Any] = {
        "problems": {
            case.name: {"shape": case.X.shape, "entries": case.X.nnz, "start": case.start, "held_out": len(case.y_test)}
            | {regime: dict(zip(("eta", "passes"), steps(case, regime), strict=True)) for regime in REGIMES}
            for case in problems
        },
        "speeds": speeds(),
        "claims": [claim._asdict() for claim in claims],
        "contraction": {case.name: contraction(case) for case in problems},
        "check": check_of_seeds(problems[1], 3 if asked.quick else SEEDS),
        "local": on_processes(problems[2], asked.quick) if len(problems) > 2 else {},
    }
    console.print(results["check"])
    for regime in REGIMES:
        suffix = "" if regime == "transient" else f"_{regime}"
        draw(places, names, regime, asked.output.with_stem(asked.output.stem + suffix))
    draw_more(results, zoom, asked.output.with_stem(asked.output.stem + "_more"))
    results["curves"], results["zoom"] = plain(places), plain(zoom)
    save(asked.output.with_suffix(".json"), {**about(__file__, arguments), "results": results})
    console.print(f"written: {asked.output}")


if __name__ == "__main__":
    main(sys.argv[1:])
