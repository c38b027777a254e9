"""What the estimators on Dask have in common: fits on the cluster, and predictions where the rows lie."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from numbers import Integral
from typing import Any, ClassVar, Self

import dask
import dask.array as da
import distributed
import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from dsgd.algorithms import REGISTRY, Algorithm
from dsgd.api import fit
from dsgd.dask.estimators.chunks import as_array, is_lazy, part_of_score, predicted, whole_score
from dsgd.errors import ConfigError, DataError
from dsgd.estimators.translate import seed_of
from dsgd.results.result import FitResult

__all__ = ["CLUSTER_CONSTRAINTS", "OnDask"]

CLUSTER_CONSTRAINTS: dict[str, Any] = {
    "algo": [StrOptions(set(REGISTRY)), Algorithm],
    "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    "client": "no_validation",
}
"""scikit-learn's rules for the parameters that estimators on Dask have beside those of the local ones."""

_ON_CLUSTER = frozenset({"client", "labels_", "inertia_"})  # left out of pickles
_NOT_LOCAL = _ON_CLUSTER | {"algo", "n_threads"}


def _by_chunks(name: str) -> Any:
    """Return a method that an estimator on Dask has if the local one has it."""

    def method(self: OnDask, X: Any) -> Any:
        return self._on_chunks(name, X) if is_lazy(X) else getattr(super(OnDask, self), name)(X)

    method.__name__ = name
    method.__doc__ = f"Return `{name}` of the local estimator: as a lazy dask array if X is a collection of Dask."
    return available_if(lambda self: getattr(super(OnDask, self), name) is not None)(method)


class OnDask(ABC):
    """The methods of a local estimator, on collections of Dask; a class derives from this one, then from the local one.

    All else, such as an array of numpy or a sparse matrix, goes to the methods of the local estimator.
    """

    _local: ClassVar[Any]
    _score: ClassVar[Any]
    _supervised: ClassVar[bool] = True
    algo: str | Algorithm
    n_threads: int | None
    client: Any

    predict: Any = _by_chunks("predict")
    decision_function: Any = _by_chunks("decision_function")
    predict_proba: Any = _by_chunks("predict_proba")
    predict_log_proba: Any = _by_chunks("predict_log_proba")

    partial_fit: Any = property()  # rows on a cluster are trained on by `fit`; hasattr is False

    @abstractmethod
    def _options(self) -> dict[str, Any]:
        """Return the options of `dsgd.fit` that the parameters of this class stand for."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train on the workers that hold the rows.

        Parameters
        ----------
        X : dask array or data frame, or list of delayed chunks or futures, of shape (n_samples, n_features)
            Chunks may be dense or CSR.
        y, sample_weight : dask array or series, or list of delayed chunks or futures, of shape (n_samples,), optional
            In the chunks of X.

        Returns
        -------
        OnDask
            Itself.

        Raises
        ------
        ConfigError
            If there is no client, or for an X of numpy.
        DataError, ClusterError, DivergedError
            As of `dsgd.fit`.
        """
        estimator: Any = self
        result = fit(
            X,
            y,
            algo=self.algo,
            cluster=self._cluster(),
            sample_weight=sample_weight,
            n_threads=self.n_threads,
            max_epochs=estimator.max_iter,
            progress=bool(estimator.verbose),
            random_state=seed_of(estimator.random_state),
            **self._options(),
        )
        for name in ("feature_names_in_", *_ON_CLUSTER - {"client"}):  # of an earlier fit
            vars(self).pop(name, None)
        estimator.n_features_in_ = result.n_features_in_
        if result.feature_names.names is not None:
            estimator.feature_names_in_ = result.feature_names_in_
        estimator.result_, estimator.history_ = result, result.history
        self._set_attributes(result)
        estimator.n_iter_ = result.history[-1].epoch
        return self

    def _set_attributes(self, result: FitResult) -> None:
        """Set the attributes that scikit-learn's estimator has."""
        theirs = vars(result.to_sklearn())
        vars(self).update({name: value for name, value in theirs.items() if name.endswith("_")})

    def _cluster(self) -> Any:
        if self.client is not None:
            return self.client
        try:
            return distributed.get_client()
        except ValueError as error:
            raise ConfigError(
                "there is no Dask client: make one, distributed.Client(address), or give client="
            ) from error

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Return the score of the local estimator: of collections as a lazy number, the sum of what chunks tell.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`, or as for the local estimator.

        Returns
        -------
        dask array of shape (), or float
            ``float`` of it computes it.
        """
        if not is_lazy(X):
            return getattr(super(), "score")(X, y, sample_weight)  # noqa: B009
        if y is None and self._supervised:
            raise DataError("y is missing: the score needs it")
        X = self._array(X)
        columns = [y if self._supervised else None, sample_weight]
        parts = da.map_blocks(
            part_of_score,
            X,
            *(None if each is None else as_array(each)[:, None] for each in columns),
            score=self._score,
            model=self._shipped(),
            dtype=object,
            chunks=((1,) * X.numblocks[0], (1,)),
            meta=np.empty((0, 0), object),
        )
        return da.blockwise(
            whole_score, "", parts, "ij", concatenate=True, dtype=np.float64, meta=np.empty((), np.float64)
        )

    def to_local(self) -> Any:
        """Return the fitted estimator of `dsgd.estimators`, which needs no Dask. Both share the arrays of the model.

        Where a parameter is "auto", the local estimator has its default.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        local = self._local()
        auto = {name for name, value in vars(self).items() if isinstance(value, str) and value == "auto"}
        vars(local).update({name: value for name, value in vars(self).items() if name not in _NOT_LOCAL | auto})
        return local

    def _on_chunks(self, method: str, X: Any) -> Any:
        """Return what a method of the local estimator says of every row of a collection, as a dask array."""
        X = self._array(X)
        row = np.zeros((1, X.shape[1]), X.dtype)
        one = getattr(self._without_names(), method)(row)  # for the dtype, and the number of columns
        shape = {"drop_axis": 1} if one.ndim == 1 else {"chunks": (X.chunks[0], one.shape[1:])}
        nothing = one[:0]
        return da.map_blocks(
            predicted,
            X,
            model=self._shipped(),
            method=method,
            nothing=nothing,
            dtype=one.dtype,
            meta=nothing,
            **shape,
        )

    def _array(self, X: Any) -> Any:
        """Return X as a dask array; refuse other features than those of the fit."""
        check_is_fitted(self)
        estimator: Any = self
        if not isinstance(X, list | tuple):
            validate_data(
                estimator, getattr(X, "_meta", X) if hasattr(X, "columns") else X, reset=False, skip_check_array=True
            )
        return as_array(X, estimator.n_features_in_)

    def _without_names(self) -> Any:
        """Return the local estimator for chunks, which are arrays without names."""
        local = self.to_local()
        vars(local).pop("feature_names_in_", None)
        return local

    def _shipped(self) -> Any:
        """Return the local estimator as one value of a graph, on which all chunks depend."""
        return dask.delayed(self._without_names(), pure=False, traverse=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the client and what refers to rows on the cluster."""
        state: dict[str, Any] = getattr(super(), "__getstate__")()  # noqa: B009
        return {**{name: value for name, value in state.items() if name not in _ON_CLUSTER}, "client": None}

    def __sklearn_clone__(self) -> Self:
        """Return an unfitted estimator with the same parameters and the same client, which cannot be copied."""
        twin: Self = getattr(super(OnDask, copy.copy(self)), "__sklearn_clone__")()  # noqa: B009
        twin.client = self.client
        return twin
