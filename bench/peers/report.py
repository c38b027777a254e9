"""The report: a line per cell, mean ratios, where dsgd is slower, test accuracy, and a figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from dsgd._common.files import replacing
from peers.measure import fastest

__all__ = ["Cell", "Mode", "cells", "draw", "modes", "show"]

SHORT = 0.020  # seconds of the best peer; below, the cost of calls matters as much as that of passes
Results = Mapping[str, Any]


class Time(NamedTuple):
    """The fastest solver to a target, its seconds (`inf` if none reaches it) and its setting."""

    name: str
    seconds: float
    setting: str

    def __str__(self) -> str:
        return f"{self.name}, {self.setting}" if self.name else "none reaches it"


class Cell(NamedTuple):
    """A problem and a target."""

    title: str
    target: str
    peer: Time
    ours: Time

    @property
    def ratio(self) -> float:
        """The seconds of dsgd divided by those of the best peer."""
        return self.ours.seconds / self.peer.seconds if math.isfinite(self.peer.seconds) else math.nan


def _fastest(solvers: Results, target: str) -> Time:
    name = fastest(solvers, target)
    if name is None:
        return Time("", math.inf, "")
    found = solvers[name]["targets"][target]
    return Time(name, found["median"], f"{solvers[name]['stopping']}={found['setting']:g}")


def cells(results: Results) -> Iterator[Cell]:
    """Return the cells in the order in which they were measured."""
    for title, result in results.items():
        for target in result["targets"]:
            yield Cell(title, target, _fastest(result["peers"], target), _fastest(result["ours"], target))


def _milliseconds(time: Time) -> str:
    return f"{1000 * time.seconds:.3g}" if math.isfinite(time.seconds) else "-"


class Mode(NamedTuple):
    """Some of our solvers beside the best peer, over all cells in which one of them was timed."""

    name: str
    mean: float
    """Geometric mean of the seconds of the best peer divided by those of our fastest, where both reach the target."""
    cells: int
    slower: int
    missed: int
    """Cells whose target a peer reaches and none of ours; they count as slower too."""


def modes(results: Results) -> list[Mode]:
    """Return each of our solvers alone, and the fastest of those that one parameter ends: two ways to ask for accuracy.

    ``max_epochs`` is a number of passes that is known in advance. ``gap_tol`` is the accuracy itself.
    """
    ours = {name: s["stopping"] for result in results.values() for name, s in result["ours"].items()}
    groups = {name: {name} for name in ours}
    for stopping in dict.fromkeys(ours.values()):
        groups[f"best by {stopping}"] = {name for name in ours if ours[name] == stopping}
    return [_mode(name, group, results) for name, group in groups.items()]


def _mode(name: str, group: set[str], results: Results) -> Mode:
    chosen = {
        title: {**result, "ours": found}
        for title, result in results.items()
        if (found := {each: s for each, s in result["ours"].items() if each in group})
    }
    ratios = [1 / cell.ratio if cell.ratio else math.inf for cell in cells(chosen) if not math.isnan(cell.ratio)]
    reached = [ratio for ratio in ratios if ratio > 0]
    mean = math.exp(math.fsum(map(math.log, reached)) / len(reached)) if reached else math.nan
    return Mode(name, mean, len(ratios), sum(ratio < 1 for ratio in ratios), sum(ratio == 0 for ratio in ratios))


def _modes(results: Results) -> Table:
    table = Table("dsgd", "best peer's seconds / dsgd's, geometric mean", "cells", "slower in", "of these not reached")
    for mode in modes(results):
        table.add_row(mode.name, f"{mode.mean:.2f}", str(mode.cells), str(mode.slower), str(mode.missed))
    return table


def show(console: Console, results: Results) -> None:
    """Print all tables and ratios."""
    for printed in (_problems, _solvers, _table, _modes):
        console.print(printed(results))
    found = list(cells(results))
    for what, chosen in (
        (f"of {1000 * SHORT:g} ms and more", [cell for cell in found if cell.peer.seconds >= SHORT]),
        (f"below {1000 * SHORT:g} ms", [cell for cell in found if cell.peer.seconds < SHORT]),
    ):
        slower = [cell for cell in chosen if cell.ratio > 1]
        console.print(f"slower in {len(slower)} of {len(chosen)} cells {what}:")
        for cell in sorted(slower, key=lambda cell: -cell.ratio):
            console.print(f"  {cell.title}, {cell.target}: {cell.ratio:.2f} times {cell.peer.name}")
    if stale := sorted({result["stored"] for result in results.values() if result.get("stored")}):
        console.print(f"who is the best peer, and its setting, is of another run: {'; '.join(stale)}")


def _problems(results: Results) -> Table:
    table = Table(
        "problem", "rows", "F*", "certified to", "by", "accuracy", "ours at the loosest target", "best peer's"
    )
    for title, result in results.items():
        loosest = max(result["targets"], key=float)
        scores = []
        for group in ("ours", "peers"):
            name = _fastest(result[group], loosest).name
            scores.append(f"{result[group][name]['targets'][loosest]['accuracy']:.4f}" if name else "-")
        best = result["optimum"]
        gap = (best["upper"] - best["lower"]) / best["lower"]
        method = f"{best['method']}, {best['seconds']:g} s"
        accuracy = f"{best['accuracy']:.4f}"
        table.add_row(title, str(result["rows"]), f"{best['lower']:.7f}", f"{gap:.1e}", method, accuracy, *scores)
    return table


def _solvers(results: Results) -> Table:
    """Return every solver's time to every target of every problem; single times in brackets."""
    targets = sorted({target for result in results.values() for target in result["targets"]}, key=float, reverse=True)
    columns = [f"to {float(target):g}, ms" for target in targets]
    table = Table("problem", "solver", *columns, "data made ready, ms", "closest")
    for title, result in results.items():
        for name, solver in {**result["peers"], **result["ours"]}.items():
            row = []
            for target in targets:
                time = solver["targets"].get(target)
                once = time and len(time["seconds"]) == 1
                text = f"{1000 * time['median']:.3g}" if time else _unreached(solver, float(target))
                row.append(f"({text})" if once else text)
            closest = min(point["suboptimality"] for point in solver["ladder"])
            ready = 1000 * solver["prepare_seconds"]
            table.add_row(title, name, *row, f"{ready:.3g}" if ready > 0.5 else "", f"{closest:.1e}")
        table.add_section()
    return table


def _unreached(solver: Mapping[str, Any], target: float) -> str:
    """Return the text in place of a time: how the ladder ended, or the time at which it did."""
    if any(point["suboptimality"] <= target for point in solver["ladder"]):
        return "not timed"  # but in a former run
    return "does not reach" if solver["exhausted"] else f"> {1000 * solver['ladder'][-1]['seconds']:.3g}"


def _table(results: Results) -> Table:
    table = Table("problem", "target", "best peer", "ms", "ours", "ms", "ours / peer")
    for cell in cells(results):
        ratio = "-" if math.isnan(cell.ratio) else f"{cell.ratio:.2f}"
        sides = (text for time in (cell.peer, cell.ours) for text in (str(time), _milliseconds(time)))
        table.add_row(cell.title, cell.target, *sides, ratio)
    return table


def draw(path: Path, results: Results) -> None:
    """Draw a panel for each problem: suboptimality against seconds, a line a solver, ours thick."""
    columns = 4 if len(results) > 2 else max(len(results), 1)
    rows = -(-len(results) // columns)
    figure = Figure(figsize=(5 * columns, 4 * rows + 1.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    names = list(dict.fromkeys(name for r in results.values() for group in ("ours", "peers") for name in r[group]))
    lines: dict[str, Any] = {}
    for panel, (title, result) in zip(axes, results.items(), strict=False):
        for name, solver in {**result["peers"], **result["ours"]}.items():
            index = names.index(name)
            style: dict[str, Any] = {"color": f"C{index % 10}", "linestyle": ("-", "--", ":")[index // 10 % 3]}
            style |= {"linewidth": 3.0 if name in result["ours"] else 1.2, "marker": ".", "markersize": 4}
            points = [(p["seconds"], max(p["suboptimality"], 1e-7)) for p in solver["ladder"]]
            (lines[name],) = panel.plot(*zip(*points, strict=True), label=name, **style)
        for target in result["targets"]:
            panel.axhline(float(target), color="0.8", linewidth=0.8)
        panel.set(title=title, xscale="log", yscale="log", xlabel="seconds", ylabel="(F - F*) / F*")
        panel.set_ylim(min(map(float, result["targets"])) / 10, 3)
    for panel in axes[len(results) :]:
        panel.axis("off")
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=4)
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=100)
