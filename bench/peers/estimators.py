"""The table of docs/from-scikit-learn.md: dsgd's estimators beside scikit-learn's, same parameters, all defaults.

    python bench/peers/estimators.py [--repeats 5] [--sets 20news rcv1 ...]

Seconds are medians of whole `fit` calls, the estimators taking turns; the score is that of the test part (accuracy,
R2), a mean over the seeds 0, 1, ... of the repeats. Exits with 1 if a score is 0.005 below scikit-learn's. Needs the
real data in $DSGD_DATA or ../shared/data, but for the generated documents ("rcv1", 300,000 of the shape of RCV1-v2).
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn import linear_model

import dsgd
from common.real_sets import SETS, Parts

BOUND = 0.005  # most by which a score may be below scikit-learn's
RUNS: list[tuple[str, dict[str, Any]]] = [
    ("rcv1", {}),
    ("rcv1", {"loss": "log_loss"}),
    ("20news", {}),
    ("20news", {"loss": "log_loss"}),
    ("20news", {"early_stopping": True}),
    ("reuters", {}),
    ("a9a", {}),
    ("kddcup99", {}),
    ("mnist", {}),
    ("casp", {}),
]


def documents() -> Parts:
    """Return generated documents of the shape of RCV1-v2, a tenth of them to test on."""
    X, y = dsgd.data.make_text_classification(300_000, random_state=0)
    return Parts(X[:270_000], y[:270_000], X[270_000:], y[270_000:])


def run(data: Parts, kind: Any, parameters: dict[str, Any]) -> tuple[float, float, int]:
    """Return seconds of a fit, its score and its epochs."""
    model = kind(**parameters)
    begin = time.perf_counter()
    model.fit(data.X, data.y)
    seconds = time.perf_counter() - begin
    return seconds, model.score(data.X_test, data.y_test), model.n_iter_


def compare(data: Parts, parameters: dict[str, Any], repeats: int) -> list[tuple[float, float, float]]:
    """Return median seconds, mean score and median epochs of scikit-learn, dsgd on one thread, and on two."""
    name = "SGDRegressor" if data.regression else "SGDClassifier"
    kinds = [(getattr(linear_model, name), {}), (getattr(dsgd, name), {}), (getattr(dsgd, name), {"n_jobs": 2})]
    rows: list[list[tuple[float, float, int]]] = [[] for _ in kinds]
    for seed in range(repeats):
        for (kind, more), row in zip(kinds, rows, strict=True):
            row.append(run(data, kind, {**parameters, **more, "random_state": seed}))
    return [
        (
            float(np.median([r[0] for r in row])),
            float(np.mean([r[1] for r in row])),
            float(np.median([r[2] for r in row])),
        )
        for row in rows
    ]


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sets", nargs="+", choices=sorted({name for name, _ in RUNS}))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    titles = ("data", "parameters", "scikit-learn", "1 thread", "2 threads", "speed-up", "scores", "epochs")
    table = Table(*titles)
    kept = True
    for name, parameters in RUNS:
        if arguments.sets and name not in arguments.sets:
            continue
        data = documents() if name == "rcv1" else SETS[name]()
        results = compare(data, parameters, arguments.repeats)
        seconds, scores, epochs = zip(*results, strict=True)
        kept &= min(scores[1:]) >= scores[0] - BOUND
        table.add_row(
            name,
            ", ".join(f"{key}={value!r}" for key, value in parameters.items()) or "defaults",
            *(f"{s:.3g} s" for s in seconds),
            " / ".join(f"{seconds[0] / s:.1f}" for s in seconds[1:]),
            " / ".join(f"{s:.4f}" for s in scores),
            " / ".join(f"{e:g}" for e in epochs),
        )
    Console(width=160).print(table)
    sys.exit(not kept)


if __name__ == "__main__":
    main()
