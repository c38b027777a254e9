"""Distributed algorithms on four workers of Dask beside one machine, on real data.

    python bench/engines/dask_accuracy.py

Every algorithm makes as many passes over the rows as `minibatch` of one machine (and `sgd`, where it trains the
model). It holds if its objective is at most 1 % above that of `minibatch`, or its accuracy on the test rows at
most 0.3 points below. Steps are found by each algorithm's own search. The workers are processes of this machine, so
seconds say nothing here. The column "simulated" has the objective of the same algorithm on four equal nodes in virtual
time. Prints a table, and writes it to --output under the key "accuracy".
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import distributed
import numpy as np
from rich.console import Console
from rich.table import Table

import dsgd
from common.machine import ROOT, keep
from common.real_sets import SETS
from dsgd.errors import DsgdError
from dsgd.losses import KMeans

__all__ = ["CASES", "DISTRIBUTED", "Case", "Outcome", "chunks", "compare", "outcomes"]

WORKERS, CHUNKS = 4, 8
OBJECTIVE, POINTS = 1.01, 0.003
DISTRIBUTED: dict[str, dict[str, Any]] = {
    "ssp": {},
    "sync": {},
    "dissvrg": {},
    "wpsgd": {},
    "asgd": {},
    "downpour": {},
    "fedavg": {},
}


class Case(NamedTuple):
    """A problem. `passes` are made over the rows."""

    data: str
    loss: Any
    passes: int

    @property
    def supervised(self) -> bool:
        """Whether the problem has labels, and so an accuracy."""
        return not isinstance(self.loss, KMeans)

    def read(self) -> tuple[Any, Any, Any, Any]:
        """Return the rows and labels of training, and those of the test."""
        parts = SETS[self.data]()
        if self.loss == "hinge" and len(np.unique(parts.y)) == 2:
            parts = parts.binary()
        return parts.X, parts.y, parts.X_test, parts.y_test

    def trained_by(self, algo: str) -> bool:
        """Whether an algorithm trains the model."""
        return self.supervised or algo != "dissvrg"


CASES = {
    "Reuters, hinge": Case("reuters", "hinge", 10),
    "20news, one-vs-all hinge": Case("20news", "hinge", 10),
    "MNIST, softmax": Case("mnist", "softmax", 10),
    "MNIST, k-means (10)": Case("mnist", KMeans(10), 10),
    "skin, k-means (10)": Case("skin", KMeans(10), 10),
}


class Outcome(NamedTuple):
    """The end of a fit.

    Attributes
    ----------
    algo : str
    objective : float or None
        None: the fit failed, for the reason `error`.
    accuracy : float or None
        On the test rows; None without labels.
    seconds : float
    error : str
    simulated : float or None
        The objective of the same algorithm on four equal nodes in virtual time, if that of Dask is too large: what is
        not the engine's.
    """

    algo: str
    objective: float | None
    accuracy: float | None
    seconds: float
    error: str = ""
    simulated: float | None = None

    def holds(self, beside: Outcome) -> bool:
        """Whether this is as good as another fit."""
        if self.objective is None or beside.objective is None:
            return False
        near = self.objective <= OBJECTIVE * beside.objective
        if self.accuracy is None or beside.accuracy is None:
            return near
        return near or self.accuracy >= beside.accuracy - POINTS


def chunks(client: Any, values: Any, n_chunks: int) -> list[Any]:
    """Return futures of equal chunks of rows, dealt to the workers in turn."""
    bounds = np.linspace(0, values.shape[0], n_chunks + 1).astype(int)
    workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
    return [
        client.scatter(values[begin:end], workers=[workers[k % len(workers)]], hash=False)
        for k, (begin, end) in enumerate(itertools.pairwise(bounds))
    ]


def outcomes(client: Any, case: Case, algorithms: Sequence[str], seed: int = 0) -> Iterator[Outcome]:
    """Yield the end of `minibatch` and `sgd` on one machine, then those of algorithms on Dask."""
    X, y, X_test, y_test = case.read()
    options: dict[str, Any] = {"loss": case.loss, "max_epochs": case.passes, "random_state": seed, "n_threads": 1}
    if not case.supervised:
        y = None
    on_workers = chunks(client, X, CHUNKS), None if y is None else chunks(client, y, CHUNKS)
    alone = 0.0  # the objective of `minibatch`, the first
    for algo in ["minibatch", *(["sgd"] if case.supervised else []), *algorithms]:
        apart = algo in DISTRIBUTED
        if not case.trained_by(algo):
            continue
        begin = time.perf_counter()
        more = {"cluster": client, **DISTRIBUTED[algo]} if apart else {}
        rows, labels = on_workers if apart else (X, y)
        try:
            result = dsgd.fit(rows, labels, algo=algo, evaluate_every=case.passes, **options, **more)
        except DsgdError as error:
            yield Outcome(algo, None, None, time.perf_counter() - begin, str(error))
            continue
        seconds = time.perf_counter() - begin
        accuracy = float(result.score(X_test, y_test)) if case.supervised else None
        objective = result.history[-1].objective
        assert objective is not None
        simulated, alone = None, alone or objective
        if apart and objective > OBJECTIVE * alone:
            nodes = dsgd.Simulation(workers=WORKERS, trace=False)
            once = dsgd.fit(X, y, algo=algo, evaluate_every=case.passes, cluster=nodes, **options, **DISTRIBUTED[algo])
            simulated = once.history[-1].objective
        yield Outcome(algo, float(objective), accuracy, seconds, simulated=simulated)


def compare(found: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return the rows of the table: each fit beside the first, `minibatch`."""
    alone = found[0]
    rows = []
    for each in found:
        over = None if each.objective is None else each.objective / (alone.objective or np.nan) - 1
        holds = each.holds(alone) if each.algo in DISTRIBUTED else None
        rows.append({**each._asdict(), "over": over, "holds": holds})
    return rows


def main(arguments: Sequence[str]) -> None:
    """Train, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/dask.json")
    asked, console = parser.parse_args(arguments), Console(width=120)
    table = Table("problem", "algo", "objective", "over minibatch", "accuracy", "simulated", "seconds", "holds")
    told = {}
    options: dict[str, Any] = {"n_workers": WORKERS, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(processes=True, **options) as cluster, distributed.Client(cluster) as client:
        for name in asked.cases:
            found = []
            for each in outcomes(client, CASES[name], list(DISTRIBUTED)):
                console.print(name, each)
                found.append(each)
            told[name] = compare(found)
            for row in told[name]:
                objective, over, accuracy = row["objective"], row["over"], row["accuracy"]
                table.add_row(
                    name,
                    row["algo"],
                    row["error"] if objective is None else f"{objective:.5g}",
                    "" if over is None else f"{100 * over:+.2f} %",
                    "" if accuracy is None else f"{100 * accuracy:.2f}",
                    "" if row["simulated"] is None else f"{row['simulated']:.5g}",
                    f"{row['seconds']:.0f}",
                    "" if row["holds"] is None else "yes" if row["holds"] else "no",
                )
            keep(asked.output, "accuracy", __file__, arguments, told)
    console.print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
