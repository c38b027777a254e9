"""Linear models with one decision value or several: where their weights lie, and steps on named rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.models.protocols import Objective, ParameterLayout, Samples

__all__ = ["WEIGHTS_OF_AN_ENTRY", "FeatureMajor", "LinearSteps"]

# Weights side by side, such as those of an entry for all classes, that cost as much as one apart: a cache line brings
# several, and vector instructions change several.
WEIGHTS_OF_AN_ENTRY = 4


@dataclass(frozen=True, kw_only=True)
class FeatureMajor(ParameterLayout):
    """The layout of linear models: feature by feature the weights of all decision values, then the intercepts.

    Parameters
    ----------
    n_features : int
    n_outputs : int
        Number of decision values.
    fit_intercept : bool
    """

    n_features: int
    n_outputs: int = 1
    fit_intercept: bool

    @property
    def per_feature(self) -> int:
        """One parameter for each decision value."""
        return self.n_outputs

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_features,), or (n_outputs, n_features) for several decision values; n_features + 1 with an intercept."""
        width = self.n_features + int(self.fit_intercept)
        return (width,) if self.n_outputs == 1 else (self.n_outputs, width)

    def pack(self, parameters: NDArray[Any]) -> NDArray[Any]:
        """Return parameters of shape `shape` as a flat vector, which is a copy."""
        return parameters.T.flatten()

    def unpack(self, flat: NDArray[Any]) -> NDArray[Any]:
        """Return a flat vector as parameters of shape `shape`, which are a view."""
        return flat.reshape(self.shape[::-1]).T

    def regularised(self, flat: NDArray[Any]) -> NDArray[Any]:
        """Return a view of the weights, without the intercepts."""
        return flat[: self.n_features * self.n_outputs]

    def of_features(self, features: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the flat indices of the weights of some features."""
        return np.asarray(features[:, None] * self.n_outputs + np.arange(self.n_outputs)).ravel()

    def on(self, features: NDArray[Any] | slice) -> NDArray[np.intp]:
        """Return the flat indices of the parameters that a model on these features alone also has."""
        rows = np.arange(self.n_features + int(self.fit_intercept))
        return self.of_features(np.concatenate([rows[: self.n_features][features], rows[self.n_features :]]))


class LinearSteps:
    """The `RowSteps` of a linear model, with one decision value or several.

    Parameters
    ----------
    problem : Samples
    inverse_frequency : ndarray of shape (n_features,) or None
        n / d_j of all rows. With those of its own rows a worker would regularise rare features too little, and the
        limit would be wrong. None for dense data.
    n_threads : int
    """

    def __init__(self, problem: Samples, inverse_frequency: NDArray[Any] | None, n_threads: int) -> None:
        self.objective: Objective = problem.objective(n_threads, inverse_frequency)
        self.gradient_size = problem.layout.size
        self._core = cast(_core.LinearObjective, self.objective)
        self._problem = problem
        self._n_threads = n_threads

    def gradient(self, weights: NDArray[Any], rows: NDArray[np.int64], out: NDArray[np.float64]) -> None:
        """Write the sum over `rows` of the gradients of the loss into `out`; no penalty."""
        out.fill(0)
        _core.rows_gradient(self._core, weights, rows, out)

    def clipped_gradient(
        self, weights: NDArray[Any], rows: NDArray[np.int64], clip_norm: float, out: NDArray[np.float64]
    ) -> int:
        """Write the sum over `rows` of gradients shortened to `clip_norm` into `out`; return how many were longer."""
        out.fill(0)
        return _core.clipped_gradient(self._core, weights, rows, clip_norm, out)

    def step(self, weights: NDArray[Any], gradient: NDArray[Any], step: float) -> NDArray[Any]:
        """Return prox(w - step gradient), the step of the intercept multiplied by its rate."""
        move = step * gradient
        if self._problem.fit_intercept:
            move[-self._problem.layout.per_feature :] *= self._problem.scale.intercept_rate
        moved = (weights - move).astype(weights.dtype, copy=False)
        self._problem.shrink(self._problem.layout.regularised(moved), step)
        return moved

    def minibatch_step(
        self, weights: NDArray[Any], rows: NDArray[np.int64], step: float, batch_size: int, index: int
    ) -> None:
        """Make the step that `minibatch` makes of `rows` in its epoch `index`, in place."""
        _core.minibatch_step(self._core, weights, rows, step, batch_size, index, self._n_threads)

    def work(self, entries: int, n_rows: int) -> float:  # noqa: ARG002
        """Return the entries, each as often as the weights beside one another ask for."""
        return entries * max(1.0, self._problem.layout.per_feature / WEIGHTS_OF_AN_ENTRY)
