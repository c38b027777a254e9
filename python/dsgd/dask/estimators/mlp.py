"""`MLPClassifier` on Dask."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import StrOptions

from dsgd import estimators, losses
from dsgd.algorithms import Algorithm
from dsgd.dask.estimators.base import CLUSTER_CONSTRAINTS, OnDask
from dsgd.dask.estimators.chunks import accuracy
from dsgd.data.feature_names import FeatureNames
from dsgd.results.result import FitResult

__all__ = ["MLPClassifier"]


class MLPClassifier(OnDask, estimators.MLPClassifier):
    """`dsgd.MLPClassifier` for rows on a Dask cluster, without momentum.

    Parameters
    ----------
    hidden_layer_sizes, alpha, max_iter, random_state, verbose
        As of `dsgd.MLPClassifier`.
    learning_rate_init : float or "auto", default="auto"
        The first step size, as of `dsgd.MLPClassifier`; ``"auto"`` is 1, as there is no momentum.
    algo, n_threads, client
        As of `dsgd.dask.SGDClassifier`.

    Attributes
    ----------
    coefs_, intercepts_, classes_, n_iter_, loss_, result_, n_features_in_, feature_names_in_
        As of `dsgd.MLPClassifier`.
    history_ : History
    """

    _local = estimators.MLPClassifier
    _score = staticmethod(accuracy)
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **estimators.MLPClassifier._parameter_constraints,
        **CLUSTER_CONSTRAINTS,
        "learning_rate_init": [
            StrOptions({"auto"}),
            *estimators.MLPClassifier._parameter_constraints["learning_rate_init"],
        ],
    }

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] | NDArray[np.integer[Any]] = (100,),
        *,
        alpha: float = 1e-4,
        learning_rate_init: float | str = "auto",
        max_iter: int = 20,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
        algo: str | Algorithm = "ssp",
        n_threads: int | None = None,
        client: Any = None,
    ) -> None:
        super().__init__(hidden_layer_sizes, alpha=alpha, max_iter=max_iter, random_state=random_state, verbose=verbose)
        self.learning_rate_init: Any = learning_rate_init
        self.algo, self.n_threads, self.client = algo, n_threads, client

    def _options(self) -> dict[str, Any]:
        return {
            "loss": losses.MLP(self._hidden()),
            "alpha": float(self.alpha),
            "step_size": self.learning_rate_init,
            "evaluate_every": self.max_iter,
        }

    def _set_attributes(self, result: FitResult) -> None:
        self._take_over(dataclasses.replace(result, feature_names=FeatureNames()))
