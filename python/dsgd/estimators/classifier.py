"""`SGDClassifier`."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import linear_model
from sklearn.base import _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets

from dsgd.algorithms import REGISTRY, Algorithm
from dsgd.errors import ConfigError, DataError
from dsgd.estimators.base import Rows, SgdEstimator
from dsgd.estimators.translate import OWN_NAMES, loss_of
from dsgd.fitting.targets import OneVsAll, as_sample_weight, numbers_of, warn_of_many_classes

__all__ = ["SGDClassifier"]


def _has_probabilities(estimator: Any) -> bool:
    if estimator.loss not in ("log_loss", "logistic", "modified_huber", "softmax"):
        raise AttributeError(
            f"probability estimates are not available for loss={estimator.loss!r}; use 'log_loss', 'modified_huber' "
            "or 'softmax'"
        )
    return True


class SGDClassifier(SgdEstimator, linear_model.SGDClassifier):
    """scikit-learn's linear classifier by stochastic gradient descent, trained by dsgd.

    It derives from the installed `sklearn.linear_model.SGDClassifier` and has its parameters,
    defaults and attributes. The differences are described here, and the reasons in
    ``docs/from-scikit-learn.md``.

    Parameters
    ----------
    loss : str, default="hinge"
        scikit-learn's names, and dsgd's: ``"logistic"`` is ``"log_loss"``, ``"squared"`` is
        ``"squared_error"``. ``"softmax"`` is multinomial logistic regression, which trains all
        classes together rather than each against all others; with two classes it is ``"log_loss"``.
    penalty : {"l2", "l1", "elasticnet", None}, default="l2"
    alpha : float, default=1e-4
        Strength of the penalty; also sets the steps of ``learning_rate="optimal"``.
    l1_ratio : float or None, default=0.15
        For ``penalty="elasticnet"``.
    fit_intercept : bool, default=True
    max_iter : int, default=1000
        Epochs of `fit` at most.
    tol : float or None, default=1e-3
        An epoch makes progress if the mean loss of its samples, without the penalty, is at least
        `tol` below the best one before. With `early_stopping` it makes progress if the score on
        held-out data is at least `tol` above the best one before. None: `max_iter` epochs.
    shuffle : bool, default=True
        Whether rows are visited in a new random order every epoch: in blocks of up to 256 neighbours, unless the
        data looks sorted.
    verbose : int, default=0
        Above 0: each epoch is shown on standard error.
    epsilon : float, default=0.1
        Width of the losses that have one.
    n_jobs : int or None, default=None
        Threads: None is 1, -1 all that the process may use. With at least three classes, and at
        least as many classes as threads, every class is trained by one thread, with the result of
        ``n_jobs=1``. Otherwise several threads train by Hogwild!, whose result differs from run to
        run.
    random_state : int, RandomState or None, default=None
    learning_rate : {"optimal", "constant", "invscaling", "adaptive", "pa1", "pa2"}, default="optimal"
        With ``"constant"`` all steps, also those of the intercept, are scikit-learn's, and weights
        start from zeros.
    eta0 : float, default=0.01
        First step size of all learning rates except ``"optimal"``.
    power_t : float, default=0.5
        For ``"invscaling"``. Values below 0 are deprecated, as in scikit-learn.
    early_stopping : bool, default=False
        Hold out a part of the data, stratified by class, and judge progress by the score on it.
    validation_fraction : float, default=0.1
    n_iter_no_change : int, default=5
        Epochs without progress after which a problem ends.
    class_weight : dict, "balanced" or None, default=None
        Factors of the sample weights by class. With more than two classes, the factor of a class
        applies in the problems of all classes, not only in its own.
    warm_start : bool, default=False
    average : bool or int, default=False
        Whether the weights are the mean of the weights after each sample. An int is the number of
        samples at which averaging begins. Not for Hogwild!.
    algo : str or Algorithm, default="auto"
        The algorithm: a name or an object of `dsgd.algorithms`. ``"auto"`` is ``"sgd"`` if one
        thread trains a problem, and ``"hogwild"`` if several do.

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features) or, with more than two classes, (n_classes, n_features)
        float32 if X is, else float64; may be changed in place.
    intercept_ : ndarray of shape (1,) or (n_classes,)
    classes_ : ndarray of shape (n_classes,)
    n_iter_ : int
        Epochs of the last `fit`; the most of all problems.
    t_ : float
        1 plus the number of samples drawn so far.
    n_features_in_, feature_names_in_
        As in every estimator of scikit-learn.

    Raises
    ------
    ConfigError, DataError, DivergedError
        Each is a ValueError. DivergedError is raised if no step is small enough; see `dsgd.fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from dsgd import SGDClassifier
    >>> X = np.array([[-1.0, -1.0], [-2.0, -1.0], [1.0, 1.0], [2.0, 1.0]])
    >>> y = np.array(["ham", "ham", "spam", "spam"])
    >>> SGDClassifier(random_state=0).fit(X, y).predict([[-0.8, -1.0]])
    array(['ham'], dtype='<U4')
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.SGDClassifier._parameter_constraints,
        "loss": [StrOptions({*linear_model.SGDClassifier.loss_functions, *OWN_NAMES.values(), "softmax"})],
        "n_jobs": [Integral, None],
        "algo": [StrOptions({"auto", *REGISTRY}), Algorithm],
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
        shuffle: bool = True,
        verbose: int = 0,
        epsilon: float = 0.1,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        learning_rate: str = "optimal",
        eta0: float = 0.01,
        power_t: float = 0.5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        warm_start: bool = False,
        average: bool | int = False,
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
            n_jobs=n_jobs,
            random_state=random_state,
            learning_rate=learning_rate,
            eta0=eta0,
            power_t=power_t,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            class_weight=class_weight,
            warm_start=warm_start,
            average=average,
        )
        self.algo = algo

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> SGDClassifier:
        """Train until progress ends, or for `max_iter` epochs.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            float32 stays float32; all else becomes float64.
        y : array-like of shape (n_samples,)
        coef_init : array-like of the shape of `coef_`, optional
            Initial weights in place of zeros or, with `warm_start`, of the last solution.
        intercept_init : array-like of the shape of `intercept_`, optional
        sample_weight : array-like of shape (n_samples,), optional
            At least 0; multiplied by `class_weight`.

        Returns
        -------
        SGDClassifier
            Itself.
        """
        self._more_validate_params()
        X, y, sample_weight = self._checked(X, y, sample_weight, reset=True)
        with np.errstate(invalid="ignore"):  # numpy warns of labels beyond the integers
            check_classification_targets(y)
        self.classes_ = np.unique(y)
        self._check_classes()
        if 2 * len(self.classes_) <= len(y):  # if there are more classes, scikit-learn's check has warned
            warn_of_many_classes(self.classes_, len(y))
        rows = self._rows(X, y, sample_weight)
        with self._memory(rows):
            self._fit_rows(rows, y, coef_init, intercept_init)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> SGDClassifier:
        """Train for one epoch on some rows; the schedule continues at `t_`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Labels among the classes, not necessarily all of them.
        classes : array-like of shape (n_classes,), optional
            All classes; required in the first call.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        SGDClassifier
            Itself. k calls of ``partial_fit`` on the same rows give the same bits as ``fit`` with
            ``tol=None, max_iter=k``, on one thread and with an int as `random_state`.
        """
        first = getattr(self, "classes_", None) is None
        self._more_validate_params(for_partial_fit=first)
        if first and isinstance(self.class_weight, str):
            raise ConfigError(
                "class_weight 'balanced' is not supported for partial_fit. In order to use 'balanced' weights, use "
                "compute_class_weight('balanced', classes=classes, y=y). In place of y you can use a large enough "
                "sample of the full training set target to properly estimate the class frequency distributions. Pass "
                "the resulting weights as the class_weight parameter."
            )
        X, y, sample_weight = self._checked(X, y, sample_weight, reset=first)
        with np.errstate(invalid="ignore"):  # numpy warns of labels beyond the integers
            _check_partial_fit_first_call(self, classes)
        self._check_classes()
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown) > 0:
            raise DataError(f"y has the label {unknown[0]!r}; the classes are {self.classes_.tolist()}")
        rows = self._rows(X, y, sample_weight)
        with self._memory(rows):
            self._partial_fit_rows(rows)
        return self

    def _check_classes(self) -> None:
        """Refuse a single class."""
        if len(self.classes_) < 2:
            raise DataError(f"the number of classes has to be greater than one; got 1 class ({self.classes_[0]!r})")

    @property
    def _labels(self) -> NDArray[np.float64]:
        """The values that targets have in a problem."""
        return np.arange(float(len(self.classes_))) if loss_of(self).joint else np.array([-1.0, 1.0])

    def _rows(self, X: Any, y: NDArray[Any], sample_weight: Any) -> Rows:
        if loss_of(self).joint:
            targets: NDArray[Any] | OneVsAll = np.searchsorted(self.classes_, y).astype(X.dtype)[None]
        else:
            targets = OneVsAll(numbers_of(y, self.classes_), len(self.classes_), X.dtype)
        weight = as_sample_weight(sample_weight, self.class_weight, y, self.classes_, X.shape[0], X.dtype)
        return Rows(X, targets, weight)

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities of the classes, for the losses log_loss, modified_huber and softmax.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
            With more than two classes, and a loss other than softmax, these are the probabilities
            of each class against all others, scaled to sum 1.
        """
        return loss_of(self).probabilities(self.decision_function(X))

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the logarithms of `predict_proba`, minus infinity where modified_huber gives 0."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))
