"""The common part of DisSVRG's figures: YearPredictionMSD, runs of SVRG, and curves.

SVRG runs without any safeguard.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from sklearn.preprocessing import StandardScaler

import dsgd
from common.machine import ROOT, command, machine, save
from common.real_sets import SETS
from common.rounds import positive
from dsgd._common.files import check_replaceable, replacing
from dsgd.algorithms import Svrg
from dsgd.data import make_like

__all__ = ["ALPHA", "Curve", "YearData", "data_sets", "finish", "generated", "log_gaps", "options", "svrg"]

ALPHA = 1e-5
_FLOOR = 1e-13  # relative gaps below are rounding errors
Floats = NDArray[np.float64]


class YearData(NamedTuple):
    """Features and years, both standardised, and the minimum of the objective."""

    X: Floats
    y: Floats
    minimum: float

    @classmethod
    def of(cls, X: Any, y: Any) -> YearData:
        """Standardise, and solve the normal equations."""
        X = StandardScaler().fit_transform(np.asarray(X, np.float64))
        target = (np.asarray(y, np.float64) - np.mean(y)) / np.std(y)
        n, d = X.shape
        w = np.linalg.solve(X.T @ X / n + ALPHA * np.eye(d), X.T @ target / n)
        minimum = float(np.mean((X @ w - target) ** 2) / 2 + ALPHA / 2 * (w @ w))
        return cls(X, target, minimum)


class Curve(NamedTuple):
    """Relative suboptimality at effective passes; `diverged` if an epoch was taken back."""

    passes: list[float]
    gaps: list[float]
    seconds: float
    diverged: bool

    def at(self, passes: Floats) -> Floats:
        """Return the decimal logarithms of the gap at some passes, by linear interpolation."""
        return log_gaps(passes, self.passes, self.gaps)


def log_gaps(at: Floats, where: Sequence[float], gaps: Sequence[float]) -> Floats:
    """Return the decimal logarithms of a gap, by linear interpolation between measured places."""
    return np.interp(at, where, np.log10(np.maximum(gaps, _FLOOR)))


def generated(rows: int) -> YearData:
    """Return generated data of the shape of the full set, with another number of rows."""
    made = make_like("yearprediction", n_samples=rows, random_state=0)
    return YearData.of(made.X, made.y)


def data_sets(rows: int, console: Console) -> Iterator[tuple[str, YearData]]:
    """Yield the slice of the real set, if it is there, and generated data of the full set's shape."""
    try:
        parts = SETS["year"]()
        yield "slice", YearData.of(np.vstack([parts.X, parts.X_test]), np.concatenate([parts.y, parts.y_test]))
    except FileNotFoundError:
        console.print("the slice of YearPredictionMSD is not there: skipped; set DSGD_DATA to the folder of real data")
    yield "generated", generated(rows)


def svrg(data: YearData, algorithm: Svrg, step_size: float, epochs: int) -> Curve:
    """Train with a given step, from zeros."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        try:
            history = dsgd.fit(
                data.X,
                data.y,
                algo=algorithm,
                loss="squared",
                alpha=ALPHA,
                step_size=step_size,
                max_epochs=epochs,
                fit_intercept=False,
                n_threads=1,
                random_state=0,
                evaluate_every=1,
            ).history
        except dsgd.errors.DivergedError:
            return Curve([0.0], [float(0.5 / data.minimum - 1)], 0.0, diverged=True)
    objectives = [0.5, *(float(record.objective or np.nan) for record in history)]  # 0.5 at w = 0: standardised targets
    return Curve(
        [0.0, *(record.effective_passes for record in history)],
        [value / data.minimum - 1 for value in objectives],
        history[-1].seconds,
        diverged=any("diverged" in str(warning.message) for warning in caught),
    )


def options(description: str, arguments: Sequence[str], figure: str, rows: int = 463_715) -> argparse.Namespace:
    """Return the options of the command line; `rows` is a default."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=positive, default=rows, help="of the generated data")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results" / figure, help="the figure")
    parsed = parser.parse_args(arguments)
    for path in (parsed.output, parsed.output.with_suffix(".json")):
        check_replaceable(path)
    return parsed


def finish(
    script: str,
    arguments: Sequence[str],
    output: Path,
    results: Mapping[str, Mapping[str, Any]],
    styles: Mapping[str, Mapping[str, Any]],
) -> None:
    """Draw the curves of every data set, and write them as JSON beside the figure."""
    columns = 2
    lines = -(-len(results) // columns)
    figure = Figure(figsize=(5.5 * columns, 4 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (panel, result) in zip(panels, results.items(), strict=False):
        for label, curve in result["curves"].items():
            name = f"{label} (diverged)" if curve["diverged"] else label
            axes.plot(curve["passes"], np.maximum(curve["gaps"], _FLOOR), label=name, **styles[label])
        axes.set(title=f"{panel}: {result['rows']:,} rows", xlabel="effective passes", ylabel="F(w) / F* - 1")
        axes.set_yscale("log")
        axes.legend(fontsize="small")
    with replacing(output) as beside:
        figure.savefig(beside, format="png", dpi=150)
    described = {"command": command(script, arguments), "machine": machine(), "results": results}
    save(output.with_suffix(".json"), described)
