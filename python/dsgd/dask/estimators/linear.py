"""`SGDClassifier` and `SGDRegressor` on Dask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import StrOptions

from dsgd import estimators
from dsgd.algorithms import Algorithm
from dsgd.dask.estimators.base import CLUSTER_CONSTRAINTS, OnDask
from dsgd.dask.estimators.chunks import accuracy, r2
from dsgd.estimators.translate import named_loss, schedule_of

__all__ = ["SGDClassifier", "SGDRegressor"]


class _Linear(OnDask):
    """What both have in common."""

    def _options(self) -> dict[str, Any]:
        estimator: Any = self
        searched = estimator.learning_rate == "auto"
        own_step = searched or estimator.learning_rate == "optimal"
        return {
            "loss": named_loss(estimator),
            "penalty": estimator.penalty or "none",
            "alpha": estimator.alpha,
            "l1_ratio": estimator.l1_ratio if estimator.penalty == "elasticnet" else 0.0,
            "fit_intercept": bool(estimator.fit_intercept),
            "tol": estimator.tol,
            "patience": estimator.n_iter_no_change,
            "schedule": "auto" if searched else schedule_of(estimator),
            "step_size": "auto" if own_step else estimator.eta0,
            "init": self._last() if estimator.warm_start and hasattr(self, "result_") else None,
        }

    def _last(self) -> NDArray[Any]:
        """Return the weights of the last fit, as `dsgd.fit` takes them."""
        estimator: Any = self
        rows = np.atleast_2d(estimator.result_.coef_)
        if estimator.fit_intercept:
            rows = np.column_stack([rows, np.atleast_1d(estimator.result_.intercept_)]).astype(rows.dtype)
        return rows[0] if len(rows) == 1 else rows


class SGDClassifier(_Linear, estimators.SGDClassifier):
    """`dsgd.SGDClassifier` for rows on a Dask cluster.

    Parameters
    ----------
    loss, penalty, alpha, l1_ratio, fit_intercept, epsilon, eta0, power_t, class_weight, random_state, verbose
        As of `dsgd.SGDClassifier`. With two classes ``"softmax"`` has a row of weights for each, and `coef_` is their
        difference.
    max_iter : int, default=1000
        Passes over the rows at most.
    tol : float or None, default=1e-3
        Stop when the objective improved by less than ``tol * |objective|`` over `n_iter_no_change` passes.
    n_iter_no_change : int, default=5
    learning_rate : {"auto", "optimal", "constant", "invscaling", "adaptive"}, default="auto"
        ``"auto"``: `dsgd.fit` searches for the first step, and chooses how steps fall. The last three use `eta0`.
    warm_start : bool, default=False
        Whether `fit` starts from the weights of the last fit.
    algo : str or Algorithm, default="ssp"
        A distributed algorithm, by name or as an object with options: ``algorithms.Ssp(staleness=0)``.
    n_threads : int or None, default=None
        Threads of each worker; None: as many as Dask gives it. Predictions use one thread a chunk.
    client : distributed.Client, DaskCluster or None, default=None
        None: the client that `distributed.get_client` finds.

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
    intercept_ : ndarray of shape (1,) or (n_classes,)
    classes_ : ndarray of shape (n_classes,)
    n_iter_, n_features_in_, feature_names_in_
        As of `dsgd.SGDClassifier`.
    result_ : FitResult
        What `dsgd.fit` has returned.
    history_ : History
        That of `result_`.
    """

    _local = estimators.SGDClassifier
    _score = staticmethod(accuracy)
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **estimators.SGDClassifier._parameter_constraints,
        **CLUSTER_CONSTRAINTS,
        "learning_rate": [StrOptions({"auto", "optimal", "constant", "invscaling", "adaptive"})],
    }

    def __init__(
        self,
        loss: str = "hinge",
        *,
        penalty: Literal["l2", "l1", "elasticnet"] | None = "l2",
        alpha: float = 0.0001,
        l1_ratio: float | None = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        verbose: int = 0,
        epsilon: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
        learning_rate: str = "auto",
        eta0: float = 0.01,
        power_t: float = 0.5,
        n_iter_no_change: int = 5,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        warm_start: bool = False,
        algo: str | Algorithm = "ssp",
        n_threads: int | None = None,
        client: Any = None,
    ) -> None:
        super().__init__(loss, penalty=penalty, alpha=alpha, l1_ratio=l1_ratio, fit_intercept=fit_intercept)
        self.max_iter, self.tol, self.n_iter_no_change = max_iter, tol, n_iter_no_change
        self.learning_rate, self.eta0, self.power_t, self.epsilon = learning_rate, eta0, power_t, epsilon
        self.verbose, self.random_state, self.warm_start = verbose, random_state, warm_start
        self.class_weight = class_weight
        self.algo, self.n_threads, self.client = algo, n_threads, client

    def _options(self) -> dict[str, Any]:
        return {**super()._options(), "class_weight": self.class_weight}


class SGDRegressor(_Linear, estimators.SGDRegressor):
    """`dsgd.SGDRegressor` for rows on a Dask cluster.

    Parameters
    ----------
    loss, penalty, alpha, l1_ratio, fit_intercept, epsilon, eta0, power_t, random_state, verbose
        As of `dsgd.SGDRegressor`.
    max_iter, tol, n_iter_no_change, learning_rate, warm_start, algo, n_threads, client
        As of `dsgd.dask.SGDClassifier`.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
    intercept_ : ndarray of shape (1,)
    n_iter_, n_features_in_, feature_names_in_
        As of `dsgd.SGDRegressor`.
    result_ : FitResult
    history_ : History
    """

    _local = estimators.SGDRegressor
    _score = staticmethod(r2)
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **estimators.SGDRegressor._parameter_constraints,
        **CLUSTER_CONSTRAINTS,
        "learning_rate": SGDClassifier._parameter_constraints["learning_rate"],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        *,
        penalty: Literal["l2", "l1", "elasticnet"] | None = "l2",
        alpha: float = 0.0001,
        l1_ratio: float | None = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        verbose: int = 0,
        epsilon: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
        learning_rate: str = "auto",
        eta0: float = 0.01,
        power_t: float = 0.25,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        algo: str | Algorithm = "ssp",
        n_threads: int | None = None,
        client: Any = None,
    ) -> None:
        super().__init__(loss, penalty=penalty, alpha=alpha, l1_ratio=l1_ratio, fit_intercept=fit_intercept)
        self.max_iter, self.tol, self.n_iter_no_change = max_iter, tol, n_iter_no_change
        self.learning_rate, self.eta0, self.power_t, self.epsilon = learning_rate, eta0, power_t, epsilon
        self.verbose, self.random_state, self.warm_start = verbose, random_state, warm_start
        self.algo, self.n_threads, self.client = algo, n_threads, client
