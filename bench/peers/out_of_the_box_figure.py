"""The figure of "out of the box": a panel for each task, a bar for each library, its score beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dsgd._common.files import replacing

__all__ = ["draw"]

COLUMNS = 2


def draw(path: Path, tasks: Mapping[str, Any]) -> None:
    """Draw the seconds of the entries of every task, the fastest on top; dsgd's bars are dark."""
    rows = -(-len(tasks) // COLUMNS)
    figure = Figure(figsize=(8.5 * COLUMNS, 5 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for panel, (name, task) in zip(axes, tasks.items(), strict=False):
        _panel(panel, name, task)
    for panel in axes[len(tasks) :]:
        panel.axis("off")
    figure.suptitle("Fits with the defaults of every library: median seconds, held-out score beside the bar")
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=90)


def _panel(panel: Any, name: str, task: Mapping[str, Any]) -> None:
    timed = {each: entry for each, entry in task["entries"].items() if "median" in entry}
    order = sorted(timed, key=lambda each: -timed[each]["median"])
    seconds = [timed[each]["median"] for each in order]
    colours = ["C0" if each.startswith("dsgd") else "0.75" for each in order]
    bars = panel.barh(order, seconds, color=colours)
    panel.bar_label(bars, [_label(timed[each]) for each in order], padding=3, fontsize=8)
    panel.set(title=f"{name}: {task['rows']:,} x {task['features']:,}, {task['score']}", xscale="log", xlabel="seconds")
    panel.set_xlim(min(seconds) / 2, max(seconds) * 6)
    panel.tick_params("y", labelsize=8)
    if gone := [each for each, entry in task["entries"].items() if "median" not in entry]:
        panel.text(0.98, 0.02, "given up: " + ", ".join(gone), transform=panel.transAxes, ha="right", fontsize=8)


def _label(entry: Mapping[str, Any]) -> str:
    text = f"{entry['score']:.4f}"
    return f"{text}, objective +{entry['suboptimality']:.1%}" if "suboptimality" in entry else text
