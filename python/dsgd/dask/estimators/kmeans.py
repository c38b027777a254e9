"""`KMeans` on Dask."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import dask.array as da
import numpy as np

from dsgd import estimators, losses
from dsgd._common.checks import shown
from dsgd.algorithms import Algorithm
from dsgd.dask.estimators.base import CLUSTER_CONSTRAINTS, OnDask
from dsgd.dask.estimators.chunks import as_array, inertia, is_lazy
from dsgd.errors import ConfigError

__all__ = ["KMeans"]


class KMeans(OnDask, estimators.KMeans):
    """`dsgd.KMeans` for rows on a Dask cluster.

    Parameters
    ----------
    n_clusters, compute_labels, random_state, verbose
        As of `dsgd.KMeans`.
    init : {"k-means++", "random"} or array-like of shape (n_clusters, n_features), default="k-means++"
        Centres are drawn from a sample of the rows; see `dsgd.losses.KMeans`.
    max_iter : int, default=20
        Passes over the rows at most.
    tol : float, default=0.0
        Stop when the objective improved by less than ``tol * objective`` over five passes; 0: never.
    algo, n_threads, client
        As of `dsgd.dask.SGDClassifier`.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
    n_iter_, n_features_in_, feature_names_in_
        As of `dsgd.KMeans`.
    labels_ : dask array of shape (n_samples,)
        Lazy; with `compute_labels`. Pickles lack it.
    inertia_ : dask array of shape ()
        Lazy: ``float(model.inertia_)`` computes it. Pickles lack it.
    result_ : FitResult
    history_ : History
    """

    labels_: Any
    _supervised = False
    _local = estimators.KMeans
    _score = staticmethod(inertia)
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **estimators.KMeans._parameter_constraints,
        **CLUSTER_CONSTRAINTS,
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        max_iter: int = 20,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 0.0,
        algo: str | Algorithm = "ssp",
        n_threads: int | None = None,
        client: Any = None,
    ) -> None:
        super().__init__(n_clusters, init=init, max_iter=max_iter, verbose=verbose, compute_labels=compute_labels)
        self.random_state, self.tol = random_state, tol
        self.algo, self.n_threads, self.client = algo, n_threads, client

    def _options(self) -> dict[str, Any]:
        if callable(self.init):
            raise ConfigError(
                f"init={shown(self.init)} does not work with Dask; give 'k-means++', 'random' or an array"
            )
        named = isinstance(self.init, str)
        loss = losses.KMeans(self.n_clusters, init=self.init) if named else losses.KMeans(self.n_clusters)
        return {"loss": loss, "init": None if named else self.init, "tol": self.tol or None}

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:  # noqa: ARG002
        """Train on the workers that hold the rows; see `dsgd.dask.SGDClassifier.fit`. y is ignored."""
        weight = sample_weight
        if is_lazy(weight):  # the unit of the weights has no effect, as in the local estimator
            weight = as_array(weight)
            mean = weight.mean()
            weight = weight / da.where(mean > 0, mean, 1)
        super().fit(X, None, weight)
        self._n_threads, self._n_features_out = 1, self.n_clusters
        self.inertia_ = -self.score(X, sample_weight=sample_weight)
        if self.compute_labels:
            self.labels_ = self.predict(X)
        return self

    def _transform(self, X: Any) -> Any:
        return self._on_chunks("transform", X) if is_lazy(X) else super()._transform(X)
