"""The arithmetic of a worker on its part of the data; each kernel counts the work that it did."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.cluster.program.descent import BatchDescent, Descent, GradientTest, RowDescent, TestedDescent
from dsgd.cluster.program.partition import part
from dsgd.cluster.program.work import CLIP, FETCHED_LATE, STEP, Work, far_lines
from dsgd.data.inputs import stored_entries
from dsgd.errors import ConfigError
from dsgd.models.protocols import Objective
from dsgd.problems.problem import Problem

__all__ = ["Kernels"]

Rows = NDArray[np.int64]

# Largest number of rows in the sample of `Kernels.sample_loss`.
_SAMPLE_ROWS = 1000

# Bytes of a key on the wire, estimated. A key is sent as its difference from the key before, with
# seven bits in a byte: two bytes hold a difference below 2^14.
_KEY_BYTES = 2


class Kernels:
    """Gradients and steps on the rows of one worker.

    Parameters
    ----------
    problem : Problem
        The worker's rows, with the `scale` of the whole.
    of_whole : mapping of str to ndarray
        What the steps on these rows need to know of all rows; see `Loss.of_whole`.
    n_threads : int
    start : ndarray of shape (n_parameters,), optional
        The initial weights of the run; by default zeros.
    client_of : ndarray of int64, shape (n_samples,), optional
        The client of every row, where a worker holds several (`dsgd.cluster.program.clients`).
    """

    def __init__(
        self,
        problem: Problem,
        of_whole: Mapping[str, NDArray[Any]],
        n_threads: int,
        start: NDArray[Any] | None = None,
        client_of: Rows | None = None,
    ) -> None:
        self.problem = problem
        self.client_of = client_of
        self._start = start
        self.work = Work()
        self._of_whole = of_whole
        self._threads = n_threads
        self._row_steps = problem.loss.row_steps(problem, of_whole, n_threads)
        self._n_parameters = problem.layout.size
        # New pages from the system would cost more than the work.
        self._scratch = np.empty(self._row_steps.gradient_size)
        self._sample: tuple[Objective, int] | None = None
        self._entries = stored_entries(problem.matrix)
        self._sparse = problem.sparse
        # From memory, for each entry.
        self._far_lines = far_lines(problem.matrix.arrays) / max(self._entries, 1)

    @property
    def n_samples(self) -> int:
        """Number of rows of this worker."""
        return self.problem.matrix.n_rows

    @property
    def n_parameters(self) -> int:
        """Length of the parameter vector, the intercept included."""
        return self._n_parameters

    @property
    def start(self) -> NDArray[Any]:
        """The initial weights of the run; not to be changed."""
        if self._start is None:
            self._start = np.zeros(self._n_parameters, self.problem.target.dtype)
        return self._start

    @property
    def gradient_size(self) -> int:
        """Length of a `gradient`: that of the parameter vector, and of what else `proximal_step` needs."""
        return self._row_steps.gradient_size

    @property
    def work_of_a_row(self) -> float:
        """Steps on single sparse entries that a gradient of a row costs, in the mean of this worker's rows."""
        return self._row_steps.work(self._entries, self.n_samples) / max(self.n_samples, 1)

    @property
    def _linear(self) -> _core.LinearObjective:
        """The objective, for the kernels of linear models."""
        return cast(_core.LinearObjective, self._row_steps.objective)

    def count(
        self, *, entries: int = 0, cost: float = 1.0, elements: int = 0, samples: int = 0, in_order: bool = False
    ) -> None:
        """Count one call of a kernel, or of another computation of a program.

        Parameters
        ----------
        entries : int
            Number of entries of the rows that were visited.
        cost : float
            Time of an entry of a sparse row, in units of the time of an entry in a full gradient.
            It does not apply to dense rows, whose elements every kernel reads twice.
        elements : int
            Number of elements of the vectors that were visited.
        samples : int
            Number of gradients of single samples that were evaluated.
        in_order : bool
            Whether rows were visited in their order in memory: most cache lines are then
            prefetched.
        """
        work = self.work
        # How many times as much as of a linear model with one decision value.
        width = self._row_steps.work(entries, samples) / max(entries, 1)
        if self._sparse:
            work.entries += int(cost * width * entries)
        else:
            elements += int(2 * width * entries)
        work.far_lines += entries * self._far_lines * (FETCHED_LATE if in_order else 1.0)
        work.elements += elements
        work.calls += 1
        work.samples += samples

    def on(self, problem: Problem) -> Kernels:
        """Return the kernels of a part of these rows, such as those of a client; their work counts as work of these."""
        kernels = Kernels(problem, self._of_whole, self._threads, self._start)
        kernels.work, kernels._far_lines = self.work, self._far_lines
        return kernels

    def gradient(self, weights: NDArray[Any], rows: Rows) -> NDArray[Any]:
        """Return the mean gradient of the loss over `rows`, without the penalty."""
        total: NDArray[Any] = self._scratch
        self._row_steps.gradient(weights, rows, total)
        self.count(entries=self._entries_of(rows), cost=STEP, elements=len(total), samples=len(rows))
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
        n_clipped = self._row_steps.clipped_gradient(weights, rows, clip_norm, total)
        entries = self._entries_of(rows)
        thrice = 0 if self._sparse else entries  # a dense row is read a third time, for its norm
        self.count(entries=entries, cost=CLIP, elements=self._n_parameters + thrice, samples=len(rows))
        return total.astype(weights.dtype), n_clipped

    def full_gradient(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Return the mean over all rows of this worker of the gradient of the loss, without the penalty.

        Like the weights it is of their type.
        """
        mean: NDArray[Any] = self._scratch[: self._n_parameters]
        self._row_steps.objective.loss_gradient(weights, mean, self._threads)
        self.count(entries=self._entries, elements=self._n_parameters, samples=self.n_samples, in_order=True)
        return mean.astype(weights.dtype)

    def full_loss(self, weights: NDArray[Any]) -> float:
        """Return the mean over all rows of this worker of the loss, without the penalty."""
        self.count(entries=self._entries // 2, samples=0, in_order=True)  # a product without an addition
        return self._row_steps.objective.mean_loss(weights, self._threads)

    def take_anchor(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Take `weights` as the anchor of `svrg_steps`, and return `full_gradient` there.

        The derivative of the loss of every row at the anchor is kept; `svrg_steps` subtracts it.
        """
        self._svrg.take_anchor(weights)
        self.count(entries=self._entries, elements=2 * self._n_parameters, samples=self.n_samples, in_order=True)
        return self._svrg.mean_gradient.astype(weights.dtype)

    def minibatch_step(
        self, weights: NDArray[Any], rows: Rows, step: float, batch_size: int, index: int
    ) -> NDArray[Any]:
        """Return the weights after one step on the mean gradient of `rows`, as in `minibatch`.

        Parameters
        ----------
        weights : ndarray of shape (n_parameters,)
        rows : ndarray of int64
        step : float
        batch_size : int
            Divisor of the sum of the gradients.
        index : int
            Number of passes over the rows before this one. Rows apply the penalty in turn, and the
            number of the pass decides whose turn it is (docs/design/penalties.md).

        Returns
        -------
        ndarray of shape (n_parameters,)
            New weights. Only the intercept and the weights of features of the rows have changed.
        """
        moved = weights.copy()
        self._row_steps.minibatch_step(moved, rows, step, batch_size, index)
        self.count(entries=self._entries_of(rows), cost=STEP, elements=len(moved), samples=len(rows))
        return moved

    def sgd_steps(
        self, weights: NDArray[Any], rows: Rows, step: float | NDArray[np.float64], index: int, batch_size: int = 1
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
            Rows of a step. 1: the step of a linear model is that of `sgd`, whose L2 shrinks all
            weights. More: the step is that of `minibatch`; the last step has the rows that are left,
            at the same weight for each row.

        Returns
        -------
        ndarray of shape (n_parameters,)

        Raises
        ------
        ConfigError
            For an array of steps of another length.
        """
        n_steps = -(-len(rows) // batch_size)
        if np.size(step) not in (1, n_steps):
            raise ConfigError(f"step has {np.size(step)} elements; expected 1, or {n_steps}, one for each batch")
        moved, descent = weights.copy(), self.descent(batch_size)
        descent.steps(moved, rows, np.repeat(np.broadcast_to(step, n_steps), batch_size)[: len(rows)], index)
        descent.settle(moved)
        if batch_size > 1:
            self.count(elements=len(moved))  # the copy; a settled scale is counted as much
        return moved

    def descent(
        self, batch_size: int = 1, delay: int = 0, test: GradientTest | None = None, *, spread: bool = False
    ) -> Descent:
        """Return steps in place on rows in turn, which go on from call to call.

        Parameters
        ----------
        batch_size : int
            Rows of a step. 1: the steps are those of `sgd`, if it trains the model. More: those of `minibatch`.
        delay : int
            Steps between the weights of a gradient and the step along it; for steps of `sgd` only.
        test : GradientTest, optional
            Which delayed gradients are used. None: all.
        spread : bool
            Whether L2 acts on the features of the rows only, also with `batch_size` 1: a step then changes few weights.
        """
        objective = self._row_steps.objective
        single = batch_size == 1 and not spread and isinstance(objective, _core.LinearObjective)
        if not single:
            if delay > 0:
                raise ConfigError(
                    "delayed gradients are for the steps of 'sgd' on linear models; leave batch_size at 1"
                )
            return BatchDescent(self._row_steps, batch_size, self._count_steps)
        if test is not None and delay > 0:
            return TestedDescent(self._linear, self.problem.loss.curvature, delay, test, self._count_steps)
        return RowDescent(self._linear, delay, self._count_steps)

    def _count_steps(self, rows: Rows, cost: float, elements: int) -> None:
        """Count steps on `rows`, each `cost` times as long as a plain one, and a visit of `elements`."""
        self.count(entries=self._entries_of(rows), cost=cost * STEP, elements=elements, samples=len(rows))

    def svrg_steps(
        self, weights: NDArray[Any], mean_gradient: NDArray[Any], rows: Rows, step: float, *, local: bool = False
    ) -> NDArray[Any]:
        """Return the weights after one variance-reduced step on each of `rows`, as in `svrg`.

        Parameters
        ----------
        weights, mean_gradient : ndarray of shape (n_parameters,)
        rows : ndarray of int64
        step : float
        local : bool
            Whether `mean_gradient` is the mean over this worker's rows only. D (see below) then
            holds the feature frequencies of these rows, otherwise those of the whole data.

        Returns
        -------
        ndarray of shape (n_parameters,)

        Notes
        -----
        The anchor is the vector that `take_anchor` was last called with. A step goes along
        v = r_i(w) - r_i(anchor) + D^-1 mu on the support of row i. There r_i is the gradient of the
        loss of row i, mu the mean gradient, and D the diagonal matrix of the feature frequencies.
        L2 follows in proximal form, with the frequencies of the whole data.

        References
        ----------
        Ming, Zhao, Guo, Yin, "Accelerate distributed stochastic gradient descent with asynchronous
        communication protocol", Algorithm 1, corrected as docs/algorithms/dissvrg.md says.
        """
        moved = weights.copy()
        self._svrg.use_mean(mean_gradient, self._local_frequencies if local else None)
        self._svrg.descend_rows(moved, step, rows)
        self.count(entries=self._entries_of(rows), cost=STEP, elements=2 * len(moved), samples=len(rows))
        return moved

    def differing(self, a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.uint64] | None:
        """Return the positions at which two vectors differ, as keys of a `Push`.

        None if the differing values with their keys take as many bytes as a whole vector, or more.
        """
        places = np.flatnonzero(a != b)
        self.count(elements=len(a))
        if len(places) * (a.itemsize + _KEY_BYTES) >= a.nbytes:
            return None
        return places.astype(np.uint64)

    def proximal_step(self, weights: NDArray[Any], gradient: NDArray[Any], step: float) -> NDArray[Any]:
        """Return the weights after a step along a mean of `gradient`, with the penalty, as the model makes it.

        Of a linear model prox(w - step gradient), the step of the intercept multiplied by its rate.
        """
        self.count(elements=2 * len(weights))
        return self._row_steps.step(weights, gradient, step)

    def sample_loss(self, weights: NDArray[Any]) -> float:
        """Return the mean loss on a sample of this worker's rows, without the penalty.

        The sample is the same in every call. It has at most 1,000 rows.
        """
        if self._sample is None:
            rows = np.linspace(0, self.n_samples - 1, min(self.n_samples, _SAMPLE_ROWS)).astype(np.intp)
            problem = part(self.problem, rows)
            self._sample = (problem.objective(1), stored_entries(problem.matrix))
        objective, entries = self._sample
        self.count(entries=entries)
        return objective.mean_loss(weights, 1)

    def penalty(self, weights: NDArray[Any]) -> float:
        """Return the penalty."""
        coef = self.problem.layout.regularised(weights)
        self.count(elements=len(coef))
        return self.problem.penalty(coef)

    def _entries_of(self, rows: Rows) -> int:
        """Return the number of stored entries of `rows`."""
        if not isinstance(arrays := self.problem.matrix.arrays, tuple):
            return len(rows) * self.problem.matrix.n_features
        begins = arrays[0]
        return int((begins[rows + 1] - begins[rows]).sum())

    @functools.cached_property
    def _svrg(self) -> _core.Svrg:
        """The solver with its anchor; `svrg_steps` has the step of that of one machine."""
        return _core.Svrg(self._linear, n_threads=self._threads, mean_gradient="reweighted")

    @functools.cached_property
    def _local_frequencies(self) -> NDArray[Any] | None:
        """The inverse feature frequencies n / d_j, counted on this worker's rows only."""
        return self.problem.linear_objective(self._threads).inverse_frequency
