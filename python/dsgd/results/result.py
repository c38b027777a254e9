"""The result of a fit."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import safetensors
from numpy.typing import ArrayLike, NDArray

from dsgd._common.checks import check_flag, shown
from dsgd._common.memory import memory_for
from dsgd.algorithms import Algorithm, resolve_algorithm
from dsgd.cluster.runtime.trace import Trace
from dsgd.data.dataset import Dataset, as_names, errors_of
from dsgd.data.feature_names import FeatureNames, column_names
from dsgd.data.labels import as_labels
from dsgd.data.reading import common_base
from dsgd.errors import ConfigError, DataError
from dsgd.losses import LOSSES, SKLEARN_NAMES
from dsgd.models import MODELS, KMeansModel, LinearModel, MLPModel
from dsgd.models.trained import Model
from dsgd.privacy.ledger import PrivacyLedger
from dsgd.results.averaging import Averaging
from dsgd.results.history import History
from dsgd.results.model_file import read_model, write_model

__all__ = ["FitResult"]

_FORMAT = "dsgd-linear-model-1"


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """A trained model with the history of its fit.

    Attributes
    ----------
    model : Model
        A `LinearModel`, a `KMeansModel` or an `MLPModel`, depending on the loss.
    history : History
        One record per epoch.
    algorithm : Algorithm
        The algorithm that trained the model, with its options.
    stop_reason : str
        ``"max_epochs"``, ``"tol"``, ``"early_stopping"``, ``"max_seconds"``, ``"callback"`` or ``"interrupted"``.
    index_base : {"zero", "one"} or None
        Index of the first feature, 0 or 1, in the libsvm file of the training data; None if there
        was no such file.
    feature_names : FeatureNames
        The names of the features of the training data, if it had any. An X with other names, or in
        another order, is refused.
    trace : dsgd.cluster.Trace or None
        The events of the cluster that trained the model, if a trace was asked for; `save` leaves it
        out.
    averaging : dsgd.cluster.Averaging or None
        What the nodes of a cluster counted for in the last average of their models, if the algorithm
        averages models; `save` leaves it out.
    privacy : PrivacyLedger or None
        What was spent of the privacy of every client, if the algorithm promises any; `save` leaves it
        out.
    """

    model: Model
    history: History
    algorithm: Algorithm
    stop_reason: str
    index_base: str | None = None
    feature_names: FeatureNames = field(default_factory=FeatureNames)
    trace: Trace | None = None
    averaging: Averaging | None = None
    privacy: PrivacyLedger | None = None

    @property
    def _linear(self) -> LinearModel:
        if not isinstance(self.model, LinearModel):
            raise AttributeError(f"a model with the loss {self.model.loss.name!r} is not linear")
        return self.model

    @property
    def coef_(self) -> NDArray[Any]:
        """The weights of the features, shape (n_features,), or (n_classes, n_features): see `LinearModel.coef`."""
        return self._linear.coef

    @property
    def intercept_(self) -> Any:
        """The intercept, a float, or shape (n_classes,): see `LinearModel.intercept`."""
        return self._linear.intercept

    @property
    def classes_(self) -> NDArray[Any] | None:
        """The classes, sorted; None for regression."""
        return self.model.classes

    @property
    def n_features_in_(self) -> int:
        """The number of features of the training data."""
        return self.model.n_features

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """The names of the features, shape (n_features,), dtype object.

        As in scikit-learn there is no such attribute if the training data had no names.
        """
        if self.feature_names.names is None:
            raise AttributeError("the training data had no feature names, so there is no feature_names_in_")
        return np.array(self.feature_names.names, dtype=object)

    def decision_function(self, X: Any, *, n_threads: int | None = None) -> NDArray[Any]:
        """Return the decision values of every row; see `Model.decision_function`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dataset
            As for `predict`.
        n_threads : int, optional
            By default all that the process may use.
        """
        return self._decide(X, n_threads)

    def _decide(self, X: Any, n_threads: int | None) -> NDArray[Any]:
        """Return the decision values of rows whose features are those of the training data."""
        if isinstance(X, Dataset):
            common_base({"the training data": self.index_base, "X": X.index_base})
            source, names, X = X.source, X.feature_names, X.X
        else:
            source, names = None, column_names(X)
        with errors_of(source):
            self.feature_names.check(names)
            with memory_for("the decision values", "give fewer rows at a time, as float32 or float64"):
                return self.model.decision_function(X, n_threads=n_threads)

    def predict(self, X: Any, *, n_threads: int | None = None) -> NDArray[Any]:
        """Return the class (classification), value (regression) or number of the centre (k-means) of every row.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dataset
            A data frame, or a Dataset with `feature_names`, must have the names of the training data in their order.
        n_threads : int, optional
            By default all that the process may use.

        Returns
        -------
        ndarray of shape (n_samples,)

        Raises
        ------
        DataError
            If X has other features. If only one of X and the training data was a data frame, there
            is a warning instead, as in scikit-learn.
        """
        return self.model.labels(self._decide(X, n_threads))

    def predict_proba(self, X: Any, *, n_threads: int | None = None) -> NDArray[np.float64]:
        """Return the probabilities of the classes, in the order of `classes_`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dataset
            As for `predict`.
        n_threads : int, optional
            By default all that the process may use.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
            With more than two classes, and a loss other than softmax, these are the probabilities
            of each class against all others, scaled to sum 1.

        Raises
        ------
        ConfigError
            Unless the loss is softmax, logistic or modified_huber.
        """
        return self.model.loss.probabilities(self._decide(X, n_threads))

    def score(self, X: Any, y: ArrayLike | None = None, *, n_threads: int | None = None) -> float:
        """Return the accuracy, R2 for regression, or minus the inertia of X for k-means.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dataset
            As for `predict`.
        y : array-like of shape (n_samples,), optional
            To be left out if X is a Dataset, which has its own y.
        n_threads : int, optional
            By default all that the process may use.

        Returns
        -------
        float
        """
        if isinstance(X, Dataset):
            if y is not None:
                raise ConfigError("y must be left out when X is a Dataset, which brings its own")
            y = X.y
        return self.model.score_of(self._decide(X, n_threads), y)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write model, history and configuration to a safetensors file.

        Parameters
        ----------
        path : path-like
            Created or replaced; it appears only when it is complete. It holds no code and is safe to load.
        """
        classes = self.model.classes
        description = {
            "format": _FORMAT,
            "loss": {"name": self.model.loss.name, **asdict(self.model.loss)},
            **self.model.description(),
            "classes": None if classes is None else {"dtype": classes.dtype.str, "values": classes.tolist()},
            "algorithm": self.algorithm.to_dict(),
            "stop_reason": self.stop_reason,
            "index_base": self.index_base,
        }
        texts = {"dsgd": json.dumps(description), "history": self.history.to_json()}
        if self.feature_names.names is not None:
            texts["feature_names"] = json.dumps(asdict(self.feature_names))
        write_model(path, {"weights": np.ascontiguousarray(self.model.weights)}, texts)

    def to_sklearn(self) -> Any:
        """Return the model as a fitted estimator of scikit-learn, for its tools and for export.

        Returns
        -------
        sklearn.linear_model.SGDClassifier or SGDRegressor, LogisticRegression for softmax, sklearn.cluster.KMeans
            It predicts the same. Its `partial_fit` continues with scikit-learn's defaults.
        """
        from sklearn.cluster import KMeans
        from sklearn.linear_model import LogisticRegression, SGDClassifier, SGDRegressor

        loss, classes = self.model.loss, self.model.classes
        if isinstance(self.model, MLPModel):
            raise ConfigError(
                f"a model with loss {loss.name!r} has no estimator of scikit-learn; use dsgd.MLPClassifier"
            )
        if isinstance(self.model, KMeansModel):
            clusters: Any = KMeans(n_clusters=self.model.loss.n_clusters)
            clusters.cluster_centers_ = np.ascontiguousarray(self.model.centres)
            clusters._n_threads = 1
            return self._as_fitted(clusters)
        coef, intercept = np.atleast_2d(self.coef_).copy(), np.atleast_1d(self.intercept_).astype(self.coef_.dtype)
        if loss.joint:
            estimator: Any = LogisticRegression()
            if len(coef) == 2:  # LogisticRegression stores the difference of two classes
                coef, intercept = np.diff(coef, axis=0), np.diff(intercept)
        else:
            kind = SGDRegressor if classes is None else SGDClassifier
            estimator = kind(loss=SKLEARN_NAMES.get(loss.name, loss.name), **asdict(loss))
            estimator.t_ = 1.0
        estimator.coef_ = coef[0] if classes is None else coef
        estimator.intercept_ = intercept
        if classes is not None:
            estimator.classes_ = classes.copy()
        return self._as_fitted(estimator)

    def _as_fitted(self, estimator: Any) -> Any:
        """Return an estimator with the attributes that all have in common."""
        estimator.n_features_in_, estimator.n_iter_ = self.n_features_in_, len(self.history)
        if self.feature_names.names is not None:
            estimator.feature_names_in_ = self.feature_names_in_
        return estimator

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FitResult:
        """Read a result from a file of `save`.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        FitResult

        Raises
        ------
        DataError
            If the file is not a model of dsgd, or damaged.
        OSError
            If it cannot be read.
        """
        try:
            tensors, texts = read_model(path)
            return _from_texts(texts, tensors["weights"])
        except (
            safetensors.SafetensorError,
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
            OverflowError,
            RecursionError,
        ) as error:
            raise DataError(f"{os.fsdecode(path)} is not a model of dsgd: {error}") from error


def _from_texts(texts: dict[str, str], weights: NDArray[Any]) -> FitResult:
    """Return the result that a file describes; any error if the file is not as `FitResult.save` writes it."""
    description = json.loads(texts["dsgd"])
    if description["format"] != _FORMAT:
        raise DataError(f"its format is {description['format']!r}, not {_FORMAT!r}")
    parameters = dict(description["loss"])
    loss = LOSSES[parameters.pop("name")](**parameters)
    if weights.ndim != 2 or weights.dtype.kind != "f" or 0 in weights.shape:
        raise DataError(f"its weights have shape {weights.shape} and dtype {weights.dtype}")
    if not np.isfinite(weights).all():
        raise DataError("its weights are not finite")
    classes = _classes(description["classes"]) if loss.classification else None
    model = MODELS[loss.model].from_description(description, weights, loss, classes)
    options = dict(description["algorithm"])
    algorithm = resolve_algorithm(options.pop("name"), options)
    if description["index_base"] not in (None, "zero", "one"):
        raise DataError(f"its index_base is {description['index_base']!r}")
    names = _feature_names(texts.get("feature_names"), model.n_features)
    return FitResult(
        model=model,
        history=History.from_json(texts.get("history", "")),
        algorithm=algorithm,
        stop_reason=str(description["stop_reason"]),
        index_base=description["index_base"],
        feature_names=names,
    )


def _feature_names(text: str | None, n_features: int) -> FeatureNames:
    """Return the names that a file has, if it has any."""
    if text is None:
        return FeatureNames()
    description = json.loads(text)
    of_columns = check_flag("of_columns", description["of_columns"])
    return FeatureNames(as_names(description["names"], n_features), of_columns)


def _classes(labels: dict[str, Any]) -> NDArray[Any]:
    """Return the classes that a file describes."""
    values, dtype = labels["values"], np.dtype(labels["dtype"])
    longest = max((len(value) for value in values if isinstance(value, str)), default=0)
    if dtype.itemsize > max(8, 4 * longest):  # numpy would allocate so much for each class
        raise DataError(f"its classes have dtype {dtype}")
    if len(values) < 2:
        raise DataError(f"its classes are {shown(values)}")
    return as_labels(np.array(values, dtype=dtype), len(values))
