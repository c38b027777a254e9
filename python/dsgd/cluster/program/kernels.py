"""The arithmetic of a worker on its part of the data; each kernel counts the work that it did."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.cluster.program.partition import part
from dsgd.data.inputs import stored_entries
from dsgd.errors import ConfigError
from dsgd.problems.problem import Problem

__all__ = ["Kernels", "Work"]

Rows = NDArray[np.int64]

_SAMPLE_ROWS = 1000

# Bytes of the processor's cache, which other programs use as well. Of data of this size it holds half when rows come in
# random order; of data s times as large it lacks the share s^3 / (1 + s^3).
_CACHE = 22e6
# Bytes of a cache line.
_LINE = 64
# Share of the cache lines that a kernel still waits for when rows come in the order of memory.
_FETCHED_LATE = 0.15
# Cost of a step on an entry of a sparse row (a dot product, then a weight that is read, changed and written), in units
# of the cost of an entry in a full gradient. bench/studies/kernel_cost.py measured these two numbers.
_STEP = 1.85
# Likewise of an entry of a clipped gradient (a dot product, a norm, an addition).
_CLIP = 2.1

# Of a key on the wire: its difference from the one before, seven bits a byte.
_KEY_BYTES = 2


@dataclass
class Work:
    """What was touched so far.

    Attributes
    ----------
    entries : int
        Entries of sparse rows, each once for a dot product and an addition.
    far_lines : float
        Cache lines of rows that are fetched from memory: fewer the smaller the data, and the likelier it is in a cache.
    elements : int
        Elements of dense rows, twice each, and of vectors, once for two or three passes of vector instructions.
    calls : int
    samples : int
        Gradients of single samples evaluated.
    """

    entries: int = 0
    far_lines: float = 0.0
    elements: int = 0
    calls: int = 0
    samples: int = 0

    def since(self, before: Work) -> Work:
        """Return what was added since a copy was made."""
        return Work(
            self.entries - before.entries,
            self.far_lines - before.far_lines,
            self.elements - before.elements,
            self.calls - before.calls,
            self.samples - before.samples,
        )

    def copy(self) -> Work:
        """Return the numbers as they are."""
        return Work(self.entries, self.far_lines, self.elements, self.calls, self.samples)


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
        self._objective = problem.linear_objective(n_threads, inverse_frequency)
        self._n_parameters = problem.matrix.n_features + int(problem.fit_intercept)
        self._scratch = np.empty(self._n_parameters)  # new pages from the system would cost more than the work
        self._sample: tuple[_core.LinearObjective, int, int] | None = None
        self._entries = stored_entries(problem.matrix)
        self._sparse = problem.sparse
        arrays = problem.matrix.arrays
        n_bytes = sum(array.nbytes for array in arrays) if isinstance(arrays, tuple) else arrays.nbytes
        size = n_bytes / _CACHE
        lines = n_bytes / _LINE / max(self._entries, 1)
        self._far_lines = lines * size**3 / (1 + size**3)  # of an entry

    @property
    def n_samples(self) -> int:
        """Rows of this worker."""
        return self.problem.matrix.n_rows

    @property
    def n_parameters(self) -> int:
        """Length of the parameter vector."""
        return self._n_parameters

    def count(
        self, *, entries: int = 0, cost: float = 1.0, elements: int = 0, samples: int = 0, in_order: bool = False
    ) -> None:
        """Count one call of a kernel, or of anything else that a program computes.

        Parameters
        ----------
        entries : int
            Of rows.
        cost : float
            Of an entry of a sparse row, in those of a full gradient. Elements of dense rows are read twice whatever the
            kernel.
        elements : int
            Of vectors.
        samples : int
        in_order : bool
            Whether rows are visited in their order in memory, where most are fetched ahead.
        """
        work = self.work
        if self._sparse:
            work.entries += int(cost * entries)
        else:
            elements += 2 * entries
        work.far_lines += entries * self._far_lines * (_FETCHED_LATE if in_order else 1.0)
        work.elements += elements
        work.calls += 1
        work.samples += samples

    def gradient(self, weights: NDArray[Any], rows: Rows) -> NDArray[Any]:
        """Return the mean over `rows` of the gradient of the loss, without the penalty."""
        total: NDArray[Any] = self._scratch
        total.fill(0)
        _core.rows_gradient(self._objective, weights, rows, total)
        self.count(entries=self._entries_of(rows), cost=_STEP, elements=self._n_parameters, samples=len(rows))
        total /= max(len(rows), 1)
        return total.astype(weights.dtype)

    def clipped_gradient(self, weights: NDArray[Any], rows: Rows, clip_norm: float) -> tuple[NDArray[Any], int]:
        """Return the sum over `rows` of gradients that are shortened to `clip_norm`, and how many were longer.

        Parameters
        ----------
        weights : ndarray of shape (n_parameters,)
        rows : ndarray of int64
            May be empty: the sum is then 0.
        clip_norm : float
            Most that the 2-norm of one row's gradient counts for, the intercept included; above 0. `math.inf` shortens
            none.

        Returns
        -------
        total : ndarray of shape (n_parameters,)
            sum_i g_i min(1, clip_norm / ||g_i||). g_i is the gradient of the loss of row i, times its sample weight and
            without the penalty.
        n_clipped : int

        Raises
        ------
        ConfigError
            For a `clip_norm` that is not above 0.

        References
        ----------
        Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang (2016), "Deep learning with differential privacy",
        Algorithm 1.
        """
        total: NDArray[Any] = self._scratch
        total.fill(0)
        n_clipped = _core.clipped_gradient(self._objective, weights, rows, clip_norm, total)
        entries = self._entries_of(rows)
        thrice = 0 if self._sparse else entries  # a dense row is read a third time, for its norm
        self.count(entries=entries, cost=_CLIP, elements=self._n_parameters + thrice, samples=len(rows))
        return total.astype(weights.dtype), n_clipped

    def full_gradient(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Return the mean over all rows of this worker of the gradient of the loss, without the penalty."""
        mean: NDArray[Any] = self._scratch
        self._objective.loss_gradient(weights, mean, self._threads)
        self.count(entries=self._entries, elements=self._n_parameters, samples=self.n_samples, in_order=True)
        return mean.astype(weights.dtype)

    def take_anchor(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Return `full_gradient`, and keep the slope of every row's loss there, which `svrg_steps` takes off."""
        self._svrg.take_anchor(weights)
        self.count(entries=self._entries, elements=2 * self._n_parameters, samples=self.n_samples, in_order=True)
        return self._svrg.mean_gradient.astype(weights.dtype)

    def minibatch_step(
        self, weights: NDArray[Any], rows: Rows, step: float, batch_size: int, index: int
    ) -> NDArray[Any]:
        """Return the weights after one step on the mean gradient of `rows`, as `minibatch` makes it.

        Parameters
        ----------
        weights : ndarray of shape (n_parameters,)
        rows : ndarray of int64
        step : float
        batch_size : int
            What the sum of the gradients is divided by.
        index : int
            Passes before this one: the rows bring the penalty in turn (docs/design/penalties.md).

        Returns
        -------
        ndarray of shape (n_parameters,)
            Changed on the features of the rows only.
        """
        moved = weights.copy()
        _core.minibatch_step(self._objective, moved, rows, step, batch_size, index, self._threads)
        self.count(entries=self._entries_of(rows), cost=_STEP, elements=len(moved), samples=len(rows))
        return moved

    def sgd_steps(
        self,
        weights: NDArray[Any],
        rows: Rows,
        step: float | NDArray[np.float64],
        index: int,
        batch_size: int = 1,
    ) -> NDArray[Any]:
        """Return the weights after steps of stochastic gradient descent on `rows` in turn.

        Parameters
        ----------
        weights : ndarray of shape (n_parameters,)
        rows : ndarray of int64
        step : float or ndarray
            The size of all steps, or an array of one for each.
        index : int
            Passes before this one: where the penalty is not brought by every row, the rows bring it in turn
            (docs/design/penalties.md).
        batch_size : int
            Rows of a step. 1: the step is that of `sgd`, whose L2 shrinks all weights. More: the step is that of
            `minibatch`; the last step has the rows that are left, at the same weight for each row.

        Returns
        -------
        ndarray of shape (n_parameters,)

        Raises
        ------
        ConfigError
            For an array of steps of another length.
        """
        moved = weights.copy()
        if batch_size == 1:
            _core.sgd_rows(self._objective, moved, rows, step, index)
            self.count(entries=self._entries_of(rows), cost=_STEP, elements=len(moved), samples=len(rows))
            return moved
        begins = range(0, len(rows), batch_size)
        if np.size(step) not in (1, len(begins)):
            raise ConfigError(f"step has {np.size(step)} elements; expected 1, or {len(begins)}, one for each batch")
        for begin, size in zip(begins, np.broadcast_to(step, len(begins)), strict=True):
            batch = rows[begin : begin + batch_size]
            _core.minibatch_step(self._objective, moved, batch, size, batch_size, index, self._threads)
            self.count(entries=self._entries_of(batch), cost=_STEP, samples=len(batch))
        self.count(elements=len(moved))  # the copy
        return moved

    def svrg_steps(
        self, weights: NDArray[Any], mean_gradient: NDArray[Any], rows: Rows, step: float, *, local: bool = False
    ) -> NDArray[Any]:
        """Return the weights after a variance-reduced step on each of `rows`, as `svrg` makes it.

        Parameters
        ----------
        weights, mean_gradient : ndarray of shape (n_parameters,)
        rows : ndarray of int64
        step : float
        local : bool
            Whether `mean_gradient` is that of this worker's rows: it is then spread by their own feature frequencies.

        Returns
        -------
        ndarray of shape (n_parameters,)

        Notes
        -----
        The anchor is where `take_anchor` was last called. v = r_i(w) - r_i(anchor) + D^-1 mu on the support of the
        sample, L2 in proximal form with the frequencies of the whole data (docs/algorithms/dissvrg.md).
        """
        moved = weights.copy()
        self._svrg.use_mean(mean_gradient, self._local_frequencies if local else None)
        self._svrg.descend_rows(moved, step, rows)
        self.count(entries=self._entries_of(rows), cost=_STEP, elements=2 * len(moved), samples=len(rows))
        return moved

    def differing(self, a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.uint64] | None:
        """Return where two vectors differ; None where naming the places takes more bytes than all of one."""
        places = np.flatnonzero(a != b)
        self.count(elements=len(a))
        if len(places) * (a.itemsize + _KEY_BYTES) >= a.nbytes:
            return None
        return places.astype(np.uint64)

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
            self._sample = (problem.linear_objective(1), stored_entries(problem.matrix), len(rows))
        objective, entries, n_rows = self._sample
        self.count(entries=entries, samples=n_rows)
        return objective.mean_loss(weights, 1)

    def penalty(self, weights: NDArray[Any]) -> float:
        """Return the penalty."""
        coef = weights[: self.problem.matrix.n_features]
        self.count(elements=len(coef))
        return self.problem.penalty(coef)

    def _entries_of(self, rows: Rows) -> int:
        """Return the entries of some rows."""
        if not isinstance(arrays := self.problem.matrix.arrays, tuple):
            return len(rows) * self.problem.matrix.n_features
        begins = arrays[0]
        return int((begins[rows + 1] - begins[rows]).sum())

    @functools.cached_property
    def _svrg(self) -> _core.Svrg:
        """The solver with its anchor; `svrg_steps` has the step of that of one machine."""
        return _core.Svrg(self._objective, n_threads=self._threads, mean_gradient="reweighted")

    @functools.cached_property
    def _local_frequencies(self) -> NDArray[Any] | None:
        """N / d_j of this worker's rows."""
        return self.problem.linear_objective(self._threads).inverse_frequency
