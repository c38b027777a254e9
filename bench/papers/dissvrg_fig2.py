"""Figure 2 of DisSVRG (Ming, Zhao, Guo, Yin), repeated: the number m of inner steps.

    python bench/papers/dissvrg_fig2.py

The loss is squared, the data YearPredictionMSD, on one machine, with a constant step of 1e-5 and m
from a quarter of the rows to five times as many. The paper finds that the larger m is, the faster
is the convergence, since fewer full gradients are computed.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from rich.console import Console

from dsgd.algorithms import Svrg
from papers.year import Curve, data_sets, finish, options, svrg

STEP = 1e-5
INNER = {0.25: "tab:blue", 0.5: "tab:cyan", 1.0: "tab:green", 2.0: "tab:orange", 5.0: "tab:red"}
PASSES = {"slice": 60, "generated": 24}


def label(share: float) -> str:
    """Return the name of a curve."""
    return f"m = {share:g} n"


def verdict(curves: Mapping[str, Curve], passes: float) -> str:
    """Say whether after the same number of passes a larger m is always nearer to the minimum."""
    gaps = [float(10 ** curves[label(share)].at(np.array([passes]))[0]) for share in INNER]
    figures = ", ".join(f"{label(share)} {gap:.4g}" for share, gap in zip(INNER, gaps, strict=True))
    holds = all(later < earlier for earlier, later in itertools.pairwise(gaps))
    return f"the larger m, the faster, {'holds' if holds else 'does not hold'}; gaps after {passes:g} passes: {figures}"


def main(arguments: Sequence[str]) -> None:
    """Train, print, draw."""
    asked = options(__doc__ or "", arguments, "dissvrg_fig2.png")
    console = Console(width=120)
    results: dict[str, dict[str, Any]] = {}
    for name, data in data_sets(asked.rows, console):
        rows = len(data.y)
        curves = {
            label(share): svrg(
                data,
                Svrg(sgd_first=False, inner_steps=max(1, round(share * rows))),
                STEP,
                round(PASSES[name] / (1 + share)),
            )
            for share in INNER
        }
        last = min(curve.passes[-1] for curve in curves.values())
        results[name] = {
            "rows": rows,
            "ordering": verdict(curves, last),
            "curves": {key: curve._asdict() for key, curve in curves.items()},
        }
        console.print(f"{name}, {rows:,} rows: {results[name]['ordering']}")
    finish(
        __file__, arguments, asked.output, results, {label(share): {"color": color} for share, color in INNER.items()}
    )
    console.print(f"written: {asked.output}")


if __name__ == "__main__":
    main(sys.argv[1:])
