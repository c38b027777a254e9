"""The figure of "out of the box": a panel for each task, a bar for each library, its score beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dsgd._common.files import replacing

__all__ = ["draw"]

COLUMNS = 2


def draw(path: Path, tasks: Mapping[str, Any]) -> None:
    """Draw the seconds of the entries of every task, the fastest on top; dsgd's bars are blue."""
    rows = -(-len(tasks) // COLUMNS)
    figure = Figure(figsize=(8.5 * COLUMNS, 5 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for panel, (name, task) in zip(axes, tasks.items(), strict=False):
        _panel(panel, name, task)
    for panel in axes[len(tasks) :]:
        panel.axis("off")
    figure.suptitle(
        "Fits with the defaults of every library (dsgd's are blue): median seconds; beside a bar the held-out score,\n"
        "and where the objective is the same as dsgd's, its excess over the least value found"
    )
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=90)


def _panel(panel: Any, name: str, task: Mapping[str, Any]) -> None:
    entries = task["entries"]
    seconds = {each: entry.get("median", math.inf) for each, entry in entries.items()}
    order = sorted(entries, key=lambda each: -seconds[each])
    timed = [value for value in seconds.values() if math.isfinite(value)]
    left, most = min(timed) / 2, max(timed)
    widths = [seconds[each] if math.isfinite(seconds[each]) else left for each in order]
    bars = panel.barh(order, widths, color=["C0" if each.startswith("dsgd") else "0.75" for each in order])
    panel.bar_label(bars, [_label(entries[each]) for each in order], padding=3, fontsize=8)
    panel.set(title=f"{name}: {task['rows']:,} x {task['features']:,}, {task['score']}", xscale="log", xlabel="seconds")
    panel.set_xlim(left, most * (most / left) ** 0.8)  # on the right the longest bar leaves room for its label
    panel.tick_params("y", labelsize=8)


def _label(entry: Mapping[str, Any]) -> str:
    if "given up" in entry:
        gone = entry["given up"]
        return f"given up: {gone['seconds']:.2g} s for {gone['rows']:,} rows"
    text = f"{entry['score']:.4f}"
    return f"{text}, objective +{entry['suboptimality']:.1%}" if "suboptimality" in entry else text
