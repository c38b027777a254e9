"""Clusters that hold the rows already. No engine is imported here."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import Any

from dsgd.errors import ConfigError
from dsgd.results.result import FitResult

__all__ = ["Elsewhere", "is_client"]


class Elsewhere(ABC):
    """A cluster whose workers hold the rows, so that `dsgd.fit` never has all of them."""

    @abstractmethod
    def fit(self, X: Any, y: Any, spec: Any, **given: Any) -> FitResult:
        """Train a model; see `dsgd.fit`.

        Parameters
        ----------
        X, y : object
            Where the rows are, as this cluster takes it.
        spec : FitSpec
        **given
            ``sample_weight``, ``class_weight``, ``init``, ``eval_set``, ``n_threads``, ``stopping`` and ``look``, as
            `dsgd.fit` has checked them.
        """

    def check_workers(self, workers: Any) -> None:
        """Raise `ConfigError` if another number of workers is asked for than this cluster has."""
        if workers is not None:
            raise ConfigError(f"workers={workers!r} must be left out with this cluster: its own workers are used")

    def check_gap(self, gap_tol: float | None) -> None:
        """Raise `ConfigError` if a duality gap is asked for, which needs all rows in one place."""
        if gap_tol is not None:
            raise ConfigError("gap_tol needs the rows in this process; leave it out with this cluster, and use tol")


def is_client(cluster: Any) -> bool:
    """Return whether a cluster is a client of Dask; who has made one has imported `distributed`."""
    distributed = sys.modules.get("distributed")
    return distributed is not None and isinstance(cluster, distributed.Client)
