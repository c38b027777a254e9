"""Where the parameters of a model lie in the one flat vector that solvers see."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Centres", "FeatureMajor", "ParameterLayout"]


class ParameterLayout(ABC):
    """The layout of a flat parameter vector, which the objective of a model decides.

    Attributes
    ----------
    n_features : int
    """

    n_features: int

    @property
    @abstractmethod
    def per_feature(self) -> int:
        """Parameters that one entry of a row touches."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of the parameters as a user sees them, such as `init`."""

    @property
    def size(self) -> int:
        """The number of parameters."""
        return int(np.prod(self.shape))

    @abstractmethod
    def pack(self, parameters: NDArray[Any]) -> NDArray[Any]:
        """Return the flat vector of parameters of `shape`, in memory of its own."""

    @abstractmethod
    def unpack(self, flat: NDArray[Any]) -> NDArray[Any]:
        """Return the parameters of a flat vector, of `shape`; a view of it."""

    @abstractmethod
    def regularised(self, flat: NDArray[Any]) -> NDArray[Any]:
        """Return a view of the parameters that the penalty is on."""

    @abstractmethod
    def of_features(self, features: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return where the parameters of some features lie."""

    @abstractmethod
    def on(self, features: NDArray[Any] | slice) -> NDArray[np.intp]:
        """Return where the parameters lie that the same model has on these features only, in the layout of that."""


@dataclass(frozen=True, kw_only=True)
class FeatureMajor(ParameterLayout):
    """Linear models: the weights of one feature are neighbours, one a decision value, and the intercepts come last.

    Parameters
    ----------
    n_features : int
    n_outputs : int
        Decision values.
    fit_intercept : bool
    """

    n_features: int
    n_outputs: int = 1
    fit_intercept: bool

    @property
    def per_feature(self) -> int:
        """One a decision value."""
        return self.n_outputs

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_features,), or (n_outputs, n_features) for several decision values; with an intercept one more."""
        width = self.n_features + int(self.fit_intercept)
        return (width,) if self.n_outputs == 1 else (self.n_outputs, width)

    def pack(self, parameters: NDArray[Any]) -> NDArray[Any]:
        """Return the flat vector of parameters of `shape`, in memory of its own."""
        return parameters.T.flatten()

    def unpack(self, flat: NDArray[Any]) -> NDArray[Any]:
        """Return the parameters of a flat vector, of `shape`; a view of it."""
        return flat.reshape(self.shape[::-1]).T

    def regularised(self, flat: NDArray[Any]) -> NDArray[Any]:
        """Return a view of the weights of features."""
        return flat[: self.n_features * self.n_outputs]

    def of_features(self, features: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return where the parameters of some features lie."""
        return np.asarray(features[:, None] * self.n_outputs + np.arange(self.n_outputs)).ravel()

    def on(self, features: NDArray[Any] | slice) -> NDArray[np.intp]:
        """Return where the parameters lie that the same model has on these features only, in the layout of that."""
        rows = np.arange(self.n_features + int(self.fit_intercept))
        return self.of_features(np.concatenate([rows[: self.n_features][features], rows[self.n_features :]]))


@dataclass(frozen=True, kw_only=True)
class Centres(FeatureMajor):
    """The centres of k-means, as the weights of so many decision values: also one is a row."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_clusters, n_features)."""
        return (self.n_outputs, self.n_features)
