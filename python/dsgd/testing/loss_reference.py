"""The losses in plain numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["DERIVATIVES", "EPSILON", "VALUES", "Array"]

Array = NDArray[np.float64]

EPSILON = 0.1
"""The width of huber and of the losses that are insensitive to small errors."""


def _hinge_value(z: Array, y: Array) -> Array:
    return np.maximum(0, 1 - y * z)


def _hinge_derivative(z: Array, y: Array) -> Array:
    return np.where(y * z < 1, -y, 0.0)


def _logistic_value(z: Array, y: Array) -> Array:
    return np.logaddexp(0, -y * z)


def _logistic_derivative(z: Array, y: Array) -> Array:
    return -y * np.exp(-np.logaddexp(0, y * z))


def _squared_value(z: Array, y: Array) -> Array:
    return (z - y) ** 2 / 2


def _squared_derivative(z: Array, y: Array) -> Array:
    return z - y


def _squared_hinge_value(z: Array, y: Array) -> Array:
    return np.where(y * z < 1, (1 - y * z) ** 2, 0.0)


def _squared_hinge_derivative(z: Array, y: Array) -> Array:
    return np.where(y * z < 1, -2 * y * (1 - y * z), 0.0)


def _modified_huber_value(z: Array, y: Array) -> Array:
    return np.where(y * z < -1, -4 * y * z, _squared_hinge_value(z, y))


def _modified_huber_derivative(z: Array, y: Array) -> Array:
    return np.where(y * z < -1, -4 * y, _squared_hinge_derivative(z, y))


def _huber_value(z: Array, y: Array) -> Array:
    distance = np.abs(z - y)
    return np.where(distance <= EPSILON, distance**2 / 2, EPSILON * (distance - EPSILON / 2))


def _huber_derivative(z: Array, y: Array) -> Array:
    return np.where(np.abs(z - y) <= EPSILON, z - y, EPSILON * np.sign(z - y))


def _epsilon_insensitive_value(z: Array, y: Array) -> Array:
    return np.where(np.abs(z - y) > EPSILON, np.abs(z - y) - EPSILON, 0.0)


def _epsilon_insensitive_derivative(z: Array, y: Array) -> Array:
    return np.where(np.abs(z - y) > EPSILON, np.sign(z - y), 0.0)


def _squared_epsilon_insensitive_value(z: Array, y: Array) -> Array:
    return _epsilon_insensitive_value(z, y) ** 2


def _squared_epsilon_insensitive_derivative(z: Array, y: Array) -> Array:
    return 2 * _epsilon_insensitive_value(z, y) * np.sign(z - y)


def _perceptron_value(z: Array, y: Array) -> Array:
    return np.where(y * z < 0, -y * z, 0.0)


def _perceptron_derivative(z: Array, y: Array) -> Array:
    return np.where(y * z <= 0, -y, 0.0)


def _softmax_value(z: Array, y: Array) -> Array:
    """Return -log p_y; the last axis of z is that of the classes, and y holds their numbers."""
    of_target = np.take_along_axis(z, np.asarray(y, int)[..., None], axis=-1)[..., 0]
    return np.asarray(np.logaddexp.reduce(z, axis=-1) - of_target)


def _softmax_derivative(z: Array, y: Array) -> Array:
    is_target = np.arange(z.shape[-1]) == np.asarray(y)[..., None]
    return np.asarray(np.exp(z - np.logaddexp.reduce(z, axis=-1, keepdims=True)) - is_target)


VALUES: dict[str, Callable[[Array, Array], Array]] = {
    "hinge": _hinge_value,
    "logistic": _logistic_value,
    "squared": _squared_value,
    "squared_hinge": _squared_hinge_value,
    "modified_huber": _modified_huber_value,
    "huber": _huber_value,
    "epsilon_insensitive": _epsilon_insensitive_value,
    "squared_epsilon_insensitive": _squared_epsilon_insensitive_value,
    "perceptron": _perceptron_value,
    "softmax": _softmax_value,
}
"""l(z, y) by the name of the loss; for softmax the last axis of z is that of the classes."""

DERIVATIVES: dict[str, Callable[[Array, Array], Array]] = {
    "hinge": _hinge_derivative,
    "logistic": _logistic_derivative,
    "squared": _squared_derivative,
    "squared_hinge": _squared_hinge_derivative,
    "modified_huber": _modified_huber_derivative,
    "huber": _huber_derivative,
    "epsilon_insensitive": _epsilon_insensitive_derivative,
    "squared_epsilon_insensitive": _squared_epsilon_insensitive_derivative,
    "perceptron": _perceptron_derivative,
    "softmax": _softmax_derivative,
}
"""dl/dz by the name of the loss, of the shape of z."""
