"""`KMeans`."""

from __future__ import annotations

import time
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context
from sklearn.cluster import MiniBatchKMeans
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.extmath import row_norms
from sklearn.utils.validation import (
    _check_sample_weight,
    _is_arraylike_not_scalar,
    _num_samples,
    check_is_fitted,
    validate_data,
)

from dsgd import _core, losses
from dsgd._common.memory import memory_for_rows
from dsgd._common.threads import blas_threads, default_threads
from dsgd.algorithms import REGISTRY, Algorithm, Minibatch, resolve_algorithm
from dsgd.data.inputs import as_matrix, real_dtype
from dsgd.data.scale import Scale, mean_weight, measure
from dsgd.errors import DataError
from dsgd.estimators.centres import Moved, best_of, check_centres
from dsgd.estimators.translate import threads_of_jobs
from dsgd.fitting.loop import train
from dsgd.fitting.recorder import Recorder
from dsgd.fitting.spec import FitSpec, threads_of
from dsgd.fitting.stopping import Standstill
from dsgd.models import KMeansModel
from dsgd.problems.task import LocalTask
from dsgd.schedules import InverseTime, Linear

__all__ = ["KMeans"]


class KMeans(MiniBatchKMeans):
    """scikit-learn's k-means by mini-batches, trained by dsgd.

    It derives from the installed `sklearn.cluster.MiniBatchKMeans` and has its parameters and attributes, except
    `reassignment_ratio`: a centre that is nearest to no row stays where it is.

    Parameters
    ----------
    n_clusters : int, default=8
    init : {"k-means++", "random"}, callable or array-like of shape (n_clusters, n_features), default="k-means++"
    max_iter : int, default=100
        Most passes over the rows.
    batch_size : int, default=1024
        Rows of a step, with ``algo="minibatch"``.
    verbose : int, default=0
        Above 0: show each pass on standard error.
    compute_labels : bool, default=True
        Whether `fit` sets `labels_`, and computes `inertia_` with the centres at its end.
    random_state : int, RandomState or None, default=None
    tol : float, default=0.0
        Stop after a pass in which the squared displacement of all centres, divided by the number of mini-batches, is at
        most `tol` times the mean variance of the features.
    max_no_improvement : int or None, default=10
        Stop when the loss of the rows, summed as they are drawn, has not improved by 0.3 % (with ``algo="batch"``: at
        all) over so many mini-batches, rounded up to passes. With None and ``tol=0`` steps fall to zero over `max_iter`
        passes, otherwise like 1 / (1 + passes).
    init_size : int or None, default=None
        Rows from which initial centres are drawn; by default three batches.
    n_init : "auto" or int, default="auto"
        Number of random starts. The start with the least inertia on `init_size` rows is trained.
    n_jobs : int or None, default=None
        Threads, as for `dsgd.SGDClassifier`, but None is all processors with ``"minibatch"`` and ``"batch"``: their
        result is the same on any number of threads.
    algo : {"minibatch", "hogwild", "sgd", "batch"} or Algorithm, default="minibatch"
        ``"batch"`` is Lloyd's algorithm; see `dsgd.losses.KMeans`.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
    labels_ : ndarray of shape (n_samples,)
        With `compute_labels`.
    inertia_ : float
        The sum of squared distances to the nearest centres; without `compute_labels` the sum of the distances of the
        rows when they were drawn in the last pass.
    n_iter_ : int
        Passes.
    n_steps_ : int
        Full mini-batches in all passes. Counts rows with ``algo="sgd"`` and ``"hogwild"``, and passes with ``"batch"``.
    n_features_in_, feature_names_in_
        As in every estimator of scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from dsgd import KMeans
    >>> X = np.array([[1.0, 2.0], [1.0, 4.0], [1.0, 0.0], [10.0, 2.0], [10.0, 4.0], [10.0, 0.0]])
    >>> model = KMeans(2, random_state=0).fit(X)
    >>> model.cluster_centers_[model.predict([[0.0, 0.0]])].round()
    array([[1., 2.]])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **{name: rule for name, rule in MiniBatchKMeans._parameter_constraints.items() if name != "reassignment_ratio"},
        "n_jobs": [Integral, None],
        "algo": [StrOptions(set(REGISTRY)), Algorithm],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: int | str = "auto",
        n_jobs: int | None = None,
        algo: str | Algorithm = "minibatch",
    ) -> None:
        super().__init__(
            n_clusters=n_clusters,
            init=init,
            max_iter=max_iter,
            batch_size=batch_size,
            verbose=verbose,
            compute_labels=compute_labels,
            random_state=random_state,
            tol=tol,
            max_no_improvement=max_no_improvement,
            init_size=init_size,
            n_init=n_init,
        )
        self.n_jobs = n_jobs
        self.algo = algo

    @property
    def reassignment_ratio(self) -> float:
        """0: centres are never moved to a row. scikit-learn's checks of parameters read it."""
        return 0.0

    @reassignment_ratio.setter
    def reassignment_ratio(self, value: float) -> None:
        """Ignore the default that scikit-learn's constructor sets."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> KMeans:  # noqa: ARG002
        """Train until the centres stand still, or for `max_iter` passes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            float32 stays float32; all else becomes float64.
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional
            At least 0.

        Returns
        -------
        KMeans
            Itself.
        """
        X, weight = self._checked(X, sample_weight, reset=True)
        # Steps are proportional to the weights of rows. Weights are scaled to mean 1, so that their unit has no effect.
        unit = 1.0 if weight is None else mean_weight(weight) or 1.0
        weight = None if weight is None else weight / weight.dtype.type(unit)
        random = check_random_state(self.random_state)
        open_ended = self.max_no_improvement is not None or self.tol > 0
        with memory_for_rows(X, self.n_clusters):
            data = self._measured(X, weight)
            centres = self._best_start(X, weight, random)
            spec = self._spec(random, self.max_iter, schedule=InverseTime() if open_ended else Linear())
            self._train(spec, data, weight, centres)
        self.inertia_ *= unit
        self.n_steps_ = self.n_iter_ * X.shape[0] // _rows_of_step(spec, X.shape[0])
        self.t_ = 1 + self.n_iter_ * X.shape[0]
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> KMeans:  # noqa: ARG002
        """Train for one pass over some rows; the steps continue to fall from call to call.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        KMeans
            Itself.
        """
        first = not hasattr(self, "cluster_centers_")
        X, weight = self._checked(X, sample_weight, reset=first)
        random = check_random_state(self.random_state)
        t, n_rows = getattr(self, "t_", 1), X.shape[0]
        index, offset = divmod(t - 1, n_rows)
        with memory_for_rows(X, self.n_clusters):
            data = self._measured(X, weight, first=first)
            centres = self._best_start(X, weight, random) if first else self.cluster_centers_
            spec = self._spec(random, index + 1, schedule=InverseTime(), start_epoch=index, offset=offset)
            self._train(spec, data, weight, centres)
        self.n_steps_ = getattr(self, "n_steps_", 0) + -(-n_rows // _rows_of_step(spec, n_rows))
        self.t_ = t + n_rows
        return self

    def predict(self, X: Any) -> NDArray[np.int32]:
        """Return the numbers of the nearest centres.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of int32, shape (n_samples,)
        """
        objective, weights = self._objective(X, None)
        return objective.assign(weights, self._threads)

    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:  # noqa: ARG002
        """Return minus the sum of squared distances from the nearest centres.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional
        """
        objective, weights = self._objective(X, sample_weight)
        return -2.0 * int(_num_samples(X)) * objective.value(weights, self._threads)

    def transform(self, X: Any) -> NDArray[Any]:
        """Return the distances from the centres.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_clusters)
            In the dtype of X.
        """
        check_is_fitted(self)
        return self._transform(X)

    def _transform(self, X: Any) -> NDArray[Any]:
        X, _ = self._checked(X, None, reset=False)
        centres = self.cluster_centers_.T.reshape(1, -1)
        model = KMeansModel(weights=centres, loss=losses.KMeans(len(self.cluster_centers_)), classes=None)
        return model.decide(as_matrix(X, self._threads), self._threads).astype(X.dtype, copy=False)

    @property
    def _threads(self) -> int:
        can = resolve_algorithm(self.algo, {}).capabilities
        everywhere = self.n_jobs is None and can.threads and can.deterministic
        return default_threads() if everywhere else threads_of_jobs(self.n_jobs)

    def _objective(self, X: Any, sample_weight: ArrayLike | None) -> tuple[_core.QuantisationObjective, NDArray[Any]]:
        """Return the quantisation objective on these rows, and the centres as its weights."""
        check_is_fitted(self)
        X, weight = self._checked(X, sample_weight, reset=False)
        # Arrays that came from another process may not be aligned.
        weights = np.require(self.cluster_centers_.T.reshape(-1), X.dtype, ["C", "A"])
        weight = None if weight is None else np.require(weight, requirements=["C", "A"])
        matrix = as_matrix(X, self._threads)
        return _core.QuantisationObjective(matrix, weight, n_clusters=len(self.cluster_centers_)), weights

    def _checked(self, X: Any, sample_weight: ArrayLike | None, *, reset: bool) -> tuple[Any, NDArray[Any] | None]:
        types = [np.float64, np.float32]
        with np.errstate(over="ignore", invalid="ignore"):  # numbers out of range are refused
            X = validate_data(self, X, accept_sparse="csr", dtype=types, order="C", reset=reset)
            if sample_weight is None:
                return X, None
            return X, _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)

    def _measured(self, X: Any, weight: NDArray[Any] | None, *, first: bool = True) -> tuple[_core.Matrix, Scale]:
        """Return X for the core and its scale; refuse X if its squares overflow, before scikit-learn squares it."""
        matrix = as_matrix(X, self._threads)
        scale = measure(matrix, weight, self._threads)
        if first:
            with np.errstate(over="ignore", invalid="ignore"):  # for a large `tol`
                self._check_params_vs_input(X)
        return matrix, scale

    @property
    def _looks_at_losses(self) -> bool:
        return self.max_no_improvement is not None or self.verbose > 0 or not self.compute_labels

    def _best_start(self, X: Any, weight: NDArray[Any] | None, random: np.random.RandomState) -> NDArray[Any]:
        """Return the best of `n_init` starts, drawn and judged on `init_size` rows."""
        init = self.init
        if _is_arraylike_not_scalar(init):
            with np.errstate(over="ignore", invalid="ignore"):  # numbers out of range are refused
                init = check_array(init, dtype=X.dtype, order="C")
            self._validate_center_shape(X, init)
            check_centres(init)
            return np.array(init)
        if weight is not None and not weight.all():  # draw centres only from rows with a weight
            X, weight = X[weight > 0], weight[weight > 0]
            if X.shape[0] < self.n_clusters:
                raise DataError(f"{X.shape[0]} rows with a weight are fewer than n_clusters={self.n_clusters}")
        counted = np.ones(X.shape[0], X.dtype) if weight is None else weight
        # To wake the threads of BLAS takes longer than to multiply a few rows.
        with np.errstate(over="ignore", invalid="ignore"), blas_threads(1):  # if squares overflow, any rows may do
            starts = [self._start(X, counted, init, random) for _ in range(self._n_init)]
        return starts[0] if len(starts) == 1 else best_of(starts, X, counted, self._init_size, random)

    def _start(self, X: Any, weight: NDArray[Any], init: Any, random: np.random.RandomState) -> NDArray[Any]:
        """Return centres drawn from `init_size` rows, as scikit-learn draws them."""
        if self._init_size < X.shape[0]:
            rows = random.randint(0, X.shape[0], self._init_size)
            X, weight = X[rows], weight[rows]
        # k-means++ would convert float32 to float64 again for every centre. The centres are rows, so they are exact.
        seen = X if callable(init) else X.astype(np.float64)
        start = self._init_centroids(seen, row_norms(seen, squared=True), init, random, sample_weight=weight)
        return np.ascontiguousarray(start, dtype=X.dtype)

    def _spec(self, random: np.random.RandomState, max_epochs: int, **options: Any) -> FitSpec:
        algorithm = resolve_algorithm(self.algo, {})
        if self.algo == Minibatch.name:
            algorithm = Minibatch(batch_size=self.batch_size)
        return FitSpec(
            algorithm=algorithm,
            loss=losses.KMeans(self.n_clusters),
            alphas=(0.0, 0.0),
            fit_intercept=False,
            step_size=None,
            n_threads=threads_of(algorithm, self._threads),
            seed=int(random.randint(2**31 - 1)),
            max_epochs=max_epochs,
            sum_loss=self._looks_at_losses and algorithm.capabilities.stochastic,
            **options,
        )

    def _train(
        self, spec: FitSpec, data: tuple[_core.Matrix, Scale], weight: NDArray[Any] | None, centres: NDArray[Any]
    ) -> None:
        """Train from these centres, and set the attributes."""
        begin = time.perf_counter()
        self._n_threads = spec.n_threads
        matrix, scale = data
        n_rows, dtype = matrix.n_rows, real_dtype(matrix)
        weights = centres.T.reshape(1, -1).astype(dtype)  # a copy, which is trained
        target = np.zeros((1, n_rows), dtype)
        [make] = spec.tasks(matrix, target, weight, weights, n_classes=0, scale=scale, fresh=False)
        task = make()
        spec.choose_steps([task])
        model = KMeansModel(weights=weights, loss=losses.KMeans(self.n_clusters), classes=None)
        patience, stochastic = self.max_no_improvement, spec.algorithm.capabilities.stochastic
        steps = max(1.0, n_rows / self.batch_size) if stochastic else 1.0
        # Few rows are one mini-batch together.
        passes = 1 if patience is None else max(1, -(-patience * min(self.batch_size, n_rows) // n_rows))
        stopping = Standstill(
            tol=None if patience is None else 0.0,
            share=_LEAST_GAIN if stochastic else 0.0,
            patience=passes,
            on_score=False,
        )
        moved = Moved(getattr(self, "_tol", 0.0) * steps, weights.copy())
        every, shown = None if self._looks_at_losses else 0, bool(self.verbose)
        recorder = Recorder(model, None, stopping, every, [moved], shown, begin)
        history, reason = train(spec.algorithm, [task], recorder, keep_interrupted=False, exact_end=False)
        self.cluster_centers_ = np.ascontiguousarray(model.centres)
        self._n_features_out = self.n_clusters
        self.n_iter_ = len(history)
        if self.verbose and reason in _REASONS:
            print(f"Converged ({_REASONS[reason]}) at pass {self.n_iter_}/{self.max_iter}")  # noqa: T201, as scikit-learn
        self._set_labels(task, history[-1].loss)

    def _set_labels(self, task: LocalTask, loss: float | None) -> None:
        """Set `labels_` and `inertia_`; without `compute_labels` the inertia from the loss of the last pass."""
        if self.compute_labels:
            self.labels_, error = task.quantisation.labels_and_value(task.weights, task.n_threads)
        else:
            error = task.value() if loss is None else loss
        self.inertia_ = 2 * task.n_samples * error


# The least relative improvement of the loss that counts as progress of a mini-batch fit. If every improvement counted,
# fits on five small data sets took 3 to 20 times as many passes, and ended 0.1 to 0.4 % lower.
_LEAST_GAIN = 0.003

_REASONS = {"tol": "lack of improvement in inertia", "callback": "small centers change"}
"""The reasons that end a fit before its last pass, in scikit-learn's words."""


def _rows_of_step(spec: FitSpec, n_rows: int) -> int:
    return min(spec.algorithm.batch_rows, n_rows) if spec.algorithm.capabilities.stochastic else n_rows
