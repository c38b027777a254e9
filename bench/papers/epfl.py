"""Distributed synchronous and asynchronous SGD (Declety, Gauchoux, Abouzaid, EPFL): tables I and II, figures 3 to 6.

    python bench/papers/epfl.py

An SVM on RCV1's full shape (generated, unless $DSGD_DATA/rcv1 has the files that `dsgd.data.fetch` reads) and on
Reuters, 80 % and the published part of the rows for training. `sync` and `p2p` run on 4, 10 and 15 simulated nodes
with lambda of the report, on two kinds of links, and on four processes of this machine. The report prints neither
the step size nor the rows of a sample: steps are those of our search; `sync` has 1 row a worker, or its default.
All takes 10 minutes of processor time, 12 minutes beside other work. For that a run makes at most one pass over
RCV1's shape (`p2p` three; 10 over Reuters), which has one seed, and lambda other than 0.001 there on 4 nodes only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console

from common.machine import about, save
from common.options import figure_options
from dsgd._common.files import replacing
from dsgd.algorithms import P2p, Sync
from papers.epfl_cases import ALGORITHMS, ALPHA, ALPHAS, LINKS, NODES, Case, cases, cell, curves, on_processes

# Accuracy, minutes and iterations of tables I and II, by the number of workers.
REPORT: dict[str, dict[int, tuple[float, float, int]]] = {
    "sync": {4: (0.9312, 19.74, 3300), 10: (0.9356, 35.19, 1200), 15: (0.9292, 19.89, 941)},
    "p2p": {4: (0.9158, 2.07, 908), 10: (0.9276, 6.75, 950), 15: (0.9132, 15.4, 930)},
}
CURVES = {"sync": Sync(stop_change=0.0), "p2p": P2p(stop_change=0.0)}  # an evaluation never changes by less than 0
COLOURS = dict(zip(ALGORITHMS, ("tab:orange", "tab:red", "tab:cyan", "tab:blue"), strict=True))
_CASES: list[Case] = []
Cells = dict[str, dict[str, Any]]  # by "algorithm, N = 4, lambda = 0.001"


def key(name: str, nodes: int, alpha: float) -> str:
    """Return the name of a cell."""
    return f"{name}, N = {nodes}, lambda = {alpha:g}"


def cells_of(case: Case) -> Iterator[tuple[str, str, int, float, int]]:
    """Yield links, algorithm, workers, lambda and seeds of all cells of a problem.

    On other links `sync` makes the same rounds: there RCV1's shape has the default rows only.
    """
    large = case.seeds == 1
    for links in LINKS:
        first = links == next(iter(LINKS))
        for alpha in ALPHAS if first else (ALPHA,):
            for nodes in NODES[:1] if large and alpha != ALPHA else NODES:
                for name in ALGORITHMS:
                    if first or not (large and name == "sync, 1 row"):
                        yield links, name, nodes, alpha, case.seeds if first and alpha == ALPHA else 1


def tables_of(problems: Sequence[Case], console: Console) -> dict[str, dict[str, Cells]]:
    """Return the cells of tables I and II, and those with other lambda, by problem and links; two at a time."""
    found: dict[str, dict[str, Cells]] = {case.name: {links: {} for links in LINKS} for case in problems}
    _CASES.extend(problems)  # which the processes of the pool then have
    asked = [(index, *one) for index, case in enumerate(problems) for one in cells_of(case)]
    with ProcessPoolExecutor(2, get_context("fork")) as pool:
        for (index, links, name, nodes, alpha, _), one in zip(asked, pool.map(_cell, asked), strict=True):
            problem = problems[index].name
            found[problem][links][key(name, nodes, alpha)] = one
            console.print(f"{problem}, {links}, {key(name, nodes, alpha)}: {in_words(one)}")
    return found


def _cell(asked: tuple[int, str, str, int, float, int]) -> dict[str, Any]:
    index, links, name, nodes, alpha, seeds = asked
    return cell(_CASES[index], name, nodes, alpha, links, seeds)


def in_words(one: Mapping[str, Any]) -> str:
    """Return a cell as a line."""
    if "diverged" in one:
        return "diverged"
    how = "stopped" if one["stopped"] else "went on"
    return (
        f"{100 * one['accuracy']:.2f} % (training {100 * one['training_accuracy']:.2f}), {one['seconds']:.4g} s, "
        f"{one['iterations']:.0f} iterations, {one['passes']:.3g} passes, {how}, F {one['objective']:.4f}, "
        f"waiting {100 * one['waiting']:.0f} %"
    )


def claims(cells: Cells) -> dict[str, dict[str, Any]]:
    """Return what the report states, whether it holds of these cells, and the figures that say so."""
    found: dict[str, dict[str, Any]] = {}

    def of(name: str, figure: str, places: Sequence[str] = ()) -> NDArray[np.float64]:
        """Return a figure by the number of workers, or of given cells; NaN of a run that diverged."""
        keys = places or [key(name, nodes, ALPHA) for nodes in NODES]
        return np.array([cells.get(each, {}).get(figure, np.nan) for each in keys])

    def state(claim: str, holds: Any, figures: NDArray[np.float64]) -> None:
        plain = [None if np.isnan(each) else float(f"{each:.5g}") for each in figures]
        found[claim] = {"holds": bool(holds), "figures": plain}

    for sync in ("sync", "sync, 1 row"):
        if key(sync, NODES[0], ALPHA) not in cells:
            continue
        times = of(sync, "seconds") / of("p2p", "seconds")
        state(f"p2p is faster than {sync}, times", (times > 1).all(), times)
        points = 100 * (of(sync, "accuracy") - of("p2p", "accuracy"))
        state(f"p2p is less accurate than {sync}, points", (points > 0).all(), points)
        rounds = of(sync, "iterations") / of("p2p", "iterations")
        state(f"p2p makes fewer iterations than {sync}, times", (rounds > 1).all(), rounds)
        seconds = of(sync, "seconds")
        state(f"{sync} takes longest on 10 workers, seconds", np.argmax(seconds) == 1, seconds)
    seconds = of("p2p", "seconds")
    state("p2p takes longer on more workers, seconds", (np.diff(seconds) > 0).all(), seconds)
    for name in ALGORITHMS:
        if key(name, NODES[0], ALPHA) not in cells:
            continue
        accuracies = of(name, "accuracy")
        best = np.argmax(np.nan_to_num(accuracies))
        state(f"{name} is the most accurate on 10 workers", best == 1, accuracies)
        places = [key(name, NODES[0], alpha) for alpha in ALPHAS]
        if places[-1] in cells:
            accuracies = of(name, "accuracy", places)
            state(
                f"{name}: 0.001 is the best lambda on 4",
                np.nan_to_num(accuracies[0]) > np.nan_to_num(accuracies[1:]).max(),
                accuracies,
            )
    return found


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Draw times and accuracies against the number of workers (figures 5 and 6), lambda (3) and the curves (4)."""
    figure = Figure(figsize=(16, 4 * len(results["tables"])), layout="constrained")
    for line, (problem, tables) in zip(
        figure.subplots(len(results["tables"]), 4, squeeze=False), results["tables"].items(), strict=True
    ):
        for links, style in zip(tables, ("-o", "--s"), strict=True):
            for name, colour in COLOURS.items():
                found = [tables[links].get(key(name, nodes, ALPHA), {}) for nodes in NODES]
                for axes, figure_of in zip(line, ("seconds", "accuracy"), strict=False):
                    values = [one.get(figure_of, np.nan) for one in found]
                    axes.plot(NODES, values, style, color=colour, label=f"{name}, {links}")
        for name, colour in (("sync", "black"), ("p2p", "gray")):
            line[0].plot(
                NODES, [60 * REPORT[name][nodes][1] for nodes in NODES], ":", color=colour, label=f"the report, {name}"
            )
        line[0].set(title=f"{problem}: time to stop", xlabel="workers", ylabel="seconds", yscale="log")
        line[1].set(title="accuracy on rows held out", xlabel="workers")
        for name, colour in COLOURS.items():
            cells = next(iter(tables.values()))
            for figure_of, style in (("accuracy", "-o"), ("training_accuracy", ":")):
                values = [cells[key(name, NODES[0], alpha)].get(figure_of, np.nan) for alpha in ALPHAS]
                line[2].plot(ALPHAS, values, style, color=colour)
        line[2].set(title="4 workers (dotted: training rows)", xlabel="lambda")
        for name, found in results["curves"][problem].items():
            for kind, style in (("objective", "-"), ("held_out", "--")):
                for one in found[kind]:
                    line[3].plot(found["seconds"], one, style, color=COLOURS[name], linewidth=0.8)
        line[3].set(
            title="objective of 4 workers (dashed: held out)", xlabel="virtual seconds", xscale="log", yscale="log"
        )
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize="small")
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=100)


def main(arguments: Sequence[str]) -> None:
    """Train, print, draw."""
    asked, console = (
        figure_options(__doc__, "epfl.png", "a thirteenth of the rows and one seed, for a try", arguments),
        Console(width=200),
    )
    problems = cases(asked.quick)
    processes = {}
    for name, found in on_processes(problems[0], 1 if asked.quick else 2):
        processes[name] = found
        console.print(f"{problems[0].name}, 4 processes, {name}: {found}")
    tables = tables_of(problems, console)
    judged = {f"{name}, {links}": claims(cells) for name, both in tables.items() for links, cells in both.items()}
    for place, found in judged.items():
        for claim, one in found.items():
            console.print(f"{place}: {claim}: {one}")
    drawn = {}
    for case in problems:  # as many rounds of sync on RCV1's shape would take minutes
        names = ("sync", "p2p") if case.seeds > 1 or asked.quick else ("p2p",)
        drawn[case.name] = {name: curves(case, CURVES[name]) for name in names}
    results = {
        "problems": {
            case.name: {"shape": case.X.shape, "entries": case.X.nnz, "held_out": len(case.y_test)} for case in problems
        },
        "links": {
            name: dict(zip(("bandwidth", "latency", "kernels"), link, strict=True)) for name, link in LINKS.items()
        },
        "report": REPORT,
        "processes": processes,
        "tables": tables,
        "claims": judged,
        "curves": drawn,
    }
    draw(results, asked.output)
    save(asked.output.with_suffix(".json"), {**about(__file__, arguments), "results": results})
    console.print(f"written: {asked.output}")


if __name__ == "__main__":
    main(sys.argv[1:])
