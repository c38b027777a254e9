"""`SGDRegressor`."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import linear_model
from sklearn.base import _fit_context
from sklearn.utils._param_validation import StrOptions

from dsgd.algorithms import REGISTRY, Algorithm
from dsgd.data.inputs import as_real
from dsgd.data.labels import as_dtype
from dsgd.estimators.base import Rows, SgdEstimator
from dsgd.fitting.targets import as_sample_weight

__all__ = ["SGDRegressor"]


class SGDRegressor(SgdEstimator, linear_model.SGDRegressor):
    """scikit-learn's linear regression by stochastic gradient descent, trained by dsgd.

    It derives from the installed `sklearn.linear_model.SGDRegressor` and has its parameters,
    defaults and attributes. The differences are those of `dsgd.SGDClassifier`, and one more:
    without `intercept_init` the intercept starts at the constant that predicts y best, not at 0,
    unless the steps are constant.

    Parameters
    ----------
    loss : str, default="squared_error"
        ``"squared_error"`` (or ``"squared"``), ``"huber"``, ``"epsilon_insensitive"`` or
        ``"squared_epsilon_insensitive"``.
    penalty : {"l2", "l1", "elasticnet", None}, default="l2"
    alpha : float, default=1e-4
    l1_ratio : float or None, default=0.15
    fit_intercept : bool, default=True
    max_iter : int, default=1000
    tol : float or None, default=1e-3
    shuffle : bool, default=True
    verbose : int, default=0
    epsilon : float, default=0.1
    random_state : int, RandomState or None, default=None
    learning_rate : {"invscaling", "optimal", "constant", "adaptive", "pa1", "pa2"}, default="invscaling"
    eta0 : float, default=0.01
    power_t : float, default=0.25
    early_stopping : bool, default=False
    validation_fraction : float, default=0.1
    n_iter_no_change : int, default=5
    warm_start : bool, default=False
    average : bool or int, default=False
    n_jobs : int or None, default=None
        Threads, as for `dsgd.SGDClassifier`.
    algo : str or Algorithm, default="auto"
        As for `dsgd.SGDClassifier`.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
    intercept_ : ndarray of shape (1,)
    n_iter_ : int
    t_ : float
    n_features_in_, feature_names_in_
        As in every estimator of scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from dsgd import SGDRegressor
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> model = SGDRegressor(random_state=0).fit(X, 3 * X[:, 0] + 1990)
    >>> model.predict([[0.5]]).round(0)
    array([1991.])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.SGDRegressor._parameter_constraints,
        "loss": [StrOptions({*linear_model.SGDRegressor.loss_functions, "squared"})],
        "n_jobs": [Integral, None],
        "algo": [StrOptions({"auto", *REGISTRY}), Algorithm],
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
        shuffle: bool = True,
        verbose: int = 0,
        epsilon: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
        learning_rate: str = "invscaling",
        eta0: float = 0.01,
        power_t: float = 0.25,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        average: bool | int = False,
        n_jobs: int | None = None,
        algo: str | Algorithm = "auto",
    ) -> None:
        super().__init__(
            loss=loss,
            penalty=penalty,
            alpha=alpha,
            l1_ratio=l1_ratio,
            fit_intercept=fit_intercept,
            max_iter=max_iter,
            tol=tol,
            shuffle=shuffle,
            verbose=verbose,
            epsilon=epsilon,
            random_state=random_state,
            learning_rate=learning_rate,
            eta0=eta0,
            power_t=power_t,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            warm_start=warm_start,
            average=average,
        )
        self.n_jobs = n_jobs
        self.algo = algo

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> SGDRegressor:
        """Train until progress ends, or for `max_iter` epochs.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            float32 stays float32; all else becomes float64.
        y : array-like of shape (n_samples,)
        coef_init : array-like of shape (n_features,), optional
            Initial weights in place of zeros or, with `warm_start`, of the last solution.
        intercept_init : array-like of shape (1,), optional
        sample_weight : array-like of shape (n_samples,), optional
            At least 0.

        Returns
        -------
        SGDRegressor
            Itself.
        """
        self._more_validate_params()
        rows = self._rows(*self._checked(X, y, sample_weight, reset=True))
        with self._memory(rows):
            self._fit_rows(rows, rows.targets[0], coef_init, intercept_init)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> SGDRegressor:
        """Train for one epoch on some rows; the schedule continues at `t_`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        SGDRegressor
            Itself.
        """
        first = getattr(self, "coef_", None) is None
        self._more_validate_params(for_partial_fit=first)
        rows = self._rows(*self._checked(X, y, sample_weight, reset=first))
        with self._memory(rows):
            self._partial_fit_rows(rows)
        return self

    def _rows(self, X: Any, y: NDArray[Any], sample_weight: Any) -> Rows:
        weight = as_sample_weight(sample_weight, None, y, None, X.shape[0], X.dtype)
        return Rows(X, as_dtype(as_real(y, "y"), X.dtype, "y")[None], weight)
