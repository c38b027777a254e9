"""Steps of a network in the units of its features and targets: raw columns train as scaled ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd._common.threads import blas_threads
from dsgd.models.feature_major import WEIGHTS_OF_AN_ENTRY
from dsgd.models.network import NetworkObjective, Units
from dsgd.models.protocols import Objective, Samples

__all__ = ["NetworkSteps", "UnitSteps"]


# Units that the first layer is taken to have: rows that are longer make shorter steps.
_UNITS = 100


class UnitSteps:
    """The direction P (g + alpha w) of a step, where P makes it that of plain descent in the units of `Units`.

    In these units means are 0 and deviations 1: with w = T u, and F(T u) to descend in u, P = T T'. It is a factor for
    every weight, and the biases of the first layer go along with its weights, so that the layer turns about the mean of
    the features (docs/algorithms/mlp.md).

    Parameters
    ----------
    objective : NetworkObjective
    units : Units
    dtype : dtype
        Of the weights.

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
        The origin of the features that gradients must be taken with (`NetworkObjective.gradient`).
    """

    def __init__(self, objective: NetworkObjective, units: Units, dtype: np.dtype[Any]) -> None:
        self.mean = units.mean.astype(dtype)
        self._layout = objective.layout
        self._alpha = dtype.type(objective.alpha)
        self._rates = np.ones(objective.layout.size, dtype)
        self._scratch = np.empty_like(self._rates)  # new memory for every batch would cost more than the sum
        matrices, biases = objective.layout.split(self._rates)
        # A target of large deviation makes gradients large, but for the last layer.
        squares = units.target**2 if len(matrices) > 1 else 1.0
        for each in (*matrices[1:-1], *biases[:-1]):
            each[:] = 1 / (squares + objective.alpha)
        # The penalty knows no units; its share keeps a step from being too long for it.
        share = min(1.0, _UNITS / units.length) if units.length > 0 else 1.0
        matrices[0][:] = (share / (squares * units.scale**2 + share * objective.alpha))[:, None]

    def turn(self, weights: NDArray[Any], gradient: NDArray[Any]) -> None:
        """Make a gradient of the loss, with the features taken from their mean, the direction of a step, in place."""
        if self._alpha:
            regularised = self._layout.regularised
            regularised(gradient)[:] += np.multiply(regularised(weights), self._alpha, out=regularised(self._scratch))
        gradient *= self._rates
        matrices, biases = self._layout.split(gradient)
        biases[0] -= self.mean @ matrices[0]


class NetworkSteps:
    """The `RowSteps` of a network: steps without momentum. A gradient has the features taken from their mean.

    Parameters
    ----------
    problem : Samples
    of_whole : mapping of str to ndarray
        The units of all rows, as `MLP.of_whole` returns them.
    n_threads : int
    """

    def __init__(self, problem: Samples, of_whole: Mapping[str, NDArray[Any]], n_threads: int) -> None:
        network = problem.objective(n_threads)
        assert isinstance(network, NetworkObjective)
        self.objective: Objective = network
        self.gradient_size = network.layout.size
        self._network = network
        self._steps = UnitSteps(network, Units.from_arrays(of_whole), np.dtype(problem.target.dtype))
        self._n_threads = n_threads

    def gradient(self, weights: NDArray[Any], rows: NDArray[np.int64], out: NDArray[np.float64]) -> None:
        """Write the sum over `rows` of the gradients of the loss into `out`; no penalty."""
        out[:] = self._mean_gradient(weights, rows, 1)

    def clipped_gradient(
        self, weights: NDArray[Any], rows: NDArray[np.int64], clip_norm: float, out: NDArray[np.float64]
    ) -> int:
        """Write the sum over `rows` of gradients shortened to `clip_norm` into `out`; return how many were longer.

        The gradients are shortened as they are; the features of their sum are then taken from their mean.
        """
        with blas_threads(self._n_threads):
            out[:], n_clipped = self._network.clipped_gradient(weights, rows, clip_norm, 1.0)
        matrices, biases = self._network.layout.split(out)
        matrices[0] -= np.multiply.outer(self._steps.mean, biases[0])
        return n_clipped

    def step(self, weights: NDArray[Any], gradient: NDArray[Any], step: float) -> NDArray[Any]:
        """Return w - step P (gradient + alpha w)."""
        direction = gradient.astype(weights.dtype)
        self._steps.turn(weights, direction)
        return np.asarray(weights - weights.dtype.type(step) * direction)

    def minibatch_step(
        self,
        weights: NDArray[Any],
        rows: NDArray[np.int64],
        step: float,
        batch_size: int,
        index: int,  # noqa: ARG002
    ) -> None:
        """Make the step that `minibatch` without momentum makes of `rows`, in place."""
        direction = self._mean_gradient(weights, rows, batch_size)
        self._steps.turn(weights, direction)
        direction *= weights.dtype.type(step)
        weights -= direction

    def work(self, entries: int, n_rows: int) -> float:
        """Return the products of all layers: forward, backward and in the gradient."""
        layout = self._network.layout
        behind = layout.n_weights - layout.n_features * layout.per_feature
        return (entries * layout.per_feature + n_rows * behind) / WEIGHTS_OF_AN_ENTRY

    def _mean_gradient(self, weights: NDArray[Any], rows: NDArray[np.int64], divisor: int) -> NDArray[Any]:
        with blas_threads(self._n_threads), np.errstate(over="ignore", invalid="ignore"):
            return self._network.gradient(weights, rows, divisor, self._steps.mean)
