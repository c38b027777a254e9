"""scikit-learn's tools on 20 Newsgroups, with dsgd's SGDClassifier in them and with scikit-learn's: time and accuracy.

    python bench/peers/estimators_in_tools.py [--repeats 5] [--rows 4000]

Seconds are medians of whole calls, the estimators taking turns, all defaults, one thread a fit; accuracy is that of the
test rows (the cross validation's own where it has one), a mean over the seeds 0, 1, ... of the repeats. Exits with 1 if
an accuracy is 0.005 below scikit-learn's. Needs the real data in $DSGD_DATA or ../shared/data.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn import linear_model
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectFromModel
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

import dsgd
from common.real_sets import SETS, Parts
from common.rounds import positive

BOUND = 0.005  # most by which an accuracy may be below scikit-learn's
KINDS = (linear_model.SGDClassifier, dsgd.SGDClassifier)
GRID = {"alpha": [3e-5, 1e-4, 3e-4], "loss": ["hinge", "log_loss"]}


def texts_of(X: Any) -> list[str]:
    """Return a text for every row, with a word for each of its features."""
    rows = zip(X.indptr[:-1], X.indptr[1:], strict=True)
    return [" ".join(f"word{j}" for j in X.indices[begin:end]) for begin, end in rows]


def tools(data: Parts, rows: int) -> dict[str, Callable[[Any], float]]:
    """Return the timed functions: each takes an estimator and returns an accuracy."""
    X, y = data.X[:rows], data.y[:rows]
    texts, test_texts = texts_of(X), texts_of(data.X_test)

    def fitted(wrap: Callable[[Any], Any], words: bool = False) -> Callable[[Any], float]:
        train, test = (texts, test_texts) if words else (X, data.X_test)
        return lambda model: float(wrap(model).fit(train, y).score(test, data.y_test))

    return {
        "alone": fitted(lambda model: model),
        "Pipeline with TfidfVectorizer": fitted(lambda model: make_pipeline(TfidfVectorizer(), model), words=True),
        "GridSearchCV(n_jobs=2)": fitted(lambda model: GridSearchCV(model, GRID, cv=3, n_jobs=2)),
        "CalibratedClassifierCV": fitted(lambda model: CalibratedClassifierCV(model, cv=3)),
        "OneVsRestClassifier": fitted(OneVsRestClassifier),
        "SelectFromModel": fitted(lambda model: make_pipeline(SelectFromModel(model), model)),
        "cross_val_score": lambda model: float(cross_val_score(model, X, y, cv=3).mean()),
    }


def compare(run: Callable[[Any], float], repeats: int) -> NDArray[np.float64]:
    """Return median seconds and mean accuracy of scikit-learn's and of our estimator; a first turn is not counted."""
    results = np.empty((repeats + 1, len(KINDS), 2))
    for turn in range(repeats + 1):
        for kind, result in zip(KINDS, results[turn], strict=True):
            begin = time.perf_counter()
            accuracy = run(kind(random_state=max(turn - 1, 0)))
            result[:] = time.perf_counter() - begin, accuracy
    return np.stack([np.median(results[1:, :, 0], axis=0), results[1:, :, 1].mean(axis=0)])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--rows", type=positive, default=4000)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    table = Table("tool", "scikit-learn", "dsgd", "speed-up", "accuracy")
    kept = True
    for name, run in tools(SETS["20news"](), arguments.rows).items():
        seconds, scores = compare(run, arguments.repeats)
        kept &= scores[1] >= scores[0] - BOUND
        table.add_row(
            name,
            *(f"{s:.3g} s" for s in seconds),
            f"{seconds[0] / seconds[1]:.2f}",
            " / ".join(f"{s:.4f}" for s in scores),
        )
    Console(width=120).print(table)
    sys.exit(not kept)


if __name__ == "__main__":
    main()
