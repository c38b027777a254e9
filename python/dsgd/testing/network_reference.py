"""Fully connected networks in plain numpy, one row after the other.

`dsgd.losses.MLP` must give the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["clipped_gradient", "gradient", "objective", "train"]

Array = NDArray[np.float64]
Layer = tuple[Array, Array]
"""A matrix of shape (inputs, outputs), and biases."""


def _outputs(x: Array, layers: Sequence[Layer]) -> list[Array]:
    """Return the row and the outputs of every layer."""
    values = [x]
    for k, (w, b) in enumerate(layers):
        z = np.array([values[-1] @ w[:, unit] + b[unit] for unit in range(len(b))])
        values.append(z if k == len(layers) - 1 else np.where(z > 0, z, 0.0))
    return values


def objective(X: Array, y: Array, layers: Sequence[Layer], *, classes: bool, sample_weight: Array) -> float:
    """Return the mean loss.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        Numbers of classes, or real numbers.
    layers : sequence of pairs of ndarray
    classes : bool
        Whether y holds numbers of classes, with the softmax loss; else real numbers, squared loss.
    sample_weight : ndarray of shape (n_samples,)

    Returns
    -------
    float
    """
    total = 0.0
    for x, target, s in zip(X, y, sample_weight, strict=True):
        z = _outputs(x, layers)[-1]
        loss = np.logaddexp.reduce(z) - z[int(target)] if classes else (z[0] - target) ** 2 / 2
        total += s * loss
    return float(total / len(X))


def gradient(X: Array, y: Array, layers: Sequence[Layer], *, classes: bool, sample_weight: Array) -> list[Layer]:
    """Return the sum of the rows' gradients, layer by layer; parameters as for `objective`."""
    total = [(np.zeros_like(w), np.zeros_like(b)) for w, b in layers]
    for x, target, s in zip(X, y, sample_weight, strict=True):
        values = _outputs(x, layers)
        z = values[-1]
        back = np.exp(z - np.logaddexp.reduce(z)) - (np.arange(len(z)) == target) if classes else z - target
        back = s * back
        for k in range(len(layers) - 1, -1, -1):
            total[k][0][:] += np.multiply.outer(values[k], back)
            total[k][1][:] += back
            back = (layers[k][0] @ back) * (values[k] > 0)
    return total


def clipped_gradient(
    X: Array, y: Array, layers: Sequence[Layer], clip_norm: float, *, classes: bool, sample_weight: Array
) -> tuple[list[Layer], int]:
    """Return the sum of the rows' gradients, each formed and shortened to `clip_norm`, and how many were longer.

    Parameters as for `objective`.
    """
    total, n_clipped = [(np.zeros_like(w), np.zeros_like(b)) for w, b in layers], 0
    for i in range(len(X)):
        one = gradient(X[[i]], y[[i]], layers, classes=classes, sample_weight=sample_weight[[i]])
        norm = np.sqrt(sum(np.square(part).sum() for layer in one for part in layer))
        n_clipped += int(norm > clip_norm)
        share = clip_norm / norm if norm > clip_norm else 1.0
        for (w, b), (g, h) in zip(total, one, strict=True):
            w += share * g
            b += share * h
    return total, n_clipped


def train(
    X: Array,
    y: Array,
    layers: Sequence[Layer],
    batches: Iterable[Sequence[int]],
    steps: Iterable[float],
    *,
    batch_size: int,
    momentum: float,
    alpha: float,
    classes: bool,
    sample_weight: Array,
    mean: Array | None = None,
    rates: Sequence[Layer] | None = None,
) -> list[Layer]:
    """Return the layers after a step with momentum for every batch.

    Parameters
    ----------
    batches : iterable of sequences of int
        The rows of each step.
    steps : iterable of float
    batch_size : int
        Rows of a full batch, by which a step is divided.
    momentum, alpha : float
    X, y, layers, classes, sample_weight
        As for `objective`.
    mean : ndarray of shape (n_features,), optional
        Means of the features: a step is that of a first layer with centred inputs. By default
        zeros.
    rates : sequence of pairs of ndarray, optional
        Factors of the steps, of the shapes of the layers; by default ones.

    Returns
    -------
    list of pairs of ndarray
    """
    mean = np.zeros(X.shape[1]) if mean is None else mean
    rates = [(np.ones_like(w), np.ones_like(b)) for w, b in layers] if rates is None else rates
    now = [(w.copy(), b.copy()) for w, b in layers]
    speed = [(np.zeros_like(w), np.zeros_like(b)) for w, b in layers]
    for rows, step in zip(batches, steps, strict=True):
        chosen = list(rows)
        change = gradient(X[chosen], y[chosen], now, classes=classes, sample_weight=sample_weight[chosen])
        for k, ((w, b), (v, u), (g, h), (r, q)) in enumerate(zip(now, speed, change, rates, strict=True)):
            origin = mean if k == 0 else np.zeros(len(w))
            step_w = r * ((g - np.multiply.outer(origin, h)) / batch_size + alpha * w)
            step_b = q * h / batch_size - origin @ step_w
            v[:] = momentum * v - step * step_w
            u[:] = momentum * u - step * step_b
            w += v
            b += u
    return now
