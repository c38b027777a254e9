"""The comparison of Hogwild! (Niu, Recht, Ré, Wright 2011, section 7), repeated.

    python bench/papers/hogwild.py

It draws the speed-up against threads, and the delay. Hogwild! shares the weights without locks, AIG
locks the weights of a sample round its update, and RR lets the threads update in turn. dsgd's
defaults are beside them. The problem is an SVM with l2 of 1e-5; the step is constant within an
epoch and then falls to 0.9 of it, for 20 epochs. The speed-up is over Hogwild! on one thread, by
the median time of a whole `fit`. The delay of an update is the number of other updates between its
reading of the weights and its end. Draws --output, and writes the same as JSON beside it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import dsgd
from common.machine import ROOT, command, machine, save
from common.passes import Solver, ours
from common.rounds import interleaved, positive, thread_counts
from common.workloads import WORKLOADS, Workload
from dsgd._common.files import check_replaceable, replacing
from dsgd._common.threads import default_threads
from dsgd.schedules import EpochDecay

DATA = {"documents": "RCV1-shaped", "20news": "20news, classes 2 to 6 against the rest"}
SCHEDULE = EpochDecay(factor=0.9)
# Equal conditions for the paper's three: one copy of the weights and of the data, in their order.
PLAIN: dict[str, Any] = {"merge_every": 0, "layout": "inplace", "schedule": SCHEDULE}
SERIAL = "Hogwild!"
METHODS: dict[str, dict[str, Any]] = {
    SERIAL: {**PLAIN, "write": "racy"},
    "AIG": {**PLAIN, "write": "locked"},
    "RR": {**PLAIN, "order": "round-robin"},
    "dsgd's defaults": {"schedule": SCHEDULE},
}
PAPER = (SERIAL, "AIG", "RR")  # from the fastest to the slowest


def compare(data: Workload, threads: Sequence[int], epochs: int, rounds: int) -> list[dict[str, Any]]:
    """Return seconds, speed-up and objective of every method on so many threads."""
    solvers: dict[tuple[str, int], Solver] = {
        (method, count): ours(n_threads=count, **options) for method, options in METHODS.items() for count in threads
    }
    serial = {(SERIAL, 1): ours(n_threads=1, **METHODS[SERIAL])}
    candidates: dict[str, Callable[[], object]] = {
        f"{method} {count}": partial(solver.fit, data, epochs) for (method, count), solver in (serial | solvers).items()
    }
    seconds = {name: float(np.median(times)) for name, times in interleaved(candidates, rounds).items()}
    return [
        {
            "method": method,
            "threads": count,
            "seconds": seconds[f"{method} {count}"],
            "speed-up": seconds[f"{SERIAL} 1"] / seconds[f"{method} {count}"],
            "objective": solver.objective(data, epochs),
        }
        for (method, count), solver in solvers.items()
    ]


def delays(data: Workload, epochs: int) -> dict[int, int]:
    """Return, by delay, how many updates of Hogwild! on two threads had it, as the last record counts them."""
    result = dsgd.fit(
        data.X,
        data.y,
        algo="hogwild",
        alpha=data.alpha,
        step_size=data.step_size,
        max_epochs=epochs,
        evaluate_every=0,
        n_threads=2,
        record_delay=True,
        random_state=0,
        **METHODS[SERIAL],
    )
    counts = result.history[-1].delay
    assert counts is not None
    return {delay: int(count) for delay, count in enumerate(counts) if count}


def doubling(delay: dict[int, int]) -> dict[str, float]:
    """Return the shares of delays of 0, 1, 2-3, 4-7, ...

    The ranges double because a thread sometimes sleeps through thousands of updates.
    """
    longest = max(delay).bit_length()
    shares = dict.fromkeys(range(longest + 1), 0.0)
    for length, count in delay.items():
        shares[length.bit_length()] += count / sum(delay.values())
    names = ["0", "1", *(f"{2 ** (bits - 1)}-{2**bits - 1}" for bits in range(2, longest + 1))]
    return dict(zip(names, shares.values(), strict=False))


def verdict(points: Sequence[dict[str, Any]]) -> str:
    """Say whether, on the most threads, the methods are ordered as in the paper."""
    most = max(point["threads"] for point in points)
    reached = {point["method"]: point["speed-up"] for point in points if point["threads"] == most}
    fastest = sorted(PAPER, key=reached.__getitem__, reverse=True)
    figures = ", ".join(f"{method} {reached[method]:.2f}" for method in fastest)
    holds = "holds" if fastest == list(PAPER) else "does not hold"
    return f"the paper's order, Hogwild! before AIG before RR, {holds} on {most} threads: {figures}"


def draw(path: Path, results: dict[str, dict[str, Any]]) -> None:
    """Draw a row for each data set: speed-up against threads, and shares of updates against delay."""
    figure = Figure(figsize=(10, 3.6 * len(results)), layout="constrained")
    for (left, right), (name, result) in zip(
        figure.subplots(len(results), 2, squeeze=False), results.items(), strict=True
    ):
        for method, marker in zip(METHODS, "os^D", strict=True):
            points = [point for point in result["points"] if point["method"] == method]
            left.plot([p["threads"] for p in points], [p["speed-up"] for p in points], marker=marker, label=method)
        threads = sorted({point["threads"] for point in result["points"]})
        left.plot(threads, threads, color="0.7", linestyle="--", label="linear")
        left.set(title=f"{DATA[name]}: {result['rows']:,} rows", xlabel="threads", xticks=threads, ylim=(0, None))
        left.set_ylabel("speed-up over Hogwild! on one")
        left.legend()
        shares = doubling(result["delay"])
        right.bar(list(shares), list(shares.values()))
        right.tick_params(axis="x", labelrotation=45)
        right.set(title="Hogwild! on 2 threads", xlabel="delay in updates", ylabel="share of updates", yscale="log")
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=150)


def show(console: Console, name: str, result: dict[str, Any]) -> None:
    """Print the points of a data set, and the verdict."""
    table = Table(DATA[name], "threads", "seconds", "speed-up", "objective")
    for point in result["points"]:
        table.add_row(
            point["method"],
            str(point["threads"]),
            f"{point['seconds']:.4f}",
            f"{point['speed-up']:.2f}",
            f"{point['objective']:.5f}",
        )
    console.print(table)
    console.print(
        f"{result['ordering']}; {1 - doubling(result['delay'])['0']:.2%} of two threads' updates were delayed"
    )


def main(arguments: Sequence[str]) -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=positive, default=300_000, help="most rows of a data set")
    parser.add_argument("--epochs", type=positive, default=20)
    parser.add_argument("--rounds", type=positive, default=3, help="fits of each kind")
    parser.add_argument("--threads", type=positive, nargs="+", default=thread_counts(), help="by default 1, 2, 4, ...")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/hogwild.png", help="the figure")
    options = parser.parse_args(arguments)
    if max(options.threads) > default_threads():
        parser.error(f"{max(options.threads)} threads on {default_threads()} cores: RR would wait for one that sleeps")
    described = options.output.with_suffix(".json")
    check_replaceable(options.output)
    check_replaceable(described)
    console = Console(width=110)
    results: dict[str, dict[str, Any]] = {}
    for name in DATA:
        try:
            data = WORKLOADS[name](options.rows)
        except FileNotFoundError as error:
            console.print(f"{name}: skipped, {error.filename} is not there; set DSGD_DATA to the folder of real data")
            continue
        points = compare(data, sorted(set(options.threads)), options.epochs, options.rounds)
        results[name] = {
            "rows": len(data.y),
            "points": points,
            "ordering": verdict(points),
            "delay": delays(data, options.epochs),
        }
        show(console, name, results[name])
    draw(options.output, results)
    save(described, {"command": command(__file__, arguments), "machine": machine(), "results": results})
    console.print(f"written: {options.output} and {described.name}")


if __name__ == "__main__":
    main(sys.argv[1:])
