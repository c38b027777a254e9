"""The quality of the defaults on real data: steps beside a search, scores beside scikit-learn.

    python bench/studies/defaults.py steps
        the objective after 10 passes over that of the best constant step of a grid
    python bench/studies/defaults.py scores
        test accuracy (R2 for regression) beside SGDClassifier (SGDRegressor), untuned

Medians of 5 seeds, alpha 1e-4, one thread. Exits with 1 if a bound is missed: 2 % of the best objective, 0.3 points of
accuracy or 0.003 of R2. Needs the real data in $DSGD_DATA or ../shared/data.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import SGDClassifier, SGDRegressor

import dsgd
from common.real_sets import FOLDER, SETS, Parts, present
from common.workloads import mean_square

ALPHA, PASSES = 1e-4, 10
STEP_BOUND, SCORE_BOUND = 1.02, 0.003
STEP_SETS = ("reuters", "20news", "a9a", "phishing", "kddcup99", "casp", "casp unscaled", "year")
SCORE_SETS = ("reuters", "20news", "a9a", "phishing", "kddcup99", "mnist", "skin", "casp", "year")
CONSOLE = Console(width=110)


def objective(X: Any, y: Any, seed: int, **settings: Any) -> tuple[float, float]:
    """Return the objective after the last pass, infinity for a run that diverged, and the first step size."""
    try:
        history = dsgd.fit(
            X, y, algo="sgd", max_epochs=PASSES, evaluate_every=PASSES, random_state=seed, **settings
        ).history
    except dsgd.errors.DivergedError:
        return np.inf, np.nan
    assert history[-1].objective is not None
    return history[-1].objective, history[0].step_size


def step_rows(data: Parts, factor: float, seeds: range) -> Iterator[tuple[str, float, int, float, float]]:
    """Yield loss, best objective of the grid, its k, objective of auto, and auto's step times mean.

    The grid of step sizes is 4^k / mean ||x||^2.
    """
    X, y = data.X * factor, data.binary().y
    mean = mean_square(X)
    for loss in ("squared",) if data.regression else ("hinge", "logistic", "squared"):
        settings: dict[str, Any] = {"loss": loss, "alpha": ALPHA * factor**2}
        grid = {
            k: float(
                np.median(
                    [objective(X, y, s, step_size=4.0**k / mean, schedule="constant", **settings)[0] for s in seeds]
                )
            )
            for k in range(-8, 4)
        }
        best = min(grid, key=grid.__getitem__)
        values, steps = zip(*(objective(X, y, s, **settings) for s in seeds), strict=True)
        yield loss, grid[best], best, float(np.median(values)), float(np.median(steps)) * mean


def compare_steps(names: list[str], factors: list[float], seeds: range) -> bool:
    """Print the table of `steps`; whether every bound is kept."""
    table = Table("data", "features times", "loss", "best constant", "at 4^k, k", "auto", "ratio", "auto's step")
    kept = True
    for name in names:
        data = SETS[name]()
        for factor in factors:
            for loss, best, k, auto, step in step_rows(data, factor, seeds):
                kept &= auto <= STEP_BOUND * best
                table.add_row(
                    name, f"{factor:g}", loss, f"{best:.5g}", str(k), f"{auto:.5g}", f"{auto / best:.4f}", f"{step:.3g}"
                )
        CONSOLE.print(f"{name} done")
    CONSOLE.print(table)
    return kept


def peer_scores(data: Parts, seeds: range) -> list[float]:
    """Return the test score of scikit-learn's SGDClassifier, or SGDRegressor, for every seed."""
    peer = SGDRegressor if data.regression else SGDClassifier
    models = (peer(alpha=ALPHA, max_iter=PASSES, tol=None, random_state=seed) for seed in seeds)
    return [model.fit(data.X, data.y).score(data.X_test, data.y_test) for model in models]


def scores(data: Parts, seeds: range) -> tuple[float, float]:
    """Return the median test scores of dsgd and of scikit-learn."""
    loss = "squared" if data.regression else "hinge"
    settings: dict[str, Any] = {"algo": "sgd", "loss": loss, "alpha": ALPHA, "max_epochs": PASSES, "evaluate_every": 0}
    results = (dsgd.fit(data.X, data.y, random_state=seed, **settings) for seed in seeds)
    ours = [result.score(data.X_test, data.y_test) for result in results]
    return float(np.median(ours)), float(np.median(peer_scores(data, seeds)))


def compare_scores(names: list[str], seeds: range) -> bool:
    """Print the table of `scores`; whether every bound is kept."""
    table = Table("data", "test rows", "measure", "dsgd", "scikit-learn", "difference")
    kept = True
    for name in names:
        data = SETS[name]()
        ours, theirs = scores(data, seeds)
        kept &= ours - theirs >= -SCORE_BOUND
        table.add_row(
            name,
            str(data.X_test.shape[0]),
            "R2" if data.regression else "accuracy",
            f"{ours:.4f}",
            f"{theirs:.4g}",
            f"{ours - theirs:+.4g}",
        )
    CONSOLE.print(table)
    return kept


def main() -> None:
    """Run one of the two comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("steps", "scores"))
    parser.add_argument("--sets", nargs="+", choices=list(SETS), help="by default all that the comparison is for")
    parser.add_argument("--factors", nargs="+", type=float, default=[1.0, 1e-3, 1e3], help="of the features, for steps")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    if not present():
        sys.exit(f"the real data is not in {FOLDER}; set DSGD_DATA to its folder")
    warnings.simplefilter("ignore")  # those of diverging steps of the grid, and of scikit-learn
    seeds = range(arguments.seeds)
    if arguments.what == "steps":
        kept = compare_steps(arguments.sets or list(STEP_SETS), arguments.factors, seeds)
    else:
        kept = compare_scores(arguments.sets or list(SCORE_SETS), seeds)
    sys.exit(not kept)


if __name__ == "__main__":
    main()
