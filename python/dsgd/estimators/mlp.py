"""`MLPClassifier`."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from dsgd import losses
from dsgd.algorithms import Minibatch
from dsgd.api import fit
from dsgd.data.labels import check_not_missing
from dsgd.estimators.translate import seed_of, threads_of_jobs
from dsgd.models import MLPModel
from dsgd.results.result import FitResult

__all__ = ["MLPClassifier"]


class MLPClassifier(ClassifierMixin, BaseEstimator):
    """A fully connected network with a softmax, trained by mini-batches with momentum.

    It corresponds to `sklearn.neural_network.MLPClassifier` with the solver ``"sgd"`` and the
    activation ``"relu"``, and parameters have the same names. Steps fall to zero over `max_iter`
    passes, and nothing ends a fit early.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
    alpha : float, default=1e-4
        Strength of the penalty ||w||^2 / 2 on all weights except biases, beside the mean loss.
    batch_size : "auto" or int, default="auto"
        ``"auto"`` is 64, or all rows if there are fewer.
    learning_rate_init : float, default=0.1
        The first step size for features in units of their deviations from their means: columns need
        not be scaled.
    max_iter : int, default=20
        Passes over the rows.
    momentum : float, default=0.9
        In [0, 1).
    random_state : int, RandomState or None, default=None
    verbose : bool, default=False
        Show each pass on standard error.
    n_jobs : int or None, default=None
        Threads of numpy's BLAS; with one thread the result is reproducible bit for bit.

    Attributes
    ----------
    coefs_ : list of ndarray of shape (inputs, units)
    intercepts_ : list of ndarray of shape (units,)
    classes_ : ndarray of shape (n_classes,)
    result_ : FitResult
        The result of `dsgd.fit`, which has the history and `save`.
    n_iter_ : int
    loss_ : float
        Mean loss and penalty at the end.
    n_features_in_, feature_names_in_
        As in every estimator of scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from dsgd import MLPClassifier
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]] * 50)
    >>> y = X[:, 0] != X[:, 1]
    >>> MLPClassifier((8,), random_state=0).fit(X, y).score(X, y)
    1.0
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] | NDArray[np.integer[Any]] = (100,),
        *,
        alpha: float = 1e-4,
        batch_size: int | str = "auto",
        learning_rate_init: float = 0.1,
        max_iter: int = 20,
        momentum: float = 0.9,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
        n_jobs: int | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.momentum = momentum
        self.random_state = random_state
        self.verbose = verbose
        self.n_jobs = n_jobs

    def _hidden(self) -> tuple[Any, ...]:
        """Return the number of units of every hidden layer; the loss checks it."""
        sizes = self.hidden_layer_sizes
        return (int(sizes),) if isinstance(sizes, Integral) else tuple(np.asarray(sizes).tolist())

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> MLPClassifier:
        """Train for `max_iter` passes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            float32 stays float32; all else becomes float64.
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), optional
            At least 0.

        Returns
        -------
        MLPClassifier
            Itself.
        """
        check_not_missing(y)
        types = [np.float64, np.float32]
        with np.errstate(over="ignore", invalid="ignore"):  # numbers out of range are refused
            X, y = validate_data(self, X, y, accept_sparse="csr", dtype=types, order="C")
            check_classification_targets(y)
            if sample_weight is not None:
                sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        result = fit(
            X,
            y,
            algo=Minibatch(
                batch_size=64 if isinstance(self.batch_size, str) else self.batch_size, momentum=float(self.momentum)
            ),
            loss=losses.MLP(self._hidden()),
            alpha=float(self.alpha),
            step_size=float(self.learning_rate_init),
            max_epochs=self.max_iter,
            sample_weight=sample_weight,
            n_threads=threads_of_jobs(self.n_jobs),
            evaluate_every=self.max_iter,
            progress=bool(self.verbose),
            random_state=seed_of(self.random_state),
        )
        self._take_over(result)
        return self

    def _take_over(self, result: FitResult) -> None:
        """Set the attributes of a result whose features have no names: X is checked here."""
        model = cast(MLPModel, result.model)
        self.result_ = result
        self.classes_: NDArray[Any] = np.asarray(model.classes)
        self.n_iter_, self.loss_ = len(result.history), result.history[-1].objective
        self.coefs_, self.intercepts_ = model.layout.split(model.weights[0])

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Return the outputs of the network, shape (n_samples, n_classes).

        With two classes it is the difference of the outputs, shape (n_samples,).
        """
        decision = self._outputs(X)
        return np.asarray(decision[:, 1] - decision[:, 0]) if len(self.classes_) == 2 else decision

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of every row."""
        outputs = self._outputs(X)
        return np.asarray(self.classes_[outputs.argmax(axis=1)])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities of the classes, shape (n_samples, n_classes)."""
        return np.asarray(losses.MLP().probabilities(self._outputs(X)))

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the logarithms of `predict_proba`."""
        from scipy.special import log_softmax  # slow to import

        return np.asarray(log_softmax(self._outputs(X).astype(np.float64), axis=1))

    def _outputs(self, X: Any) -> NDArray[Any]:
        check_is_fitted(self)
        with np.errstate(over="ignore", invalid="ignore"):  # numbers out of range are refused
            X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], order="C", reset=False)
        return np.asarray(self.result_.decision_function(X, n_threads=threads_of_jobs(self.n_jobs)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
