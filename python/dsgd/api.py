"""`dsgd.fit`: from data to a trained model."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsgd._common.checks import Seed, check_flag, check_integer, check_seed, shown
from dsgd._common.memory import memory_for, memory_for_model
from dsgd._common.warn import warn
from dsgd.algorithms import Algorithm, DistributedAlgorithm, resolve_algorithm
from dsgd.callbacks import Callback
from dsgd.cluster import LocalCluster, Simulation
from dsgd.cluster.account import check_private
from dsgd.cluster.engines import Elsewhere, is_client
from dsgd.cluster.fit import on_cluster, train_on_cluster
from dsgd.data import reading
from dsgd.data.dataset import Dataset, errors_of
from dsgd.data.feature_names import FeatureNames, column_names
from dsgd.data.inputs import as_matrix, real_dtype
from dsgd.data.scale import measure
from dsgd.errors import ConfigError, DataError, DivergedError
from dsgd.fitting.loop import train
from dsgd.fitting.recorder import Recorder
from dsgd.fitting.spec import FitSpec, first_step_of, penalty_strengths, threads_of, threads_over_problems
from dsgd.fitting.start import start_from
from dsgd.fitting.stopping import Stopping
from dsgd.fitting.targets import OneVsAll, as_initial_weights, as_sample_weight, as_targets
from dsgd.losses import Loss, resolve_loss
from dsgd.models import MODELS
from dsgd.results.evaluation import evaluation_of
from dsgd.results.result import FitResult
from dsgd.schedules import Schedule, resolve_schedule

__all__ = ["fit", "load"]

load = FitResult.load

_NEAR_THE_END = 1e-4  # share of sqrt(largest number); the squares of larger targets may overflow
_LESS_DATA = "give X as float32, in C order or CSR, which is used where it lies; or fewer rows or classes"


def fit(
    X: Any,
    y: ArrayLike | None = None,
    *,
    algo: str | Algorithm,
    loss: str | Loss = "hinge",
    penalty: str | None = "auto",
    alpha: float = 1e-4,
    l1_ratio: float = 0.15,
    fit_intercept: bool = True,
    step_size: float | str = "auto",
    schedule: str | Schedule = "auto",
    max_epochs: int | None = None,
    tol: float | None = None,
    gap_tol: float | None = None,
    patience: int = 5,
    early_stopping: bool = False,
    max_seconds: float | None = None,
    n_threads: int | None = None,
    workers: int | None = None,
    cluster: Simulation | LocalCluster | Any | None = None,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[Any, float] | str | None = None,
    eval_set: tuple[Any, ArrayLike] | Dataset | None = None,
    evaluate_every: int | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
    random_state: Seed | None = None,
    init: ArrayLike | FitResult | None = None,
    **algorithm_options: Any,
) -> FitResult:
    """Train a linear model, k-means or a network by stochastic gradient descent.

    Minimises F(w, b) = (1/n) sum_i s_i loss(w.x_i + b, y_i) + alpha R(w); the intercept b is not regularised.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features), or Dataset, or path-like, or None
        An array of float32 or float64 in C order, or a CSR matrix with int32 columns, is used without a copy. Columns
        of int64 must be below 2**31 and are narrowed once; anything else is converted once. The logger ``dsgd`` reports
        each copy with its bytes. A path names a libsvm text file or a cache file; see `dsgd.data.load`. The result
        keeps the column names of a data frame or a Dataset, and refuses an X with other names. On Dask a collection,
        and on `Hosts` None; see `cluster`.
    y : array-like of shape (n_samples,), optional
        Labels of any kind for classification, real numbers for regression. With more than two classes each class is
        trained against all others, all of them epoch by epoch; ``"softmax"`` trains all classes together. A Dataset and
        a file have a y of their own. k-means needs none.
    algo : str or Algorithm
        ``"auto"`` (the algorithm that is expected to be fastest, see `dsgd.algorithms.Auto`), ``"sgd"`` (one thread,
        reproducible), ``"hogwild"`` (all cores, lock-free), ``"minibatch"`` (all cores, reproducible), ``"batch"`` (all
        rows at once, for exact zeros), ``"sdca"`` (dual coordinate ascent, whose duality gap bounds the error), or an
        object of `dsgd.algorithms`.
    loss : str or Loss, default="hinge"
        ``"hinge"``, ``"squared_hinge"``, ``"perceptron"``, ``"logistic"``, ``"modified_huber"`` for classification, and
        ``"softmax"``, multinomial logistic regression;
        ``"squared"``, ``"huber"``, ``"epsilon_insensitive"``, ``"squared_epsilon_insensitive"`` for regression;
        ``"kmeans"``, eight clusters; ``"mlp"`` and ``"squared_mlp"``, networks of one hidden layer; or an object of
        `dsgd.losses`, such as ``KMeans(20)`` or ``MLP((200, 200))``.
    penalty : {"auto", "l2", "l1", "elasticnet", "none"} or None, default="auto"
        R(w) = ||w||^2 / 2, ||w||_1, (1 - l1_ratio) ||w||^2 / 2 + l1_ratio ||w||_1, or 0. The l1 part sets weights to
        exactly zero. ``"auto"`` is ``"l2"``, and ``"none"`` for k-means, which has no penalty.
    alpha : float, default=1e-4
        Strength of the penalty, at least 0.
    l1_ratio : float, default=0.15
        In [0, 1]; for ``penalty="elasticnet"``.
    fit_intercept : bool, default=True
        Whether to train the intercept b. k-means has none, networks always have one.
    step_size : float or "auto", default="auto"
        The first step size. ``"auto"`` searches by trials on 1 % of the rows, at least 1,000; the history includes the
        time. The intercept's step is `step_size` times the mean square of the non-zero entries of X, so that it learns
        like a feature of that size. ``"batch"`` takes `step_size` as the first guess of its line search. The automatic
        step of k-means is the number of clusters.
    schedule : str or Schedule, default="auto"
        How it changes: ``"linear"`` (to zero at the end of the run), ``"inverse-time"``, ``"inverse-sqrt"``,
        ``"inverse-scaling"``, ``"optimal"``, ``"epoch-decay"``, ``"constant"``, ``"adaptive"`` (smaller whenever
        progress ends), ``"pa1"``, ``"pa2"`` (passive-aggressive); see `dsgd.schedules`. ``"auto"`` is ``"linear"``, or
        ``"inverse-time"`` with `tol`, `early_stopping` or `max_seconds`, which may end a run early.
    max_epochs : int, optional
        Passes over the data; by default 20, or 1000 with `gap_tol`.
    tol : float, optional
        Stop when the objective of the history improved by less than ``tol * |objective|`` over `patience` evaluations.
    gap_tol : float, optional
        Stop when the duality gap proves that the objective is at most 1 + `gap_tol` times the optimum: 1e-2 is one per
        cent. Needs a linear loss other than the perceptron's, a penalty, and rows that this process has. The gap is
        measured only once the objective hardly falls. A warning says if `max_epochs` ended the fit before that.
    patience : int, default=5
        Evaluations to wait for an improvement, with `tol` and `early_stopping`.
    early_stopping : bool, default=False
        Stop when the score on `eval_set` did not improve over `patience` evaluations, and return the model that scored
        best.
    max_seconds : float, optional
        Stop after the first epoch that ends later than this, in wall seconds, evaluations included.
    n_threads : int, optional
        By default all processors of the process, or fewer for little data. Classes of one-vs-all are spread over them;
        a model of one problem has one with an algorithm that runs on one. On Dask the threads of each worker, by
        default as many as Dask gives it; workers of `Hosts` have numbers of their own.
    workers : int, optional
        Number of workers of a distributed algorithm; without `cluster` they are processes of this machine.
    cluster : LocalCluster, Simulation, Hosts, DaskCluster or distributed.Client, optional
        Where a distributed algorithm (``"ssp"``, ``"dissvrg"``, ``"sync"`` and so on, ``"minibatch"``, ``"batch"``)
        runs: on processes of this machine, in virtual time, on workers of other hosts that bring their rows (X and y
        are None), or on a Dask cluster. A client is short for ``dsgd.dask.DaskCluster(client)``; X, y and
        `sample_weight` are then dask arrays, data frames or series, or lists of delayed values, futures or shards
        (`dsgd.data.Shard`, which bring y), and train where they lie.
    sample_weight : array-like of shape (n_samples,), optional
        s_i, at least 0; not renormalised.
    class_weight : dict or "balanced", optional
        Factors of s_i by class; by default 1. ``"balanced"``: n / (number of classes * samples of the class).
    eval_set : tuple (X, y) or Dataset, optional
        Samples to score (accuracy, or R2) for the history and the progress. A label that y lacks counts as an error.
        On Dask X and y may be collections, which are scored where they lie.
    evaluate_every : int, optional
        Epochs between exact evaluations, which take extra time; 0: none. By default the objective of an epoch is that
        of the losses that it saw, and exact at the end; see `Record.exact`.
    callbacks : sequence of callables, optional
        Each is called after every epoch with the `Record` of the epoch and the current model. A callback that returns
        True ends the fit. See `dsgd.callbacks`.
    progress : bool, default=False
        Show each epoch on standard error as it ends: a bar on a terminal, lines elsewhere.
    random_state : int, numpy.random.Generator or numpy.random.RandomState, optional
        Seed in [0, 2^64), or a generator to draw one from. The same seed gives the same bits, except for `hogwild` on
        several threads.
    init : FitResult, or array-like of shape (n_parameters,), or (n_classes, n_parameters), optional
        Initial weights. A FitResult must have the same features and classes, and a loss of the same kind of model. An
        array holds the weights of the features, then the intercept if there is one; with softmax, and with more than
        two classes, one such row for each class. By default weights start at 0, and the intercept of a regression at
        the constant that predicts y best.
    **algorithm_options
        Options of the named algorithm, as documented in its class, for example ``write="atomic"``.

    Returns
    -------
    FitResult
        After Ctrl-C, with a warning, the result of the last finished epoch.

    Raises
    ------
    ConfigError
        For an impossible parameter or combination.
    DataError
        For data that cannot be trained on.
    ClusterError
        If a distributed run cannot continue, such as `WorkerLostError`, or `DeadlineError`.
    DivergedError
        If weights or objective overflow or explode even if the epoch is repeated with ever shorter steps, ten times.

    Examples
    --------
    >>> import numpy as np, dsgd
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [0.2, 0.9], [0.8, 0.1]])
    >>> y = np.array(["ham", "spam", "ham", "spam"])
    >>> result = dsgd.fit(X, y, algo="sgd", loss="logistic", random_state=0)
    >>> result.predict(X)
    array(['ham', 'spam', 'ham', 'spam'], dtype='<U4')
    >>> result.score(X, y)
    1.0
    """
    algorithm = resolve_algorithm(algo, algorithm_options, _parameters())
    resolved_loss = resolve_loss(loss)
    alphas = penalty_strengths(_penalty_of(resolved_loss, penalty), alpha, l1_ratio)
    fit_intercept = check_flag("fit_intercept", fit_intercept) and resolved_loss.penalised
    first_step = first_step_of(step_size)
    max_epochs = check_integer("max_epochs", (20 if gap_tol is None else 1000) if max_epochs is None else max_epochs, 1)
    evaluate_every = None if evaluate_every is None else check_integer("evaluate_every", evaluate_every, 0)
    stopping = Stopping(
        tol=tol, patience=patience, early_stopping=early_stopping, max_seconds=max_seconds, gap_tol=gap_tol
    )
    stopping.check(evaluate_every, eval_set)
    algorithm, cluster = on_cluster(algorithm, _as_cluster(cluster), workers)
    check_private(algorithm.privacy, cluster, tol=tol, class_weight=class_weight)
    named_schedule = not (isinstance(schedule, str) and schedule == "auto")
    if not named_schedule:
        schedule = algorithm.capabilities.schedule or ("inverse-time" if stopping.may_end_early else "linear")
    # A sequence: an iterator would be used up by the check.
    if not isinstance(callbacks, Sequence) or not all(callable(callback) for callback in callbacks):
        raise ConfigError(f"callbacks must be a sequence of callables, such as a list, not {shown(callbacks)}")
    threads, at_once = threads_over_problems(algorithm, resolved_loss, n_threads, elsewhere=cluster is not None)
    spec = FitSpec(
        algorithm=algorithm,
        loss=resolved_loss,
        alphas=alphas,
        fit_intercept=fit_intercept,
        schedule=resolve_schedule(schedule),
        step_size=first_step,
        n_threads=threads,
        seed=check_seed(random_state),
        max_epochs=max_epochs,
        gap_tol=stopping.gap_tol,
        named_schedule=named_schedule,
        problems_at_once=at_once,
        sum_loss=evaluate_every is None,
        threads_by_size=n_threads is None and cluster is None,
    )
    weights = _Weights(sample_weight=sample_weight, class_weight=class_weight, init=init)
    look = _Look(evaluate_every=evaluate_every, callbacks=tuple(callbacks), progress=check_flag("progress", progress))
    if isinstance(cluster, Elsewhere):
        cluster.check_gap(stopping.gap_tol)
        given = {"eval_set": eval_set, "n_threads": n_threads, "stopping": stopping, "look": look}
        return cluster.fit(X, y, spec, **given, **weights._asdict())
    result = _fit_data(_load(X, y, threads, resolved_loss), spec, weights, eval_set, stopping, cluster, look)
    if stopping.gap_tol is not None and result.stop_reason == "max_epochs":
        warn(
            f"the duality gap is {result.history[-1].gap:.3g} after max_epochs={max_epochs}, above "
            f"gap_tol={stopping.gap_tol:g}; more epochs close it",
        )
    return result


class _Weights(NamedTuple):
    """The weights that a user gives: of samples, of classes, and of the model to start from."""

    sample_weight: ArrayLike | None
    class_weight: Mapping[Any, float] | str | None
    init: ArrayLike | FitResult | None


class _Look(NamedTuple):
    """How a fit is observed while it runs."""

    evaluate_every: int | None
    callbacks: tuple[Callback, ...]
    progress: bool


def _fit_data(
    data: _Data,
    spec: FitSpec,
    given: _Weights,
    eval_set: Any,
    stopping: Stopping,
    cluster: Simulation | LocalCluster | None,
    look: _Look,
) -> FitResult:
    """Train the model that `spec` describes on data that was read."""
    loss, threads = spec.loss, spec.n_threads
    with errors_of(data.source), memory_for("X and y as they are trained on", _LESS_DATA):
        matrix = as_matrix(data.X, threads)
        dtype = real_dtype(matrix)
        targets, classes = as_targets(data.y, loss, matrix.n_rows, dtype)
    if len(targets) == 1 and not spec.threads_by_size:
        threads_of(spec.algorithm, spec.problems_at_once)  # there is nothing to spread over the threads asked for
    importance = as_sample_weight(given.sample_weight, given.class_weight, data.y, classes, matrix.n_rows, dtype)
    evaluation = None
    if eval_set is not None:
        if not loss.supervised:
            raise ConfigError(f"eval_set needs targets, and loss {loss.name!r} has none; leave it out")
        evaluation = evaluation_of(eval_set, data.names, data.index_base, matrix.n_features, classes, threads)
    n_classes = 0 if classes is None else len(classes)
    layout = loss.layout(matrix.n_features, n_classes, spec.fit_intercept)
    with memory_for_model(matrix.n_features, len(targets) * layout.size, dtype):
        start = None if isinstance(given.init, FitResult) else given.init
        weights = as_initial_weights(start, len(targets), layout, dtype)
        model = MODELS[loss.model].untrained(weights, loss, classes, spec.fit_intercept)
        if isinstance(given.init, FitResult):
            start_from(given.init, model, data.names, data.index_base)
        begin = time.perf_counter()
        with errors_of(data.source):
            scale = measure(matrix, importance, threads)
        spec = spec.settle(matrix, scale)
        fresh = given.init is None
        makers = spec.tasks(matrix, targets, importance, weights, n_classes=n_classes, scale=scale, fresh=fresh)
        tasks = [make() for make in makers]
        recorder = Recorder(model, evaluation, stopping, *look, begin)
        cluster_fit = None
        with _targets_named(None if classes is not None or isinstance(targets, OneVsAll) else targets):
            if cluster is not None and isinstance(spec.algorithm, DistributedAlgorithm):
                cluster_fit = train_on_cluster(spec.algorithm, cluster, tasks, recorder)
                history, reason = cluster_fit.history, cluster_fit.stop_reason
            else:
                spec.choose_steps(tasks)
                history, reason = train(spec.algorithm, tasks, recorder)
    return FitResult(
        model=model,
        history=history,
        algorithm=spec.algorithm,
        stop_reason=reason,
        index_base=data.index_base,
        feature_names=data.names,
        trace=None if cluster_fit is None else cluster_fit.trace,
        averaging=None if cluster_fit is None else cluster_fit.averaging,
        privacy=None if cluster_fit is None else cluster_fit.privacy,
    )


@contextlib.contextmanager
def _targets_named(targets: NDArray[Any] | None) -> Iterator[None]:
    """Let a `DivergedError` name the largest target of a regression if its square may overflow."""
    try:
        yield
    except DivergedError as error:
        if targets is None:
            raise
        row = int(np.abs(targets[0]).argmax())
        largest = float(targets[0, row])
        if abs(largest) < _NEAR_THE_END * math.sqrt(np.finfo(targets.dtype).max):
            raise
        raise DivergedError(f"{error}; y[{row}] is {largest:g}: scale the targets") from error


def _as_cluster(cluster: Any) -> Any:
    """Return the cluster that a client of Dask is short for, or the cluster itself."""
    if not is_client(cluster):
        return cluster
    from dsgd.dask.cluster import DaskCluster  # needs the extra "dask"

    return DaskCluster(client=cluster)


@functools.cache
def _parameters() -> tuple[str, ...]:
    return tuple(inspect.signature(fit).parameters)


def _penalty_of(loss: Loss, penalty: Any) -> Any:
    """Return the name of the penalty; `ConfigError` for a penalty with a loss that has none."""
    penalty = "none" if penalty is None else penalty  # as scikit-learn writes it
    automatic = isinstance(penalty, str) and penalty == "auto"
    if loss.penalised:
        return "l2" if automatic else penalty
    if automatic or penalty == "none":
        return "none"
    raise ConfigError(f"loss {loss.name!r} has no penalty, so penalty={shown(penalty)} must be left out")


class _Data(NamedTuple):
    """The data to train on: X, y, index base, feature names and source file; see `Dataset`."""

    X: Any
    y: Any
    index_base: str | None
    names: FeatureNames
    source: str | None


def _load(X: Any, y: ArrayLike | None, n_threads: int, loss: Loss) -> _Data:
    """Return the data to train on: X and y as given, a data set, or the content of a file."""
    if isinstance(X, str | bytes | os.PathLike | Dataset):
        if y is not None:
            raise ConfigError("y must be left out when X is a Dataset or a path: both bring their own labels")
        data = X if isinstance(X, Dataset) else reading.load(os.fsdecode(X), n_threads=n_threads)
        return _Data(data.X, data.y, data.index_base, FeatureNames(data.feature_names), data.source)
    if y is None and loss.supervised:
        raise DataError("y is missing; it can be left out only when X is a Dataset or the path of a file")
    columns = column_names(X)
    return _Data(X, y, None, FeatureNames(columns, of_columns=columns is not None), None)
