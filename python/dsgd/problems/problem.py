"""One binary classification, or one regression: the data and what is minimised over it."""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.threads import worth_waking
from dsgd.data.inputs import as_matrix, stored_entries, take_rows
from dsgd.data.scale import Scale, mean_weight
from dsgd.data.summary import Summary
from dsgd.models.base import Loss
from dsgd.models.feature_major import FeatureMajor
from dsgd.models.protocols import Objective, ParameterLayout

__all__ = ["Problem", "Sample", "on_target"]


# Number of blocks, about, that makes their random order random enough.
_BLOCKS = 1024
# Rows of the largest block. Such a block is read as fast as all rows in memory order (docs/design/threads.md).
_LARGEST_BLOCK = 256
# Rows of the largest block for a loss without targets (docs/design/objectives.md, "k-means").
_SHORT_BLOCK = 16


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Data, loss and penalty: F(w, b) = (1/n) sum_i s_i loss(w.x_i + b, y_i) + alpha R(w).

    Attributes
    ----------
    matrix : _core.Matrix
    target : ndarray of shape (n_samples,)
    sample_weight : ndarray of shape (n_samples,) or None
    loss : Loss
    alphas : tuple of two floats
        Strengths of ||w||_1 and of ||w||^2 / 2.
    fit_intercept : bool
    scale : Scale
    n_classes : int
        0 for regression.
    summary : Summary or None
        The summary of all rows, if `matrix` is only the sample in it; see `dsgd.fitting.parts`.
    n_together : int
        Classes whose binary problems, of each against all others, are one problem, the sum of theirs: its target is the
        number of the class, and its parameters have a decision value a class. 0: the problem is what its loss says.
    blind : bool
        Whether starts and steps are to know nothing of the rows but gradients, for the privacy of the rows: neither
        means nor sizes of features and targets.
    """

    matrix: _core.Matrix
    target: NDArray[Any]
    sample_weight: NDArray[Any] | None
    loss: Loss
    alphas: tuple[float, float]
    fit_intercept: bool
    scale: Scale
    n_classes: int = 0
    summary: Summary | None = None
    n_together: int = 0
    blind: bool = False

    @property
    def n_samples(self) -> int:
        """Number of all rows."""
        return self.matrix.n_rows if self.summary is None else self.summary.n_samples

    @property
    def sparse(self) -> bool:
        """Whether the matrix is sparse."""
        return isinstance(self.matrix.arrays, tuple)

    @property
    def mean_weight(self) -> float:
        """The mean of the sample weights; 1 without any."""
        if self.summary is not None:
            return self.summary.mean_weight
        return 1.0 if self.sample_weight is None else mean_weight(self.sample_weight)

    @functools.cached_property
    def layout(self) -> ParameterLayout:
        """Where the parameters lie in the flat vector."""
        if self.n_together:
            n_features, together = self.matrix.n_features, self.n_together
            return FeatureMajor(n_features=n_features, n_outputs=together, fit_intercept=self.fit_intercept)
        return self.loss.layout(self.matrix.n_features, self.n_classes, self.fit_intercept)

    def trivial_losses(self) -> tuple[float, float]:
        """Return the mean losses of the best model without any feature, and of decision values of 0."""
        constant, zero = self.loss.trivial_losses(self)
        times = max(self.n_together, 1)
        return times * constant, times * zero

    @functools.cached_property
    def block_size(self) -> int:
        """Number of neighbouring rows that may be visited together without harm to convergence.

        1 if neighbours have similar targets, as in sorted data. This is assumed if the mean squared
        difference of neighbouring targets is at most half of its value in random order (von Neumann's
        ratio). Otherwise n_samples / 1024, at most 256; without targets at most 16.
        """
        if not self.loss.supervised:  # the rows may be sorted: short blocks, so that a batch has many of them
            return int(np.clip(self.matrix.n_rows // _BLOCKS, 1, _SHORT_BLOCK))
        if len(self.target) < 2 * _BLOCKS:
            return 1
        y = self.target.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            alike = not float(np.mean(np.diff(y) ** 2)) > float(np.var(y))
        return 1 if alike else int(np.clip(len(y) // _BLOCKS, 1, _LARGEST_BLOCK))

    def penalty(self, coef: NDArray[Any]) -> float:
        """Return alpha R(w)."""
        alpha_l1, alpha_l2 = self.alphas
        with np.errstate(over="ignore", under="ignore"):  # weights may have diverged, or may be almost 0
            # Not a dot product: a BLAS may wake threads for it, and wait for them.
            value = alpha_l2 / 2 * float(np.square(coef, dtype=np.float64).sum()) if alpha_l2 else 0.0
            if math.isinf(value) and np.isfinite(coef).all():  # alpha times it may be finite
                largest = float(np.abs(coef).max())
                value = alpha_l2 / 2 * largest * float(np.square(coef / largest, dtype=np.float64).sum()) * largest
            return value + (alpha_l1 * float(np.abs(coef).sum(dtype=np.float64)) if alpha_l1 else 0.0)

    def shrink(self, coef: NDArray[Any], step: float | NDArray[Any]) -> None:
        """Make the proximal step of the penalty in place: argmin_v ||v - w||^2 / (2 step) + alpha R(v)."""
        alpha_l1, alpha_l2 = self.alphas
        with np.errstate(over="ignore"):  # a step out of range sets the weights to 0
            if alpha_l1:
                coef[:] = np.sign(coef) * np.maximum(0, np.abs(coef) - step * alpha_l1)
            if alpha_l2:
                coef /= 1 + step * alpha_l2

    def objective(self, n_threads: int, inverse_frequency: NDArray[Any] | None = None) -> Objective:
        """Return the objective. Unless `inverse_frequency` is given, `n_threads` threads count the frequencies."""
        threads = worth_waking(n_threads, stored_entries(self.matrix))
        return self.loss.objective(self, threads, inverse_frequency)

    def linear_objective(self, n_threads: int, inverse_frequency: NDArray[Any] | None = None) -> _core.LinearObjective:
        """Return the objective with the type of linear models, for code that trains nothing else."""
        return cast(_core.LinearObjective, self.objective(n_threads, inverse_frequency))


def on_target(objective: Objective, target: NDArray[Any]) -> Objective:
    """Return a linear objective with another target, which shares the feature counts.

    Any other objective is returned as it is: its model has one problem only.
    """
    return objective.with_target(target) if isinstance(objective, _core.LinearObjective) else objective


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Some rows of a matrix, copied once for all problems on the matrix.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,)
        The numbers of the rows.
    matrix : _core.Matrix
        The copied rows. A sparse matrix keeps only the features that occur in them, so that its size
        does not depend on the number of all features.
    features : ndarray or slice
        The features that are kept.
    """

    rows: NDArray[np.intp]
    matrix: _core.Matrix
    features: NDArray[Any] | slice

    @classmethod
    def cut(cls, matrix: _core.Matrix, rows: NDArray[np.intp]) -> Sample:
        """Return the sample of these rows."""
        X = take_rows(matrix, rows)
        features: NDArray[Any] | slice
        if isinstance(X, np.ndarray):
            features = slice(0, matrix.n_features)
        else:
            columns, renumbered = np.unique(X.indices, return_inverse=True)
            shape = (len(rows), max(len(columns), 1))
            X = scipy.sparse.csr_array((X.data, renumbered.astype(X.indptr.dtype), X.indptr), shape=shape)
            features = columns if len(columns) else np.zeros(1, np.intp)
        return cls(rows=rows, matrix=as_matrix(X, 1), features=features)

    def problem(self, whole: Problem) -> Problem:
        """Return the problem `whole` on these rows only."""
        weight = whole.sample_weight
        return dataclasses.replace(
            whole,
            matrix=self.matrix,
            target=whole.target[self.rows],
            sample_weight=None if weight is None else weight[self.rows],
            summary=None,
        )

    def weights(self, whole: Problem, weights: NDArray[Any]) -> NDArray[Any]:
        """Return a copy of the weights of the kept features and of the parameters without one, such as an intercept."""
        return weights.copy() if isinstance(self.features, slice) else weights[whole.layout.on(self.features)]
