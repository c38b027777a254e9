"""Whether ``algo="auto"`` should change from `sdca` to `svrg` in the middle of a fit with `gap_tol`.

    python bench/studies/auto_gap.py

Dense rows with eigenvalues j^(-2 decay), labels of a noisy plane, logistic loss. For average condition
numbers mean ||x||^2 / (alpha d) below the one from which `auto` picks `svrg`: seconds of a whole fit to
a proven accuracy by each of both on one thread, the median of the rounds, in turn. A change in the
middle could save at most what the quotient is above 1, less the passes before it. Writes --output.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from numpy.typing import NDArray

import dsgd
from common.machine import about, save
from common.options import study_options
from common.rounds import interleaved

SHAPES = ((20_000, 50, 0.0), (20_000, 50, 1.0), (20_000, 50, 2.0), (20_000, 200, 1.0), (20_000, 200, 2.0))
CONDITIONS = (30.0, 100.0, 390.0)
TOLERANCES = (1e-2, 1e-3)


def generated(rows: int, features: int, decay: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return rows with a mean square of 1, and their labels."""
    random = np.random.default_rng(0)
    sizes = np.arange(1, features + 1) ** -decay
    X = random.standard_normal((rows, features)) * sizes
    X /= np.sqrt(np.square(X).sum(axis=1).mean())
    noisy = X @ (random.standard_normal(features) / sizes) + 0.5 * random.standard_normal(rows)
    return X.astype(np.float32), (noisy > 0).astype(int)


def main(arguments: Sequence[str]) -> None:
    """Measure, print, save."""
    options = study_options(__doc__, "auto_gap.json", 5, arguments, rows=20_000)
    warnings.simplefilter("ignore")  # of columns that are very different, as they are meant to be
    results: list[dict[str, Any]] = []
    for rows, features, decay in SHAPES:
        X, y = generated(min(rows, options.rows), features, decay)
        for condition in CONDITIONS:
            for tolerance in TOLERANCES:
                settings: dict[str, Any] = {"alpha": 1 / (condition * features), "gap_tol": tolerance, "n_threads": 1}
                settings |= {"loss": "logistic", "fit_intercept": False, "evaluate_every": 0, "random_state": 0}
                fits = {algo: functools.partial(dsgd.fit, X, y, algo=algo, **settings) for algo in ("sdca", "svrg")}
                found = {algo: float(np.median(each)) for algo, each in interleaved(fits, options.rounds).items()}
                row = {"features": features, "decay": decay, "condition": condition, "gap_tol": tolerance}
                results.append({**row, **found, "sdca / svrg": found["sdca"] / found["svrg"]})
                print(", ".join(f"{name} {value:.3g}" for name, value in results[-1].items()), flush=True)
    save(options.output, {**about(__file__, arguments), "results": results})


if __name__ == "__main__":
    main(sys.argv[1:])
