"""The common part of `SGDClassifier` and `SGDRegressor`.

It translates scikit-learn's parameters, trains by the functions of `dsgd.fit`, and sets
scikit-learn's attributes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight, validate_data

from dsgd._common.memory import memory_for_model
from dsgd._common.warn import warn
from dsgd.callbacks import Callback
from dsgd.data.inputs import as_matrix, check_columns
from dsgd.data.labels import check_not_missing
from dsgd.data.scale import measure
from dsgd.errors import ConfigError, DataError, DivergedError
from dsgd.estimators.callbacks import CallbackSupportMixin, FitCallbacks
from dsgd.estimators.on_threads import on_threads
from dsgd.estimators.translate import (
    exact_steps,
    loss_of,
    problems_at_once,
    spec_of,
    takes_exact_steps,
    words_of_scikit_learn,
)
from dsgd.fitting.loop import take_over_cuts, train
from dsgd.fitting.recorder import Recorder
from dsgd.fitting.spec import FitSpec
from dsgd.fitting.stopping import Standstill
from dsgd.fitting.targets import OneVsAll, as_initial_weights
from dsgd.models import MODELS
from dsgd.models.protocols import ParameterLayout
from dsgd.problems.averaging import PolyakAverage
from dsgd.problems.task import LocalTask
from dsgd.results.evaluation import Evaluation

__all__ = ["Rows", "SgdEstimator"]


class Rows(NamedTuple):
    """Samples: X, the targets of every problem, and the weights of the samples."""

    X: Any
    targets: NDArray[Any] | OneVsAll
    sample_weight: NDArray[Any] | None

    def where(self, mask: NDArray[np.bool_]) -> Rows:
        """Return the samples that the mask selects."""
        weight = None if self.sample_weight is None else self.sample_weight[mask]
        some = self.targets.where(mask) if isinstance(self.targets, OneVsAll) else self.targets[:, mask].copy()
        return Rows(self.X[mask], some, weight)


def _beside_the_average(name: str, *, last: bool) -> property:
    """Return a property that scikit-learn's estimators have only with `average`.

    It is the attribute `name` of the last iterate if `last`, else of the mean of the iterates.
    """

    def of(estimator: SgdEstimator) -> NDArray[Any]:
        averages: Sequence[PolyakAverage] = getattr(estimator, "_averages", ())
        if not averages:
            raise AttributeError(f"there is no average: average={estimator.average!r}")
        if last:
            return estimator._attributes(np.stack([each.iterate for each in averages]))[name]
        value: NDArray[Any] = getattr(estimator, name)
        return value if averages[0].steps > 0 else np.zeros_like(value)

    return property(of)


class SgdEstimator(CallbackSupportMixin, BaseEstimator):
    """The base of dsgd's estimators, which also derive from scikit-learn's of the same names."""

    _standard_coef = _beside_the_average("coef_", last=True)
    _standard_intercept = _beside_the_average("intercept_", last=True)
    _average_coef = _beside_the_average("coef_", last=False)
    _average_intercept = _beside_the_average("intercept_", last=False)

    @property
    def _labels(self) -> NDArray[np.float64] | None:
        """The values that targets have in a problem of classification; None for regression."""
        return None

    def _checked(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None, *, reset: bool) -> tuple[Any, Any, Any]:
        """Return X, y and sample_weight as scikit-learn checks them, X in float32 or float64."""
        check_not_missing(y)
        types = [np.float64, np.float32]
        with np.errstate(over="ignore", invalid="ignore"):  # numbers out of range are refused
            X, y = validate_data(self, X, y, accept_sparse="csr", dtype=types, order="C", reset=reset)
        if scipy.sparse.issparse(X):
            check_columns(X)  # before memory for the weights is allocated
        if sample_weight is not None:
            if self.early_stopping and (np.asarray(sample_weight) == 0).all():
                raise DataError(
                    "The sample weights for validation set are all zero, consider using a different random state. "
                    "Those for the training set are, too: there is nothing to train on."
                )
            with np.errstate(over="ignore", invalid="ignore"):
                sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype)
        return X, y, sample_weight

    def _fit_rows(self, rows: Rows, y: NDArray[Any], coef_init: Any, intercept_init: Any) -> None:
        """Train a new fit, from `coef_init`, the last solution (with `warm_start`) or zeros."""
        if self.warm_start and getattr(self, "coef_", None) is not None:
            coef_init = self._last_coef(rows) if coef_init is None else coef_init
            if self.fit_intercept:
                intercept_init = self.intercept_ if intercept_init is None else intercept_init
        fresh = coef_init is None and intercept_init is None
        weights = self._start(rows, coef_init, intercept_init)
        metadata = {} if rows.sample_weight is None else {"sample_weight": rows.sample_weight}
        data = {"X": rows.X, "y": y, "metadata": metadata}
        calls = FitCallbacks(self, len(rows.targets), lambda: self._attributes(weights), data)
        train_rows, held_out = rows, None
        if self.early_stopping:
            counted = np.ones(len(y), bool) if rows.sample_weight is None else rows.sample_weight > 0
            mask = self._make_validation_split(y, sample_mask=counted)
            if self._labels is None and mask.sum() < 2:
                raise DataError("early_stopping holds out 1 row, and R2 needs two; use a larger validation_fraction")
            train_rows, held_out = rows.where(~mask), rows.where(mask)
        spec = spec_of(self, train_rows.X.shape[0], max_epochs=self.max_iter)
        self._train(spec, train_rows, held_out, weights, fresh=fresh, calls=calls)
        self.t_ = 1.0 + self.n_iter_ * rows.X.shape[0]
        calls.end()
        if self.tol is not None and self.n_iter_ == self.max_iter:
            warn(
                "Maximum number of iteration reached before convergence. Consider increasing max_iter to improve the "
                f"fit. (max_iter={self.max_iter} epochs ended before n_iter_no_change={self.n_iter_no_change} of them "
                "made no progress.)",
                ConvergenceWarning,
            )
        if self.power_t < 0:
            warn(
                "Negative values for `power_t` are deprecated in version 1.8 and will raise an error in 1.10. Use "
                "values in the range [0.0, inf) instead.",
                FutureWarning,
            )

    def _memory(self, rows: Rows) -> AbstractContextManager[None]:
        """Return a context whose error for lack of memory names the size of the model."""
        n_features = rows.X.shape[1]
        return memory_for_model(n_features, len(rows.targets) * self._layout(n_features).size, rows.X.dtype)

    def _last_coef(self, rows: Rows) -> Any:
        """Return the last solution; `DataError` if it is one of other features or classes."""
        n_problems = len(rows.targets) * self._layout(rows.X.shape[1]).per_feature
        shape = np.atleast_2d(self.coef_.toarray() if scipy.sparse.issparse(self.coef_) else self.coef_).shape
        if shape != (n_problems, rows.X.shape[1]):
            raise DataError(
                f"warm_start goes on from coef_ of shape {shape}, and this data needs {(n_problems, rows.X.shape[1])}: "
                "it has other features or classes; fit a new estimator, or with warm_start=False"
            )
        return self.coef_

    def _partial_fit_rows(self, rows: Rows) -> None:
        """Train for one epoch from the current weights.

        Schedule, order and average continue at `t_`.
        """
        fresh = getattr(self, "coef_", None) is None
        weights = self._start(rows, None if fresh else self.coef_, None if fresh else self.intercept_)
        t = getattr(self, "t_", 1.0)
        # Count epochs as if every earlier call had had as many rows: then calls on the same rows
        # are the epochs of one fit.
        n_rows = rows.X.shape[0]
        index, offset = divmod(int(t) - 1, n_rows)
        spec = spec_of(self, n_rows, max_epochs=index + 1, start_epoch=index, offset=offset)
        cuts = () if fresh else getattr(self, "_cuts", ())
        self._train(spec, rows, None, weights, fresh=fresh, averages=getattr(self, "_averages", ()), cuts=cuts)
        self.t_ = t + n_rows

    def _start(self, rows: Rows, coef: Any, intercept: Any) -> NDArray[Any]:
        """Return initial parameters, a row per problem; `DataError` if they do not fit the data."""
        n_features, dtype = rows.X.shape[1], rows.X.dtype
        layout = self._layout(n_features)
        if coef is None and intercept is None:
            return as_initial_weights(None, len(rows.targets), layout, dtype)
        n_rows = len(rows.targets) * layout.per_feature
        start = np.zeros((n_rows, n_features + 1))
        if coef is not None:
            given = np.asarray(coef.toarray() if scipy.sparse.issparse(coef) else coef)
            if given.shape != (n_rows, n_features) and (n_rows > 1 or given.shape != (n_features,)):
                raise DataError(
                    f"Provided coef_init does not match dataset: it has shape {given.shape}, and must be "
                    f"({n_rows}, {n_features})"
                )
            start[:, :-1] = given
        if intercept is not None:
            given = np.asarray(intercept)
            if given.shape != (n_rows,) and (n_rows > 1 or given.shape != ()):
                raise DataError(
                    f"Provided intercept_init does not match dataset: it has shape {given.shape}, and must be "
                    f"({n_rows},)"
                )
            if given.any() and not self.fit_intercept:
                raise ConfigError(f"intercept_init is {given.tolist()}, but fit_intercept=False; leave one of them out")
            start[:, -1] = given
        init = start if self.fit_intercept else start[:, :-1]
        return as_initial_weights(init[0] if n_rows == 1 else init, len(rows.targets), layout, dtype)

    def _layout(self, n_features: int) -> ParameterLayout:
        """Return the parameter layout of one problem."""
        return loss_of(self).layout(n_features, len(getattr(self, "classes_", ())), bool(self.fit_intercept))

    def _train(
        self,
        spec: FitSpec,
        rows: Rows,
        held_out: Rows | None,
        weights: NDArray[Any],
        *,
        fresh: bool,
        averages: Sequence[PolyakAverage] = (),
        cuts: Sequence[int] = (),
        calls: FitCallbacks | None = None,
    ) -> None:
        """Train all problems, each until its own end, and set the attributes."""
        begin = time.perf_counter()
        spec, makers = self._tasks(spec, rows, weights, fresh=fresh)
        average = getattr(spec.algorithm, "average", False)
        after: list[tuple[int, PolyakAverage | None]] = [(0, None)] * len(makers)
        evaluate_every = None if calls is not None and (self.tol is not None or self.verbose > 0) else 0

        def train_problem(k: int, ended: Sequence[Callback]) -> int:
            task = makers[k]()  # made here, so that its targets are in memory only while it is trained
            spec.choose_steps([task])
            take_over_cuts(task, cuts[k] if cuts else 0)
            task.average = averages[k].go_on(task.weights) if average and averages else None
            kind, own = MODELS[spec.loss.model], weights[k : k + 1]
            model = kind.untrained(own, spec.loss, self._labels, spec.fit_intercept)
            stopping = Standstill(tol=self.tol, patience=self.n_iter_no_change, on_score=held_out is not None)
            evaluation = None
            if held_out is not None:
                pair, n_features = (held_out.X, held_out.targets[k]), rows.X.shape[1]
                evaluation = Evaluation(pair, n_features, self._labels, spec.n_threads, held_out.sample_weight)
            with contextlib.nullcontext(()) if calls is None else calls.problem() as callbacks:
                watchers, shown = [*callbacks, *ended], bool(self.verbose)
                recorder = Recorder(model, evaluation, stopping, evaluate_every, watchers, shown, begin)
                history, _ = train(spec.algorithm, [task], recorder, keep_interrupted=False, exact_end=False)
            after[k] = task.cuts, task.average
            return len(history)

        # The display on standard error and callbacks allow only one problem at a time.
        at_once = 1 if self.verbose or getattr(self, "_skl_callbacks", None) else problems_at_once(self)
        with words_of_scikit_learn(DivergedError):
            self.n_iter_ = max(on_threads(train_problem, len(makers), at_once))
        self._cuts = [n_cuts for n_cuts, _ in after]
        for name, value in self._attributes(weights).items():
            setattr(self, name, value)
        self._averages = [each for _, each in after if each is not None] if average else []

    def _tasks(
        self, spec: FitSpec, rows: Rows, weights: NDArray[Any], *, fresh: bool
    ) -> tuple[FitSpec, list[Callable[[], LocalTask]]]:
        """Return the spec, and for every problem a function that makes its task.

        The steps of the spec are scikit-learn's if `takes_exact_steps` says so.
        """
        matrix = as_matrix(rows.X, spec.n_threads)
        with words_of_scikit_learn(DataError, " at epoch #1"):
            scale = measure(matrix, rows.sample_weight, spec.n_threads)
        if takes_exact_steps(spec):
            spec, scale = exact_steps(spec, scale, sparse=scipy.sparse.issparse(rows.X))
            fresh = False  # scikit-learn starts from zeros
        n_classes = 0 if self._labels is None else len(self.classes_)
        makers = spec.tasks(
            matrix, rows.targets, rows.sample_weight, weights, n_classes=n_classes, scale=scale, fresh=fresh
        )
        return spec, makers

    def _attributes(self, weights: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return copies of coef_ and intercept_ in the shapes of scikit-learn."""
        n_features = self.n_features_in_
        layout = self._layout(n_features)
        by_row = np.concatenate([np.atleast_2d(layout.unpack(flat)) for flat in weights])
        coef = np.ascontiguousarray(by_row[:, :n_features])
        intercept = by_row[:, -1].copy() if self.fit_intercept else np.zeros(len(coef), weights.dtype)
        return {"coef_": coef[0] if self._labels is None else coef, "intercept_": intercept}
