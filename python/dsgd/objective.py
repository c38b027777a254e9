"""What every objective offers, whatever its model, and whether it is written in C++ or here."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Objective"]


class Objective(Protocol):
    """Value and gradient at a flat vector of weights, which the layout of the model explains."""

    def value(self, weights: NDArray[Any], n_threads: int) -> float:
        """Return mean loss and penalty."""

    def mean_loss(self, weights: NDArray[Any], n_threads: int) -> float:
        """Return the mean loss, without the penalty."""

    def loss_gradient(self, weights: NDArray[Any], out: NDArray[np.float64], n_threads: int) -> None:
        """Write the gradient of the mean loss into `out`."""
