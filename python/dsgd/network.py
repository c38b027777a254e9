"""Fully connected networks: forward, backward, and mini-batch descent with momentum, by numpy's matrix products.

numpy hands products of matrices to its BLAS, which is where nearly all of the time goes; nothing here is worth C++.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.data.inputs import as_scipy
from dsgd.parameters import ParameterLayout
from dsgd.threads import blas_threads

__all__ = ["Layers", "Momentum", "NetworkObjective", "forward", "starting_weights"]

# Rows that go through a network together where no step is made: what they need stays in a cache.
_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class Layers(ParameterLayout):
    """The matrices of all layers, each of shape (inputs, outputs), one after the other; then the biases of all.

    Parameters
    ----------
    n_features : int
    hidden : tuple of int
        Units of each hidden layer.
    n_outputs : int
    """

    n_features: int
    hidden: tuple[int, ...]
    n_outputs: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Inputs, units of every hidden layer, outputs."""
        return (self.n_features, *self.hidden, self.n_outputs)

    @property
    def n_weights(self) -> int:
        """Elements of all matrices."""
        return sum(a * b for a, b in itertools.pairwise(self.widths))

    @property
    def per_feature(self) -> int:
        """One a unit of the first layer."""
        return self.widths[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_parameters,)."""
        return (self.n_weights + sum(self.widths[1:]),)

    def pack(self, parameters: NDArray[Any]) -> NDArray[Any]:
        """Return a copy: the parameters are flat."""
        return parameters.copy()

    def unpack(self, flat: NDArray[Any]) -> NDArray[Any]:
        """Return the vector itself."""
        return flat

    def regularised(self, flat: NDArray[Any]) -> NDArray[Any]:
        """Return a view of the matrices."""
        return flat[: self.n_weights]

    def of_features(self, features: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return where the weights of some features lie."""
        return np.asarray(features[:, None] * self.per_feature + np.arange(self.per_feature)).ravel()

    def on(self, features: NDArray[Any] | slice) -> NDArray[np.intp]:
        """Return where the parameters lie that the same network has on these features only."""
        first = self.of_features(np.arange(self.n_features)[features])
        return np.concatenate([first, np.arange(self.n_features * self.per_feature, self.size)])

    def split(self, flat: NDArray[Any]) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """Return views of the matrices and of the biases of every layer."""
        shapes = list(itertools.pairwise(self.widths))
        edges = np.cumsum([0, *(a * b for a, b in shapes), *self.widths[1:]])
        parts = [flat[a:b] for a, b in itertools.pairwise(edges)]
        return [part.reshape(s) for part, s in zip(parts, shapes, strict=False)], parts[len(shapes) :]


def starting_weights(layout: Layers, seed: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return normal weights of variance 2 / inputs (He, Zhang, Ren, Sun 2015), and biases of 0."""
    flat = np.zeros(layout.size, dtype)
    random = np.random.default_rng(seed)
    for matrix in layout.split(flat)[0]:
        matrix[:] = random.standard_normal(matrix.shape) * np.sqrt(2 / len(matrix))
    return flat


def forward(X: Any, layout: Layers, flat: NDArray[Any]) -> list[Any]:
    """Return the inputs of every layer, the first of them X, and last the outputs of the network."""
    matrices, biases = layout.split(flat)
    layers = [X]
    for k, (w, b) in enumerate(zip(matrices, biases, strict=True)):
        z = layers[-1] @ w
        z += b
        layers.append(np.maximum(z, 0, out=z) if k < len(matrices) - 1 else z)
    return layers


class NetworkObjective:
    """Mean loss and penalty of a network on the rows of a matrix, as `_core.Objective` has them.

    Parameters
    ----------
    matrix : _core.Matrix
    target : ndarray of shape (n_samples,)
        Numbers of classes, or real numbers where `classes` is False.
    sample_weight : ndarray of shape (n_samples,) or None
    layout : Layers
    alpha : float
        Strength of the squares of the weights, halved.
    classes : bool
        Whether the outputs are those of a softmax, rather than compared with the targets by their squares.
    """

    def __init__(
        self,
        matrix: _core.Matrix,
        target: NDArray[Any],
        sample_weight: NDArray[Any] | None,
        *,
        layout: Layers,
        alpha: float,
        classes: bool,
    ) -> None:
        self._X = as_scipy(matrix)
        self._y = target.astype(np.intp) if classes else target
        self._sample_weight = sample_weight
        self._classes = classes
        self.layout = layout
        self.alpha = alpha
        self.n_rows = matrix.n_rows

    def mean_loss(self, weights: NDArray[Any], n_threads: int) -> float:
        """Return the mean loss, without the penalty."""
        with blas_threads(n_threads), np.errstate(over="ignore", invalid="ignore"):
            total = sum(self._losses(forward(self._X[rows], self.layout, weights)[-1], rows) for rows in self._blocks())
        return float(total) / self.n_rows

    def value(self, weights: NDArray[Any], n_threads: int) -> float:
        """Return mean loss and penalty."""
        squares = np.square(self.layout.regularised(weights), dtype=np.float64).sum()
        return self.mean_loss(weights, n_threads) + self.alpha / 2 * float(squares)

    def loss_gradient(self, weights: NDArray[Any], out: NDArray[np.float64], n_threads: int) -> None:
        """Write the gradient of the mean loss into `out`."""
        out[:] = 0
        with blas_threads(n_threads):
            for rows in self._blocks():
                out += self.gradient(weights, rows, self.n_rows)

    def gradient(self, weights: NDArray[Any], rows: Any, divisor: int) -> NDArray[Any]:
        """Return the sum of the gradients of some rows, over `divisor`: what is behind each layer first."""
        layers = forward(self._X[rows], self.layout, weights)
        matrices, _ = self.layout.split(weights)
        gradient = np.empty_like(weights)
        of_matrices, of_biases = self.layout.split(gradient)
        behind = self._derivative(layers[-1], rows) / weights.dtype.type(divisor)
        for k in range(len(matrices) - 1, -1, -1):
            of_matrices[k][:] = layers[k].T @ behind
            of_biases[k][:] = behind.sum(axis=0)
            if k > 0:
                behind = (behind @ matrices[k].T) * (layers[k] > 0)
        return gradient

    def _blocks(self) -> Iterator[slice]:
        return (slice(begin, begin + _ROWS) for begin in range(0, self.n_rows, _ROWS))

    def _losses(self, outputs: NDArray[Any], rows: Any) -> float:
        y, z = self._y[rows], outputs.astype(np.float64)
        if self._classes:
            from scipy.special import logsumexp  # slow to import

            losses = logsumexp(z, axis=1) - z[np.arange(len(y)), y]
        else:
            losses = (z[:, 0] - y) ** 2 / 2
        return float(losses.sum() if self._sample_weight is None else losses @ self._sample_weight[rows])

    def _derivative(self, outputs: NDArray[Any], rows: Any) -> NDArray[Any]:
        y = self._y[rows]
        if self._classes:
            derivative = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            derivative /= derivative.sum(axis=1, keepdims=True)
            derivative[np.arange(len(y)), y] -= 1
        else:
            derivative = outputs - y[:, None]
        if self._sample_weight is not None:
            derivative *= self._sample_weight[rows][:, None]
        return np.asarray(derivative)


class Momentum:
    """Mini-batch descent with the momentum of Polyak (1964): v <- momentum v - step g, w <- w + v.

    Parameters
    ----------
    objective : NetworkObjective
    momentum : float
    """

    def __init__(self, objective: NetworkObjective, momentum: float) -> None:
        self._objective = objective
        self._momentum = momentum
        self._velocity: NDArray[Any] | None = None

    def epoch(
        self, weights: NDArray[Any], order: NDArray[np.int64], steps: Sequence[float], batch_size: int, n_threads: int
    ) -> None:
        """Make a step for every batch of `order`, in place; the same bits on the same BLAS with one thread."""
        if self._velocity is None:
            self._velocity = np.zeros_like(weights)
        v, layout, real = self._velocity, self._objective.layout, weights.dtype.type
        with blas_threads(n_threads), np.errstate(over="ignore", invalid="ignore"):
            for begin, step in zip(range(0, len(order), batch_size), steps, strict=True):
                gradient = self._objective.gradient(weights, order[begin : begin + batch_size], batch_size)
                layout.regularised(gradient)[:] += real(self._objective.alpha) * layout.regularised(weights)
                v *= real(self._momentum)
                v -= real(step) * gradient
                weights += v
