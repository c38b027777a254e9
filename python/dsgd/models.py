"""Trained models, by the kinds that losses name: what a parameter vector predicts."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsgd import _core
from dsgd.checks import check_flag
from dsgd.data.inputs import as_matrix, as_real, check_features, real_dtype, take_rows
from dsgd.data.targets import as_labels, check_same_kind
from dsgd.distances import distances
from dsgd.errors import DataError
from dsgd.losses import MLP, KMeans, Loss
from dsgd.network import Layers, forward
from dsgd.threads import blas_threads, resolve_threads

__all__ = ["MODELS", "KMeansModel", "LinearModel", "MLPModel", "Model", "SoftmaxModel"]

_LARGE = 1e307


@dataclass(frozen=True, kw_only=True)
class Model(ABC):
    """A trained model.

    Attributes
    ----------
    weights : ndarray of shape (n_problems, n_parameters)
        A flat parameter vector for every problem that it was trained on; see `dsgd.parameters`.
    loss : Loss
    classes : ndarray of shape (n_classes,) or None
        Sorted; of two the first is the negative one. None for regression.
    """

    weights: NDArray[Any]
    loss: Loss
    classes: NDArray[Any] | None

    @property
    @abstractmethod
    def n_features(self) -> int:
        """The features it was trained on."""

    @abstractmethod
    def decide(self, matrix: _core.Matrix, threads: int) -> NDArray[Any]:
        """Return the decision values of a matrix that is already checked."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Return what `from_description` needs beside weights, loss and classes, as JSON can hold it."""

    @classmethod
    @abstractmethod
    def from_description(
        cls, description: dict[str, Any], weights: NDArray[Any], loss: Loss, classes: NDArray[Any] | None
    ) -> Model:
        """Return the model of a description; `DataError`, `KeyError` or `ConfigError` if there can be none."""

    def decision_function(self, X: Any, *, n_threads: int | None = None) -> NDArray[Any]:
        """Return the decision values of every row, w.x + b for a linear model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        n_threads : int, optional
            By default all that the process may use.

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
        """Return the predictions that belong to decision values."""
        if self.classes is None:
            return decision
        chosen = (decision > 0).astype(np.intp) if decision.ndim == 1 else decision.argmax(axis=1)
        return np.asarray(self.classes[chosen])

    def score_of(self, decision: NDArray[Any], y: ArrayLike | None, sample_weight: NDArray[Any] | None = None) -> float:
        """Return the accuracy (classification) or R2 (regression) of decision values."""
        if y is None:
            raise DataError(f"y is missing: the score of a model with loss {self.loss.name!r} needs it")
        labels = as_labels(y, len(decision))
        if self.classes is not None:
            check_same_kind(labels, self.classes)
            return float(np.average(labels == self.labels(decision), weights=sample_weight))
        if len(labels) < 2:
            raise DataError("R2 needs at least two rows")
        return _r2(as_real(labels, "y").astype(np.float64), decision.astype(np.float64), sample_weight)


@dataclass(frozen=True, kw_only=True)
class LinearModel(Model):
    """A trained linear model.

    Attributes
    ----------
    weights : ndarray of shape (n_problems, n_parameters)
        A flat parameter vector, the intercept last where there is one, for the regression, for the two classes, or for
        each of more classes against all others.
    fit_intercept : bool
    loss : Loss
    classes : ndarray of shape (n_classes,) or None
        Sorted; of two the first is the negative one. None for regression.
    """

    fit_intercept: bool

    @property
    def n_features(self) -> int:
        """The features it was trained on."""
        return int(self.weights.shape[1]) - int(self.fit_intercept)

    @property
    def coef(self) -> NDArray[Any]:
        """The weights of the features, shape (n_features,), or (n_classes, n_features) for more than two classes."""
        coef = self.weights[:, : self.n_features]
        return coef[0] if len(coef) == 1 else coef

    @property
    def intercept(self) -> Any:
        """The intercept, a float, or shape (n_classes,) for more than two classes; 0 without one."""
        intercept = self.weights[:, -1] if self.fit_intercept else np.zeros(len(self.weights), self.weights.dtype)
        return float(intercept[0]) if len(intercept) == 1 else intercept

    def decide(self, matrix: _core.Matrix, threads: int) -> NDArray[Any]:
        """Return the decision values of a matrix that is already checked."""
        weights = np.ascontiguousarray(self.weights, dtype=real_dtype(matrix))
        out = np.empty((len(weights), matrix.n_rows), weights.dtype)
        for w, z in zip(weights, out, strict=True):
            matrix.decision_function(w, self.fit_intercept, z, threads)
        return out[0] if len(out) == 1 else out.T

    def description(self) -> dict[str, Any]:
        """Return what `from_description` needs beside weights, loss and classes."""
        return {"fit_intercept": self.fit_intercept}

    @classmethod
    def from_description(
        cls, description: dict[str, Any], weights: NDArray[Any], loss: Loss, classes: NDArray[Any] | None
    ) -> LinearModel:
        """Return the model of a description."""
        fit_intercept = description["fit_intercept"]
        check_flag("fit_intercept", fit_intercept)
        model = cls(weights=weights, fit_intercept=fit_intercept, loss=loss, classes=classes)
        n_problems, per_feature = model._counts()
        if len(weights) != n_problems:
            raise DataError(f"its weights are those of {len(weights)} problems; loss and classes make {n_problems}")
        width, rest = divmod(weights.shape[1], per_feature)
        if width <= fit_intercept or rest:
            raise DataError(f"its weights have shape {weights.shape}, with {per_feature} for every feature")
        return model

    def _counts(self) -> tuple[int, int]:
        """Return the number of problems, and that of weights for a feature in each."""
        return 1 if self.classes is None or len(self.classes) == 2 else len(self.classes), 1


@dataclass(frozen=True, kw_only=True)
class SoftmaxModel(LinearModel):
    """Multinomial logistic regression: one decision value a class, also for two.

    Attributes
    ----------
    weights : ndarray of shape (1, n_parameters)
        Feature by feature the weights of all classes, then the intercepts if there are any.
    fit_intercept, loss
        As of `LinearModel`.
    classes : ndarray of shape (n_classes,)
        Sorted.
    """

    @property
    def _by_feature(self) -> NDArray[Any]:
        return self.weights.reshape(-1, self._counts()[1])

    @property
    def n_features(self) -> int:
        """The features it was trained on."""
        return len(self._by_feature) - int(self.fit_intercept)

    @property
    def coef(self) -> NDArray[Any]:
        """The weights of the features, shape (n_classes, n_features)."""
        return self._by_feature[: self.n_features].T

    @property
    def intercept(self) -> Any:
        """The intercepts, shape (n_classes,); 0 without."""
        return self._by_feature[-1] if self.fit_intercept else np.zeros(self._counts()[1], self.weights.dtype)

    def decide(self, matrix: _core.Matrix, threads: int) -> NDArray[Any]:
        """Return the decision values of a matrix that is already checked, shape (n_rows, n_classes)."""
        weights = np.ascontiguousarray(self.weights[0], dtype=real_dtype(matrix))
        out = np.empty((matrix.n_rows, self._counts()[1]), weights.dtype)
        matrix.decision_function(weights, self.fit_intercept, out, threads)
        return out

    def _counts(self) -> tuple[int, int]:
        return 1, 0 if self.classes is None else len(self.classes)


@dataclass(frozen=True, kw_only=True)
class KMeansModel(Model):
    """The centres of k-means; its decision values are the distances from them.

    Attributes
    ----------
    weights : ndarray of shape (1, n_parameters)
        The centres, feature by feature.
    loss : KMeans
    classes : None
    """

    loss: KMeans

    @property
    def n_features(self) -> int:
        """The features it was trained on."""
        return int(self.weights.shape[1]) // self.loss.n_clusters

    @property
    def centres(self) -> NDArray[Any]:
        """The centres, shape (n_clusters, n_features)."""
        return np.asarray(self.weights.reshape(-1, self.loss.n_clusters).T)

    def decide(self, matrix: _core.Matrix, threads: int) -> NDArray[Any]:
        """Return the distances of every row from every centre, shape (n_rows, n_clusters)."""
        if not isinstance(matrix.arrays, tuple):
            return distances(matrix.arrays, self.centres)
        weights = np.ascontiguousarray(self.weights[0], dtype=real_dtype(matrix))
        objective = _core.QuantisationObjective(matrix, None, n_clusters=self.loss.n_clusters)
        return objective.distances(weights, threads)

    def labels(self, decision: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers of the nearest centres."""
        return np.asarray(decision.argmin(axis=1))

    def score_of(
        self,
        decision: NDArray[Any],
        y: ArrayLike | None = None,  # noqa: ARG002
        sample_weight: NDArray[Any] | None = None,
    ) -> float:
        """Return minus the inertia: the sum of squared distances from the nearest centres."""
        squares = np.square(decision.min(axis=1), dtype=np.float64)
        return -float(squares.sum() if sample_weight is None else squares @ sample_weight)

    def description(self) -> dict[str, Any]:
        """Return nothing: the loss has the number of clusters."""
        return {}

    @classmethod
    def from_description(
        cls,
        description: dict[str, Any],  # noqa: ARG003
        weights: NDArray[Any],
        loss: Loss,
        classes: NDArray[Any] | None,
    ) -> KMeansModel:
        """Return the model of a description."""
        if not isinstance(loss, KMeans) or classes is not None or len(weights) != 1:
            raise DataError("k-means has one set of centres and no classes")
        if weights.shape[1] % loss.n_clusters:
            raise DataError(f"its weights have shape {weights.shape}, with {loss.n_clusters} for every feature")
        return cls(weights=weights, loss=loss, classes=None)


@dataclass(frozen=True, kw_only=True)
class MLPModel(Model):
    """A fully connected network; its decision values are its outputs, one a class, or one for regression.

    Attributes
    ----------
    weights : ndarray of shape (1, n_parameters)
        All matrices, then all biases; see `dsgd.network.Layers`.
    loss : MLP
    classes : ndarray of shape (n_classes,) or None
    """

    loss: MLP

    @property
    def _n_outputs(self) -> int:
        return 1 if self.classes is None else len(self.classes)

    @property
    def n_features(self) -> int:
        """The features it was trained on."""
        return (int(self.weights.shape[1]) - self._behind) // (*self.loss.hidden, self._n_outputs)[0]

    @property
    def _behind(self) -> int:
        """Parameters but the first matrix."""
        return Layers(n_features=0, hidden=self.loss.hidden, n_outputs=self._n_outputs).size

    @property
    def layout(self) -> Layers:
        """Where matrices and biases lie in the weights."""
        return Layers(n_features=self.n_features, hidden=self.loss.hidden, n_outputs=self._n_outputs)

    def decide(self, matrix: _core.Matrix, threads: int) -> NDArray[Any]:
        """Return the outputs, shape (n_rows, n_classes), or (n_rows,) for regression."""
        weights = self.weights[0].astype(real_dtype(matrix), copy=False)
        outputs = np.empty((matrix.n_rows, self._n_outputs), weights.dtype)
        with blas_threads(threads):
            for begin in range(0, matrix.n_rows, 1024):
                rows = np.arange(begin, min(begin + 1024, matrix.n_rows))
                outputs[rows] = forward(take_rows(matrix, rows), self.layout, weights)[-1]
        return outputs if self.classes is not None else outputs[:, 0]

    def description(self) -> dict[str, Any]:
        """Return nothing: the loss has the layers."""
        return {}

    @classmethod
    def from_description(
        cls,
        description: dict[str, Any],  # noqa: ARG003
        weights: NDArray[Any],
        loss: Loss,
        classes: NDArray[Any] | None,
    ) -> MLPModel:
        """Return the model of a description."""
        if not isinstance(loss, MLP) or len(weights) != 1:
            raise DataError("a network has one vector of weights")
        model = cls(weights=weights, loss=loss, classes=classes)
        if model.n_features < 1 or model.layout.size != weights.shape[1]:
            raise DataError(f"its weights have shape {weights.shape}, which layers of {loss.hidden} units do not have")
        return model


MODELS: dict[str, type[Model]] = {
    "linear": LinearModel,
    "softmax": SoftmaxModel,
    "kmeans": KMeansModel,
    "mlp": MLPModel,
}
"""The models by their kinds, `Loss.model`."""


def _r2(target: NDArray[np.float64], decision: NDArray[np.float64], sample_weight: NDArray[Any] | None) -> float:
    """Return R2 = 1 - sum s (y - z)^2 / sum s (y - mean)^2, always a finite number, as a history is written in JSON.

    The two sums are taken in units of their own. In a common one, such as the largest prediction of an exploded model,
    the targets would all be 0, and R2 that of a constant.
    """
    if not np.isfinite(decision).all():
        raise DataError(f"the prediction of row {int(np.argmin(np.isfinite(decision)))} is not finite: scale the data")
    weight = np.ones(len(target)) if sample_weight is None else sample_weight.astype(np.float64)
    if max(np.abs(target).max(), np.abs(decision).max()) > _LARGE:  # differences would overflow
        target, decision = target / 4, decision / 4
    counted = target[weight > 0]
    errors, error_unit = _in_unit(target - decision, weight)
    if counted.min() == counted.max():  # by rounding its mean may be another number
        return 1.0 if error_unit == 0 else 0.0
    middle = counted[0] + np.average(target - counted[0], weights=weight)
    spread, spread_unit = _in_unit(target - middle, weight)
    with np.errstate(over="ignore"):
        ratio = np.float64(error_unit) / spread_unit
        r2 = 1 - (errors / spread) * ratio * ratio
    return float(max(r2, -sys.float_info.max))


def _in_unit(differences: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Return the weighted sum of squares in units of the largest, and the unit; 0 and 0 where all are 0."""
    unit = float(np.abs(differences[weight > 0]).max())
    return (float(weight @ np.square(differences / unit)), unit) if unit > 0 else (0.0, 0.0)
