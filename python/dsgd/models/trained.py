"""What every trained model offers: decision values, predictions and scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsgd import _core
from dsgd._common.threads import resolve_threads
from dsgd.data.inputs import as_matrix, as_real, check_features
from dsgd.data.labels import as_labels, check_same_kind
from dsgd.errors import DataError
from dsgd.models.base import Loss
from dsgd.models.scores import R2, Accuracy, Score

__all__ = ["Model"]


@dataclass(frozen=True, kw_only=True)
class Model(ABC):
    """A trained model.

    Attributes
    ----------
    weights : ndarray of shape (n_problems, n_parameters)
        A flat parameter vector for every problem that it was trained on; see
        `dsgd.models.base.ParameterLayout`.
    loss : Loss
    classes : ndarray of shape (n_classes,) or None
        Sorted; of two classes the first is the negative one. None for regression.
    """

    weights: NDArray[Any]
    loss: Loss
    classes: NDArray[Any] | None

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Number of features it was trained on."""

    @abstractmethod
    def decide(self, matrix: _core.Matrix, threads: int) -> NDArray[Any]:
        """Return the decision values of a matrix that is already checked."""

    @classmethod
    def untrained(cls, weights: NDArray[Any], loss: Loss, classes: NDArray[Any] | None, fit_intercept: bool) -> Self:  # noqa: ARG003
        """Return the model that a fit trains in place; `weights` are the initial ones."""
        return cls(weights=weights, loss=loss, classes=classes)

    def description(self) -> dict[str, Any]:
        """Return what `from_description` needs in addition to weights, loss and classes, for a JSON file."""
        return {}

    @classmethod
    @abstractmethod
    def from_description(
        cls, description: dict[str, Any], weights: NDArray[Any], loss: Loss, classes: NDArray[Any] | None
    ) -> Model:
        """Return the model of a description and its weights.

        Raises
        ------
        DataError, KeyError, ConfigError
            If they make no model.
        """

    def decision_function(self, X: Any, *, n_threads: int | None = None) -> NDArray[Any]:
        """Return the decision values of every row, w.x + b for a linear model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        n_threads : int, optional
            By default all threads that the process may use.

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_classes) for more than two classes and for a softmax
            In the dtype of X.

        Raises
        ------
        DataError
            If X has another number of features.
        """
        threads = resolve_threads(n_threads)
        matrix = as_matrix(X, threads)
        check_features(matrix, self.n_features)
        return self.decide(matrix, threads)

    def labels(self, decision: NDArray[Any]) -> NDArray[Any]:
        """Return the predictions for decision values: classes, or the values themselves for regression."""
        if self.classes is None:
            return decision
        chosen = (decision > 0).astype(np.intp) if decision.ndim == 1 else decision.argmax(axis=1)
        return np.asarray(self.classes[chosen])

    def score_of(
        self, decision: NDArray[Any], y: ArrayLike | None = None, sample_weight: NDArray[Any] | None = None
    ) -> float:
        """Return the accuracy (classification) or R2 (regression) of decision values."""
        return self.score_of_part(decision, y, sample_weight).value

    def score_of_part(
        self, decision: NDArray[Any], y: ArrayLike | None = None, sample_weight: NDArray[Any] | None = None
    ) -> Score:
        """Return the score of some rows, which adds up with those of others to the score of all."""
        if y is None:
            raise DataError(f"y is missing: the score of a model with loss {self.loss.name!r} needs it")
        labels = as_labels(y, len(decision))
        if self.classes is not None:
            check_same_kind(labels, self.classes)
            return Accuracy.of(labels == self.labels(decision), sample_weight)
        return R2.of(as_real(labels, "y").astype(np.float64), decision.astype(np.float64), sample_weight)
