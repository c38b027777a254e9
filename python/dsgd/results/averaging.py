"""What the nodes of a run counted for in the last average of their models."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd._common.plots import pyplot_for

__all__ = ["Averaging"]

# Numbers of a report that have fields of their own; the others are counters.
_FIELDS = ("samples", "updates", "progress", "certain_progress", "weight")


@dataclass(frozen=True, kw_only=True, eq=False)
class Averaging:
    """The nodes of a run in the last average of their models, by rank.

    Attributes
    ----------
    nodes : ndarray of int64, shape (n_nodes,)
        Ranks of the nodes that took part.
    samples : ndarray of int64, shape (n_nodes,)
        Samples that each node was trained on, in its last life.
    updates : ndarray of int64, shape (n_nodes,)
        Those of the steps that it made since the average before.
    lags : ndarray of int64, shape (n_nodes,)
        T_i, the updates that a node made less than the fastest one.
    weights : ndarray of float64, shape (n_nodes,)
        What each node counted for; their sum is 1.
    rate : float
        r, the rate at which an update brings two models nearer to each other, in the geometric mean of the fastest
        node.
    condition : float
        sum_i r^T_i - (k + sqrt(k)) / 2 on k nodes. While it is at least 0, the bound of the average is below that of
        the fastest node alone (Eq. 6 and Corollary 4 of the paper).
    span_factor : float
        k q^s / sum_i q^T_i with q = 1 - eta alpha and s the updates of the fastest node. With averages on the way the
        training is certain to approach the optimum while this is below 1 (Deduction 2). NaN without L2, where the bound
        says nothing.
    counters : dict of str to ndarray
        Further counts of the nodes, such as those of rejected samples of `wpsgd-delay`.

    References
    ----------
    Cheng, Li, Zhang, "Weighted parallel SGD for distributed unbalanced-workload training system".
    """

    nodes: NDArray[np.int64]
    samples: NDArray[np.int64]
    updates: NDArray[np.int64]
    lags: NDArray[np.int64]
    weights: NDArray[np.float64]
    rate: float
    condition: float
    span_factor: float
    counters: dict[str, NDArray[np.int64]]

    @staticmethod
    def of_reports(reports: Iterable[tuple[int, float, bytes]]) -> Averaging | None:
        """Return what the last report of every node says (`Outcome.reports`); None if no node tells of an average."""
        told: dict[int, dict[str, Any]] = {}
        for rank, _, metrics in reports:
            numbers = json.loads(metrics)
            if set(_FIELDS) <= set(numbers):
                told[rank] = numbers
        if not told:
            return None
        nodes = sorted(told)

        def each(name: str) -> NDArray[Any]:
            return np.array([told[node].get(name, 0) for node in nodes])

        updates, weights = each("updates").astype(np.int64), each("weight").astype(np.float64)
        progress = each("progress").astype(np.float64)
        certain = each("certain_progress").astype(np.float64)
        k, fastest = len(nodes), int(progress.argmax())
        names = dict.fromkeys(name for numbers in told.values() for name in numbers if name not in _FIELDS)
        return Averaging(
            nodes=np.array(nodes, np.int64),
            samples=each("samples").astype(np.int64),
            updates=updates,
            lags=updates.max() - updates,
            weights=weights / weights.sum(),
            rate=math.exp(-progress[fastest] / max(int(updates[fastest]), 1)),
            condition=float(np.exp(progress - progress.max()).sum() - (k + math.sqrt(k)) / 2),
            span_factor=float(k * np.exp(-certain.max()) / np.exp(certain - certain.max()).sum())
            if certain.max() > 0
            else math.nan,
            counters={name: each(name).astype(np.int64) for name in names},
        )

    def to_records(self) -> list[dict[str, Any]]:
        """Return a dictionary for each node: its rank, samples, updates, lag, weight, and counters."""
        columns = {
            "node": self.nodes,
            "samples": self.samples,
            "updates": self.updates,
            "lag": self.lags,
            "weight": self.weights,
            **self.counters,
        }
        return [{name: column[row].item() for name, column in columns.items()} for row in range(len(self.nodes))]

    def plot(self, axes: Any = None) -> Any:
        """Draw a bar for each node: what it counted for, beside its share of the updates.

        Parameters
        ----------
        axes : matplotlib.axes.Axes, optional
            Where to draw; by default a figure of its own.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        pyplot = pyplot_for("Averaging.plot")
        if axes is None:
            _, axes = pyplot.subplots(figsize=(max(5.0, 0.45 * len(self.nodes)), 3.4), layout="constrained")
        places = np.arange(len(self.nodes))
        axes.bar(places - 0.2, self.weights, width=0.4, label="weight in the average")
        axes.bar(places + 0.2, self.updates / max(int(self.updates.sum()), 1), width=0.4, label="share of the updates")
        axes.axhline(1 / len(self.nodes), color="0.6", linewidth=0.8, linestyle="--")
        axes.set_xticks(places, [str(node) for node in self.nodes])
        axes.set_xlabel("node")
        axes.set_ylabel("share")
        axes.set_title(f"r = {self.rate:.6g}, margin of Eq. (6): {self.condition:.3g}")
        axes.set_ylim(top=1.25 * axes.get_ylim()[1])  # room for the legend
        axes.legend(frameon=False, loc="upper right", ncols=2)
        return axes
