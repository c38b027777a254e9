"""Draws a trace: when each node computed, waited and sent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dsgd._common.plots import pyplot_for
from dsgd.cluster.runtime.trace import Kind, Trace
from dsgd.errors import ConfigError

__all__ = ["draw_gantt"]

_COLOURS = {"compute": "#2a6f97", "wait": "#e9c46a", "transfer": "#8a8a8a", "down": "#c1121f"}


def draw_gantt(trace: Trace, *, begin: float = 0.0, end: float | None = None, axes: Any = None) -> Any:
    """Draw a bar for every node: the times in which it computed, waited and was down.

    A thin bar below it shows the frames that the node sent.

    Parameters
    ----------
    trace : Trace
    begin, end : float, optional
        The virtual seconds to draw; by default all.
    axes : matplotlib.axes.Axes, optional
        Where to draw; by default a figure of its own.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ConfigError
        If nothing happened between `begin` and `end`.
    """
    pyplot = pyplot_for("draw_gantt")
    from matplotlib.patches import Patch

    columns = trace.columns()
    finite = columns["end"][np.isfinite(columns["end"])]
    until = float(finite.max(initial=0.0)) if end is None else end
    seen = (columns["end"] > begin) & (columns["begin"] < until)
    if not seen.any():
        raise ConfigError(f"the trace has nothing between {begin:g} and {until:g} s")
    nodes = int(trace.about["nodes"])
    rows = nodes + int(trace.about["servers"])
    if axes is None:
        _, axes = pyplot.subplots(figsize=(10, 0.8 + 0.35 * min(rows, 60)), layout="constrained")
    for kind, name, offset, height in (
        (Kind.COMPUTE, "compute", 0.0, 0.5),
        (Kind.WAIT, "wait", 0.0, 0.5),
        (Kind.DOWN, "down", 0.0, 0.5),
        (Kind.TRANSFER, "transfer", 0.36, 0.16),
    ):
        mine = seen & (columns["kind"] == kind)
        for node in np.unique(columns["node"][mine]):
            chosen = mine & (columns["node"] == node)
            starts = np.maximum(columns["begin"][chosen], begin)
            widths = np.minimum(columns["end"][chosen], until) - starts
            row = nodes if node < 0 else int(node)
            bars = list(zip(starts.tolist(), widths.tolist(), strict=True))
            axes.broken_barh(bars, (row - height / 2 + offset, height), color=_COLOURS[name], linewidth=0)
    names = [f"worker {node}" for node in range(nodes)] + [f"server {shard}" for shard in range(rows - nodes)]
    step = math.ceil(rows / 60)
    axes.set_yticks(range(0, rows, step), names[::step])
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_xlim(begin, until)
    axes.set_xlabel("virtual seconds")
    patches = [Patch(color=colour, label=name) for name, colour in _COLOURS.items()]
    axes.legend(handles=patches, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(patches), frameon=False)

    return axes
