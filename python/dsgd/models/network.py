"""Layers of a fully connected network: forward and backward, by the matrix products of numpy's BLAS.

Nearly all of the time goes into these products; nothing here is worth C++.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.checks import shown
from dsgd._common.threads import blas_threads
from dsgd.data.inputs import as_scipy, take_rows
from dsgd.errors import ConfigError
from dsgd.models.base import ParameterLayout, Samples

__all__ = ["Layers", "NetworkObjective", "Units", "forward", "starting_weights"]


# Rows that go through a network together where no step is made: what they need stays in a cache.
_ROWS = 1024
# Rows that say what features are measured in; deviations a feature is taken to reach; units a layer is taken to have.
_MEASURED, _REACH = 4096, 8.0


@dataclass(frozen=True, kw_only=True)
class Units:
    """What the features and targets of a network are measured in, so that its steps do not depend on it.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_features,)
        Of every feature: its mean, and its standard deviation, or an eighth of its range if that is more.
    length : float
        Mean square length of a row in these units.
    target : float
        Standard deviation of the targets; 1 for classes.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    length: float
    target: float

    @classmethod
    def measure(cls, problem: Samples) -> Units:
        """Measure a problem: ranges of all rows, means and deviations of at most 4,096."""
        whole, n_rows = as_scipy(problem.matrix), problem.matrix.n_rows
        some = take_rows(problem.matrix, np.arange(0, n_rows, -(-n_rows // _MEASURED)))
        if isinstance(some, np.ndarray):
            mean, variance = some.mean(axis=0, dtype=np.float64), some.var(axis=0, dtype=np.float64)
            reach = whole.max(axis=0).astype(np.float64) - whole.min(axis=0)
        else:
            n, d = some.shape
            mean = np.bincount(some.indices, some.data, minlength=d) / n
            squares = np.bincount(some.indices, (some.data - mean[some.indices]) ** 2, minlength=d)
            variance = squares / n + (1 - np.bincount(some.indices, minlength=d) / n) * mean**2
            reach = (whole.max(axis=0) - whole.min(axis=0)).toarray().ravel().astype(np.float64)
        scale = np.maximum(np.sqrt(variance), reach / _REACH)
        # What is so small that its square is lost counts as a constant, as it does in the scale of the data.
        varies = (scale > 1e-12 * np.abs(mean)) & (scale**2 > np.finfo(some.dtype).tiny)
        usual = float(np.exp(np.log(scale[varies]).mean())) if varies.any() else 1.0
        scale = np.where(varies, scale, usual)
        with np.errstate(over="ignore", invalid="ignore"):  # of targets that are refused later
            spread = 1.0 if problem.n_classes > 0 else float(np.std(problem.target.astype(np.float64)))
        return cls(mean=mean, scale=scale, length=float((variance / scale**2).sum()), target=spread or 1.0)


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
        parts = [flat[a:b] for a, b in self._parts]
        shapes = list(itertools.pairwise(self.widths))
        return [part.reshape(s) for part, s in zip(parts, shapes, strict=False)], parts[len(shapes) :]

    @functools.cached_property
    def _parts(self) -> list[tuple[int, int]]:
        sizes = (*(a * b for a, b in itertools.pairwise(self.widths)), *self.widths[1:])
        return list(itertools.pairwise(itertools.accumulate(sizes, initial=0)))


def starting_weights(layout: Layers, seed: int, dtype: np.dtype[Any], units: Units | None = None) -> NDArray[Any]:
    """Return normal weights of variance 2 / inputs (He, Zhang, Ren, Sun 2015), in these units, and biases of 0."""
    flat = np.zeros(layout.size, dtype)
    random = np.random.default_rng(seed)
    matrices, biases = layout.split(flat)
    for matrix in matrices:
        matrix[:] = random.standard_normal(matrix.shape) * np.sqrt(2 / len(matrix))
    if units is not None:
        with np.errstate(over="ignore", invalid="ignore"):  # of data out of range: the first epoch shows it
            matrices[-1] *= units.target
            matrices[0] /= units.scale[:, None].astype(dtype)
            biases[0] -= units.mean.astype(dtype) @ matrices[0]
    return flat


def forward(X: Any, layout: Layers, flat: NDArray[Any]) -> list[Any]:
    """Return the inputs of every layer, the first of them X, and last the outputs of the network."""
    matrices, biases = layout.split(flat)
    layers = [X]
    with np.errstate(over="ignore", invalid="ignore"):  # of weights that diverged, which the objective shows
        for k, (w, b) in enumerate(zip(matrices, biases, strict=True)):
            z = layers[-1] @ w
            z += b
            layers.append(np.maximum(z, 0, out=z) if k < len(matrices) - 1 else z)
    return layers


def _row_squares(rows: Any) -> NDArray[np.float64]:
    """Return the squared norm of every row, dense or sparse."""
    if isinstance(rows, np.ndarray):
        return np.asarray(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    return np.asarray(rows.astype(np.float64).power(2).sum(axis=1)).ravel()


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
        loss = self.mean_loss(weights, n_threads)
        if not self.alpha:
            return loss
        with np.errstate(over="ignore"):
            return loss + self.alpha / 2 * float(np.square(self.layout.regularised(weights), dtype=np.float64).sum())

    def loss_gradient(self, weights: NDArray[Any], out: NDArray[np.float64], n_threads: int) -> None:
        """Write the gradient of the mean loss into `out`."""
        out[:] = 0
        with blas_threads(n_threads):
            for rows in self._blocks():
                out += self.gradient(weights, rows, self.n_rows)

    def gradient(
        self, weights: NDArray[Any], rows: Any, divisor: int, origin: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Return the sum of the gradients of some rows, over `divisor`: what is behind each layer first.

        With an `origin` of the features it is that in the weights of features less their origin.
        """
        layers = forward(self._X[rows], self.layout, weights)
        last = self._derivative(layers[-1], rows) / weights.dtype.type(divisor)
        return self._sum_of_gradients(layers, self._backward(layers, weights, last), weights.dtype, origin)

    def clipped_gradient(
        self, weights: NDArray[Any], rows: Any, clip_norm: float, divisor: float
    ) -> tuple[NDArray[Any], int]:
        """Return the sum of gradients that are shortened to `clip_norm`, over `divisor`, and how many were longer.

        Parameters
        ----------
        weights : ndarray of shape (n_parameters,)
        rows : ndarray of int
            May be empty: the sum is then 0.
        clip_norm : float
            Most that the 2-norm of one row's gradient counts for, its biases included; above 0. `math.inf` shortens
            none.
        divisor : float

        Returns
        -------
        total : ndarray of shape (n_parameters,)
            sum_i g_i min(1, clip_norm / ||g_i||) / divisor. g_i is the gradient of the loss of row i, times its sample
            weight and without the penalty.
        n_clipped : int

        Raises
        ------
        ConfigError
            For a `clip_norm` that is not above 0.

        Notes
        -----
        No g_i is formed: of layer k it is the product of the layer's inputs a and the derivatives d behind it, so that
        ||g_i||^2 = sum_k (||a_k||^2 + 1) ||d_k||^2 (Goodfellow 2015, "Efficient per-example gradient computations").
        """
        if not clip_norm > 0:
            raise ConfigError(f"clip_norm must be above 0, not {shown(clip_norm)}")
        layers = forward(self._X[rows], self.layout, weights)
        behind = self._backward(layers, weights, self._derivative(layers[-1], rows))
        with np.errstate(over="ignore", invalid="ignore"):  # of weights that diverged, which the objective shows
            squares = sum((_row_squares(a) + 1) * _row_squares(d) for a, d in zip(layers[:-1], behind, strict=True))
            norms = np.sqrt(squares)
            longer = norms > clip_norm
            shares = np.where(longer, clip_norm / np.where(longer, norms, 1), 1.0) / divisor
            behind = [d * shares[:, None].astype(d.dtype) for d in behind]
            return self._sum_of_gradients(layers, behind, weights.dtype), int(longer.sum())

    def _backward(self, layers: list[Any], weights: NDArray[Any], last: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the derivatives behind every layer, from those behind the last: what its outputs are multiplied by."""
        matrices, _ = self.layout.split(weights)
        behind = [last]
        for k in range(len(matrices) - 1, 0, -1):
            behind.append((behind[-1] @ matrices[k].T) * (layers[k] > 0))
        return behind[::-1]

    def _sum_of_gradients(
        self, layers: list[Any], behind: list[NDArray[Any]], dtype: np.dtype[Any], origin: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Return the sum over rows of the products of every layer's inputs and what is behind it."""
        gradient = np.empty(self.layout.size, dtype)
        of_matrices, of_biases = self.layout.split(gradient)
        for k, derivative in enumerate(behind):
            of_biases[k][:] = derivative.sum(axis=0)
            if k > 0 or origin is None:
                of_matrices[k][:] = layers[k].T @ derivative
            elif isinstance(layers[0], np.ndarray):
                of_matrices[0][:] = (layers[0] - origin).T @ derivative
            else:  # which would not be sparse any more
                of_matrices[0][:] = layers[0].T @ derivative
                of_matrices[0] -= np.multiply.outer(origin, of_biases[0])
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
