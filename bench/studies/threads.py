"""Two threads beside one: what a pass of each algorithm gains, and what the machine allows.

    python bench/studies/threads.py --output docs/results/threads.json

A row is a data set, a loss and an algorithm. Its figures are the seconds of a marginal pass (a tenth
of the difference between fits of 20 passes and of 10)

- on one thread of the algorithm (of `sgd` for `hogwild`),
- the same in two processes at once: twice the first over this is what the machine allows,
- on two threads.

The quotient is the gain of two threads divided by what the machine allows. The fits are float32, l2
with alpha 1e-5, and take turns; figures are medians. The objective is that of one thread after 10
passes; it and its rise on two threads are medians over seeds. With --processor-time the seconds are
those in which threads were running, and not those of a clock: for a machine that does other work
too. Set OMP_WAIT_POLICY=passive then, because libgomp's threads otherwise wait for one another by
running.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from rich.console import Console
from rich.table import Table

import dsgd
from common.machine import about, save
from common.rounds import positive
from common.workloads import WORKLOADS, Workload
from dsgd._common.files import check_replaceable

PASSES = 10
BURST = 0.2  # seconds of a solver's turn, at least, so that a clock's grain and a short break are small beside it
ALGORITHMS = ("hogwild", "sdca", "svrg", "minibatch")
LOSSES = ("hinge", "logistic")
SMOOTH = ("svrg",)  # algorithms that need a loss with a continuous derivative
COLUMNS = ("one thread", "two processes", "two threads", "allowed", "quotient", "objective", "two threads / one - 1")

Clock = Callable[[], float]


def train(data: Workload, algo: str, loss: str, threads: int, passes: int, seed: int = 0) -> dsgd.FitResult:
    """Fit without evaluation; the stochastic algorithms with a step size that falls from epoch to epoch."""
    if algo == "hogwild" and threads == 1:
        algo = "sgd"
    settings: dict[str, Any] = {"alpha": data.alpha, "max_epochs": passes, "evaluate_every": 0, "random_state": seed}
    if algo in ("sgd", "hogwild", "minibatch"):
        settings |= {"step_size": data.step_size, "schedule": "epoch-decay"}
    return dsgd.fit(data.X, data.y, algo=algo, loss=loss, n_threads=threads, **settings)


def marginal(run: Callable[[int], object], clock: Clock, repeats: int) -> float:
    """Return the seconds of one pass more, the mean of so many repeats."""
    spent = 0.0
    for _ in range(repeats):
        start = clock()
        run(PASSES)
        middle = clock()
        run(2 * PASSES)
        spent += clock() - 2 * middle + start
    return spent / (repeats * PASSES)


def twice_at_once(run: Callable[[int], object], clock: Clock, repeats: int) -> float:
    """Return the mean of `marginal` in two processes that begin together.

    The first fit of a process is not timed: it waits for memory.
    """
    fork = multiprocessing.get_context("fork")
    ready, seconds = fork.Barrier(2), fork.SimpleQueue()

    def measure() -> None:
        run(1)
        ready.wait()
        seconds.put(marginal(run, clock, repeats))

    processes = [fork.Process(target=measure) for _ in range(2)]
    for process in processes:
        process.start()
    mean = float(np.mean([seconds.get() for _ in processes]))
    for process in processes:
        process.join()
    return mean


def measure(data: Workload, algo: str, loss: str, rounds: int, seeds: int, processor_time: bool) -> dict[str, Any]:
    """Return the figures of a row, and the seconds of every round."""
    clock = time.process_time if processor_time else time.perf_counter
    share = 2 if processor_time else 1  # of the threads in the processor time of their process

    def run(threads: int) -> Callable[[int], object]:
        return lambda passes: train(data, algo, loss, threads, passes)

    start = time.perf_counter()
    run(1)(PASSES)
    run(2)(PASSES)
    repeats = 1 + int(BURST / (time.perf_counter() - start))
    seconds: dict[str, list[float]] = {name: [] for name in COLUMNS[:3]}
    for _ in range(rounds):
        seconds["one thread"].append(marginal(run(1), clock, repeats))
        seconds["two processes"].append(twice_at_once(run(1), clock, repeats))
        seconds["two threads"].append(marginal(run(2), clock, repeats) / share)
    one, processes, two = (float(np.median(each)) for each in seconds.values())
    ends = np.array([[objective(data, algo, loss, n, seed) for n in (1, 2)] for seed in range(seeds)])
    end, rise = float(np.median(ends[:, 0])), float(np.median(ends[:, 1] / ends[:, 0])) - 1
    figures = (one, processes, two, 2 * one / processes, processes / (2 * two), end, rise)
    return {**dict(zip(COLUMNS, figures, strict=True)), "seconds": seconds, "objectives": ends.tolist()}


def objective(data: Workload, algo: str, loss: str, threads: int, seed: int) -> float:
    """Return the objective after a fit."""
    result = train(data, algo, loss, threads, PASSES, seed)
    return data.objective(result.coef_.astype(np.float64), float(result.intercept_), loss)


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--losses", nargs="+", default=LOSSES)
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=ALGORITHMS)
    parser.add_argument("--rows", type=positive, default=300_000, help="most rows of a data set")
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--seeds", type=positive, default=9, help="fits of which an objective is the median")
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--output", type=Path, help="JSON file for figures, seconds, machine and command")
    options = parser.parse_args(arguments)
    if options.output:
        check_replaceable(options.output)
    console = Console(width=140)
    table = Table("set", "loss", "algorithm", *COLUMNS)
    rows = []
    for name in options.sets:
        try:
            data = WORKLOADS[name](options.rows)
        except FileNotFoundError as error:
            console.print(f"{name}: skipped, {error.filename} is not there; set DSGD_DATA to the folder of real data")
            continue
        for loss in options.losses:
            for algo in options.algorithms:
                if algo in SMOOTH and loss == "hinge":
                    continue
                row = measure(data, algo, loss, options.rounds, options.seeds, options.processor_time)
                rows.append({"set": name, "loss": loss, "algorithm": algo, **row})
                table.add_row(name, loss, algo, *(f"{row[column]:.4g}" for column in COLUMNS))
                console.print(name, loss, algo, *(f"{column} {row[column]:.4g}" for column in COLUMNS), soft_wrap=True)
    console.print(table)
    if options.output:
        save(options.output, {**about(__file__, arguments), "rows": rows})


if __name__ == "__main__":
    main(sys.argv[1:])
