"""Centres of k-means: whether they can be started from, and whether they still move."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.errors import DataError
from dsgd.models.trained import Model
from dsgd.results.history import Record

__all__ = ["Moved", "check_centres"]


def check_centres(centres: NDArray[Any]) -> None:
    """Refuse centres whose distances from anything would be infinite."""
    with np.errstate(over="ignore"):
        if not np.isfinite(np.square(centres).sum()):
            raise DataError(f"the squares of init leave the range of {centres.dtype}: scale the features")


class Moved:
    """A callback that ends a fit when the centres move by squares of `tol` or less in a pass.

    Steps to and fro add up in their squares, so the `tol` of a pass is that of a step times the steps.
    """

    def __init__(self, tol: float, before: NDArray[Any]) -> None:
        self._tol = tol
        self._before = before

    def __call__(self, record: Record, model: Model) -> bool:  # noqa: ARG002
        """Return whether they moved so little."""
        with np.errstate(over="ignore"):
            moved = float(np.square(model.weights - self._before, dtype=np.float64).sum())
        np.copyto(self._before, model.weights)
        return moved <= self._tol
