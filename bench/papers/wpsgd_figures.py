"""The drawings of WP-SGD's figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dsgd._common.files import replacing
from papers.wpsgd_cases import COSTS, Curve

__all__ = ["draw", "draw_more"]

# Curves that lie on one another by iterations are all seen: mini-batch is broad and behind, sequential is before all.
STYLES: dict[str, dict[str, Any]] = {
    "sequential": {"color": "black", "linestyle": ":", "zorder": 3},
    "mini-batch": {"color": "lightgray", "linewidth": 5, "zorder": 1},
    "SimuParallel": {"color": "tab:orange"},
    "SimuParallel, even nodes": {"color": "tab:orange", "linestyle": "--"},
    "SimuParallel, spans of 1000": {"color": "tab:brown", "linestyle": "-."},
    "direct average": {"color": "tab:green"},
    "WP-SGD": {"color": "tab:blue"},
    "D&M WP-SGD": {"color": "tab:red"},
}
_COST_TITLES = {"measured": "steps on sparse rows (measured)", "dense": "steps on all weights"}
Curves = Mapping[str, Curve]


def _draw_curves(axes: Any, curves: Curves, axis: str, zoom: bool = False) -> None:
    """Draw the curves against iterations, or against time on a logarithmic axis."""
    skip = {"SimuParallel, even nodes"} if axis == "iterations" else set()
    for name, curve in curves.items():
        if name in skip:
            continue
        begin = 0 if axis == "iterations" else 1
        axes.plot(getattr(curve, axis)[begin:], curve.objectives[begin:], label=name, **STYLES[name])
    axes.set_yscale("log")
    axes.set_xlabel("iterations of the fastest node" if axis == "iterations" else "virtual seconds")
    if axis == "seconds" and not zoom:
        axes.set_xscale("log")


def draw(places: Mapping[str, Curves], names: list[str], regime: str, path: Path) -> None:
    """Draw a line of panels for each problem: by iterations, and by time in both cost models."""
    figure = Figure(figsize=(14, 4 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), 3, squeeze=False)
    for line, name in zip(panels, names, strict=True):
        dense = places[f"{name}, {regime}, dense"]
        _draw_curves(line[0], dense, "iterations")
        line[0].set(title=f"{name}\nby iterations, {_COST_TITLES['dense']}", ylabel="objective")
        for axes, cost in zip(line[1:], COSTS, strict=True):
            _draw_curves(axes, places[f"{name}, {regime}, {cost}"], "seconds")
            axes.set_title(f"{name}\nby time, {_COST_TITLES[cost]}")
    handles = panels[0][1].get_legend_handles_labels()[0]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    _save(figure, path)


def draw_more(results: Mapping[str, Any], zoom: Mapping[str, Curves], path: Path) -> None:
    """Draw figures 3 and 10, and the runs on processes of this machine."""
    figure = Figure(figsize=(15, 12), layout="constrained")
    panels = figure.subplots(3, 3)
    for axes, (name, found) in zip(panels[0], results["contraction"].items(), strict=False):
        at = np.array(found["samples"])
        axes.plot(at, found["log_distances"], color="black", label="ln ||w_t - w_end||")
        for label, rate, style in (
            ("fit", found["fitted"], "-"),
            ("1 - eta lambda", found["bound"], "--"),
            ('contraction="data"', found["estimated"], ":"),
        ):
            text = f"{label}: 1 - {1 - rate:.3g}"
            axes.plot(at, found["log_distances"][0] + np.log(rate) * (at - at[0]), style, label=text)
        axes.set(title=f"figure 3, {name}", xlabel="samples t", ylabel="ln distance")
        axes.set_ylim(min(found["log_distances"]) - 1, max(found["log_distances"]) + 1)
        axes.legend(fontsize="small")
    for axes, (place, curves) in zip(panels[1], zoom.items(), strict=False):
        _draw_curves(axes, curves, "seconds", zoom=True)
        low = min(min(curve.objectives) for curve in curves.values())
        end = max(curves["direct average"].seconds[-2], curves["sequential"].seconds[-1])
        axes.set(title=f"figure 10: {place}", ylabel="objective")
        axes.set(xlim=(0.3 * end, 2.2 * end), ylim=(0.8 * low, 100 * low))
        axes.legend(fontsize="small")
    for axes, (regime, curves) in zip(panels[2], results["local"].items(), strict=False):
        for name, found in curves.items():
            axes.plot(found["seconds"], found["objectives"], label=name, **STYLES[name])
        axes.set(title=f"20news, four processes, {regime}", xlabel="seconds after the first record", ylabel="objective")
        axes.set_yscale("log")
        axes.set_xscale("log")
        axes.legend(fontsize="small", loc="lower left")
    for axes in panels.ravel():
        axes.set_visible(axes.has_data())
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=100)
