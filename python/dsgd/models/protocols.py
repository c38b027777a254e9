"""What algorithms and problems expect of any model: an objective, steps on named rows, a parameter layout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.data.scale import Scale
from dsgd.data.summary import Summary

__all__ = ["Objective", "ParameterLayout", "RowSteps", "Samples"]


class Objective(Protocol):
    """Value and gradient of an objective at a flat parameter vector; see `ParameterLayout`."""

    def value(self, weights: NDArray[Any], n_threads: int) -> float:
        """Return the mean loss plus the penalty."""

    def mean_loss(self, weights: NDArray[Any], n_threads: int) -> float:
        """Return the mean loss, without the penalty."""

    def loss_gradient(self, weights: NDArray[Any], out: NDArray[np.float64], n_threads: int) -> None:
        """Write the gradient of the mean loss into `out`."""


class RowSteps(Protocol):
    """Gradients and steps on named rows of a problem: what a worker of a distributed algorithm computes with.

    Attributes
    ----------
    objective : Objective
        Of all rows of the problem.
    gradient_size : int
        Elements of a gradient: one a parameter, and behind them whatever else `step` needs of the rows.
    """

    objective: Objective
    gradient_size: int

    def gradient(self, weights: NDArray[Any], rows: NDArray[np.int64], out: NDArray[np.float64]) -> None:
        """Write the sum over `rows` of the gradients of the loss into `out`; no penalty."""

    def step(self, weights: NDArray[Any], gradient: NDArray[Any], step: float) -> NDArray[Any]:
        """Return the weights after a step along a mean of such gradients, the penalty included."""

    def clipped_gradient(
        self, weights: NDArray[Any], rows: NDArray[np.int64], clip_norm: float, out: NDArray[np.float64]
    ) -> int:
        """Write the sum over `rows` of gradients shortened to `clip_norm` into `out`; return how many were longer."""

    def minibatch_step(
        self, weights: NDArray[Any], rows: NDArray[np.int64], step: float, batch_size: int, index: int
    ) -> None:
        """Make the step that `minibatch` makes of `rows` in its epoch `index`, in place."""

    def work(self, entries: int, n_rows: int) -> float:
        """Return how many steps on one sparse entry cost as much as a gradient of `n_rows` rows with these entries."""


class ParameterLayout(ABC):
    """Where each parameter lies in the flat vector. The objective of a model decides this.

    Attributes
    ----------
    n_features : int
    """

    n_features: int

    @property
    @abstractmethod
    def per_feature(self) -> int:
        """Number of parameters that one entry of a row touches."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of the parameters as users see them, for example in `init`."""

    @property
    def size(self) -> int:
        """The number of parameters."""
        return int(np.prod(self.shape))

    @abstractmethod
    def pack(self, parameters: NDArray[Any]) -> NDArray[Any]:
        """Return parameters of shape `shape` as a flat vector, which is a copy."""

    @abstractmethod
    def unpack(self, flat: NDArray[Any]) -> NDArray[Any]:
        """Return a flat vector as parameters of shape `shape`, which are a view."""

    @abstractmethod
    def regularised(self, flat: NDArray[Any]) -> NDArray[Any]:
        """Return a view of the parameters that the penalty is on."""

    @abstractmethod
    def of_features(self, features: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the flat indices of the parameters of some features."""

    @abstractmethod
    def on(self, features: NDArray[Any] | slice) -> NDArray[np.intp]:
        """Return the flat indices of the parameters that a model on these features alone also has.

        The indices are in the order of that model's flat vector. They include the parameters that
        belong to no feature, such as an intercept.
        """


class Samples(Protocol):
    """The data of a problem, as its loss sees it; `dsgd.problems.problem.Problem` provides it."""

    @property
    def matrix(self) -> _core.Matrix:
        """The rows."""

    @property
    def target(self) -> NDArray[Any]:
        """The targets, shape (n_samples,)."""

    @property
    def sample_weight(self) -> NDArray[Any] | None:
        """The weights of the samples."""

    @property
    def mean_weight(self) -> float:
        """The mean of the sample weights; 1 without any."""

    @property
    def alphas(self) -> tuple[float, float]:
        """Strengths of ||w||_1 and of ||w||^2 / 2."""

    @property
    def fit_intercept(self) -> bool:
        """Whether there is an intercept."""

    @property
    def scale(self) -> Scale:
        """How large the rows are."""

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 for regression."""

    @property
    def summary(self) -> Summary | None:
        """The summary of all rows, if `matrix` is only the sample in it; None: `matrix` has all rows."""

    @property
    def blind(self) -> bool:
        """Whether starts and steps are to know nothing of the rows but gradients."""

    @property
    def layout(self) -> ParameterLayout:
        """The layout of the flat parameter vector."""

    def objective(self, n_threads: int, inverse_frequency: NDArray[Any] | None = None) -> Objective:
        """Return the objective; see `Loss.objective`."""

    def shrink(self, coef: NDArray[Any], step: float | NDArray[Any]) -> None:
        """Make the proximal step of the penalty in place."""
