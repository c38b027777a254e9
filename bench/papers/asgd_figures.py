"""The drawing of ASGD's figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dsgd._common.files import replacing

__all__ = ["draw"]

STYLES: dict[str, dict[str, Any]] = {
    "ASGD": {"color": "tab:blue"},
    "silent": {"color": "tab:blue", "linestyle": "--"},
    "SGD": {"color": "tab:orange"},
    "BATCH": {"color": "tab:green"},
}


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Draw the scaling by time and by error, the convergence of figure 8, and figure 14."""
    figure = Figure(figsize=(13, 9), layout="constrained")
    panels = figure.subplots(2, 2)
    _scaling(panels[0][0], panels[0][1], results["scaling"])
    _convergence(panels[1][0], results["convergence"])
    _silence(panels[1][1], results["silence"])
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=100)


def _scaling(times: Any, errors: Any, found: Mapping[str, Any]) -> None:
    for name in ("ASGD", "SGD", "BATCH"):
        nodes = [at["nodes"] for at in found[name]]
        times.plot(nodes, [at["seconds"] for at in found[name]], marker="o", label=name, **STYLES[name])
        if name != "SGD":
            to_error = [np.nan if at["time_to_error"] is None else at["time_to_error"] for at in found[name]]
            label = f"{name} to the error"
            times.plot(nodes, to_error, marker="x", linestyle=":", color=STYLES[name]["color"], label=label)
        errors.plot(nodes, [at["end_error"] for at in found[name]], marker="o", label=name, **STYLES[name])
    first = found["ASGD"][0]
    ideal = [first["seconds"] * first["nodes"] / count for count in nodes]
    times.plot(nodes, ideal, color="black", linewidth=0.8, label="linear scaling")
    title = f"figures 1, 5: {found['rows'] * found['passes'] / 1e6:.0f} million rows, and time to {found['error']:.1%}"
    times.set(title=title, ylabel="virtual seconds")
    errors.set(title="figure 9: the error after these rows", ylabel="error")
    for axes in (times, errors):
        axes.set(xlabel="nodes", xscale="log", yscale="log")
        axes.set_xticks(nodes, [str(count) for count in nodes], minor=False)
        axes.minorticks_off()
        axes.legend(fontsize="small")


def _convergence(axes: Any, found: Mapping[str, Any]) -> None:
    for name, curve in found["curves"].items():
        begin = int(np.argmax(np.array(curve["seconds"]) > 0))  # SGD does not wait until all nodes are there
        axes.plot(curve["seconds"][begin:], curve["errors"][begin:], marker=".", label=name, **STYLES[name])
    title = f"figure 8: k = 100, b = 500, {found['nodes']} nodes"
    axes.set(title=title, xlabel="virtual seconds", ylabel="error (relative to Lloyd's algorithm)", xscale="log")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.legend(fontsize="small")


def _silence(axes: Any, found: Mapping[str, Any]) -> None:
    for name, curves in found["curves"].items():
        errors = np.array([curve["errors"] for curve in curves])
        seconds = curves[0]["seconds"]
        axes.plot(seconds, np.median(errors, axis=0), marker=".", label=name, **STYLES[name])
        axes.fill_between(
            seconds, errors.min(axis=0).clip(1e-6), errors.max(axis=0), alpha=0.15, color=STYLES[name]["color"]
        )
    p = found["sign_test_p"]
    title = f"figure 14: silent is worse in {found['silent_is_worse']} of {found['seeds']} seeds (p = {p:.1g})"
    axes.set(title=title, xlabel="virtual seconds", ylabel="error: median and range", yscale="log")
    axes.legend(fontsize="small")
