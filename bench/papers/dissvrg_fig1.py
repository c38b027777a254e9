"""Figure 1 of DisSVRG (Ming, Zhao, Guo, Yin), repeated: the accelerated factor, in two readings.

    python bench/papers/dissvrg_fig1.py

The loss is squared, the data YearPredictionMSD, on one machine. Steps of 0.001 (solid) and 0.01
(dotted) are constant (blue) or accelerated (red: by the full gradient; orange: by the gradient of
each sample). The features are standardised, so the mean of ||x||^2 is their number, and a step of
0.01 is above every proved bound. Nothing is clamped, and a divergence is reported: such a curve
goes on with a quarter of the step. The paper does not say how many inner steps there are; here they
are a fiftieth of the rows, and as many as rows. The paper finds that accelerated steps converge
faster, and the more so the longer the step.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from rich.console import Console

from dsgd.algorithms import Svrg
from papers.year import Curve, data_sets, finish, options, svrg

STEPS = {0.001: "-", 0.01: ":"}
FACTORS = {None: "tab:blue", "anchor": "tab:red", "sample": "tab:orange"}
EPOCHS = {50: 10, 1: 5}  # by the rows for one inner step


def label(factor: str | None, step: float) -> str:
    """Return the name of a curve."""
    return f"{factor or 'constant'}, {step:g}"


def benefit(curves: Mapping[str, Curve], factor: str, step: float) -> float | None:
    """Return by how many powers of ten the factor makes the gap smaller, on average over the run; None: diverged."""
    plain, fast = curves[label(None, step)], curves[label(factor, step)]
    if plain.diverged or fast.diverged:
        return None
    passes = np.linspace(0, plain.passes[-1], 200)[1:]
    return float(np.mean(plain.at(passes) - fast.at(passes)))


def verdict(curves: Mapping[str, Curve], factor: str) -> str:
    """Say whether the paper's two observations hold."""
    short, long = (benefit(curves, factor, step) for step in STEPS)
    figures = ", ".join(
        f"{step:g}: diverged" if gain is None else f"{step:g}: 10^{gain:.2f} times closer"
        for step, gain in zip(STEPS, (short, long), strict=True)
    )
    faster = short is not None and long is not None and min(short, long) > 0
    more = short is not None and long is not None and long > short
    return (
        f"'{factor}': faster at both steps {'holds' if faster else 'does not hold'}, the more so at the longer step "
        f"{'holds' if more else 'does not hold'} ({figures})"
    )


def main(arguments: Sequence[str]) -> None:
    """Train, print, draw."""
    asked = options(__doc__ or "", arguments, "dissvrg_fig1.png")
    console = Console(width=120)
    results: dict[str, dict[str, Any]] = {}
    for name, data in data_sets(asked.rows, console):
        for share, epochs in EPOCHS.items():
            rows = len(data.y)
            curves = {
                label(factor, step): svrg(
                    data,
                    Svrg(accelerated=factor, safe=False, sgd_first=False, inner_steps=max(1, rows // share)),
                    step,
                    epochs,
                )
                for step in STEPS
                for factor in FACTORS
            }
            panel = f"{name}, m = {'n' if share == 1 else f'n / {share}'}"
            results[panel] = {
                "rows": rows,
                "ordering": [verdict(curves, factor) for factor in FACTORS if factor is not None],
                "curves": {key: curve._asdict() for key, curve in curves.items()},
            }
            console.print(f"{panel}:", *results[panel]["ordering"], sep="\n  ")
    styles = {
        label(f, s): {"color": color, "linestyle": line} for f, color in FACTORS.items() for s, line in STEPS.items()
    }
    finish(__file__, arguments, asked.output, results, styles)
    console.print(f"written: {asked.output}")


if __name__ == "__main__":
    main(sys.argv[1:])
