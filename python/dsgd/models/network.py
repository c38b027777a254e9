"""Layers of a fully connected network: forward and backward, by the matrix products of numpy's BLAS.

Nearly all of the time goes into these products, so C++ would gain nothing.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.checks import shown
from dsgd._common.threads import blas_threads
from dsgd.data.inputs import as_scipy, take_rows
from dsgd.data.statistics import TargetMoments
from dsgd.data.summary import Summary
from dsgd.errors import ConfigError
from dsgd.models.protocols import ParameterLayout, Samples

__all__ = ["Layers", "NetworkObjective", "Units", "forward", "starting_weights"]


# Rows that are evaluated together when no step is made: the outputs of their layers stay in a cache.
_ROWS = 1024
# Most rows from which the means and deviations of the features are estimated.
_MEASURED = 4096
# A feature whose range exceeds this multiple of its deviation has range / _REACH as its unit (docs/algorithms/mlp.md).
_REACH = 8.0


@dataclass(frozen=True, kw_only=True)
class Units:
    """The units in which a network measures features and targets, so that steps do not depend on their scale.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_features,)
        The mean of every feature, and its unit: the standard deviation, or an eighth of the range if
        that is more. A constant feature has the geometric mean of the other units.
    length : float
        Mean square length of a row in these units.
    target : float
        Standard deviation of the targets; 1 for classes.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    length: float
    target: float

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return the fields as arrays."""
        return {name: np.asarray(value, np.float64) for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Units:
        """Return the units of `arrays`."""
        return cls(
            mean=arrays["mean"], scale=arrays["scale"], length=float(arrays["length"]), target=float(arrays["target"])
        )

    @classmethod
    def measure(cls, problem: Samples) -> Units:
        """Return the units of a problem: ranges over all rows, means and deviations over at most 4,096 rows.

        If the problem has a summary, means and deviations are those of all rows. If it is blind the units are 1.
        """
        if problem.blind:
            n_features = problem.matrix.n_features
            return cls(mean=np.zeros(n_features), scale=np.ones(n_features), length=0.0, target=1.0)
        if problem.summary is not None:
            return cls._of_summary(problem.summary)
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
        with np.errstate(over="ignore", invalid="ignore"):  # targets out of range are refused later
            spread = 1.0 if problem.n_classes > 0 else float(np.std(problem.target.astype(np.float64)))
        return cls._of_moments(mean, variance, reach, spread, some.dtype)

    @classmethod
    def _of_summary(cls, summary: Summary) -> Units:
        features, targets = summary.features, summary.targets
        if features is None:
            raise ConfigError("a network needs the moments of the features; summarise the parts with moments=True")
        with np.errstate(over="ignore", invalid="ignore"):
            spread = float(np.sqrt(targets.plain.variance)) if isinstance(targets, TargetMoments) else 1.0
            reach = features.high - features.low
        return cls._of_moments(features.moments.mean, features.moments.variance, reach, spread, summary.dtype)

    @classmethod
    def _of_moments(
        cls,
        mean: NDArray[np.float64],
        variance: NDArray[np.float64],
        reach: NDArray[np.float64],
        spread: float,
        dtype: np.dtype[Any],
    ) -> Units:
        """Return the units of features with these moments and ranges, and of targets with this deviation."""
        scale = np.maximum(np.sqrt(variance), reach / _REACH)
        # A feature whose unit is so small that its square is lost counts as constant, as in `Scale`.
        varies = (scale > 1e-12 * np.abs(mean)) & (scale**2 > np.finfo(dtype).tiny)
        usual = float(np.exp(np.log(scale[varies]).mean())) if varies.any() else 1.0
        scale = np.where(varies, scale, usual)
        return cls(mean=mean, scale=scale, length=float((variance / scale**2).sum()), target=spread or 1.0)


@dataclass(frozen=True, kw_only=True)
class Layers(ParameterLayout):
    """The layout of a network: the matrices of all layers, of shape (inputs, outputs), then all biases.

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
        """Number of inputs, of units in every hidden layer, and of outputs."""
        return (self.n_features, *self.hidden, self.n_outputs)

    @property
    def n_weights(self) -> int:
        """Number of elements of all matrices."""
        return sum(a * b for a, b in itertools.pairwise(self.widths))

    @property
    def per_feature(self) -> int:
        """One parameter for each unit of the first layer."""
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
        """Return the flat indices of the weights of some features."""
        return np.asarray(features[:, None] * self.per_feature + np.arange(self.per_feature)).ravel()

    def on(self, features: NDArray[Any] | slice) -> NDArray[np.intp]:
        """Return the flat indices of the parameters that the network on these features alone also has."""
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
    """Return normal weights of variance 2 / inputs (He, Zhang, Ren, Sun 2015), and biases of 0.

    They are drawn for features and targets in `units`, and then converted to those of the data.
    """
    flat = np.zeros(layout.size, dtype)
    random = np.random.default_rng(seed)
    matrices, biases = layout.split(flat)
    for matrix in matrices:
        matrix[:] = random.standard_normal(matrix.shape) * np.sqrt(2 / len(matrix))
    if units is not None:
        with np.errstate(over="ignore", invalid="ignore"):  # the first epoch shows data out of range
            matrices[-1] *= units.target
            matrices[0] /= units.scale[:, None].astype(dtype)
            biases[0] -= units.mean.astype(dtype) @ matrices[0]
    return flat


def forward(X: Any, layout: Layers, flat: NDArray[Any]) -> list[Any]:
    """Return the inputs of every layer, of which X is the first, and then the outputs of the network."""
    matrices, biases = layout.split(flat)
    layers = [X]
    with np.errstate(over="ignore", invalid="ignore"):  # the objective shows weights that diverged
        for k, (w, b) in enumerate(zip(matrices, biases, strict=True)):
            z = layers[-1] @ w
            z += b
            layers.append(np.maximum(z, 0, out=z) if k < len(matrices) - 1 else z)
    return layers


def _product(a: Any, b: NDArray[Any], out: NDArray[Any]) -> None:
    """Write a @ b into `out`, without a copy between if `a` is dense."""
    if isinstance(a, np.ndarray):
        np.matmul(a, b, out=out)
    else:
        out[:] = a @ b


def _row_squares(rows: Any) -> NDArray[np.float64]:
    """Return the squared norm of every row, dense or sparse."""
    if isinstance(rows, np.ndarray):
        return np.asarray(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    return np.asarray(rows.astype(np.float64).power(2).sum(axis=1)).ravel()


class NetworkObjective:
    """The objective of a network on the rows of a matrix, with the methods of `_core.Objective`.

    Parameters
    ----------
    matrix : _core.Matrix
    target : ndarray of shape (n_samples,)
        Numbers of classes, or real numbers where `classes` is False.
    sample_weight : ndarray of shape (n_samples,) or None
    layout : Layers
    alpha : float
        Strength of ||w||^2 / 2, over all weights but the biases.
    classes : bool
        Whether the loss is the softmax loss. Otherwise it is half the squared error.
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
        """Return the mean loss plus the penalty."""
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
        """Return the sum of the gradients of some rows, divided by `divisor`, by backpropagation.

        With an `origin` of shape (n_features,), the gradient in the first matrix is that of a network
        whose inputs are X - origin.
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
                _product(layers[k].T, derivative, of_matrices[k])
            elif isinstance(layers[0], np.ndarray):
                _product((layers[0] - origin).T, derivative, of_matrices[0])
            else:  # X - origin would not be sparse any more
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
