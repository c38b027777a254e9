"""The arithmetic of a worker on its part of the data; each kernel counts the work that it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.data.inputs import stored_entries
from dsgd.data.partition import part
from dsgd.problem import Problem

__all__ = ["Kernels", "Work"]

Rows = NDArray[np.int64]

_SAMPLE_ROWS = 1000

# Entries of 16 bytes that stay in a cache of 8 MiB.
_CACHE_ENTRIES = 2**19

# What bench/kernel_cost.py measured: the share of rows that are waited for although they come in the order of memory,
# and a proximal step on a weight, which divides, in additions to a gradient.
_FETCHED_LATE, _STEP = 0.5, 1.25


@dataclass
class Work:
    """What was touched so far.

    Attributes
    ----------
    entries : int
        Entries of sparse rows, as often as a kernel works on them.
    far_entries : int
        Of these, the share of rows that a cache does not hold.
    elements : int
        Elements of dense vectors and rows.
    calls : int
    samples : int
        Gradients of single samples evaluated.
    """

    entries: int = 0
    far_entries: int = 0
    elements: int = 0
    calls: int = 0
    samples: int = 0

    def since(self, before: Work) -> Work:
        """Return what was added since a copy was made."""
        return Work(
            self.entries - before.entries,
            self.far_entries - before.far_entries,
            self.elements - before.elements,
            self.calls - before.calls,
            self.samples - before.samples,
        )

    def copy(self) -> Work:
        """Return the numbers as they are."""
        return Work(self.entries, self.far_entries, self.elements, self.calls, self.samples)


class Kernels:
    """Gradients and steps on the rows of one worker.

    Parameters
    ----------
    problem : Problem
        The worker's rows, with the `scale` of the whole.
    inverse_frequency : ndarray of shape (n_features,) or None
        n / d_j of the whole data, counted once: with those of its own rows only, a worker would regularise rare
        features too little, and the limit would be wrong. None for dense data.
    n_threads : int
    """

    def __init__(self, problem: Problem, inverse_frequency: NDArray[Any] | None, n_threads: int) -> None:
        self.problem = problem
        self.work = Work()
        self._threads = n_threads
        self._objective = problem.objective(n_threads, inverse_frequency)
        self._local_inverse: NDArray[Any] | None = None
        self._n_parameters = problem.matrix.n_features + int(problem.fit_intercept)
        self._scratch = np.empty((2, self._n_parameters))  # new pages from the system would cost more than the work
        self._sample: tuple[_core.LinearObjective, int, int] | None = None
        self._entries = stored_entries(problem.matrix)
        self._sparse = problem.sparse
        self._far = max(0.0, 1 - _CACHE_ENTRIES / max(self._entries, 1))

    @property
    def n_samples(self) -> int:
        """Rows of this worker."""
        return self.problem.matrix.n_rows

    @property
    def n_parameters(self) -> int:
        """Length of the parameter vector."""
        return self._n_parameters

    def count(self, *, entries: int = 0, elements: int = 0, samples: int = 0, in_order: bool = False) -> None:
        """Count one call of a kernel, or of anything else that a program computes.

        Rows that are visited in their order in memory are fetched ahead, most of them.
        """
        work = self.work
        if self._sparse:
            work.entries += entries
            work.far_entries += int(entries * self._far * (_FETCHED_LATE if in_order else 1.0))
        else:
            elements += entries
        work.elements += elements
        work.calls += 1
        work.samples += samples

    def gradient(self, weights: NDArray[Any], rows: Rows) -> NDArray[Any]:
        """Return the mean over `rows` of the gradient of the loss, without the penalty."""
        total: NDArray[Any] = self._scratch[0]
        total.fill(0)
        entries = _core.rows_gradient(self._objective, weights, rows, total)
        self.count(entries=entries, elements=2 * self._n_parameters, samples=len(rows))
        total /= len(rows)
        return total.astype(weights.dtype)

    def full_gradient(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Return the mean over all rows of this worker of the gradient of the loss, without the penalty."""
        mean: NDArray[Any] = self._scratch[0]
        self._objective.loss_gradient(weights, mean, self._threads)
        self.count(entries=self._entries, elements=2 * self._n_parameters, samples=self.n_samples, in_order=True)
        return mean.astype(weights.dtype)

    def minibatch_step(self, weights: NDArray[Any], rows: Rows, step: float) -> NDArray[Any]:
        """Return the change of the weights by one proximal step on the mean gradient of `rows`.

        The penalty falls on their features only, by the degree split (docs/design.md), so that the change is zero
        elsewhere.
        """
        gradient, due = self._scratch
        self._scratch.fill(0)
        entries = _core.rows_gradient(self._objective, weights, rows, gradient, due)
        self.count(entries=entries, elements=4 * self._n_parameters, samples=len(rows))
        if self.problem.fit_intercept:
            gradient[-1] *= self.problem.scale.intercept_rate
        gradient *= step / len(rows)
        due *= step / len(rows)
        moved: NDArray[Any] = np.subtract(weights, gradient, out=gradient)
        self.problem.shrink(moved, due)  # by 0 the intercept
        moved -= weights
        return moved.astype(weights.dtype)

    def sgd_steps(self, weights: NDArray[Any], rows: Rows, step: float) -> NDArray[Any]:
        """Return the weights after a step of stochastic gradient descent on each of `rows`."""
        moved = weights.copy()
        entries = _core.rows_descend(self._objective, moved, rows, step)
        self.count(entries=int(_STEP * entries), elements=len(moved), samples=len(rows))
        return moved

    def svrg_steps(
        self,
        weights: NDArray[Any],
        anchor: NDArray[Any],
        mean_gradient: NDArray[Any],
        rows: Rows,
        step: float,
        *,
        local: bool = False,
    ) -> NDArray[Any]:
        """Return the weights after a variance-reduced step on each of `rows`.

        Parameters
        ----------
        weights, anchor, mean_gradient : ndarray of shape (n_parameters,)
        rows : ndarray of int64
        step : float
        local : bool
            Whether `mean_gradient` is that of this worker's rows: it is then spread by their own feature frequencies.

        Returns
        -------
        ndarray of shape (n_parameters,)

        Notes
        -----
        v = r_i(w) - r_i(anchor) + D^-1 mu on the support of the sample, L2 in proximal form with the frequencies of the
        whole data (docs/algorithms/dissvrg.md).
        """
        moved = weights.copy()
        pull = self._pull(mean_gradient, local)
        entries = _core.rows_descend(self._objective, moved, rows, step, anchor, pull)
        self.count(entries=int(_STEP * entries), elements=2 * len(moved), samples=2 * len(rows))
        return moved

    def prox(self, weights: NDArray[Any], step: float) -> NDArray[Any]:
        """Return argmin_v ||v - w||^2 / (2 step) + alpha R(v); the intercept is not regularised."""
        moved = weights.copy()
        self.problem.shrink(moved[: self.problem.matrix.n_features], step)
        self.count(elements=2 * len(moved))
        return moved

    def proximal_step(self, weights: NDArray[Any], gradient: NDArray[Any], step: float) -> NDArray[Any]:
        """Return prox(w - step gradient), the step of the intercept multiplied by its rate."""
        move = step * gradient
        if self.problem.fit_intercept:
            move[-1] *= self.problem.scale.intercept_rate
        return self.prox((weights - move).astype(weights.dtype, copy=False), step)

    def sample_loss(self, weights: NDArray[Any]) -> float:
        """Return the mean loss, without the penalty, of some rows of this worker: always the same, at most 1,000."""
        if self._sample is None:
            rows = np.linspace(0, self.n_samples - 1, min(self.n_samples, _SAMPLE_ROWS)).astype(np.intp)
            problem = part(self.problem, rows)
            self._sample = (problem.objective(1), stored_entries(problem.matrix), len(rows))
        objective, entries, n_rows = self._sample
        self.count(entries=entries, samples=n_rows)
        return objective.mean_loss(weights, 1)

    def penalty(self, weights: NDArray[Any]) -> float:
        """Return the penalty."""
        coef = weights[: self.problem.matrix.n_features]
        self.count(elements=len(coef))
        return self.problem.penalty(coef)

    def _pull(self, mean_gradient: NDArray[Any], local: bool) -> NDArray[Any]:
        """Return mu_j / p_j; the intercept is in every row."""
        inverse = self._local_frequencies() if local else self._objective.inverse_frequency
        if inverse is None:
            return mean_gradient
        pull = mean_gradient.copy()
        pull[: len(inverse)] *= inverse
        return pull

    def _local_frequencies(self) -> NDArray[Any] | None:
        if self._local_inverse is None:
            self._local_inverse = self.problem.objective(self._threads).inverse_frequency
        return self._local_inverse
