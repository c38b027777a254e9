"""Every library out of the box: seconds and scores of a fit with its defaults, beside dsgd's.

    python bench/peers/out_of_the_box.py

Two classes (a9a, Reuters), many classes (20news, MNIST), regression (casp, year; features and targets
standardised) and k-means (MNIST, ten clusters). A fit is one call, with whatever it makes of the
data. Fits take turns, and medians of the rounds are told. Scores are those of rows that were held
out: accuracy, R2, and for k-means the mean squared distance. Where several libraries have one
objective by default, its excess over the least value that any of them found, or dsgd in
--reference seconds, is told too.

Every entry first fits a tenth of the rows twice, which loads and compiles it. If the second of these
fits takes a tenth of --cap, or a fit of all rows takes more than --cap, it is given up, and has the
time of that fit. Writes --output and a figure beside it. Other tasks in that file stay, so that the
tasks may be measured one after the other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import accuracy_score, r2_score
from sklearn.preprocessing import StandardScaler

import dsgd
from common.machine import ROOT, about, save
from common.real_sets import SETS, Parts
from common.rounds import interleaved, positive
from dsgd._common.files import check_replaceable
from peers.defaults import ENTRIES, Entry, Fitted, classes_of, linear
from peers.measure import silent
from peers.out_of_the_box_figure import draw

ALPHA = 1e-4  # the default strength of l2 of SGDClassifier, SGDRegressor and `dsgd.fit`
TASKS: Mapping[str, tuple[str, str]] = {
    "a9a": ("a9a", "classes"),
    "reuters": ("reuters", "classes"),
    "20news": ("20news", "classes"),
    "mnist": ("mnist", "classes"),
    "casp": ("casp", "regression"),
    "year": ("year", "regression"),
    "mnist, 10 clusters": ("mnist", "k-means"),
}
"""By name: a data set and a kind of task."""
SCORES = {"classes": "accuracy", "regression": "R2", "k-means": "mean squared distance"}


def read(name: str, kind: str, rows: int | None) -> Parts:
    """Return a data set as all libraries take it: matrices in place of arrays if it is sparse."""
    parts = SETS[name]()
    X, X_test, y, y_test = parts.X[:rows], parts.X_test, parts.y[:rows], parts.y_test
    if scipy.sparse.issparse(X):
        X, X_test = scipy.sparse.csr_matrix(X), scipy.sparse.csr_matrix(X_test)
    if kind == "regression":
        scale, goal = StandardScaler().fit(X), StandardScaler().fit(y[:, None])
        X, X_test = scale.transform(X), scale.transform(X_test)
        y, y_test = goal.transform(y[:, None])[:, 0], goal.transform(y_test[:, None])[:, 0]
    return Parts(X, y, X_test, y_test, kind == "regression")


def objective(parts: Parts, fitted: Fitted, kind: str) -> float:
    """Return what SGDClassifier or SGDRegressor minimises, the mean over the classes, or the mean inertia."""
    if kind == "k-means":
        return float(fitted.predict(parts.X).mean())
    assert fitted.linear is not None
    w, b = (np.asarray(values, np.float64) for values in fitted.linear())
    z = np.asarray(parts.X @ w.T) + b
    penalty = ALPHA / 2 * np.square(w).sum(axis=1).mean()
    if kind == "regression":
        return float(np.square(z[:, 0] - parts.y).mean() / 2 + penalty)
    classes = classes_of(parts.y)
    signs = np.where(parts.y[:, None] == (classes if len(classes) > 2 else classes[1:]), 1.0, -1.0)
    return float(np.maximum(0, 1 - signs * z).mean() + penalty)


def score(parts: Parts, predicted: NDArray[Any], kind: str) -> float:
    """Return the score of held-out rows."""
    if kind == "k-means":
        return float(predicted.mean())
    return float((r2_score if kind == "regression" else accuracy_score)(parts.y_test, predicted))


class Runs:
    """An entry on a task: its fits, and what they scored."""

    def __init__(self, entry: Entry, parts: Parts, kind: str) -> None:
        self.entry, self.parts, self.kind = entry, parts, kind
        self.fits: list[Fitted] = []
        self.given_up: float | None = None
        self.part_rows = max(200, len(parts.y) // 10)

    def begin(self, cap: float) -> None:
        """Fit a part of the rows twice, and all rows once if there is time for it."""
        chosen = np.random.default_rng(0).permutation(len(self.parts.y))[: self.part_rows]
        part = self.parts._replace(X=self.parts.X[chosen], y=self.parts.y[chosen])
        ready = self.entry.prepare(part)
        self.entry.fit(ready)
        if (taken := _seconds(partial(self.entry.fit, ready))) > cap / 10:
            self.given_up, self.rows = taken, len(part.y)
            return
        start = time.perf_counter()
        self.ready = self.entry.prepare(self.parts)
        self.prepare_seconds = time.perf_counter() - start
        if (taken := _seconds(self.run)) > cap:
            self.given_up, self.rows = taken, len(self.parts.y)

    def run(self) -> None:
        """Fit all rows, and keep the model."""
        self.fits.append(self.entry.fit(self.ready))

    def described(self, seconds: list[float]) -> dict[str, Any]:
        """Return medians over the fits."""
        if self.given_up is not None:
            return {"given up": {"seconds": self.given_up, "rows": self.rows}}
        found: dict[str, Any] = {"median": statistics.median(seconds), "seconds": seconds}
        if self.prepare_seconds > 0.001:
            found["data made ready, seconds"] = self.prepare_seconds
        fits = self.fits[-len(seconds) :]
        found["score"] = statistics.median(score(self.parts, fit.predict(self.parts.X_test), self.kind) for fit in fits)
        if self.entry.objective:
            found["objective"] = statistics.median(objective(self.parts, fit, self.kind) for fit in fits)
        return found


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(parts: Parts, kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return seconds, scores and suboptimalities by entry."""
    entries = {name: entry for name, entry in ENTRIES[kind]().items() if not entry.missing}
    runs = {name: Runs(entry, parts, kind) for name, entry in entries.items()}
    for each in runs.values():
        each.begin(options.cap)
    timed = interleaved({n: r.run for n, r in runs.items() if r.given_up is None}, options.rounds, pause=0.2)
    found = {name: each.described(timed.get(name, [])) for name, each in runs.items()}
    values = [entry["objective"] for entry in found.values() if "objective" in entry]
    if kind != "k-means":
        values.append(_reference(parts, kind, options.reference))
    for entry in found.values():
        if "objective" in entry:
            entry["suboptimality"] = entry["objective"] / min(values) - 1
    return found


def _reference(parts: Parts, kind: str, seconds: float) -> float:
    """Return the objective of long fits."""
    ends: dict[str, Any] = {"max_seconds": seconds / 2, "max_epochs": 10_000, "random_state": 0, "evaluate_every": 0}
    ends["loss"] = "hinge" if kind == "classes" else "squared"
    runs: tuple[dict[str, Any], ...] = ({"algo": "auto"}, {"algo": "sgd", "average": True})
    return min(objective(parts, linear(dsgd.fit(parts.X, parts.y, **ends, **run)), kind) for run in runs)


def table(task: str, found: Mapping[str, Any], kind: str) -> Table:
    """Return the entries of a task, the fastest first."""
    columns = ("seconds", f"held-out {SCORES[kind]}", "above the least objective", "data made ready, s")
    shown = Table(task, *columns)
    for name, entry in sorted(found.items(), key=lambda item: item[1].get("median", np.inf)):
        if gone := entry.get("given up"):
            shown.add_row(name, f"given up: {gone['seconds']:.3g} for {gone['rows']} rows", "", "", "")
            continue
        excess = f"{entry['suboptimality']:.2%}" if "suboptimality" in entry else ""
        ready = entry.get("data made ready, seconds")
        shown.add_row(name, f"{entry['median']:.4g}", f"{entry['score']:.4f}", excess, f"{ready:.3g}" if ready else "")
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write, draw."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--cap", type=float, default=30.0, help="seconds of a fit beyond which an entry is given up")
    parser.add_argument("--reference", type=float, default=30.0, help="seconds of the search for the least objective")
    parser.add_argument("--rows", type=positive, help="of each training part; default: all")
    parser.add_argument("--note", default="", help="kept with the figures: what else the machine was doing")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/out_of_the_box.json")
    options = parser.parse_args(arguments)
    figure = options.output.with_suffix(".png")
    for path in (options.output, figure):
        check_replaceable(path)
    console = Console(width=140)
    tasks = json.loads(options.output.read_text())["tasks"] if options.output.is_file() else {}
    for kind in ENTRIES:
        for name, entry in ENTRIES[kind]().items():
            if entry.missing:
                console.print(f"{name}: left out, {entry.missing}")
    for name in options.tasks:
        data, kind = TASKS[name]
        parts = read(data, kind, options.rows)
        with silent(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of defaults that end before they converge
            found = measure(parts, kind, options)
        made_by = {**about(__file__, arguments), "note": options.note}
        shape = {"kind": kind, "score": SCORES[kind], "rows": parts.X.shape[0], "features": parts.X.shape[1]}
        tasks[name] = {**made_by, **shape, "entries": found}
        console.print(table(name, found, kind))
        save(options.output, {"tasks": tasks})
        draw(figure, tasks)


if __name__ == "__main__":
    main()
