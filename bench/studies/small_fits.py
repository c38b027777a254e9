"""Seconds of fits on small data, beside scikit-learn.

    python bench/studies/small_fits.py

Iris, digits and breast cancer in standard units, 20 rows, and 1,000 rows of 20 numbers. Every call
does equal work on both sides: the same estimator with its defaults; the same number of passes
without a stopping rule; and `dsgd.fit` with its 20 passes beside an SGDClassifier of 20 passes. The
search for a step size of `dsgd.fit` is included. Calls are timed in turn; a figure is the median of
the rounds. Accuracy (R2, inertia) is that on the rows themselves. Writes --output as JSON.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
import sklearn.cluster
import sklearn.linear_model
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.preprocessing import StandardScaler

import dsgd
from common.machine import about, save
from common.options import study_options
from common.rounds import interleaved

Data = tuple[Any, Any]


def _generated(rows: int) -> Data:
    random = np.random.default_rng(0)
    X = random.normal(size=(rows, 20))
    return X, (X @ random.normal(size=20) + random.normal(size=rows) > 0).astype(int)


def _real(load: Callable[..., Data]) -> Data:
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X), y


DATA: dict[str, Callable[[], Data]] = {
    "iris": functools.partial(_real, load_iris),
    "digits": functools.partial(_real, load_digits),
    "breast cancer": functools.partial(_real, load_breast_cancer),
    "20 rows": functools.partial(_generated, 20),
    "1000 rows": functools.partial(_generated, 1000),
}


class Call(NamedTuple):
    """One call of either library; each returns a model that scores."""

    ours: Callable[[Any, Any], Any]
    theirs: Callable[[Any, Any], Any]


def _estimators(ours: type, theirs: type, *args: Any, **settings: Any) -> Call:
    def fit(kind: type, X: Any, y: Any) -> Any:
        return kind(*args, random_state=0, **settings).fit(X, y)

    return Call(functools.partial(fit, ours), functools.partial(fit, theirs))


_CLASSIFIERS = dsgd.SGDClassifier, sklearn.linear_model.SGDClassifier
_PASSES: dict[str, Any] = {"max_iter": 20, "tol": None}
CALLS = {
    "SGDClassifier": _estimators(*_CLASSIFIERS),
    "SGDClassifier, 20 passes": _estimators(*_CLASSIFIERS, **_PASSES),
    "SGDClassifier, logistic": _estimators(*_CLASSIFIERS, loss="log_loss"),
    "SGDRegressor": _estimators(dsgd.SGDRegressor, sklearn.linear_model.SGDRegressor),
    "KMeans": _estimators(dsgd.KMeans, sklearn.cluster.KMeans, 3, n_init=1),
    "KMeans, mini-batches": _estimators(dsgd.KMeans, sklearn.cluster.MiniBatchKMeans, 3, n_init=1),
} | {
    f"fit, {algo}": Call(
        functools.partial(dsgd.fit, algo=algo, random_state=0),
        _estimators(*_CLASSIFIERS, **_PASSES).theirs,
    )
    for algo in ("sgd", "hogwild", "sdca", "auto")
}


def measure(call: Call, data: Data, rounds: int) -> dict[str, float]:
    """Return milliseconds and scores of both libraries, and the ratio of the times."""
    runs = {"dsgd": functools.partial(call.ours, *data), "scikit-learn": functools.partial(call.theirs, *data)}
    scores = {f"score of {name}": float(run().score(*data)) for name, run in runs.items()}
    seconds = {name: float(np.median(times)) for name, times in interleaved(runs, rounds).items()}
    ratio = seconds["dsgd"] / seconds["scikit-learn"]
    return {**{f"ms of {name}": 1e3 * time for name, time in seconds.items()}, "ratio": ratio, **scores}


def main(arguments: Sequence[str]) -> None:
    """Measure, print, save."""
    options = study_options(__doc__, "small_fits.json", 21, arguments)
    warnings.simplefilter("ignore")  # of fits that end before they converge
    results: dict[str, dict[str, float]] = {}
    print(f"{'':42}{'dsgd':>9}{'scikit-learn':>14}{'ratio':>8}   scores")
    for name, load in DATA.items():
        data = load()
        for what, call in CALLS.items():
            found = results[f"{name}, {what}"] = measure(call, data, options.rounds)
            times = f"{found['ms of dsgd']:6.2f} ms{found['ms of scikit-learn']:11.2f} ms{found['ratio']:8.2f}"
            scores = f"{found['score of dsgd']:.4g} {found['score of scikit-learn']:.4g}"
            print(f"{name + ', ' + what:42}{times}   {scores}", flush=True)
    save(options.output, {**about(__file__, arguments), "results": results})


if __name__ == "__main__":
    main(sys.argv[1:])
