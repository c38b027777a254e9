"""Figure 1 of DisSVRG (Ming, Zhao, Guo, Yin) again: the accelerated factor, by both readings of it.

    python bench/papers/dissvrg_fig1.py

Squared loss on YearPredictionMSD, one machine, steps 0.001 (solid) and 0.01 (dotted), constant (blue) and accelerated
(red: by the full gradient; orange: by each sample's own). The features are standardised, so that the mean of ||x||^2 is
their number, and 0.01 lies above every bound that is proved: nothing is clamped, and a divergence is reported. What the
paper finds: accelerated steps converge faster, and the more so the longer the step.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from year import Curve, data_sets, finish, options, show_skipped, svrg

from dsgd.algorithms import Svrg

STEPS = {0.001: "-", 0.01: ":"}
FACTORS = {None: "tab:blue", "anchor": "tab:red", "sample": "tab:orange"}
EPOCHS = {"slice": 40, "generated": 12}


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
    for name, data in data_sets(asked.rows):
        if data is None:
            show_skipped(console)
            continue
        rows = len(data.y)
        curves = {
            label(factor, step): svrg(
                data,
                Svrg(accelerated=factor, safe=False, sgd_first=False, inner_steps=max(1, rows // 4)),
                step,
                EPOCHS[name],
            )
            for step in STEPS
            for factor in FACTORS
        }
        orderings = [verdict(curves, factor) for factor in FACTORS if factor is not None]
        results[name] = {
            "rows": rows,
            "ordering": orderings,
            "curves": {key: curve._asdict() for key, curve in curves.items()},
        }
        console.print(f"{name}, {rows:,} rows:", *orderings, sep="\n  ")
    styles = {label(f, s): {"color": color, "linestyle": line} for f, color in FACTORS.items() for s, line in STEPS.items()}
    finish(__file__, arguments, asked.output, results, styles)
    console.print(f"written: {asked.output}")


if __name__ == "__main__":
    main(sys.argv[1:])
